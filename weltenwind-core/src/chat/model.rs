//! What channels and messages are.

use std::{
    fmt,
    ops::Deref,
    str::FromStr,
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{
    body::{Body, ClientId},
    error::Refusal,
};
use crate::{
    accounts::DisplayName,
    clock::Timestamp,
    ids::{AccountId, ChannelId, MessageId},
    page::{Limit, Page, Revision},
    scope::Scope,
    validation::{Invalid, one_line, text},
    worlds::{ParsePolicyError, Slug},
};

text! {
    /// A channel's name: 1 to 64 characters on one line.
    ChannelName, "/name", |text| one_line("name", text, 1, 64)
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident;)+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(i64);

        impl $name {
            /// Before the first.
            pub const ZERO: Self = Self(0);

            /// Wraps a number.
            pub const fn new(n: i64) -> Self {
                Self(n)
            }

            /// Returns the number.
            pub const fn get(self) -> i64 {
                self.0
            }

            /// Returns the one after this.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0 + 1)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    )+};
}

counters! {
    /// Numbers a channel's messages 1, 2, 3 … without holes, in the order of their commits.
    Seq;
    /// Numbers what happens in a channel 1, 2, 3 … without holes: a new message, an edit, a removal.
    Change;
}

/// How far a reader is in a channel: the channel's epoch, and the last change that was seen.
///
/// An epoch is one life of a channel's counters. Restoring a backup begins another, so a position can't be mistaken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RoomPosition {
    /// The life of the counters.
    pub epoch: u32,
    /// The last change that was seen.
    pub change: Change,
}

/// How far a channel is, and from where on a reader can still be told what was missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoomHead {
    /// The newest position.
    pub position: RoomPosition,
    /// The newest change of a message that retention has deleted. Who has seen less has missed something that nobody can tell
    /// any more: a message, or what became of one.
    pub purged: Change,
}

/// How far a reader was told, as a cursor says it.
///
/// A replay tells each message at the place of its newest change. Who leaves it on the way was not told of messages whose place
/// is yet to come, though they were posted before the place that it got to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RoomCursor {
    /// The last change that was told.
    pub at: RoomPosition,
    /// Of everything that was posted up to there the reader was told; it is `at.change` unless a replay was left on the way.
    pub whole: Change,
}

impl From<RoomPosition> for RoomCursor {
    /// A reader that was told everything up to `at`.
    fn from(at: RoomPosition) -> Self {
        Self { at, whole: at.change }
    }
}

/// A channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Channel {
    /// The channel.
    pub id: ChannelId,
    /// Where it belongs.
    pub scope: Scope,
    /// Its short name, unique in its scope.
    pub slug: Slug,
    /// Its name.
    pub name: ChannelName,
    /// Whether accounts of kind guest may post.
    pub guests_may_post: bool,
    /// The pause between two messages of one author, in seconds; 0 is none.
    pub slowmode_seconds: u32,
    /// After how many days messages are deleted; none keeps them.
    pub retention_days: Option<u32>,
    /// Its settings' state's number; messages do not count.
    pub revision: Revision,
    /// The life of its counters.
    pub epoch: u32,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was closed: its history is gone for everybody.
    pub archived_at: Option<Timestamp>,
}

/// What a caller says of a channel to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelDraft {
    /// Where it belongs.
    pub scope: Scope,
    /// Its short name.
    pub slug: String,
    /// Its name.
    pub name: String,
    /// Whether accounts of kind guest may post.
    pub guests_may_post: bool,
    /// The pause between two messages of one author, in seconds: 0 to 21 600.
    pub slowmode_seconds: u32,
    /// After how many days messages are deleted: 1 to 3650; none keeps them.
    pub retention_days: Option<u32>,
}

impl ChannelDraft {
    /// A channel for everybody who may post in its scope.
    pub fn new(scope: Scope, slug: &str, name: &str) -> Self {
        Self {
            scope,
            slug: slug.to_owned(),
            name: name.to_owned(),
            guests_may_post: true,
            slowmode_seconds: 0,
            retention_days: None,
        }
    }
}

