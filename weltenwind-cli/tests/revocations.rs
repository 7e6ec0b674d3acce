//! Sessions and devices that end on one node end on all of them, whatever fails between.

mod fixture;
#[path = "../../weltenwind-storage/tests/redis_server/mod.rs"]
mod redis_server;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use fixture::{Guest, PATIENCE, Server, Socket, Store};
use redis_server::RedisServer;
use serde_json::{Value, json};
use sqlx::{Connection as _, SqliteConnection};
use tokio::task::JoinSet;

/// Sockets look for themselves every 25 seconds; what ends them long before that is the log of losses.
const LONG_BEFORE_THE_NEXT_LOOK: Duration = Duration::from_secs(10);

fn serve(store: &Store, redis: Option<&RedisServer>) -> Server {
    let redis = redis.map(|redis| format!("redis.url={}", redis.url()));
    // One address for all, as behind a balancer: a token of one node holds on the other.
    let mut args = vec!["--set", "public_url=http://wind.test"];
    args.extend(redis.iter().flat_map(|redis| ["--set", redis.as_str()]));
    store.serve(&args)
}

async fn sign_out(node: &Server, guest: &Guest) {
    let (status, answer) = node.post("/api/v1/auth/logout", Some(&guest.token), &json!({})).await;
    assert_eq!(status, 204, "{answer}");
}

/// Waits for a socket's end, and answers its close code.
async fn end_of(mut socket: Socket, since: Instant) -> i64 {
    let bye = socket.next_of("bye").await;
    assert!(since.elapsed() < LONG_BEFORE_THE_NEXT_LOOK, "{:?}", since.elapsed());
    assert!(socket.next().await.is_none(), "nothing comes behind it");
    bye["code"].as_i64().expect("a code")
}

async fn own_device(node: &Server, guest: &Guest) -> String {
    let (status, devices) = node.get_as("/api/v1/users/me/devices", &guest.token).await;
    assert_eq!(status, 200, "{devices}");
    devices["items"][0]["id"].as_str().expect("an id").to_owned()
}

