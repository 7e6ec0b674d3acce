//! The port that keeps announcements.

use std::fmt::Debug;

use async_trait::async_trait;

use super::{
    error::AnnouncementError,
    model::{Announcement, AnnouncementChange, AnnouncementPage, AnnouncementQuery, NewAnnouncement, Published},
};
use crate::{clock::Timestamp, error::StorageError, ids::AnnouncementId, step::Step};

/// Keeps announcements, and finds them by their words.
///
/// Each method is one atomic step. A refusal has changed nothing; after [`Class::Unavailable`](crate::Class::Unavailable)
/// the step may have taken effect, and repeating it is safe.
#[async_trait]
pub trait AnnouncementStore: Debug + Send + Sync + 'static {
    /// Makes an announcement at [`Revision::FIRST`](crate::Revision::FIRST), under a number above that of every one before.
    ///
    /// A dedupe key that was used in the scope before answers the first announcement as it is now, withdrawn or not, and changes
    /// nothing. Of two under one key at once, one is made.
    async fn publish(&self, step: &Step, new: &NewAnnouncement) -> Result<Published, AnnouncementError>;

    /// Reads an announcement, visible or not.
    async fn find(&self, id: AnnouncementId) -> Result<Option<Announcement>, StorageError>;

    /// Reads the announcements that `query` asks for. With a text they are those that have all of its words, at least where the
    /// words are whole; a store may also find other forms of a word, and titles that are nearly alike where nothing has the words.
    async fn page(&self, query: &AnnouncementQuery) -> Result<AnnouncementPage, StorageError>;

    /// Changes or withdraws an announcement and counts its revision up.
    ///
    /// # Errors
    ///
    /// [`AnnouncementError::NotFound`], also once it was withdrawn; [`AnnouncementError::Stale`] with the present revision if it is
    /// not the expected one; [`AnnouncementError::AlreadyPublished`] if another time of publication is wanted and the present one
    /// has come at the step's instant; [`AnnouncementError::Invalid`] if it would expire before it is published.
    async fn amend(&self, step: &Step, change: &AnnouncementChange) -> Result<Announcement, AnnouncementError>;

    /// Deletes at most `limit` announcements that were withdrawn before `before`, and answers how many there were.
    async fn purge(&self, before: Timestamp, limit: u32) -> Result<u64, StorageError>;
}
