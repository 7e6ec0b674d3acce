//! Letters that worker processes send while they are killed: each ends accepted, or unknown and not sent blindly again.
//!
//! The processes are this very program, started anew with orders.
#![cfg(all(unix, feature = "sqlite", feature = "postgres", feature = "smtp"))]
#![allow(clippy::unwrap_used, reason = "clippy knows tests, and not the functions that they share")]

mod fixture;
mod process;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};
use weltenwind_core::{
    Actor, DedupeKey, MailId, RandomSource as _, ServiceConfig, Services, Sources, Step, StorageError, SystemRandom,
    Timestamp,
    accounts::Email,
    mail::{
        Begun, Letter, MailDraft, MailFailure, MailIntent, MailLocale, MailState, MailStore, Mailer, NewMail,
        OutgoingMail, Queued, Settled,
    },
    outbox::WorkerConfig,
};
use weltenwind_storage::{MailConfig, SmtpMailer, StorageConfig};

use self::{
    fixture::Fixture,
    process::{PATIENCE, Process, until},
};

/// Where a process ends itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Seam {
    /// It is written down that the letter is on its way, and the server has not been asked.
    BeforeSending,
    /// The server has said that it has taken the letter, and that is not written down.
    BehindTheAnswer,
    /// It is written down that the letter was accepted, and the job is not done.
    BehindTheNote,
}

/// Where the mail server stands still until its client is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Point {
    /// The letter is announced, and its text has not begun.
    AtData,
    /// A part of the text has come.
    InTheText,
    /// All of the text has come and is kept, and nothing is said of that.
    BehindTheText,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Orders {
    url: String,
    mail: String,
    seam: Option<Seam>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child() {
    let Some(Orders { url, mail, seam }) = process::orders() else { return };
    let config = StorageConfig { url, max_connections: 4, ..StorageConfig::default() };
    let mut stores = weltenwind_storage::open(&config).await.unwrap();
    stores.mail = Arc::new(Seams { inner: stores.mail, seam });
    let mut services = Services::start(stores, ServiceConfig::default(), Sources::default()).await.unwrap();
    let smtp = SmtpMailer::new(&MailConfig { url: mail, ..MailConfig::default() }).unwrap();
    services.mail = services.mail.through(Arc::new(Seams { inner: smtp, seam }));
    let _worker = services.worker(WorkerConfig { poll_ms: 20, sweep_ms: 50, drain_seconds: 0 }).start();
    std::future::pending::<()>().await;
}

/// A port that ends the process where it was told to.
#[derive(Debug)]
struct Seams<T> {
    inner: T,
    seam: Option<Seam>,
}

impl<T> Seams<T> {
    fn die_at(&self, seam: Seam) {
        if self.seam == Some(seam) {
            std::process::abort();
        }
    }
}

#[async_trait]
impl Mailer for Seams<SmtpMailer> {
    async fn send(&self, mail: &OutgoingMail) -> Result<(), MailFailure> {
        self.die_at(Seam::BeforeSending);
        self.inner.send(mail).await?;
        self.die_at(Seam::BehindTheAnswer);
        Ok(())
    }
}

#[async_trait]
impl MailStore for Seams<Arc<dyn MailStore>> {
    async fn queue(&self, step: &Step, new: &NewMail) -> Result<Queued, StorageError> {
        self.inner.queue(step, new).await
    }

    async fn find(&self, id: MailId) -> Result<Option<MailIntent>, StorageError> {
        self.inner.find(id).await
    }

    async fn begin(&self, id: MailId, at: Timestamp) -> Result<Begun, StorageError> {
        self.inner.begin(id, at).await
    }

    async fn settle(&self, settled: &Settled, at: Timestamp) -> Result<(), StorageError> {
        self.inner.settle(settled, at).await?;
        self.die_at(Seam::BehindTheNote);
        Ok(())
    }

    async fn purge(&self, before: Timestamp, limit: u32) -> Result<u64, StorageError> {
        self.inner.purge(before, limit).await
    }
}

/// A letter as a mail server has heard of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Heard {
    /// Its `Message-ID`; empty if the text did not get so far.
    message_id: String,
    /// All of its text has come, and is delivered.
    is_taken: bool,
}

