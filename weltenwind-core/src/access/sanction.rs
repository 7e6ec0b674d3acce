//! The only deny: what was taken from an account, whatever its roles allow.

use std::{fmt, fmt::Debug, sync::Arc};

use async_trait::async_trait;

use super::{
    permission::{Permission, PermissionSet},
    place::Place,
};
use crate::{clock::Timestamp, error::StorageError, ids::AccountId, scope::Scope};

/// How much a sanction takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SanctionKind {
    /// To write.
    Mute,
    /// Everything.
    Ban,
}

impl SanctionKind {
    /// Returns the word, as it is told.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mute => "mute",
            Self::Ban => "ban",
        }
    }

    /// Returns what it takes.
    pub const fn takes(self) -> PermissionSet {
        match self {
            Self::Mute => PermissionSet::of(&[Permission::ChatPost]),
            Self::Ban => PermissionSet::ALL,
        }
    }
}

impl fmt::Display for SanctionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A sanction on an account. It flows down, as grants do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sanction {
    /// How much it takes.
    pub kind: SanctionKind,
    /// Where, and in everything below.
    pub scope: Scope,
    /// When it ends by itself.
    pub until: Option<Timestamp>,
}

impl Sanction {
    /// Returns whether it denies `permission` in `place` at `now`.
    pub fn denies(&self, permission: Permission, place: &Place, now: Timestamp) -> bool {
        self.until.is_none_or(|end| now < end) && self.kind.takes().contains(permission) && place.lies_in(self.scope)
    }
}

/// Tells which sanctions bind an account.
///
/// It is asked at every decision about an account, so it answers from memory and is told of what changes.
#[async_trait]
pub trait Sanctions: Debug + Send + Sync + 'static {
    /// Answers the sanctions on `account`, in no particular order; those that have ended may be among them.
    async fn of(&self, account: AccountId) -> Result<Arc<[Sanction]>, StorageError>;
}
