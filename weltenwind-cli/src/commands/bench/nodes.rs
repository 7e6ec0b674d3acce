//! `weltenwind bench nodes`: how long a message takes from one running node to listeners on another.
//!
//! Posters, listeners and their clock are one process, so no clocks are compared. What it measures includes the sender's and
//! the receiver's own work: on a machine that also runs the nodes, figures are worse than players would see.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use clap::Args;
use serde::Serialize;
use tokio::{sync::Semaphore, task::JoinSet};
use weltenwind_core::{
    Actor, ChannelId, Scope,
    chat::{ChannelDraft, Chat},
    wire::SessionBody,
};
use weltenwind_storage::StorageConfig;

use super::{
    Waits,
    socket::{self, Times},
};
use crate::{failure::Failure, output::Output, store::unopened};

#[derive(Debug, Args)]
pub(crate) struct NodesArgs {
    /// Where a node listens: `http://127.0.0.1:8080`. Give it twice, once for each node.
    #[arg(long = "url", value_name = "URL", required = true)]
    urls: Vec<String>,
    /// The store that both nodes use, to make rooms in; storage.url if absent. The rooms are closed afterwards, their
    /// messages stay.
    #[arg(long, value_name = "URL")]
    database: Option<String>,
    /// Rooms, each with a poster on either node.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=200))]
    rooms: u32,
    /// Listeners in each room, every other one on the other node.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(2..=500))]
    listeners: u32,
    /// Messages a second, in all rooms together.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rate: u32,
    /// Seconds of posting; the first one warms up and does not count.
    #[arg(long, default_value_t = 11, value_parser = clap::value_parser!(u64).range(2..=60))]
    seconds: u64,
}

/// One row of the answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Measured {
    heard_on: &'static str,
    messages_per_second: u64,
    deliveries: usize,
    missing: usize,
    p50_ms: f64,
    p95_ms: f64,
    p99_ms: f64,
    max_ms: f64,
}

/// How long stragglers are waited for.
const PATIENCE: Duration = Duration::from_secs(6);
const WARM_UP: Duration = Duration::from_secs(1);
/// Sockets that are opened at once.
const OPENING: usize = 32;

pub(crate) async fn run(args: &NodesArgs, storage: StorageConfig, output: Output) -> Result<(), Failure> {
    let [here, there] = args.urls.as_slice() else {
        return Err(Failure::usage("bench nodes takes --url twice, once for each node"));
    };
    let nodes = [here.trim_end_matches('/').to_owned(), there.trim_end_matches('/').to_owned()];
    let storage = args.database.as_ref().map_or(storage.clone(), |url| StorageConfig { url: url.clone(), ..storage });
    let stores = weltenwind_storage::open(&storage).await.map_err(unopened)?;
    let chat = Chat::builder(Arc::clone(&stores.chat)).build();
    let operator = Actor::operator();
    let mut rooms = Vec::new();
    for n in 0..args.rooms {
        let draft = ChannelDraft::new(Scope::Global, &format!("bench-{}-{n}", std::process::id()), "Bench");
        rooms.push(chat.open_channel(&operator, draft).await?.id);
    }
    let measured = measure(args, &nodes, &rooms).await;
    for room in rooms {
        chat.close_channel(&operator, room, None).await?;
    }
    stores.health.close().await;
    let header = ["heard on", "messages/s", "deliveries", "missing", "p50 ms", "p95 ms", "p99 ms", "max ms"];
    output.list(&measured?, &header, |row| {
        let mut cells = vec![row.heard_on.to_owned(), row.messages_per_second.to_string()];
        cells.extend([row.deliveries, row.missing].map(|count| count.to_string()));
        cells.extend([row.p50_ms, row.p95_ms, row.p99_ms, row.max_ms].map(|ms| format!("{ms:.2}")));
        cells
    })
}

