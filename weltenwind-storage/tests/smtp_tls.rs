//! Letters over TLS, with a mail server that speaks it and with those that only pretend to.
#![cfg(feature = "smtp")]
#![allow(clippy::unwrap_used, reason = "clippy knows tests, and not the functions that they share")]

use std::sync::{Arc, Mutex};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer},
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;
use weltenwind_core::{
    accounts::Email,
    mail::{MailFailure, MailLocale, Mailer as _, OutgoingMail},
};
use weltenwind_storage::{MailConfig, SmtpMailer};

/// `wind` and `p@ss` as `AUTH PLAIN` sends them.
const PASSWORD: &str = "AHdpbmQAcEBzcw==";

/// How a mail server comes to TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// From the first byte on.
    AtOnce,
    OnDemand,
    /// It has never heard of it.
    Never,
    /// It offers it, and then will not.
    OffersAndRefuses,
    /// Somebody on the way has appended the rest of a conversation to the answer.
    IsHelpedByAStranger,
}

const BOTH: [Manner; 2] = [Manner::AtOnce, Manner::OnDemand];

/// What a mail server has heard.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Heard {
    in_the_clear: Vec<String>,
    under_tls: Vec<String>,
}

/// An authority of the test's own.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn server(&self, name: &str, until_year: i32) -> Arc<ServerConfig> {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.not_after = date_time_ymd(until_year, 1, 1);
        let key = KeyPair::generate().unwrap();
        let certificate: CertificateDer<'static> = params.signed_by(&key, &self.0).unwrap().into();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(aws_lc_rs::default_provider().into());
        let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
        Arc::new(config.with_single_cert(vec![certificate], key).unwrap())
    }

    /// Writes its certificate into a file.
    fn file(&self, folder: &TempDir) -> String {
        let path = folder.path().join("ca.pem");
        std::fs::write(&path, self.0.pem()).unwrap();
        path.display().to_string()
    }
}

struct Server {
    manner: Manner,
    port: u16,
    heard: Arc<Mutex<Heard>>,
}

impl Server {
    async fn start(manner: Manner, config: Arc<ServerConfig>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (port, heard) = (listener.local_addr().unwrap().port(), Arc::default());
        let kept = Arc::clone(&heard);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(answer(socket, manner, config.clone(), Arc::clone(&kept)));
            }
        });
        Self { manner, port, heard }
    }

    fn mailer(&self, ca_file: &str) -> SmtpMailer {
        let scheme = if self.manner == Manner::AtOnce { "smtps" } else { "smtp+starttls" };
        let url = format!("{scheme}://wind:p%40ss@localhost:{}", self.port);
        let config = MailConfig { url, ca_file: ca_file.to_owned(), timeout_seconds: 5, ..MailConfig::default() };
        SmtpMailer::new(&config).unwrap()
    }

    fn heard(&self) -> Heard {
        self.heard.lock().unwrap().clone()
    }
}

async fn answer(socket: TcpStream, manner: Manner, config: Arc<ServerConfig>, heard: Arc<Mutex<Heard>>) {
    let socket = if manner == Manner::AtOnce {
        socket
    } else {
        let hear = |line: String| heard.lock().unwrap().in_the_clear.push(line);
        let mut lines = BufReader::new(socket);
        lines.write_all(b"220 mail.test ready\r\n").await.unwrap();
        if !converse(&mut lines, manner, hear).await {
            return;
        }
        lines.into_inner()
    };
    // Whoever does not trust the certificate ends it here.
    let Ok(mut tls) = TlsAcceptor::from(config).accept(socket).await else { return };
    if manner == Manner::AtOnce {
        tls.write_all(b"220 mail.test ready\r\n").await.unwrap();
    }
    let hear = |line: String| heard.lock().unwrap().under_tls.push(line);
    converse(&mut BufReader::new(tls), Manner::AtOnce, hear).await;
}

