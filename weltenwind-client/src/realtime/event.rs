//! What a program hears from the socket.

use std::time::Duration;

use weltenwind_core::{
    AccountId, NotificationId, Room,
    wire::{MemberRecord, MessageBody},
};

use crate::error::ClientError;

/// What happened.
///
/// Messages of a channel come in its order and each once, across any number of connections. A loss is never silent: it is
/// a [`Event::Gap`].
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// A message that was not told of before.
    Message {
        /// The message; in its newest state, if it was changed while nobody listened.
        message: MessageBody,
        /// The position after it: a program that keeps it joins from here when it is started anew.
        cursor: String,
    },
    /// A message was edited or removed.
    Updated {
        /// The message in its new state.
        message: MessageBody,
        /// The position after it.
        cursor: String,
    },
    /// Everything before was replay; what follows happens now. Comes after every join, also that of a reconnect.
    Live {
        /// The room.
        room: Room,
    },
    /// Something was missed and is not replayed: read the history anew.
    Gap {
        /// The room.
        room: Room,
        /// Why.
        cause: GapCause,
        /// The position after it.
        cursor: Option<String>,
    },
    /// Who is in a room has changed since the program was told last. Comes after every join of a room with presence, the first
    /// with everybody in `join`, and those of a reconnect with what changed meanwhile; [`RealtimeHandle::presence`] has it all.
    ///
    /// [`RealtimeHandle::presence`]: super::RealtimeHandle::presence
    Presence {
        /// The room.
        room: Room,
        /// Who came, and who says something new.
        join: Vec<MemberRecord>,
        /// Who went; also everybody who was listed, once there are more than are listed: `count` tells the two apart.
        leave: Vec<AccountId>,
        /// How many there are now, listed or not.
        count: usize,
    },
    /// Somebody is writing something; it may be lost, and passes by itself after some seconds.
    Typing {
        /// The room.
        room: Room,
        /// The account.
        user: AccountId,
        /// The name it is shown by.
        display_name: String,
    },
    /// There is something new to be read, where [`RealtimeHandle::foreground`] has said that somebody looks. It is told once, on
    /// one of the account's connections of each device; what is not told is in the feed all the same.
    ///
    /// [`RealtimeHandle::foreground`]: super::RealtimeHandle::foreground
    Notice {
        /// Whom it concerns: one's own room, a world, everybody.
        room: Room,
        /// `announcement` or `notification`; pass over what you do not know.
        kind: String,
        /// The notification, as in `GET notifications`; absent in kinds that are about something else.
        id: Option<NotificationId>,
    },
    /// The server took a room away; nothing more is heard of it.
    Left {
        /// The room.
        room: Room,
        /// The code that says why.
        code: String,
    },
    /// The connection was lost, and is opened again.
    Disconnected {
        /// How it ended.
        error: ClientError,
        /// The pause before the first attempt.
        retry_in: Duration,
    },
    /// The connection is back. What was missed follows.
    Reconnected,
    /// The connection is not opened again; nothing follows.
    Closed {
        /// Why.
        error: ClientError,
    },
}

/// Why something cannot be replayed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum GapCause {
    /// It lies too far back.
    Window,
    /// The channel's counters began another life, after a backup was restored for example.
    Epoch,
    /// The server does not know the position any more.
    Cursor,
    /// A cause that this client does not know.
    Other(String),
}

impl From<String> for GapCause {
    fn from(cause: String) -> Self {
        match cause.as_str() {
            "window" => Self::Window,
            "epoch" => Self::Epoch,
            _ => Self::Other(cause),
        }
    }
}
