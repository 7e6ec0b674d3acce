//! One reader's way through a room: pages of the store, then the ring. Neither I/O nor clock.

use std::sync::Arc;

use bytes::Bytes;
use weltenwind_core::{
    Timestamp,
    chat::{Change, GapCause, RoomCursor, RoomPosition},
};

use crate::{
    metrics::Weighed,
    ring::{Ring, What},
};

/// Where a reader is in a room.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub(crate) struct Reader {
    /// What it has been told.
    at: RoomPosition,
    /// Where the replay that it is in began, up to where it was told everything: what was posted later is news to it, whatever
    /// became of that.
    replay_from: Change,
    place: Place,
    /// Whether it has been told every change up to there, and not merely those that no later one had overwritten when its
    /// last page was read. It goes into the ring only from such a place.
    is_whole: bool,
    /// How far the room was when the reader came: everything up to there is replay.
    came_at: RoomPosition,
    /// Whether it was told that replay is over.
    is_live: bool,
    missed: Missed,
}

/// What a reader missed because it was too slow for the ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Missed {
    /// The store has it.
    Stored,
    /// Nothing, in a room without messages.
    Nothing,
    /// Something of such a room, and it was not told yet what makes up for it.
    Something,
}

#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
enum Place {
    /// The next page has to be read.
    Store,
    /// On a page, before the frame of this index.
    Page(Arc<Page>, usize),
    /// In the ring, before this segment.
    Ring(u64),
}

/// A page of the store as finished frames; readers that come from the same place share it.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) frames: Vec<PageFrame>,
    /// The position behind it.
    pub(crate) after: RoomPosition,
    /// Whether the store has more by now.
    pub(crate) more: bool,
    /// Counts its bytes as long as somebody holds it.
    pub(crate) _weight: Option<Weighed>,
}

#[derive(Debug)]
pub(crate) struct PageFrame {
    pub(crate) frame: Bytes,
    pub(crate) records: u64,
    /// Why instead of what was missed only this is told.
    pub(crate) gap: Option<GapCause>,
}

/// What a reader needs from the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct PageKey {
    pub(crate) at: RoomPosition,
    pub(crate) replay_from: Change,
}

/// The next frame for a reader.
#[derive(Debug)]
pub(crate) struct Piece {
    pub(crate) frame: Bytes,
    pub(crate) records: u64,
    /// How many of them happened before the reader came.
    pub(crate) replayed: u64,
    pub(crate) gap: Option<GapCause>,
    pub(crate) accepted_at: Option<Timestamp>,
    then: Then,
}

/// Where a reader is once it has a piece.
#[derive(Debug, Clone, Copy)]
enum Then {
    OnPage(usize),
    Live,
    Resumed,
    InRing { next: u64, at: RoomPosition, whole: Change },
}

impl Reader {
    /// A reader that comes now and knows everything.
    pub(crate) const fn new(at: RoomPosition) -> Self {
        Self {
            at,
            replay_from: at.change,
            place: Place::Store,
            is_whole: true,
            came_at: at,
            is_live: false,
            missed: Missed::Stored,
        }
    }

    /// A reader that was told what a cursor says and comes when the room is at `head`. One that left a replay on the way goes on
    /// with it.
    pub(crate) fn since(RoomCursor { at, whole }: RoomCursor, head: RoomPosition) -> Self {
        Self { came_at: head, replay_from: whole, is_whole: whole == at.change, ..Self::new(at) }
    }

    /// A reader of a room without messages: it hears what passes from this segment on.
    pub(crate) fn passing(head: u64, at: RoomPosition) -> Self {
        Self { place: Place::Ring(head), missed: Missed::Nothing, ..Self::new(at) }
    }

    /// Takes the word that replay is over for said.
    #[must_use]
    pub(crate) const fn silently(mut self) -> Self {
        self.is_live = true;
        self
    }

    /// A reader that is told of a gap first.
    pub(crate) fn behind_gap(frame: Bytes, cause: GapCause, after: RoomPosition) -> Self {
        let frames = vec![PageFrame { frame, records: 1, gap: Some(cause) }];
        let page = Arc::new(Page { frames, after, more: false, _weight: None });
        Self { place: Place::Page(page, 0), ..Self::new(after) }
    }

