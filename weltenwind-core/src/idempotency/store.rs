//! The port that keeps what was answered to requests under a key.

use std::fmt::Debug;

use async_trait::async_trait;

use super::model::{Claim, Claimed, NewClaim, Release, StoredAnswer};
use crate::{clock::Timestamp, error::StorageError};

/// Keeps which requests under a key are running, and what was answered to those that are not.
///
/// Where a thing is destroyed, a message purged for example, the store of that thing also takes it out of the answers kept
/// here by their [`resource`](StoredAnswer::resource): the next repeat runs again, and shows what is left.
///
/// Each method is one atomic step; after [`Class::Unavailable`](crate::Class::Unavailable) it may have taken effect, and
/// repeating it is safe.
#[async_trait]
pub trait IdempotencyStore: Debug + Send + Sync + 'static {
    /// Claims the right to run a request.
    ///
    /// A key that is not known, or was first used [`KEPT`](super::KEPT) or longer before `claim.at`, is claimed afresh. A claim
    /// of the same request whose lease has ended is taken over, and keeps its beginning, cut to whole microseconds. Of
    /// claims at once, one passes.
    ///
    /// A store that several nodes share measures leases by its own clock, a store of one machine by `claim.at`.
    async fn claim(&self, claim: &NewClaim) -> Result<Claimed, StorageError>;

    /// Keeps the answer, and answers whether it did: not if the claim was taken over or has ended.
    async fn complete(&self, claim: &Claim, answer: &StoredAnswer) -> Result<bool, StorageError>;

    /// Ends a claim without an answer; one that was taken over or has ended stays as it is.
    async fn release(&self, claim: &Claim, release: Release) -> Result<(), StorageError>;

    /// Deletes keys that were first used before `before`, and effects recorded before it, up to `limit` of each and the oldest
    /// first. Answers how many; 0 is the end.
    async fn purge(&self, before: Timestamp, limit: u32) -> Result<u64, StorageError>;
}
