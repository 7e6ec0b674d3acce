//! The rooms that a socket is in.

use std::sync::Arc;

use smallvec::SmallVec;
use weltenwind_core::{Code, Room, Scope};

use crate::{
    feed::{Attendance, Feed, SharedPage},
    reader::{PageKey, Piece, Reader},
    requests::Seat,
};

/// The rooms of one socket.
#[derive(Debug, Default)]
pub(crate) struct Rooms {
    joined: Vec<Membership>,
    /// Whose turn it is to be heard first.
    first: usize,
}

#[derive(Debug)]
struct Membership {
    attendance: Attendance,
    reader: Reader,
    /// Held for others who read the same page.
    page: Option<SharedPage>,
    /// Whether others see one there; in a box, because in channels nobody does.
    _seat: Option<Box<Seat>>,
}

/// A piece of what a room has to tell.
#[derive(Debug)]
pub(crate) struct Told {
    room: usize,
    pub(crate) piece: Piece,
}

/// What is told at once: mostly the news of one room, for which nothing is allocated.
pub(crate) type Gathered = SmallVec<[Told; 2]>;

/// A room with much to tell lets others have their turn after so many bytes.
const TURN_BYTES: usize = 64 * 1024;

impl Membership {
    fn room(&self) -> Room {
        self.attendance.feed.room
    }
}

impl Rooms {
    pub(crate) fn contains(&self, room: Room) -> bool {
        self.joined.iter().any(|membership| membership.room() == room)
    }

    pub(crate) const fn len(&self) -> usize {
        self.joined.len()
    }

    pub(crate) fn names(&self) -> Vec<Room> {
        self.joined.iter().map(Membership::room).collect()
    }

    /// Returns whether whoever lost something in `scope` may have lost one of the rooms.
    pub(crate) fn may_be_lost_in(&self, scope: Scope) -> bool {
        self.joined.iter().any(|membership| membership.attendance.feed.may_be_lost_in(scope))
    }

    pub(crate) fn join(&mut self, attendance: Attendance, mut reader: Reader, seat: Option<Seat>) {
        attendance.feed.read(|ring| reader.settle(ring));
        debug_assert!(!self.contains(attendance.feed.room), "a room is joined once");
        self.joined.reserve_exact(1);
        self.joined.push(Membership { attendance, reader, page: None, _seat: seat.map(Box::new) });
    }

    /// Leaves a room and returns whether it was joined. Nothing more is heard of it.
    pub(crate) fn leave(&mut self, room: Room) -> bool {
        let Some(index) = self.joined.iter().position(|membership| membership.room() == room) else { return false };
        self.joined.remove(index);
        self.first = 0;
        true
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.joined.iter().any(|membership| membership.attendance.feed.ended().is_some())
    }

    /// Returns the rooms that tell nothing more, and why.
    pub(crate) fn ended(&self) -> Vec<(Room, Code)> {
        let ended = |membership: &Membership| membership.attendance.feed.ended().map(|code| (membership.room(), code));
        self.joined.iter().filter_map(ended).collect()
    }

    /// Appends what the rooms have to tell, each in its turn, about `bytes` of it. [`pass`](Self::pass) moves on.
    pub(crate) fn gather(&mut self, bytes: usize, told: &mut Gathered) {
        let (count, mut left) = (self.joined.len(), bytes);
        for turn in 0..count {
            if left == 0 {
                break;
            }
            let room = (self.first + turn) % count;
            let Membership { attendance, reader, page, .. } = &mut self.joined[room];
            let feed = &attendance.feed;
            if reader.is_at(feed.head()) {
                continue;
            }
            feed.read(|ring| {
                reader.settle(ring);
                if !reader.is_on_page() {
                    *page = None;
                }
                let resumption = reader.is_overrun().then(|| feed.resumption(ring)).flatten();
                reader.gather(
                    ring,
                    || feed.live(),
                    resumption,
                    left.min(TURN_BYTES),
                    |piece| {
                        left = left.saturating_sub(piece.frame.len());
                        told.push(Told { room, piece });
                    },
                );
            });
        }
        if left == 0 {
            self.first = (self.first + 1) % count;
        }
    }

    /// Moves a room's reader behind what it was told. Of each room, what comes first has to be passed first.
    pub(crate) fn pass(&mut self, told: &Told) {
        self.joined[told.room].reader.pass(&told.piece);
    }

    pub(crate) fn wants_page(&self) -> bool {
        self.joined.iter().any(|membership| membership.reader.wants().is_some())
    }

    /// Returns a page that one of the readers waits for, and whether that is because it lags behind.
    pub(crate) fn wants(&self) -> Option<(Arc<Feed>, PageKey, bool)> {
        self.joined.iter().find_map(|Membership { attendance, reader, .. }| {
            let key = reader.wants()?;
            Some((Arc::clone(&attendance.feed), key, reader.is_live()))
        })
    }

    pub(crate) fn feed_of(&self, room: Room) -> Option<Arc<Feed>> {
        let mut joined = self.joined.iter();
        joined.find(|membership| membership.room() == room).map(|membership| Arc::clone(&membership.attendance.feed))
    }

    /// Gives a page to the reader that waits for it.
    pub(crate) fn take_page(&mut self, room: Room, key: PageKey, page: SharedPage) {
        if let Some(membership) = self.joined.iter_mut().find(|membership| membership.room() == room) {
            membership.reader.take_page(key, Arc::clone(&page.page));
            membership.page = Some(page);
        }
    }
}
