//! Workers whose database goes away in the middle of their work, again and again: they go on by themselves, nothing is lost, and
//! every effect happens once.
#![cfg(all(unix, feature = "postgres", feature = "sqlite"))]
#![allow(clippy::unwrap_used, reason = "clippy knows tests, and not the functions that they share")]

mod fixture;
mod postgres_server;
mod process;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection, types::Json};
use uuid::Uuid;
use weltenwind_core::{
    AccountId, AuditDraft, Clock as _, RandomSource as _, Scope, Sources, Step, SystemClock, SystemRandom,
    outbox::{
        JobError, JobHandler, JobKind, JobPolicy, NewJob, Outbox, RunningWorker, Verdict, Work, Worker, WorkerConfig,
    },
    privacy::PrivacyStore,
};
use weltenwind_storage::StorageConfig;

use self::{
    postgres_server::{PostgresServer, Stop},
    process::until,
};

const KIND: JobKind = JobKind::named("test.work");
const WORKERS: usize = 4;
/// Jobs that one step writes.
const AT_ONCE: u64 = 25;
/// Jobs that wait before the first cut.
const AHEAD: u64 = 2500;

/// Each job leaves a row in the audit log that names it and its worker; every tenth fails once before.
#[derive(Debug)]
struct Hands {
    privacy: Arc<dyn PrivacyStore>,
    name: String,
    /// Effects that were cut off.
    interrupted: Arc<AtomicU64>,
}

#[async_trait]
impl JobHandler for Hands {
    fn kind(&self) -> JobKind {
        KIND
    }

    fn policy(&self) -> JobPolicy {
        JobPolicy { batch: 20, base_ms: 1, cap_ms: 50, max_crashes: 1000, lease_ms: 2000, ..JobPolicy::default() }
    }

    async fn run(&self, work: &Work) -> Result<Vec<Verdict>, JobError> {
        let mut verdicts = Vec::new();
        for job in work.jobs() {
            let number = job.payload.as_u64().unwrap();
            if number.is_multiple_of(10) && job.failures == 0 {
                verdicts.push(Verdict::Failed(JobError::new("the first attempt of every tenth")));
                continue;
            }
            let details = json!({ "jobs": [number], "by": self.name });
            let audit = AuditDraft::new("test.effect", Scope::Global).with(details);
            let done = self.privacy.note(&work.step_of(job, audit), AccountId::new(Uuid::nil())).await;
            if done.is_err() {
                self.interrupted.fetch_add(1, Ordering::SeqCst);
            }
            verdicts.push(done.map_or_else(|error| Verdict::Failed(error.into()), |()| Verdict::Settled));
        }
        Ok(verdicts)
    }
}

/// A node, with connections of its own.
async fn start(url: &str, name: String, interrupted: &Arc<AtomicU64>) -> RunningWorker {
    let stores = weltenwind_storage::open(&config(url)).await.unwrap();
    let hands = Hands { privacy: stores.privacy, name, interrupted: Arc::clone(interrupted) };
    let config = WorkerConfig { poll_ms: 20, sweep_ms: 200, drain_seconds: 20 };
    Worker::new(Outbox::new(stores.outbox, Sources::default()), config).handling(Arc::new(hands)).start()
}

fn config(url: &str) -> StorageConfig {
    StorageConfig { url: url.to_owned(), max_connections: 6, ..StorageConfig::default() }
}

/// Writes jobs as services do: each step is a row in the audit log that names the jobs which follow from it.
struct Writer {
    privacy: Arc<dyn PrivacyStore>,
    outbox: Outbox,
    next: u64,
    acknowledged: BTreeSet<u64>,
}

impl Writer {
    async fn write(&mut self) {
        let numbers: Vec<u64> = (self.next..self.next + AT_ONCE).collect();
        // What was not acknowledged may be there all the same: it is not written again.
        self.next += AT_ONCE;
        let jobs = numbers.iter().map(|&n| {
            let job = NewJob::new(KIND, n.into());
            if n.is_multiple_of(5) { job.in_order_of(key(n)) } else { job }
        });
        let audit = AuditDraft::new("test.written", Scope::Global).with(json!({ "jobs": numbers }));
        let step = Step { audit, ..sample() }.with_jobs(jobs);
        if self.privacy.note(&step, AccountId::new(Uuid::nil())).await.is_ok() {
            self.outbox.wake(&step.jobs);
            self.acknowledged.extend(numbers);
        }
    }
}

fn sample() -> Step {
    Step::sample(SystemClock.now())
}

/// Jobs of a key run one after the other, in the order of their numbers.
fn key(number: u64) -> String {
    format!("key-{}", number / 5 % 8)
}

#[derive(Debug, Default)]
struct Ledger {
    written: BTreeSet<u64>,
    /// Which jobs had their effect, in that order, and by whom.
    effects: Vec<(u64, String)>,
}

