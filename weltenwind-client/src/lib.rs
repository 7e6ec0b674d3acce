//! Client of Weltenwind for games and bots: calls over HTTP with an ETag cache, and a socket that resumes by cursor.
//!
//! [`Client`] asks: it signs in, keeps its access token fresh, remembers what it has read under its ETag, and tries again
//! what can be repeated without harm. [`Realtime`] listens: each message of a joined channel comes once and in order, however
//! often the connection breaks or the server is started anew.
//!
//! ```no_run
//! use weltenwind_client::{Client, Event, Realtime, Room};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), weltenwind_client::ClientError> {
//! let client = Client::new("http://127.0.0.1:8080")?;
//! client.guest("Mira").await?;
//! let lobby = client.find_channel("welcome", "general").await?.expect("the channel is open");
//!
//! let mut realtime = Realtime::connect(&client).await?;
//! realtime.join(Room::Channel(lobby.id), None).await?;
//! realtime.publish(lobby.id, "anybody there?").await?;
//! while let Some(event) = realtime.next().await {
//!     if let Event::Message { message, .. } = event {
//!         println!("{}: {}", message.author.display_name, message.body.unwrap_or_default());
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Errors say with [`ClientError::is_retryable`] whether the same may pass later, and carry the correlation id by which the
//! server's log names the request.

mod api;
mod builder;
mod cache;
mod call;
mod client;
mod error;
mod realtime;
mod retry;
mod session;

pub use weltenwind_core::{
    AccountId, ChannelId, GroupId, MessageId, Room, Scope, SessionId, WorldId,
    accounts::Theme,
    wire::{
        ChannelBody, HistoryBody, ListBody, MemberRecord, MessageAuthor, MessageBody, PreferencesBody, ProblemError,
        QuietHoursBody, TombstoneBody, TopicsBody, TwoFactorBody, TwoFactorConfirmedBody, UnreadBody, UserBody,
        WireTime, WorldBody,
    },
    worlds::{JoinPolicy, Visibility},
};

pub use self::{
    api::{
        ChannelDraft, Credentials, Draft, HistoryQuery, PreferencesAmendment, Registration, Removal, WorldDraft,
        WorldQuery,
    },
    builder::ClientBuilder,
    call::Tagged,
    client::Client,
    error::{ClientError, Refusal},
    realtime::{Event, GapCause, Joined, Present, Realtime, RealtimeHandle, RealtimeOptions, RoomHandle},
    retry::RetryPolicy,
};

/// The README's example compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
