//! The built-in roles: fixed sets of permissions, one table.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::permission::{Permission as P, PermissionSet};
use crate::scope::ScopeKind;

macro_rules! roles {
    ($($(#[$doc:meta])* $name:ident = $text:literal in $kind:ident, rank $rank:literal, $permissions:expr;)+) => {
        /// A named set of permissions that a grant binds in a scope of the role's kind.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Role {
            $($(#[$doc])* $name,)+
        }

        impl Role {
            /// Every role.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// Returns the name, as it stands in grants.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }

            /// Returns the kind of scope the role is bound in.
            pub const fn scope_kind(self) -> ScopeKind {
                match self { $(Self::$name => ScopeKind::$kind,)+ }
            }

            /// Returns the rank; who grants must stand above.
            pub const fn rank(self) -> u8 {
                match self { $(Self::$name => $rank,)+ }
            }

            /// Returns what the role allows.
            pub const fn permissions(self) -> PermissionSet {
                match self { $(Self::$name => $permissions,)+ }
            }
        }
    };
}

const STAFF: PermissionSet = PermissionSet::of(&[
    P::AccessManage,
    P::WorldCreate,
    P::WorldRead,
    P::WorldManage,
    P::ChatManage,
    P::ChatModerate,
    P::ChatRead,
    P::ChatPost,
    P::OutboxManage,
    P::AnnouncementPublish,
]);
const MODERATION: PermissionSet = PermissionSet::of(&[P::WorldRead, P::ChatModerate, P::ChatRead, P::ChatPost]);
const READING: PermissionSet = PermissionSet::of(&[P::WorldRead, P::ChatRead]);
const TAKING_PART: PermissionSet = PermissionSet::of(&[P::WorldRead, P::ChatRead, P::ChatPost]);
const WORLD_STAFF: PermissionSet = PermissionSet::of(&[
    P::AccessManage,
    P::WorldRead,
    P::WorldManage,
    P::ChatManage,
    P::ChatModerate,
    P::ChatRead,
    P::ChatPost,
    P::AnnouncementPublish,
]);

roles! {
    /// Holds the installation.
    Owner = "owner" in Global, rank 100, PermissionSet::ALL;
    /// Runs the installation.
    Admin = "admin" in Global, rank 90, STAFF;
    /// Keeps the peace in every world.
    Moderator = "moderator" in Global, rank 60, MODERATION;
    /// Helps players: sees what they see.
    Support = "support" in Global, rank 50, READING;
    /// Reads what happened.
    Auditor = "auditor" in Global, rank 40, READING;
    /// A game server or bot.
    Service = "service" in Global, rank 30, TAKING_PART;
    /// A player like every other; holds nothing beyond what every signed-in account holds.
    Player = "player" in Global, rank 10, PermissionSet::EMPTY;
    /// Holds a world.
    WorldOwner = "world_owner" in World, rank 80, WORLD_STAFF;
    /// Runs a world.
    WorldAdmin = "world_admin" in World, rank 70, WORLD_STAFF;
    /// Keeps the peace in a world.
    WorldModerator = "world_moderator" in World, rank 55, MODERATION;
    /// Belongs to a world.
    WorldMember = "world_member" in World, rank 15, TAKING_PART;
    /// Visits a world; held without a grant in public and unlisted worlds.
    WorldGuest = "world_guest" in World, rank 5, TAKING_PART;
    /// Holds a group.
    GroupOwner = "group_owner" in Group, rank 45, PermissionSet::of(&[P::AccessManage, P::WorldRead, P::ChatManage, P::ChatModerate, P::ChatRead, P::ChatPost, P::AnnouncementPublish]);
    /// Keeps the peace in a group.
    GroupMod = "group_mod" in Group, rank 35, MODERATION;
    /// Belongs to a group.
    GroupMember = "group_member" in Group, rank 12, TAKING_PART;
}

impl Role {
    /// Every role, the highest rank first.
    pub(super) const BY_RANK: [Self; Self::ALL.len()] = {
        let mut sorted = [Self::Owner; Self::ALL.len()];
        let mut end = 0;
        while end < sorted.len() {
            let mut at = end;
            while at > 0 && sorted[at - 1].rank() < Self::ALL[end].rank() {
                sorted[at] = sorted[at - 1];
                at -= 1;
            }
            sorted[at] = Self::ALL[end];
            end += 1;
        }
        sorted
    };

    /// Returns whether the role holds its scope: a scope keeps one that does not expire.
    pub const fn is_owner(self) -> bool {
        matches!(self, Self::Owner | Self::WorldOwner | Self::GroupOwner)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text names no role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a role")]
pub struct ParseRoleError;

impl FromStr for Role {
    type Err = ParseRoleError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.iter().copied().find(|role| role.as_str() == text).ok_or(ParseRoleError)
    }
}

impl Serialize for Role {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Role {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_stand_by_rank() {
        let mut expected = Role::ALL.to_vec();
        expected.sort_by_key(|role| std::cmp::Reverse(role.rank()));

        assert_eq!(Role::BY_RANK.to_vec(), expected);
    }

    #[test]
    fn a_role_allows_only_what_is_legal_in_its_kind_of_scope_or_below() {
        let below = |kind: ScopeKind| match kind {
            ScopeKind::Global => vec![ScopeKind::Global, ScopeKind::World, ScopeKind::Group],
            ScopeKind::World => vec![ScopeKind::World, ScopeKind::Group],
            ScopeKind::Group => vec![ScopeKind::Group],
        };

        for role in Role::ALL {
            for permission in P::ALL.iter().filter(|p| role.permissions().contains(**p)) {
                let reach = below(role.scope_kind());
                assert!(permission.legal_in().iter().any(|kind| reach.contains(kind)), "{role} holds {permission}");
            }
        }
    }

    /// Who asks for a permission must be able to get it, and not from owners alone.
    #[test]
    fn every_permission_is_in_a_role_and_legal_where_the_role_is_bound() {
        for permission in P::ALL {
            let held = Role::ALL.iter().filter(|role| role.permissions().contains(*permission));
            assert!(held.clone().any(|role| !role.is_owner()), "{permission} is in no role but owners'");
            assert!(held.clone().any(|role| permission.legal_in().contains(&role.scope_kind())), "{permission}");
        }
    }

    /// Nobody who gives a role below their own gives what they do not hold.
    #[test]
    fn whoever_may_give_roles_holds_all_that_the_roles_below_allow() {
        for giver in Role::ALL.iter().filter(|role| role.permissions().contains(P::AccessManage)) {
            let reaches = |role: &&Role| match giver.scope_kind() {
                ScopeKind::Global => true,
                ScopeKind::World => role.scope_kind() != ScopeKind::Global,
                ScopeKind::Group => role.scope_kind() == ScopeKind::Group,
            };
            for role in Role::ALL.iter().filter(|role| role.rank() < giver.rank()).filter(reaches) {
                assert!(giver.permissions().covers(role.permissions()), "{giver} over {role}");
            }
        }
    }

    #[test]
    fn the_built_in_roles_are_these_by_rank_in_each_kind_of_scope() {
        let of = |kind| {
            let mut roles: Vec<_> = Role::ALL.iter().filter(|role| role.scope_kind() == kind).collect();
            roles.sort_by_key(|role| std::cmp::Reverse(role.rank()));
            roles.iter().map(|role| role.as_str()).collect::<Vec<_>>().join(" ")
        };

        assert_eq!(of(ScopeKind::Global), "owner admin moderator support auditor service player");
        assert_eq!(of(ScopeKind::World), "world_owner world_admin world_moderator world_member world_guest");
        assert_eq!(of(ScopeKind::Group), "group_owner group_mod group_member");
    }

    #[test]
    fn names_of_roles_parse_back() {
        assert!(Role::ALL.iter().all(|role| role.as_str().parse() == Ok(*role)));
    }
}
