//! `weltenwind bench outbox`: jobs that are claimed, handled and finished, and how soon one is picked up.

use std::{
    process::Stdio,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    sync::mpsc,
    task::JoinHandle,
    time::timeout,
};
use weltenwind_core::{
    Clock as _, CorrelationId, Limit, Sources, SystemClock, SystemIds,
    outbox::{
        JobError, JobHandler, JobKind, JobQuery, NewJob, Outbox, RunningWorker, Verdict, Work, Worker, WorkerConfig,
    },
};
use weltenwind_storage::StorageConfig;

use super::{Waits, realtime::Spread};
use crate::{
    failure::{Exit, Failure},
    output::{self, Output},
    store::unopened,
};

#[derive(Debug, Args)]
pub(crate) struct OutboxArgs {
    /// How often each is measured, in turn; the middle one and the range are told.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=50))]
    runs: u32,
    /// Jobs that are written, and then done.
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(100..=1_000_000))]
    jobs: u32,
    /// Jobs that are written one by one for an idle worker to pick up.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pickups: u32,
    /// With 2, jobs are also picked up by a worker in another process; for a Postgres.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=2))]
    nodes: u32,
    /// Measure this beside, in the same run.
    #[arg(long, value_enum, requires = "redis")]
    beside: Option<Peer>,
    /// The Redis of what is measured beside. Its `appendonly` and `appendfsync` are set for each measurement, and set back.
    #[arg(long, value_name = "URL")]
    redis: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct OutboxWorkerArgs {
    /// The kind of its jobs.
    #[arg(long)]
    kind: JobKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Peer {
    /// `BullMQ` with 100 jobs at once; set up by `npm install --omit=optional --no-save --prefix benches/outbox-bullmq`, run from the project's folder.
    Bullmq,
}

/// How Redis keeps what `BullMQ` writes.
const FSYNC: [&str; 2] = ["everysec", "always"];
/// Jobs that are written in one commit.
const WRITTEN_AT_ONCE: u32 = 100;
/// Jobs that are picked up before any is measured: until then, another process may not listen yet.
const WARM_UP: u32 = 10;
/// How long a worker is left idle before the next job; as long as other processes are not told again.
const PAUSE: Duration = Duration::from_millis(30);
/// A worker looks every second, whatever it is told.
const PATIENCE: Duration = Duration::from_secs(30);

/// One row of the answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Measured {
    system: &'static str,
    /// What a commit waits for.
    commit: String,
    jobs_per_second: Spread,
    enqueued_per_second: Spread,
    pickup_p50_ms: Spread,
    pickup_p95_ms: Spread,
    pickup_p99_ms: Spread,
    /// The same with the commit before it.
    with_commit_p50_ms: Spread,
    with_commit_p95_ms: Spread,
    with_commit_p99_ms: Spread,
    /// From the commit in one process until the handler begins in another.
    other_process_p50_ms: Option<Spread>,
    other_process_p95_ms: Option<Spread>,
    other_process_p99_ms: Option<Spread>,
}

/// One measurement.
#[derive(Debug, Clone, PartialEq)]
struct Run {
    jobs_per_second: f64,
    enqueued_per_second: f64,
    here: Pickups,
    elsewhere: Option<Pickups>,
}

/// How long until the handler of a job begins, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Pickups {
    from_commit: Percentiles,
    from_call: Percentiles,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Percentiles {
    p50: f64,
    p95: f64,
    p99: f64,
}

pub(crate) async fn run(args: &OutboxArgs, storage: &StorageConfig, output: Output) -> Result<(), Failure> {
    let is_sqlite = storage.url.starts_with("sqlite:");
    if args.nodes > 1 && is_sqlite {
        return Err(Failure::usage("--nodes 2 takes a Postgres: processes on one SQLite file do not tell each other"));
    }
    let stores = weltenwind_storage::open(storage).await.map_err(unopened)?;
    let kind = format!("bench.trivial-{}", std::process::id());
    let kind: JobKind = kind.parse().map_err(|error| Failure::failed(format!("{kind}: {error}")))?;
    let bench = Bench { outbox: Outbox::new(stores.outbox, Sources::default()), kind, args, database: &storage.url };
    let (mut own, mut beside) = (Vec::new(), FSYNC.map(|_| Vec::new()));
    for _ in 0..args.runs {
        own.push(bench.measure().await?);
        let Some((Peer::Bullmq, redis)) = args.beside.zip(args.redis.as_deref()) else { continue };
        for (fsync, runs) in FSYNC.iter().zip(&mut beside) {
            runs.push(bullmq(args, redis, fsync).await?);
        }
    }
    stores.health.close().await;

    let commit = if is_sqlite { "SQLite, synchronous=FULL" } else { "Postgres, as it is set" };
    let mut rows: Vec<Measured> = measured("weltenwind", commit.to_owned(), &own).into_iter().collect();
    for (fsync, runs) in FSYNC.iter().zip(&beside) {
        rows.extend(measured("BullMQ", format!("Redis, appendfsync {fsync}"), runs));
    }
    output.value(&rows, |rows| table(rows))
}

