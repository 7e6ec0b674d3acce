//! What letters say, in German and English: plain text, and nothing that is looked for elsewhere.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::announcements::{AnnouncementText, Title};

/// A language that letters are written in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum MailLocale {
    /// German.
    De,
    /// English, for everybody else.
    #[default]
    En,
}

impl MailLocale {
    /// Returns the word, as it is stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::De => "de",
            Self::En => "en",
        }
    }

    /// Chooses by a language tag (BCP 47): `de-AT` is German.
    pub fn of(tag: Option<&str>) -> Self {
        let language = tag.and_then(|tag| tag.split('-').next()).unwrap_or_default();
        if language.eq_ignore_ascii_case("de") { Self::De } else { Self::En }
    }
}

/// The text names no language of letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a language of letters")]
pub struct ParseLocaleError;

impl FromStr for MailLocale {
    type Err = ParseLocaleError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::De, Self::En].into_iter().find(|locale| locale.as_str() == text).ok_or(ParseLocaleError)
    }
}

/// What a letter is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Letter {
    /// An operator looks whether mail arrives.
    Test,
    /// Somebody was notified of something.
    Notice {
        /// What it is called.
        title: String,
        /// What it says.
        body: String,
    },
}

/// A letter in one language.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// What stands above it, on one line.
    pub subject: String,
    /// What it says.
    pub text: String,
}

impl Letter {
    /// A letter about a notification.
    pub fn notice(title: &Title, body: &AnnouncementText) -> Self {
        Self::Notice { title: title.to_string(), body: body.to_string() }
    }

    /// Returns whether it may be sent again if nobody knows whether it went out: a letter that is missed does more harm then
    /// than one that comes twice.
    pub const fn is_resendable(&self) -> bool {
        match self {
            Self::Test => true,
            Self::Notice { .. } => false,
        }
    }

    /// Writes it for the installation that is reached at `url`.
    pub fn written(&self, locale: MailLocale, url: &str) -> Written {
        match (self, locale) {
            (Self::Test, MailLocale::De) => Written {
                subject: format!("Probebrief von {url}"),
                text: format!("Guten Tag,\n\ndieser Brief zeigt, dass {url} Post verschicken kann.\n"),
            },
            (Self::Test, MailLocale::En) => Written {
                subject: format!("Test letter from {url}"),
                text: format!("Hello,\n\nthis letter shows that {url} can send mail.\n"),
            },
            (Self::Notice { title, body }, MailLocale::De) => Written {
                subject: title.clone(),
                text: format!(
                    "{title}\n\n{body}\n\n-- \nZu lesen auch auf {url}. Was gemeldet wird, steht in den Einstellungen.\n"
                ),
            },
            (Self::Notice { title, body }, MailLocale::En) => Written {
                subject: title.clone(),
                text: format!(
                    "{title}\n\n{body}\n\n-- \nAlso to be read at {url}. What you are told of is set in the preferences.\n"
                ),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_is_written_in_the_readers_language() {
        for (tag, locale) in [
            (Some("de"), MailLocale::De),
            (Some("de-AT"), MailLocale::De),
            (Some("DE"), MailLocale::De),
            (Some("den"), MailLocale::En),
            (Some("pt-BR"), MailLocale::En),
            (None, MailLocale::En),
        ] {
            assert_eq!(MailLocale::of(tag), locale, "{tag:?}");
        }
        let letter = Letter::Notice { title: "Tore".to_owned(), body: "Offen.".to_owned() };
        let (german, english) =
            (letter.written(MailLocale::De, "https://w.example"), letter.written(MailLocale::En, "https://w.example"));
        assert_eq!((german.subject.as_str(), english.subject.as_str()), ("Tore", "Tore"));
        assert!(german.text.contains("Einstellungen") && english.text.contains("preferences"));
        assert!([&german, &english].iter().all(|written| written.text.starts_with("Tore\n\nOffen.\n\n-- \n")));
    }
}
