//! Requests under keys, at once and cut off by kill -9: each has one effect, and a repeat is answered as the first.

mod fixture;

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use fixture::{PATIENCE, Server, Store};
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection, SqliteConnection};
use tokio::task::JoinSet;
use uuid::Uuid;
use weltenwind_core::{
    Timestamp,
    idempotency::{Claim, RecordKey},
};

const CALLERS: u32 = 8;
/// Answers after which a round's server is killed, requests still being under way.
const ANSWERED: u32 = 100;
/// Rounds in which a kill should have come between an effect and its answer at least once.
const ROUNDS: u32 = 20;

#[derive(Debug, Clone)]
struct Request {
    key: String,
    path: String,
    token: String,
    body: Value,
}

impl Request {
    async fn send(&self, server: &Server) -> Option<(u16, bool, Value)> {
        server.try_post_under(&self.key, &self.path, &self.token, &self.body).await
    }

    /// Sends it to a server that is not killed; answers whether it is the first answer again, and the answer.
    async fn repeat(&self, server: &Server) -> (bool, Value) {
        let (status, again, answer) = self.send(server).await.expect("an answer");
        assert_eq!(status, 201, "{self:?}: {answer}");
        (again, answer)
    }
}

/// What a request is kept under, and when it was first made, in microseconds.
type Begun = (Vec<u8>, i64);

/// What is looked up beside the server, in a store that nobody runs on.
enum Records {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Records {
    async fn of(store: &Store) -> Self {
        if store.url().starts_with("sqlite") {
            Self::Sqlite(SqliteConnection::connect(store.url()).await.expect("the file"))
        } else {
            Self::Postgres(PgConnection::connect(store.url()).await.expect("the database"))
        }
    }

    /// Counts the requests that had their effect and left no answer.
    async fn cut_off(&mut self) -> usize {
        const UNANSWERED: &str = "SELECT key, since FROM idempotency_records WHERE status IS NULL";
        const PG_UNANSWERED: &str = "SELECT key, (extract(epoch FROM since) * 1000000)::BIGINT
            FROM idempotency_records WHERE status IS NULL";
        const STEPS: &str = "SELECT key FROM effect_keys";
        const MESSAGES: &str = "SELECT id FROM chat_messages";
        let (unanswered, steps, messages): (Vec<Begun>, Vec<Vec<u8>>, Vec<Uuid>) = match self {
            Self::Sqlite(connection) => (
                sqlx::query_as(UNANSWERED).fetch_all(&mut *connection).await.expect("records"),
                sqlx::query_scalar(STEPS).fetch_all(&mut *connection).await.expect("effects"),
                sqlx::query_scalar(MESSAGES).fetch_all(connection).await.expect("messages"),
            ),
            Self::Postgres(connection) => (
                sqlx::query_as(PG_UNANSWERED).fetch_all(&mut *connection).await.expect("records"),
                sqlx::query_scalar(STEPS).fetch_all(&mut *connection).await.expect("effects"),
                sqlx::query_scalar(MESSAGES).fetch_all(connection).await.expect("messages"),
            ),
        };
        let had_effect = |(key, since): &&Begun| {
            let key = RecordKey::new(key.as_slice().try_into().expect("32 bytes"));
            let since = Timestamp::from_microsecond(*since).expect("an instant");
            let effect = Claim { key, holder: Uuid::nil(), since }.effect_key();
            steps.iter().any(|step| step == effect.as_bytes()) || messages.contains(&effect.id())
        };
        unanswered.iter().filter(had_effect).count()
    }

