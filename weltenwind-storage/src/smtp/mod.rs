//! Letters over SMTP.
//!
//! Every letter has a connection of its own, and the steps of the conversation are taken one by one: whoever hears nothing any
//! more must know whether the letter's text had gone out by then.

mod config;
mod line;

use std::{error::Error, fmt, net::IpAddr, time::Duration};

use async_trait::async_trait;
use lettre::{
    Address, Message,
    address::Envelope,
    message::{Mailbox, header::ContentType},
    transport::smtp::{
        authentication::{Credentials, Mechanism},
        client::{AsyncSmtpConnection, Certificate, CertificateStore, TlsParameters},
        commands::{Data, Mail, Rcpt},
        extension::{ClientId, Extension, MailParameter},
        response::Response,
    },
};
use tokio::net::TcpStream;
use weltenwind_core::mail::{MailFailure, Mailer, OutgoingMail};

pub use self::config::{MailConfig, MailConfigError};
use self::line::Line;

#[derive(Clone)]
enum Security {
    Plain,
    /// From a command on, and not without.
    StartTls(TlsParameters),
    /// From the first byte on.
    Tls(TlsParameters),
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
    /// Hands letters to the configured server; it is reached when the first one is sent. Files are read now.
    pub fn new(config: &MailConfig) -> Result<Self, MailConfigError> {
        let url = config.url()?;
        let (scheme, rest) = url.split_once("://").ok_or(MailConfigError::UrlInvalid)?;
        let standard = match scheme {
            "smtp" => 25,
            "smtp+starttls" => 587,
            "smtps" => 465,
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
        let security = match scheme {
            "smtp" => Security::Plain,
            "smtps" => Security::Tls(tls(config, host)?),
            _ => Security::StartTls(tls(config, host)?),
        };
        if credentials.is_some() && matches!(security, Security::Plain) && !is_this_machine(host) {
            return Err(MailConfigError::PasswordInTheClear);
        }
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
        let (address, patience) = ((self.host.as_str(), self.port), Some(self.timeout));
        let hello = ClientId::default();
        let connected = match &self.security {
            Security::Plain => AsyncSmtpConnection::connect_tokio1(address, patience, &hello, None, None).await,
            Security::Tls(tls) => {
                AsyncSmtpConnection::connect_tokio1(address, patience, &hello, Some(tls.clone()), None).await
            }
            Security::StartTls(_) => {
                let line = Line::new(TcpStream::connect(address).await.map_err(|error| away(&error))?);
                AsyncSmtpConnection::connect_with_transport(Box::new(line), &hello).await
            }
        };
        let mut connection = connected.map_err(|error| away(&error))?;
        if let Security::StartTls(tls) = &self.security {
            // Fails where the server does not offer it: nothing goes on in the clear.
            connection.starttls(tls.clone(), &hello).await.map_err(|error| away(&error))?;
        }
        if let Some(credentials) = &self.credentials {
            connection.auth(&[Mechanism::Plain, Mechanism::Login], credentials).await.map_err(|error| away(&error))?;
        }
        Ok(connection)
    }
}

/// How a server proves that it is `host`.
fn tls(config: &MailConfig, host: &str) -> Result<TlsParameters, MailConfigError> {
    let mut parameters = TlsParameters::builder(host.to_owned());
    if let Some(authorities) = config.authorities()? {
        let authorities = Certificate::from_pem(authorities.as_bytes()).map_err(|_| config.authorities_invalid())?;
        parameters = parameters.certificate_store(CertificateStore::None).add_root_certificate(authorities);
    }
    parameters.build().map_err(|_| config.authorities_invalid())
}

fn is_this_machine(host: &str) -> bool {
    host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

/// Before the text has gone out: whatever happened, the letter has not.
fn away(error: &(dyn Error + 'static)) -> MailFailure {
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

fn said(error: &(dyn Error + 'static)) -> String {
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
            ("smtp://127.0.0.1:1025", "plain", "127.0.0.1", 1025),
            ("smtp://wind:p%40ss@localhost/", "plain", "localhost", 25),
            ("smtp+starttls://mail.example.org", "starttls", "mail.example.org", 587),
            ("smtps://wind:p%40ss@mail.example.org", "tls", "mail.example.org", 465),
        ] {
            let mailer = of(url).unwrap();
            let how = match mailer.security {
                Security::Plain => "plain",
                Security::StartTls(_) => "starttls",
                Security::Tls(_) => "tls",
            };
            assert_eq!((how, mailer.host.as_str(), mailer.port), (security, host, port), "{url}");
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
        assert_eq!(of("smtp://wind:p%40ss@m.example").unwrap_err(), MailConfigError::PasswordInTheClear);
        let nobody =
            MailConfig { url: "smtp://localhost".to_owned(), from: "nobody".to_owned(), ..MailConfig::default() };
        assert_eq!(SmtpMailer::new(&nobody).unwrap_err(), MailConfigError::FromInvalid);
        let shown = format!("{:?}", MailConfig { url: "smtp://wind:hunter2@host".to_owned(), ..MailConfig::default() });
        assert!(!shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn a_url_may_stand_in_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.display().to_string()
        };
        let url_file = file("url", "smtps://wind:p%40ss@mail.example.org\n");

        let config = MailConfig { url_file: url_file.clone(), ..MailConfig::default() };
        assert!(config.is_set() && !MailConfig::default().is_set());
        assert_eq!(SmtpMailer::new(&config).unwrap().credentials, Some(Credentials::new("wind".into(), "p@ss".into())));

        let twice = MailConfig { url: "smtp://localhost".to_owned(), ..config };
        assert_eq!(SmtpMailer::new(&twice).unwrap_err(), MailConfigError::UrlTwice);
        let missing = folder.path().join("missing").display().to_string();
        let gone = MailConfig { url_file: missing.clone(), ..MailConfig::default() };
        let unreadable = |error| matches!(error, MailConfigError::FileUnreadable { file, .. } if file == missing);
        assert!(unreadable(SmtpMailer::new(&gone).unwrap_err()));
        let trusting = |ca_file| {
            let url = "smtps://mail.example.org".to_owned();
            SmtpMailer::new(&MailConfig { url, ca_file, ..MailConfig::default() }).unwrap_err()
        };
        assert!(unreadable(trusting(missing.clone())));
        let damaged = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for file in [url_file, file("damaged", damaged)] {
            assert_eq!(trusting(file.clone()), MailConfigError::AuthoritiesInvalid { file });
        }
    }
}
