//! The registry of permissions.

use std::fmt;

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
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
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

    /// Returns what is in either set.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl fmt::Debug for PermissionSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(Permission::ALL.iter().filter(|p| self.contains(**p))).finish()
    }
}