    /// Returns how far it is.
    #[cfg(test)]
    pub(crate) const fn position(&self) -> RoomPosition {
        self.at
    }

    /// Returns whether it is live and has read everything before the segment of this number.
    pub(crate) const fn is_at(&self, head: u64) -> bool {
        self.is_live && !self.is_overrun() && matches!(self.place, Place::Ring(next) if next == head)
    }

    /// Returns whether it was told that replay is over.
    pub(crate) const fn is_live(&self) -> bool {
        self.is_live
    }

    pub(crate) const fn is_on_page(&self) -> bool {
        matches!(self.place, Place::Page(..))
    }

    /// Finds its place: into the ring as soon as that is possible, out of it if that has run away.
    pub(crate) fn settle(&mut self, ring: &Ring) {
        if let Place::Page(page, next) = &self.place
            && *next == page.frames.len()
        {
            self.at = page.after;
            self.is_whole = !page.more;
            self.place = Place::Store;
        }
        if let Place::Ring(next) = self.place {
            let is_overrun = ring.has_dropped(next);
            if is_overrun && self.missed == Missed::Nothing {
                self.missed = Missed::Something;
            }
            let next = if is_overrun { None } else { ring.first_unknown(next, self.at, self.replay_from) };
            self.place = next.map_or(Place::Store, Place::Ring);
        }
        if matches!(self.place, Place::Store) && self.is_whole {
            // Whatever comes next follows on what was told.
            self.replay_from = self.at.change;
        }
        // A node that has not heard of everything cannot say that replay is over.
        let is_late = !self.has_caught_up(self.at) && self.is_early(ring.position());
        if matches!(self.place, Place::Store)
            && self.is_whole
            && !is_late
            && let Some(next) = ring.enter(self.at)
        {
            self.place = Place::Ring(next);
        }
    }

    /// Returns what the store has to be asked for.
    pub(crate) const fn wants(&self) -> Option<PageKey> {
        match self.place {
            Place::Store => Some(PageKey { at: self.at, replay_from: self.replay_from }),
            Place::Page(..) | Place::Ring(_) => None,
        }
    }

    /// Takes the page that it wanted.
    pub(crate) fn take_page(&mut self, key: PageKey, page: Arc<Page>) {
        if self.wants() == Some(key) {
            self.place = Place::Page(page, 0);
        }
    }

    /// Returns whether something of a room without messages was dropped before it was read.
    pub(crate) const fn is_overrun(&self) -> bool {
        matches!(self.missed, Missed::Something)
    }

    /// Appends the frames that come next, until `out` holds `bytes`; the reader has to be settled and stays where it is.
    /// `resumption` makes up for what has passed, if the reader was too slow for it; it was made when the ring was as it is.
    pub(crate) fn gather(
        &self,
        ring: &Ring,
        live: impl Fn() -> Bytes,
        resumption: Option<Bytes>,
        bytes: usize,
        mut take: impl FnMut(Piece),
    ) {
        let mut left = bytes;
        match &self.place {
            Place::Store => {}
            Place::Page(page, next) => {
                for (index, PageFrame { frame, records, gap }) in page.frames.iter().enumerate().skip(*next) {
                    let replayed = if gap.is_none() && !self.is_live { *records } else { 0 };
                    let (frame, then) = (frame.clone(), Then::OnPage(index + 1));
                    left = left.saturating_sub(frame.len());
                    take(Piece { frame, records: *records, replayed, gap: *gap, accepted_at: None, then });
                    if left == 0 {
                        return;
                    }
                }
            }
            Place::Ring(next) => {
                let (mut next, mut at, mut is_live) = (*next, self.at, self.is_live);
                let (mut whole, mut resumption) = (self.replay_from, resumption);
                loop {
                    if !is_live && self.has_caught_up(at) {
                        is_live = true;
                        let (frame, then) = (live(), Then::Live);
                        left = left.saturating_sub(frame.len());
                        take(Piece { frame, records: 1, replayed: 0, gap: None, accepted_at: None, then });
                    }
                    if let Some(frame) = resumption.take() {
                        left = left.saturating_sub(frame.len());
                        let then = Then::Resumed;
                        take(Piece { frame, records: 1, replayed: 0, gap: None, accepted_at: None, then });
                    }
                    let Some(segment) = ring.get(next).filter(|_| left > 0) else { return };
                    next += 1;
                    let is_passing = matches!(segment.what, What::Passing(_));
                    if is_passing && !is_live {
                        continue;
                    }
                    let (frame, records) = segment.for_reader(at);
                    let gap = if let What::Gap(cause) = segment.what { Some(cause) } else { None };
                    left = left.saturating_sub(frame.len());
                    if !is_passing {
                        at = segment.after;
                        whole = if gap.is_some() { at.change } else { whole.max(segment.whole) };
                    }
                    let then = Then::InRing { next, at, whole };
                    let replayed = if is_live || gap.is_some() { 0 } else { records };
                    let accepted_at = segment.accepted_at.filter(|_| is_live);
                    take(Piece { frame, records, replayed, gap, accepted_at, then });
                    // What only the store can tell is asked for when the reader has got there.
                    let Some(unknown) = ring.first_unknown(next, at, whole) else { return };
                    next = unknown;
                }
            }
        }
    }

