//! Channels with their places, remembered for a moment: posting does not read them anew each time.

use std::sync::Arc;

use super::{model::Channel, store::ChatStore};
use crate::{
    access::{Place, Places},
    clock::Clock,
    error::StorageError,
    ids::ChannelId,
    remember::Remembered,
    revocations::Revocations,
};

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
    known: Remembered<ChannelId, Option<Arc<Standing>>>,
}

impl Directory {
    pub(crate) fn new(
        store: Arc<dyn ChatStore>,
        places: Arc<dyn Places>,
        clock: Arc<dyn Clock>,
        revocations: Revocations,
    ) -> Self {
        Self { store, places, known: Remembered::new(clock, revocations) }
    }

    /// Finds an open channel in a scope that exists.
    pub(crate) async fn find(&self, id: ChannelId) -> Result<Option<Arc<Standing>>, StorageError> {
        self.known.get(id, self.read(id)).await
    }

    async fn read(&self, id: ChannelId) -> Result<Option<Arc<Standing>>, StorageError> {
        let Some(channel) = self.store.find_channel(id).await?.filter(|channel| channel.archived_at.is_none()) else {
            return Ok(None);
        };
        let Some(place) = self.places.place(channel.scope).await? else {
            return Ok(None);
        };
        Ok(Some(Arc::new(Standing { channel, place })))
    }

    pub(crate) fn forget(&self, id: ChannelId) {
        self.known.forget(id);
    }
}
