//! A Redis of a test's own, to be stopped, killed and started again; the tests of other crates include this file, too.
//!
//! It takes `redis-server` on PATH, listens on loopback alone and keeps nothing, unless its settings say otherwise.

#![allow(dead_code, reason = "every test binary uses another part")]

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Longer than a start takes on the slowest machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running Redis; dropping it ends it.
#[derive(Debug)]
pub(crate) struct RedisServer {
    port: u16,
    settings: Vec<String>,
    folder: tempfile::TempDir,
    process: Mutex<Child>,
}

impl RedisServer {
    /// Starts on a free port.
    pub(crate) fn start() -> Self {
        Self::start_with(&["--save", "", "--appendonly", "no"])
    }

    /// Starts on a free port with settings of its own: arguments of `redis-server`, the first of which may be a file.
    pub(crate) fn start_with(settings: &[&str]) -> Self {
        let settings: Vec<String> = settings.iter().map(|&setting| setting.to_owned()).collect();
        let folder = tempfile::tempdir().expect("a folder");
        for _ in 0..5 {
            let port = free_port();
            // Another process may take the port in between; then Redis ends, and the next try takes another.
            if let Some(process) = run(port, &settings, folder.path()) {
                return Self { port, settings, folder, process: Mutex::new(process) };
            }
        }
        panic!("redis-server does not start");
    }

    /// A cluster of one: what it takes, one of many takes.
    pub(crate) fn start_cluster() -> Self {
        let cluster_port = free_port().to_string();
        Self::start_with(&["--save", "", "--cluster-enabled", "yes", "--cluster-port", &cluster_port])
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    /// SIGKILL: connections break, and nothing is kept that was not written before.
    pub(crate) fn kill(&self) {
        let mut process = self.process();
        process.kill().expect("redis-server is killed");
        process.wait().expect("redis-server has ended");
    }

    /// Starts again after a kill, on the same port.
    pub(crate) fn start_again(&self) {
        *self.process() = run(self.port, &self.settings, self.folder.path()).expect("redis-server starts again");
    }

    /// Has Redis do a command that answers OK.
    pub(crate) fn tell(&self, command: &str) {
        let mut connection = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).expect("redis-server listens");
        connection.write_all(format!("{command}\r\n").as_bytes()).expect("the command is sent");
        let mut answer = [0; 5];
        connection.read_exact(&mut answer).expect("an answer");
        assert_eq!(&answer, b"+OK\r\n", "{command}");
    }

    /// SIGSTOP: connections stay, and nobody answers.
    pub(crate) fn pause(&self) {
        self.signal("-STOP");
    }

    /// SIGCONT.
    pub(crate) fn resume(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.process().id().to_string()]).status();
        assert!(status.expect("kill runs").success());
    }

    fn process(&self) -> MutexGuard<'_, Child> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        // A test that failed leaves no server behind, also one that is paused.
        let mut process = self.process();
        let _ = process.kill();
        let _ = process.wait();
    }
}

fn free_port() -> u16 {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|socket| socket.local_addr());
    free.expect("a free port").port()
}

/// Runs Redis until it answers; none if it ends before.
fn run(port: u16, settings: &[String], folder: &Path) -> Option<Child> {
    let mut process = Command::new("redis-server")
        .args(settings)
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
        .arg("--dir")
        .arg(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("redis-server is installed: Debian's package of that name, or Redis 7 on PATH");
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        if process.try_wait().expect("redis-server can be asked").is_some() {
            return None;
        }
        if answers(port) {
            return Some(process);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let _ = process.kill();
    let _ = process.wait();
    panic!("redis-server does not answer on port {port}");
}

fn answers(port: u16) -> bool {
    let Ok(mut connection) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else { return false };
    let mut answer = [0; 7];
    let asked =
        connection.set_read_timeout(Some(Duration::from_secs(1))).and_then(|()| connection.write_all(b"PING\r\n"));
    asked.and_then(|()| connection.read_exact(&mut answer)).is_ok() && &answer == b"+PONG\r\n"
}
