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

/// Accepts `min` to `max` characters on one line, none of which controls a terminal or the direction of text, or is there
/// without being seen.
pub(crate) fn one_line(name: &str, text: &str, min: usize, max: usize) -> Result<(), String> {
    length(name, text, min, max)?;
    if text.chars().any(|c| c.is_control() || is_invisible_control(c)) {
        return Err(format!("{name} must not contain control characters"));
    }
    if text.chars().any(is_hidden) {
        return Err(format!("{name} must not contain characters that nobody sees"));
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
    if min > 0 && text.chars().all(|c| c.is_whitespace() || is_hidden(c) || joins(c)) {
        return Err(format!("{name} must have something to see"));
    }
    Ok(())
}

/// Characters without width, or as blank as a blank, by which one name passes for another: what Unicode calls default
/// ignorable, and the fillers. Those that join others are no such thing.
fn is_hidden(c: char) -> bool {
    matches!(c, '\u{AD}' | '\u{61C}' | '\u{115F}' | '\u{1160}' | '\u{17B4}' | '\u{17B5}' | '\u{180E}' | '\u{200B}'
        | '\u{200E}' | '\u{200F}' | '\u{2060}'..='\u{2065}' | '\u{206A}'..='\u{206F}' | '\u{2800}' | '\u{3164}' | '\u{FFA0}'
        | '\u{FFF9}'..='\u{FFFB}' | '\u{E0000}'..='\u{E0FFF}')
}

/// What scripts and emoji need between two characters, and what is nothing by itself: joiners and variation selectors.
fn joins(c: char) -> bool {
    matches!(c, '\u{34F}' | '\u{180B}'..='\u{180F}' | '\u{200C}' | '\u{200D}' | '\u{FE00}'..='\u{FE0F}')
}

/// Line and paragraph separators, and the overrides that make a text read differently from what it says
/// (Unicode Technical Report 36, bidirectional text spoofing).
fn is_invisible_control(c: char) -> bool {
    matches!(c, '\u{2028}' | '\u{2029}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{FEFF}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_shows_what_it_is() {
        for name in ["Mira", "Ærøskøbing", "نیم‌فاصله", "क्‍ष", "👩‍🚀", "❤️", "王", "m\u{301}"]
        {
            assert_eq!(one_line("name", name, 1, 32), Ok(()), "{name:?}");
        }
        for name in [
            "",
            "\u{200b}",
            "\u{200d}",
            "\u{3164}",
            "\u{2800}",
            "\u{fe0f}",
            "Mi\u{200b}ra",
            "Mi\u{ad}ra",
            "\u{200f}Mira",
            "\u{202e}Mira",
            "\u{feff}Mira",
            "Mira\u{e0041}",
            "Mira\u{2028}",
            "Mira\n",
        ] {
            assert!(one_line("name", name, 1, 32).is_err(), "{name:?}");
        }
    }

    #[test]
    fn a_text_may_hold_what_a_name_may_not_but_shows_something() {
        assert_eq!(paragraphs("body", "soft\u{ad}ly\n\u{200b}spoken", 1, 32), Ok(()));
        assert!(paragraphs("body", "\u{200b}\n\u{2060}", 1, 32).is_err());
        assert_eq!(paragraphs("description", "", 0, 32), Ok(()));
    }
}
