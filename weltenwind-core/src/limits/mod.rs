//! How often: one table of policies, asked by the services, so that every door is bound by the same limits.
//!
//! A [`Policy`] names a kind of call, whom it is counted by, and its [`Quota`]. A service [charges](Limits::charge) the
//! policy once it knows who asks and that they may; the [`RateLimiter`] behind it decides. In one process that is
//! [`MemoryRateLimiter`]; nodes that share an installation share a limiter too.
//!
//! ```
//! use weltenwind_core::{Actor, Scope, chat::{Chat, ChannelDraft, Draft}};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), weltenwind_core::chat::ChatError> {
//! let chat = Chat::in_memory();
//! let lobby = chat.open_channel(&Actor::operator(), ChannelDraft::new(Scope::Global, "lobby", "Lobby")).await?;
//! let mira = Actor::player("Mira");
//! let mut posted = 0;
//! let refused = loop {
//!     match chat.post(&mira, Draft::new(lobby.id, "well met")).await {
//!         Ok(_) => posted += 1,
//!         Err(refused) => break refused,
//!     }
//! };
//! assert!(posted >= 20, "a burst of twenty, then five a second");
//! assert_eq!(weltenwind_core::Classify::code(&refused), weltenwind_core::Code::RateLimited);
//! # Ok(())
//! # }
//! ```

mod charges;
mod config;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod error;
mod key;
mod memory;
mod policy;
mod port;
mod quota;
mod service;

pub use self::{
    charges::Charges,
    config::LimitsConfig,
    error::RateLimited,
    key::{Bucket, LimitKey},
    memory::MemoryRateLimiter,
    policy::{KeyKind, Policy},
    port::RateLimiter,
    quota::{Quota, QuotaInvalid, Unit, Verdict},
    service::{LimitState, Limits},
};
