//! Letters through a real conversation with a mail server that misbehaves on purpose, from the outbox to the last word.
#![cfg(all(feature = "sqlite", feature = "smtp"))]
#![allow(clippy::unwrap_used, reason = "clippy knows tests, and not the functions that they share")]

mod fixture;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
};
use weltenwind_core::{
    Actor, DedupeKey, ServiceConfig, Services, Sources,
    accounts::Email,
    mail::{Letter, MailDraft, MailFailure, MailIntent, MailLocale, MailState, Mailer as _, OutgoingMail},
    outbox::{Due, JobKind, JobQuery, WorkerConfig},
};
use weltenwind_storage::{MailConfig, SmtpMailer};

use self::fixture::Fixture;

/// Long enough for a machine under load.
const PATIENCE: Duration = Duration::from_mins(1);

/// What a mail server does to a letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    Takes,
    /// It knows no such recipient.
    RefusesTheRecipient,
    /// Its spool is full, say.
    DefersTheRecipient,
    /// It has read the letter and does not want it.
    RefusesTheText,
    /// It has read the letter and cannot keep it now.
    DefersTheText,
    /// It hangs up when it has read the letter.
    HangsUpBehindTheText,
    /// It takes the letter, and hangs up before it says so.
    TakesAndHangsUp,
    /// It hangs up when it hears of the letter.
    HangsUpBefore,
    /// It speaks another language.
    Babbles,
    /// It says nothing at all.
    IsSilent,
}

/// A mail server that does to the n-th letter what it was told, and to every further one the last of that.
struct Server {
    url: String,
    taken: Arc<Mutex<Vec<String>>>,
    asked: Arc<AtomicU32>,
}

impl Server {
    async fn start(manners: &[Manner]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("smtp://{}", listener.local_addr().unwrap());
        let (taken, asked) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicU32::new(0)));
        let (manners, kept, count) = (manners.to_vec(), Arc::clone(&taken), Arc::clone(&asked));
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let n = count.fetch_add(1, Ordering::SeqCst) as usize;
                let manner = manners[n.min(manners.len() - 1)];
                tokio::spawn(converse(socket, manner, Arc::clone(&kept)));
            }
        });
        Self { url, taken, asked }
    }

    fn mailer(&self) -> SmtpMailer {
        let from = "Weltenwind <wind@example.org>".to_owned();
        let config = MailConfig { url: self.url.clone(), from, timeout_seconds: 2, ..MailConfig::default() };
        SmtpMailer::new(&config).unwrap()
    }

    fn taken(&self) -> Vec<String> {
        self.taken.lock().unwrap().clone()
    }
}

async fn converse(socket: TcpStream, manner: Manner, taken: Arc<Mutex<Vec<String>>>) -> std::io::Result<()> {
    let mut lines = BufReader::new(socket);
    if manner == Manner::IsSilent {
        return std::future::pending().await;
    }
    let greeting: &[u8] =
        if manner == Manner::Babbles { b"HTTP/1.1 200 OK\r\n\r\n" } else { b"220 mail.test ready\r\n" };
    lines.get_mut().write_all(greeting).await?;
    let mut line = String::new();
    loop {
        line.clear();
        if lines.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let verb = line.split([' ', ':', '\r']).next().unwrap_or_default().to_uppercase();
        let answer: &[u8] = match (verb.as_str(), manner) {
            ("EHLO", _) => b"250-mail.test\r\n250 8BITMIME\r\n",
            ("MAIL", Manner::HangsUpBefore) => return Ok(()),
            ("RCPT", Manner::RefusesTheRecipient) => b"550 5.1.1 nobody of that name\r\n",
            ("RCPT", Manner::DefersTheRecipient) => b"451 4.3.0 come back later\r\n",
            ("DATA", _) => b"354 go on\r\n",
            ("QUIT", _) => b"221 bye\r\n",
            _ => b"250 ok\r\n",
        };
        lines.get_mut().write_all(answer).await?;
        if verb != "DATA" {
            continue;
        }
        let mut text = String::new();
        loop {
            line.clear();
            if lines.read_line(&mut line).await? == 0 {
                return Ok(());
            }
            if line == ".\r\n" {
                break;
            }
            text.push_str(&line);
        }
        let answer: &[u8] = match manner {
            Manner::HangsUpBehindTheText => return Ok(()),
            Manner::RefusesTheText => b"554 5.7.1 not wanted\r\n",
            Manner::DefersTheText => b"452 4.2.2 no room\r\n",
            _ => {
                taken.lock().unwrap().push(text);
                b"250 2.0.0 taken\r\n"
            }
        };
        if manner == Manner::TakesAndHangsUp {
            return Ok(());
        }
        lines.get_mut().write_all(answer).await?;
    }
}