/// Checks a pause between messages: none, or up to six hours.
pub(crate) fn check_slowmode(seconds: u32) -> Result<u32, Invalid> {
    if seconds <= 21_600 {
        Ok(seconds)
    } else {
        Err(Invalid::at("/slowmodeSeconds", "slowmodeSeconds must be 0 to 21600"))
    }
}

/// Checks how long messages are kept.
pub(crate) fn check_retention(days: u32) -> Result<u32, Invalid> {
    if (1..=3650).contains(&days) {
        Ok(days)
    } else {
        Err(Invalid::at("/retentionDays", "retentionDays must be 1 to 3650"))
    }
}

/// A channel to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewChannel {
    /// The channel.
    pub id: ChannelId,
    /// Where it belongs.
    pub scope: Scope,
    /// Its short name.
    pub slug: Slug,
    /// Its name.
    pub name: ChannelName,
    /// Whether accounts of kind guest may post.
    pub guests_may_post: bool,
    /// The pause between two messages of one author, in seconds.
    pub slowmode_seconds: u32,
    /// After how many days messages are deleted.
    pub retention_days: Option<u32>,
    /// A number at random that begins the life of its counters.
    pub epoch: u32,
}

#[cfg(any(test, feature = "conformance"))]
impl NewChannel {
    /// A channel in the global scope for tests of adapters; `n` tells channels apart.
    pub fn sample(n: u32) -> Self {
        Self {
            id: ChannelId::new(uuid::Uuid::from_u128(0x0c4a_0000_0000_7000_8000_0000_0000_0000 + u128::from(n))),
            scope: Scope::Global,
            slug: Slug::new(&format!("channel-{n}")).expect("a slug"),
            name: ChannelName::new(&format!("Channel {n}")).expect("a name"),
            guests_may_post: true,
            slowmode_seconds: 0,
            retention_days: None,
            epoch: 7,
        }
    }
}

/// Which channels to read: the open ones of one scope, in order of their ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChannelQuery {
    /// The scope.
    pub scope: Scope,
    /// Only channels behind this one.
    pub after: Option<ChannelId>,
    /// How many.
    pub limit: Limit,
}

/// What is to change on a channel; what is absent stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChannelAmendment {
    /// A new short name.
    pub slug: Option<Slug>,
    /// A new name.
    pub name: Option<ChannelName>,
    /// Whether accounts of kind guest may post.
    pub guests_may_post: Option<bool>,
    /// A new pause between messages, in seconds.
    pub slowmode_seconds: Option<u32>,
    /// After how many days messages are deleted; `Some(None)` keeps them from now on.
    pub retention_days: Option<Option<u32>>,
}

/// A change to a channel in a state that the caller has seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelChange {
    /// The channel.
    pub id: ChannelId,
    /// The state the caller has seen; none to change any.
    pub expected: Option<Revision>,
    /// What is to change.
    pub amendment: ChannelAmendment,
    /// Whether the channel is closed with it.
    pub archive: bool,
}

/// Who wrote a message, under the name that was borne then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Author {
    /// The account.
    pub id: AccountId,
    /// The name at the time of writing.
    pub display_name: DisplayName,
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The message.
    pub id: MessageId,
    /// The channel.
    pub channel: ChannelId,
    /// Its number in the channel.
    pub seq: Seq,
    /// The change that made it.
    pub posted_change: Change,
    /// The last change that touched it.
    pub change: Change,
    /// Who wrote it.
    pub author: Author,
    /// What it says, or said; none after a purge. Readers get [`Message::text`].
    pub body: Option<Body>,
    /// What its author calls it.
    pub client_id: Option<ClientId>,
    /// The message it replies to.
    pub reply_to: Option<MessageId>,
    /// When it was written.
    pub sent_at: Timestamp,
    /// When it was last edited.
    pub edited_at: Option<Timestamp>,
    /// Set once it was removed; its place stays.
    pub tombstone: Option<Tombstone>,
}

impl Message {
    /// Returns what readers see: nothing once the message was removed.
    pub fn text(&self) -> Option<&str> {
        match self.tombstone {
            Some(_) => None,
            None => self.body.as_ref().map(Body::as_str),
        }
    }

