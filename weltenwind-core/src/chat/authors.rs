//! What one author has written, wherever that is.

use std::sync::Arc;

use super::{
    model::{AuthorRenaming, Message, Seq, Written, WrittenQuery},
    service::Chat,
};
use crate::{accounts::DisplayName, bus::RoomEvent, error::StorageError, ids::AccountId};

/// Places that are looked up at once.
const LOOKED_UP: u32 = 5000;
/// Messages that are renamed at once: short enough not to hold up who writes.
const RENAMED_AT_ONCE: usize = 200;

impl Chat {
    /// Finds messages of an author.
    pub(crate) async fn written(&self, query: &WrittenQuery) -> Result<Vec<Written>, StorageError> {
        self.inner.store.written(query).await
    }

    /// Reads the messages at some places, which are in the order of channels and of places there.
    pub(crate) async fn read_written(&self, places: &[Written]) -> Result<Vec<Message>, StorageError> {
        let mut messages = Vec::with_capacity(places.len());
        for part in places.chunk_by(|one, other| one.channel == other.channel) {
            let seqs: Vec<Seq> = part.iter().map(|place| place.seq).collect();
            messages.extend(self.inner.store.messages_at(part[0].channel, &seqs).await?);
        }
        Ok(messages)
    }

    /// Gives every message of an author another name, tells listeners of each, and returns how many it were.
    ///
    /// It goes on where it was interrupted. What is posted meanwhile may be missed: whoever wants to be sure calls it again.
    pub(crate) async fn rename_author(&self, author: AccountId, name: &DisplayName) -> Result<u64, StorageError> {
        let inner = &self.inner;
        let mut query = WrittenQuery { author, besides: Some(name.clone()), after: None, limit: LOOKED_UP };
        let mut renamed = 0;
        loop {
            let places = inner.store.written(&query).await?;
            let Some(last) = places.last() else { return Ok(renamed) };
            query.after = Some((last.channel, last.seq));
            for part in places.chunk_by(|one, other| one.channel == other.channel) {
                let channel = part[0].channel;
                let Some(epoch) = inner.store.find_channel(channel).await?.map(|channel| channel.epoch) else {
                    continue;
                };
                for slice in part.chunks(RENAMED_AT_ONCE) {
                    let places = slice.iter().map(|place| place.seq).collect();
                    let renaming = AuthorRenaming { author, name: name.clone(), channel, places };
                    for message in inner.store.rename_author(&renaming).await? {
                        renamed += 1;
                        inner.bus.publish(Arc::new(RoomEvent::new(message, epoch))).await;
                    }
                }
            }
        }
    }
}
