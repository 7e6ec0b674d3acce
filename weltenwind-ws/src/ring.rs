//! What a room told lately: one ring of finished frames for all who are in it. Neither I/O nor clock.

use std::{collections::VecDeque, sync::OnceLock};

use bytes::Bytes;
use weltenwind_core::{
    Timestamp,
    chat::{Change, GapCause, RoomPosition},
};

use crate::frame::{self, FrameBuilder};

/// A frame for everybody in the room, and what it takes them through.
#[derive(Debug, Clone)]
pub(crate) struct Segment {
    pub(crate) frame: Bytes,
    pub(crate) what: What,
    /// The position in front of it.
    pub(crate) before: RoomPosition,
    /// The position behind it.
    pub(crate) after: RoomPosition,
    /// When its oldest message was accepted.
    pub(crate) accepted_at: Option<Timestamp>,
    /// Set if a message in it is new and was edited since: read from the store, after the bus had lost something. It is new
    /// to who was told everything up to here and nothing more; to whoever knows more that may be something else, and only
    /// the store can tell it to them.
    pub(crate) woven_since: Option<Change>,
    /// Up to where everything is told behind it: up to its end, unless a page of the store ends there and another one has to
    /// be read. What stood on the first may have been overwritten meanwhile, and comes later.
    pub(crate) whole: Change,
}

/// What a frame tells.
#[derive(Debug, Clone)]
pub(crate) enum What {
    /// Changes, each with the end of its record in the text.
    Changes(Box<[Mark]>),
    /// Something was missed and is not told.
    Gap(GapCause),
    /// So many records that are of the moment: whoever comes later is told nothing of them.
    Passing(u32),
}

/// Where a change's record ends in the text of its frame.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark {
    change: Change,
    end: usize,
}

impl Segment {
    /// Returns how many records it holds.
    pub(crate) fn records(&self) -> u64 {
        match &self.what {
            What::Changes(marks) => marks.len() as u64,
            What::Gap(_) => 1,
            What::Passing(records) => u64::from(*records),
        }
    }

    /// Makes one that is of the moment.
    pub(crate) const fn passing(frame: Bytes, records: u32, at: RoomPosition) -> Self {
        Self::new(frame, What::Passing(records), at, at)
    }

    /// Makes one that tells of a gap.
    pub(crate) const fn gap(frame: Bytes, cause: GapCause, before: RoomPosition, after: RoomPosition) -> Self {
        Self::new(frame, What::Gap(cause), before, after)
    }

    const fn new(frame: Bytes, what: What, before: RoomPosition, after: RoomPosition) -> Self {
        Self { frame, what, before, after, accepted_at: None, woven_since: None, whole: after.change }
    }

    /// Returns whether it can be read by who was told everything up to `whole`, and to whom something in it is new.
    fn serves(&self, whole: Change) -> bool {
        self.woven_since.is_none_or(|since| whole <= since)
    }

    /// Returns whether a reader at `at` has nothing to learn from it.
    fn is_known_at(&self, at: RoomPosition) -> bool {
        !matches!(self.what, What::Passing(_)) && self.after.epoch == at.epoch && self.after.change <= at.change
    }

    /// Returns the part that a reader at `at` does not know, and how many records that is. Only who left the store between
    /// two changes of one segment gets a frame of its own.
    pub(crate) fn for_reader(&self, at: RoomPosition) -> (Bytes, u64) {
        let What::Changes(marks) = &self.what else { return (self.frame.clone(), self.records()) };
        let known = marks.partition_point(|mark| mark.change <= at.change);
        if known == 0 || at.epoch != self.before.epoch {
            return (self.frame.clone(), self.records());
        }
        let text = frame::text_of(&self.frame);
        // One byte ends the line before.
        let rest = text.slice(marks[known - 1].end + 1..);
        (frame::of_record(&rest), self.records() - known as u64)
    }
}

/// Builds a segment of changes that follow each other.
#[derive(Debug)]
pub(crate) struct SegmentBuilder {
    frame: FrameBuilder,
    marks: Vec<Mark>,
    before: RoomPosition,
    accepted_at: Option<Timestamp>,
    woven_since: Option<Change>,
}

impl SegmentBuilder {
    pub(crate) fn new(before: RoomPosition) -> Self {
        Self { frame: FrameBuilder::new(), marks: Vec::new(), before, accepted_at: None, woven_since: None }
    }

    /// Notes that a message in it was edited since, and is new to who knows nothing behind `since`.
    pub(crate) fn weave(&mut self, since: Change) {
        self.woven_since.get_or_insert(since);
    }