    /// Returns whether everything is told that had happened when the reader came.
    fn has_caught_up(&self, at: RoomPosition) -> bool {
        !self.is_early(at)
    }

    /// Returns whether a position lies before the one at which the reader came.
    fn is_early(&self, at: RoomPosition) -> bool {
        at.epoch == self.came_at.epoch && at.change < self.came_at.change
    }

    /// Moves on behind a piece.
    pub(crate) fn pass(&mut self, piece: &Piece) {
        match piece.then {
            Then::OnPage(next) => {
                if let Place::Page(_, place) = &mut self.place {
                    *place = next;
                }
            }
            Then::Live => self.is_live = true,
            Then::Resumed => self.missed = Missed::Nothing,
            Then::InRing { next, at, whole } => {
                (self.place, self.at, self.replay_from) = (Place::Ring(next), at, whole);
                self.is_whole = whole == at.change;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        frame,
        ring::{
            SegmentBuilder,
            tests::{at, changes, passing},
        },
    };

    const ALL: usize = 1 << 20;

    fn live() -> Bytes {
        frame::of_record(b"live")
    }

    /// Reads everything that is there, one frame at a time.
    fn read(reader: &mut Reader, ring: &Ring) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            reader.settle(ring);
            let mut first = None;
            reader.gather(ring, live, None, 1, |piece| first = first.take().or(Some(piece)));
            let Some(piece) = first else { return lines };
            let text = String::from_utf8(frame::text_of(&piece.frame).to_vec()).unwrap();
            lines.extend(text.lines().map(str::to_owned));
            reader.pass(&piece);
        }
    }

    /// A page as the store would answer it: the changes behind `from` up to `to`, in frames of three.
    fn page(from: i64, to: i64, more: bool) -> Arc<Page> {
        let frames = (from + 1..=to).collect::<Vec<_>>();
        let frames = frames.chunks(3).map(|chunk| PageFrame {
            frame: changes(chunk[0], *chunk.last().unwrap()).frame,
            records: chunk.len() as u64,
            gap: None,
        });
        Arc::new(Page { frames: frames.collect(), after: at(to), more, _weight: None })
    }

    fn records(range: std::ops::RangeInclusive<i64>) -> Vec<String> {
        range.map(|change| format!("r{change}")).collect()
    }

    #[test]
    fn a_reader_of_now_is_live_at_once_and_hears_what_happens() {
        let mut ring = Ring::new(at(10));
        let mut reader = Reader::new(at(10));

        assert_eq!(read(&mut reader, &ring), ["live"]);
        ring.push(changes(11, 12), ALL);
        ring.push(passing(at(12)), ALL);

        assert_eq!(read(&mut reader, &ring), ["r11", "r12", "passing"]);
        assert_eq!((reader.position(), reader.wants()), (at(12), None));
    }

    #[test]
    fn replay_comes_from_the_ring_where_that_reaches_back() {
        let mut ring = Ring::new(at(10));
        ring.push(changes(11, 14), ALL);
        let mut reader = Reader::new(at(12));

        assert_eq!(read(&mut reader, &ring), ["live", "r13", "r14"]);
        let mut reader = Reader::since(at(12).into(), at(14));
        ring.push(passing(at(14)), ALL);
        ring.push(changes(15, 15), ALL);
        assert_eq!(read(&mut reader, &ring), ["r13", "r14", "live", "passing", "r15"]);
    }

