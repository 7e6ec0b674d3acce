//! The worker: claims jobs, lets handlers do them, tells of itself meanwhile, and says what became of them.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, atomic::Ordering},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::{
    sync::{Notify, watch},
    task::{JoinError, JoinSet},
    time::{Instant, timeout_at},
};

use super::{
    error::{Cure, JobError},
    handler::{JobHandler, Verdict, Work},
    model::{Claim, Class, How, Job, JobId, JobKind, Lease, Renewal, Settlement},
    policy::JobPolicy,
    schedule::Schedule,
    service::{Inner, KindCounts, Outbox, lock},
};
use crate::{
    actor::CorrelationId,
    error::{StorageError, chain},
    ids::WorkerId,
};

/// Jobs that are taken back at once.
const SWEPT_AT_ONCE: u16 = 500;
/// Leases that are renewed at once.
const RENEWED_AT_ONCE: usize = 500;
/// How long to wait before what became of a slice is said again to a store that is away.
const SETTLE_PAUSES: [Duration; 4] =
    [Duration::from_millis(100), Duration::from_millis(500), Duration::from_secs(2), Duration::from_secs(5)];
/// How long dead jobs are kept.
const DEAD_KEPT: Duration = Duration::from_hours(30 * 24);
/// How often dead jobs are deleted that were kept long enough.
const PURGE_EVERY: Duration = Duration::from_hours(1);
/// Dead jobs that are deleted at once.
const PURGED_AT_ONCE: u32 = 500;
/// Schedules are looked at no less often: another release may have changed them.
const SCHEDULES_EVERY: Duration = Duration::from_secs(30);

/// How a worker works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WorkerConfig {
    /// How often a worker that is not told looks for jobs, in milliseconds.
    pub poll_ms: u64,
    /// How often jobs of dead workers are taken back, in milliseconds.
    pub sweep_ms: u64,
    /// How long jobs that are under way may take once the worker is told to stop, in seconds.
    pub drain_seconds: u64,
}

impl Default for WorkerConfig {
    fn default() -> Self {
        Self { poll_ms: 1000, sweep_ms: 5000, drain_seconds: 20 }
    }
}

/// Does the jobs of an outbox: handlers by kind, and schedules. Nothing runs before [`Worker::start`].
#[derive(Debug)]
pub struct Worker {
    outbox: Outbox,
    config: WorkerConfig,
    handlers: BTreeMap<JobKind, (Arc<dyn JobHandler>, JobPolicy)>,
    schedules: Vec<Schedule>,
}

impl Worker {
    /// A worker that can do nothing yet.
    pub const fn new(outbox: Outbox, config: WorkerConfig) -> Self {
        Self { outbox, config, handlers: BTreeMap::new(), schedules: Vec::new() }
    }

    /// Adds a handler, under its own policy; a later one of the same kind takes its place.
    #[must_use]
    pub fn handling(self, handler: Arc<dyn JobHandler>) -> Self {
        let policy = handler.policy();
        self.handling_under(handler, policy)
    }

    /// Adds a handler under another policy than its own.
    #[must_use]
    pub fn handling_under(mut self, handler: Arc<dyn JobHandler>, policy: JobPolicy) -> Self {
        self.handlers.insert(handler.kind(), (handler, policy));
        self
    }

    /// Adds a schedule.
    #[must_use]
    pub fn scheduled(mut self, schedule: Schedule) -> Self {
        self.schedules.push(schedule);
        self
    }