async fn ledger(url: &str) -> Ledger {
    let mut connection = PgConnection::connect(url).await.unwrap();
    let rows: Vec<(String, Json<Value>)> =
        sqlx::query_as("SELECT action, details FROM audit_log WHERE action LIKE 'test.%' ORDER BY id")
            .fetch_all(&mut connection)
            .await
            .unwrap();
    let mut ledger = Ledger::default();
    for (action, details) in rows {
        let numbers = details["jobs"].as_array().unwrap().iter().map(|number| number.as_u64().unwrap());
        if action == "test.written" {
            ledger.written.extend(numbers);
        } else {
            let by = details["by"].as_str().unwrap();
            ledger.effects.extend(numbers.map(|number| (number, by.to_owned())));
        }
    }
    ledger
}

/// Four workers, thousands of jobs, and somebody who cuts them off: `cut` is called so often.
async fn whoever_is_cut_off_goes_on(url: &str, cuts: u32, cut: impl AsyncFn()) {
    let interrupted = Arc::new(AtomicU64::new(0));
    let stores = weltenwind_storage::open(&config(url)).await.unwrap();
    let (privacy, outbox) = (stores.privacy, Outbox::new(stores.outbox, Sources::default()));
    let mut writer = Writer { privacy, outbox, next: 0, acknowledged: BTreeSet::new() };
    while writer.next < AHEAD {
        writer.write().await;
    }
    let mut workers = Vec::new();
    for n in 0..WORKERS {
        workers.push(start(url, format!("worker-{n}"), &interrupted).await);
    }
    let is_over = Arc::new(AtomicBool::new(false));
    let over = Arc::clone(&is_over);
    let writing = tokio::spawn(async move {
        while !over.load(Ordering::SeqCst) {
            writer.write().await;
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
        writer
    });

    for _ in 0..cuts {
        let mut draw = [0; 1];
        SystemRandom.fill(&mut draw);
        tokio::time::sleep(Duration::from_millis(300 + 2 * u64::from(draw[0]))).await;
        cut().await;
    }
    is_over.store(true, Ordering::SeqCst);
    let mut writer = writing.await.unwrap();

    // Every worker works again, none of them was started anew.
    let effects_before = ledger(url).await.effects.len();
    until("a worker does nothing any more", async || {
        writer.write().await;
        let ledger = ledger(url).await;
        let by: BTreeSet<_> = ledger.effects[effects_before..].iter().map(|(_, by)| by).collect();
        by.len() == WORKERS
    })
    .await;
    let mut connection = PgConnection::connect(url).await.unwrap();
    until("jobs are left", async || {
        let left: i64 =
            sqlx::query_scalar("SELECT count(*) FROM outbox_jobs").fetch_one(&mut connection).await.unwrap();
        left == 0
    })
    .await;
    for worker in workers {
        worker.drain().await;
    }

    let dead: i64 = sqlx::query_scalar("SELECT count(*) FROM outbox_dead").fetch_one(&mut connection).await.unwrap();
    let Ledger { written, effects } = ledger(url).await;
    assert_eq!(dead, 0);
    assert!(writer.acknowledged.is_subset(&written), "what was acknowledged is there");
    let done: BTreeSet<u64> = effects.iter().map(|(number, _)| *number).collect();
    assert_eq!(done, written, "each job whose step was committed has had its effect, and no other");
    assert_eq!(done.len(), effects.len(), "no effect twice");
    assert!(done.len() as u64 >= AHEAD, "{} jobs", done.len());
    let mut last: BTreeMap<String, u64> = BTreeMap::new();
    for (number, _) in effects.iter().filter(|(number, _)| number.is_multiple_of(5)) {
        let before = last.insert(key(*number), *number);
        assert!(before < Some(*number), "{number} had its effect behind {before:?}");
    }
    assert!(interrupted.load(Ordering::SeqCst) > 0, "nobody was cut off in the middle of an effect");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs WW_TEST_POSTGRES_URL"]
async fn workers_whose_connections_are_ended_lose_and_double_nothing() {
    let fixture = fixture::postgres().await;

    whoever_is_cut_off_goes_on(&fixture.config.url, 30, async || {
        let mut connection = PgConnection::connect(&fixture.config.url).await.unwrap();
        let ended: i64 = sqlx::query_scalar(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
            WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )
        .fetch_one(&mut connection)
        .await
        .unwrap();
        assert!(ended > 0);
    })
    .await;
}

async fn a_server_that_is_restarted_under_its_workers(how: Stop) {
    let server = PostgresServer::start();
    weltenwind_storage::migrate(&config(&server.url())).await.unwrap();

    whoever_is_cut_off_goes_on(&server.url(), 6, async || tokio::task::block_in_place(|| server.restart(how))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes half a minute and needs PostgreSQL's programs"]
async fn a_server_that_is_restarted_costs_no_job() {
    a_server_that_is_restarted_under_its_workers(Stop::Fast).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes half a minute and needs PostgreSQL's programs"]
async fn a_server_that_crashes_costs_no_job() {
    a_server_that_is_restarted_under_its_workers(Stop::Immediate).await;
}
