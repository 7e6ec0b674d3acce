//! Letters over SMTP.
//!
//! Every letter has a connection of its own, and the steps of the conversation are taken one by one: whoever hears nothing any
//! more must know whether the letter's text had gone out by then.

use std::{fmt, time::Duration};

use async_trait::async_trait;
use lettre::{
    Address, Message,
    address::Envelope,
    message::{Mailbox, header::ContentType},
    transport::smtp::{
        authentication::{Credentials, Mechanism},
        client::{AsyncSmtpConnection, TlsParameters},
        commands::{Data, Mail, Rcpt},
        extension::{ClientId, Extension, MailParameter},
        response::Response,
    },
};
use serde::{Deserialize, Serialize};
use weltenwind_core::mail::{MailFailure, Mailer, OutgoingMail};

/// Where letters are handed over, and by whom they are written.
#[derive(Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MailConfig {
    /// The mail server: `smtp://127.0.0.1:1025` without TLS, `smtp+starttls://user:password@mail.example.org` (port 587 unless one
    /// is named) or `smtps://user:password@mail.example.org` (465). Empty sends nothing.
    pub url: String,
    /// Who writes: `Weltenwind <wind@example.org>`.
    pub from: String,
    /// How long each part of the conversation may take, in seconds: the greeting, the announcement of a letter, and the letter.
    pub timeout_seconds: u64,
}

impl Default for MailConfig {
    fn default() -> Self {
        Self {
            url: String::new(),
            from: "Weltenwind <weltenwind@localhost.localdomain>".to_owned(),
            timeout_seconds: 30,
        }
    }
}

impl fmt::Debug for MailConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MailConfig")
            .field("url", &crate::redact(&self.url))
            .field("from", &self.from)
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
    /// The sender is no address.
    #[error("the mail sender is no address: `Name <name@example.org>` is expected")]
    FromInvalid,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Security {
    Plain,
    StartTls,
    Tls,
}

/// Hands letters to a mail server over SMTP.
#[derive(Clone)]
pub struct SmtpMailer {
    security: Security,
    host: String,
    port: u16,
    credentials: Option<Credentials>,
    from: Mailbox,
    timeout: Duration,
}

impl fmt::Debug for SmtpMailer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SmtpMailer").field("host", &self.host).field("port", &self.port).finish_non_exhaustive()
    }
}

impl SmtpMailer {
    /// Hands letters to the configured server; it is reached when the first one is sent.
    pub fn new(config: &MailConfig) -> Result<Self, MailConfigError> {
        let (scheme, rest) = config.url.split_once("://").ok_or(MailConfigError::UrlInvalid)?;
        let (security, standard) = match scheme {
            "smtp" => (Security::Plain, 25),
            "smtp+starttls" => (Security::StartTls, 587),
            "smtps" => (Security::Tls, 465),
            _ => return Err(MailConfigError::UrlInvalid),
        };
        let (login, place) = match rest.rsplit_once('@') {
            Some((login, place)) => (Some(login), place),
            None => (None, rest),
        };
        let (host, port) = match place.trim_end_matches('/').rsplit_once(':') {
            Some((host, port)) => (host, port.parse().map_err(|_| MailConfigError::UrlInvalid)?),
            None => (place.trim_end_matches('/'), standard),
        };
        if host.is_empty() {
            return Err(MailConfigError::UrlInvalid);
        }
        let credentials = match login {
            None => None,
            Some(login) => {
                let (user, password) = login.split_once(':').ok_or(MailConfigError::UrlInvalid)?;
                let plain = |text: &str| decoded(text).ok_or(MailConfigError::UrlInvalid);
                Some(Credentials::new(plain(user)?, plain(password)?))
            }
        };
        let from = config.from.parse().map_err(|_| MailConfigError::FromInvalid)?;
        let timeout = Duration::from_secs(config.timeout_seconds.max(1));
        Ok(Self { security, host: host.to_owned(), port, credentials, from, timeout })
    }

    /// Waits for a part of the conversation, and no longer than it may take: a server may say nothing at all.
    async fn in_time<T>(&self, part: impl Future<Output = T>) -> Result<T, String> {
        let waited = tokio::time::timeout(self.timeout, part).await;
        waited.map_err(|_| format!("it said nothing for {} s", self.timeout.as_secs()))
    }

    fn written(&self, mail: &OutgoingMail) -> Result<(Envelope, Vec<u8>), MailFailure> {
        let wrong = |error: &dyn fmt::Display| MailFailure::Refused(format!("the letter cannot be written: {error}"));
        let to: Address = mail.to.as_str().parse().map_err(|error| wrong(&error))?;
        let message = Message::builder()
            .message_id(Some(format!("<{}>", mail.message_id)))
            .from(self.from.clone())
            .to(Mailbox::new(None, to.clone()))
            .subject(mail.subject.as_str())
            .header(ContentType::TEXT_PLAIN)
            .body(mail.text.clone())
            .map_err(|error| wrong(&error))?;
        let envelope = Envelope::new(Some(self.from.email.clone()), vec![to]).map_err(|error| wrong(&error))?;
        Ok((envelope, message.formatted()))
    }

