//! What processes take of processor and memory, as Linux tells in `/proc`.

use std::{collections::BTreeMap, ffi::OsString, fs, time::Duration};

use crate::failure::Failure;

/// The processes that are measured.
#[derive(Debug, Clone, Default)]
pub(super) struct Watched {
    /// The nodes of the server.
    pub(super) server: Vec<u32>,
    /// The first process of the database's server, whose children do the work.
    pub(super) database: Option<u32>,
    /// Redis, if it stands between the nodes.
    pub(super) broker: Option<u32>,
    /// Where nodes that tell their metrics do so.
    pub(super) metrics: Vec<String>,
}

/// Time on processors until now.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Spent {
    pub(super) server: Duration,
    pub(super) database: Duration,
    pub(super) broker: Duration,
    /// The bench itself.
    pub(super) clients: Duration,
}

impl Watched {
    pub(super) fn spent(&self) -> Result<Spent, Failure> {
        let mut server = Duration::ZERO;
        for pid in &self.server {
            server += Stat::read(*pid)?.own;
        }
        let database = match self.database {
            Some(pid) => with_children(pid)?,
            None => Duration::ZERO,
        };
        let broker = match self.broker {
            Some(pid) => Stat::read(pid)?.own,
            None => Duration::ZERO,
        };
        Ok(Spent { server, database, broker, clients: Stat::read(std::process::id())?.own })
    }

    /// Tells how long each thread of the nodes was on a processor. Silence costs less than the hundredths of a second in which
    /// Linux tells of whole processes.
    pub(super) fn threads(&self) -> Result<Threads, Failure> {
        let mut threads = BTreeMap::new();
        for pid in &self.server {
            let tasks = fs::read_dir(format!("/proc/{pid}/task")).map_err(|_| unreadable(*pid))?;
            for task in tasks.filter_map(Result::ok) {
                // One that ends meanwhile is gone from the list, too.
                let Ok(text) = fs::read_to_string(task.path().join("schedstat")) else { continue };
                let nanoseconds = text.split_whitespace().next().and_then(|nanoseconds| nanoseconds.parse().ok());
                let nanoseconds = nanoseconds.ok_or_else(|| unreadable(*pid))?;
                threads.insert((*pid, task.file_name()), Duration::from_nanos(nanoseconds));
            }
        }
        Ok(Threads(threads))
    }

    /// Returns how many KiB of memory the nodes hold.
    pub(super) fn resident_kib(&self) -> Result<u64, Failure> {
        let mut sum = 0;
        for pid in &self.server {
            let resident = status(*pid, "VmRSS:")?;
            let kib = resident.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok());
            sum += kib.ok_or_else(|| unreadable(*pid))?;
        }
        Ok(sum)
    }
}

/// Time on processors of each thread, by process and number.
#[derive(Debug)]
pub(super) struct Threads(BTreeMap<(u32, OsString), Duration>);

impl Threads {
    /// What was spent since `before` by the threads that are still there.
    pub(super) fn since(&self, before: &Self) -> Duration {
        let spent =
            |(thread, now): (_, &Duration)| now.saturating_sub(before.0.get(thread).copied().unwrap_or_default());
        self.0.iter().map(spent).sum()
    }
}

impl Spent {
    pub(super) fn since(self, before: Self) -> Self {
        Self {
            server: self.server.saturating_sub(before.server),
            database: self.database.saturating_sub(before.database),
            broker: self.broker.saturating_sub(before.broker),
            clients: self.clients.saturating_sub(before.clients),
        }
    }

    /// All but the clients.
    pub(super) fn together(self) -> Duration {
        self.server + self.database + self.broker
    }
}

/// Returns the processors that a process may run on: `0`, `0-1`.
pub(super) fn cores_of(pid: u32) -> Result<String, Failure> {
    status(pid, "Cpus_allowed_list:")
}

fn status(pid: u32, name: &str) -> Result<String, Failure> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).map_err(|_| unreadable(pid))?;
    let value = text.lines().find_map(|line| line.strip_prefix(name)).ok_or_else(|| unreadable(pid))?;
    Ok(value.trim().to_owned())
}

fn unreadable(pid: u32) -> Failure {
    Failure::failed(format!("/proc does not tell of process {pid}"))
        .hint("processor time and memory are read from Linux; has the process ended?")
}

