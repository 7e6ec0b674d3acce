//! Presence: who is in a room, by account, on all nodes together.
//!
//! A node tells the others whom it has by [`PresenceStore`], and gives a sign of life every two seconds. Those of a node that
//! is silent are gone within 10 seconds. Nothing of it is kept: a store that lost everything is filled again by the nodes.
//!
//! ```
//! use weltenwind_core::{
//!     AccountId, IdGenerator, Room, Sources, SystemIds,
//!     accounts::DisplayName,
//!     presence::{Presence, PresenceConfig, PresenceEvent, SocketId},
//! };
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), weltenwind_core::Invalid> {
//! let presence = std::sync::Arc::new(Presence::in_process(PresenceConfig::default(), Sources::default()));
//! let running = tokio::spawn({
//!     let presence = presence.clone();
//!     async move { presence.run().await }
//! });
//!
//! let (nobody, mut watch) = presence.watch(Room::Global).await;
//! let (mira, name) = (AccountId::new(SystemIds.draw()), DisplayName::new("Mira")?);
//! let present = presence.enter(Room::Global, SocketId(1), mira, &name).await;
//!
//! assert_eq!((nobody.count, present.count), (0, 1));
//! let PresenceEvent::Changed(change) = watch.next().await else { panic!("nobody writes") };
//! assert_eq!(change.join[0].account, mira);
//! # running.abort();
//! # Ok(())
//! # }
//! ```

mod book;
mod config;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod memory;
mod model;
mod port;
mod room;
mod service;

pub use self::{
    config::PresenceConfig,
    memory::MemoryPresenceStore,
    model::{
        Beat, Flush, Member, PresenceDiff, PresenceEvent, PresenceNews, PresenceState, RoomChange, Shard, Snapshot,
        SocketId, Typing,
    },
    port::PresenceStore,
    service::{Presence, PresenceWatch},
};
