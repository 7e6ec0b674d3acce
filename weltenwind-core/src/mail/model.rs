//! What is to be sent, and what has become of it.

use std::{fmt::Write as _, str::FromStr};

use sha2::{Digest as _, Sha256};

use super::letter::{Letter, MailLocale};
use crate::{
    accounts::Email,
    dedupe::DedupeKey,
    ids::{AccountId, MailId},
};

/// What has become of a letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailState {
    /// It is to be sent.
    Queued,
    /// It is on its way to the mail server.
    Sending,
    /// The mail server has taken it.
    Accepted,
    /// Nobody can say whether the mail server has taken it.
    Unknown,
    /// It is not sent, and will not be.
    Failed,
}

impl MailState {
    /// Returns the word, as it is stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Sending => "sending",
            Self::Accepted => "accepted",
            Self::Unknown => "unknown",
            Self::Failed => "failed",
        }
    }
}

/// The text names no state of a letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a state of a letter")]
pub struct ParseMailStateError;

impl FromStr for MailState {
    type Err = ParseMailStateError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let all = [Self::Queued, Self::Sending, Self::Accepted, Self::Unknown, Self::Failed];
        all.into_iter().find(|state| state.as_str() == text).ok_or(ParseMailStateError)
    }
}

/// A letter to be written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMail {
    /// The letter's id.
    pub id: MailId,
    /// The key under which it is sent once.
    pub dedupe_key: DedupeKey,
    /// Whose it is: with the account it is erased.
    pub account: Option<AccountId>,
    /// Whom it goes to.
    pub to: Email,
    /// In which language.
    pub locale: MailLocale,
    /// What it is about.
    pub letter: Letter,
}

/// A letter that was written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailIntent {
    /// The letter's id.
    pub id: MailId,
    /// The key under which it is sent once.
    pub dedupe_key: DedupeKey,
    /// Whom it goes to.
    pub to: Email,
    /// In which language.
    pub locale: MailLocale,
    /// What it is about.
    pub letter: Letter,
    /// What has become of it.
    pub state: MailState,
    /// How often it was begun.
    pub attempts: u32,
    /// Why the last attempt came to nothing, in the mail server's words.
    pub error: Option<String>,
}

/// A letter that was asked for, and whether it was written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queued {
    /// The letter.
    pub intent: MailIntent,
    /// False if it is the first one under its key.
    pub is_new: bool,
}

/// What is to be done with a letter that is to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begun {
    /// It is to be handed over; it is `sending` now.
    Send(MailIntent),
    /// Nothing: it was accepted, or failed, or is unknown and stays so.
    Nothing(MailState),
    /// It is not there any more.
    Gone,
}

/// What has become of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    /// The letter.
    pub id: MailId,
    /// The attempt, as [`MailIntent::attempts`] counts them.
    pub attempt: u32,
    /// The letter's state from now on: queued again, accepted, unknown or failed.
    pub state: MailState,
    /// Why, in the mail server's words.
    pub error: Option<String>,
}

/// A letter as a mail server takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutgoingMail {
    /// Its `Message-ID` without the brackets, the same for every attempt.
    pub message_id: String,
    /// Whom it goes to.
    pub to: Email,
    /// What stands above it.
    pub subject: String,
    /// What it says, as plain text.
    pub text: String,
    /// In which language: its `Content-Language`.
    pub locale: MailLocale,
}

impl MailIntent {
    /// Writes the letter for the installation that is reached at `url`. Its `Message-ID` follows from its key and from the
    /// installation.
    pub fn outgoing(&self, url: &str) -> OutgoingMail {
        let written = self.letter.written(self.locale, url);
        let digest = Sha256::digest(format!("weltenwind mail {url} {}", self.dedupe_key));
        let mut message_id = String::new();
        for byte in &digest[..16] {
            let _ = write!(message_id, "{byte:02x}");
        }
        let host = url.split_once("://").map_or(url, |(_, rest)| rest);
        let host = host.split(['/', ':']).next().filter(|host| !host.is_empty()).unwrap_or("weltenwind.invalid");
        message_id.push('@');
        message_id.push_str(host);
        let (to, locale) = (self.to.clone(), self.locale);
        OutgoingMail { message_id, to, subject: written.subject, text: written.text, locale }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_id_follows_from_the_key_and_the_installation() {
        let intent = |key: &str| MailIntent {
            id: MailId::new(uuid::Uuid::nil()),
            dedupe_key: DedupeKey::new(key).unwrap(),
            to: Email::new("mira@example.org").unwrap(),
            locale: MailLocale::En,
            letter: Letter::Test,
            state: MailState::Queued,
            attempts: 0,
            error: None,
        };
        let id = |key: &str, url: &str| intent(key).outgoing(url).message_id;

        let first = id("one", "https://wind.example:8443/x");
        assert!(first.ends_with("@wind.example") && first.len() == 32 + "@wind.example".len(), "{first}");
        assert_eq!(id("one", "https://wind.example:8443/x"), first);
        assert_ne!(id("two", "https://wind.example:8443/x"), first);
        assert_ne!(id("one", "https://other.example"), first);
    }
}
