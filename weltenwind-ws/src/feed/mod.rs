//! A room on this node: one ring that is filled once and read by all who are in it.

mod pages;
mod registry;
mod source;
mod whispers;

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU16, AtomicU64, AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use prometheus::IntGauge;
use slab::Slab;
use tokio::{sync::OnceCell, time::Instant};
use weltenwind_core::{
    ChannelId, Code, CursorSealer, Room, Scope,
    chat::{RoomHead, RoomPosition, SharedChannel},
    wire::ServerRecord,
};

use self::{pages::Pages, whispers::Whispers};
pub(crate) use self::{
    pages::{SharedPage, name_of},
    registry::{Attendance, Feeds},
    whispers::{has_presence, snapshot},
};
use crate::{
    bell::Bell,
    frame, records,
    ring::{Ring, Segment},
};

/// A room that somebody on this node is in.
pub(crate) struct Feed {
    pub(crate) room: Room,
    /// The frame that tells a reader that replay is over; the room of one account never needs it.
    live: OnceLock<Bytes>,
    ring: Mutex<Ring>,
    /// Why the room tells nothing more.
    ended: OnceLock<Code>,
    /// The number of the ring's next segment, to be looked at without the lock. It is written under the lock alone: of two who
    /// tell the room something, the one that is late must not set it back.
    head: AtomicU64,
    bells: Mutex<Slab<Arc<Bell>>>,
    /// In a box, because most rooms are those of one account and have none.
    channel: Option<Box<Channel>>,
    budget: Arc<Budget>,
    /// What tells the room who comes and goes; a room of one account has none.
    whispers: OnceLock<Box<Whispers>>,
}

/// What the rings of a node may keep together, and what they do keep.
#[derive(Debug)]
struct Budget {
    /// Bytes of all rings.
    total: usize,
    /// Bytes that one ring may keep by now.
    kept: AtomicUsize,
    rooms: IntGauge,
    bytes: IntGauge,
    /// Bytes of pages that somebody holds; they count for themselves.
    pages: IntGauge,
}

/// A ring keeps no more than this, however few there are: what is older is read from the store.
const MOST_KEPT: usize = 1024 * 1024;
/// A ring keeps this, however many there are: one batch is never too large for it.
const LEAST_KEPT: usize = 16 * 1024;

impl Budget {
    /// Divides it among so many rooms.
    fn share(&self, rooms: usize) {
        let kept = (self.total / rooms.max(1)).clamp(LEAST_KEPT, MOST_KEPT);
        self.kept.store(kept, Ordering::Relaxed);
        self.rooms.set(i64::try_from(rooms).unwrap_or(i64::MAX));
    }

    fn grow(&self, before: usize, after: usize) {
        let length = |bytes| i64::try_from(bytes).unwrap_or(i64::MAX);
        self.bytes.add(length(after) - length(before));
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.budget.grow(self.read(Ring::bytes), 0);
    }
}

/// A room of a channel.
struct Channel {
    id: ChannelId,
    shared: SharedChannel,
    cursors: CursorSealer,
    pages: Pages,
    /// How many messages are asked for when the next page is read.
    asks: AtomicU16,
    is_followed: OnceCell<()>,
    /// Where the channel lies, as soon as somebody was let in.
    scope: OnceLock<Scope>,
    /// How far the store was, and when that was read.
    head: tokio::sync::Mutex<Option<(Instant, RoomHead)>>,
}

impl Channel {
    fn new(id: ChannelId, shared: SharedChannel, cursors: CursorSealer) -> Self {
        let (pages, is_followed, head) = (Pages::default(), OnceCell::new(), tokio::sync::Mutex::default());
        let (asks, scope) = (AtomicU16::new(pages::MOST_ASKED), OnceLock::new());
        Self { id, shared, cursors, pages, asks, is_followed, scope, head }
    }
}

impl fmt::Debug for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feed").field("room", &self.room).finish_non_exhaustive()
    }
}

/// No position was read yet; whoever attends waits until one was.
const NOWHERE: RoomPosition = RoomPosition { epoch: 0, change: weltenwind_core::chat::Change::ZERO };

impl Feed {
    fn new(room: Room, channel: Option<Box<Channel>>, budget: Arc<Budget>) -> Self {
        Self {
            room,
            live: OnceLock::new(),
            ring: Mutex::new(Ring::new(NOWHERE)),
            ended: OnceLock::new(),
            head: AtomicU64::new(0),
            bells: Mutex::default(),
            channel,
            budget,
            whispers: OnceLock::new(),
        }
    }

    /// Returns the frame that tells a reader that replay is over.
    pub(crate) fn live(&self) -> Bytes {
        let room = self.room;
        self.live.get_or_init(|| frame::of_record(&records::write(&ServerRecord::Live { room }))).clone()
    }