    async fn connect(&self) -> Result<AsyncSmtpConnection, MailFailure> {
        let hello = ClientId::default();
        let tls = || TlsParameters::new(self.host.clone()).map_err(|error| away(&error));
        let direct = if self.security == Security::Tls { Some(tls()?) } else { None };
        let address = (self.host.as_str(), self.port);
        let connected = AsyncSmtpConnection::connect_tokio1(address, Some(self.timeout), &hello, direct, None).await;
        let mut connection = connected.map_err(|error| away(&error))?;
        if self.security == Security::StartTls {
            connection.starttls(tls()?, &hello).await.map_err(|error| away(&error))?;
        }
        if let Some(credentials) = &self.credentials {
            connection.auth(&[Mechanism::Plain, Mechanism::Login], credentials).await.map_err(|error| away(&error))?;
        }
        Ok(connection)
    }
}

/// Before the text has gone out: whatever happened, the letter has not.
fn away(error: &lettre::transport::smtp::Error) -> MailFailure {
    MailFailure::Away(said(error))
}

/// A server's answer to a step before the text: about this letter if it says so, and none went out in any case.
fn answered(error: &lettre::transport::smtp::Error) -> MailFailure {
    if error.is_permanent() {
        MailFailure::Refused(said(error))
    } else if error.is_transient() {
        MailFailure::Deferred(said(error))
    } else {
        away(error)
    }
}

/// Behind the text: an answer is one, and anything else leaves it open.
fn behind_the_text(error: &lettre::transport::smtp::Error) -> MailFailure {
    if error.is_permanent() || error.is_transient() { answered(error) } else { MailFailure::Unknown(said(error)) }
}

fn said(error: &lettre::transport::smtp::Error) -> String {
    weltenwind_core::chain(error)
}

/// Reads percent-encoded text.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        if *first == b'%' {
            let digits = std::str::from_utf8(behind.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &behind[2..];
        } else {
            bytes.push(*first);
            rest = behind;
        }
    }
    String::from_utf8(bytes).ok()
}

#[async_trait]
impl Mailer for SmtpMailer {
    async fn send(&self, mail: &OutgoingMail) -> Result<(), MailFailure> {
        let (envelope, message) = self.written(mail)?;
        let mut connection = self.in_time(self.connect()).await.map_err(MailFailure::Away)??;
        let mut parameters = Vec::new();
        if !message.is_ascii() && connection.server_info().supports_feature(Extension::EightBitMime) {
            parameters.push(MailParameter::Body(lettre::transport::smtp::extension::MailBodyParameter::EightBitMime));
        }
        let from = envelope.from().cloned();
        let announced = async {
            connection.command(Mail::new(from, parameters)).await?;
            for to in envelope.to() {
                connection.command(Rcpt::new(to.clone(), Vec::new())).await?;
            }
            connection.command(Data).await
        };
        self.in_time(announced).await.map_err(MailFailure::Away)?.map_err(|error| answered(&error))?;
        let taken = self.in_time(connection.message(&message)).await.map_err(MailFailure::Unknown)?;
        let _: Response = taken.map_err(|error| behind_the_text(&error))?;
        // The letter is taken, whatever becomes of the farewell.
        let _ = self.in_time(connection.quit()).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(url: &str) -> Result<SmtpMailer, MailConfigError> {
        SmtpMailer::new(&MailConfig { url: url.to_owned(), ..MailConfig::default() })
    }

    #[test]
    fn a_url_names_a_server_and_how_to_speak_to_it() {
        for (url, security, host, port) in [
            ("smtp://127.0.0.1:1025", Security::Plain, "127.0.0.1", 1025),
            ("smtp://localhost/", Security::Plain, "localhost", 25),
            ("smtp+starttls://mail.example.org", Security::StartTls, "mail.example.org", 587),
            ("smtps://wind:p%40ss@mail.example.org", Security::Tls, "mail.example.org", 465),
        ] {
            let mailer = of(url).unwrap();
            assert_eq!((mailer.security, mailer.host.as_str(), mailer.port), (security, host, port), "{url}");
        }
        assert_eq!(
            of("smtps://wind:p%40ss@m.example").unwrap().credentials,
            Some(Credentials::new("wind".into(), "p@ss".into()))
        );
        for url in
            ["", "mail.example.org", "http://mail.example.org", "smtp://", "smtp://host:port", "smtp://user@host"]
        {
            assert_eq!(of(url).unwrap_err(), MailConfigError::UrlInvalid, "{url}");
        }
        let nobody =
            MailConfig { url: "smtp://localhost".to_owned(), from: "nobody".to_owned(), ..MailConfig::default() };
        assert_eq!(SmtpMailer::new(&nobody).unwrap_err(), MailConfigError::FromInvalid);
        let shown = format!("{:?}", MailConfig { url: "smtp://wind:hunter2@host".to_owned(), ..MailConfig::default() });
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
