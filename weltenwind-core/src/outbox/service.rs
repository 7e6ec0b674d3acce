//! Who is told of jobs, and what was done with them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use super::{
    model::{JobKind, NewJob, OutboxStats},
    store::OutboxStore,
};
use crate::{
    actor::CorrelationId,
    clock::Timestamp,
    error::{StorageError, chain},
    services::Sources,
};

/// Other processes are told of jobs at most so often: in Postgres each time is a commit of its own, under a lock that the
/// whole database shares.
const HINT_EVERY: Duration = Duration::from_millis(20);

/// The outbox of an installation, as its services use it. Clones share it.
#[derive(Debug, Clone)]
pub struct Outbox {
    pub(super) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) store: Arc<dyn OutboxStore>,
    pub(super) sources: Sources,
    /// Who waits for jobs of a kind in this process.
    bells: Mutex<BTreeMap<JobKind, Vec<Arc<Notify>>>>,
    /// What other processes are to be told; a task does it while there is something.
    hints: Mutex<Hints>,
    counts: Mutex<BTreeMap<JobKind, Arc<KindCounts>>>,
    pub(super) swept: SweptCounts,
    /// When a worker of this process last reached the store, in microseconds; 0 while there is none.
    pub(super) reached_at: AtomicI64,
}

#[derive(Debug, Default)]
struct Hints {
    kinds: BTreeSet<JobKind>,
    is_sending: bool,
    sent_at: Option<Instant>,
}

/// What workers of this process have done with the jobs of one kind.
#[derive(Debug, Default)]
pub(super) struct KindCounts {
    pub(super) claimed: AtomicU64,
    pub(super) done: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) buried: AtomicU64,
    pub(super) lost: AtomicU64,
}

/// What this process has taken back from workers that no longer told of themselves.
#[derive(Debug, Default)]
pub(super) struct SweptCounts {
    pub(super) returned: AtomicU64,
    pub(super) buried: AtomicU64,
}

/// What the workers of a process have done so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OutboxCounts {
    /// By kind.
    pub kinds: Vec<(JobKind, JobCounts)>,
    /// Jobs taken back from a worker that no longer told of itself or took too long, of any process.
    pub swept: u64,
    /// Of those, jobs that are dead since.
    pub swept_dead: u64,
}

/// What the workers of a process have done with jobs of one kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct JobCounts {
    /// Jobs claimed.
    pub claimed: u64,
    /// Jobs done.
    pub done: u64,
    /// Attempts that failed and are repeated.
    pub failed: u64,
    /// Jobs that failed and are dead.
    pub buried: u64,
    /// Jobs that were lost to somebody else while they were worked on.
    pub lost: u64,
}