    /// Returns whether this state is the one the message was posted in.
    pub fn is_new(&self) -> bool {
        self.change == self.posted_change
    }
}

/// What remains of a removed message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tombstone {
    /// Who removed it; none for the operator.
    pub deleted_by: Option<AccountId>,
    /// Why.
    pub reason: String,
    /// When.
    pub deleted_at: Timestamp,
    /// Whether the text is kept for moderators.
    pub mode: RemovalMode,
}

/// What becomes of a removed message's text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum RemovalMode {
    /// Hidden, and kept for moderators.
    #[default]
    Mask,
    /// Destroyed; a hash remains.
    Purge,
}

impl RemovalMode {
    /// Returns the word, as it is stored and sent.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mask => "mask",
            Self::Purge => "purge",
        }
    }
}

impl FromStr for RemovalMode {
    type Err = ParsePolicyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "mask" => Ok(Self::Mask),
            "purge" => Ok(Self::Purge),
            _ => Err(ParsePolicyError),
        }
    }
}

/// What a caller wants to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// Where.
    pub channel: ChannelId,
    /// What.
    pub body: String,
    /// What the author calls it, so that a repeat is known.
    pub client_id: Option<String>,
    /// The message it replies to.
    pub reply_to: Option<MessageId>,
}

impl Draft {
    /// A message without client id that replies to none.
    pub fn new(channel: ChannelId, body: impl Into<String>) -> Self {
        Self { channel, body: body.into(), client_id: None, reply_to: None }
    }

    /// Names the message, so that a repeat is known.
    #[must_use]
    pub fn with_client_id(mut self, client_id: impl Into<String>) -> Self {
        self.client_id = Some(client_id.into());
        self
    }
}

/// A message to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMessage {
    /// The message.
    pub id: MessageId,
    /// The channel.
    pub channel: ChannelId,
    /// Who writes it.
    pub author: Author,
    /// What it says.
    pub body: Body,
    /// What its author calls it.
    pub client_id: Option<ClientId>,
    /// The message it replies to.
    pub reply_to: Option<MessageId>,
    /// When it is written.
    pub sent_at: Timestamp,
    /// How long after the author's last message in the channel it may come at the earliest; zero for whom no pause is asked of.
    pub pause: Duration,
}

impl NewMessage {
    /// Returns the digest by which a repeat with the same content is told from another message under the same client id;
    /// it outlives edits and purges.
    pub fn fingerprint(&self) -> [u8; 32] {
        let mut hasher = Sha256::new();
        hasher.update(self.reply_to.map_or([0; 16], |id| id.uuid().into_bytes()));
        hasher.update(self.body.as_str().as_bytes());
        hasher.finalize().into()
    }

    /// Returns what refuses the message if it comes too soon after the author's `last` one in the channel.
    pub fn too_soon_after(&self, last: Option<Timestamp>) -> Option<Refusal> {
        let next = last? + self.pause;
        if self.pause.is_zero() || self.sent_at >= next {
            return None;
        }
        let wait = next.duration_since(self.sent_at);
        Some(Refusal::SlowMode(Duration::from_secs(wait.as_secs().unsigned_abs() + 1)))
    }
}

#[cfg(any(test, feature = "conformance"))]
impl NewMessage {
    /// A message in [`NewChannel::sample`] number 1 for tests of adapters, with a client id made of its text.
    pub fn sample(body: &str) -> Self {
        let digest: [u8; 32] = Sha256::digest(body.as_bytes()).into();
        let id = uuid::Builder::from_custom_bytes(digest[..16].try_into().expect("16 of 32 bytes")).into_uuid();
        Self {
            id: MessageId::new(id),
            channel: NewChannel::sample(1).id,
            author: Author {
                id: AccountId::new(uuid::Uuid::from_u128(1)),
                display_name: DisplayName::new("Mira").expect("a name"),
            },
            body: Body::new(body).expect("a body"),
            client_id: Some(ClientId::new(&body.replace(' ', "-")).expect("a client id")),
            reply_to: None,
            sent_at: Timestamp::from_second(1_767_225_600).expect("the year 2026 is in range"),
            pause: Duration::ZERO,
        }
    }
}