/// A session that ends here, and a device that ends here, end there.
async fn losses_cross(here: &Server, there: &Server) {
    for what in ["session", "device"] {
        let guest = here.guest("Mira").await;
        let (near, far) = (here.socket(&guest).await, there.socket(&guest).await);
        let bystander = there.guest("Lu").await;
        let mut other = there.socket(&bystander).await;
        other.next_of("welcome").await;
        let since = Instant::now();

        let expected = if what == "session" {
            sign_out(here, &guest).await;
            4201
        } else {
            let path = format!("/api/v1/users/me/devices/{}", own_device(here, &guest).await);
            assert_eq!(here.delete(&path, &guest.token).await.0, 204);
            4200
        };

        assert_eq!((end_of(near, since).await, end_of(far, since).await), (expected, expected), "{what}");
        let (status, problem) = there.get_as("/api/v1/users/me", &guest.token).await;
        let code = if what == "session" { "session-ended" } else { "device-revoked" };
        assert_eq!((status, problem["code"].as_str()), (401, Some(code)));
        assert!(there.try_socket(Some(&guest.token), None).await.is_err());
        other.send(&json!({ "t": "leave", "id": 1, "room": "global" })).await;
        assert_eq!(other.next().await.expect("it is open")["code"], "not-joined");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs WW_TEST_POSTGRES_DURABLE_URL"]
async fn a_session_that_ends_on_one_node_ends_on_the_other_with_and_without_redis() {
    let (store, redis) = (Store::postgres().await, RedisServer::start());
    let nodes = [(); 2].map(|()| serve(&store, Some(&redis)));
    losses_cross(&nodes[0], &nodes[1]).await;

    redis.kill();
    losses_cross(&nodes[1], &nodes[0]).await;
    redis.start_again();
    // Whether or not the nodes have found it by now.
    losses_cross(&nodes[0], &nodes[1]).await;
    redis.pause();
    losses_cross(&nodes[1], &nodes[0]).await;
    redis.resume();

    drop(nodes);
    store.drop_database().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs WW_TEST_POSTGRES_DURABLE_URL"]
async fn nodes_without_a_bus_hear_of_losses_too() {
    let store = Store::postgres().await;
    let nodes = [(); 2].map(|()| serve(&store, None));

    losses_cross(&nodes[0], &nodes[1]).await;

    drop(nodes);
    store.drop_database().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs WW_TEST_POSTGRES_DURABLE_URL"]
async fn a_node_that_starts_knows_what_ended_while_it_was_away() {
    let store = Store::postgres().await;
    let (here, there) = (serve(&store, None), serve(&store, None));
    let (ended, signed_out) = (here.guest("Mira").await, here.guest("Oskar").await);
    let stays = here.guest("Lu").await;
    there.socket(&ended).await;
    there.kill();

    sign_out(&here, &ended).await;
    let path = format!("/api/v1/users/me/devices/{}", own_device(&here, &signed_out).await);
    assert_eq!(here.delete(&path, &signed_out.token).await.0, 204);
    let there = tokio::task::block_in_place(|| serve(&store, None));

    for (guest, code) in [(&ended, "session-ended"), (&signed_out, "device-revoked")] {
        let (status, problem) = there.get_as("/api/v1/users/me", &guest.token).await;
        assert_eq!((status, problem["code"].as_str()), (401, Some(code)));
        assert!(there.try_socket(Some(&guest.token), None).await.is_err());
    }
    there.socket(&stays).await.next_of("welcome").await;
    drop((here, there));
    store.drop_database().await;
}

/// The node that ends sessions dies in the middle of it, so it cannot have told anybody. What it acknowledged, and whatever
/// else it committed, the other node finds in the log.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs WW_TEST_POSTGRES_DURABLE_URL"]
async fn a_node_that_is_killed_while_sessions_end_leaves_none_of_them_open() {
    let (store, redis) = (Store::postgres().await, RedisServer::start());
    let (dying, living) = (Arc::new(serve(&store, Some(&redis))), serve(&store, Some(&redis)));
    let mut guests = Vec::new();
    for n in 0..60 {
        let guest = living.guest(&format!("Guest {n}")).await;
        let mut socket = living.socket(&guest).await;
        socket.next_of("welcome").await;
        guests.push((guest, socket));
    }
    let mut calls = JoinSet::new();
    for (n, (guest, _)) in guests.iter().enumerate() {
        let (dying, token) = (Arc::clone(&dying), guest.token.clone());
        calls.spawn(async move {
            tokio::time::sleep(Duration::from_millis(10) * u32::try_from(n / 4).expect("few")).await;
            let answer = dying.try_post("/api/v1/auth/logout", &token, &json!({})).await;
            (n, answer.is_some_and(|(status, _)| status == 204))
        });
    }
    let _ = calls.join_next().await.expect("one has ended");

    let killed = std::process::Command::new("kill").args(["-9", &dying.id().to_string()]).status();
    assert!(killed.expect("kill runs").success());
    calls.join_all().await;

    let mut ended = 0;
    for (guest, mut socket) in guests {
        // The store says what became of each; none is open that has ended.
        let (status, _) = living.get_as("/api/v1/users/me", &guest.token).await;
        if status == 401 {
            ended += 1;
            assert_eq!(tokio::time::timeout(PATIENCE, socket.next_of("bye")).await.expect("in time")["code"], 4201);
        } else {
            socket.send(&json!({ "t": "leave", "id": 1, "room": "global" })).await;
            assert_eq!(socket.next_of("err").await["code"], "not-joined");
        }
    }
    assert!(ended > 0, "some were signed out");
    drop((dying, living));
    store.drop_database().await;
}

fn json_of(store: &Store, args: &[&str]) -> Value {
    let output = store.run(args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("one JSON document")
}

async fn registered(server: &Server, username: &str) -> Guest {
    let body = json!({ "username": username, "password": "correct horse battery", "device": { "name": "phone" } });
    let (status, session) = server.post("/api/v1/auth/register", None, &body).await;
    assert_eq!(status, 201, "{session}");
    guest_of(&session)
}

fn guest_of(session: &Value) -> Guest {
    Guest {
        token: session["accessToken"].as_str().expect("a token").to_owned(),
        id: session["user"]["id"].as_str().expect("an id").to_owned(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_lists_and_ends_sessions() {
    let store = Store::sqlite();
    let server = store.serve(&[]);
    let mira = registered(&server, "mira").await;
    let body = json!({ "username": "mira", "password": "correct horse battery" });
    let second = guest_of(&server.post("/api/v1/auth/login", None, &body).await.1);
    let lu = server.guest("Lu").await;
    let (mut mira_socket, lu_socket) = (server.socket(&mira).await, server.socket(&lu).await);
    mira_socket.next_of("welcome").await;

    let listed = json_of(&store, &["session", "list", "--user", "mira", "--json"]);
    let listed = listed.as_array().expect("a list").clone();
    assert_eq!(listed.iter().map(|one| one["user"].as_str()).collect::<Vec<_>>(), [Some("mira"); 2]);
    assert_eq!((&listed[1]["device"]["name"], &listed[1]["userId"]), (&json!("phone"), &json!(mira.id)));
    assert_eq!(json_of(&store, &["session", "list", "--json"]).as_array().expect("a list").len(), 3);
    assert_eq!(json_of(&store, &["session", "list", "--limit", "1", "--json"]).as_array().expect("a list").len(), 1);
    let table = String::from_utf8(store.run(&["session", "list"]).stdout).expect("text");
    assert!(table.trim_start().starts_with("USER") && table.contains("Lu") && table.contains("phone"), "{table}");

    let id = listed[1]["id"].as_str().expect("an id");
    assert_eq!(store.run(&["session", "revoke", id]).status.code(), Some(2), "it asks back");
    assert_eq!(json_of(&store, &["session", "revoke", id, "--dry-run", "--json"]), json!({ "ended": 1 }));
    assert_eq!(server.get_as("/api/v1/users/me", &mira.token).await.0, 200, "nothing was ended");
    let since = Instant::now();
    assert_eq!(json_of(&store, &["session", "revoke", id, "--yes", "--json"]), json!({ "ended": 1 }));
    // Another process: the server finds the loss in the log.
    assert_eq!(end_of(mira_socket, since).await, 4201);
    assert_eq!(server.get_as("/api/v1/users/me", &mira.token).await.0, 401);
    assert_eq!(store.run(&["session", "revoke", id, "--yes"]).status.code(), Some(3), "it has ended");
    assert_eq!(server.get_as("/api/v1/users/me", &second.token).await.0, 200);

    assert_eq!(json_of(&store, &["session", "revoke", "--user", "mira", "--dry-run", "--json"]), json!({ "ended": 1 }));
    let since = Instant::now();
    assert_eq!(json_of(&store, &["session", "revoke", "--user", &lu.id, "--yes", "--json"]), json!({ "ended": 1 }));
    assert_eq!(end_of(lu_socket, since).await, 4201);
    assert_eq!(store.run(&["session", "revoke", "--user", "nobody", "--yes"]).status.code(), Some(3));
    assert_eq!(store.run(&["session", "revoke", "--yes"]).status.code(), Some(2), "it must be said which");
    assert_eq!(store.run(&["session", "revoke", id, "--user", "mira", "--yes"]).status.code(), Some(2));

    let mut database = SqliteConnection::connect(store.url()).await.expect("the store");
    let audited: Vec<String> = sqlx::query_scalar(
        "SELECT action FROM audit_log WHERE action LIKE 'session.end%' AND actor IS NULL ORDER BY id",
    )
    .fetch_all(&mut database)
    .await
    .expect("the audit log");
    assert_eq!(audited, ["session.end", "session.end-others"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn security_events_are_lines_that_nobody_forges() {
    const FORGED: &str = "\n2026-01-01T00:00:00.000Z weltenwind security: event=auth_login_failed ip=198.51.100.66 ";

    let store = Store::sqlite();
    let log = store.path().with_file_name("security.log");
    let place = format!("log.security={}", log.display());
    let server =
        store.serve(&["--set", &place, "--set", "trusted_proxies=[\"127.0.0.0/8\"]", "--set", "log.filter=error"]);
    registered(&server, "mira").await;
    let client = reqwest::Client::new();
    let login = |username: String, address: &'static str| {
        let body = json!({ "username": username, "password": FORGED });
        client
            .post(format!("{}/api/v1/auth/login", server.url))
            .header("x-forwarded-for", address)
            .header("x-request-id", "request-of-a-proxy")
            .json(&body)
            .send()
    };

    assert_eq!(login("mira".to_owned(), "203.0.113.7").await.expect("an answer").status(), 401);
    assert_eq!(login(FORGED.to_owned(), "2001:db8::7").await.expect("an answer").status(), 401);
    let forged_origin = "https://evil.test/%0A ip=198.51.100.66 event=auth_login_failed";
    assert!(server.try_socket(None, Some(forged_origin)).await.is_err());
    let (code, stderr) = server.stop();
    assert_eq!(code, Some(0), "{stderr}");

    let log = std::fs::read_to_string(log).expect("the security log");
    let lines: Vec<&str> = log.lines().collect();
    let rest: Vec<&str> =
        lines.iter().map(|line| line.split_once("Z weltenwind security: ").expect("its form").1).collect();
    assert_eq!(rest.len(), 3, "{log}");
    let known = "account=- reason=invalid-credentials request_id=request-of-a-proxy";
    assert_eq!(rest[0], format!("event=auth_login_failed ip=203.0.113.7 {known}"));
    assert_eq!(rest[1], format!("event=auth_login_failed ip=2001:db8::7 {known}"));
    assert!(
        rest[2]
            .starts_with("event=ws_origin_rejected ip=127.0.0.1 account=- reason=origin:https://evil.test/%250A%20ip")
    );
    assert!(!log.contains("ip=198.51.100.66"), "{log}");
    assert!(!stderr.contains("weltenwind security"), "{stderr}");
}