    /// Starts. Must be called inside a Tokio runtime; dropping the answer stops at once and leaves leases to be swept.
    pub fn start(self) -> RunningWorker {
        let Self { outbox, config, handlers, schedules } = self;
        let (stop, _) = watch::channel(false);
        let inner = Arc::clone(&outbox.inner);
        let engine = Arc::new(Engine {
            worker: WorkerId::new(inner.sources.ids.draw()),
            inner,
            poll: Duration::from_millis(config.poll_ms.max(1)),
            held: Mutex::default(),
            stop,
        });
        engine.inner.reached();
        let mut lanes = JoinSet::new();
        let mut bells = Vec::new();
        let mut beat = Duration::from_secs(10);
        for (kind, (handler, policy)) in handlers {
            beat = beat.min(policy.lease() / 3);
            for class in [Class::Sound, Class::Suspect] {
                let bell = engine.inner.bell(&kind);
                bells.push(Arc::clone(&bell));
                let counts = engine.inner.counts_of(&kind);
                let lane = Lane { kind: kind.clone(), handler: Arc::clone(&handler), policy, class, bell, counts };
                lanes.spawn(Arc::clone(&engine).serve(Arc::new(lane)));
            }
        }
        let mut upkeep = JoinSet::new();
        upkeep.spawn(Arc::clone(&engine).beat(beat.max(Duration::from_millis(10))));
        upkeep.spawn(Arc::clone(&engine).sweep(Duration::from_millis(config.sweep_ms.max(1))));
        upkeep.spawn(Arc::clone(&engine).purge());
        upkeep.spawn(Arc::clone(&engine).listen());
        if !schedules.is_empty() {
            upkeep.spawn(Arc::clone(&engine).keep_time(outbox, schedules));
        }
        RunningWorker { engine, lanes, upkeep, bells, patience: Duration::from_secs(config.drain_seconds) }
    }
}

/// A worker at work.
#[derive(Debug)]
pub struct RunningWorker {
    engine: Arc<Engine>,
    lanes: JoinSet<()>,
    upkeep: JoinSet<()>,
    bells: Vec<Arc<Notify>>,
    patience: Duration,
}

impl RunningWorker {
    /// Returns what stands on the jobs that it holds.
    pub fn id(&self) -> WorkerId {
        self.engine.worker
    }

    /// Claims nothing more, waits for the jobs under way as long as the configuration says, and gives back what is not done by
    /// then: that counts as no attempt.
    pub async fn drain(mut self) {
        self.engine.stop.send_replace(true);
        let lanes = &mut self.lanes;
        let ended = async { while lanes.join_next().await.is_some() {} };
        if tokio::time::timeout(self.patience, ended).await.is_err() {
            self.lanes.shutdown().await;
            let held = lock(&self.engine.held).values().map(|held| held.lease).collect::<Vec<_>>();
            let released: Vec<_> = held.iter().map(|&lease| Settlement { lease, how: How::Released }).collect();
            tracing::warn!(jobs = released.len(), "gave jobs back that were not done in time");
            self.engine.settle(&released).await;
        }
        self.upkeep.shutdown().await;
        self.engine.inner.unhang(&self.bells);
        self.engine.inner.reached_at.store(0, Ordering::Release);
    }
}

/// The jobs of one kind, of one class.
#[derive(Debug)]
struct Lane {
    kind: JobKind,
    handler: Arc<dyn JobHandler>,
    policy: JobPolicy,
    class: Class,
    bell: Arc<Notify>,
    counts: Arc<KindCounts>,
}

impl Lane {
    /// Jobs at once; of those during which a worker died one, so that the one to blame is alone next time.
    const fn limit(&self) -> u16 {
        match self.class {
            Class::Sound if self.policy.batch > 0 => self.policy.batch,
            Class::Sound | Class::Suspect => 1,
        }
    }

    fn concurrency(&self) -> usize {
        match self.class {
            Class::Sound => usize::from(self.policy.concurrency.max(1)),
            Class::Suspect => 1,
        }
    }
}

/// A job that this process works on.
#[derive(Debug)]
struct Held {
    lease: Lease,
    by: Duration,
    /// Told when somebody else has it.
    lost: Arc<Notify>,
}

#[derive(Debug)]
struct Engine {
    inner: Arc<Inner>,
    worker: WorkerId,
    poll: Duration,
    held: Mutex<HashMap<JobId, Held>>,
    stop: watch::Sender<bool>,
}

impl Engine {
    fn is_stopping(&self) -> bool {
        *self.stop.borrow()
    }