/// Speaks SMTP, and always offers to be told a password. Returns whether TLS is next.
async fn converse<S: AsyncRead + AsyncWrite + Unpin>(
    lines: &mut BufReader<S>,
    manner: Manner,
    hear: impl Fn(String),
) -> bool {
    let (mut line, mut is_text) = (String::new(), false);
    while matches!(lines.read_line(&mut line).await, Ok(1..)) {
        let heard = line.trim_end().to_owned();
        line.clear();
        hear(heard.clone());
        let verb = heard.split([' ', ':']).next().unwrap_or_default().to_uppercase();
        let answer = match (verb.as_str(), manner) {
            (".", _) if is_text => {
                is_text = false;
                "250 taken\r\n"
            }
            _ if is_text => continue,
            ("EHLO", Manner::AtOnce | Manner::Never) => "250-mail.test\r\n250 AUTH PLAIN LOGIN\r\n",
            ("EHLO", _) => "250-mail.test\r\n250-STARTTLS\r\n250 AUTH PLAIN LOGIN\r\n",
            ("STARTTLS", Manner::OnDemand) => "220 go on\r\n",
            ("STARTTLS", Manner::IsHelpedByAStranger) => {
                "220 go on\r\n250-mail.test\r\n250 AUTH PLAIN\r\n235 come in\r\n250 ok\r\n250 ok\r\n354 go on\r\n250 taken\r\n"
            }
            ("STARTTLS", _) => "454 4.7.0 not now\r\n",
            ("AUTH", _) => "235 come in\r\n",
            ("DATA", _) => {
                is_text = true;
                "354 go on\r\n"
            }
            ("QUIT", _) => "221 bye\r\n",
            _ => "250 ok\r\n",
        };
        if lines.write_all(answer.as_bytes()).await.is_err() || lines.flush().await.is_err() {
            return false;
        }
        if answer.starts_with("220") {
            return true;
        }
    }
    false
}

fn letter() -> OutgoingMail {
    OutgoingMail {
        message_id: "0123456789abcdef@wind.example".to_owned(),
        to: Email::new("mira@example.org").unwrap(),
        subject: "The gates".to_owned(),
        text: "They are open.\n".to_owned(),
        locale: MailLocale::En,
    }
}

/// The letter has not gone out, and nobody was told the password.
async fn is_refused(server: &Server, ca_file: &str) -> Heard {
    let failure = server.mailer(ca_file).send(&letter()).await.unwrap_err();
    assert!(matches!(failure, MailFailure::Away(_)), "{:?}: {failure}", server.manner);
    let heard = server.heard();
    let said = [heard.in_the_clear.clone(), heard.under_tls.clone()].concat().join("\n");
    assert!(!said.contains("AUTH") && !said.contains("MAIL"), "{:?}: {said}", server.manner);
    heard
}

#[tokio::test]
async fn letters_and_passwords_go_under_tls_alone() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    for manner in BOTH {
        let server = Server::start(manner, authority.server("localhost", 2100)).await;

        server.mailer(&authority.file(&folder)).send(&letter()).await.unwrap();

        let Heard { in_the_clear, under_tls } = server.heard();
        let verbs: Vec<_> = in_the_clear.iter().filter_map(|line| line.split(' ').next()).collect();
        assert_eq!(verbs, if manner == Manner::AtOnce { vec![] } else { vec!["EHLO", "STARTTLS"] });
        assert!(under_tls.contains(&format!("AUTH PLAIN {PASSWORD}")), "{manner:?}: {under_tls:?}");
        assert!(under_tls.contains(&"They are open.".to_owned()), "{manner:?}: {under_tls:?}");
    }
}

#[tokio::test]
async fn a_server_that_does_not_prove_who_it_is_is_told_nothing() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let trusted = authority.file(&folder);
    for manner in BOTH {
        for (what, config, ca_file) in [
            ("it has another name", authority.server("mail.example.org", 2100), trusted.as_str()),
            ("nobody trusts its authority", authority.server("localhost", 2100), ""),
            ("another authority is trusted", Authority::new().server("localhost", 2100), &trusted),
            ("its certificate is old", authority.server("localhost", 2020), &trusted),
        ] {
            let server = Server::start(manner, config).await;

            let heard = is_refused(&server, ca_file).await;

            assert_eq!(heard.under_tls, Vec::<String>::new(), "{manner:?}: {what}");
        }
    }
}

#[tokio::test]
async fn a_server_that_does_not_begin_tls_is_told_nothing() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    for manner in [Manner::Never, Manner::OffersAndRefuses] {
        let server = Server::start(manner, authority.server("localhost", 2100)).await;

        is_refused(&server, &authority.file(&folder)).await;
    }
}

/// Or a letter would count as taken that the server has never seen.
#[tokio::test]
async fn what_was_said_before_tls_answers_nothing_behind_it() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let server = Server::start(Manner::IsHelpedByAStranger, authority.server("localhost", 2100)).await;

    is_refused(&server, &authority.file(&folder)).await;
}
