//! How high somebody stands in a place: whoever gives or takes rights needs to stand above them.

use super::{
    error::{Denied, WhyDenied},
    model::Grant,
    permission::{Permission, PermissionSet},
    place::Place,
    role::Role,
    store::GrantStore,
};
use crate::{
    actor::{Actor, Identity},
    clock::Timestamp,
    error::StorageError,
};

/// The rank of whoever holds the store.
const ABOVE_ALL: u8 = u8::MAX;

/// What somebody holds in a place, from roles there and above.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    /// The highest rank; 0 without a role.
    pub(crate) rank: u8,
    /// Everything that is allowed.
    pub(crate) permissions: PermissionSet,
    /// Whether it comes from roles, and not from a key's list.
    has_roles: bool,
}

impl Standing {
    /// Reads how an actor stands, always from the store.
    pub(crate) async fn of(
        actor: &Actor,
        place: &Place,
        grants: &dyn GrantStore,
        now: Timestamp,
    ) -> Result<Self, StorageError> {
        Ok(match &actor.identity {
            Identity::Operator => Self { rank: ABOVE_ALL, permissions: PermissionSet::ALL, has_roles: true },
            Identity::Account(principal) => Self::by(&grants.of(principal.account, now).await?, place),
            Identity::Key(key) => Self { rank: key.rank, permissions: key.permissions, has_roles: false },
            Identity::Anonymous => Self::by(&[], place),
        })
    }

    /// Gathers what grants give in a place.
    pub(crate) fn by(grants: &[Grant], place: &Place) -> Self {
        let here = grants.iter().filter(|grant| place.lies_in(grant.scope)).map(|grant| grant.role);
        let nothing = Self { rank: 0, permissions: PermissionSet::EMPTY, has_roles: true };
        here.fold(nothing, |standing, role| Self {
            rank: standing.rank.max(role.rank()),
            permissions: standing.permissions.union(role.permissions()),
            ..standing
        })
    }

    /// Returns whether the role stands below and gives nothing that is not held. Owners may make owners.
    pub(crate) fn is_above(&self, role: Role) -> bool {
        let ranks = self.rank > role.rank() || (self.has_roles && role.is_owner() && self.rank == role.rank());
        ranks && self.permissions.covers(role.permissions())
    }

    /// Passes if `role` is [below](Self::is_above).
    pub(crate) fn require_above(&self, role: Role, permission: Permission, place: &Place) -> Result<(), Denied> {
        if self.is_above(role) {
            return Ok(());
        }
        Err(Denied { permission, scope: place.scope(), why: WhyDenied::Missing })
    }
}
