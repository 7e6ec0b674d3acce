//! Accounts that are erased on one node are nobody on all of them, whatever fails between; and what operators do about them.

mod fixture;
#[path = "../../weltenwind-storage/tests/redis_server/mod.rs"]
mod redis_server;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use fixture::{Guest, PATIENCE, Server, Store};
use redis_server::RedisServer;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, SqliteConnection};
use tokio::task::JoinSet;

const NOBODY: &str = "Deleted account";
/// Sockets look for themselves every 25 seconds; what ends them long before that is the log of losses.
const LONG_BEFORE_THE_NEXT_LOOK: Duration = Duration::from_secs(10);

fn serve(store: &Store, redis: Option<&RedisServer>) -> Server {
    let redis = redis.map(|redis| format!("redis.url={}", redis.url()));
    // One address for all, as behind a balancer: a token of one node holds on the other.
    let mut args = vec!["--set", "public_url=http://wind.test"];
    args.extend(redis.iter().flat_map(|redis| ["--set", redis.as_str()]));
    store.serve(&args)
}

async fn say(node: &Server, guest: &Guest, channel: &str, text: &str) {
    let path = format!("/api/v1/channels/{channel}/messages");
    let (status, answer) = node.post(&path, Some(&guest.token), &json!({ "body": text })).await;
    assert_eq!(status, 201, "{answer}");
}

/// Who wrote the newest page of a channel: ids and names.
async fn newest(node: &Server, channel: &str) -> Vec<(String, String)> {
    let (status, page) = node.get(&format!("/api/v1/channels/{channel}/messages?limit=50")).await;
    assert_eq!(status, 200, "{page}");
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let items = page["items"].as_array().expect("a page");
    items.iter().map(|item| (text(&item["author"]["id"]), text(&item["author"]["displayName"]))).collect()
}