/// Does the jobs of another process' bench, says a line for each as it begins, and ends with its standard input.
pub(crate) async fn work(args: OutboxWorkerArgs, storage: &StorageConfig) -> Result<(), Failure> {
    let stores = weltenwind_storage::open(storage).await.map_err(unopened)?;
    let (worker, mut begun) = start(Outbox::new(stores.outbox, Sources::default()), args.kind);
    output::line("ready")?;
    let mut over = tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink()));
    loop {
        tokio::select! {
            Some((_, jobs)) = begun.recv() => for _ in 0..jobs { output::line("begun")?; },
            _ = &mut over => break,
        }
    }
    worker.drain().await;
    stores.health.close().await;
    Ok(())
}

/// Tells when jobs were begun, and of how many.
type Begun = mpsc::UnboundedReceiver<(Instant, usize)>;

/// Does nothing with its jobs, and says so.
#[derive(Debug)]
struct Trivial {
    kind: JobKind,
    begun: mpsc::UnboundedSender<(Instant, usize)>,
}

#[async_trait]
impl JobHandler for Trivial {
    fn kind(&self) -> JobKind {
        self.kind.clone()
    }

    async fn run(&self, work: &Work) -> Result<Vec<Verdict>, JobError> {
        let told = self.begun.send((Instant::now(), work.jobs().len()));
        told.map_err(|_| JobError::outage("the bench is over"))?;
        Ok(work.every(&Verdict::Done))
    }
}

/// Starts a worker as `serve` does, for trivial jobs alone.
fn start(outbox: Outbox, kind: JobKind) -> (RunningWorker, Begun) {
    let (sender, begun) = mpsc::unbounded_channel();
    let handler = Arc::new(Trivial { kind, begun: sender });
    (Worker::new(outbox, WorkerConfig::default()).handling(handler).start(), begun)
}

struct Bench<'a> {
    outbox: Outbox,
    kind: JobKind,
    args: &'a OutboxArgs,
    database: &'a str,
}

