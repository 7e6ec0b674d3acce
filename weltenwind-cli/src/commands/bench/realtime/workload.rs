//! What is asked of a server: the workloads that other servers were measured by.

use clap::ValueEnum;

/// Which workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Named {
    /// 1 000 sockets in one room, 10 messages a second.
    Light,
    /// 20 rooms of 50 sockets, 200 messages a second from 20 publishers.
    Rooms,
    /// 1 000 sockets in one room, 40 messages a second.
    Mid,
    /// 5 000 sockets, 100 rooms of 50, 100 messages a second.
    Many,
    /// 1 000 sockets in one room, 2 publishers with 16 messages always under way.
    Max,
    /// 20 rooms of 50 sockets, 20 publishers with 16 messages always under way.
    Maxrooms,
    /// One socket comes back 10 000 messages behind.
    Replay,
}

/// Sockets, rooms and how often is posted. Publishers are among the sockets and hear themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Workload {
    pub(super) name: &'static str,
    pub(super) rooms: usize,
    pub(super) members: usize,
    pub(super) publishers_per_room: usize,
    pub(super) pace: Pace,
    /// Whether the sockets are also measured while nothing is posted.
    pub(super) idles: bool,
}

/// When a publisher posts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    /// So many messages a second, of all publishers together.
    Rate(u32),
    /// Whenever fewer messages than this are under way; a message is, until its publisher hears it in the room.
    UnderWay(usize),
}

/// How far behind the socket of `replay` is.
pub(super) const REPLAYED: usize = 10_000;

const UNDER_WAY: Pace = Pace::UnderWay(16);

impl Named {
    /// Returns what it asks; nothing of `replay`, which is no fan-out.
    pub(super) const fn workload(self) -> Option<Workload> {
        let (name, rooms, members, publishers_per_room, pace) = match self {
            Self::Light => ("light", 1, 1000, 1, Pace::Rate(10)),
            Self::Rooms => ("rooms", 20, 50, 1, Pace::Rate(200)),
            Self::Mid => ("mid", 1, 1000, 1, Pace::Rate(40)),
            Self::Many => ("many", 100, 50, 1, Pace::Rate(100)),
            Self::Max => ("max", 1, 1000, 2, UNDER_WAY),
            Self::Maxrooms => ("maxrooms", 20, 50, 1, UNDER_WAY),
            Self::Replay => return None,
        };
        let idles = matches!(self, Self::Many);
        Some(Workload { name, rooms, members, publishers_per_room, pace, idles })
    }
}

impl Workload {
    pub(super) const fn sockets(&self) -> usize {
        self.rooms * self.members
    }
}