fn letter() -> OutgoingMail {
    OutgoingMail {
        message_id: "0123456789abcdef@wind.example".to_owned(),
        to: Email::new("mira@example.org").unwrap(),
        subject: "Die Tore öffnen".to_owned(),
        text: "Grüße aus dem Hafen.\n.\nEnde\n".to_owned(),
        locale: MailLocale::De,
    }
}

#[tokio::test]
async fn a_letter_arrives_as_plain_text_under_its_id() {
    let server = Server::start(&[Manner::Takes]).await;

    server.mailer().send(&letter()).await.unwrap();

    let taken = server.taken();
    let (head, body) = taken[0].split_once("\r\n\r\n").expect("a head and a body");
    let head = head.to_lowercase();
    for line in [
        "message-id: <0123456789abcdef@wind.example>",
        "to: mira@example.org",
        "content-type: text/plain; charset=utf-8",
        "date: ",
    ] {
        assert!(head.contains(line), "{line} is missing in {head}");
    }
    assert!(head.contains("from: ") && head.contains("wind@example.org") && head.contains("subject: "), "{head}");
    assert!(!body.is_empty() && body.is_ascii(), "{body}");
}

#[tokio::test]
async fn what_a_server_says_tells_what_is_to_be_done() {
    for (manner, expected) in [
        (Manner::RefusesTheRecipient, "refused"),
        (Manner::RefusesTheText, "refused"),
        (Manner::DefersTheRecipient, "deferred"),
        (Manner::DefersTheText, "deferred"),
        (Manner::HangsUpBefore, "away"),
        (Manner::Babbles, "away"),
        (Manner::IsSilent, "away"),
        (Manner::HangsUpBehindTheText, "unknown"),
        (Manner::TakesAndHangsUp, "unknown"),
    ] {
        let server = Server::start(&[manner]).await;

        let failure = server.mailer().send(&letter()).await.unwrap_err();

        let told = match failure {
            MailFailure::Away(_) => "away",
            MailFailure::Deferred(_) => "deferred",
            MailFailure::Refused(_) => "refused",
            MailFailure::Unknown(_) => "unknown",
        };
        assert_eq!(told, expected, "{manner:?}: {failure}");
    }
    let nowhere = MailConfig { url: "smtp://127.0.0.1:9".to_owned(), ..MailConfig::default() };
    let failure = SmtpMailer::new(&nowhere).unwrap().send(&letter()).await.unwrap_err();
    assert!(matches!(failure, MailFailure::Away(_)), "{failure}");
}

async fn services(fixture: &Fixture, server: &Server) -> Services {
    let mut services =
        Services::start(fixture.stores.clone(), ServiceConfig::default(), Sources::default()).await.unwrap();
    services.mail = services.mail.through(Arc::new(server.mailer()));
    services
}

async fn send(services: &Services, letter: Letter) -> MailIntent {
    let draft = MailDraft {
        dedupe_key: DedupeKey::new("letter-1").unwrap(),
        account: None,
        to: Email::new("mira@example.org").unwrap(),
        locale: MailLocale::De,
        letter,
    };
    services.mail.send(&Actor::operator(), &services.outbox, draft).await.unwrap().intent
}