impl Bench<'_> {
    async fn measure(&self) -> Result<Run, Failure> {
        let called = Instant::now();
        let mut left = self.args.jobs;
        while left > 0 {
            let written = left.min(WRITTEN_AT_ONCE);
            self.outbox.enqueue(&self.jobs(written)).await?;
            left -= written;
        }
        let enqueued_per_second = f64::from(self.args.jobs) / called.elapsed().as_secs_f64();

        let (called, all) = (Instant::now(), self.args.jobs as usize);
        let (worker, mut begun) = start(self.outbox.clone(), self.kind.clone());
        let mut seen = 0;
        while seen < all {
            seen += next(&mut begun).await?.1;
        }
        // With the last of them finished, and not only begun.
        worker.drain().await;
        let jobs_per_second = f64::from(self.args.jobs) / called.elapsed().as_secs_f64();
        self.all_done(seen, all, &mut begun).await?;

        let (worker, mut begun) = start(self.outbox.clone(), self.kind.clone());
        let here = self.pickups(&mut begun).await?;
        worker.drain().await;
        self.all_done(0, 0, &mut begun).await?;
        let elsewhere = if self.args.nodes > 1 {
            let mut node = Node::start(self.database, &self.kind).await?;
            let elsewhere = self.pickups(&mut node.begun).await?;
            self.all_done(0, 0, &mut node.end().await?).await?;
            Some(elsewhere)
        } else {
            None
        };
        Ok(Run { jobs_per_second, enqueued_per_second, here, elsewhere })
    }

    fn jobs(&self, count: u32) -> Vec<NewJob> {
        (0..count).map(|n| NewJob::new(self.kind.clone(), json!({ "n": n }))).collect()
    }

    /// Passes if each job was done once, and none is left. Its worker has ended.
    async fn all_done(&self, mut seen: usize, jobs: usize, begun: &mut Begun) -> Result<(), Failure> {
        while let Ok((_, again)) = begun.try_recv() {
            seen += again;
        }
        let query = JobQuery { kind: Some(self.kind.clone()), after: None, limit: Limit::MAX };
        let left = self.outbox.store().page(&query).await?.items.len();
        if seen == jobs && left == 0 {
            return Ok(());
        }
        let others = seen.abs_diff(jobs);
        Err(Failure::new(Exit::Findings, format!("{others} jobs were begun again, and {left} are left")))
    }

    /// Writes one job after the other for whoever is idle.
    async fn pickups(&self, begun: &mut Begun) -> Result<Pickups, Failure> {
        let (mut from_call, mut from_commit) = (Vec::new(), Vec::new());
        for n in 0..WARM_UP + self.args.pickups {
            tokio::time::sleep(PAUSE).await;
            let jobs = self.jobs(1);
            let (correlation_id, at) = (CorrelationId::draw(&SystemIds), SystemClock.now());
            let called = Instant::now();
            self.outbox.store().enqueue(&jobs, &correlation_id, at).await?;
            let committed = Instant::now();
            self.outbox.wake(&jobs);
            let (at, _) = next(begun).await?;
            if n >= WARM_UP {
                from_call.push(at.saturating_duration_since(called));
                // A worker that looks by itself may find it before its writer is answered.
                from_commit.push(at.saturating_duration_since(committed));
            }
        }
        Ok(Pickups::of(from_call, from_commit))
    }
}

async fn next(begun: &mut Begun) -> Result<(Instant, usize), Failure> {
    let heard = timeout(PATIENCE, begun.recv()).await;
    let heard = heard.map_err(|_| Failure::failed(format!("no job was begun for {} s", PATIENCE.as_secs())))?;
    heard.ok_or_else(|| Failure::failed("the worker has ended"))
}

impl Pickups {
    fn of(from_call: Vec<Duration>, from_commit: Vec<Duration>) -> Self {
        let [from_call, from_commit] = [from_call, from_commit].map(|waits| {
            let waits = Waits::new(waits);
            Percentiles { p50: waits.at(50), p95: waits.at(95), p99: waits.at(99) }
        });
        Self { from_commit, from_call }
    }
}

/// A worker in another process.
struct Node {
    child: Child,
    begun: Begun,
    reader: JoinHandle<()>,
}

impl Node {
    async fn start(database: &str, kind: &JobKind) -> Result<Self, Failure> {
        let failed = |error: &dyn std::fmt::Display| Failure::failed(format!("the other process: {error}"));
        let program = std::env::current_exe().map_err(|error| failed(&error))?;
        let mut command = Command::new(program);
        command.args(["bench", "outbox-worker", "--database", database, "--kind", kind.as_str()]);
        let started = command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn();
        let mut child = started.map_err(|error| failed(&error))?;
        let mut lines = BufReader::new(child.stdout.take().expect("it was piped")).lines();
        let ready = lines.next_line().await.map_err(|error| failed(&error))?;
        if ready.as_deref() != Some("ready") {
            return Err(failed(&"it does not start"));
        }
        let (sender, begun) = mpsc::unbounded_channel();
        let reader = tokio::spawn(async move {
            // Ends with the process; whoever waits for a job then hears that its worker has ended.
            while let Ok(Some(_)) = lines.next_line().await {
                if sender.send((Instant::now(), 1)).is_err() {
                    break;
                }
            }
        });
        Ok(Self { child, begun, reader })
    }

    /// Lets it finish what it has begun, and returns what it has said since.
    async fn end(mut self) -> Result<Begun, Failure> {
        let failed =
            |error: &dyn std::fmt::Display| Failure::failed(format!("the other process does not end: {error}"));
        drop(self.child.stdin.take());
        let status = self.child.wait().await.map_err(|error| failed(&error))?;
        if !status.success() {
            return Err(failed(&status));
        }
        self.reader.await.map_err(|error| failed(&error))?;
        Ok(self.begun)
    }
}