/// Waits until nothing on the newest page bears another name of an account than that of nobody.
async fn until_nobody(node: &Server, channel: &str, id: &str) {
    let wait = async {
        while newest(node, channel).await.iter().any(|(author, name)| author == id && name != NOBODY) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("the name goes in time");
}

/// Who is erased here is nobody there: the socket closes, the page in memory changes, and who listens hears of it.
async fn an_erasure_crosses(here: &Server, there: &Server, channel: &str) {
    let mira = here.guest("Mira of the West").await;
    let lu = there.guest("Lu").await;
    let (near, mut far) = (here.socket(&mira).await, there.socket(&mira).await);
    far.next_of("welcome").await;
    say(here, &mira, channel, "well met").await;
    say(there, &lu, channel, "well met, Mira").await;
    let mut listener = there.socket(&lu).await;
    listener.join(channel, None).await;
    let names = async |node: &Server| newest(node, channel).await.into_iter().filter(|(id, _)| *id == mira.id);
    let read = async || {
        let mut own = names(there).await;
        own.next().is_some_and(|(_, name)| name == "Mira of the West")
    };
    tokio::time::timeout(PATIENCE, async { while !read().await {} }).await.expect("the other node reads it");
    let since = Instant::now();

    assert_eq!(here.delete("/api/v1/users/me", &mira.token).await.0, 204);

    for mut socket in [near, far] {
        assert_eq!(socket.next_of("bye").await["code"], 4201);
        assert!(since.elapsed() < LONG_BEFORE_THE_NEXT_LOOK, "{:?}", since.elapsed());
        assert!(socket.next().await.is_none(), "nothing comes behind it");
    }
    for node in [here, there] {
        until_nobody(node, channel, &mira.id).await;
        assert!(since.elapsed() < LONG_BEFORE_THE_NEXT_LOOK, "{:?}", since.elapsed());
        let (status, problem) = node.get_as("/api/v1/users/me", &mira.token).await;
        assert_eq!((status, problem["code"].as_str()), (401, Some("session-ended")));
        assert_eq!(node.get(&format!("/api/v1/users/{}", mira.id)).await.0, 404);
    }
    let renamed = loop {
        let update = listener.next_of("update").await;
        if update["message"]["author"]["id"] == json!(mira.id) {
            break update;
        }
    };
    assert_eq!(renamed["message"]["author"]["displayName"], NOBODY);
    assert_eq!(renamed["message"]["body"], "well met");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs WW_TEST_POSTGRES_DURABLE_URL"]
async fn who_is_erased_on_one_node_is_nobody_on_the_other_with_and_without_redis() {
    let (store, redis) = (Store::postgres().await, RedisServer::start());
    let nodes = [(); 2].map(|()| serve(&store, Some(&redis)));
    let channel = nodes[0].general().await;
    an_erasure_crosses(&nodes[0], &nodes[1], &channel).await;

    redis.kill();
    an_erasure_crosses(&nodes[1], &nodes[0], &channel).await;
    redis.start_again();
    // Whether or not the nodes have found it by now.
    an_erasure_crosses(&nodes[0], &nodes[1], &channel).await;

    drop(nodes);
    store.drop_database().await;
}

/// The node that erases dies in the middle of it. Each account is there with everything, or is nobody once another node has gone
/// on.
async fn a_kill_leaves_all_or_nothing(store: &Store) {
    const ACCOUNTS: usize = 12;
    const MESSAGES: usize = 8;

    let dying = Arc::new(serve(store, None));
    let channel = dying.general().await;
    let mut guests = Vec::new();
    for n in 0..ACCOUNTS {
        let guest = dying.guest(&format!("Guest of old {n}")).await;
        for m in 0..MESSAGES {
            say(&dying, &guest, &channel, &format!("message {m}")).await;
        }
        guests.push(guest);
    }
    let mut calls = JoinSet::new();
    for guest in &guests {
        let (url, token) = (format!("{}/api/v1/users/me", dying.url), guest.token.clone());
        calls.spawn(async move { reqwest::Client::new().delete(url).bearer_auth(token).send().await.is_ok() });
    }
    let _ = calls.join_next().await.expect("one has ended");
    let killed = std::process::Command::new("kill").args(["-9", &dying.id().to_string()]).status();
    assert!(killed.expect("kill runs").success());
    calls.join_all().await;
    drop(dying);

    let next = tokio::task::block_in_place(|| serve(store, None));

    let mut erased = 0;
    for guest in &guests {
        let (status, _) = next.get_as("/api/v1/users/me", &guest.token).await;
        let profile = next.get(&format!("/api/v1/users/{}", guest.id)).await.0;
        if status == 401 {
            erased += 1;
            assert_eq!(profile, 404);
            until_all_are_nobody(&next, &channel, &guest.id).await;
        } else {
            assert_eq!((status, profile), (200, 200));
            let own =
                next.history(&channel).await.into_iter().filter(|message| message["author"]["id"] == json!(guest.id));
            let names: Vec<Value> = own.map(|message| message["author"]["displayName"].clone()).collect();
            assert!(names.len() == MESSAGES && names.iter().all(|name| name != NOBODY), "{names:?}");
        }
    }
    assert!(erased > 0, "some were erased");
}

async fn until_all_are_nobody(node: &Server, channel: &str, id: &str) {
    let wait = async {
        loop {
            let history = node.history(channel).await;
            let mut own = history.iter().filter(|message| message["author"]["id"] == json!(id));
            if own.all(|message| message["author"]["displayName"] == NOBODY) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("who starts next goes on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_sqlite_a_kill_amid_erasures_leaves_all_or_nothing() {
    a_kill_leaves_all_or_nothing(&Store::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs WW_TEST_POSTGRES_DURABLE_URL"]
async fn on_postgres_a_kill_amid_erasures_leaves_all_or_nothing() {
    let store = Store::postgres().await;
    a_kill_leaves_all_or_nothing(&store).await;
    store.drop_database().await;
}

fn json_of(store: &Store, args: &[&str]) -> Value {
    let output = store.run(args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("one JSON document")
}

async fn registered(server: &Server, username: &str) -> Guest {
    let body = json!({ "username": username, "password": "correct horse battery", "displayName": "Mira of the West" });
    let (status, session) = server.post("/api/v1/auth/register", None, &body).await;
    assert_eq!(status, 201, "{session}");
    Guest {
        token: session["accessToken"].as_str().expect("a token").to_owned(),
        id: session["user"]["id"].as_str().expect("an id").to_owned(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_shows_exports_and_erases_accounts() {
    let store = Store::sqlite();
    let server = store.serve(&[]);
    let channel = server.general().await;
    let mira = registered(&server, "mira").await;
    say(&server, &mira, &channel, "well met").await;
    let mut socket = server.socket(&mira).await;
    socket.next_of("welcome").await;

    let shown = json_of(&store, &["user", "show", "mira", "--json"]);
    assert_eq!((&shown["id"], &shown["messages"], &shown["sessions"]), (&json!(mira.id), &json!(1), &json!(1)));
    let text = String::from_utf8(store.run(&["user", "show", &mira.id]).stdout).expect("text");
    assert!(text.contains("username    mira\n") && text.contains("messages    1\n"), "{text}");
    assert_eq!(store.run(&["user", "show", "nobody"]).status.code(), Some(3));

    let export = json_of(&store, &["user", "export", "mira"]);
    assert_eq!((&export["version"], &export["messages"][0]["body"]), (&json!(1), &json!("well met")));
    let file = store.path().with_file_name("mira.json");
    assert!(store.run(&["user", "export", "mira", "--out", &file.display().to_string()]).status.success());
    let written: Value = serde_json::from_slice(&std::fs::read(&file).expect("the file")).expect("JSON");
    assert_eq!(written["account"], export["account"]);

    assert_eq!(store.run(&["user", "erase", "mira"]).status.code(), Some(2), "it asks back");
    assert_eq!(json_of(&store, &["user", "erase", "mira", "--dry-run", "--json"]), shown);
    assert_eq!(server.get_as("/api/v1/users/me", &mira.token).await.0, 200, "nothing was erased");
    assert!(store.run(&["grant", "add", "mira", "owner"]).status.success());
    let refused = store.run(&["user", "erase", "mira", "--yes"]);
    assert_eq!(refused.status.code(), Some(4));
    let words = String::from_utf8(refused.stderr).expect("text");
    assert!(words.starts_with("error: the account is the last owner of global; make somebody else"), "{words}");
    registered(&server, "heir").await;
    assert!(store.run(&["grant", "add", "heir", "owner"]).status.success());

    let since = Instant::now();
    let erased = json_of(&store, &["user", "erase", "mira", "--yes", "--json"]);
    assert_eq!((&erased["accountId"], &erased["erasedBy"]), (&json!(mira.id), &Value::Null));

    // Another process: the server finds the loss in the log, and what was renamed in the store.
    assert_eq!(socket.next_of("bye").await["code"], 4201);
    until_nobody(&server, &channel, &mira.id).await;
    assert!(since.elapsed() < LONG_BEFORE_THE_NEXT_LOOK, "{:?}", since.elapsed());
    assert_eq!(store.run(&["user", "erase", "mira", "--yes"]).status.code(), Some(3), "there is nobody");
    let listed = json_of(&store, &["user", "erasures", "--json"]);
    assert_eq!(
        listed.as_array().map(|all| all.iter().map(|one| one["accountId"].clone()).collect()),
        Some(vec![json!(mira.id)])
    );
    let table = String::from_utf8(store.run(&["user", "erasures"]).stdout).expect("text");
    assert!(table.trim_start().starts_with("ACCOUNT") && table.contains("operator"), "{table}");
    let mut database = SqliteConnection::connect(store.url()).await.expect("the store");
    let audited: Vec<String> = sqlx::query_scalar(
        "SELECT action FROM audit_log WHERE action IN ('account.export', 'account.erase') AND actor IS NULL ORDER BY id",
    )
    .fetch_all(&mut database)
    .await
    .expect("the audit log");
    assert_eq!(audited, ["account.export", "account.export", "account.erase"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ledger_makes_a_restored_backup_forget_again() {
    let store = Store::sqlite();
    let server = store.serve(&[]);
    let channel = server.general().await;
    let (mira, lu) = (registered(&server, "mira").await, registered(&server, "lurker").await);
    say(&server, &mira, &channel, "well met").await;
    say(&server, &lu, &channel, "well met, Mira").await;
    let backup = store.path().with_file_name("backup.db");
    let mut database = SqliteConnection::connect(store.url()).await.expect("the store");
    let copy = format!("VACUUM INTO '{}'", backup.display());
    database.execute(AssertSqlSafe(copy)).await.expect("a backup");
    database.close().await.expect("it closes");
    assert_eq!(server.delete("/api/v1/users/me", &mira.token).await.0, 204);
    let late = registered(&server, "late").await;
    assert_eq!(server.delete("/api/v1/users/me", &late.token).await.0, 204);
    let ledger = store.path().with_file_name("ledger.json");
    std::fs::write(&ledger, store.run(&["user", "erasures", "--json"]).stdout).expect("the ledger");
    let ledger = ledger.display().to_string();
    drop(server);

    for file in ["weltenwind.db-wal", "weltenwind.db-shm"] {
        let _ = std::fs::remove_file(store.path().with_file_name(file));
    }
    std::fs::copy(&backup, store.path()).expect("the backup is restored");
    let there = |user: &str| store.run(&["user", "show", user]).status.code() == Some(0);
    assert!(there("mira") && there("lurker"), "the backup is of before");
    assert_eq!(store.run(&["user", "erasures", "--apply", &ledger]).status.code(), Some(2), "it asks back");
    let plan = json_of(&store, &["user", "erasures", "--apply", &ledger, "--dry-run", "--json"]);
    assert_eq!(plan, json!({ "entries": 2, "erased": 1 }));
    assert!(there("mira"), "nothing was erased");
    let applied = json_of(&store, &["user", "erasures", "--apply", &ledger, "--yes", "--json"]);
    assert_eq!(applied, json!({ "entries": 2, "erased": 1 }));
    let again = json_of(&store, &["user", "erasures", "--apply", &ledger, "--yes", "--json"]);
    assert_eq!(again, json!({ "entries": 2, "erased": 0 }));

    assert!(!there("mira") && there("lurker"));
    let server = tokio::task::block_in_place(|| store.serve(&[]));
    let mut names = newest(&server, &channel).await;
    names.sort_by_key(|(id, _)| *id != mira.id);
    assert_eq!(names, [(mira.id, NOBODY.to_owned()), (lu.id, "Mira of the West".to_owned())]);
    let erased = json_of(&store, &["user", "erasures", "--json"]);
    assert_eq!(erased.as_array().map(Vec::len), Some(2));
    let broken = store.path().with_file_name("broken.json");
    std::fs::write(&broken, "[{}]").expect("a file");
    let refused = store.run(&["user", "erasures", "--apply", &broken.display().to_string(), "--yes"]);
    assert_eq!(refused.status.code(), Some(2));
}
