//! The port that keeps what accounts are told.

use std::fmt::Debug;

use async_trait::async_trait;

use super::{
    error::NotificationError,
    model::{FeedMark, FeedPage, FeedState, NewNotification, NotificationQuery, Spread, Told},
};
use crate::{
    clock::Timestamp,
    error::StorageError,
    ids::{AccountId, AnnouncementId, NotificationId},
};

/// Keeps what accounts are told, and what they have made of it.
///
/// An account's feed is what it was told, and every announcement to everybody that was published since the account was made.
/// Each method is one atomic step. Every step that changes what a feed shows counts the feed's version up in the same
/// transaction. After [`Class::Unavailable`](crate::Class::Unavailable) the step may have taken effect, and repeating it is safe.
#[async_trait]
pub trait NotificationStore: Debug + Send + Sync + 'static {
    /// Reads in which state an account's feed is at an instant, by keys alone.
    async fn state(&self, account: AccountId, at: Timestamp, since: Timestamp) -> Result<FeedState, StorageError>;

    /// Reads the notifications that `query` asks for.
    async fn page(&self, query: &NotificationQuery) -> Result<FeedPage, StorageError>;

    /// Counts what an account has not read, up to `cap` and no further.
    async fn unread(&self, account: AccountId, at: Timestamp, since: Timestamp, cap: u32) -> Result<u32, StorageError>;

    /// Tells accounts something, each once under its key; one answer for each, in order.
    async fn tell(&self, news: &[NewNotification]) -> Result<Vec<Told>, StorageError>;

    /// Marks one as read; one that is read stays as it is.
    ///
    /// # Errors
    ///
    /// [`NotificationError::NotFound`] if the account's feed does not show it.
    async fn mark_read(&self, account: AccountId, id: NotificationId, at: Timestamp) -> Result<(), NotificationError>;

    /// Marks as read whatever the feed showed when it was seen as far as `mark`, and nothing that came later.
    async fn mark_all_read(&self, account: AccountId, mark: FeedMark, at: Timestamp) -> Result<(), StorageError>;

    /// Takes one out of the feed, for good: told again, it does not come back.
    ///
    /// # Errors
    ///
    /// [`NotificationError::NotFound`] if the account's feed does not show it.
    async fn dismiss(&self, account: AccountId, id: NotificationId, at: Timestamp) -> Result<(), NotificationError>;

    /// Notes that one is about to be handed over to accounts without being asked for, and answers to which of them it may be: their
    /// feed shows it, it is not read, and nobody else has noted that before. Of two at once, one may. An account that is named twice
    /// counts once; the answer has no order.
    async fn dispatch(
        &self,
        accounts: &[AccountId],
        id: NotificationId,
        at: Timestamp,
    ) -> Result<Vec<AccountId>, StorageError>;

    /// Tells the next of those who belonged to an announcement's audience when it was published; one page, in one transaction, from
    /// where the last page ended. Whoever is last leaves the announcement dispatched, as its next revision.
    ///
    /// However often it is called, by however many at once and wherever it was interrupted: everybody is told once. An announcement
    /// to everybody has nobody to be told here, and is dispatched at once.
    async fn spread(&self, announcement: AnnouncementId, at: Timestamp) -> Result<Spread, StorageError>;

    /// Deletes at most `limit` of what was told before `read_before` and read or dismissed, or before `unread_before`, and answers how
    /// many there were.
    async fn purge(&self, read_before: Timestamp, unread_before: Timestamp, limit: u32) -> Result<u64, StorageError>;
}