    /// Adds a change's record; of a new message also when it was accepted.
    pub(crate) fn push(&mut self, change: Change, record: &[u8], accepted_at: Option<Timestamp>) {
        debug_assert!(change > self.marks.last().map_or(self.before.change, |mark| mark.change), "changes ascend");
        self.frame.push(record);
        self.marks.push(Mark { change, end: self.frame.len() });
        self.accepted_at = self.accepted_at.or(accepted_at);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.marks.is_empty()
    }

    /// Returns the length of the text so far.
    pub(crate) fn len(&self) -> usize {
        self.frame.len()
    }

    /// Ends it. In the midst of a replay, everything is told up to where that began; else up to here.
    pub(crate) fn finish(self, replayed_since: Option<Change>) -> Segment {
        let change = self.marks.last().map_or(self.before.change, |mark| mark.change);
        Segment {
            frame: self.frame.finish(),
            what: What::Changes(self.marks.into()),
            before: self.before,
            after: RoomPosition { change, ..self.before },
            accepted_at: self.accepted_at,
            woven_since: self.woven_since,
            whole: replayed_since.unwrap_or(change),
        }
    }
}

/// The newest segments of a room. Readers hold the number of the one that they read next.
#[derive(Debug)]
pub(crate) struct Ring {
    segments: VecDeque<Segment>,
    /// The number of the oldest segment that is kept.
    tail: u64,
    bytes: usize,
    position: RoomPosition,
    /// What makes up for the segments that were dropped, if anybody has asked since the newest one came.
    resumption: OnceLock<Bytes>,
}

impl Ring {
    pub(crate) const fn new(position: RoomPosition) -> Self {
        Self { segments: VecDeque::new(), tail: 0, bytes: 0, position, resumption: OnceLock::new() }
    }

    /// Returns how far the room is.
    pub(crate) const fn position(&self) -> RoomPosition {
        self.position
    }

    /// Returns the number of the segment that comes next.
    pub(crate) fn head(&self) -> u64 {
        self.tail + self.segments.len() as u64
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes + self.resumption.get().map_or(0, Bytes::len)
    }

    /// Returns the frame that makes up for what was dropped, made once for all until the next segment comes.
    pub(crate) fn resumption(&self, make: impl FnOnce() -> Bytes) -> Bytes {
        self.resumption.get_or_init(make).clone()
    }

    /// Returns a segment; none if it was dropped, or is not there yet.
    pub(crate) fn get(&self, number: u64) -> Option<&Segment> {
        let index = usize::try_from(number.checked_sub(self.tail)?).ok()?;
        self.segments.get(index)
    }

    /// Returns whether a segment was there and is dropped.
    pub(crate) const fn has_dropped(&self, number: u64) -> bool {
        number < self.tail
    }

    /// Adds a segment and drops the oldest ones, until at most `kept` bytes are left or the newest alone.
    pub(crate) fn push(&mut self, segment: Segment, kept: usize) {
        debug_assert!(segment.before == self.position, "segments follow each other");
        self.position = segment.after;
        self.resumption = OnceLock::new();
        self.bytes += segment.frame.len();
        self.segments.push_back(segment);
        while self.bytes > kept && self.segments.len() > 1 {
            let oldest = self.segments.pop_front().expect("there are two at least");
            self.bytes -= oldest.frame.len();
            self.tail += 1;
        }
    }

    /// Returns the number of the segment that a reader reads next who was told everything up to `at`; none if only the store
    /// knows what comes next.
    pub(crate) fn enter(&self, at: RoomPosition) -> Option<u64> {
        if at.epoch != self.position.epoch {
            return None;
        }
        let mut number = self.head();
        if at.change >= self.position.change {
            return Some(number);
        }
        for segment in self.segments.iter().rev() {
            number -= 1;
            let is_first = !matches!(segment.what, What::Passing(_));
            if segment.before.epoch != at.epoch || matches!(segment.what, What::Gap(_)) {
                return None;
            }
            if is_first && segment.before.change <= at.change {
                return segment.serves(at.change).then_some(number);
            }
        }
        None
    }

    /// Returns the number of the first segment from `number` on that a reader at `at`, who was told everything up to
    /// `whole`, has something to learn from; none if only the store can tell it what is in there.
    pub(crate) fn first_unknown(&self, mut number: u64, at: RoomPosition, whole: Change) -> Option<u64> {
        while self.get(number).is_some_and(|segment| segment.is_known_at(at)) {
            number += 1;
        }
        self.get(number).is_none_or(|segment| segment.serves(whole)).then_some(number)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) const fn at(change: i64) -> RoomPosition {
        RoomPosition { epoch: 7, change: Change::new(change) }
    }