    /// Lets the minute pass that a dead node's claims keep others out.
    async fn end_leases(&mut self) {
        match self {
            Self::Sqlite(connection) => {
                sqlx::query("UPDATE idempotency_records SET leased_until = 0").execute(connection).await.map(drop)
            }
            Self::Postgres(connection) => {
                sqlx::query("UPDATE idempotency_records SET leased_until = 'epoch'").execute(connection).await.map(drop)
            }
        }
        .expect("leases end");
    }
}

async fn a_request_that_a_kill_cut_off_has_one_effect(store: Store) {
    // Tokens hold after a restart under the same address, wherever the server listens.
    const MAKERS: &[&str] =
        &["--set", "worlds.players_may_create=true", "--set", "public_url=http://wind.example.test"];
    let (mut cut_off, mut rounds) = (0, 0);
    let mut answered: HashMap<String, Value> = HashMap::new();
    let mut channel = String::new();
    while cut_off == 0 || rounds < 2 {
        assert!(rounds < ROUNDS, "no kill came between an effect and its answer");
        let server = Arc::new(store.serve(MAKERS));
        channel = server.general().await;
        let count = Arc::new(AtomicU32::new(0));
        // Passwords are hashed slowly: all are signed in before the first one calls.
        let mut tokens = Vec::new();
        for caller in 0..CALLERS {
            let name = format!("maker-{rounds}-{caller}");
            let account = json!({ "username": name, "password": "correct horse battery" });
            let (status, session) = server.post("/api/v1/auth/register", None, &account).await;
            assert_eq!(status, 201, "{session}");
            tokens.push((name, session["accessToken"].as_str().expect("a token").to_owned()));
        }
        let mut callers = JoinSet::new();
        for (n, (name, token)) in tokens.into_iter().enumerate() {
            let (server, channel, count) = (Arc::clone(&server), channel.clone(), Arc::clone(&count));
            callers.spawn(async move { call(&server, &name, &token, &channel, n % 2 == 0, &count).await });
        }
        let enough = async {
            while count.load(Ordering::SeqCst) < ANSWERED {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, enough).await.expect("requests are answered");

        let killed = std::process::Command::new("kill").args(["-9", &server.id().to_string()]).status();
        assert!(killed.expect("kill runs").success());
        let calls = callers.join_all().await;
        drop(server);

        let mut records = Records::of(&store).await;
        cut_off += records.cut_off().await;
        records.end_leases().await;
        drop(records);
        let server = store.serve(MAKERS);
        for (done, lost) in calls {
            // Who came late may have had no answer at all.
            if let Some((last, first_answer)) = done.last() {
                assert_eq!(last.repeat(&server).await, (true, first_answer.clone()));
            }
            let (_, answer) = lost.repeat(&server).await;
            assert_eq!(lost.repeat(&server).await, (true, answer.clone()));
            let done = done.into_iter().chain([(lost, answer)]);
            answered.extend(done.map(|(request, answer)| (request.key, answer)));
        }
        rounds += 1;
    }

    let server = store.serve(MAKERS);
    let mut made = server.history(&channel).await;
    let mut cursor = String::new();
    loop {
        let (status, page) = server.get(&format!("/api/v1/worlds?limit=200{cursor}")).await;
        assert_eq!(status, 200, "{page}");
        made.extend(page["items"].as_array().expect("items").iter().cloned());
        match page["nextCursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    let by_id: HashMap<&str, &Value> = made.iter().map(|made| (made["id"].as_str().expect("an id"), made)).collect();
    for answer in answered.values() {
        assert_eq!(by_id.get(answer["id"].as_str().expect("an id")), Some(&answer));
    }
    // The welcome world was there before.
    assert_eq!(made.len(), answered.len() + 1, "each request has one effect");
    drop(server);
    store.drop_database().await;
}

/// Calls until the server is gone; answers what was answered, and the call that was not.
async fn call(
    server: &Server,
    name: &str,
    token: &str,
    channel: &str,
    posts: bool,
    count: &AtomicU32,
) -> (Vec<(Request, Value)>, Request) {
    let mut done = Vec::new();
    for n in 0.. {
        let text = format!("{name}-{n}");
        let (path, body) = if posts {
            (format!("/api/v1/channels/{channel}/messages"), json!({ "body": text }))
        } else {
            ("/api/v1/worlds".to_owned(), json!({ "name": text, "slug": text }))
        };
        let request = Request { key: format!("{text}-0123456789abcdef"), path, token: token.to_owned(), body };
        let Some((status, again, answer)) = request.send(server).await else { return (done, request) };
        assert_eq!((status, again), (201, false), "{answer}");
        done.push((request, answer));
        count.fetch_add(1, Ordering::SeqCst);
    }
    unreachable!("the server is killed before the numbers end")
}

/// A client without patience, or a balancer that repeats by itself.
async fn fifty_copies_at_once_have_one_effect(store: Store) {
    let server = Arc::new(store.serve(&[]));
    let (channel, guest) = (server.general().await, server.guest("Mira").await);
    let request = Request {
        key: "fifty-copies-0123456789".to_owned(),
        path: format!("/api/v1/channels/{channel}/messages"),
        token: guest.token,
        body: json!({ "body": "well met" }),
    };

    let mut copies = JoinSet::new();
    for _ in 0..50 {
        let (server, request) = (Arc::clone(&server), request.clone());
        copies.spawn(async move { request.send(&server).await.expect("an answer") });
    }
    let answers = copies.join_all().await;

    let (mut first, mut again, mut refused) = (Vec::new(), Vec::new(), 0);
    for (status, is_again, answer) in answers {
        match (status, is_again) {
            (201, false) => first.push(answer),
            (201, true) => again.push(answer),
            (409, false) => {
                assert_eq!(answer["code"], "idempotency-in-progress", "{answer}");
                refused += 1;
            }
            other => panic!("{other:?}: {answer}"),
        }
    }
    assert_eq!((first.len(), again.len() + refused), (1, 49));
    assert!(again.iter().all(|answer| *answer == first[0]));
    assert_eq!(server.history(&channel).await, first);
    drop(server);
    store.drop_database().await;
}

mod sqlite {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn fifty_copies_at_once_have_one_effect() {
        super::fifty_copies_at_once_have_one_effect(Store::sqlite()).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_request_that_a_kill_cut_off_has_one_effect() {
        super::a_request_that_a_kill_cut_off_has_one_effect(Store::sqlite()).await;
    }
}

mod postgres {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "needs WW_TEST_POSTGRES_DURABLE_URL"]
    async fn fifty_copies_at_once_have_one_effect() {
        super::fifty_copies_at_once_have_one_effect(Store::postgres().await).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "needs WW_TEST_POSTGRES_DURABLE_URL"]
    async fn a_request_that_a_kill_cut_off_has_one_effect() {
        super::a_request_that_a_kill_cut_off_has_one_effect(Store::postgres().await).await;
    }
}
