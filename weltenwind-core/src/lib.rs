//! The core of Weltenwind: what a community of game worlds is, and the rules it keeps.
//!
//! Every domain is a folder of the same shape: values that cannot be wrong once built (`model`), the reasons for which a
//! step is refused (`error`), the port that a storage adapter implements (`store`), and the service that every host calls
//! (`service`). Nothing in this crate opens a file or a socket.
//!
//! A game server that only wants chat needs three lines:
//!
//! ```
//! use weltenwind_core::{Actor, Scope, chat::{Chat, ChannelDraft, Draft}};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), weltenwind_core::chat::ChatError> {
//! let chat = Chat::in_memory();
//! let lobby = chat.open_channel(&Actor::operator(), ChannelDraft::new(Scope::Global, "lobby", "Lobby")).await?;
//! let greeting = chat.post(&Actor::player("Mira"), Draft::new(lobby.id, "well met")).await?;
//! assert_eq!(greeting.message.seq.get(), 1);
//! # Ok(())
//! # }
//! ```

pub mod access;
pub mod accounts;
mod actor;
pub mod announcements;
pub mod bus;
pub mod chat;
mod clock;
mod code;
mod cursor;
mod dedupe;
mod error;
mod gather;
pub mod idempotency;
mod ids;
pub mod limits;
pub mod mail;
pub mod notifications;
mod origin;
pub mod outbox;
mod page;
pub mod presence;
pub mod privacy;
mod random;
pub mod refusals;
mod remember;
pub mod revocations;
mod room;
mod scope;
mod secret;
pub mod security;
mod services;
mod step;
mod upkeep;
mod validation;
pub mod wire;
pub mod worlds;

pub use self::{
    actor::{Actor, ClientAddress, CorrelationId, Identity, KeyHolder, NotOneself, Principal},
    clock::{Clock, ManualClock, SystemClock, Timestamp},
    code::Code,
    cursor::{CURSOR_LIFE, CursorInvalid, CursorKey, CursorSealer},
    dedupe::DedupeKey,
    error::{Class, Classify, StorageError, chain},
    ids::{
        AccountId, AnnouncementId, ApiKeyId, ChannelId, DeviceId, GrantId, GroupId, IdGenerator, MailId, MessageId,
        NodeId, NotificationId, ParseIdError, SequentialIds, SessionId, SystemIds, WorkerId, WorldId,
    },
    origin::AllowedOrigins,
    page::{Limit, Page, Revision},
    random::{RandomSource, SystemRandom},
    room::{ParseRoomError, Room},
    scope::{ParseScopeError, Scope, ScopeKind},
    secret::Secret,
    services::{ServiceConfig, Services, Shared, Sources, StoreHealth, Stores},
    step::{AuditDraft, EffectKey, Outcome, Step},
    validation::{FieldError, Invalid},
};