struct MailServer {
    url: String,
    heard: Arc<Mutex<Vec<Heard>>>,
    stopped: mpsc::UnboundedReceiver<()>,
}

impl MailServer {
    /// Stands still at `points`, one a letter, and then at none. Each letter takes it `pause`.
    async fn start(points: Vec<Point>, pause: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("smtp://{}", listener.local_addr().unwrap());
        let heard = Arc::new(Mutex::new(Vec::new()));
        let (sender, stopped) = mpsc::unbounded_channel();
        let (mut points, kept) = (points.into_iter(), Arc::clone(&heard));
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let talk = Talk { point: points.next(), pause, heard: Arc::clone(&kept), stopped: sender.clone() };
                tokio::spawn(talk.converse(socket));
            }
        });
        Self { url, heard, stopped }
    }

    fn heard(&self) -> Vec<Heard> {
        self.heard.lock().unwrap().clone()
    }

    async fn stands_still(&mut self) {
        tokio::time::timeout(PATIENCE, self.stopped.recv()).await.expect("a letter comes").expect("the server runs");
    }
}

struct Talk {
    point: Option<Point>,
    pause: Duration,
    heard: Arc<Mutex<Vec<Heard>>>,
    stopped: mpsc::UnboundedSender<()>,
}

impl Talk {
    async fn converse(self, socket: TcpStream) -> std::io::Result<()> {
        let mut lines = BufReader::new(socket);
        lines.get_mut().write_all(b"220 mail.test ready\r\n").await?;
        let mut line = String::new();
        while lines.read_line(&mut line).await? > 0 {
            let verb = line.split([' ', ':', '\r']).next().unwrap_or_default().to_uppercase();
            line.clear();
            if verb == "DATA" {
                let nth = {
                    let mut heard = self.heard.lock().unwrap();
                    heard.push(Heard::default());
                    heard.len() - 1
                };
                self.text(&mut lines, nth).await?;
                continue;
            }
            let answer: &[u8] = match verb.as_str() {
                "EHLO" => b"250-mail.test\r\n250 8BITMIME\r\n",
                "QUIT" => b"221 bye\r\n",
                _ => b"250 ok\r\n",
            };
            lines.get_mut().write_all(answer).await?;
        }
        Ok(())
    }

    async fn text(&self, lines: &mut BufReader<TcpStream>, nth: usize) -> std::io::Result<()> {
        self.stand_still_at(Point::AtData).await;
        lines.get_mut().write_all(b"354 go on\r\n").await?;
        let mut line = String::new();
        while lines.read_line(&mut line).await? > 0 && line != ".\r\n" {
            if let Some(id) = line.to_lowercase().strip_prefix("message-id: ") {
                let id = id.trim().trim_matches(['<', '>']);
                id.clone_into(&mut self.heard.lock().unwrap()[nth].message_id);
                self.stand_still_at(Point::InTheText).await;
            }
            line.clear();
        }
        if line.is_empty() {
            return Ok(());
        }
        self.heard.lock().unwrap()[nth].is_taken = true;
        self.stand_still_at(Point::BehindTheText).await;
        tokio::time::sleep(self.pause).await;
        lines.get_mut().write_all(b"250 2.0.0 taken\r\n").await
    }

    async fn stand_still_at(&self, point: Point) {
        if self.point == Some(point) {
            let _ = self.stopped.send(());
            std::future::pending::<()>().await;
        }
    }
}

/// A store with letters in it.
struct Town {
    fixture: Fixture,
    services: Services,
}

impl Town {
    async fn of(fixture: Fixture) -> Self {
        let services = Services::start(fixture.stores.clone(), ServiceConfig::default(), Sources::default());
        let mut services = services.await.unwrap();
        // For letters to be written down at all; nobody sends from here.
        let nowhere = MailConfig { url: "smtp://127.0.0.1:9".to_owned(), ..MailConfig::default() };
        services.mail = services.mail.through(Arc::new(SmtpMailer::new(&nowhere).unwrap()));
        Self { fixture, services }
    }

    fn process(&self, server: &MailServer, seam: Option<Seam>) -> Process {
        Process::start(&Orders { url: self.fixture.config.url.clone(), mail: server.url.clone(), seam })
    }