    /// Claims and works until the worker stops, then waits for what is under way.
    async fn serve(self: Arc<Self>, lane: Arc<Lane>) {
        let mut stop = self.stop.subscribe();
        let mut slices = JoinSet::new();
        let mut is_away = false;
        while !self.is_stopping() {
            while slices.try_join_next().is_some() {}
            let mut is_full = false;
            if slices.len() < lane.concurrency() {
                match self.claim(&lane).await {
                    Ok(jobs) => {
                        is_away = false;
                        is_full = jobs.len() == usize::from(lane.limit());
                        if !jobs.is_empty() {
                            slices.spawn(Arc::clone(&self).work(Arc::clone(&lane), jobs));
                        }
                    }
                    Err(error) if !is_away => {
                        is_away = true;
                        tracing::warn!(error = chain(&error), kind = %lane.kind, "cannot look for jobs");
                    }
                    Err(error) => {
                        tracing::debug!(error = chain(&error), kind = %lane.kind, "still cannot look for jobs");
                    }
                }
            }
            if is_full && slices.len() < lane.concurrency() {
                continue;
            }
            tokio::select! {
                Some(_) = slices.join_next() => {}
                () = lane.bell.notified() => {}
                () = tokio::time::sleep(self.poll) => {}
                _ = stop.changed() => {}
            }
        }
        while slices.join_next().await.is_some() {}
    }

    async fn claim(&self, lane: &Lane) -> Result<Vec<Job>, StorageError> {
        let claim = Claim {
            kind: lane.kind.clone(),
            class: lane.class,
            worker: self.worker,
            limit: lane.limit(),
            lease: lane.policy.lease(),
            // A worker that can still tell gives its slice up at the deadline; whoever cannot is given a lease's time more.
            deadline: lane.policy.deadline() + lane.policy.lease(),
            max_crashes: lane.policy.max_crashes.max(1),
        };
        let jobs = self.inner.store.claim(&claim, self.inner.now()).await?;
        self.inner.reached();
        lane.counts.claimed.fetch_add(jobs.len() as u64, Ordering::Relaxed);
        Ok(jobs)
    }

    /// Lets the handler do a slice, and says what became of it.
    async fn work(self: Arc<Self>, lane: Arc<Lane>, jobs: Vec<Job>) {
        let lost = Arc::new(Notify::new());
        self.hold(&jobs, lane.policy.lease(), &lost);
        let deadline = Instant::now() + lane.policy.deadline();
        let attempted = tokio::select! {
            attempted = self.attempt_all(&lane, &jobs, deadline) => Some(attempted),
            () = lost.notified() => None,
        };
        let settlements: Vec<_> = if let Some(verdicts) = attempted {
            jobs.iter().zip(verdicts).filter_map(|(job, verdict)| self.settlement(&lane, job, verdict)).collect()
        } else {
            tracing::warn!(kind = %lane.kind, "gave a slice up: somebody else has a job of it");
            jobs.iter().map(|job| Settlement { lease: job.lease, how: How::Released }).collect()
        };
        let taken = self.settle(&settlements).await;
        lane.counts.lost.fetch_add(taken as u64, Ordering::Relaxed);
        self.release(&jobs);
    }

    /// Tries a slice as a whole, and if it fails as a whole its jobs one by one.
    async fn attempt_all(&self, lane: &Lane, jobs: &[Job], deadline: Instant) -> Vec<Verdict> {
        let whole = self.attempt(lane, jobs.to_vec(), deadline).await;
        let error = match whole {
            Ok(verdicts) => return verdicts,
            Err(error) => error,
        };
        if jobs.len() == 1 || error.cure() == Cure::Outage {
            return vec![Verdict::Failed(error); jobs.len()];
        }
        tracing::debug!(kind = %lane.kind, %error, jobs = jobs.len(), "a slice failed, its jobs are tried one by one");
        let mut verdicts = Vec::with_capacity(jobs.len());
        for job in jobs {
            let alone = self.attempt(lane, vec![job.clone()], deadline).await;
            verdicts.push(alone.map_or_else(Verdict::Failed, |verdicts| verdicts[0].clone()));
        }
        verdicts
    }

