//! Channels with their places, remembered for a moment: posting does not read them anew each time.

use std::{sync::Arc, time::Duration};

use moka::sync::Cache;

use super::{model::Channel, store::ChatStore};
use crate::{
    access::{Place, Places},
    clock::{Clock, Timestamp},
    error::StorageError,
    ids::ChannelId,
};

/// For how long a channel's settings are believed: a change has effect on every node within this.
const BELIEVED: Duration = Duration::from_secs(1);
/// Channels that are remembered; some 400 bytes each.
const REMEMBERED: u64 = 20_000;

/// An open channel and where it stands.
#[derive(Debug)]
pub(crate) struct Standing {
    pub(crate) channel: Channel,
    pub(crate) place: Place,
}

#[derive(Debug)]
pub(crate) struct Directory {
    store: Arc<dyn ChatStore>,
    places: Arc<dyn Places>,
    clock: Arc<dyn Clock>,
    known: Cache<ChannelId, (Arc<Standing>, Timestamp)>,
}

impl Directory {
    pub(crate) fn new(store: Arc<dyn ChatStore>, places: Arc<dyn Places>, clock: Arc<dyn Clock>) -> Self {
        Self { store, places, clock, known: Cache::new(REMEMBERED) }
    }

    /// Finds an open channel in a scope that exists.
    pub(crate) async fn find(&self, id: ChannelId) -> Result<Option<Arc<Standing>>, StorageError> {
        let now = self.clock.now();
        if let Some((standing, read_at)) = self.known.get(&id)
            && now < read_at + BELIEVED
        {
            return Ok(Some(standing));
        }
        let Some(channel) = self.store.find_channel(id).await?.filter(|channel| channel.archived_at.is_none()) else {
            return Ok(None);
        };
        let Some(place) = self.places.place(channel.scope).await? else {
            return Ok(None);
        };
        let standing = Arc::new(Standing { channel, place });
        self.known.insert(id, (Arc::clone(&standing), now));
        Ok(Some(standing))
    }

    pub(crate) fn forget(&self, id: ChannelId) {
        self.known.invalidate(&id);
    }
}
