//! Grants, and what is decided from them.

use super::{permission::Permission, role::Role};
use crate::{
    accounts::DisplayName,
    clock::Timestamp,
    ids::{AccountId, GrantId, WorldId},
    page::Limit,
    scope::Scope,
};

/// A role bound to an account in a scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The grant.
    pub id: GrantId,
    /// Who holds the role.
    pub account: AccountId,
    /// The role.
    pub role: Role,
    /// Where it holds, and in everything below.
    pub scope: Scope,
    /// Who gave it; none for the operator.
    pub granted_by: Option<AccountId>,
    /// Why.
    pub reason: Option<String>,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
    /// When it was given.
    pub created_at: Timestamp,
}

impl Grant {
    /// Returns whether the grant holds at `now`.
    pub fn holds_at(&self, now: Timestamp) -> bool {
        self.expires_at.is_none_or(|end| now < end)
    }
}

/// A grant to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewGrant {
    /// The grant.
    pub id: GrantId,
    /// Who gets the role.
    pub account: AccountId,
    /// The role.
    pub role: Role,
    /// Where it holds.
    pub scope: Scope,
    /// Why.
    pub reason: Option<String>,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
}

/// Which grants to read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GrantQuery {
    /// Only those of this account.
    pub account: Option<AccountId>,
    /// Only those in this scope.
    pub scope: Option<Scope>,
    /// Only those behind this one, in order of their ids.
    pub after: Option<GrantId>,
    /// How many.
    pub limit: Limit,
}

/// An account that holds roles in a world.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The account.
    pub account: AccountId,
    /// The name that others see.
    pub display_name: DisplayName,
    /// The roles, highest rank first.
    pub roles: Vec<Role>,
    /// When the first of them was given.
    pub since: Timestamp,
}

/// Which members to read: those of one world, in order of their accounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemberQuery {
    /// The world.
    pub world: WorldId,
    /// Expired grants do not count at this instant.
    pub at: Timestamp,
    /// Only members behind this one.
    pub after: Option<MemberPosition>,
    /// How many.
    pub limit: Limit,
}

/// A position in a list of members.
pub type MemberPosition = AccountId;

/// An answer and its reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Whether it may be done.
    pub allowed: bool,
    /// What was asked for.
    pub permission: Permission,
    /// Where.
    pub scope: Scope,
    /// Why, or why not.
    pub because: Because,
}

/// What a decision rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Because {
    /// The operator may do everything.
    Operator,
    /// Everybody may look at an open place.
    OpenToEverybody,
    /// Every signed-in account is a guest of an open place.
    OpenToAccounts,
    /// A grant of this role in this scope allows it.
    Granted(Role, Scope),
    /// Nobody is signed in.
    SignInRequired,
    /// The token reaches less far.
    OutsideOfToken(Scope),
    /// The permission is not legal in this kind of scope.
    NotLegalHere,
    /// No grant allows it.
    NoGrant,
}
