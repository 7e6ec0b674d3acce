//! Readers over HTTP, each on a connection of its own.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::super::{load::Connection, nodes::joined};
use crate::failure::Failure;

/// Connections that read at once.
const CONNECTIONS: usize = 8;

/// The head of a request.
pub(super) fn get(address: &str, path: &str, token: &str, tag: Option<&str>) -> String {
    let tag = tag.map_or_else(String::new, |tag| format!("if-none-match: {tag}\r\n"));
    format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\n{tag}\r\n")
}

pub(super) fn unread(error: impl std::fmt::Display) -> Failure {
    Failure::failed(format!("a page was not read: {error}"))
}

/// Reads that are asked for at a rate, until they are stopped.
#[derive(Debug)]
pub(super) struct Reading {
    readers: JoinSet<Result<Vec<Duration>, Failure>>,
    stop: CancellationToken,
}

impl Reading {
    /// Begins to read: any of `requests` in turn, each answered with `status`.
    pub(super) fn start(address: &str, requests: Vec<String>, status: u16, per_second: u32) -> Self {
        let (mut readers, stop) = (JoinSet::new(), CancellationToken::new());
        let requests: Arc<[String]> = requests.into();
        let pace = Duration::from_secs(1) / per_second;
        for n in 0..CONNECTIONS {
            let begin = Instant::now() + pace * u32::try_from(n).unwrap_or_default();
            let every = pace * u32::try_from(CONNECTIONS).unwrap_or(1);
            let (address, requests, stop) = (address.to_owned(), Arc::clone(&requests), stop.clone());
            readers.spawn(async move {
                let mut connection = Connection::open(&address).await.map_err(unread)?;
                let (mut waits, mut due) = (Vec::new(), begin);
                // A prime keeps the connections apart on the way through the requests.
                let mut turn = n * 7919;
                loop {
                    // Who is late because the last answer was counts from when it was due.
                    let asked = if Instant::now() > due { due } else { sleep_until(due).await };
                    if stop.is_cancelled() {
                        return Ok(waits);
                    }
                    let answered = connection.ask(requests[turn % requests.len()].as_bytes()).await.map_err(unread)?;
                    if answered.status != status {
                        return Err(unread(format!("{} instead of {status}", answered.status)));
                    }
                    waits.push(asked.elapsed());
                    turn += 1;
                    due += every;
                }
            });
        }
        Self { readers, stop }
    }

    /// Stops, and returns how long each took.
    pub(super) async fn stop(mut self) -> Result<Vec<Duration>, Failure> {
        self.stop.cancel();
        let mut waits = Vec::new();
        while let Some(reader) = self.readers.join_next().await {
            waits.extend(joined(reader)??);
        }
        Ok(waits)
    }
}

/// Sleeps, and returns when it woke: timers oversleep by up to a millisecond, which is not the server's.
async fn sleep_until(due: Instant) -> Instant {
    tokio::time::sleep_until(due.into()).await;
    Instant::now()
}
