//! Workers at work on both databases: what is done, tried again, given up and given back.
#![cfg(all(feature = "sqlite", feature = "postgres"))]
#![allow(clippy::unwrap_used, reason = "clippy knows tests, and not the functions that they share")]

mod fixture;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use serde_json::json;
use uuid::Uuid;
use weltenwind_core::{
    AccountId, AuditDraft, Clock as _, Limit, ManualClock, Scope, Sources, Stores, SystemClock,
    outbox::{
        DeadJob, Job, JobError, JobHandler, JobKind, JobPolicy, JobQuery, LiveJob, NewJob, Outbox, RunningWorker,
        Schedule, Verdict, Work, Worker, WorkerConfig,
    },
    privacy::PrivacyStore,
};

use self::fixture::Fixture;

mod sqlite {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn every_job_has_its_effect_once() {
        super::every_job_has_its_effect_once(&fixture::sqlite().await).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_fails_is_tried_again_and_in_the_end_dead() {
        super::what_fails_is_tried_again_and_in_the_end_dead(&fixture::sqlite().await).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_no_repeat_cures_is_dead_at_once() {
        super::what_no_repeat_cures_is_dead_at_once(&fixture::sqlite().await).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn one_bad_job_fails_alone() {
        super::one_bad_job_fails_alone(&fixture::sqlite().await).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn an_outage_is_nobodys_fault() {
        super::an_outage_is_nobodys_fault(&fixture::sqlite().await).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_panic_is_its_jobs_alone() {
        super::a_panic_is_its_jobs_alone(&fixture::sqlite().await).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_handler_that_hangs_is_given_up() {
        super::a_handler_that_hangs_is_given_up(&fixture::sqlite().await).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_job_that_takes_long_is_kept() {
        super::a_job_that_takes_long_is_kept(&fixture::sqlite().await).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn who_lost_a_job_stops() {
        super::who_lost_a_job_stops(&fixture::sqlite().await).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_is_not_done_in_time_is_given_back() {
        super::what_is_not_done_in_time_is_given_back(&fixture::sqlite().await).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_is_under_way_is_done_before_a_worker_ends() {
        super::what_is_under_way_is_done_before_a_worker_ends(&fixture::sqlite().await).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_worker_is_told_of_jobs() {
        super::a_worker_is_told_of_jobs(&fixture::sqlite().await).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_schedule_is_kept_by_all_workers_together() {
        super::a_schedule_is_kept_by_all_workers_together(&fixture::sqlite().await).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_clock_that_is_wrong_neither_takes_nor_keeps_a_job() {
        super::a_clock_that_is_wrong_neither_takes_nor_keeps_a_job(&fixture::sqlite().await).await;
    }
}

mod postgres {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "needs WW_TEST_POSTGRES_URL"]
    async fn every_job_has_its_effect_once() {
        super::every_job_has_its_effect_once(&fixture::postgres().await).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "needs WW_TEST_POSTGRES_URL"]
    async fn what_fails_is_tried_again_and_in_the_end_dead() {
        super::what_fails_is_tried_again_and_in_the_end_dead(&fixture::postgres().await).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "needs WW_TEST_POSTGRES_URL"]
    async fn what_no_repeat_cures_is_dead_at_once() {
        super::what_no_repeat_cures_is_dead_at_once(&fixture::postgres().await).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "needs WW_TEST_POSTGRES_URL"]
    async fn one_bad_job_fails_alone() {
        super::one_bad_job_fails_alone(&fixture::postgres().await).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "needs WW_TEST_POSTGRES_URL"]
    async fn an_outage_is_nobodys_fault() {
        super::an_outage_is_nobodys_fault(&fixture::postgres().await).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "needs WW_TEST_POSTGRES_URL"]
    async fn a_panic_is_its_jobs_alone() {
        super::a_panic_is_its_jobs_alone(&fixture::postgres().await).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "needs WW_TEST_POSTGRES_URL"]
    async fn a_handler_that_hangs_is_given_up() {
        super::a_handler_that_hangs_is_given_up(&fixture::postgres().await).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "needs WW_TEST_POSTGRES_URL"]
    async fn a_job_that_takes_long_is_kept() {
        super::a_job_that_takes_long_is_kept(&fixture::postgres().await).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "needs WW_TEST_POSTGRES_URL"]
    async fn who_lost_a_job_stops() {
        super::who_lost_a_job_stops(&fixture::postgres().await).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "needs WW_TEST_POSTGRES_URL"]
    async fn what_is_not_done_in_time_is_given_back() {
        super::what_is_not_done_in_time_is_given_back(&fixture::postgres().await).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "needs WW_TEST_POSTGRES_URL"]
    async fn what_is_under_way_is_done_before_a_worker_ends() {
        super::what_is_under_way_is_done_before_a_worker_ends(&fixture::postgres().await).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "needs WW_TEST_POSTGRES_URL"]
    async fn a_worker_is_told_of_jobs() {
        super::a_worker_is_told_of_jobs(&fixture::postgres().await).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "needs WW_TEST_POSTGRES_URL"]
    async fn a_schedule_is_kept_by_all_workers_together() {
        super::a_schedule_is_kept_by_all_workers_together(&fixture::postgres().await).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "needs WW_TEST_POSTGRES_URL"]
    async fn a_clock_that_is_wrong_neither_takes_nor_keeps_a_job() {
        super::a_clock_that_is_wrong_neither_takes_nor_keeps_a_job(&fixture::postgres().await).await;
    }
}

/// Long enough for a machine under load.
const PATIENCE: Duration = Duration::from_mins(1);
const KIND: JobKind = JobKind::named("test.work");
/// Nobody finds a job by looking again.
const NEVER: u64 = 3_600_000;

type Answer = Result<Vec<Verdict>, JobError>;
type Instead = dyn Fn(&Work) -> Option<Answer> + Send + Sync;

/// Does jobs as a test says; by default each slice leaves a row in the audit log that names its jobs.
struct Hands {
    privacy: Arc<dyn PrivacyStore>,
    policy: JobPolicy,
    /// What a slice comes to in place of its effect.
    instead: Box<Instead>,
    /// How long a slice takes before.
    pause: Duration,
    /// Slices that were begun.
    begun: AtomicU32,
}

impl fmt::Debug for Hands {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hands").finish_non_exhaustive()
    }
}

impl Hands {
    fn of(fixture: &Fixture) -> Self {
        let quick = JobPolicy { base_ms: 1, cap_ms: 5, max_failures: 3, ..JobPolicy::default() };
        Self {
            privacy: Arc::clone(&fixture.stores.privacy),
            policy: quick,
            instead: Box::new(|_| None),
            pause: Duration::ZERO,
            begun: AtomicU32::new(0),
        }
    }

    fn instead(self, instead: impl Fn(&Work) -> Option<Answer> + Send + Sync + 'static) -> Self {
        Self { instead: Box::new(instead), ..self }
    }
}

#[async_trait]
impl JobHandler for Hands {
    fn kind(&self) -> JobKind {
        KIND
    }

    fn policy(&self) -> JobPolicy {
        self.policy
    }

    async fn run(&self, work: &Work) -> Answer {
        self.begun.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(self.pause).await;
        if let Some(answer) = (self.instead)(work) {
            return answer;
        }
        let jobs: Vec<_> = work.jobs().iter().map(number).collect();
        let audit = AuditDraft::new("test.effect", Scope::Global).with(json!({ "jobs": jobs }));
        self.privacy.note(&work.step(audit), AccountId::new(Uuid::nil())).await?;
        Ok(work.every(&Verdict::Settled))
    }
}

fn number(job: &Job) -> u64 {
    job.payload.as_u64().unwrap_or(0)
}

fn jobs(numbers: impl IntoIterator<Item = u64>) -> Vec<NewJob> {
    numbers.into_iter().map(|n| NewJob::new(KIND, n.into())).collect()
}

fn brisk() -> WorkerConfig {
    WorkerConfig { poll_ms: 20, sweep_ms: 50, drain_seconds: 20 }
}

fn outbox(stores: &Stores) -> Outbox {
    Outbox::new(Arc::clone(&stores.outbox), Sources::default())
}

fn start(fixture: &Fixture, config: WorkerConfig, hands: Hands) -> (RunningWorker, Arc<Hands>) {
    let hands = Arc::new(hands);
    (Worker::new(outbox(&fixture.stores), config).handling(hands.clone()).start(), hands)
}

impl Fixture {
    /// Waits until no job is left that waits or runs.
    async fn done(&self) {
        self.until("no job is left", async || self.live().await.is_empty()).await;
    }

    async fn until(&self, what: &str, is_so: impl AsyncFn() -> bool) {
        let looking = async {
            while !is_so().await {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, looking).await.unwrap_or_else(|_| panic!("{what}"));
    }

    async fn live(&self) -> Vec<LiveJob> {
        let query = JobQuery { limit: Limit::MAX, ..JobQuery::default() };
        self.stores.outbox.page(&query).await.unwrap().items
    }

    async fn dead(&self) -> Vec<DeadJob> {
        let query = JobQuery { limit: Limit::MAX, ..JobQuery::default() };
        self.stores.outbox.page_dead(&query).await.unwrap().items
    }

    /// How often each job has had its effect.
    async fn effects(&self) -> BTreeMap<u64, u32> {
        let mut effects = BTreeMap::new();
        for row in self.audit_log().await.into_iter().filter(|row| row.action == "test.effect") {
            for job in row.details.unwrap()["jobs"].as_array().unwrap() {
                *effects.entry(job.as_u64().unwrap()).or_default() += 1;
            }
        }
        effects
    }
}

fn once(numbers: impl IntoIterator<Item = u64>) -> BTreeMap<u64, u32> {
    numbers.into_iter().map(|n| (n, 1)).collect()
}

async fn every_job_has_its_effect_once(fixture: &Fixture) {
    let outbox = outbox(&fixture.stores);
    let workers: Vec<_> = (0..3).map(|_| start(fixture, brisk(), Hands::of(fixture)).0).collect();

    for n in 0..10 {
        outbox.enqueue(&jobs(n * 100..(n + 1) * 100)).await.unwrap();
    }
    fixture.done().await;

    assert_eq!(fixture.effects().await, once(0..1000));
    for worker in workers {
        worker.drain().await;
    }
}

async fn what_fails_is_tried_again_and_in_the_end_dead(fixture: &Fixture) {
    let refusing = |work: &Work| {
        let verdict = |job: &Job| {
            let error = JobError::new(format!("attempt {}", job.failures + 1));
            if number(job) == 1 && job.failures == 1 { Verdict::Done } else { Verdict::Failed(error) }
        };
        Some(Ok(work.jobs().iter().map(verdict).collect()))
    };
    let (worker, _) = start(fixture, brisk(), Hands::of(fixture).instead(refusing));

    outbox(&fixture.stores).enqueue(&jobs([1, 2])).await.unwrap();
    fixture.done().await;

    let dead = fixture.dead().await;
    assert_eq!(dead.iter().map(|job| (job.payload.as_u64(), job.failures)).collect::<Vec<_>>(), [(Some(2), 3)]);
    let errors: Vec<_> = dead[0].errors.iter().map(|mishap| mishap.error.as_str()).collect();
    assert_eq!(errors, ["attempt 1", "attempt 2", "attempt 3"]);
    worker.drain().await;
}

async fn what_no_repeat_cures_is_dead_at_once(fixture: &Fixture) {
    let hands = Hands::of(fixture).instead(|work| Some(work.jobs()[0].read::<String>().map(|_| Vec::new())));
    let (worker, _) = start(fixture, brisk(), hands);

    outbox(&fixture.stores).enqueue(&jobs([1])).await.unwrap();
    fixture.done().await;

    let dead = fixture.dead().await;
    assert_eq!((dead.len(), dead[0].failures), (1, 1));
    assert!(dead[0].errors[0].error.contains("the payload cannot be read"), "{:?}", dead[0].errors);
    worker.drain().await;
}

/// A slice is one effect; its jobs are tried one by one if it fails.
async fn one_bad_job_fails_alone(fixture: &Fixture) {
    let bad = |work: &Work| {
        work.jobs().iter().any(|job| number(job) == 13).then(|| Err(JobError::new("thirteen is among them")))
    };
    outbox(&fixture.stores).enqueue(&jobs(0..50)).await.unwrap();

    let (worker, _) = start(fixture, brisk(), Hands::of(fixture).instead(bad));
    fixture.done().await;

    assert_eq!(fixture.effects().await, once((0..50).filter(|n| *n != 13)));
    let dead = fixture.dead().await;
    assert_eq!(dead.iter().map(|job| job.payload.as_u64()).collect::<Vec<_>>(), [Some(13)]);
    worker.drain().await;
}

/// So its jobs are not tried one by one, and wait together.
async fn an_outage_is_nobodys_fault(fixture: &Fixture) {
    let away = |work: &Work| {
        let error = JobError::outage("the mail server is away").after(Duration::ZERO);
        (work.jobs()[0].failures == 0).then_some(Err(error))
    };
    outbox(&fixture.stores).enqueue(&jobs(0..50)).await.unwrap();

    let (worker, hands) = start(fixture, brisk(), Hands::of(fixture).instead(away));
    fixture.done().await;

    assert_eq!(fixture.effects().await, once(0..50));
    assert_eq!(hands.begun.load(Ordering::SeqCst), 2);
    worker.drain().await;
}

async fn a_panic_is_its_jobs_alone(fixture: &Fixture) {
    let panicking = |work: &Work| {
        assert!(!work.jobs().iter().any(|job| number(job) == 3), "three is too much");
        None
    };
    let (worker, _) = start(fixture, brisk(), Hands::of(fixture).instead(panicking));

    outbox(&fixture.stores).enqueue(&jobs(0..6)).await.unwrap();
    fixture.done().await;

    assert_eq!(fixture.effects().await, once([0, 1, 2, 4, 5]));
    let dead = fixture.dead().await;
    assert!(dead[0].errors[0].error.contains("three is too much"), "{:?}", dead[0].errors);
    worker.drain().await;
}

async fn a_handler_that_hangs_is_given_up(fixture: &Fixture) {
    let hands = Hands::of(fixture);
    let policy = JobPolicy { deadline_ms: 100, max_failures: 1, ..hands.policy };
    let (worker, _) = start(fixture, brisk(), Hands { policy, pause: PATIENCE, ..hands });

    outbox(&fixture.stores).enqueue(&jobs([1])).await.unwrap();
    fixture.until("it is dead", async || !fixture.dead().await.is_empty()).await;

    let dead = fixture.dead().await;
    assert_eq!((dead[0].failures, dead[0].crashes), (1, 0), "its worker says so before a sweep takes it");
    assert!(dead[0].errors[0].error.starts_with("it took longer than"), "{:?}", dead[0].errors);
    worker.drain().await;
}

/// Its worker tells of itself, whoever sweeps.
async fn a_job_that_takes_long_is_kept(fixture: &Fixture) {
    let hands = Hands::of(fixture);
    let policy = JobPolicy { lease_ms: 1500, ..hands.policy };
    let (worker, hands) = start(fixture, brisk(), Hands { policy, pause: Duration::from_secs(4), ..hands });
    outbox(&fixture.stores).enqueue(&jobs([1])).await.unwrap();
    let sweeping = Worker::new(outbox(&fixture.stores), brisk()).start();
    fixture.done().await;

    assert_eq!((fixture.effects().await, hands.begun.load(Ordering::SeqCst)), (once([1]), 1));
    worker.drain().await;
    sweeping.drain().await;
}

/// At its next sign of life: the handler's future is dropped.
async fn who_lost_a_job_stops(fixture: &Fixture) {
    let hands = Hands::of(fixture);
    let policy = JobPolicy { lease_ms: 600, ..hands.policy };
    let own = outbox(&fixture.stores);
    let config = WorkerConfig { drain_seconds: 0, ..brisk() };
    let hands = Arc::new(Hands { policy, pause: PATIENCE, ..hands });
    let worker = Worker::new(own.clone(), config).handling(hands.clone()).start();
    own.enqueue(&jobs([1])).await.unwrap();
    fixture.until("it is begun", async || hands.begun.load(Ordering::SeqCst) == 1).await;

    // As if somebody else had claimed it.
    assert_eq!(fixture.execute("UPDATE outbox_jobs SET fence = fence + 1").await, 1);

    fixture.until("it is told", async || own.counts().kinds[0].1.lost == 1).await;
    assert_eq!(fixture.effects().await, once([]));
    worker.drain().await;
}

async fn what_is_not_done_in_time_is_given_back(fixture: &Fixture) {
    let config = WorkerConfig { drain_seconds: 0, ..brisk() };
    let (worker, hands) = start(fixture, config, Hands { pause: PATIENCE, ..Hands::of(fixture) });
    outbox(&fixture.stores).enqueue(&jobs([1, 2])).await.unwrap();
    fixture.until("it is begun", async || hands.begun.load(Ordering::SeqCst) == 1).await;

    worker.drain().await;

    let live = fixture.live().await;
    assert!(live.iter().all(|job| job.state == weltenwind_core::outbox::JobState::Waiting));
    assert_eq!(live.iter().map(|job| (job.failures, job.crashes)).collect::<Vec<_>>(), [(0, 0), (0, 0)]);
    let (next, _) = start(fixture, brisk(), Hands::of(fixture));
    fixture.done().await;
    assert_eq!(fixture.effects().await, once([1, 2]));
    next.drain().await;
}

async fn what_is_under_way_is_done_before_a_worker_ends(fixture: &Fixture) {
    let (worker, hands) = start(fixture, brisk(), Hands { pause: Duration::from_millis(300), ..Hands::of(fixture) });
    outbox(&fixture.stores).enqueue(&jobs([1, 2])).await.unwrap();
    fixture.until("it is begun", async || hands.begun.load(Ordering::SeqCst) == 1).await;

    worker.drain().await;

    assert_eq!((fixture.effects().await, fixture.live().await.len()), (once([1, 2]), 0));
}

/// In its own process; on Postgres by other processes, too.
async fn a_worker_is_told_of_jobs(fixture: &Fixture) {
    let own = outbox(&fixture.stores);
    let config = WorkerConfig { poll_ms: NEVER, ..brisk() };
    let worker = Worker::new(own.clone(), config).handling(Arc::new(Hands::of(fixture))).start();
    // The first look finds nothing, and nobody looks again by itself.
    fixture.until("it has looked", async || own.unreached_for().is_some()).await;

    own.enqueue(&jobs([1])).await.unwrap();
    fixture.done().await;

    if fixture.config.url.starts_with("postgres") {
        let others = weltenwind_storage::open(&fixture.config).await.unwrap();
        let elsewhere = outbox(&others);
        // The first hint may come before it is listened for.
        let told = async || {
            elsewhere.wake(&jobs([2]));
            fixture.live().await.is_empty()
        };
        elsewhere.enqueue(&jobs([2])).await.unwrap();
        fixture.until("it is told by another process", told).await;
        others.health.close().await;
    }
    let effects = fixture.effects().await;
    assert!(effects == once([1]) || effects == once([1, 2]), "{effects:?}");
    worker.drain().await;
}

/// Each instant is one job, however many workers know it.
async fn a_schedule_is_kept_by_all_workers_together(fixture: &Fixture) {
    let every_second = || Schedule::new("tick", KIND, "* * * * * *", "Europe/Berlin").unwrap();
    let workers: Vec<_> = (0..4)
        .map(|_| {
            let worker = Worker::new(outbox(&fixture.stores), brisk()).handling(Arc::new(Hands::of(fixture)));
            worker.scheduled(every_second()).start()
        })
        .collect();

    let began = SystemClock.now();
    fixture.until("it has run three times", async || fixture.effects().await.get(&0) >= Some(&3)).await;

    for worker in workers {
        worker.drain().await;
    }
    let runs = i64::from(fixture.effects().await[&0]);
    let seconds = SystemClock.now().duration_since(began).as_secs() + 2;
    assert!(runs <= seconds, "{runs} runs in {seconds} s");
}

/// On Postgres the database tells the time. On SQLite all processes have one clock, which may be set back.
async fn a_clock_that_is_wrong_neither_takes_nor_keeps_a_job(fixture: &Fixture) {
    let is_sqlite = fixture.config.url.starts_with("sqlite");
    let clocks: Vec<_> = [-2, 0, 2]
        .map(|hours| {
            let clock = ManualClock::at(SystemClock.now() + jiff::SignedDuration::from_hours(hours));
            Arc::new(clock)
        })
        .into();
    let shared = Arc::clone(&clocks[2]);
    let hands = || Hands { pause: Duration::from_millis(20), ..Hands::of(fixture) };
    let workers: Vec<_> = clocks
        .iter()
        .map(|clock| {
            let clock = if is_sqlite { Arc::clone(&shared) } else { Arc::clone(clock) };
            let outbox = Outbox::new(Arc::clone(&fixture.stores.outbox), Sources { clock, ..Sources::default() });
            let worker = Worker::new(outbox.clone(), brisk()).handling(Arc::new(hands())).start();
            (outbox, worker)
        })
        .collect();

    for (n, (outbox, _)) in (0..).zip(&workers) {
        outbox.enqueue(&jobs(n * 100..(n + 1) * 100)).await.unwrap();
        // An hour back in the middle of it.
        shared.set(SystemClock.now() + jiff::SignedDuration::from_hours(1));
    }
    fixture.done().await;

    assert_eq!(fixture.effects().await, once(0..300));
    for (outbox, worker) in workers {
        assert_eq!(outbox.counts().swept, 0);
        worker.drain().await;
    }
}
