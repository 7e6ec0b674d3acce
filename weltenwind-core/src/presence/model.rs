//! Who is where, and what nodes tell each other of it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{
    clock::Timestamp,
    ids::{AccountId, NodeId},
    room::Room,
    validation::{one_line, text},
};

text! {
    /// What somebody says of themselves in a room: `away`, `in a raid`. 1 to 64 characters on one line.
    PresenceState, "/state", |text| one_line("state", text, 1, 64)
}

/// A socket, as its host numbers it; unique on its node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketId(pub u64);

/// Somebody who is in a room, however many sockets they have there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// The account.
    pub account: AccountId,
    /// The name that it is shown by.
    pub display_name: String,
    /// What it says of itself.
    pub state: Option<String>,
    /// When it said so; 1970 if it said nothing. Where several sockets say different things, the newest counts.
    pub at: Timestamp,
}

/// Who is in a room at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The room.
    pub room: Room,
    /// The number of the last change that it holds; changes count on from here.
    pub version: u64,
    /// Everybody, by account; nobody where there are more than are listed.
    pub members: Vec<Member>,
    /// How many there are, listed or not.
    pub count: usize,
}

/// What changed in a room since the change before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PresenceDiff {
    /// The room.
    pub room: Room,
    /// One more than that of the change before. Whoever finds a hole takes a new snapshot.
    pub version: u64,
    /// Who came, and who says something new of themselves.
    pub join: Vec<Member>,
    /// Who went. Also everybody who was listed, once there are more than are listed; `count` tells the two apart.
    pub leave: Vec<AccountId>,
    /// How many there are now.
    pub count: usize,
}

/// Somebody is writing something. It may be lost, and nobody asks for it again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Typing {
    /// The node that tells it.
    pub node: NodeId,
    /// The room.
    pub room: Room,
    /// The account.
    pub account: AccountId,
    /// The name that it is shown by.
    pub display_name: String,
}

/// What those who watch a room hear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PresenceEvent {
    /// Somebody came, went or says something new of themselves.
    Changed(Arc<PresenceDiff>),
    /// Somebody is writing.
    Typing(Arc<Typing>),
}

/// What one node's sockets changed in one room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomChange {
    /// The room.
    pub room: Room,
    /// Whether `set` is everybody whom the node has there, and nobody else of it is.
    pub whole: bool,
    /// Who came, or says something new.
    pub set: Vec<Member>,
    /// Who has no socket on the node any more.
    pub gone: Vec<AccountId>,
}

/// Everything that one node changed since it last said so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flush {
    /// The node.
    pub node: NodeId,
    /// Counts the node's flushes: 1, 2, 3 …. Whoever finds a hole has missed something.
    pub sequence: u64,
    /// The changes, one a room.
    pub changes: Vec<RoomChange>,
}

/// Whom one node has in a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shard {
    /// The node.
    pub node: NodeId,
    /// The sequence of the flush that changed it last: what is not above it is part of it.
    pub version: u64,
    /// Everybody whom the node has there.
    pub members: Vec<Member>,
}

/// What a node learns when it gives a sign of life.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Beat {
    /// Whether the node's lease still stood. If not, nothing was renewed, and the others may take the node for dead: it goes
    /// on under another name.
    pub was_known: bool,
    /// Nodes whose lease stands, itself among them, and the sequence of the last flush before their last beat.
    pub live: Vec<(NodeId, u64)>,
    /// Nodes whose lease has run out and that were not buried.
    pub dead: Vec<NodeId>,
}

/// What a node hears of others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PresenceNews {
    /// What a node changed; also this node's own flushes may come back.
    Flush(Arc<Flush>),
    /// Somebody is writing, on another node.
    Typing(Arc<Typing>),
    /// Something was missed; what is stored is true.
    Missed,
}
