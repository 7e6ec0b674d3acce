//! Rooms: what a socket joins and what the bus speaks about.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{
    ids::{AccountId, ChannelId, GroupId, WorldId},
    scope::Scope,
};

/// A place where live things happen.
///
/// `global`, `world:<id>`, `group:<id>`, `user:<id>` and `channel:<id>`; only the last is replayable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Room {
    /// Everybody on this installation.
    Global,
    /// Everybody in a world.
    World(WorldId),
    /// Everybody in a group.
    Group(GroupId),
    /// One account's own room.
    User(AccountId),
    /// A channel's messages.
    Channel(ChannelId),
}

impl From<Scope> for Room {
    fn from(scope: Scope) -> Self {
        match scope {
            Scope::Global => Self::Global,
            Scope::World(id) => Self::World(id),
            Scope::Group(id) => Self::Group(id),
        }
    }
}

impl fmt::Display for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Global => f.write_str("global"),
            Self::World(id) => write!(f, "world:{id}"),
            Self::Group(id) => write!(f, "group:{id}"),
            Self::User(id) => write!(f, "user:{id}"),
            Self::Channel(id) => write!(f, "channel:{id}"),
        }
    }
}

/// The text is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a room: `global` or `world:`, `group:`, `user:`, `channel:` with an id is expected")]
pub struct ParseRoomError;

impl FromStr for Room {
    type Err = ParseRoomError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            Some(("user", id)) => id.parse().map(Self::User).map_err(|_| ParseRoomError),
            Some(("channel", id)) => id.parse().map(Self::Channel).map_err(|_| ParseRoomError),
            _ => text.parse::<Scope>().map(Self::from).map_err(|_| ParseRoomError),
        }
    }
}

impl Serialize for Room {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Room {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}