fn notice() -> Letter {
    Letter::Notice { title: "Tore".to_owned(), body: "Sie sind offen.".to_owned() }
}

/// Waits until a letter is in a state.
async fn reaches(services: &Services, intent: &MailIntent, state: MailState) -> MailIntent {
    let until = tokio::time::Instant::now() + PATIENCE;
    loop {
        let found = services.mail.find(intent.id).await.unwrap().unwrap();
        if found.state == state && found.attempts > 0 {
            return found;
        }
        assert!(tokio::time::Instant::now() < until, "it is {found:?}, and not {state:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_letter_goes_from_the_outbox_to_the_mail_server_once() {
    let fixture = fixture::sqlite().await;
    let server = Server::start(&[Manner::Takes]).await;
    let services = services(&fixture, &server).await;
    let worker = services.worker(WorkerConfig::default()).start();

    let intent = send(&services, notice()).await;
    let again = send(&services, notice()).await;
    let sent = reaches(&services, &intent, MailState::Accepted).await;
    worker.drain().await;

    assert_eq!((again.id, sent.attempts, sent.error), (intent.id, 1, None));
    assert_eq!(server.taken().len(), 1);
    assert!(server.taken()[0].contains("Sie sind offen."));
}

#[tokio::test]
async fn a_letter_that_is_refused_is_dead_and_says_why() {
    let fixture = fixture::sqlite().await;
    let server = Server::start(&[Manner::RefusesTheRecipient]).await;
    let services = services(&fixture, &server).await;
    let worker = services.worker(WorkerConfig::default()).start();

    let intent = send(&services, notice()).await;
    let failed = reaches(&services, &intent, MailState::Failed).await;
    worker.drain().await;

    assert!(failed.error.is_some_and(|error| error.contains("nobody of that name")));
    let dead = services.outbox.store().page_dead(&JobQuery::default()).await.unwrap();
    assert_eq!(dead.items.iter().filter(|job| job.kind == JobKind::named("mail.send")).count(), 1);
    assert_eq!(server.asked.load(Ordering::SeqCst), 1, "it is not tried again");
}

#[tokio::test]
async fn a_letter_that_is_deferred_waits_and_is_tried_again() {
    let fixture = fixture::sqlite().await;
    let server = Server::start(&[Manner::DefersTheText, Manner::Takes]).await;
    let services = services(&fixture, &server).await;
    let worker = services.worker(WorkerConfig { poll_ms: 50, ..WorkerConfig::default() }).start();

    let intent = send(&services, notice()).await;
    let deferred = reaches(&services, &intent, MailState::Queued).await;
    assert!(deferred.error.is_some_and(|error| error.contains("no room")));
    // In place of half a minute.
    let again =
        weltenwind_core::outbox::NewJob::new(JobKind::named("mail.send"), serde_json::json!({ "mail": intent.id }));
    services.outbox.enqueue(&[again.due(Due::Now)]).await.unwrap();
    let sent = reaches(&services, &intent, MailState::Accepted).await;
    worker.drain().await;

    assert_eq!((sent.attempts, server.taken().len()), (2, 1));
}

#[tokio::test]
async fn a_letter_of_which_nobody_knows_is_not_sent_again() {
    let fixture = fixture::sqlite().await;
    let server = Server::start(&[Manner::TakesAndHangsUp, Manner::Takes]).await;
    let services = services(&fixture, &server).await;
    let worker = services.worker(WorkerConfig { poll_ms: 50, ..WorkerConfig::default() }).start();

    let intent = send(&services, notice()).await;
    reaches(&services, &intent, MailState::Unknown).await;
    let again =
        weltenwind_core::outbox::NewJob::new(JobKind::named("mail.send"), serde_json::json!({ "mail": intent.id }));
    services.outbox.enqueue(&[again]).await.unwrap();
    worker.drain().await;

    assert_eq!((server.taken().len(), server.asked.load(Ordering::SeqCst)), (1, 1));
}