/// What `benches/outbox-bullmq` says.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Said {
    enqueue_seconds: f64,
    work_seconds: f64,
    from_call_ms: Vec<f64>,
    from_commit_ms: Vec<f64>,
}

async fn bullmq(args: &OutboxArgs, redis: &str, fsync: &str) -> Result<Run, Failure> {
    let hint = "set it up with `npm install --omit=optional --no-save --prefix benches/outbox-bullmq`, and start in the project's folder";
    let failed = |error: &dyn std::fmt::Display| Failure::failed(format!("BullMQ: {error}")).hint(hint);
    let output = Command::new("node")
        .arg("benches/outbox-bullmq/worker.js")
        .env("REDIS_URL", redis)
        .env("APPENDFSYNC", fsync)
        .env("JOBS", args.jobs.to_string())
        .env("PICKUPS", args.pickups.to_string())
        .env("WARM_UP", WARM_UP.to_string())
        .env("PAUSE_MS", PAUSE.as_millis().to_string())
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|error| failed(&error))?;
    if !output.status.success() {
        return Err(failed(&output.status));
    }
    let said: Said = serde_json::from_slice(&output.stdout).map_err(|error| failed(&error))?;
    let waits = |ms: Vec<f64>| ms.into_iter().map(|ms| Duration::from_secs_f64(ms / 1000.0)).collect();
    Ok(Run {
        jobs_per_second: f64::from(args.jobs) / said.work_seconds,
        enqueued_per_second: f64::from(args.jobs) / said.enqueue_seconds,
        here: Pickups::of(waits(said.from_call_ms), waits(said.from_commit_ms)),
        elsewhere: None,
    })
}

/// Puts runs together; none if there are none.
fn measured(system: &'static str, commit: String, runs: &[Run]) -> Option<Measured> {
    let spread = |figure: fn(&Run) -> f64| Spread::of(runs.iter().map(figure));
    let elsewhere = |figure: fn(Pickups) -> f64| Spread::of(runs.iter().filter_map(|run| run.elsewhere.map(figure)));
    Some(Measured {
        system,
        commit,
        jobs_per_second: spread(|run| run.jobs_per_second)?,
        enqueued_per_second: spread(|run| run.enqueued_per_second)?,
        pickup_p50_ms: spread(|run| run.here.from_commit.p50)?,
        pickup_p95_ms: spread(|run| run.here.from_commit.p95)?,
        pickup_p99_ms: spread(|run| run.here.from_commit.p99)?,
        with_commit_p50_ms: spread(|run| run.here.from_call.p50)?,
        with_commit_p95_ms: spread(|run| run.here.from_call.p95)?,
        with_commit_p99_ms: spread(|run| run.here.from_call.p99)?,
        other_process_p50_ms: elsewhere(|pickups| pickups.from_commit.p50),
        other_process_p95_ms: elsewhere(|pickups| pickups.from_commit.p95),
        other_process_p99_ms: elsewhere(|pickups| pickups.from_commit.p99),
    })
}

fn table(rows: &[Measured]) -> String {
    let rates = rows.iter().map(|row| {
        let (done, enqueued) = (row.jobs_per_second.text(0), row.enqueued_per_second.text(0));
        vec![row.system.to_owned(), row.commit.clone(), done, enqueued]
    });
    let rates = output::table(&["system", "commit", "jobs/s", "enqueued/s"], rates);
    let pickups = rows.iter().map(|row| {
        let other = |spread: Option<Spread>| spread.map_or_else(String::new, |spread| spread.text(2));
        let mut line = vec![row.system.to_owned(), row.commit.clone()];
        let here = [
            [row.pickup_p50_ms, row.pickup_p95_ms, row.pickup_p99_ms],
            [row.with_commit_p50_ms, row.with_commit_p95_ms, row.with_commit_p99_ms],
        ];
        line.extend(here.as_flattened().iter().map(|spread| spread.text(2)));
        line.extend([row.other_process_p50_ms, row.other_process_p95_ms, row.other_process_p99_ms].map(other));
        line
    });
    let header = ["system", "commit", "pickup p50 ms", "p95 ms", "p99 ms", "with commit p50 ms", "p95 ms", "p99 ms"];
    let header = [&header[..], &["other process p50 ms", "p95 ms", "p99 ms"]].concat();
    format!("{rates}\n\n{}", output::table(&header, pickups))
}