    /// Lets the ring be read. Whoever reads clones handles and writes later.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&Ring) -> T) -> T {
        read(&lock(&self.ring))
    }

    /// Returns the number of the segment that comes next.
    pub(crate) fn head(&self) -> u64 {
        self.head.load(Ordering::Acquire)
    }

    /// Returns why the room tells nothing more, if it does not.
    pub(crate) fn ended(&self) -> Option<Code> {
        self.ended.get().copied()
    }

    /// Notes where a channel lies: it never moves.
    pub(crate) fn lies_in(&self, scope: Scope) {
        if let Some(channel) = &self.channel {
            let _ = channel.scope.set(scope);
        }
    }

    /// Returns whether somebody who lost something in `scope` may have lost this room.
    pub(crate) fn may_be_lost_in(&self, scope: Scope) -> bool {
        match self.room {
            Room::User(_) => false,
            _ if scope == Scope::Global => true,
            Room::Global => false,
            Room::World(id) => scope == Scope::World(id),
            // Which world it lies in is not known here.
            Room::Group(_) => true,
            Room::Channel(_) => match self.channel.as_ref().and_then(|channel| channel.scope.get()) {
                None | Some(Scope::Group(_)) => true,
                Some(own) => *own == scope,
            },
        }
    }

    pub(crate) fn position(&self) -> RoomPosition {
        self.read(Ring::position)
    }

    /// Begins at a position, before anybody reads. What was told in passing by then has passed.
    fn begin(&self, at: RoomPosition) {
        self.change(|ring| *ring = Ring::new(at));
    }

    fn change(&self, change: impl FnOnce(&mut Ring)) {
        let mut ring = lock(&self.ring);
        let before = ring.bytes();
        change(&mut ring);
        self.budget.grow(before, ring.bytes());
        self.head.store(ring.head(), Ordering::Release);
    }

    /// Tells everybody in the room.
    fn tell(&self, segment: Segment) {
        self.tell_with(|_| segment);
    }

    fn tell_with(&self, segment: impl FnOnce(RoomPosition) -> Segment) {
        self.change(|ring| {
            let segment = segment(ring.position());
            ring.push(segment, self.budget.kept.load(Ordering::Relaxed));
        });
        self.ring_bells();
    }

    /// Returns the frame that makes up for what a reader of the ring has missed, if anything does.
    pub(crate) fn resumption(&self, ring: &Ring) -> Option<Bytes> {
        let whispers = self.whispers.get().filter(|_| has_presence(self.room))?;
        Some(ring.resumption(|| {
            let frame = whispers.resumption(self.room);
            self.budget.grow(0, frame.len());
            frame
        }))
    }

    /// Tells so many records to everybody who is in the room right now, and to nobody who comes later.
    fn tell_in_passing(&self, frame: Bytes, records: u32) {
        self.tell_with(|at| Segment::passing(frame, records, at));
    }

    /// Ends the room for everybody who is in it.
    pub(crate) fn end(&self, code: Code) {
        let _ = self.ended.set(code);
        self.ring_bells();
    }

    fn ring_bells(&self) {
        self.for_each_bell(Bell::ring);
    }

    fn for_each_bell(&self, ring: impl Fn(&Bell)) {
        for (_, bell) in lock(&self.bells).iter() {
            ring(bell);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed() -> (Feed, IntGauge) {
        let gauge = |name| IntGauge::new(name, "Of a test.").unwrap();
        let bytes = gauge("bytes");
        let (rooms, pages) = (gauge("rooms"), gauge("pages"));
        let budget = Budget { total: MOST_KEPT, kept: LEAST_KEPT.into(), rooms, bytes: bytes.clone(), pages };
        (Feed::new(Room::Global, None, Arc::new(budget)), bytes)
    }

    /// A number that lagged behind the ring would let a reader believe that it had read what it has not.
    #[test]
    fn whoever_looks_into_the_ring_finds_its_head_told_already() {
        const TOLD: u64 = 400_000;
        let (feed, _) = feed();
        let frame = frame::of_record(b"typing");

        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| (0..TOLD / 2).for_each(|_| feed.tell_in_passing(frame.clone(), 1)));
            }
            loop {
                let (head, told) = feed.read(|ring| (ring.head(), feed.head()));
                assert_eq!(told, head);
                if head == TOLD {
                    break;
                }
            }
        });

        assert_eq!(feed.head(), TOLD);
    }

    #[test]
    fn what_was_told_before_the_room_began_is_neither_kept_nor_counted() {
        let (feed, bytes) = feed();
        feed.tell_in_passing(frame::of_record(b"typing"), 1);
        assert!(bytes.get() > 0);

        feed.begin(RoomPosition { epoch: 7, change: weltenwind_core::chat::Change::new(3) });

        assert_eq!((bytes.get(), feed.head(), feed.read(Ring::head)), (0, 0, 0));
        feed.tell_in_passing(frame::of_record(b"typing"), 1);
        assert_eq!((bytes.get(), feed.head()), (i64::try_from(feed.read(Ring::bytes)).unwrap(), 1));
        drop(feed);
        assert_eq!(bytes.get(), 0);
    }
}
