//! The port that keeps grants.

use std::fmt::Debug;

use async_trait::async_trait;

use super::{
    error::AccessError,
    model::{Grant, GrantQuery, Member, MemberQuery, NewGrant},
};
use crate::{
    clock::Timestamp,
    error::StorageError,
    ids::{AccountId, GrantId},
    page::Page,
    scope::Scope,
    step::Step,
};

/// Keeps who holds which role where.
///
/// Each method is one atomic step. A refusal has changed nothing; after [`Class::Unavailable`](crate::Class::Unavailable)
/// the step may have taken effect, and repeating it is safe.
#[async_trait]
pub trait GrantStore: Debug + Send + Sync + 'static {
    /// Reads every grant of `account` that holds at `at`, in no particular order.
    async fn of(&self, account: AccountId, at: Timestamp) -> Result<Vec<Grant>, StorageError>;

    /// Reads a grant, expired or not; one that was taken is gone.
    async fn find(&self, id: GrantId) -> Result<Option<Grant>, StorageError>;

    /// Reads grants in order of their ids, expired ones included.
    async fn page(&self, query: &GrantQuery) -> Result<Page<Grant>, StorageError>;

    /// Binds a role. The same account, role and scope again keeps the first grant's id and takes the newer expiry and
    /// reason, so that no account holds a role twice in one scope. If it then [ends sooner](Grant::ends_sooner_than), that is
    /// logged as a loss.
    ///
    /// # Errors
    ///
    /// [`AccessError::AccountNotFound`]; a store that does not keep accounts accepts any. [`AccessError::LastOwner`] if an
    /// owner who stayed for good would get an end, and no other would be left in the scope; as in [`GrantStore::revoke`], two
    /// at once must not both succeed.
    async fn grant(&self, step: &Step, grant: &NewGrant) -> Result<Grant, AccessError>;

    /// Takes one grant away, logs the loss, and answers the grant.
    ///
    /// # Errors
    ///
    /// [`AccessError::GrantNotFound`]; [`AccessError::LastOwner`] if the grant is of an `owner` (or `world_owner`,
    /// `group_owner`) and does not expire, and no other such grant would be left in the scope. Two owners who leave at once
    /// must not both succeed.
    async fn revoke(&self, step: &Step, grant: GrantId) -> Result<Grant, AccessError>;

    /// Takes every grant away that `account` holds in exactly `scope`, and logs that as one loss.
    ///
    /// # Errors
    ///
    /// [`AccessError::MemberNotFound`] if it holds none; [`AccessError::LastOwner`] as in [`GrantStore::revoke`].
    async fn revoke_all(&self, step: &Step, account: AccountId, scope: Scope) -> Result<(), AccessError>;

    /// Reads the accounts that hold grants in exactly the world's scope, in order of their ids.
    async fn members(&self, query: &MemberQuery) -> Result<Page<Member>, StorageError>;
}