    /// Changes `from..=to`, each a record that says its number.
    pub(crate) fn changes(from: i64, to: i64) -> Segment {
        let mut builder = SegmentBuilder::new(at(from - 1));
        for change in from..=to {
            builder.push(Change::new(change), format!("r{change}").as_bytes(), None);
        }
        builder.finish(None)
    }

    pub(crate) fn passing(at: RoomPosition) -> Segment {
        Segment::passing(frame::of_record(b"passing"), 1, at)
    }

    fn ring(segments: impl IntoIterator<Item = (i64, i64)>, kept: usize) -> Ring {
        let mut segments = segments.into_iter().peekable();
        let mut ring = Ring::new(at(segments.peek().unwrap().0 - 1));
        for (from, to) in segments {
            ring.push(changes(from, to), kept);
        }
        ring
    }

    fn first_unknown(ring: &Ring, number: u64, change: i64) -> Option<u64> {
        ring.first_unknown(number, at(change), Change::new(change))
    }

    #[test]
    fn a_reader_enters_where_it_stands() {
        let ring = ring([(11, 13), (14, 14), (15, 18)], 1 << 20);

        let entered = |change| ring.enter(at(change));
        assert_eq!(entered(9), None, "what comes next is older than the ring");
        assert_eq!([10, 11, 12].map(entered), [Some(0); 3]);
        assert_eq!([13, 14, 17, 18, 19].map(entered), [Some(1), Some(2), Some(2), Some(3), Some(3)]);
        assert_eq!(ring.enter(RoomPosition { epoch: 8, ..at(12) }), None);
    }

    #[test]
    fn between_two_changes_of_a_segment_a_reader_gets_the_rest() {
        let segment = changes(11, 14);

        let rest = |change| {
            let (frame, records) = segment.for_reader(at(change));
            (String::from_utf8(frame::text_of(&frame).to_vec()).unwrap(), records)
        };
        assert_eq!(rest(10), ("r11\nr12\nr13\nr14".to_owned(), 4));
        assert_eq!(rest(12), ("r13\nr14".to_owned(), 2));
        assert_eq!(rest(13), ("r14".to_owned(), 1));
        assert_eq!(segment.for_reader(at(10)).0.as_ptr(), segment.frame.as_ptr(), "the whole is shared");
    }

    #[test]
    fn the_ring_keeps_so_many_bytes_and_always_its_newest_segment() {
        let mut ring = ring([(1, 4), (5, 8), (9, 12)], 40);
        assert!(ring.bytes() <= 40 && ring.has_dropped(0) && ring.get(0).is_none());
        assert_eq!(ring.enter(at(2)), None);

        ring.push(changes(13, 60), 40);

        assert_eq!((ring.head(), ring.get(3).unwrap().records(), ring.get(2).is_none()), (4, 48, true));
        assert_eq!(ring.position(), at(60));
    }

    #[test]
    fn a_position_of_before_a_gap_is_not_entered() {
        let mut ring = ring([(11, 13)], 1 << 20);
        let again = RoomPosition { epoch: 8, ..at(5) };
        ring.push(Segment::gap(frame::of_record(b"gap"), GapCause::Window, at(13), at(90)), 1 << 20);
        ring.push(Segment::gap(frame::of_record(b"gap"), GapCause::Epoch, at(90), again), 1 << 20);

        assert_eq!((ring.enter(at(12)), ring.enter(at(90)), ring.enter(again)), (None, None, Some(3)));
    }

    #[test]
    fn a_woven_segment_is_read_from_its_beginning_or_not_at_all() {
        let mut ring = ring([(11, 13)], 1 << 20);
        let mut woven = SegmentBuilder::new(at(13));
        // Posted as change 14, edited as change 16.
        woven.push(Change::new(15), b"r15", None);
        woven.push(Change::new(16), b"r16", None);
        woven.weave(Change::new(13));
        ring.push(woven.finish(None), 1 << 20);

        assert_eq!([12, 13, 14, 15, 16].map(|change| ring.enter(at(change))), [Some(0), Some(1), None, None, Some(2)]);
        assert_eq!([13, 14, 16].map(|change| first_unknown(&ring, 1, change)), [Some(1), None, Some(2)]);
    }

    #[test]
    fn what_is_known_already_is_passed_over_and_what_passes_is_not() {
        let mut ring = ring([(11, 13), (14, 14)], 1 << 20);
        ring.push(passing(at(14)), 1 << 20);
        ring.push(changes(15, 16), 1 << 20);

        assert_eq!([10, 12, 13, 14, 16].map(|change| first_unknown(&ring, 0, change)), [0, 0, 1, 2, 2].map(Some));
        assert_eq!(first_unknown(&ring, 3, 16), Some(4));
        assert_eq!(ring.enter(at(14)), Some(3), "what has passed has passed");
    }
}
