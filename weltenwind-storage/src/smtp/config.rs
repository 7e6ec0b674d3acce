//! Where letters are handed over, and what is wrong with how that was written.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Where letters are handed over, and by whom they are written.
#[derive(Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MailConfig {
    /// The mail server: `smtp+starttls://user:password@mail.example.org` (port 587 unless one is named),
    /// `smtps://user:password@mail.example.org` (465), or without TLS `smtp://127.0.0.1:1025` (25). Empty sends nothing. A password is
    /// sent without TLS to this machine alone.
    pub url: String,
    /// A file that holds the URL, in its place.
    pub url_file: String,
    /// Who writes: `Weltenwind <wind@example.org>`.
    pub from: String,
    /// A file of PEM certificates: the mail server's must be signed by one of these. Empty trusts the authorities that browsers do.
    pub ca_file: String,
    /// How long each part of the conversation may take, in seconds: the greeting, the announcement of a letter, and the letter.
    pub timeout_seconds: u64,
}

impl Default for MailConfig {
    fn default() -> Self {
        Self {
            url: String::new(),
            url_file: String::new(),
            from: "Weltenwind <weltenwind@localhost.localdomain>".to_owned(),
            ca_file: String::new(),
            timeout_seconds: 30,
        }
    }
}

impl fmt::Debug for MailConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MailConfig")
            .field("url", &crate::redact(&self.url))
            .field("url_file", &self.url_file)
            .field("from", &self.from)
            .field("ca_file", &self.ca_file)
            .field("timeout_seconds", &self.timeout_seconds)
            .finish()
    }
}

/// Why mail cannot be sent as configured.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MailConfigError {
    /// The URL names no mail server.
    #[error("the mail URL names no server: smtp://, smtp+starttls:// or smtps:// with a host is expected")]
    UrlInvalid,
    /// The URL is given twice, as itself and as a file.
    #[error("the mail URL is given twice, as itself and as a file")]
    UrlTwice,
    /// The URL has a password that everybody on the way could read.
    #[error("the mail URL has a password and no TLS")]
    PasswordInTheClear,
    /// The sender is no address.
    #[error("the mail sender is no address: `Name <name@example.org>` is expected")]
    FromInvalid,
    /// A file cannot be read.
    #[error("{file} cannot be read: {why}")]
    FileUnreadable {
        /// The file.
        file: String,
        /// Why, in the system's words.
        why: String,
    },
    /// The file holds no certificates to trust.
    #[error("{file} holds no certificates: PEM is expected")]
    AuthoritiesInvalid {
        /// The file.
        file: String,
    },
}

impl MailConfig {
    /// Returns whether a mail server is configured.
    pub fn is_set(&self) -> bool {
        !self.url.is_empty() || !self.url_file.is_empty()
    }

    /// Returns the URL, wherever it stands.
    pub(super) fn url(&self) -> Result<String, MailConfigError> {
        match (self.url.as_str(), self.url_file.as_str()) {
            (url, "") => Ok(url.to_owned()),
            // Editors end a file with a line's end.
            ("", file) => Ok(read(file)?.trim().to_owned()),
            _ => Err(MailConfigError::UrlTwice),
        }
    }

    /// Returns the certificates to trust, as PEM; none if those that browsers do.
    pub(super) fn authorities(&self) -> Result<Option<String>, MailConfigError> {
        if self.ca_file.is_empty() {
            return Ok(None);
        }
        let text = read(&self.ca_file)?;
        if text.contains("-----BEGIN CERTIFICATE-----") { Ok(Some(text)) } else { Err(self.authorities_invalid()) }
    }

    pub(super) fn authorities_invalid(&self) -> MailConfigError {
        MailConfigError::AuthoritiesInvalid { file: self.ca_file.clone() }
    }
}

fn read(file: &str) -> Result<String, MailConfigError> {
    std::fs::read_to_string(file)
        .map_err(|error| MailConfigError::FileUnreadable { file: file.to_owned(), why: error.to_string() })
}
