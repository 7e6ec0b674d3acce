//! `weltenwind bench revoke`: how long a socket stays open once its session was ended, on the same node and on another.
//!
//! Whoever ends sessions, the sockets and their clock are one process, so no clocks are compared. The time begins when the
//! request leaves and ends when the close frame is read.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use clap::Args;
use serde::Serialize;
use tokio::{sync::Semaphore, task::JoinSet};
use weltenwind_core::wire::SessionBody;

use super::{
    Waits,
    nodes::{joined, sign_in},
    socket,
};
use crate::{failure::Failure, output::Output};

#[derive(Debug, Args)]
pub(crate) struct RevokeArgs {
    /// Where a node listens: `http://127.0.0.1:8080`. Give it twice, once for each node.
    #[arg(long = "url", value_name = "URL", required = true)]
    urls: Vec<String>,
    /// Sockets, each of a guest of its own, every other one on the other node.
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(4..=20_000))]
    sockets: u32,
    /// Sessions that are ended a second, every other one by the node that does not hold the socket.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=2000))]
    rate: u32,
}

/// One row of the answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Measured {
    ended_by: &'static str,
    sockets: usize,
    still_open: usize,
    p50_ms: f64,
    p95_ms: f64,
    p99_ms: f64,
    max_ms: f64,
}

/// What a socket is closed with when its session has ended.
const SESSION_ENDED: u16 = 4201;
/// Sign-ins and sockets that are opened at once.
const OPENING: usize = 32;
/// How long a socket may stay open before it counts as never closed.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) async fn run(args: &RevokeArgs, output: Output) -> Result<(), Failure> {
    let [here, there] = args.urls.as_slice() else {
        return Err(Failure::usage("bench revoke takes --url twice, once for each node"));
    };
    let nodes = [here.trim_end_matches('/').to_owned(), there.trim_end_matches('/').to_owned()];
    let measured = measure(args, &nodes).await?;
    let header = ["ended by", "sockets", "still open", "p50 ms", "p95 ms", "p99 ms", "max ms"];
    output.list(&measured, &header, |row| {
        let mut cells = vec![row.ended_by.to_owned(), row.sockets.to_string(), row.still_open.to_string()];
        cells.extend([row.p50_ms, row.p95_ms, row.p99_ms, row.max_ms].map(|ms| format!("{ms:.2}")));
        cells
    })
}

async fn measure(args: &RevokeArgs, nodes: &[String; 2]) -> Result<[Measured; 2], Failure> {
    let (mut opening, places) = (JoinSet::new(), Arc::new(Semaphore::new(OPENING)));
    for n in 0..args.sockets as usize {
        let (url, places) = (nodes[n % 2].clone(), Arc::clone(&places));
        opening.spawn(async move {
            let _place = places.acquire_owned().await.expect("nobody closes the semaphore");
            let session = sign_in(&url, &format!("Guest {n}")).await?;
            let socket = socket::open(&url, &session.access_token).await?;
            Ok::<_, Failure>((n, session, socket))
        });
    }
    let (mut signed_in, mut closing) = (Vec::new(), JoinSet::new());
    while let Some(opened) = opening.join_next().await {
        let (n, session, socket) = joined(opened)??;
        signed_in.push((n, session));
        closing.spawn(async move {
            let closed = socket.closed().await?;
            Ok::<_, Failure>((n, closed))
        });
    }

    let http = reqwest::Client::new();
    let mut ending = JoinSet::new();
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / args.rate);
    for (n, session) in signed_in {
        ticks.tick().await;
        let (http, url) = (http.clone(), nodes[(n + ends_elsewhere(n)) % 2].clone());
        ending.spawn(async move {
            let sent = Instant::now();
            end(&http, &url, &session).await?;
            Ok::<_, Failure>((n, sent))
        });
    }
    let mut sent = vec![None; args.sockets as usize];
    while let Some(ended) = ending.join_next().await {
        let (n, at) = joined(ended)??;
        sent[n] = Some(at);
    }

    let mut waits = [Vec::new(), Vec::new()];
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while let Ok(Some(closed)) = tokio::time::timeout_at(deadline, closing.join_next()).await {
        let (n, (code, at)) = joined(closed)??;
        if code != SESSION_ENDED {
            return Err(Failure::failed(format!("a socket was closed with {code} instead of {SESSION_ENDED}")));
        }
        let sent = sent[n].ok_or_else(|| Failure::failed("a socket was closed before its session was ended"))?;
        waits[ends_elsewhere(n)].push(at.saturating_duration_since(sent));
    }
    let expected = [0, 1].map(|place| (0..args.sockets as usize).filter(|n| ends_elsewhere(*n) == place).count());
    let [home, away] = waits.map(Waits::new);
    let row = |ended_by, expected: usize, waits: &Waits| Measured {
        ended_by,
        sockets: expected,
        still_open: expected.saturating_sub(waits.count()),
        p50_ms: waits.at(50),
        p95_ms: waits.at(95),
        p99_ms: waits.at(99),
        max_ms: waits.longest(),
    };
    Ok([row("same node", expected[0], &home), row("other node", expected[1], &away)])
}

/// Of the sockets on either node, every other one is ended by the other node.
const fn ends_elsewhere(n: usize) -> usize {
    n / 2 % 2
}

/// Has somebody end the session that they are signed in with.
async fn end(http: &reqwest::Client, node: &str, session: &SessionBody) -> Result<(), Failure> {
    let request = http
        .delete(format!("{node}/api/v1/users/me/sessions/{}", session.session_id))
        .bearer_auth(&session.access_token);
    let response = request.send().await.and_then(reqwest::Response::error_for_status);
    response.map(drop).map_err(|error| Failure::failed(format!("{node} does not end a session: {error}")))
}
