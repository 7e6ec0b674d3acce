//! Identifiers: one type per thing, time-ordered, printed and parsed in one form everywhere.

use std::{
    fmt::{self, Debug},
    str::FromStr,
    sync::atomic::{AtomicU64, Ordering},
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use uuid::Uuid;

/// The text is no identifier: a hyphenated UUID is expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an identifier: a hyphenated UUID is expected")]
pub struct ParseIdError;

/// Parses the one textual form, hyphenated, in either case; braces, URNs and bare digits are refused.
fn parse(text: &str) -> Result<Uuid, ParseIdError> {
    if text.len() != uuid::fmt::Hyphenated::LENGTH {
        return Err(ParseIdError);
    }
    Uuid::try_parse(text).map_err(|_| ParseIdError)
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)+) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            /// Wraps a UUID.
            pub const fn new(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// Returns the UUID.
            pub const fn uuid(self) -> Uuid {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0.as_hyphenated(), f)
            }
        }

        impl Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                parse(text).map(Self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(de::Error::custom)
            }
        }
    )+};
}

ids! {
    /// Identifies an account: a guest, a player, a moderator.
    AccountId;
    /// Identifies a sign-in that lasts.
    SessionId;
    /// Identifies a device that an account signed in from.
    DeviceId;
    /// Identifies a role bound to an account in a scope.
    GrantId;
    /// Identifies the API key of a game server.
    ApiKeyId;
    /// Identifies a world.
    WorldId;
    /// Identifies a group inside a world.
    GroupId;
    /// Identifies a chat channel.
    ChannelId;
    /// Identifies a message.
    MessageId;
    /// Identifies a node, from one start to the next at most.
    NodeId;
    /// Identifies a worker: one process, from its start to its end.
    WorkerId;
    /// Identifies a letter.
    MailId;
    /// Identifies an announcement.
    AnnouncementId;
    /// Identifies something that an account is told.
    NotificationId;
}

/// Draws identifiers.
///
/// They are UUID version 7, so a later one sorts behind an earlier one drawn by the same process.
pub trait IdGenerator: Debug + Send + Sync + 'static {
    /// Draws a fresh identifier.
    fn draw(&self) -> Uuid;
}

/// Identifiers from the system's clock and random source.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemIds;

impl IdGenerator for SystemIds {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that draws identifiers")]
    fn draw(&self) -> Uuid {
        Uuid::now_v7()
    }
}

/// Identifiers that count up from one, for tests and for replaying a case.
///
/// ```
/// use weltenwind_core::{IdGenerator, SequentialIds};
///
/// let ids = SequentialIds::default();
/// assert_eq!(ids.draw().to_string(), "00000000-0000-7000-8000-000000000001");
/// ```
#[derive(Debug, Default)]
pub struct SequentialIds {
    drawn: AtomicU64,
}

impl IdGenerator for SequentialIds {
    fn draw(&self) -> Uuid {
        let n = self.drawn.fetch_add(1, Ordering::SeqCst) + 1;
        Uuid::from_fields(0, 0, 0x7000, &(0x8000_0000_0000_0000 | n).to_be_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_prints_in_lower_case_and_parses_what_it_printed() {
        let id: WorldId = "018F0000-0000-7000-8000-00000000000A".parse().unwrap();

        assert_eq!(id.to_string(), "018f0000-0000-7000-8000-00000000000a");
        assert_eq!(id.to_string().parse(), Ok(id));
    }

    #[test]
    fn other_spellings_of_a_uuid_are_refused() {
        for text in ["", "018f000000007000800000000000000a", "{018f0000-0000-7000-8000-00000000000a}", "general"] {
            assert_eq!(text.parse::<WorldId>(), Err(ParseIdError), "{text:?}");
        }
    }

    #[test]
    fn system_ids_are_of_version_seven_and_grow() {
        let ids: Vec<Uuid> = (0..100).map(|_| SystemIds.draw()).collect();

        assert!(ids.iter().all(|id| id.get_version_num() == 7));
        assert!(ids.is_sorted());
    }
}
