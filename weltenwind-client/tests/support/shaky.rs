//! A store whose answers get lost: what was asked for is done, and whoever asked is told that the store is away.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use async_trait::async_trait;
use weltenwind_core::{
    AccountId, ChannelId, MessageId, Page, Step, StorageError, Timestamp,
    chat::{
        Appended, AuthorRenaming, ChangeQuery, Changes, Channel, ChannelChange, ChannelQuery, ChatError, ChatStore,
        Edit, History, Message, MessageQuery, NewChannel, NewMessage, Removal, RoomHead, Seq, Unread, Written,
        WrittenQuery,
    },
};

#[derive(Debug)]
pub(crate) struct Shaky {
    pub(crate) store: Arc<dyn ChatStore>,
    /// Answers to appends that are still to be lost.
    pub(crate) losses: Arc<AtomicU32>,
}

macro_rules! passed_on {
    ($(fn $name:ident($($argument:ident: $type:ty),*) -> $answer:ty;)+) => {
        #[async_trait]
        impl ChatStore for Shaky {
            async fn append(&self, batch: &[NewMessage]) -> Result<Vec<Appended>, StorageError> {
                let appended = self.store.append(batch).await?;
                let is_lost = |losses: u32| losses.checked_sub(1);
                match self.losses.fetch_update(Ordering::SeqCst, Ordering::SeqCst, is_lost) {
                    Ok(_) => Err(StorageError::transient("append chat messages", "the answer is lost")),
                    Err(_) => Ok(appended),
                }
            }

            $(async fn $name(&self $(, $argument: $type)*) -> $answer {
                self.store.$name($($argument),*).await
            })+
        }
    };
}

passed_on! {
    fn create_channel(step: &Step, channel: &NewChannel) -> Result<Channel, ChatError>;
    fn find_channel(id: ChannelId) -> Result<Option<Channel>, StorageError>;
    fn channels(query: &ChannelQuery) -> Result<Page<Channel>, StorageError>;
    fn amend_channel(step: &Step, change: &ChannelChange) -> Result<Channel, ChatError>;
    fn page(query: &MessageQuery) -> Result<Option<History>, StorageError>;
    fn changes(query: &ChangeQuery) -> Result<Changes, ChatError>;
    fn head(channel: ChannelId) -> Result<Option<RoomHead>, StorageError>;
    fn find_message(id: MessageId) -> Result<Option<Message>, StorageError>;
    fn edit(step: &Step, edit: &Edit) -> Result<Message, ChatError>;
    fn remove(step: &Step, removal: &Removal) -> Result<Message, ChatError>;
    fn mark_read(account: AccountId, channel: ChannelId, seq: Seq) -> Result<Unread, ChatError>;
    fn unread(account: AccountId) -> Result<Vec<Unread>, StorageError>;
    fn written(query: &WrittenQuery) -> Result<Vec<Written>, StorageError>;
    fn messages_at(channel: ChannelId, places: &[Seq]) -> Result<Vec<Message>, StorageError>;
    fn rename_author(renaming: &AuthorRenaming) -> Result<Vec<Message>, StorageError>;
    fn purge(channel: ChannelId, before: Timestamp, limit: u32) -> Result<u64, StorageError>;
    fn channels_with_retention() -> Result<Vec<Channel>, StorageError>;
}
