//! Records of the socket `/realtime/v1`: flat objects with their type in `t`; a frame may hold several, one per line.

use serde::{Deserialize, Serialize};

use super::{http::MessageBody, time::WireTime};
use crate::{
    ids::{AccountId, MessageId, NotificationId},
    room::Room,
};

/// The subprotocol of the socket.
pub const SUBPROTOCOL: &str = "weltenwind.v1";

/// Codes with which the server closes a socket.
///
/// 4000–4099: reconnect and resume. 4100–4199: get a new token first. 4200–4299: stop.
pub mod close {
    /// The server drains.
    pub const DRAIN: u16 = 4000;
    /// The reader makes no progress.
    pub const SLOW: u16 = 4001;
    /// No sign of life after a ping.
    pub const NO_PONG: u16 = 4002;
    /// The server is overloaded, or its store is away.
    pub const OVERLOADED: u16 = 4005;
    /// The access token has expired.
    pub const EXPIRED: u16 = 4100;
    /// The account has no more right to the scope that the access token is narrowed to.
    pub const SCOPE_CHANGED: u16 = 4101;
    /// The device was signed out.
    pub const DEVICE_REVOKED: u16 = 4200;
    /// The session has ended, the account is no more, or the API key was deleted.
    pub const SESSION_ENDED: u16 = 4201;
    /// The account is banned from everything.
    pub const BANNED: u16 = 4202;
    /// Too many records could not be read.
    pub const PROTOCOL_VIOLATION: u16 = 4203;
}

/// What a client sends. `id` is chosen by the client and comes back in the answer. Unknown members are refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(tag = "t", rename_all = "kebab-case", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum ClientRecord {
    /// Joins a room; with `since` everything after that position is replayed first.
    Join {
        /// The request.
        id: i64,
        /// The room.
        room: Room,
        /// The position that the client has seen: a `cursor` of the socket or a `roomCursor` of the history.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        since: Option<String>,
    },
    /// Leaves a room.
    Leave {
        /// The request.
        id: i64,
        /// The room.
        room: Room,
    },
    /// Posts a message to a channel.
    Pub {
        /// The request.
        id: i64,
        /// The channel's room.
        room: Room,
        /// What the client calls the message; a repeat under the same name is no second message.
        client_id: String,
        /// What the message says.
        body: String,
        /// The message it replies to.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reply_to: Option<MessageId>,
    },
    /// Goes on under a newer access token.
    Refresh {
        /// The request.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<i64>,
        /// The token.
        token: String,
    },
    /// Says something of oneself in a room with presence; without `state`, nothing any more.
    Presence {
        /// The request.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<i64>,
        /// The room.
        room: Room,
        /// What is said: 1 to 64 characters on one line.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        state: Option<String>,
    },
    /// Tells a room that something is being written; more than one in three seconds is passed over.
    Typing {
        /// The request.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<i64>,
        /// The room.
        room: Room,
    },
    /// Says whether somebody looks at the client right now: toasts are for them alone.
    Foreground {
        /// The request.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<i64>,
        /// Whether somebody does.
        on: bool,
    },
    /// Answers a ping.
    Pong,
}

