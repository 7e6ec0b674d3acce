//! The port that keeps channels and messages.

use std::fmt::Debug;

use async_trait::async_trait;

use super::{
    error::{ChatError, Refusal},
    model::{
        AuthorRenaming, ChangeQuery, Changes, Channel, ChannelChange, ChannelQuery, Edit, History, Message,
        MessageQuery, NewChannel, NewMessage, Removal, RoomHead, Seq, Unread, Written, WrittenQuery,
    },
};
use crate::{
    clock::Timestamp,
    error::StorageError,
    ids::{AccountId, ChannelId, MessageId},
    page::Page,
    step::Step,
};

/// What became of one message of a batch: the message as it is stored, or why it was not written.
///
/// A message whose id is not the one that was sent was written before, under the same client id.
pub type Appended = Result<Message, Refusal>;

/// Keeps the messages of every channel.
///
/// Each method is one atomic step. A refusal has changed nothing; after [`Class::Unavailable`](crate::Class::Unavailable)
/// the step may have taken effect, and repeating it is safe.
///
/// ```
/// use weltenwind_core::{Step, chat::{ChatStore, MemoryChatStore, NewChannel, NewMessage}};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), weltenwind_core::chat::ChatError> {
/// let store = MemoryChatStore::default();
/// let greeting = NewMessage::sample("well met");
/// store.create_channel(&Step::sample(greeting.sent_at), &NewChannel::sample(1)).await?;
/// let stored = store.append(&[greeting.clone()]).await?;
/// assert_eq!(stored[0].as_ref().unwrap().seq.get(), 1);
/// assert_eq!(store.append(&[greeting]).await?, stored);
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait ChatStore: Debug + Send + Sync + 'static {
    /// Makes a channel at revision 1, with both counters at zero.
    ///
    /// # Errors
    ///
    /// [`ChatError::SlugTaken`] if an open channel of the scope has the slug; a closed one gives it free.
    async fn create_channel(&self, step: &Step, channel: &NewChannel) -> Result<Channel, ChatError>;

    /// Reads a channel, closed or not.
    async fn find_channel(&self, id: ChannelId) -> Result<Option<Channel>, StorageError>;

    /// Reads the open channels of a scope in order of their ids.
    async fn channels(&self, query: &ChannelQuery) -> Result<Page<Channel>, StorageError>;

    /// Changes or closes a channel and counts its revision up.
    ///
    /// # Errors
    ///
    /// [`ChatError::ChannelNotFound`], also for a closed one; [`ChatError::Stale`] with the present revision if it is not
    /// the expected one; [`ChatError::SlugTaken`].
    async fn amend_channel(&self, step: &Step, change: &ChannelChange) -> Result<Channel, ChatError>;

    /// Appends a batch, each message to its channel under the next `seq` and `change`, without a hole; one answer per
    /// message, in order. Messages of one channel are numbered in the batch's order.
    ///
    /// The same `client_id` from the same author in the same channel again (within a batch too) answers what was stored, in
    /// its present state, and changes nothing; with another [`NewMessage::fingerprint`] it is refused as
    /// [`Refusal::ClientIdReused`]. A refusal does not harm the rest of the batch. Two calls at once never number two
    /// messages alike and never store one client id twice.
    ///
    /// A message that would be written, but comes sooner than its [`NewMessage::pause`] after the author's newest message in the
    /// channel, one before it in the batch included, is refused as [`NewMessage::too_soon_after`] says. That holds among calls at
    /// once too. What is refused is no message to pause after, and removed ones are until retention deletes them.
    async fn append(&self, batch: &[NewMessage]) -> Result<Vec<Appended>, StorageError>;

    /// Reads a part of a channel's history by `seq`, and the position it is complete to, as of one instant; removed
    /// messages keep their places. None if the channel does not exist.
    async fn page(&self, query: &MessageQuery) -> Result<Option<History>, StorageError>;

    /// Reads how far a channel is, as of one instant. None if it does not exist.
    async fn head(&self, channel: ChannelId) -> Result<Option<RoomHead>, StorageError>;

    /// Reads what changed after a position: each message once, in its newest state, oldest change first, and the position
    /// the page is complete to, as of one instant.
    ///
    /// # Errors
    ///
    /// [`ChatError::ChannelNotFound`]; [`ChatError::ReplayWindowExceeded`] if not everything since can be told, see
    /// [`RoomPosition::gap_before`](super::RoomPosition::gap_before).
    async fn changes(&self, query: &ChangeQuery) -> Result<Changes, ChatError>;

    /// Reads a message, removed or not.
    async fn find_message(&self, id: MessageId) -> Result<Option<Message>, StorageError>;

    /// Gives a message another text and takes the channel's next change.
    ///
    /// # Errors
    ///
    /// [`ChatError::MessageNotFound`]; [`ChatError::MessageRemoved`].
    async fn edit(&self, step: &Step, edit: &Edit) -> Result<Message, ChatError>;

    /// Puts a tombstone on a message and takes the channel's next change. A purge also destroys the text, of a message
    /// that was masked before too; any other second removal answers the first and changes nothing.
    ///
    /// # Errors
    ///
    /// [`ChatError::MessageNotFound`].
    async fn remove(&self, step: &Step, removal: &Removal) -> Result<Message, ChatError>;

    /// Notes that `account` has read `channel` up to `seq`; a mark never moves back, nor beyond the last message.
    ///
    /// # Errors
    ///
    /// [`ChatError::ChannelNotFound`].
    async fn mark_read(&self, account: AccountId, channel: ChannelId, seq: Seq) -> Result<Unread, ChatError>;

    /// Reads the marks of `account` in open channels that have messages behind the mark, in order of the channels' ids.
    async fn unread(&self, account: AccountId) -> Result<Vec<Unread>, StorageError>;

    /// Reads where messages of an author stand, removed ones and those of closed channels too.
    async fn written(&self, query: &WrittenQuery) -> Result<Vec<Written>, StorageError>;

    /// Reads the messages at these places of a channel, in order of their `seq`; a place without a message is passed over.
    async fn messages_at(&self, channel: ChannelId, places: &[Seq]) -> Result<Vec<Message>, StorageError>;

    /// Gives the author's messages at these places another name, each under the channel's next change, and answers those that
    /// stood under another one, in order of their `seq`. What stands there of somebody else is passed over.
    async fn rename_author(&self, renaming: &AuthorRenaming) -> Result<Vec<Message>, StorageError>;

    /// Deletes the oldest messages of `channel`, up to `limit`, stopping at the first that was sent at `before` or later, and
    /// answers how many. Counters stay as they are, so no number is given twice, and [`RoomHead::purged`] is the newest change
    /// that is gone: no loss is silent.
    async fn purge(&self, channel: ChannelId, before: Timestamp, limit: u32) -> Result<u64, StorageError>;

    /// Reads the open channels whose messages are to be deleted after some days.
    async fn channels_with_retention(&self) -> Result<Vec<Channel>, StorageError>;
}
