//! What a message says, and what its author calls it.

use std::fmt::{self, Write as _};

use unicode_normalization::UnicodeNormalization as _;

use crate::{
    step::EffectKey,
    validation::{Invalid, paragraphs},
};

/// A message's text: 1 to 2000 characters after normalisation, no control characters other than line breaks.
///
/// Normalisation composes characters (NFC), makes every line break a line feed and cuts white space at both ends.
///
/// ```
/// use weltenwind_core::chat::Body;
///
/// assert_eq!(Body::new("  well\r\nmet ")?.as_str(), "well\nmet");
/// assert!(Body::new(" \n ").is_err() && Body::new("\u{7}").is_err());
/// # Ok::<(), weltenwind_core::Invalid>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Body(String);

impl Body {
    /// The longest text, in characters.
    pub const MAX: usize = 2000;

    /// Normalises and checks a text.
    pub fn new(text: &str) -> Result<Self, Invalid> {
        let text: String = text.replace("\r\n", "\n").nfc().collect();
        let text = text.trim();
        paragraphs("body", text, 1, Self::MAX).map_err(|detail| Invalid::at("/body", detail))?;
        Ok(Self(text.to_owned()))
    }

    /// Takes a text that was checked when it was stored.
    pub const fn from_stored(text: String) -> Self {
        Self(text)
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What players write to each other does not belong in a log.
        write!(f, "Body({} bytes)", self.0.len())
    }
}

/// What an author calls a message, so that a repeated post is known: 1 to 64 visible ASCII characters.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(String);

impl ClientId {
    /// Checks a client id.
    pub fn new(text: &str) -> Result<Self, Invalid> {
        if (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Invalid::at("/clientId", "clientId must be 1 to 64 visible ASCII characters"))
        }
    }

    /// Names a message after the request that posts it, where its author gave it no name.
    ///
    /// It begins with a blank, so no caller can write it; nobody is told of it.
    pub(super) fn of_request(key: &EffectKey) -> Self {
        let mut text = String::from(" ");
        for byte in key.as_bytes() {
            let _ = write!(text, "{byte:02x}");
        }
        Self(text)
    }

    /// Returns whether it was given by the author, and not after a request.
    pub fn is_the_authors(&self) -> bool {
        !self.0.starts_with(' ')
    }

    /// Takes a client id that was checked when it was stored.
    pub const fn from_stored(text: String) -> Self {
        Self(text)
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}
