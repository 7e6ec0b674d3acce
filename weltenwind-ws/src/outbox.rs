//! What waits to be written to one client.

use std::collections::VecDeque;

use bytes::Bytes;
use weltenwind_core::Timestamp;

/// Records that wait for the socket, oldest first.
///
/// It is bounded by whoever fills it: nothing is fetched for a client while [`Outbox::has_room`] says no.
#[derive(Debug)]
pub(crate) struct Outbox {
    records: VecDeque<Bytes>,
    bytes: usize,
    limit: usize,
    oldest: Option<Timestamp>,
}

/// Records as one text, one per line.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) text: Bytes,
    pub(crate) records: u64,
    /// When the oldest message was accepted that happened just now.
    pub(crate) oldest: Option<Timestamp>,
}

/// A queue that once was longer than this gives its memory back when it is empty.
const KEPT_CAPACITY: usize = 16;

impl Outbox {
    pub(crate) const fn new(limit: usize) -> Self {
        Self { records: VecDeque::new(), bytes: 0, limit, oldest: None }
    }

    pub(crate) fn push(&mut self, record: Bytes) {
        self.bytes += record.len() + 1;
        self.records.push_back(record);
    }

    /// Pushes a message that was accepted at `at` and is on its way to everybody.
    pub(crate) fn push_news(&mut self, record: Bytes, at: Timestamp) {
        self.oldest.get_or_insert(at);
        self.push(record);
    }

    pub(crate) fn has_room(&self) -> bool {
        self.bytes < self.limit
    }

    /// Takes as many records as fit into one frame, and at least one.
    pub(crate) fn take_frame(&mut self) -> Option<Frame> {
        let first = self.records.pop_front()?;
        let mut length = first.len();
        let mut count = 1;
        for record in &self.records {
            if length + 1 + record.len() > self.limit {
                break;
            }
            length += 1 + record.len();
            count += 1;
        }
        let text = if count == 1 {
            first
        } else {
            let mut text = Vec::with_capacity(length);
            text.extend_from_slice(&first);
            for record in self.records.drain(..count - 1) {
                text.push(b'\n');
                text.extend_from_slice(&record);
            }
            text.into()
        };
        self.bytes -= length + 1;
        if self.records.is_empty() && self.records.capacity() > KEPT_CAPACITY {
            self.records.shrink_to(KEPT_CAPACITY);
        }
        Some(Frame { text, records: count as u64, oldest: self.oldest.take() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(outbox: &mut Outbox) -> Vec<String> {
        std::iter::from_fn(|| outbox.take_frame())
            .map(|frame| String::from_utf8(frame.text.to_vec()).unwrap())
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
    fn a_full_outbox_says_so() {
        let mut outbox = Outbox::new(8);
        outbox.push("four".into());
        assert!(outbox.has_room());
        outbox.push("more".into());
        assert!(!outbox.has_room());
    }
}
