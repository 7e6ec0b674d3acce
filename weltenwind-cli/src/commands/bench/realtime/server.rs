//! The servers that are measured: started for one run and ended after it, so that no run inherits another's memory.

use std::{net::SocketAddr, process::Stdio};

use clap::ValueEnum;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

use super::dialect::Dialect;
use crate::failure::Failure;

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Server {
    Weltenwind,
    Beside(Peer),
}

/// What is measured beside, by the same clients in the same run. Neither keeps a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Peer {
    /// What any server needs: it numbers messages and writes them, a write for each socket and turn of its loop.
    Floor,
    /// socket.io with rooms; set up by `npm ci --prefix benches/socketio-rooms`, run from the project's folder.
    #[value(name = "socketio")]
    SocketIo,
}

impl Server {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Weltenwind => "weltenwind",
            Self::Beside(Peer::Floor) => "floor",
            Self::Beside(Peer::SocketIo) => "socket.io",
        }
    }

    pub(super) const fn dialect(self) -> Dialect {
        match self {
            Self::Weltenwind | Self::Beside(Peer::Floor) => Dialect::Weltenwind,
            Self::Beside(Peer::SocketIo) => Dialect::SocketIo,
        }
    }
}

/// How servers are started.
#[derive(Debug, Clone)]
pub(crate) struct Start {
    pub(crate) core: Option<usize>,
    pub(crate) nodes: usize,
    pub(crate) database: String,
    pub(crate) redis: Option<String>,
    /// Further settings of the server, as `KEY=VALUE`.
    pub(crate) settings: Vec<String>,
}

/// What a server is told so that nothing but its work bounds a run.
pub(super) const SETTINGS: [&str; 18] = [
    "log.filter=error",
    "auth.access_token_seconds=3600",
    "realtime.max_connections=20000",
    "realtime.max_connections_per_address=20000",
    "limits.auth=1000000/s",
    "limits.guest=1000000/s",
    "limits.read=1000000/s",
    "limits.read_anonymous=1000000/s",
    "limits.write=1000000/s",
    "limits.chat=1000000/s",
    "limits.chat_room=1000000/s",
    "limits.join=1000000/s",
    "limits.notification=1000000/s",
    "realtime.bytes_per_second=1000000000",
    // Tokens of one node hold on another and after a restart.
    "public_url=http://bench.invalid",
    // They say how much they have told.
    "ops.listen=127.0.0.1:0",
    // In `ephemeral` who is writing is told each time, and all who are there are listed.
    "presence.typing_seconds=0",
    "presence.max_members=20000",
];

/// A server's nodes, which end when this is dropped.
#[derive(Debug, Default)]
pub(crate) struct Running {
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) processes: Vec<u32>,
    /// Where those that say so answer with their metrics.
    pub(crate) metrics: Vec<String>,
    children: Vec<(Child, Lines<BufReader<ChildStdout>>)>,
}

/// A node that listens.
struct Node {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    address: SocketAddr,
    metrics: Option<String>,
}

impl Start {
    /// Starts a server's nodes, and waits until each says where it listens.
    pub(crate) async fn run(&self, server: Server) -> Result<Running, Failure> {
        let mut running = Running::default();
        // Floors know nothing of each other.
        let nodes = if server == Server::Beside(Peer::Floor) { 1 } else { self.nodes };
        for _ in 0..nodes {
            let Node { child, lines, address, metrics } = self.node(server).await?;
            let id = child.id().ok_or_else(|| Failure::failed(format!("{} has ended", server.name())))?;
            running.addresses.push(address);
            running.processes.push(id);
            running.metrics.extend(metrics);
            running.children.push((child, lines));
        }
        Ok(running)
    }

    async fn node(&self, server: Server) -> Result<Node, Failure> {
        let name = server.name();
        let failed = |error: &dyn std::fmt::Display| Failure::failed(format!("{name} does not start: {error}"));
        let program = std::env::current_exe().map_err(|error| failed(&error))?;
        let mut command = match server {
            Server::Weltenwind => {
                let mut command = pinned(program.as_os_str(), self.core);
                command.args(["serve", "--no-welcome", "--listen", "127.0.0.1:0", "--database", &self.database]);
                for setting in SETTINGS.into_iter().chain(self.settings.iter().map(String::as_str)) {
                    command.args(["--set", setting]);
                }
                command.args(self.redis.iter().flat_map(|url| ["--set".to_owned(), format!("redis.url={url}")]));
                command
            }
            Server::Beside(Peer::Floor) => {
                let mut command = pinned(program.as_os_str(), self.core);
                command.args(["bench", "floor"]);
                command
            }
            Server::Beside(Peer::SocketIo) => {
                let mut command = pinned("node".as_ref(), self.core);
                command.arg("benches/socketio-rooms/server.js");
                command.envs(self.redis.iter().map(|url| ("REDIS_URL", url)));
                command
            }
        };
        let started = command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true).spawn();
        let mut child = started.map_err(|error| failed(&error))?;
        let mut lines = BufReader::new(child.stdout.take().expect("it was piped")).lines();
        let mut metrics = None;
        while let Some(line) = lines.next_line().await.map_err(|error| failed(&error))? {
            if let Some(address) = line.strip_prefix("Operations ") {
                let address = address.trim().split_once("/readyz").map_or(address, |(address, _)| address);
                metrics = Some(format!("{address}/metrics"));
            }
            if let Some(address) = line.strip_prefix("Listening ") {
                let address = address.trim().trim_start_matches("http://");
                return Ok(Node { child, lines, address: address.parse().map_err(|error| failed(&error))?, metrics });
            }
        }
        let failure = failed(&"it says no address");
        Err(match server {
            Server::Beside(Peer::SocketIo) => failure
                .hint("set it up with `npm ci --prefix benches/socketio-rooms`, and start in the project's folder"),
            _ => failure,
        })
    }
}

/// Adds up the records that nodes have written to sockets so far, as they say; none if none of them does.
pub(super) async fn told_by(metrics: &[String]) -> Result<Option<u64>, Failure> {
    let failed = |error: reqwest::Error| Failure::failed(format!("a server does not tell its metrics: {error}"));
    let mut sum = None;
    for url in metrics {
        let text = reqwest::get(url).await.map_err(failed)?.text().await.map_err(failed)?;
        let line = text.lines().find_map(|line| line.strip_prefix(r#"weltenwind_ws_records_total{direction="out"} "#));
        let told = line.and_then(|told| told.parse::<u64>().ok());
        let told = told.ok_or_else(|| Failure::failed("a server does not count what it tells"))?;
        sum = Some(sum.unwrap_or(0) + told);
    }
    Ok(sum)
}

impl Running {
    /// Nodes that somebody else started and ends.
    pub(super) fn elsewhere(addresses: Vec<SocketAddr>) -> Self {
        Self { addresses, ..Self::default() }
    }

    /// Ends the nodes at once: they have nothing to say to anybody any more.
    pub(crate) async fn end(self) -> Result<(), Failure> {
        for (mut child, _) in self.children {
            child.kill().await.map_err(|error| Failure::failed(format!("a server does not end: {error}")))?;
        }
        Ok(())
    }
}

/// Makes a command that stays on one core.
pub(super) fn pinned(program: &std::ffi::OsStr, core: Option<usize>) -> Command {
    let Some(core) = core else { return Command::new(program) };
    let mut command = Command::new("taskset");
    command.args(["-c", &core.to_string()]).arg(program);
    command
}
