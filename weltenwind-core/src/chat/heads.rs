//! How far channels are, read once for everybody who asks at about the same time.

use std::{sync::Arc, time::Duration};

use moka::sync::Cache;
use tokio::{sync::Mutex, time::Instant};

use super::{
    error::ChatError,
    model::{RoomHead, RoomPosition},
    store::ChatStore,
};
use crate::{error::StorageError, ids::ChannelId};

/// For how long a head is believed by listeners of a silent room.
const BELIEVED: Duration = Duration::from_secs(2);
/// A reading that takes longer is given up: a connection that is gone without a word holds nobody up who comes later.
const PATIENCE: Duration = Duration::from_secs(5);
/// Channels that are remembered; some 100 bytes each.
const REMEMBERED: u64 = 20_000;

type Slot = Arc<Mutex<Option<(Instant, RoomPosition)>>>;

/// Reads heads; however many listeners a silent room has, the store is asked once every two seconds.
#[derive(Debug, Clone)]
pub(super) struct Heads {
    store: Arc<dyn ChatStore>,
    known: Cache<ChannelId, Slot>,
}

impl Heads {
    pub(super) fn new(store: Arc<dyn ChatStore>) -> Self {
        Self { store, known: Cache::new(REMEMBERED) }
    }

    /// Reads how far a channel is now.
    pub(super) async fn now(&self, channel: ChannelId) -> Result<RoomHead, ChatError> {
        let late = |late| StorageError::transient("read how far a channel is", late);
        let head = tokio::time::timeout(PATIENCE, self.store.head(channel)).await.map_err(late)??;
        head.ok_or(ChatError::ChannelNotFound)
    }

    /// Answers how far a channel was a moment ago.
    pub(super) async fn lately(&self, channel: ChannelId) -> Result<RoomPosition, ChatError> {
        let slot = self.known.get_with(channel, Slot::default);
        let mut slot = slot.lock().await;
        if let Some((read_at, head)) = *slot
            && read_at.elapsed() < BELIEVED
        {
            return Ok(head);
        }
        let head = self.now(channel).await?.position;
        *slot = Some((Instant::now(), head));
        Ok(head)
    }
}
