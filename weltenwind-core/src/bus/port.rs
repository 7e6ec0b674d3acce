use std::{fmt::Debug, sync::Arc};

use async_trait::async_trait;

use super::{
    local::{LossHints, Subscription},
    model::{BusAway, BusCounts, RoomEvent},
};
use crate::room::Room;

/// Carries events from who publishes to who listens.
///
/// Events of one publisher reach a listener in the order in which they were published, or not at all; those of several may
/// overtake each other. Nothing here fails: what the bus cannot do, it counts.
#[async_trait]
pub trait Bus: Debug + Send + Sync + 'static {
    /// Tells the listeners of a room, here and on other nodes. It stands behind every commit, so it waits for nobody: a bus
    /// that is away drops the event and counts it, and nothing is lost by that, since listeners read the store.
    async fn publish(&self, event: Arc<RoomEvent>);

    /// Listens to a room. When this returns, the listener is in place: every event published from now on is heard, unless it
    /// is lost, and a loss that the bus knows of is told as [`BusLag`](super::BusLag). A bus that is away keeps nobody
    /// waiting, and tells of a lag once it is back.
    async fn subscribe(&self, room: Room) -> Subscription;

    /// Says on every node that the log of losses has grown (see [`revocations`](crate::revocations)). As with
    /// [`publish`](Self::publish), a hint may be lost; whoever follows the log reads it anyway, a little later.
    async fn hint_losses(&self) {}

    /// Listens for such hints, those of this node included. A bus that knows none never gives one.
    fn loss_hints(&self) -> LossHints {
        LossHints::default()
    }

    /// Tells whether events reach other nodes and come from there, as far as the bus knows without asking.
    fn check(&self) -> Result<(), BusAway> {
        Ok(())
    }

    /// Returns what the bus has counted since it was made; a bus inside one process counts nothing.
    fn counts(&self) -> BusCounts {
        BusCounts::default()
    }
}
