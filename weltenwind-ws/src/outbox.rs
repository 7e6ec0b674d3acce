//! What is meant for one client alone and waits to be written.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::frame::FrameBuilder;

/// Records that wait for the socket, oldest first.
///
/// It is bounded by whoever fills it: no request is begun while [`Outbox::has_room`] says no.
#[derive(Debug)]
pub(crate) struct Outbox {
    records: VecDeque<Bytes>,
    bytes: usize,
    limit: usize,
}

impl Outbox {
    pub(crate) const fn new(limit: usize) -> Self {
        Self { records: VecDeque::new(), bytes: 0, limit }
    }

    pub(crate) fn push(&mut self, record: Bytes) {
        self.bytes += record.len() + 1;
        self.records.push_back(record);
    }

    /// Drops everything.
    pub(crate) fn clear(&mut self) {
        self.records = VecDeque::new();
        self.bytes = 0;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    pub(crate) const fn has_room(&self) -> bool {
        self.bytes < self.limit
    }

    /// Makes one frame of as many records as fit into it, and of at least one; answers how many those are.
    pub(crate) fn take_frame(&mut self) -> Option<(Bytes, u64)> {
        let (mut frame, mut count) = (FrameBuilder::new(), 0);
        while let Some(record) = self.records.front() {
            if count > 0 && frame.len() + 1 + record.len() > self.limit {
                break;
            }
            frame.push(record);
            self.bytes -= record.len() + 1;
            self.records.pop_front();
            count += 1;
        }
        if self.records.is_empty() {
            // A silent socket keeps no queue.
            self.records = VecDeque::new();
        }
        (count > 0).then(|| (frame.finish(), count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame;

    fn frames(outbox: &mut Outbox) -> Vec<String> {
        std::iter::from_fn(|| outbox.take_frame())
            .map(|(frame, _)| String::from_utf8(frame::text_of(&frame).to_vec()).unwrap())
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
        outbox.clear();
        assert!(outbox.has_room() && outbox.is_empty());
    }
}
