//! Instants as the API writes them.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::clock::Timestamp;

/// An instant that is written as RFC 3339 in UTC, with `Z` and exactly three digits of a second.
///
/// ```
/// use weltenwind_core::{Timestamp, wire::WireTime};
///
/// let time = WireTime(Timestamp::from_microsecond(1_767_225_600_042_999)?);
/// assert_eq!(time.to_string(), "2026-01-01T00:00:00.042Z");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct WireTime(pub Timestamp);

impl From<Timestamp> for WireTime {
    fn from(timestamp: Timestamp) -> Self {
        Self(timestamp)
    }
}

impl fmt::Display for WireTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Cut, not rounded: an instant is never written later than it was.
        let milliseconds = self.0.as_millisecond();
        let cut = Timestamp::from_millisecond(milliseconds).map_err(|_| fmt::Error)?;
        write!(f, "{cut:.3}")
    }
}

impl Serialize for WireTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for WireTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map(Self).map_err(de::Error::custom)
    }
}
