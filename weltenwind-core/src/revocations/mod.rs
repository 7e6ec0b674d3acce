//! Losses: what somebody may no longer do, known on every node within a second.
//!
//! Whoever ends a session or a device, takes a role, deletes an API key, or makes a world private, writes so into a log in the
//! same transaction. Losses are numbered without holes in the order of their commits. Every node reads the log twice a second,
//! and at once when the bus says that there is something to read; it keeps the losses of the last minutes in memory, where
//! each request is held against them. An access token that was issued before the oldest of them has run out.
//!
//! Gains are not logged: whoever is about to be denied something is looked up in the store.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), weltenwind_core::StorageError> {
//! use std::{sync::Arc, time::Duration};
//! use weltenwind_core::{
//!     AccountId, Clock, DeviceId, ManualClock, SessionId,
//!     bus::LocalBus,
//!     revocations::{Loss, Lost, MemoryRevocationStore, Revocations},
//! };
//!
//! let (log, clock) = (Arc::new(MemoryRevocationStore::default()), Arc::new(ManualClock::default()));
//! let life = Duration::from_mins(5);
//! let revocations = Revocations::start(log.clone(), Arc::new(LocalBus::default()), clock.clone(), life).await?;
//! let (account, device) = (AccountId::new(uuid::Uuid::nil()), DeviceId::new(uuid::Uuid::nil()));
//! let session = SessionId::new(uuid::Uuid::nil());
//! assert_eq!(revocations.check(account, session, device), Ok(()));
//!
//! log.append([Loss::of(account, Lost::Session(session))], clock.now());
//! revocations.announce().await;
//!
//! assert!(revocations.check(account, session, device).is_err());
//! # Ok(())
//! # }
//! ```

#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod known;
mod memory;
mod model;
mod service;
mod store;
mod watch;

pub use self::{
    known::Mark,
    memory::MemoryRevocationStore,
    model::{Ended, LoggedLoss, Loss, LossSeq, Lost, ParseLostError},
    service::Revocations,
    store::RevocationStore,
    watch::{LossWatch, Standing},
};
