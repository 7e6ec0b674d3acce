//! What waits to be written to one client.

use std::collections::VecDeque;

use bytes::Bytes;
use weltenwind_core::{Room, Timestamp};

/// Records that wait for the socket, oldest first.
///
/// It is bounded by whoever fills it: nothing is fetched for a client while [`Outbox::has_room`] says no.
#[derive(Debug)]
pub(crate) struct Outbox {
    records: VecDeque<Part>,
    bytes: usize,
    limit: usize,
    oldest: Option<Timestamp>,
}

/// A record, and the room that it comes from, if it comes from one.
type Part = (Option<Room>, Bytes);

/// Records that are written together, one per line.
#[derive(Debug)]
pub(crate) struct Frame {
    first: Part,
    rest: Vec<Part>,
    /// When the oldest message was accepted that happened just now.
    pub(crate) oldest: Option<Timestamp>,
}

impl Frame {
    pub(crate) fn records(&self) -> u64 {
        1 + self.rest.len() as u64
    }

    /// Returns the length of the text.
    fn len(&self) -> usize {
        self.first.1.len() + self.rest.iter().map(|(_, record)| 1 + record.len()).sum::<usize>()
    }

    /// Makes one text of it; a single record is its own.
    pub(crate) fn into_text(self) -> Bytes {
        if self.rest.is_empty() {
            return self.first.1;
        }
        let mut text = Vec::with_capacity(self.len());
        text.extend_from_slice(&self.first.1);
        for (_, record) in &self.rest {
            text.push(b'\n');
            text.extend_from_slice(record);
        }
        text.into()
    }
}

/// A queue that once was longer than this gives its memory back when it is empty.
const KEPT_CAPACITY: usize = 16;

impl Outbox {
    pub(crate) const fn new(limit: usize) -> Self {
        Self { records: VecDeque::new(), bytes: 0, limit, oldest: None }
    }

    /// Pushes an answer, or something else that is meant for this client alone.
    pub(crate) fn push(&mut self, record: Bytes) {
        self.push_back(None, record);
    }

    /// Pushes what a room tells.
    pub(crate) fn push_of(&mut self, room: Room, record: Bytes) {
        self.push_back(Some(room), record);
    }

    /// Pushes a message of a room that was accepted at `at` and is on its way to everybody.
    pub(crate) fn push_news(&mut self, room: Room, record: Bytes, at: Timestamp) {
        self.oldest.get_or_insert(at);
        self.push_of(room, record);
    }

    fn push_back(&mut self, room: Option<Room>, record: Bytes) {
        self.bytes += record.len() + 1;
        self.records.push_back((room, record));
    }

    /// Drops what waits of a room.
    pub(crate) fn forget(&mut self, room: Room) {
        self.records.retain(|(from, _)| *from != Some(room));
        self.bytes = self.records.iter().map(|(_, record)| record.len() + 1).sum();
        // What is left may be older or younger than what was dropped; it is not measured.
        self.oldest = None;
    }

    /// Drops everything.
    pub(crate) fn clear(&mut self) {
        self.records.clear();
        (self.bytes, self.oldest) = (0, None);
    }

    pub(crate) fn has_room(&self) -> bool {
        self.bytes < self.limit
    }

    /// Takes as many records as fit into one frame, and at least one.
    pub(crate) fn take_frame(&mut self) -> Option<Frame> {
        let first = self.records.pop_front()?;
        let mut length = first.1.len();
        let mut count = 0;
        for (_, record) in &self.records {
            if length + 1 + record.len() > self.limit {
                break;
            }
            length += 1 + record.len();
            count += 1;
        }
        let rest = self.records.drain(..count).collect();
        self.bytes -= length + 1;
        if self.records.is_empty() && self.records.capacity() > KEPT_CAPACITY {
            self.records.shrink_to(KEPT_CAPACITY);
        }
        Some(Frame { first, rest, oldest: self.oldest.take() })
    }

    /// Puts a frame back that was not written.
    pub(crate) fn restore(&mut self, frame: Frame) {
        self.bytes += frame.len() + 1;
        self.oldest = frame.oldest.or(self.oldest);
        for part in frame.rest.into_iter().rev() {
            self.records.push_front(part);
        }
        self.records.push_front(frame.first);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(outbox: &mut Outbox) -> Vec<String> {
        std::iter::from_fn(|| outbox.take_frame())
            .map(|frame| String::from_utf8(frame.into_text().to_vec()).unwrap())
            .collect()
    }

    #[test]
    fn records_that_wait_share_a_frame() {
        let mut outbox = Outbox::new(64);
        for record in ["one", "two", "three"] {
            outbox.push(record.into());
        }

        assert_eq!(frames(&mut outbox), ["one\ntwo\nthree"]);
    }

    #[test]
    fn a_frame_stays_below_the_limit_unless_one_record_is_longer() {
        let mut outbox = Outbox::new(7);
        for record in ["one", "two", "three", "a longer one", "x"] {
            outbox.push(record.into());
        }

        assert_eq!(frames(&mut outbox), ["one\ntwo", "three", "a longer one", "x"]);
        assert!(outbox.has_room() && outbox.bytes == 0);
    }

    #[test]
    fn what_a_room_told_can_be_taken_back() {
        let (one, other) = (Room::Global, Room::User(weltenwind_core::AccountId::new(uuid::Uuid::nil())));
        let mut outbox = Outbox::new(64);
        outbox.push("an answer".into());
        outbox.push_news(one, "secret".into(), Timestamp::UNIX_EPOCH);
        outbox.push_of(other, "news".into());

        let frame = outbox.take_frame().unwrap();
        assert_eq!((frame.records(), outbox.bytes), (3, 0));
        outbox.restore(frame);
        outbox.forget(one);
        assert_eq!(outbox.bytes, "an answer".len() + 1 + "news".len() + 1);
        assert_eq!(frames(&mut outbox), ["an answer\nnews"]);

        outbox.push_of(other, "more".into());
        outbox.clear();
        assert!(frames(&mut outbox).is_empty() && outbox.bytes == 0);
    }

    #[test]
    fn a_full_outbox_says_so() {
        let mut outbox = Outbox::new(8);
        outbox.push("four".into());
        assert!(outbox.has_room());
        outbox.push("more".into());
        assert!(!outbox.has_room());
    }
}
