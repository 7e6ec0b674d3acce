//! The port that reads and erases what is held on accounts, whatever domain it belongs to.

use std::fmt::Debug;

use async_trait::async_trait;

use super::{
    error::PrivacyError,
    model::{AuditEntry, AuditQuery, Erasure, ErasureQuery, Holdings, NewErasure},
};
use crate::{clock::Timestamp, error::StorageError, ids::AccountId, page::Page, scope::Scope, step::Step};

/// Reads and erases what is held on accounts, and keeps the ledger of erasures.
///
/// Each method is one atomic step, as in [`AccountStore`](crate::accounts::AccountStore); reads may be of several instants.
#[async_trait]
pub trait PrivacyStore: Debug + Send + Sync + 'static {
    /// Reads what is held on an account.
    async fn holdings(&self, account: AccountId) -> Result<Option<Holdings>, StorageError>;

    /// Reads the part of the audit log that `query` asks for.
    async fn audit(&self, query: &AuditQuery) -> Result<Vec<AuditEntry>, StorageError>;

    /// Writes an audit row and nothing else.
    async fn note(&self, step: &Step, account: AccountId) -> Result<(), StorageError>;

    /// Reads the scopes whose only lasting owner the account is. Archived worlds need none.
    async fn last_owner_of(&self, account: AccountId) -> Result<Vec<Scope>, StorageError>;

    /// Deletes an account with everything that belongs to it, logs that loss, keeps its marks, and writes it into the ledger as
    /// not settled. The username is free afterwards; API keys that it made stay, since they are their scope's.
    ///
    /// With [`LastOwner::Goes`](super::LastOwner::Goes), an account that does not exist is written into the ledger too, unless it
    /// stands there: then nothing changes.
    ///
    /// # Errors
    ///
    /// [`PrivacyError::NotFound`]; [`PrivacyError::LastOwner`]. Of two owners who are erased at once, one stays.
    async fn erase(&self, step: &Step, erasure: &NewErasure) -> Result<Erasure, PrivacyError>;

    /// Deletes what requests that were under way have written for accounts that are erased, and that nothing refers to:
    /// read marks and kept answers.
    async fn sweep(&self, account: AccountId) -> Result<(), StorageError>;

    /// Notes that an erasure is through, unless it was applied again behind `since`.
    async fn settle(&self, account: AccountId, since: Timestamp) -> Result<(), StorageError>;

    /// Reads the ledger.
    async fn erasures(&self, query: &ErasureQuery) -> Result<Page<Erasure>, StorageError>;

    /// Reads the erasures that are not through, oldest first, at most 100.
    async fn unsettled(&self) -> Result<Vec<Erasure>, StorageError>;

    /// Deletes marks of accounts that were erased before `before`, and returns how many.
    async fn purge_marks(&self, before: Timestamp) -> Result<u64, StorageError>;
}