    async fn write(&self, key: &str, letter: Letter) -> MailIntent {
        let draft = MailDraft {
            dedupe_key: DedupeKey::new(key).unwrap(),
            account: None,
            to: Email::new("mira@example.org").unwrap(),
            locale: MailLocale::De,
            letter,
        };
        self.services.mail.send(&Actor::operator(), &self.services.outbox, draft).await.unwrap().intent
    }

    async fn find(&self, intent: &MailIntent) -> MailIntent {
        self.services.mail.find(intent.id).await.unwrap().unwrap()
    }

    /// Nobody waits for half a minute: the leases of whoever was killed end now.
    async fn leases_end(&self) -> u64 {
        self.fixture.execute("UPDATE outbox_jobs SET lease_until = created_at WHERE worker IS NOT NULL").await
    }

    /// Lets a worker do what is left.
    async fn done(&self, server: &MailServer) {
        self.leases_end().await;
        let survivor = self.process(server, None);
        until("jobs are left", async || self.fixture.count("SELECT count(*) FROM outbox_jobs").await == 0).await;
        drop(survivor);
        assert_eq!(self.fixture.count("SELECT count(*) FROM outbox_dead").await, 0);
    }
}

fn notice() -> Letter {
    Letter::Notice { title: "Tore".to_owned(), body: "Sie sind offen.".to_owned() }
}

/// The `Message-ID`s that the server has heard, if its letters got so far.
fn message_ids(heard: &[Heard]) -> Vec<&str> {
    heard.iter().map(|heard| heard.message_id.as_str()).filter(|id| !id.is_empty()).collect()
}

/// Whoever is killed while the server has the word leaves a letter of which nobody knows. One that must not come twice is not sent
/// again; any other once, under the same `Message-ID`, and then no more.
async fn a_worker_that_is_killed_in_a_conversation_sends_nothing_blindly(town: Town) {
    for point in [Point::AtData, Point::InTheText, Point::BehindTheText] {
        let mut server = MailServer::start(vec![point], Duration::ZERO).await;
        let letter = town.write(&format!("{point:?}-once"), notice()).await;
        let killed = town.process(&server, None);
        server.stands_still().await;
        killed.signal("-KILL");
        drop(killed);
        town.done(&server).await;

        let found = town.find(&letter).await;
        assert_eq!((found.state, found.attempts), (MailState::Unknown, 1), "{point:?}");
        assert_eq!(server.heard().len(), 1, "{point:?}: it was not begun again");

        let mut server = MailServer::start(vec![point, point], Duration::ZERO).await;
        let again = town.write(&format!("{point:?}-again"), Letter::Test).await;
        for _ in 0..2 {
            let killed = town.process(&server, None);
            server.stands_still().await;
            killed.signal("-KILL");
            drop(killed);
            town.leases_end().await;
        }
        town.done(&server).await;

        let found = town.find(&again).await;
        assert_eq!((found.state, found.attempts), (MailState::Unknown, 2), "{point:?}");
        assert_eq!(server.heard().len(), 2, "{point:?}: it was begun again once");
        let heard = server.heard();
        assert!(message_ids(&heard).windows(2).all(|ids| ids[0] == ids[1]), "{point:?}: {heard:?}");
    }
}

/// Wherever the worker ends by itself, the letter's state tells what the next one may do.
async fn a_worker_that_ends_around_a_conversation_sends_nothing_blindly(town: Town) {
    for (seam, letter, state, attempts, taken) in [
        // Nobody can know that the server has not been asked.
        (Seam::BeforeSending, notice(), MailState::Unknown, 1, 0),
        (Seam::BeforeSending, Letter::Test, MailState::Accepted, 2, 1),
        (Seam::BehindTheAnswer, notice(), MailState::Unknown, 1, 1),
        (Seam::BehindTheAnswer, Letter::Test, MailState::Accepted, 2, 2),
        (Seam::BehindTheNote, notice(), MailState::Accepted, 1, 1),
        (Seam::BehindTheNote, Letter::Test, MailState::Accepted, 1, 1),
    ] {
        let server = MailServer::start(Vec::new(), Duration::ZERO).await;
        let is_resendable = letter.is_resendable();
        let intent = town.write(&format!("{seam:?}-{is_resendable}"), letter).await;
        town.process(&server, Some(seam)).ended().await;
        town.done(&server).await;

        let (found, heard) = (town.find(&intent).await, server.heard());
        assert_eq!((found.state, found.attempts), (state, attempts), "{seam:?}: {found:?}");
        assert_eq!(heard.iter().filter(|heard| heard.is_taken).count(), taken, "{seam:?}: {heard:?}");
        assert!(message_ids(&heard).windows(2).all(|ids| ids[0] == ids[1]), "{seam:?}: {heard:?}");
    }
}