/// An answer to a post.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Posted {
    /// The message as it is stored.
    pub message: Message,
    /// Whether this request made it; another one under the same client id answers the first message.
    pub fresh: bool,
}

/// Which part of a channel's history to read, by `seq`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageQuery {
    /// The channel.
    pub channel: ChannelId,
    /// From where, and which way.
    pub position: Position,
    /// How many.
    pub limit: Limit,
}

/// Where a page of history begins, and which way it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position {
    /// From the newest message, newest first.
    Newest,
    /// From the message before this one, newest first.
    Before(Seq),
    /// From the message after this one, oldest first; after [`Seq::ZERO`] is from the beginning.
    After(Seq),
}

/// A part of a channel's history; of shared messages where many readers get the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History<M = Message> {
    /// The messages.
    pub page: Page<M>,
    /// The position that the page is complete to.
    pub position: RoomPosition,
}

/// A message that many readers get; whoever writes it down for the first of them does it for all.
#[derive(Debug, Clone)]
pub struct SharedMessage(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    message: Message,
    written: OnceLock<Bytes>,
}

impl SharedMessage {
    /// Shares a message.
    pub fn new(message: Message) -> Self {
        Self(Arc::new(Shared { message, written: OnceLock::new() }))
    }

    /// Appends the message as `write` writes it, which has to be the same for all readers and all calls.
    pub fn append_to(&self, buffer: &mut Vec<u8>, write: impl FnOnce(&Message, &mut Vec<u8>)) {
        if let Some(written) = self.0.written.get() {
            buffer.extend_from_slice(written);
            return;
        }
        let start = buffer.len();
        write(&self.0.message, buffer);
        // Nobody else holds it, so nobody will ask again.
        if Arc::strong_count(&self.0) > 1 {
            let _ = self.0.written.set(Bytes::copy_from_slice(&buffer[start..]));
        }
    }
}

impl Deref for SharedMessage {
    type Target = Message;

    fn deref(&self) -> &Message {
        &self.0.message
    }
}

impl PartialEq for SharedMessage {
    fn eq(&self, other: &Self) -> bool {
        self.0.message == other.0.message
    }
}

impl Eq for SharedMessage {}

/// What changed in a channel since a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChangeQuery {
    /// The channel.
    pub channel: ChannelId,
    /// The position that the reader has seen.
    pub since: RoomPosition,
    /// How many messages.
    pub limit: Limit,
}

/// The messages that changed, each once and in its newest state, oldest change first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes {
    /// The messages.
    pub page: Page<Message>,
    /// The position that the page is complete to: what to ask for next.
    pub position: RoomPosition,
}

/// A new text for a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// The message.
    pub message: MessageId,
    /// What it shall say.
    pub body: Body,
}

/// A message to be removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removal {
    /// The message.
    pub message: MessageId,
    /// Why.
    pub reason: String,
    /// What becomes of its text.
    pub mode: RemovalMode,
}

/// Where a message of an author stands, and in which state it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// The channel.
    pub channel: ChannelId,
    /// Its place there.
    pub seq: Seq,
    /// What happened to it last.
    pub change: Change,
}

/// Which messages of an author to look for, in the order of channels and places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrittenQuery {
    /// Who wrote them.
    pub author: AccountId,
    /// Leaves out those that stand under this name.
    pub besides: Option<DisplayName>,
    /// Only messages behind this place.
    pub after: Option<(ChannelId, Seq)>,
    /// How many.
    pub limit: u32,
}

/// Another name for messages of an author in one channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthorRenaming {
    /// Who wrote them.
    pub author: AccountId,
    /// The name that they stand under from now on.
    pub name: DisplayName,
    /// The channel.
    pub channel: ChannelId,
    /// Their places there.
    pub places: Vec<Seq>,
}

/// How far an account has read a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unread {
    /// The channel.
    pub channel: ChannelId,
    /// The last message that was read.
    pub read: Seq,
    /// The last message there is.
    pub last: Seq,
}