    /// Lets the handler do jobs. It runs in a task of its own, so that a panic is its own; the task ends with this future.
    async fn attempt(&self, lane: &Lane, jobs: Vec<Job>, deadline: Instant) -> Result<Vec<Verdict>, JobError> {
        let count = jobs.len();
        let work = Work::new(jobs, &self.inner.sources);
        let handler = Arc::clone(&lane.handler);
        let mut task = JoinSet::new();
        task.spawn(async move { handler.run(&work).await });
        let verdicts = match timeout_at(deadline, task.join_next()).await {
            Ok(Some(Ok(ran))) => ran?,
            Ok(Some(Err(error))) => return Err(panicked(error)),
            Ok(None) | Err(_) => {
                return Err(JobError::new(format!("it took longer than {} s", lane.policy.deadline().as_secs_f64())));
            }
        };
        if verdicts.len() == count {
            Ok(verdicts)
        } else {
            Err(JobError::new(format!("the handler answered {} verdicts for {count} jobs", verdicts.len())))
        }
    }

    fn settlement(&self, lane: &Lane, job: &Job, verdict: Verdict) -> Option<Settlement> {
        let error = match verdict {
            Verdict::Settled => {
                lane.counts.done.fetch_add(1, Ordering::Relaxed);
                return None;
            }
            Verdict::Done => {
                lane.counts.done.fetch_add(1, Ordering::Relaxed);
                return Some(Settlement { lease: job.lease, how: How::Done });
            }
            Verdict::Failed(error) => error,
        };
        let (kind, id, correlation_id) = (&job.kind, job.id(), &job.correlation_id);
        let failures = job.failures + 1;
        let how = if error.cure() == Cure::None || failures >= lane.policy.max_failures {
            tracing::error!(%kind, job = %id, %correlation_id, failures, %error, "a job failed and is dead");
            lane.counts.buried.fetch_add(1, Ordering::Relaxed);
            How::Buried { error: error.to_string() }
        } else {
            let pause = || lane.policy.pause(failures, &*self.inner.sources.random);
            let after = error.retry_after().unwrap_or_else(pause);
            tracing::warn!(%kind, job = %id, %correlation_id, failures, ?after, %error, "a job failed and is tried again");
            lane.counts.failed.fetch_add(1, Ordering::Relaxed);
            How::Retried { after, error: error.to_string() }
        };
        Some(Settlement { lease: job.lease, how })
    }

    /// Says what became of jobs, also to a store that was away for a moment, and returns how many were somebody else's.
    async fn settle(&self, settlements: &[Settlement]) -> usize {
        if settlements.is_empty() {
            return 0;
        }
        let mut pauses = SETTLE_PAUSES.iter();
        loop {
            let error = match self.inner.store.settle(settlements, self.inner.now()).await {
                Ok(lost) => return lost.len(),
                Err(error) => error,
            };
            match pauses.next() {
                Some(pause) if error.is_transient() => tokio::time::sleep(*pause).await,
                _ => {
                    let jobs = settlements.len();
                    tracing::error!(error = chain(&error), jobs, "cannot say what became of jobs; their lease ends");
                    return 0;
                }
            }
        }
    }

    fn hold(&self, jobs: &[Job], by: Duration, lost: &Arc<Notify>) {
        let mut held = lock(&self.held);
        for job in jobs {
            held.insert(job.id(), Held { lease: job.lease, by, lost: Arc::clone(lost) });
        }
    }

    fn release(&self, jobs: &[Job]) {
        let mut held = lock(&self.held);
        for job in jobs {
            // The same job may be held anew under a later fence.
            if held.get(&job.id()).is_some_and(|held| held.lease == job.lease) {
                held.remove(&job.id());
            }
        }
    }

    /// Renews the leases of whatever is under way.
    async fn beat(self: Arc<Self>, every: Duration) {
        loop {
            tokio::time::sleep(every).await;
            let held: Vec<_> =
                lock(&self.held).values().map(|held| Renewal { lease: held.lease, by: held.by }).collect();
            for renewals in held.chunks(RENEWED_AT_ONCE) {
                match self.inner.store.renew(renewals, self.inner.now()).await {
                    Ok(lost) => self.tell_lost(&lost),
                    Err(error) => tracing::warn!(error = chain(&error), "cannot renew the leases of jobs"),
                }
            }
        }
    }

    fn tell_lost(&self, lost: &[Lease]) {
        let held = lock(&self.held);
        for lease in lost {
            if let Some(held) = held.get(&lease.job).filter(|held| held.lease == *lease) {
                held.lost.notify_one();
            }
        }
    }