/// What a server sends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(tag = "t", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum ServerRecord {
    /// The first record on a socket.
    Welcome {
        /// Names this connection in the server's log.
        conn: String,
        /// Names the node.
        node: String,
        /// The server's clock.
        server_time: WireTime,
        /// Seconds between two pings.
        ping_every_seconds: u64,
        /// Seconds that the access token still lives.
        token_ttl_seconds: u64,
        /// What the connection may do.
        limits: LimitsRecord,
    },
    /// A room was joined.
    Joined {
        /// The request.
        id: i64,
        /// The room.
        room: Room,
        /// The position that the connection starts from; absent in rooms that are not replayable.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cursor: Option<String>,
        /// Whether everything since the asked position follows.
        recovered: bool,
        /// Who is in the room, oneself included; absent in rooms without presence.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        presence: Option<PresenceRecord>,
    },
    /// A new message.
    Msg {
        /// The channel's room.
        room: Room,
        /// The message's number.
        seq: i64,
        /// The position after it.
        cursor: String,
        /// The message.
        message: MessageBody,
    },
    /// A message was edited or removed.
    Update {
        /// The channel's room.
        room: Room,
        /// The position after it.
        cursor: String,
        /// The message in its new state.
        message: MessageBody,
    },
    /// Everything before was replay; what follows happens now.
    Live {
        /// The room.
        room: Room,
    },
    /// Something was missed and is not replayed: read the history anew.
    Gap {
        /// The room.
        room: Room,
        /// `window` or `epoch`.
        cause: String,
        /// The position after it.
        cursor: String,
    },
    /// Who came, went, or says something new of themselves.
    Presence {
        /// The room.
        room: Room,
        /// One more than that of the record before, or of `joined.presence`: what is not above that is known already. A record
        /// that is `whole` begins anew with its own, and without one there is no hole.
        version: u64,
        /// Whether `join` is everybody, in place of all that was known, or nobody where there are more than are listed: told
        /// to who was too slow for the changes before. Absent means no.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        whole: bool,
        /// Who came, and who says something new.
        join: Vec<MemberRecord>,
        /// Who went; also everybody who was listed, once there are more than are listed.
        leave: Vec<AccountId>,
        /// How many there are now.
        count: usize,
    },
    /// Somebody is writing something.
    Typing {
        /// The room.
        room: Room,
        /// The account.
        user: AccountId,
        /// The name it is shown by.
        display_name: String,
    },
    /// There is something new to be read over HTTP. What concerns an account is told to one socket of each device that
    /// somebody looks at, once; whoever does not hear it finds it in the feed.
    Notice {
        /// Whom it concerns: an account's own room, a world, everybody.
        room: Room,
        /// `announcement` or `notification`; pass over what you do not know.
        kind: String,
        /// The notification, as in `GET notifications`; absent in kinds that are about something else.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<NotificationId>,
    },
    /// A request succeeded.
    Ok {
        /// The request.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<i64>,
        /// The message as it is stored, for `pub`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message: Option<MessageBody>,
    },
    /// A request was refused, or a record could not be read (then `id` is null).
    Err {
        /// The request.
        #[cfg_attr(feature = "openapi", schema(required))]
        id: Option<i64>,
        /// The code in the catalogue.
        code: String,
        /// What is wrong this time.
        detail: String,
        /// Names the refusal in the server's log.
        correlation_id: String,
        /// Milliseconds after which the same request may pass.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_after_ms: Option<u64>,
    },
    /// A room was left, asked for or not.
    Left {
        /// The request, if it was asked for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<i64>,
        /// The room.
        room: Room,
        /// Why, if it was not asked for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        code: Option<String>,
    },
    /// The access token ends soon: send `refresh`.
    RefreshNeeded,
    /// Asks for a sign of life; any record will do.
    Ping,
    /// The server is about to close the socket.
    Bye {
        /// The close code.
        code: u16,
        /// Why.
        reason: String,
        /// The earliest moment to come back, in milliseconds.
        retry_min_ms: u64,
        /// The latest moment to come back, in milliseconds: choose at random between the two.
        retry_max_ms: u64,
        /// Whether cursors still hold.
        resume: bool,
    },
}

/// Who is in a room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct PresenceRecord {
    /// Counts what changes: the next `presence` has one more.
    pub version: u64,
    /// Everybody; nobody where there are more than are listed.
    pub members: Vec<MemberRecord>,
    /// How many there are, listed or not.
    pub count: usize,
}

/// Somebody who is in a room, on however many devices.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct MemberRecord {
    /// The account.
    pub id: AccountId,
    /// The name it is shown by.
    pub display_name: String,
    /// What it says of itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
}

/// What a connection may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct LimitsRecord {
    /// Rooms that may be joined at once.
    pub rooms: usize,
    /// Bytes of one frame from the client.
    pub frame_bytes: usize,
    /// Changes that a `since` may be behind.
    pub replay_window: i64,
}