    #[test]
    fn a_page_that_is_further_than_the_ring_is_not_told_twice() {
        let mut ring = Ring::new(at(10));
        let mut reader = Reader::new(at(4));
        assert_eq!(read(&mut reader, &ring), Vec::<String>::new());
        let wanted = reader.wants().unwrap();
        assert_eq!(wanted, PageKey { at: at(4), replay_from: Change::new(4) });

        reader.take_page(wanted, page(4, 12, false));
        assert_eq!(read(&mut reader, &ring), [records(5..=12), vec!["live".to_owned()]].concat());
        ring.push(changes(11, 11), ALL);
        assert_eq!(read(&mut reader, &ring), Vec::<String>::new());
        ring.push(changes(12, 14), ALL);

        assert_eq!(read(&mut reader, &ring), records(13..=14));
    }

    #[test]
    fn who_falls_out_of_the_ring_reads_the_store_and_is_not_told_that_it_is_live_again() {
        let mut ring = Ring::new(at(10));
        let mut reader = Reader::new(at(10));
        assert_eq!(read(&mut reader, &ring), ["live"]);
        for change in 11..=40 {
            ring.push(changes(change, change), 30);
        }

        assert_eq!(read(&mut reader, &ring), Vec::<String>::new());
        let wanted = reader.wants().unwrap();
        assert_eq!(wanted, PageKey { at: at(10), replay_from: Change::new(10) });
        reader.take_page(wanted, page(10, 39, false));

        assert_eq!(read(&mut reader, &ring), records(11..=40));
    }

    #[test]
    fn who_left_a_replay_on_the_way_goes_on_with_it_in_the_store() {
        let mut ring = Ring::new(at(10));
        ring.push(changes(11, 16), ALL);
        let mut reader = Reader::since(RoomCursor { at: at(14), whole: Change::new(11) }, at(16));

        assert_eq!(
            read(&mut reader, &ring),
            Vec::<String>::new(),
            "what was posted as 12 may be what the ring calls 15"
        );
        let wanted = PageKey { at: at(14), replay_from: Change::new(11) };
        assert_eq!(reader.wants(), Some(wanted));
        reader.take_page(wanted, page(14, 16, false));

        assert_eq!(read(&mut reader, &ring), ["r15", "r16", "live"]);
        ring.push(changes(17, 17), ALL);
        assert_eq!(read(&mut reader, &ring), ["r17"]);
    }

    #[test]
    fn a_room_that_has_not_heard_of_everything_lets_the_store_replay() {
        let mut ring = Ring::new(at(10));
        let mut reader = Reader::since(at(9).into(), at(12));

        assert_eq!(read(&mut reader, &ring), Vec::<String>::new());
        reader.take_page(reader.wants().unwrap(), page(9, 12, false));
        assert_eq!(read(&mut reader, &ring), ["r10", "r11", "r12", "live"]);
        ring.push(changes(11, 13), ALL);

        assert_eq!(read(&mut reader, &ring), ["r13"]);
    }

    #[test]
    fn who_leaves_a_replay_of_the_ring_goes_on_with_it_in_the_store() {
        let mut ring = Ring::new(at(10));
        let mut reader = Reader::new(at(10));
        assert_eq!(read(&mut reader, &ring), ["live"]);
        // The room read a page of the store and has to read another one. In between, what was posted as change 11 is edited.
        let mut page = SegmentBuilder::new(at(10));
        page.push(Change::new(12), b"r12", None);
        ring.push(page.finish(Some(Change::new(10))), ALL);
        assert_eq!(read(&mut reader, &ring), ["r12"]);
        let (mut late, mut lagging) = (Reader::new(at(12)), reader.clone());
        assert_eq!(read(&mut late, &ring), ["live"]);
        let mut rest = SegmentBuilder::new(at(12));
        rest.push(Change::new(13), b"r13, posted as r11", None);
        rest.weave(Change::new(10));
        ring.push(rest.finish(None), ALL);

        assert_eq!(read(&mut reader, &ring), ["r13, posted as r11"]);
        assert_eq!(read(&mut late, &ring), Vec::<String>::new());
        assert_eq!(late.wants(), Some(PageKey { at: at(12), replay_from: Change::new(12) }), "to it that is no news");
        ring.push(changes(14, 40), 10);
        assert_eq!(read(&mut lagging, &ring), Vec::<String>::new());
        assert_eq!(lagging.wants(), Some(PageKey { at: at(12), replay_from: Change::new(10) }), "to it that is news");
    }