    /// Takes jobs back from workers that are no more, whosever they were.
    async fn sweep(self: Arc<Self>, every: Duration) {
        loop {
            tokio::time::sleep(every).await;
            loop {
                let swept = match self.inner.store.sweep(SWEPT_AT_ONCE, self.inner.now()).await {
                    Ok(swept) => swept,
                    Err(error) => {
                        tracing::warn!(error = chain(&error), "cannot look for jobs of dead workers");
                        break;
                    }
                };
                self.inner.reached();
                self.inner.swept.returned.fetch_add(swept.returned, Ordering::Relaxed);
                self.inner.swept.buried.fetch_add(swept.buried, Ordering::Relaxed);
                if swept.returned + swept.buried > 0 {
                    tracing::warn!(swept.returned, swept.buried, "took jobs back from workers that are no more");
                    self.inner.ring_all();
                }
                if swept.returned + swept.buried < u64::from(SWEPT_AT_ONCE) {
                    break;
                }
            }
        }
    }

    /// Deletes dead jobs that were kept long enough.
    async fn purge(self: Arc<Self>) {
        let mut timer = tokio::time::interval(PURGE_EVERY);
        loop {
            timer.tick().await;
            loop {
                let before = self.inner.now() - DEAD_KEPT;
                match self.inner.store.purge_dead(before, PURGED_AT_ONCE).await {
                    Ok(purged) if purged == u64::from(PURGED_AT_ONCE) => {}
                    Ok(_) => break,
                    Err(error) => {
                        tracing::warn!(error = chain(&error), "cannot delete old dead jobs; trying again in an hour");
                        break;
                    }
                }
            }
        }
    }

    /// Passes on what other processes tell.
    async fn listen(self: Arc<Self>) {
        loop {
            match self.inner.store.hinted().await {
                Ok(kinds) => self.inner.ring(&kinds.into_iter().collect()),
                Err(error) => {
                    tracing::debug!(error = chain(&error), "is not told of jobs, and looks for them");
                    tokio::time::sleep(self.poll).await;
                }
            }
        }
    }

    /// Writes the jobs of schedules when their instants have come.
    async fn keep_time(self: Arc<Self>, outbox: Outbox, schedules: Vec<Schedule>) {
        loop {
            let pause = match self.look_at(&outbox, &schedules).await {
                Ok(pause) => pause,
                Err(error) => {
                    tracing::warn!(error = chain(&error), "cannot look at the schedules");
                    self.poll
                }
            };
            tokio::time::sleep(pause.clamp(Duration::from_millis(1), SCHEDULES_EVERY)).await;
        }
    }

    /// Looks at the schedules once, and returns how long the next one has time.
    async fn look_at(&self, outbox: &Outbox, schedules: &[Schedule]) -> Result<Duration, StorageError> {
        let store = &self.inner.store;
        let names: Vec<_> = schedules.iter().map(|schedule| schedule.name().to_owned()).collect();
        let (rows, now) = (store.schedules(&names).await?, store.now(self.inner.now()).await?);
        let mut pause = SCHEDULES_EVERY;
        for schedule in schedules {
            let Some(next) = schedule.row(now) else { continue };
            let was = rows.iter().find(|row| row.name == next.name);
            let is_due = match was {
                Some(was) if was.spec == next.spec && was.next_at > now => {
                    pause = pause.min(Duration::try_from(was.next_at.duration_since(now)).unwrap_or_default());
                    continue;
                }
                Some(was) => was.spec == next.spec,
                None => false,
            };
            let job = is_due.then(|| schedule.job());
            let correlation_id = CorrelationId::draw(&*self.inner.sources.ids);
            if store.advance(was, &next, job.as_ref(), &correlation_id, self.inner.now()).await? {
                outbox.wake(job.as_ref());
            }
            pause = pause.min(Duration::try_from(next.next_at.duration_since(now)).unwrap_or_default());
        }
        Ok(pause)
    }
}

fn panicked(error: JoinError) -> JobError {
    let Ok(panic) = error.try_into_panic() else { return JobError::outage("the worker is about to stop") };
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    JobError::new(format!("the handler panicked: {}", text.as_deref().unwrap_or("without a word")))
}
