//! What is wrong with a body, member by member.

use std::fmt;

use crate::{code::Code, error::Classify};

/// One member that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// JSON Pointer (RFC 6901) to the member, or the name of a query parameter.
    pub pointer: String,
    /// The code of the rule.
    pub code: Code,
    /// The rule in words.
    pub detail: String,
}

impl FieldError {
    /// Names the member and its rule.
    pub fn new(pointer: impl Into<String>, code: Code, detail: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), code, detail: detail.into() }
    }
}

/// A request that can be read and breaks rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    /// Each broken rule.
    pub errors: Vec<FieldError>,
}

impl Invalid {
    /// A single broken rule.
    pub fn at(pointer: &str, detail: impl Into<String>) -> Self {
        Self { errors: vec![FieldError::new(pointer, Code::ValidationFailed, detail)] }
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, error) in self.errors.iter().enumerate() {
            if n > 0 {
                f.write_str("; ")?;
            }
            f.write_str(&error.detail)?;
        }
        Ok(())
    }
}

impl std::error::Error for Invalid {}

impl Classify for Invalid {
    fn code(&self) -> Code {
        Code::ValidationFailed
    }

    fn fields(&self) -> &[FieldError] {
        &self.errors
    }
}

/// Declares a text that cannot be wrong once built: it is trimmed, composed (Unicode NFC) and checked.
macro_rules! text {
    ($(#[$doc:meta])* $name:ident, $member:literal, $rule:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// Normalises and checks a text.
            pub fn new(text: &str) -> Result<Self, $crate::Invalid> {
                let text: String = unicode_normalization::UnicodeNormalization::nfc(text.trim()).collect();
                let rule: fn(&str) -> Result<(), String> = $rule;
                rule(&text).map_err(|detail| $crate::Invalid::at($member, detail))?;
                Ok(Self(text))
            }

            /// Takes a text that was checked when it was stored.
            pub fn from_stored(text: String) -> Self {
                Self(text)
            }

            /// Returns the text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Debug::fmt(&self.0, f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::Invalid;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::new(text)
            }
        }
    };
}
pub(crate) use text;

/// Accepts `min` to `max` characters on one line, none of which controls a terminal or the direction of text.
pub(crate) fn one_line(name: &str, text: &str, min: usize, max: usize) -> Result<(), String> {
    length(name, text, min, max)?;
    if text.chars().any(|c| c.is_control() || is_invisible_control(c)) {
        return Err(format!("{name} must not contain control characters"));
    }
    Ok(())
}

/// Accepts `min` to `max` characters, with line breaks but no other control characters.
pub(crate) fn paragraphs(name: &str, text: &str, min: usize, max: usize) -> Result<(), String> {
    length(name, text, min, max)?;
    if text.chars().any(|c| (c.is_control() && c != '\n') || is_invisible_control(c)) {
        return Err(format!("{name} must not contain control characters other than line breaks"));
    }
    Ok(())
}

fn length(name: &str, text: &str, min: usize, max: usize) -> Result<(), String> {
    let length = text.chars().count();
    if length < min || length > max {
        return Err(format!("{name} must have {min} to {max} characters"));
    }
    Ok(())
}

/// Line and paragraph separators, and the overrides that make a text read differently from what it says
/// (Unicode Technical Report 36, bidirectional text spoofing).
fn is_invisible_control(c: char) -> bool {
    matches!(c, '\u{2028}' | '\u{2029}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{FEFF}')
}
