//! `weltenwind bench load`: the clients of a bench, as a process of their own that can be kept on a core of its own.
//!
//! The clients speak just enough HTTP/1.1 for a server on loopback that names every body's length: what generates the load
//! should cost a fraction of what is measured, and a full client costs more than the server's answer.

use std::{
    collections::HashMap,
    io,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    process::Command,
    task::JoinSet,
};

use super::Waits;
use crate::failure::Failure;

/// What the clients do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Load {
    /// `127.0.0.1:8080`.
    pub(crate) address: String,
    /// What is read, in turn; each client begins at another.
    pub(crate) paths: Vec<String>,
    /// The token of the header `Authorization`.
    pub(crate) token: Option<String>,
    /// Whether clients send the ETag they were given for a path before.
    pub(crate) remembers_tags: bool,
    pub(crate) clients: usize,
    pub(crate) seconds: u64,
}

/// What they saw.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Seen {
    pub(crate) requests: usize,
    pub(crate) per_second: u64,
    pub(crate) not_modified: usize,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
}

impl Load {
    /// Runs the clients as a process, on core `core` if one is named.
    pub(crate) async fn apart(&self, core: Option<usize>) -> Result<Seen, Failure> {
        let failed = |error: &dyn std::fmt::Display| Failure::failed(format!("the load did not run: {error}"));
        let program = std::env::current_exe().map_err(|error| failed(&error))?;
        let mut command = match core {
            Some(core) => {
                let mut command = Command::new("taskset");
                command.args(["-c", &core.to_string()]).arg(program);
                command
            }
            None => Command::new(program),
        };
        command.args(["bench", "load"]).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().map_err(|error| failed(&error))?;
        let task = serde_json::to_vec(self).map_err(|error| failed(&error))?;
        let mut stdin = child.stdin.take().expect("it was piped");
        stdin.write_all(&task).await.map_err(|error| failed(&error))?;
        drop(stdin);
        let answer = child.wait_with_output().await.map_err(|error| failed(&error))?;
        if !answer.status.success() {
            return Err(failed(&answer.status));
        }
        serde_json::from_slice(&answer.stdout).map_err(|error| failed(&error))
    }
}

/// Reads the task from standard input and writes what was seen to standard output.
pub(crate) async fn run() -> Result<(), Failure> {
    let load: Load = serde_json::from_reader(io::stdin().lock())
        .map_err(|error| Failure::usage(format!("the load on standard input is not readable: {error}")))?;
    let seen = measure(Arc::new(load)).await?;
    serde_json::to_writer(io::stdout().lock(), &seen).map_err(|error| Failure::failed(error.to_string()))
}

async fn measure(load: Arc<Load>) -> Result<Seen, Failure> {
    let stop = Arc::new(AtomicBool::new(false));
    let mut clients = JoinSet::new();
    for n in 0..load.clients {
        clients.spawn(read(Arc::clone(&load), n, Arc::clone(&stop)));
    }
    let begun = Instant::now();
    tokio::time::sleep(Duration::from_secs(load.seconds)).await;
    stop.store(true, Ordering::Relaxed);
    let (mut waits, mut not_modified) = (Vec::new(), 0);
    while let Some(client) = clients.join_next().await {
        let client = client.map_err(|error| Failure::failed(format!("a client ended badly: {error}")))?;
        let client = client.map_err(|error| Failure::failed(format!("a page was not read: {error}")))?;
        waits.extend(client.waits);
        not_modified += client.not_modified;
    }
    let elapsed = begun.elapsed();
    let waits = Waits::new(waits);
    let per_second = waits.count() as u128 * 1_000_000 / elapsed.as_micros().max(1);
    Ok(Seen {
        requests: waits.count(),
        per_second: u64::try_from(per_second).unwrap_or(u64::MAX),
        not_modified,
        p50_ms: waits.at(50),
        p99_ms: waits.at(99),
    })
}

#[derive(Default)]
struct Client {
    waits: Vec<Duration>,
    not_modified: usize,
}

async fn read(load: Arc<Load>, client: usize, stop: Arc<AtomicBool>) -> io::Result<Client> {
    let mut connection = Connection::open(&load.address).await?;
    let mut seen = Client::default();
    let mut tags: HashMap<usize, String> = HashMap::new();
    let authorization =
        load.token.as_ref().map_or_else(String::new, |token| format!("authorization: Bearer {token}\r\n"));
    // A prime keeps the clients apart on the way through the paths.
    let mut turn = client.wrapping_mul(7919);
    while !stop.load(Ordering::Relaxed) {
        let at = turn % load.paths.len();
        turn = turn.wrapping_add(1);
        let known = tags.get(&at).map_or_else(String::new, |tag| format!("if-none-match: {tag}\r\n"));
        let head = format!("GET {} HTTP/1.1\r\nhost: {}\r\n{authorization}{known}\r\n", load.paths[at], load.address);
        let begun = Instant::now();
        let answer = connection.ask(head.as_bytes()).await?;
        seen.waits.push(begun.elapsed());
        match answer.status {
            304 => seen.not_modified += 1,
            200 => {
                if let Some(tag) = answer.tag.filter(|_| load.remembers_tags) {
                    tags.insert(at, tag);
                }
            }
            status => return Err(io::Error::other(format!("{} answered {status}", load.paths[at]))),
        }
    }
    Ok(seen)
}

/// A connection to a server on loopback.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// Where the body of the last answer begins.
    body: usize,
}

#[derive(Debug)]
pub(super) struct Answered {
    pub(super) status: u16,
    pub(super) tag: Option<String>,
}

impl Connection {
    pub(super) async fn open(address: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::new(), body: 0 })
    }

    /// Returns the body of the last answer.
    pub(super) fn body(&self) -> &[u8] {
        &self.buffer[self.body..]
    }

    /// Sends a request and reads its answer to the end.
    pub(super) async fn ask(&mut self, request: &[u8]) -> io::Result<Answered> {
        self.stream.write_all(request).await?;
        self.buffer.clear();
        let mut searched = 0;
        let end = loop {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let from = searched;
            searched = self.buffer.len().saturating_sub(3);
            if let Some(at) = self.buffer[from..].windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break from + at + 4;
            }
        };
        let unread = || io::Error::new(io::ErrorKind::InvalidData, "the head of an answer");
        let head = std::str::from_utf8(&self.buffer[..end]).map_err(|_| unread())?;
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.get(9..12)?.parse().ok()).ok_or_else(unread)?;
        let (mut length, mut tag) = (None, None);
        for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
            if name.eq_ignore_ascii_case("content-length") {
                length = value.parse::<usize>().ok();
            } else if name.eq_ignore_ascii_case("etag") {
                tag = Some(value.to_owned());
            }
        }
        self.body = end;
        // 304 names the length of a body that it leaves out.
        let length = if status == 304 { 0 } else { length.ok_or_else(unread)? };
        while self.buffer.len() < end + length {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(Answered { status, tag })
    }
}
