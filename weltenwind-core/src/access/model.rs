//! Grants, and what is decided from them.

use std::fmt;

use super::{permission::Permission, role::Role, sanction::SanctionKind};
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
    /// The account or API key that gave it; none for the operator.
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

    /// Returns whether the grant has an end that `before` did not have, or had later.
    pub fn ends_sooner_than(&self, before: &Self) -> bool {
        self.expires_at.is_some_and(|end| before.holds_at(end))
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
    /// When it may be otherwise though nothing is taken, because a grant ends by itself.
    pub until: Option<Timestamp>,
}

/// Leave to be somewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pass {
    /// Where: in which scope that lies what was asked for.
    pub scope: Scope,
    /// When it is to be asked for anew though nothing is taken, because a grant ends by itself.
    pub until: Option<Timestamp>,
}

impl Decision {
    /// Returns the leave that this is, if it is one.
    pub fn pass(&self) -> Option<Pass> {
        self.allowed.then_some(Pass { scope: self.scope, until: self.until })
    }
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
    /// The API key's list has it.
    Listed,
    /// Nobody is signed in.
    SignInRequired,
    /// The token or key reaches less far.
    OutsideOfToken(Scope),
    /// A sanction in this scope takes it.
    Sanctioned(SanctionKind, Scope),
    /// The permission is not legal in this kind of scope.
    NotLegalHere,
    /// The API key's list lacks it.
    NotListed,
    /// No grant allows it.
    NoGrant,
    /// A grant of this role in this scope would allow it to an account with a second factor.
    SecondFactorMissing(Role, Scope),
}

impl Because {
    /// Returns whether the answer is yes.
    pub const fn allows(&self) -> bool {
        matches!(self, Self::Operator | Self::OpenToEverybody | Self::OpenToAccounts | Self::Granted(..) | Self::Listed)
    }

    /// Returns the reason's name, as it is told.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::OpenToEverybody => "open-to-everybody",
            Self::OpenToAccounts => "open-to-accounts",
            Self::Granted(..) => "granted",
            Self::Listed => "listed",
            Self::SignInRequired => "sign-in-required",
            Self::OutsideOfToken(_) => "outside-of-token",
            Self::Sanctioned(..) => "sanctioned",
            Self::NotLegalHere => "not-legal-here",
            Self::NotListed => "not-listed",
            Self::NoGrant => "no-grant",
            Self::SecondFactorMissing(..) => "second-factor-missing",
        }
    }
}

impl fmt::Display for Because {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Operator => f.write_str("the operator may do everything"),
            Self::OpenToEverybody => f.write_str("everybody may look here"),
            Self::OpenToAccounts => f.write_str("every account is a guest here"),
            Self::Granted(role, scope) => write!(f, "{role} in {scope} allows it"),
            Self::Listed => f.write_str("the key lists it"),
            Self::SignInRequired => f.write_str("nobody is signed in"),
            Self::OutsideOfToken(scope) => write!(f, "the token reaches no further than {scope}"),
            Self::Sanctioned(kind, scope) => write!(f, "a {kind} in {scope} takes it"),
            Self::NotLegalHere => f.write_str("it cannot be asked for in this kind of scope"),
            Self::NotListed => f.write_str("the key does not list it"),
            Self::NoGrant => f.write_str("no role allows it"),
            Self::SecondFactorMissing(role, scope) => {
                write!(f, "{role} in {scope} allows it to an account with a second factor")
            }
        }
    }
}

/// An answer with everything that it rests on: each reason alone would have led to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// Whether it may be done.
    pub allowed: bool,
    /// What was asked for.
    pub permission: Permission,
    /// Where.
    pub scope: Scope,
    /// Why, or why not; never empty.
    pub because: Vec<Reason>,
}

/// A part of an explanation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// The reason.
    pub because: Because,
    /// The grant, if it is one.
    pub grant: Option<Grant>,
}

impl From<Because> for Reason {
    fn from(because: Because) -> Self {
        Self { because, grant: None }
    }
}

impl From<Decision> for Explanation {
    fn from(decision: Decision) -> Self {
        let Decision { allowed, permission, scope, because, .. } = decision;
        Self { allowed, permission, scope, because: vec![because.into()] }
    }
}
