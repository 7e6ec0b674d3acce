//! What a bus carries, and what it tells of itself.

use std::time::Duration;

use super::wire::{self, WireError};
use crate::{chat::Message, ids::ChannelId};

/// Something happened in a room.
#[derive(Debug)]
pub struct RoomEvent {
    /// The message in its new state; its `change` is the event's number in the room.
    pub message: Message,
    /// The life of the channel's counters.
    pub epoch: u32,
}

impl RoomEvent {
    /// Tells of a message.
    pub const fn new(message: Message, epoch: u32) -> Self {
        Self { message, epoch }
    }

    /// Returns the room it happened in.
    pub const fn channel(&self) -> ChannelId {
        self.message.channel
    }

    /// Appends the event in the form in which one node tells another. It is no host's frame: nodes of different versions
    /// share a broker while they are replaced one by one.
    pub fn write_wire(&self, buffer: &mut Vec<u8>) {
        wire::write(self, buffer);
    }

    /// Reads what another node wrote with [`write_wire`](Self::write_wire).
    ///
    /// # Errors
    ///
    /// [`WireError::UnknownVersion`] for what a newer node says. Whoever receives it ignores it: listeners find the hole.
    pub fn from_wire(bytes: &[u8]) -> Result<Self, WireError> {
        wire::read(bytes)
    }
}

#[cfg(any(test, feature = "conformance"))]
impl RoomEvent {
    /// The posting of message `change` in [`NewChannel::sample`](crate::chat::NewChannel::sample) number `channel`.
    pub fn sample(channel: u32, change: i64) -> Self {
        use crate::chat::{Change, NewChannel, NewMessage, Seq};

        let new = NewMessage::sample(&format!("message {change}"));
        let message = Message {
            id: new.id,
            channel: NewChannel::sample(channel).id,
            seq: Seq::new(change),
            posted_change: Change::new(change),
            change: Change::new(change),
            author: new.author,
            body: Some(new.body),
            client_id: new.client_id,
            reply_to: None,
            sent_at: new.sent_at,
            edited_at: None,
            tombstone: None,
        };
        Self::new(message, 7)
    }
}

/// Events were missed; the store has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("events were missed")]
pub struct BusLag;

/// The bus reaches no other node. Players notice that messages from there come late; nothing is lost.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the bus is away: {0}")]
pub struct BusAway(pub String);

/// What a bus has counted since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BusCounts {
    /// Events that the broker took.
    pub published: u64,
    /// Events that came from other nodes for somebody here.
    pub received: u64,
    /// Events of other nodes in rooms that nobody here listens to: a broker may tell of more than is asked for.
    pub unheard: u64,
    /// Events that were not published because the broker was away or too slow.
    pub dropped: u64,
    /// Events from other nodes that could not be read: those of a newer version, as a rule.
    pub unreadable: u64,
    /// Connections that were made after the first.
    pub reconnects: u64,
    /// How long the last sign of life took through the broker and back.
    pub round_trip: Option<Duration>,
}
