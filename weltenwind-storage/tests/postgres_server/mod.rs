//! A Postgres of a test's own, to be stopped and started again while somebody works with it.
//!
//! It takes the newest PostgreSQL of the machine, listens on loopback alone, and writes durably, as it does by default.

#![allow(dead_code, reason = "every test binary uses another part")]

use std::{
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tempfile::TempDir;

/// Longer than a start takes on the slowest machine, recovery included.
const PATIENCE: Duration = Duration::from_mins(1);

/// How a server is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Connections are cut, and what is not committed is rolled back.
    Fast,
    /// As if the machine had lost its power: the next start recovers from the log.
    Immediate,
}

/// A running Postgres; dropping it ends it and throws its data away.
#[derive(Debug)]
pub(crate) struct PostgresServer {
    programs: PathBuf,
    folder: TempDir,
    port: u16,
    process: Mutex<Child>,
}

impl PostgresServer {
    /// Makes a cluster and starts it on a free port.
    pub(crate) fn start() -> Self {
        let programs = programs();
        let folder = tempfile::tempdir().expect("a folder");
        if is_root() {
            // Postgres does not run as root.
            let owned = Command::new("chown").arg("postgres:").arg(folder.path()).status();
            assert!(owned.expect("chown runs").success(), "there is a user postgres");
        }
        let made = as_postgres(&programs.join("initdb"))
            .args(["-U", "ww", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync", "-D"])
            .arg(folder.path().join("data"))
            .output();
        expect_success("initdb", &made.expect("initdb runs"));
        for _ in 0..5 {
            let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|socket| socket.local_addr());
            let port = free.expect("a free port").port();
            // Another process may take the port in between; then Postgres ends, and the next try takes another.
            if let Some(process) = run(&programs, folder.path(), port) {
                return Self { programs, folder, port, process: Mutex::new(process) };
            }
        }
        panic!("Postgres does not start");
    }

    pub(crate) fn url(&self) -> String {
        format!("postgres://ww@127.0.0.1:{}/postgres", self.port)
    }

    /// What `pg_ctl restart` does, whose server would outlive a test that is killed.
    pub(crate) fn restart(&self, how: Stop) {
        let mut process = self.process();
        expect_success("pg_ctl stop", &self.stop(how).expect("pg_ctl runs"));
        process.wait().expect("the server has ended");
        *process = run(&self.programs, self.folder.path(), self.port).expect("the server starts again");
    }

    fn stop(&self, how: Stop) -> std::io::Result<Output> {
        let mode = match how {
            Stop::Fast => "fast",
            Stop::Immediate => "immediate",
        };
        let data = self.folder.path().join("data");
        as_postgres(&self.programs.join("pg_ctl")).args(["stop", "-s", "-w", "-m", mode, "-D"]).arg(data).output()
    }

    fn process(&self) -> MutexGuard<'_, Child> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        // A test that failed leaves no server behind.
        let mut process = self.process();
        let _ = self.stop(Stop::Immediate);
        let _ = process.kill();
        let _ = process.wait();
    }
}

/// The folder of the newest server: Debian keeps its programs off PATH, one folder a version.
fn programs() -> PathBuf {
    let on_path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&on_path).collect::<Vec<_>>();
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut versions: Vec<_> = versions.map(|version| version.path().join("bin")).collect();
    versions.sort_by_key(|folder| {
        let version = folder.parent().and_then(Path::file_name).and_then(|name| name.to_str());
        std::cmp::Reverse(version.and_then(|version| version.parse::<u32>().ok()))
    });
    let mut folders = on_path.into_iter().chain(versions);
    let found = folders.find_map(|folder| folder.join("initdb").canonicalize().ok());
    let initdb = found.expect("a PostgreSQL server is installed, on PATH or in /usr/lib/postgresql");
    // Beside it stand all the others, also where PATH has links to some.
    initdb.parent().expect("a folder").to_owned()
}

/// The id of the process stays the same, so it can be waited for and killed.
fn as_postgres(program: &Path) -> Command {
    let mut command = if is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(program);
        command
    } else {
        Command::new(program)
    };
    // The folder of the test may be closed to that user.
    command.current_dir("/").stdin(Stdio::null());
    command
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().expect("id runs");
    id.stdout.trim_ascii() == b"0"
}

fn expect_success(what: &str, output: &Output) {
    assert!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Runs Postgres until it lets somebody in; none if it ends before.
fn run(programs: &Path, folder: &Path, port: u16) -> Option<Child> {
    let mut process = as_postgres(&programs.join("postgres"))
        .args(["-p", &port.to_string(), "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-D"])
        .arg(folder.join("data"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("postgres runs");
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        if process.try_wait().expect("the server can be asked").is_some() {
            return None;
        }
        let ready = Command::new(programs.join("pg_isready"))
            .args(["-q", "-h", "127.0.0.1", "-p", &port.to_string(), "-U", "ww", "-d", "postgres"])
            .status();
        if ready.expect("pg_isready runs").success() {
            return Some(process);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let _ = process.kill();
    let _ = process.wait();
    panic!("Postgres lets nobody in on port {port}");
}
