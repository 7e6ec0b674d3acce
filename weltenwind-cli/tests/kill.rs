//! kill -9 while posts are in flight: what was acknowledged is there, once and in order.

mod fixture;

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use fixture::{Guest, PATIENCE, Server, Store};
use serde_json::{Value, json};
use tokio::task::JoinSet;

const ROUNDS: u32 = 3;
const POSTERS: u32 = 8;
/// Acknowledgements after which a round's server is killed, posts still being under way.
const ACKNOWLEDGED: u32 = 400;

/// An acknowledged message: who wrote it, what it said, and the number it was given.
type Acknowledged = (String, String, i64);

async fn nothing_acknowledged_is_lost(store: Store) {
    let mut acknowledged: Vec<Acknowledged> = Vec::new();
    let mut channel = String::new();
    for round in 0..ROUNDS {
        let server = Arc::new(store.serve(&[]));
        channel = server.general().await;
        let count = Arc::new(AtomicU32::new(0));
        let mut posters = JoinSet::new();
        for poster in 0..POSTERS {
            let guest = server.guest(&format!("Poster {poster}")).await;
            let (server, channel, count) = (Arc::clone(&server), channel.clone(), Arc::clone(&count));
            if poster % 2 == 0 {
                posters.spawn(async move { post_over_http(&server, &guest, &channel, round, &count).await });
            } else {
                posters.spawn(async move { post_over_socket(&server, &guest, &channel, round, &count).await });
            }
        }
        let enough = async {
            while count.load(Ordering::SeqCst) < ACKNOWLEDGED {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, enough).await.expect("posts are acknowledged");

        let killed = std::process::Command::new("kill").args(["-9", &server.id().to_string()]).status();
        assert!(killed.expect("kill runs").success());

        while let Some(posted) = posters.join_next().await {
            acknowledged.extend(posted.expect("a poster ends"));
        }
    }

    let server = store.serve(&[]);
    let history = server.history(&channel).await;

    let numbers: Vec<i64> = history.iter().map(|message| message["seq"].as_i64().expect("a number")).collect();
    assert_eq!(numbers, (1..=i64::try_from(history.len()).expect("a count")).collect::<Vec<_>>(), "seq has no holes");
    let mut stored: HashMap<(String, String), Vec<i64>> = HashMap::new();
    for message in &history {
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let key = (text(&message["author"]["id"]), text(&message["body"]));
        stored.entry(key).or_default().push(message["seq"].as_i64().expect("a number"));
    }
    assert!(acknowledged.len() >= (ROUNDS * ACKNOWLEDGED) as usize);
    for (author, body, seq) in acknowledged {
        assert_eq!(stored.get(&(author, body.clone())), Some(&vec![seq]), "{body} is there once, under its number");
    }
    drop(server);
    store.drop_database().await;
}

async fn post_over_http(
    server: &Server,
    guest: &Guest,
    channel: &str,
    round: u32,
    count: &AtomicU32,
) -> Vec<Acknowledged> {
    let mut acknowledged = Vec::new();
    let path = format!("/api/v1/channels/{channel}/messages");
    for n in 0.. {
        let body = format!("round {round} post {n}");
        let message = json!({ "body": body, "clientId": format!("{round}-{n}") });
        let Some((status, answer)) = server.try_post(&path, &guest.token, &message).await else { break };
        assert_eq!(status, 201, "{answer}");
        acknowledged.push((guest.id.clone(), body, answer["seq"].as_i64().expect("a number")));
        count.fetch_add(1, Ordering::SeqCst);
    }
    acknowledged
}

async fn post_over_socket(
    server: &Server,
    guest: &Guest,
    channel: &str,
    round: u32,
    count: &AtomicU32,
) -> Vec<Acknowledged> {
    /// Posts under way at once on one socket.
    const AHEAD: i64 = 8;

    let mut acknowledged = Vec::new();
    let mut socket = server.socket(guest).await;
    socket.join(channel, None).await;
    let room = format!("channel:{channel}");
    let body = |n: i64| format!("round {round} post {n}");
    let publish =
        |n: i64| json!({ "t": "pub", "id": n, "room": room, "clientId": format!("{round}-{n}"), "body": body(n) });
    for n in 0..AHEAD {
        socket.send(&publish(n)).await;
    }
    let mut next = AHEAD;
    let mut last = 0;
    while let Some(record) = socket.next().await {
        if record["t"] != "ok" {
            assert_ne!(record["t"], "err", "{record}");
            continue;
        }
        let (n, seq) = (record["id"].as_i64().expect("an id"), record["message"]["seq"].as_i64().expect("a number"));
        assert!(seq > last, "posts of one socket keep their order");
        last = seq;
        acknowledged.push((guest.id.clone(), body(n), seq));
        count.fetch_add(1, Ordering::SeqCst);
        if !socket.try_send(&publish(next)).await {
            break;
        }
        next += 1;
    }
    acknowledged
}

mod sqlite {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn nothing_acknowledged_is_lost() {
        super::nothing_acknowledged_is_lost(Store::sqlite()).await;
    }
}

mod postgres {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "needs WW_TEST_POSTGRES_DURABLE_URL"]
    async fn nothing_acknowledged_is_lost() {
        super::nothing_acknowledged_is_lost(Store::postgres().await).await;
    }
}