/// Two workers, of which one is killed every few hundred milliseconds.
async fn whoever_is_killed_and_when_no_letter_is_sent_blindly(town: Town) {
    const WORKERS: usize = 2;
    const KILLS: usize = 16;
    let server = MailServer::start(Vec::new(), Duration::from_millis(20)).await;
    let mut letters = Vec::new();
    let mut workers: Vec<_> = (0..WORKERS).map(|_| town.process(&server, None)).collect();
    for _ in 0..KILLS {
        for _ in 0..6 {
            let is_resendable = letters.len().is_multiple_of(2);
            let letter = if is_resendable { Letter::Test } else { notice() };
            letters.push((is_resendable, town.write(&format!("letter-{}", letters.len()), letter).await));
        }
        let mut draw = [0; 2];
        SystemRandom.fill(&mut draw);
        tokio::time::sleep(Duration::from_millis(200 + u64::from(draw[0]))).await;
        let killed = usize::from(draw[1]) % WORKERS;
        workers[killed].signal("-KILL");
        workers[killed] = town.process(&server, None);
        town.leases_end().await;
    }
    drop(workers);
    town.done(&server).await;

    let mut attempts: BTreeMap<String, (u32, u32)> = BTreeMap::new();
    for heard in server.heard() {
        let (begun, taken) = attempts.entry(heard.message_id).or_default();
        *begun += 1;
        *taken += u32::from(heard.is_taken);
    }
    let mut interrupted = 0;
    for (is_resendable, intent) in &letters {
        let found = town.find(intent).await;
        let message_id = found.outgoing(&ServiceConfig::default().accounts.issuer).message_id.to_lowercase();
        let (begun, taken) = attempts.get(&message_id).copied().unwrap_or_default();
        let bound = if *is_resendable { 2 } else { 1 };
        assert!(found.attempts <= bound && begun <= found.attempts, "begun {begun} times: {found:?}");
        match found.state {
            MailState::Accepted => assert!(taken >= 1, "nobody has taken it: {found:?}"),
            MailState::Unknown => assert_eq!(found.attempts, bound, "it was given up too soon: {found:?}"),
            _ => panic!("it is left over: {found:?}"),
        }
        interrupted += u32::from(found.state == MailState::Unknown || found.attempts > 1);
    }
    assert!(interrupted > 0, "nobody was killed in the middle of a letter");
}

mod sqlite {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_worker_that_is_killed_in_a_conversation_sends_nothing_blindly() {
        let town = Town::of(fixture::sqlite().await).await;
        super::a_worker_that_is_killed_in_a_conversation_sends_nothing_blindly(town).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_worker_that_ends_around_a_conversation_sends_nothing_blindly() {
        let town = Town::of(fixture::sqlite().await).await;
        super::a_worker_that_ends_around_a_conversation_sends_nothing_blindly(town).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn whoever_is_killed_and_when_no_letter_is_sent_blindly() {
        super::whoever_is_killed_and_when_no_letter_is_sent_blindly(Town::of(fixture::sqlite().await).await).await;
    }
}

mod postgres {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "needs WW_TEST_POSTGRES_URL"]
    async fn a_worker_that_is_killed_in_a_conversation_sends_nothing_blindly() {
        let town = Town::of(fixture::postgres().await).await;
        super::a_worker_that_is_killed_in_a_conversation_sends_nothing_blindly(town).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "needs WW_TEST_POSTGRES_URL"]
    async fn a_worker_that_ends_around_a_conversation_sends_nothing_blindly() {
        let town = Town::of(fixture::postgres().await).await;
        super::a_worker_that_ends_around_a_conversation_sends_nothing_blindly(town).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "needs WW_TEST_POSTGRES_URL"]
    async fn whoever_is_killed_and_when_no_letter_is_sent_blindly() {
        super::whoever_is_killed_and_when_no_letter_is_sent_blindly(Town::of(fixture::postgres().await).await).await;
    }
}