    #[test]
    fn who_was_too_slow_for_a_room_without_messages_is_told_what_makes_up_for_it_and_what_comes_then() {
        let (mut ring, resumption) = (Ring::new(at(0)), || Some(frame::of_record(b"all of it")));
        let mut reader = Reader::passing(ring.head(), ring.position());
        assert_eq!(read(&mut reader, &ring), ["live"]);
        let pass = |ring: &mut Ring, times| (0..times).for_each(|_| ring.push(passing(ring.position()), 30));
        pass(&mut ring, 5);
        reader.settle(&ring);
        assert!(reader.is_overrun() && !reader.is_at(ring.head()));

        let pieces = |reader: &Reader, ring: &Ring| {
            let mut pieces = Vec::new();
            reader.gather(ring, live, resumption(), ALL, |piece| pieces.push(piece));
            pieces
        };
        assert_eq!(pieces(&reader, &ring).len(), 1, "it is not written yet");
        pass(&mut ring, 1);
        reader.settle(&ring);
        for piece in pieces(&reader, &ring) {
            reader.pass(&piece);
        }

        assert!(reader.is_at(ring.head()));
        pass(&mut ring, 1);
        assert_eq!(read(&mut reader, &ring), ["passing"]);
        let mut ring = Ring::new(at(10));
        let mut reader = Reader::new(at(10));
        assert_eq!(read(&mut reader, &ring), ["live"]);
        pass(&mut ring, 5);
        reader.settle(&ring);
        assert!(!reader.is_overrun(), "messages are in the store");
    }

    #[test]
    fn a_page_that_nobody_waits_for_any_more_is_dropped() {
        let ring = Ring::new(at(10));
        let mut reader = Reader::new(at(4));
        reader.settle(&ring);

        reader.take_page(PageKey { at: at(3), replay_from: Change::new(3) }, page(3, 9, false));

        assert_eq!(reader.wants(), Some(PageKey { at: at(4), replay_from: Change::new(4) }));
    }

    #[test]
    fn behind_a_gap_the_reader_goes_on() {
        let ring = Ring::new(at(90));
        let mut reader = Reader::behind_gap(frame::of_record(b"gap"), GapCause::Window, at(90));

        assert_eq!(read(&mut reader, &ring), ["gap", "live"]);
    }

    proptest! {
        /// Whatever the ring keeps, however far the store's pages reach, and however little is written at a time: the
        /// reader hears each change once, in order.
        #[test]
        fn every_change_is_heard_once_and_in_order(
            start in 0_i64..30,
            batches in prop::collection::vec((1_i64..6, 10_usize..80, 0_usize..3, 0_i64..5, any::<bool>()), 1..40),
        ) {
            let mut ring = Ring::new(at(30));
            let (mut reader, mut heard) = (Reader::new(at(start)), Vec::new());
            for (count, kept, turns, ahead, is_partial) in batches {
                let from = ring.position().change.get();
                ring.push(changes(from + 1, from + count), kept);
                for _ in 0..turns {
                    heard.extend(read(&mut reader, &ring));
                    if let Some(key) = reader.wants() {
                        // The store knows all that the ring knows, and may know more.
                        let newest = ring.position().change.get() + ahead;
                        let to = if is_partial { (key.at.change.get() + 2).min(newest) } else { newest };
                        let to = to.max(key.at.change.get());
                        reader.take_page(key, page(key.at.change.get(), to, to < newest));
                    }
                }
            }
            loop {
                heard.extend(read(&mut reader, &ring));
                let Some(key) = reader.wants() else { break };
                let newest = ring.position().change.max(key.at.change).get();
                reader.take_page(key, page(key.at.change.get(), newest, false));
            }
            heard.retain(|line| line != "live");
            let last = reader.position().change.get();
            prop_assert!(last >= ring.position().change.get());
            prop_assert_eq!(heard, records(start + 1..=last));
        }
    }
}