async fn measure(args: &NodesArgs, nodes: &[String; 2], rooms: &[ChannelId]) -> Result<[Measured; 2], Failure> {
    let clock = Instant::now();
    let stop = Arc::new(AtomicBool::new(false));
    let token = sign_in(&nodes[0], "Listener").await?.access_token;
    let mut opening = JoinSet::new();
    let places = Arc::new(Semaphore::new(OPENING));
    for n in 0..rooms.len() * args.listeners as usize {
        let (room, node) = (n % rooms.len(), n / rooms.len() % 2);
        let (url, token, id) = (nodes[node].clone(), token.clone(), rooms[room]);
        let places = Arc::clone(&places);
        opening.spawn(async move {
            let _place = places.acquire_owned().await.expect("nobody closes the semaphore");
            let mut listener = socket::open(&url, &token).await?;
            listener.join(id).await?;
            Ok::<_, Failure>((listener, node))
        });
    }
    let mut listeners = JoinSet::new();
    while let Some(opened) = opening.join_next().await {
        let (listener, node) = joined(opened)??;
        let stop = Arc::clone(&stop);
        listeners.spawn(async move { (node, listener.listen(clock, &stop).await) });
    }

    let mut posters = Vec::new();
    for n in 0..rooms.len() * 2 {
        let (room, node) = (rooms[n / 2], n % 2);
        let session = sign_in(&nodes[node], &format!("Poster {n}")).await?;
        let mut poster = socket::open(&nodes[node], &session.access_token).await?;
        poster.join(room).await?;
        posters.push((poster, room, node));
    }

    let begun = clock.elapsed();
    let (from, until) = (begun + WARM_UP, begun + Duration::from_secs(args.seconds));
    let pause = Duration::from_secs(1) * args.rooms * 2 / args.rate;
    let mut posting = JoinSet::new();
    for (n, (poster, room, node)) in (0..).zip(posters) {
        // Not all at the same moment.
        let times = Times { start: begun + pause * n / (args.rooms * 2), pause, until };
        posting.spawn(poster.post(room, node, clock, times));
    }
    let mut posted = 0;
    while let Some(poster) = posting.join_next().await {
        posted += joined(poster)??.into_iter().filter(|stamp| stamp.is_in(from, until)).count();
    }
    let expected = posted * args.listeners as usize / 2;
    tokio::time::sleep(PATIENCE).await;
    stop.store(true, Ordering::Relaxed);
    let mut waits = [Vec::new(), Vec::new()];
    while let Some(listener) = listeners.join_next().await {
        let (node, heard) = joined(listener)?;
        for (stamp, wait) in heard? {
            if stamp.is_in(from, until) {
                waits[usize::from(stamp.node != node)].push(wait);
            }
        }
    }
    let [home, away] = waits.map(Waits::new);
    let row = |heard_on, waits: &Waits| Measured {
        heard_on,
        messages_per_second: posted as u64 / (args.seconds - WARM_UP.as_secs()).max(1),
        deliveries: waits.count(),
        missing: expected.saturating_sub(waits.count()),
        p50_ms: waits.at(50),
        p95_ms: waits.at(95),
        p99_ms: waits.at(99),
        max_ms: waits.longest(),
    };
    Ok([row("same node", &home), row("other node", &away)])
}

pub(super) fn joined<T>(ended: Result<T, tokio::task::JoinError>) -> Result<T, Failure> {
    ended.map_err(|error| Failure::failed(format!("a client ended badly: {error}")))
}

/// Makes a guest.
pub(super) async fn sign_in(node: &str, name: &str) -> Result<SessionBody, Failure> {
    let unanswered = |error: reqwest::Error| Failure::failed(format!("{node} does not take guests: {error}"));
    let request = reqwest::Client::new()
        .post(format!("{node}/api/v1/auth/guest"))
        .json(&serde_json::json!({ "displayName": name }));
    let response = request.send().await.and_then(reqwest::Response::error_for_status).map_err(unanswered)?;
    response.json().await.map_err(unanswered)
}
