//! One channel for many listeners at once.

use std::sync::Arc;

use super::{
    error::ChatError,
    listen::LiveChannel,
    model::{ChangeQuery, Changes, RoomPosition},
    service::{Chat, Inner},
};
use crate::{ids::ChannelId, page::Limit, room::Room};

/// A channel that a host follows once and shows to many.
///
/// It asks for nobody's permission. Whoever shares it lets each listener pass [`Chat::check_read`] before the first word,
/// and looks again when rights are lost (see [`revocations`](crate::revocations)).
#[derive(Debug, Clone)]
pub struct SharedChannel {
    inner: Arc<Inner>,
    channel: ChannelId,
}

impl Chat {
    /// Takes a channel to be shared among listeners; whether it exists is seen at the first look.
    pub fn shared(&self, channel: ChannelId) -> SharedChannel {
        SharedChannel { inner: Arc::clone(&self.inner), channel }
    }
}

impl SharedChannel {
    /// Follows the channel from now on.
    pub async fn live(&self) -> Result<LiveChannel, ChatError> {
        let inner = &self.inner;
        // First listen, then look: what is committed after the look is heard, what was before it is seen.
        let subscription = inner.bus.subscribe(Room::Channel(self.channel)).await;
        let head = inner.heads.now(self.channel).await?;
        let (store, heads) = (Arc::clone(&inner.store), inner.heads.clone());
        Ok(LiveChannel::new(self.channel, store, heads, subscription, head, None))
    }

    /// Reads how far the channel is.
    pub async fn head(&self) -> Result<RoomPosition, ChatError> {
        self.inner.heads.now(self.channel).await
    }

    /// Reads what changed since a position, as much as fits on one page.
    ///
    /// # Errors
    ///
    /// [`ChatError::ReplayWindowExceeded`] if the position lies too far back or in another life of the channel.
    pub async fn changes(&self, since: RoomPosition) -> Result<Changes, ChatError> {
        self.inner.store.changes(&ChangeQuery { channel: self.channel, since, limit: Limit::MAX }).await
    }
}
