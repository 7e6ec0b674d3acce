//! Workers in processes of their own, which are killed, stopped and cut off: every effect happens once.
//!
//! The processes are this very program, started anew with orders.
#![cfg(all(unix, feature = "sqlite", feature = "postgres"))]
#![allow(clippy::unwrap_used, reason = "clippy knows tests, and not the functions that they share")]

mod fixture;
mod process;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};
use tempfile::TempDir;
use uuid::Uuid;
use weltenwind_core::{
    AccountId, AuditDraft, CorrelationId, Limit, Page, RandomSource as _, Scope, Sources, Step, StorageError,
    SystemRandom, Timestamp,
    outbox::{
        Claim, DeadJob, Job, JobError, JobHandler, JobId, JobKind, JobPolicy, JobQuery, JobState, Lease, LiveJob,
        NewJob, Outbox, OutboxStats, OutboxStore, Renewal, ScheduleRow, Settlement, Swept, Verdict, Work, Worker,
        WorkerConfig,
        conformance::{self, Ports},
    },
    privacy::PrivacyStore,
};
use weltenwind_storage::StorageConfig;

use self::{
    fixture::Fixture,
    process::{PATIENCE, Process, until},
};

const KIND: JobKind = JobKind::named("test.work");
const LEASE_MS: u64 = 1000;

/// Where a process ends itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Seam {
    BeforeEnqueue,
    AfterEnqueue,
    BeforeClaim,
    AfterClaim,
    HandlerBegun,
    AfterEffect,
    BeforeSettle,
    AfterSettle,
    BeforeRenew,
    BeforeSweep,
    AfterSweep,
}

