//! `global ⊃ world ⊃ group`: where a role holds, a room lives, a channel belongs.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::ids::{GroupId, WorldId};

/// A part of the system that rights and things belong to.
///
/// One string everywhere: `global`, `world:<id>` or `group:<id>`.
///
/// ```
/// use weltenwind_core::Scope;
///
/// let scope: Scope = "world:018f0000-0000-7000-8000-00000000000a".parse()?;
/// assert_eq!(scope.to_string(), "world:018f0000-0000-7000-8000-00000000000a");
/// # Ok::<(), weltenwind_core::ParseScopeError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Everything on this installation.
    Global,
    /// One world and its groups.
    World(WorldId),
    /// One group.
    Group(GroupId),
}

/// The kind of a scope, without its identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ScopeKind {
    /// See [`Scope::Global`].
    Global,
    /// See [`Scope::World`].
    World,
    /// See [`Scope::Group`].
    Group,
}

impl Scope {
    /// Returns the kind.
    pub const fn kind(self) -> ScopeKind {
        match self {
            Self::Global => ScopeKind::Global,
            Self::World(_) => ScopeKind::World,
            Self::Group(_) => ScopeKind::Group,
        }
    }
}

impl fmt::Display for ScopeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Global => "global",
            Self::World => "world",
            Self::Group => "group",
        })
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Global => f.write_str("global"),
            Self::World(id) => write!(f, "world:{id}"),
            Self::Group(id) => write!(f, "group:{id}"),
        }
    }
}

/// The text is no scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a scope: `global`, `world:<id>` or `group:<id>` is expected")]
pub struct ParseScopeError;

impl FromStr for Scope {
    type Err = ParseScopeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            None if text == "global" => Ok(Self::Global),
            Some(("world", id)) => id.parse().map(Self::World).map_err(|_| ParseScopeError),
            Some(("group", id)) => id.parse().map(Self::Group).map_err(|_| ParseScopeError),
            _ => Err(ParseScopeError),
        }
    }
}

impl Serialize for Scope {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Scope {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}
