//! One channel for many listeners at once.

use std::sync::Arc;

use super::{
    error::ChatError,
    listen::LiveChannel,
    model::{ChangeQuery, Changes, RoomHead, RoomPosition},
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
        let position = inner.heads.now(self.channel).await?.position;
        let (store, heads) = (Arc::clone(&inner.store), inner.heads.clone());
        Ok(LiveChannel::new(self.channel, store, heads, subscription, position))
    }

    /// Reads how far the channel is, and from where on what happened in it can be told.
    pub async fn head(&self) -> Result<RoomHead, ChatError> {
        self.inner.heads.now(self.channel).await
    }

    /// Reads what changed since a position, at most so many messages of it.
    ///
    /// # Errors
    ///
    /// [`ChatError::ReplayWindowExceeded`] if the position lies too far back, before what retention has deleted, or in another
    /// life of the channel.
    pub async fn changes(&self, since: RoomPosition, limit: Limit) -> Result<Changes, ChatError> {
        self.inner.store.changes(&ChangeQuery { channel: self.channel, since, limit }).await
    }
}
