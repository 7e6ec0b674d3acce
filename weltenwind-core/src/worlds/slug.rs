//! Short names in addresses.

use std::{fmt, str::FromStr};

use crate::validation::Invalid;

/// Words that are, or may become, paths of their own.
const RESERVED: &[&str] = &[
    "account",
    "admin",
    "api",
    "assets",
    "auth",
    "channels",
    "docs",
    "global",
    "group",
    "groups",
    "health",
    "help",
    "invite",
    "invites",
    "login",
    "logout",
    "me",
    "metrics",
    "new",
    "problems",
    "realtime",
    "register",
    "settings",
    "static",
    "support",
    "system",
    "user",
    "users",
    "weltenwind",
    "world",
    "worlds",
];

/// The part of an address that names a world or a channel: 2 to 48 of `a-z`, `0-9` and single inner hyphens.
///
/// A slug never looks like an identifier, so `{world}` in a path is always one or the other.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slug(String);

impl Slug {
    /// The longest slug, in characters.
    pub const MAX: usize = 48;

    /// Checks a slug.
    pub fn new(text: &str) -> Result<Self, Invalid> {
        let refuse = |detail: &str| Err(Invalid::at("/slug", detail));
        if text.len() < 2 || text.len() > Self::MAX {
            return refuse("slug must have 2 to 48 characters");
        }
        if !text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
            return refuse("slug must consist of a-z, 0-9 and hyphens");
        }
        if text.starts_with('-') || text.ends_with('-') || text.contains("--") {
            return refuse("slug must have hyphens only singly and between other characters");
        }
        if RESERVED.contains(&text) || text.parse::<crate::WorldId>().is_ok() {
            return refuse("slug is reserved");
        }
        Ok(Self(text.to_owned()))
    }

    /// Makes a slug from a name: transliterated to ASCII, German umlauts in their two letters, everything else a hyphen.
    pub fn from_name(name: &str) -> Result<Self, Invalid> {
        let mut slug = String::new();
        for c in name.chars() {
            let ascii = match c {
                'ä' | 'Ä' => "ae",
                'ö' | 'Ö' => "oe",
                'ü' | 'Ü' => "ue",
                _ => deunicode::deunicode_char(c).unwrap_or("-"),
            };
            for c in ascii.chars() {
                if c.is_ascii_alphanumeric() {
                    slug.push(c.to_ascii_lowercase());
                } else if c != '\'' && !slug.is_empty() && !slug.ends_with('-') {
                    slug.push('-');
                }
            }
        }
        slug.truncate(Self::MAX);
        Self::new(slug.trim_end_matches('-'))
            .map_err(|_| Invalid::at("/slug", "the name makes no slug; give one of a-z, 0-9 and hyphens"))
    }

    /// Takes a slug that was checked when it was stored.
    pub const fn from_stored(text: String) -> Self {
        Self(text)
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Slug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Slug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl FromStr for Slug {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_become_slugs_that_people_would_write() {
        for (name, slug) in [
            ("Mistral", "mistral"),
            ("Über den Wolken", "ueber-den-wolken"),
            ("  The  Wind's -- Eye!", "the-winds-eye"),
            ("Straße 7", "strasse-7"),
            ("北京", "bei-jing"),
        ] {
            assert_eq!(Slug::from_name(name).unwrap().as_str(), slug, "{name}");
        }
    }

    #[test]
    fn slugs_that_would_mislead_are_refused() {
        for text in [
            "a",
            "A1",
            "-ab",
            "ab-",
            "a--b",
            "ab/c",
            "ab.c",
            "a b",
            "admin",
            "me",
            "ä1",
            "018f0000-0000-7000-8000-00000000000a",
        ] {
            assert!(Slug::new(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_slug_made_from_a_name_is_a_slug(name in ".{0,80}") {
            if let Ok(slug) = Slug::from_name(&name) {
                prop_assert!(Slug::new(slug.as_str()).is_ok());
            }
        }
    }
}
