//! The bus: how a change in one place reaches listeners elsewhere, soon and without a promise.
//!
//! The store is the truth, the bus is a hint. An event may be lost, doubled or late; a listener that sees a hole in the
//! numbers, or has heard nothing for a while, reads the store.
//!
//! [`LocalBus`] is the bus inside one process, and the last stretch of every other one: an adapter for a broker hands what
//! it receives to a `LocalBus`, whose [`Subscription`]s it gives out.
//!
//! ```
//! # #[cfg(feature = "conformance")]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! use std::sync::Arc;
//! use weltenwind_core::{Room, bus::{Bus, BusLag, LocalBus, RoomEvent}};
//!
//! let bus = LocalBus::default();
//! let event = Arc::new(RoomEvent::sample(1, 1));
//! let mut listener = bus.subscribe(Room::Channel(event.channel())).await;
//!
//! bus.publish(event).await;
//! bus.miss_all();
//!
//! assert_eq!(listener.next().await.unwrap().message.change.get(), 1);
//! assert_eq!(listener.next().await.unwrap_err(), BusLag);
//! # }
//! # #[cfg(not(feature = "conformance"))]
//! # fn main() {}
//! ```

#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod local;
mod model;
mod port;
mod wire;

pub use self::{
    local::{LocalBus, LossHints, Subscription},
    model::{BusAway, BusCounts, BusLag, RoomEvent},
    port::Bus,
    wire::WireError,
};
