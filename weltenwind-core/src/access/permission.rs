//! The registry of permissions.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::scope::ScopeKind;

macro_rules! permissions {
    ($($(#[$doc:meta])* $name:ident = $text:literal in [$($kind:ident),+] $(, $sensitive:ident)?;)+) => {
        /// Something that may be done, with the kinds of scope it is legal in.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Permission {
            $($(#[$doc])* $name,)+
        }

        impl Permission {
            /// Every permission.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// Returns `resource.action`.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }

            /// Returns the kinds of scope in which it can be asked for.
            pub const fn legal_in(self) -> &'static [ScopeKind] {
                match self { $(Self::$name => &[$(ScopeKind::$kind),+],)+ }
            }

            /// Returns whether a decision about it must not come from a cache.
            pub const fn is_sensitive(self) -> bool {
                match self { $(Self::$name => permissions!(@sensitive $($sensitive)?),)+ }
            }
        }
    };
    (@sensitive) => { false };
    (@sensitive sensitive) => { true };
}

permissions! {
    /// To grant and take roles.
    AccessManage = "access.manage" in [Global, World, Group], sensitive;
    /// To make a world.
    WorldCreate = "world.create" in [Global];
    /// To see a world, its members and its rooms.
    WorldRead = "world.read" in [World, Group];
    /// To change and archive a world, and to remove members.
    WorldManage = "world.manage" in [World], sensitive;
    /// To make, change and close channels.
    ChatManage = "chat.manage" in [Global, World, Group], sensitive;
    /// To remove messages of others.
    ChatModerate = "chat.moderate" in [Global, World, Group], sensitive;
    /// To read channels.
    ChatRead = "chat.read" in [Global, World, Group];
    /// To write in channels.
    ChatPost = "chat.post" in [Global, World, Group];
    /// To see jobs that are dead, and to replay them.
    OutboxManage = "outbox.manage" in [Global], sensitive;
    /// To publish, change and withdraw announcements.
    AnnouncementPublish = "announcement.publish" in [Global, World, Group], sensitive;
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text names no permission.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a permission")]
pub struct ParsePermissionError;

impl FromStr for Permission {
    type Err = ParsePermissionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.iter().copied().find(|permission| permission.as_str() == text).ok_or(ParsePermissionError)
    }
}

impl Serialize for Permission {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Permission {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// A set of permissions in one word.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct PermissionSet(u64);

impl PermissionSet {
    /// Nothing.
    pub const EMPTY: Self = Self(0);
    /// Everything.
    pub const ALL: Self = Self::of(Permission::ALL);

    /// Collects permissions.
    pub const fn of(permissions: &[Permission]) -> Self {
        let mut bits = 0;
        let mut n = 0;
        while n < permissions.len() {
            bits |= 1 << permissions[n] as u64;
            n += 1;
        }
        Self(bits)
    }

    /// Returns whether `permission` is in the set.
    pub const fn contains(self, permission: Permission) -> bool {
        self.0 & (1 << permission as u64) != 0
    }

    /// Returns whether everything in `other` is in the set.
    pub const fn covers(self, other: Self) -> bool {
        other.0 & !self.0 == 0
    }

    /// Returns what is in either set.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Returns the permissions, in the order of the registry.
    pub fn iter(self) -> impl Iterator<Item = Permission> {
        Permission::ALL.iter().copied().filter(move |permission| self.contains(*permission))
    }
}

impl FromIterator<Permission> for PermissionSet {
    fn from_iter<I: IntoIterator<Item = Permission>>(permissions: I) -> Self {
        permissions.into_iter().fold(Self::EMPTY, |set, permission| set.union(Self::of(&[permission])))
    }
}

impl fmt::Debug for PermissionSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_are_a_resource_and_an_action_and_parse_back() {
        for permission in Permission::ALL {
            let (resource, action) = permission.as_str().split_once('.').expect("two parts");
            let is_word = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
            assert!(is_word(resource) && is_word(action), "{permission}");
            assert_eq!(permission.as_str().parse(), Ok(*permission));
        }
        assert_eq!("chat.*".parse::<Permission>(), Err(ParsePermissionError));
    }

    #[test]
    fn every_permission_fits_into_the_word() {
        assert!(Permission::ALL.len() <= 64);
        assert_eq!(PermissionSet::ALL.iter().count(), Permission::ALL.len());
    }

    #[test]
    fn a_set_covers_its_parts_alone() {
        let reading: PermissionSet = [Permission::WorldRead, Permission::ChatRead].into_iter().collect();

        assert!(PermissionSet::ALL.covers(reading) && reading.covers(reading) && reading.covers(PermissionSet::EMPTY));
        assert!(!reading.covers(PermissionSet::of(&[Permission::ChatRead, Permission::ChatPost])));
    }
}