const SEAMS: [Seam; 11] = [
    Seam::BeforeEnqueue,
    Seam::AfterEnqueue,
    Seam::BeforeClaim,
    Seam::AfterClaim,
    Seam::HandlerBegun,
    Seam::AfterEffect,
    Seam::BeforeSettle,
    Seam::AfterSettle,
    Seam::BeforeRenew,
    Seam::BeforeSweep,
    Seam::AfterSweep,
];

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Orders {
    url: String,
    /// Who it is, for its rows and notes.
    name: String,
    /// Where it notes what it has come to.
    notes: PathBuf,
    seam: Option<Seam>,
    /// How long a slice takes before its effect, without an await.
    pause_ms: u64,
    /// It does not tell of itself, and is told nothing.
    is_deaf: bool,
    /// Jobs that it writes before it works.
    writes: Vec<u64>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child() {
    let Some(orders) = process::orders::<Orders>() else { return };
    let config = StorageConfig { url: orders.url.clone(), max_connections: 4, ..StorageConfig::default() };
    let stores = weltenwind_storage::open(&config).await.unwrap();
    let seams = Seams { store: Arc::clone(&stores.outbox), seam: orders.seam, is_deaf: orders.is_deaf };
    let outbox = Outbox::new(Arc::new(seams), Sources::default());
    if !orders.writes.is_empty() {
        outbox.enqueue(&jobs(orders.writes.iter().copied())).await.unwrap();
    }
    let hands = Hands { privacy: stores.privacy, orders };
    let config = WorkerConfig { poll_ms: 20, sweep_ms: 100, drain_seconds: 0 };
    let _worker = Worker::new(outbox, config).handling(Arc::new(hands)).start();
    std::future::pending::<()>().await;
}

fn die_at(seam: Seam, chosen: Option<Seam>) {
    if chosen == Some(seam) {
        std::process::abort();
    }
}

/// Each slice leaves a row in the audit log that names its jobs; every tenth job fails once before.
#[derive(Debug)]
struct Hands {
    privacy: Arc<dyn PrivacyStore>,
    orders: Orders,
}

impl Hands {
    fn note(&self, what: &str) {
        let path = self.orders.notes.join(format!("{}-{what}", self.orders.name));
        std::fs::write(path, "").unwrap();
    }
}

#[async_trait]
impl JobHandler for Hands {
    fn kind(&self) -> JobKind {
        KIND
    }

    fn policy(&self) -> JobPolicy {
        JobPolicy { batch: 20, base_ms: 1, cap_ms: 5, max_crashes: 1000, lease_ms: LEASE_MS, ..JobPolicy::default() }
    }

    async fn run(&self, work: &Work) -> Result<Vec<Verdict>, JobError> {
        self.note("begun");
        die_at(Seam::HandlerBegun, self.orders.seam);
        if self.orders.seam == Some(Seam::BeforeRenew) {
            // Long enough to be due for a sign of life.
            tokio::time::sleep(PATIENCE).await;
        }
        std::thread::sleep(Duration::from_millis(self.orders.pause_ms));
        let mut verdicts = Vec::new();
        for job in work.jobs() {
            if number(job).is_multiple_of(10) && job.failures == 0 {
                verdicts.push(Verdict::Failed(JobError::new("the first attempt of every tenth")));
                continue;
            }
            let details = json!({ "jobs": [number(job)], "by": self.orders.name });
            let audit = AuditDraft::new("test.effect", Scope::Global).with(details);
            let done = self.privacy.note(&work.step_of(job, audit), AccountId::new(Uuid::nil())).await;
            self.note(if done.is_ok() { "settled" } else { "refused" });
            done?;
            die_at(Seam::AfterEffect, self.orders.seam);
            verdicts.push(Verdict::Settled);
        }
        Ok(verdicts)
    }
}

/// A store that ends the process where it was told to.
#[derive(Debug)]
struct Seams {
    store: Arc<dyn OutboxStore>,
    seam: Option<Seam>,
    is_deaf: bool,
}

#[async_trait]
impl OutboxStore for Seams {
    async fn enqueue(&self, jobs: &[NewJob], request: &CorrelationId, at: Timestamp) -> Result<(), StorageError> {
        die_at(Seam::BeforeEnqueue, self.seam);
        self.store.enqueue(jobs, request, at).await?;
        die_at(Seam::AfterEnqueue, self.seam);
        Ok(())
    }

    async fn claim(&self, claim: &Claim, at: Timestamp) -> Result<Vec<Job>, StorageError> {
        die_at(Seam::BeforeClaim, self.seam);
        let jobs = self.store.claim(claim, at).await?;
        if !jobs.is_empty() {
            die_at(Seam::AfterClaim, self.seam);
        }
        Ok(jobs)
    }

    async fn renew(&self, renewals: &[Renewal], at: Timestamp) -> Result<Vec<Lease>, StorageError> {
        if !renewals.is_empty() {
            die_at(Seam::BeforeRenew, self.seam);
        }
        if self.is_deaf { Ok(Vec::new()) } else { self.store.renew(renewals, at).await }
    }

    async fn settle(&self, settlements: &[Settlement], at: Timestamp) -> Result<Vec<Lease>, StorageError> {
        die_at(Seam::BeforeSettle, self.seam);
        let lost = self.store.settle(settlements, at).await?;
        die_at(Seam::AfterSettle, self.seam);
        Ok(lost)
    }

    async fn sweep(&self, limit: u16, at: Timestamp) -> Result<Swept, StorageError> {
        die_at(Seam::BeforeSweep, self.seam);
        let swept = self.store.sweep(limit, at).await?;
        die_at(Seam::AfterSweep, self.seam);
        Ok(swept)
    }

    async fn now(&self, at: Timestamp) -> Result<Timestamp, StorageError> {
        self.store.now(at).await
    }

    async fn page(&self, query: &JobQuery) -> Result<Page<LiveJob>, StorageError> {
        self.store.page(query).await
    }

    async fn find(&self, id: JobId) -> Result<Option<LiveJob>, StorageError> {
        self.store.find(id).await
    }

    async fn blocker(&self, id: JobId) -> Result<Option<LiveJob>, StorageError> {
        self.store.blocker(id).await
    }

    async fn page_dead(&self, query: &JobQuery) -> Result<Page<DeadJob>, StorageError> {
        self.store.page_dead(query).await
    }

    async fn find_dead(&self, id: JobId) -> Result<Option<DeadJob>, StorageError> {
        self.store.find_dead(id).await
    }

    async fn replay(&self, step: &Step, id: JobId) -> Result<Option<JobId>, StorageError> {
        self.store.replay(step, id).await
    }

    async fn purge_dead(&self, before: Timestamp, limit: u32) -> Result<u64, StorageError> {
        self.store.purge_dead(before, limit).await
    }

    async fn stats(&self, at: Timestamp) -> Result<OutboxStats, StorageError> {
        self.store.stats(at).await
    }

    async fn schedules(&self, names: &[String]) -> Result<Vec<ScheduleRow>, StorageError> {
        self.store.schedules(names).await
    }

    async fn advance(
        &self,
        was: Option<&ScheduleRow>,
        row: &ScheduleRow,
        job: Option<&NewJob>,
        request: &CorrelationId,
        at: Timestamp,
    ) -> Result<bool, StorageError> {
        self.store.advance(was, row, job, request, at).await
    }

    async fn hint(&self, kinds: &[JobKind]) -> Result<(), StorageError> {
        self.store.hint(kinds).await
    }

    async fn hinted(&self) -> Result<Vec<JobKind>, StorageError> {
        self.store.hinted().await
    }
}

fn number(job: &Job) -> u64 {
    job.payload.as_u64().unwrap()
}

fn jobs(numbers: impl IntoIterator<Item = u64>) -> Vec<NewJob> {
    numbers.into_iter().map(|n| NewJob::new(KIND, n.into())).collect()
}

/// A store, and a place where processes note what they have come to.
struct Town {
    fixture: Fixture,
    notes: TempDir,
}

impl Town {
    fn of(fixture: Fixture) -> Self {
        Self { fixture, notes: tempfile::tempdir().unwrap() }
    }

    fn orders(&self, name: &str) -> Orders {
        let url = self.fixture.config.url.clone();
        Orders { url, name: name.to_owned(), notes: self.notes.path().to_owned(), ..Orders::default() }
    }

    fn has_note(&self, note: &str) -> bool {
        Path::exists(&self.notes.path().join(note))
    }

    async fn write(&self, numbers: impl IntoIterator<Item = u64>) {
        let outbox = Outbox::new(Arc::clone(&self.fixture.stores.outbox), Sources::default());
        outbox.enqueue(&jobs(numbers)).await.unwrap();
    }

    async fn live(&self) -> Vec<LiveJob> {
        let query = JobQuery { limit: Limit::MAX, ..JobQuery::default() };
        self.fixture.stores.outbox.page(&query).await.unwrap().items
    }

    /// Waits until nothing is left, and checks that nothing is dead.
    async fn done(&self) {
        until("jobs are left", async || self.live().await.is_empty()).await;
        let dead = self.fixture.stores.outbox.page_dead(&JobQuery::default()).await.unwrap();
        assert_eq!(dead.items, []);
    }

    /// Who has had the effect of each job.
    async fn effects(&self) -> BTreeMap<u64, Vec<String>> {
        let mut effects: BTreeMap<u64, Vec<String>> = BTreeMap::new();
        for row in self.fixture.audit_log().await.into_iter().filter(|row| row.action == "test.effect") {
            let details = row.details.unwrap();
            for job in details["jobs"].as_array().unwrap() {
                effects.entry(job.as_u64().unwrap()).or_default().push(details["by"].as_str().unwrap().to_owned());
            }
        }
        effects
    }

    async fn assert_once(&self, numbers: std::ops::Range<u64>) {
        let effects = self.effects().await;
        let wrong: Vec<_> = effects.iter().filter(|(_, by)| by.len() != 1).collect();
        assert!(wrong.is_empty(), "{wrong:?}");
        assert!(effects.keys().copied().eq(numbers.clone()), "{} of {numbers:?}", effects.len());
    }

    fn is_sqlite(&self) -> bool {
        self.fixture.config.url.starts_with("sqlite")
    }
}

/// Wherever a worker ends, its jobs are done once by the next.
async fn a_worker_that_ends_at_any_seam_costs_nothing(town: &Town) {
    let mut written = 0;
    for seam in SEAMS {
        let range = written..written + 30;
        let is_writer = matches!(seam, Seam::BeforeEnqueue | Seam::AfterEnqueue);
        if !is_writer {
            town.write(range.clone()).await;
        }
        let writes = if is_writer { range.clone().collect() } else { Vec::new() };
        let mut dies = Process::start(&Orders { seam: Some(seam), writes, ..town.orders(&format!("{seam:?}")) });
        dies.ended().await;
        if seam == Seam::BeforeEnqueue {
            assert_eq!(town.live().await, [], "what was not committed is not there");
            continue;
        }
        written = range.end;
        let survivor = Process::start(&town.orders("survivor"));
        town.done().await;
        drop(survivor);
    }

    town.assert_once(0..written).await;
}

/// The jobs are deleted, the effect is written, and the commit has not come.
async fn a_worker_that_is_killed_before_its_commit_has_done_nothing(town: &Town) {
    let (slow, undo) = if town.is_sqlite() {
        let slow = "CREATE TRIGGER slow AFTER INSERT ON audit_log WHEN NEW.action = 'test.effect' BEGIN
            SELECT count(*) FROM (WITH RECURSIVE c (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 100000000)
            SELECT n FROM c); END";
        (slow, "DROP TRIGGER slow")
    } else {
        let slow =
            "CREATE FUNCTION slow() RETURNS trigger AS 'BEGIN PERFORM pg_sleep(5); RETURN NEW; END' LANGUAGE plpgsql;
            CREATE TRIGGER slow AFTER INSERT ON audit_log FOR EACH ROW WHEN (NEW.action = 'test.effect')
            EXECUTE FUNCTION slow()";
        (slow, "DROP TRIGGER slow ON audit_log")
    };
    town.fixture.execute(slow).await;
    town.write(1..6).await;
    let killed = Process::start(&town.orders("killed"));
    until("the handler has begun", async || town.has_note("killed-begun")).await;
    tokio::time::sleep(Duration::from_millis(500)).await;

    killed.signal("-KILL");
    drop(killed);
    assert!(!town.has_note("killed-settled"), "its first effect was under way");
    town.fixture.execute(undo).await;
    let survivor = Process::start(&town.orders("survivor"));
    town.done().await;
    drop(survivor);

    town.assert_once(1..6).await;
    assert!(town.effects().await.values().all(|by| by == &["survivor"]));
}

/// Whoever stands still for two leases comes back, and finds that its effect is refused. Returns whether that is so.
async fn is_late_effect_refused(town: &Town) -> bool {
    town.write([1]).await;
    let late = Process::start(&Orders { pause_ms: 500, is_deaf: true, ..town.orders("late") });
    until("the handler has begun", async || town.has_note("late-begun")).await;
    late.signal("-STOP");
    let holder = town.live().await[0].state;
    let other = Process::start(&Orders { pause_ms: 3 * LEASE_MS, is_deaf: false, ..town.orders("other") });
    let is_anothers = async || {
        town.live()
            .await
            .first()
            .is_some_and(|job| job.state != JobState::Waiting && job.state != holder && job.crashes > 0)
    };
    until("somebody else has it", is_anothers).await;

    late.signal("-CONT");
    until("it has come back", async || town.has_note("late-refused") || town.has_note("late-settled")).await;
    drop(late);
    town.done().await;
    drop(other);

    town.assert_once(1..2).await;
    town.has_note("late-refused") && town.effects().await[&1] == ["other"]
}

async fn a_worker_that_stood_still_for_two_leases_is_refused(town: &Town) {
    assert!(is_late_effect_refused(town).await);
}

/// A number that is given back when a lease ends, as one that counts attempts would be.
async fn without_the_fence(town: &Town) {
    let mutant = if town.is_sqlite() {
        "CREATE TRIGGER mutant AFTER UPDATE OF worker ON outbox_jobs WHEN NEW.worker IS NULL AND OLD.worker IS NOT NULL
        BEGIN UPDATE outbox_jobs SET fence = fence - 1 WHERE id = NEW.id; END"
    } else {
        "CREATE FUNCTION mutant() RETURNS trigger AS 'BEGIN NEW.fence := OLD.fence - 1; RETURN NEW; END' LANGUAGE plpgsql;
        CREATE TRIGGER mutant BEFORE UPDATE ON outbox_jobs FOR EACH ROW
        WHEN (NEW.worker IS NULL AND OLD.worker IS NOT NULL) EXECUTE FUNCTION mutant()"
    };
    town.fixture.execute(mutant).await;
}

/// The tests of the fence see one that is missing.
async fn a_store_without_the_fence_fails_the_same_tests(town: &Town) {
    let ports = ports(&town.fixture);
    without_the_fence(town).await;

    assert!(!is_late_effect_refused(town).await);

    macro_rules! fails {
        ($($case:ident)+) => {$({
            let ports = ports.clone();
            let case = tokio::spawn(async move { conformance::$case(&ports).await });
            assert!(case.await.is_err_and(|error| error.is_panic()), stringify!($case));
            town.fixture.execute("DELETE FROM outbox_jobs").await;
        })+};
    }
    fails! {
        whoever_lost_a_job_changes_nothing
        fences_are_never_set_back
        an_effect_under_a_lost_lease_is_rolled_back
    }
}

/// Four workers for a minute, 20 000 jobs, and every 200 ms one of them is killed; on Postgres their connections are cut too.
async fn a_minute_of_killing_loses_and_doubles_nothing(town: &Town) {
    const WORKERS: usize = 4;
    const KILLS: u64 = 300;
    const EACH: u64 = 67;
    let mut orders = town.orders("worker");
    let mut cutter = None;
    if !town.is_sqlite() {
        let mut connection = PgConnection::connect(&town.fixture.config.url).await.unwrap();
        let role = format!("ww_worker_{}", std::process::id());
        let make = format!("CREATE ROLE {role} LOGIN SUPERUSER");
        connection.execute(AssertSqlSafe(make)).await.unwrap();
        orders.url = with_user(&town.fixture.config.url, &role);
        cutter = Some((connection, role));
    }
    let mut workers: Vec<_> = (0..WORKERS).map(|_| Process::start(&orders)).collect();

    for n in 0..KILLS {
        town.write(n * EACH..(n + 1) * EACH).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        let mut draw = [0; 1];
        SystemRandom.fill(&mut draw);
        let killed = usize::from(draw[0]) % WORKERS;
        workers[killed].signal("-KILL");
        workers[killed] = Process::start(&orders);
        if let Some((connection, role)) = cutter.as_mut().filter(|_| n % 25 == 24) {
            let cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = $1";
            sqlx::query(cut).bind(&*role).execute(connection).await.unwrap();
        }
    }
    town.done().await;
    drop(workers);

    town.assert_once(0..KILLS * EACH).await;
    if let Some((mut connection, role)) = cutter {
        let drop_role = format!("DROP ROLE {role}");
        connection.execute(AssertSqlSafe(drop_role)).await.unwrap();
    }
}

/// The same URL for another user; the server lets everybody in.
fn with_user(url: &str, user: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap();
    let address = rest.split_once('@').map_or(rest, |(_, address)| address);
    format!("{scheme}://{user}@{address}")
}

#[derive(Debug)]
struct Rows(String);

#[async_trait]
impl conformance::Passing for Rows {
    async fn pass(&self, by: Duration) {
        let is_sqlite = self.0.starts_with("sqlite");
        let by = if is_sqlite { by.as_micros().to_string() } else { format!("INTERVAL '{} s'", by.as_secs()) };
        let statement = AssertSqlSafe(format!(
            "UPDATE outbox_jobs SET run_at = run_at - {by}, lease_until = lease_until - {by}, deadline_at = deadline_at - {by}"
        ));
        if is_sqlite {
            sqlx::SqliteConnection::connect(&self.0).await.unwrap().execute(statement).await.unwrap();
        } else {
            PgConnection::connect(&self.0).await.unwrap().execute(statement).await.unwrap();
        }
    }
}

fn ports(fixture: &Fixture) -> Ports {
    Ports {
        outbox: Arc::clone(&fixture.stores.outbox),
        worlds: Arc::clone(&fixture.stores.worlds),
        time: Arc::new(Rows(fixture.config.url.clone())),
    }
}

mod sqlite {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_worker_that_ends_at_any_seam_costs_nothing() {
        super::a_worker_that_ends_at_any_seam_costs_nothing(&Town::of(fixture::sqlite().await)).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_worker_that_is_killed_before_its_commit_has_done_nothing() {
        super::a_worker_that_is_killed_before_its_commit_has_done_nothing(&Town::of(fixture::sqlite().await)).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_worker_that_stood_still_for_two_leases_is_refused() {
        super::a_worker_that_stood_still_for_two_leases_is_refused(&Town::of(fixture::sqlite().await)).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_store_without_the_fence_fails_the_same_tests() {
        super::a_store_without_the_fence_fails_the_same_tests(&Town::of(fixture::sqlite().await)).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "takes a minute"]
    async fn a_minute_of_killing_loses_and_doubles_nothing() {
        super::a_minute_of_killing_loses_and_doubles_nothing(&Town::of(fixture::sqlite().await)).await;
    }
}

mod postgres {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "needs WW_TEST_POSTGRES_URL"]
    async fn a_worker_that_ends_at_any_seam_costs_nothing() {
        super::a_worker_that_ends_at_any_seam_costs_nothing(&Town::of(fixture::postgres().await)).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "needs WW_TEST_POSTGRES_URL"]
    async fn a_worker_that_is_killed_before_its_commit_has_done_nothing() {
        super::a_worker_that_is_killed_before_its_commit_has_done_nothing(&Town::of(fixture::postgres().await)).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "needs WW_TEST_POSTGRES_URL"]
    async fn a_worker_that_stood_still_for_two_leases_is_refused() {
        super::a_worker_that_stood_still_for_two_leases_is_refused(&Town::of(fixture::postgres().await)).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "needs WW_TEST_POSTGRES_URL"]
    async fn a_store_without_the_fence_fails_the_same_tests() {
        super::a_store_without_the_fence_fails_the_same_tests(&Town::of(fixture::postgres().await)).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "takes a minute and needs WW_TEST_POSTGRES_URL"]
    async fn a_minute_of_killing_loses_and_doubles_nothing() {
        super::a_minute_of_killing_loses_and_doubles_nothing(&Town::of(fixture::postgres().await)).await;
    }
}
