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
    /// The sockets of `max`: two write all the time without posting, and then two say something new of themselves.
    Ephemeral,
}

/// What publishers have to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum What {
    /// Messages, in channels.
    Messages,
    /// That they are writing, in channels.
    Typing,
    /// Something of themselves, in the room of everybody, which is one.
    Presence,
}

/// Sockets, rooms and how often is posted. Publishers are among the sockets and hear themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Workload {
    pub(super) name: &'static str,
    pub(super) rooms: usize,
    pub(super) members: usize,
    pub(super) publishers_per_room: usize,
    pub(super) what: What,
    pub(super) pace: Pace,
    /// Whether the sockets are also measured while nothing is posted.
    pub(super) idles: bool,
}

/// When a publisher says something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    /// So many messages a second, of all publishers together.
    Rate(u32),
    /// Whenever fewer of its words than this are under way; one is, until its publisher hears it in the room.
    UnderWay(usize),
}

/// How far behind the socket of `replay` is.
pub(super) const REPLAYED: usize = 10_000;

const UNDER_WAY: Pace = Pace::UnderWay(16);

impl Named {
    /// Returns what it asks, one after the other; none stands for `replay`, which is no fan-out.
    pub(super) fn workloads(self) -> Vec<Option<Workload>> {
        let (name, rooms, members, publishers_per_room, pace) = match self {
            Self::Light => ("light", 1, 1000, 1, Pace::Rate(10)),
            Self::Rooms => ("rooms", 20, 50, 1, Pace::Rate(200)),
            Self::Mid => ("mid", 1, 1000, 1, Pace::Rate(40)),
            Self::Many => ("many", 100, 50, 1, Pace::Rate(100)),
            Self::Max => ("max", 1, 1000, 2, UNDER_WAY),
            Self::Maxrooms => ("maxrooms", 20, 50, 1, UNDER_WAY),
            Self::Ephemeral => ("typing", 1, 1000, 2, UNDER_WAY),
            Self::Replay => return vec![None],
        };
        let (idles, what) = (matches!(self, Self::Many), What::Messages);
        let workload = Workload { name, rooms, members, publishers_per_room, what, pace, idles };
        if self == Self::Ephemeral {
            let typing = Workload { what: What::Typing, ..workload };
            return vec![Some(typing), Some(Workload { name: "presence", what: What::Presence, ..workload })];
        }
        vec![Some(workload)]
    }
}

impl Workload {
    pub(super) const fn sockets(&self) -> usize {
        self.rooms * self.members
    }
}