struct Stat {
    parent: u32,
    /// Its threads, also those that have ended.
    own: Duration,
    /// Children that have ended.
    ended: Duration,
}

/// Linux tells times in hundredths of a second, whatever it counts in itself (proc(5)).
const TICK: Duration = Duration::from_millis(10);

impl Stat {
    fn read(pid: u32) -> Result<Self, Failure> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat")).map_err(|_| unreadable(pid))?;
        Self::parse(&text).ok_or_else(|| unreadable(pid))
    }

    fn parse(text: &str) -> Option<Self> {
        // The name may hold spaces and parentheses; nothing behind it does.
        let (_, fields) = text.rsplit_once(')')?;
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let ticks = |at: usize| fields.get(at)?.parse::<u32>().ok().map(|ticks| TICK * ticks);
        Some(Self {
            parent: fields.get(1)?.parse().ok()?,
            own: ticks(11)? + ticks(12)?,
            ended: ticks(13)? + ticks(14)?,
        })
    }
}

fn with_children(pid: u32) -> Result<Duration, Failure> {
    let first = Stat::read(pid)?;
    // One that ends meanwhile is among the ended ones next time.
    let children = all().filter_map(|pid| Stat::read(pid).ok()).filter(|stat| stat.parent == pid);
    Ok(children.map(|stat| stat.own).sum::<Duration>() + first.own + first.ended)
}

fn all() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Returns what a process calls itself, its arguments separated by spaces.
fn title(pid: u32) -> Option<String> {
    let text = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    Some(String::from_utf8_lossy(&text).replace('\0', " "))
}

/// Finds the first process of the Postgres of this machine to which somebody is connected on `port`.
pub(super) fn postgres_at(port: u16) -> Option<u32> {
    let connected = clients_of(port);
    let serves_one = |title: &str| {
        // `postgres: user database 127.0.0.1(40312) idle`
        let client = title.split_once('(').and_then(|(_, rest)| rest.split_once(')'));
        title.starts_with("postgres: ")
            && client.and_then(|(port, _)| port.parse().ok()).is_some_and(|port| connected.contains(&port))
    };
    let backend = all().find(|pid| title(*pid).is_some_and(|title| serves_one(&title)))?;
    Some(Stat::read(backend).ok()?.parent)
}

/// Finds the Redis of this machine that listens on `port`.
pub(super) fn redis_at(port: u16) -> Option<u32> {
    let end = format!(":{port}");
    let listens = |title: &str| {
        let mut words = title.split_whitespace();
        words.next().is_some_and(|program| program.ends_with("redis-server")) && words.any(|word| word.ends_with(&end))
    };
    all().find(|pid| title(*pid).is_some_and(|title| listens(&title)))
}

/// Returns the ports of this machine that are connected to `port`.
fn clients_of(port: u16) -> Vec<u16> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|table| fs::read_to_string(table).unwrap_or_default());
    let ports = |line: &str| {
        let port = |address: &str| u16::from_str_radix(address.rsplit_once(':')?.1, 16).ok();
        let mut words = line.split_whitespace().skip(1);
        Some((port(words.next()?)?, port(words.next()?)?))
    };
    let pairs = tables.iter().flat_map(|table| table.lines()).filter_map(ports);
    pairs.filter(|(_, to)| *to == port).map(|(from, _)| from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_behind_any_name() {
        let text = "42 (a (strange) name) S 7 42 42 0 -1 4194560 1 2 3 4 150 50 30 20 20 0 1 0 100";

        let stat = Stat::parse(text).unwrap();

        assert_eq!((stat.parent, stat.own, stat.ended), (7, Duration::from_secs(2), Duration::from_millis(500)));
        assert!(Stat::parse("42 (short) S 7").is_none());
    }

    #[test]
    fn this_process_takes_time_and_memory() {
        let watched = Watched { server: vec![std::process::id()], ..Watched::default() };

        assert!(watched.resident_kib().unwrap() > 0);
        let spent = watched.spent().unwrap();
        assert!(spent.server <= watched.spent().unwrap().server);
        assert!(!cores_of(std::process::id()).unwrap().is_empty());
        let before = watched.threads().unwrap();
        while watched.threads().unwrap().since(&before) < Duration::from_millis(1) {}
        assert!(Watched { server: vec![u32::MAX], ..Watched::default() }.spent().is_err());
    }
}