impl Outbox {
    /// The outbox of a store.
    pub fn new(store: Arc<dyn OutboxStore>, sources: Sources) -> Self {
        let inner = Inner {
            store,
            sources,
            bells: Mutex::default(),
            hints: Mutex::default(),
            counts: Mutex::default(),
            swept: SweptCounts::default(),
            reached_at: AtomicI64::new(0),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Tells the workers of these jobs, once the step that wrote them is committed: here at once, in other processes soon.
    ///
    /// It does not wait and cannot fail: a worker that is not told looks within a second. Must be called inside a Tokio runtime.
    pub fn wake<'a>(&self, jobs: impl IntoIterator<Item = &'a NewJob>) {
        let kinds: BTreeSet<JobKind> = jobs.into_iter().map(|job| job.kind.clone()).collect();
        self.wake_kinds(kinds);
    }

    /// Writes jobs that follow from no step, and tells the workers.
    pub async fn enqueue(&self, jobs: &[NewJob]) -> Result<(), StorageError> {
        let Inner { store, sources, .. } = &*self.inner;
        store.enqueue(jobs, &CorrelationId::draw(&*sources.ids), sources.clock.now()).await?;
        self.wake(jobs);
        Ok(())
    }

    /// Returns the store, for whoever asks what is in it.
    pub fn store(&self) -> &Arc<dyn OutboxStore> {
        &self.inner.store
    }

    /// Counts what there is.
    pub async fn stats(&self) -> Result<OutboxStats, StorageError> {
        self.inner.store.stats(self.inner.now()).await
    }

    /// Returns what the workers of this process have done.
    pub fn counts(&self) -> OutboxCounts {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let kinds = lock(&self.inner.counts);
        let kinds = kinds.iter().map(|(kind, counts)| {
            let KindCounts { claimed, done, failed, buried, lost } = &**counts;
            let counts = JobCounts {
                claimed: read(claimed),
                done: read(done),
                failed: read(failed),
                buried: read(buried),
                lost: read(lost),
            };
            (kind.clone(), counts)
        });
        OutboxCounts {
            kinds: kinds.collect(),
            swept: read(&self.inner.swept.returned) + read(&self.inner.swept.buried),
            swept_dead: read(&self.inner.swept.buried),
        }
    }

    /// Returns for how long the worker of this process has not reached the store; none if it has none.
    pub fn unreached_for(&self) -> Option<Duration> {
        let reached_at = self.inner.reached_at.load(Ordering::Acquire);
        let age = self.inner.now().as_microsecond() - reached_at;
        (reached_at != 0).then(|| Duration::from_micros(u64::try_from(age).unwrap_or(0)))
    }

    pub(super) fn wake_kinds(&self, kinds: BTreeSet<JobKind>) {
        if kinds.is_empty() {
            return;
        }
        self.inner.ring(&kinds);
        let mut hints = lock(&self.inner.hints);
        hints.kinds.extend(kinds);
        if !hints.is_sending {
            hints.is_sending = true;
            tokio::spawn(send_hints(Arc::clone(&self.inner)));
        }
    }
}

impl Inner {
    pub(super) fn now(&self) -> Timestamp {
        self.sources.clock.now()
    }

    /// Returns what rings when there may be jobs of a kind.
    pub(super) fn bell(&self, kind: &JobKind) -> Arc<Notify> {
        let bell = Arc::new(Notify::new());
        lock(&self.bells).entry(kind.clone()).or_default().push(Arc::clone(&bell));
        bell
    }

    /// Takes the bells of kinds away whose worker has ended.
    pub(super) fn unhang(&self, gone: &[Arc<Notify>]) {
        for bells in lock(&self.bells).values_mut() {
            bells.retain(|bell| !gone.iter().any(|gone| Arc::ptr_eq(bell, gone)));
        }
    }

    pub(super) fn ring(&self, kinds: &BTreeSet<JobKind>) {
        let bells = lock(&self.bells);
        for bell in kinds.iter().filter_map(|kind| bells.get(kind)).flatten() {
            bell.notify_one();
        }
    }

    pub(super) fn ring_all(&self) {
        for bell in lock(&self.bells).values().flatten() {
            bell.notify_one();
        }
    }

    pub(super) fn counts_of(&self, kind: &JobKind) -> Arc<KindCounts> {
        Arc::clone(lock(&self.counts).entry(kind.clone()).or_default())
    }

    /// Remembers that the store was reached just now.
    pub(super) fn reached(&self) {
        self.reached_at.store(self.now().as_microsecond(), Ordering::Release);
    }
}

/// Tells other processes what has gathered, until nothing has.
async fn send_hints(inner: Arc<Inner>) {
    loop {
        let sent_at = lock(&inner.hints).sent_at;
        if let Some(sent_at) = sent_at {
            tokio::time::sleep_until(sent_at + HINT_EVERY).await;
        }
        let kinds: Vec<_> = {
            let mut hints = lock(&inner.hints);
            if hints.kinds.is_empty() {
                hints.is_sending = false;
                return;
            }
            hints.sent_at = Some(Instant::now());
            std::mem::take(&mut hints.kinds).into_iter().collect()
        };
        if let Err(error) = inner.store.hint(&kinds).await {
            tracing::debug!(error = chain(&error), "other processes find new jobs a little later");
        }
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
