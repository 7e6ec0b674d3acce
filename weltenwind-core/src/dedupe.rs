//! The key by which a thing that is made twice is known.

use std::{fmt, str::FromStr};

use crate::validation::Invalid;

/// What a caller calls a thing, so that it is made once however often it is asked for: 1 to 64 visible ASCII characters.
///
/// ```
/// use weltenwind_core::DedupeKey;
///
/// assert_eq!(DedupeKey::new("season-7-begins")?.as_str(), "season-7-begins");
/// assert!(DedupeKey::new("two words").is_err());
/// # Ok::<(), weltenwind_core::Invalid>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DedupeKey(String);

impl DedupeKey {
    /// Checks a key.
    pub fn new(text: &str) -> Result<Self, Invalid> {
        if (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Invalid::at("/dedupeKey", "dedupeKey must be 1 to 64 visible ASCII characters"))
        }
    }

    /// Takes a key that was checked when it was stored.
    pub const fn from_stored(text: String) -> Self {
        Self(text)
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DedupeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for DedupeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl FromStr for DedupeKey {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text)
    }
}
