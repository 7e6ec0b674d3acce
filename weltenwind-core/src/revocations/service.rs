//! How a node follows the log.

use std::{
    sync::{
        Arc, RwLock, Weak,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use super::{
    known::{self, Mark, Memory},
    model::{Ended, LossSeq},
    store::RevocationStore,
    watch::LossWatch,
};
use crate::{
    bus::{Bus, LossHints},
    clock::{Clock, Timestamp},
    error::{StorageError, chain},
    ids::{AccountId, DeviceId, SessionId},
};

/// How often the log is read when nobody says that it has grown.
const POLL: Duration = Duration::from_millis(500);
/// How long one look at the log may take; a connection that answers nothing is not waited for.
const READ_LIMIT: Duration = Duration::from_secs(5);
/// Losses that are read at once.
const PAGE: u16 = 1000;
/// With a look that is older, what is remembered of sessions and rights is believed no longer than without a log.
const CURRENT: Duration = Duration::from_secs(2);
/// A node whose last look is older does not know who may still come in.
const STALE: Duration = Duration::from_secs(10);
/// By how much the clocks of nodes may differ, and how long a transaction may take behind the instant that it bears.
const SLACK: Duration = Duration::from_mins(2);
/// How long losses are kept in the store.
const KEPT: Duration = Duration::from_hours(24);
/// Losses that are deleted at once.
const PURGED_AT_ONCE: u32 = 500;

/// What this node knows of losses. Clones share it.
#[derive(Debug, Clone)]
pub struct Revocations {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// The log and how it is followed; none where nothing is logged.
    log: Option<Log>,
    memory: Arc<RwLock<Memory>>,
}

#[derive(Debug)]
struct Log {
    store: Arc<dyn RevocationStore>,
    bus: Arc<dyn Bus>,
    clock: Arc<dyn Clock>,
    /// How long a loss is kept in memory.
    remembered: Duration,
    /// One look at a time.
    reading: tokio::sync::Mutex<()>,
    /// Counts the looks that were begun.
    looks: AtomicU64,
    /// The newest look that succeeded.
    good_look: AtomicU64,
    /// When the newest look that succeeded was begun, in microseconds.
    read_at: AtomicI64,
}

impl Revocations {
    /// Reads the losses of the last minutes and follows the log from there, for as long as a clone of the answer lives.
    ///
    /// `token_life` is that of an access token: a loss is remembered until every token has run out that was issued before it.
    /// Must be called inside a Tokio runtime.
    pub async fn start(
        store: Arc<dyn RevocationStore>,
        bus: Arc<dyn Bus>,
        clock: Arc<dyn Clock>,
        token_life: Duration,
    ) -> Result<Self, StorageError> {
        let remembered = token_life + SLACK;
        let hints = bus.loss_hints();
        let now = clock.now();
        let position = store.position_at(now - remembered).await?;
        let log = Log {
            store,
            bus,
            clock,
            remembered,
            reading: tokio::sync::Mutex::default(),
            looks: AtomicU64::new(0),
            good_look: AtomicU64::new(0),
            read_at: AtomicI64::new(now.as_microsecond()),
        };
        let inner = Arc::new(Inner { log: Some(log), memory: Arc::new(RwLock::new(Memory::at(position))) });
        inner.catch_up().await?;
        tokio::spawn(follow(Arc::downgrade(&inner), hints));
        Ok(Self { inner })
    }

    /// Knows of no losses, for a program that has no log of them: what is remembered is then believed for a second.
    pub fn none() -> Self {
        let memory = Arc::new(RwLock::new(Memory::at(LossSeq::START)));
        Self { inner: Arc::new(Inner { log: None, memory }) }
    }

    /// Passes if nothing is known to have ended a sign-in.
    ///
    /// # Errors
    ///
    /// [`Ended`], if the session, the device or the account was lost.
    pub fn check(&self, account: AccountId, session: SessionId, device: DeviceId) -> Result<(), Ended> {
        match known::read(&self.inner.memory).ended(account, session, device) {
            Some((ended, _)) => Err(ended),
            None => Ok(()),
        }
    }

    /// Tells how far the log was read. Whoever looks something up takes a mark first and remembers both.
    pub fn mark(&self) -> Mark {
        known::read(&self.inner.memory).mark()
    }

    /// Returns whether an account may have lost something since `mark`, so that what was looked up then is to be looked up
    /// anew.
    pub fn touched_since(&self, account: AccountId, mark: Mark) -> bool {
        known::read(&self.inner.memory).touched_since(account, mark)
    }

    /// Returns whether any world may be open to fewer since `mark`, so that what was looked up of places is to be looked up
    /// anew.
    pub fn narrowed_since(&self, mark: Mark) -> bool {
        known::read(&self.inner.memory).narrowed_since(mark)
    }

    /// Returns whether a loss anywhere would be known here within a second or so, at `now`.
    pub fn is_current(&self, now: Timestamp) -> bool {
        self.inner.log.as_ref().is_some_and(|log| log.is_younger(now, CURRENT))
    }

    /// Tells a sign-in of its losses from now on; one that is over already is told at once.
    pub fn watch(&self, account: AccountId, session: SessionId, device: DeviceId) -> LossWatch {
        let (id, standing) = known::write(&self.inner.memory).add_watcher(account, session, device);
        LossWatch::new(account, id, standing, &self.inner.memory)
    }

    /// Passes if this node has read the log within the last ten seconds, or can read it now.
    ///
    /// Asked before what must not be done by somebody who has just lost the right to, before a socket is opened, and for
    /// whoever sends requests here.
    pub async fn require_fresh(&self) -> Result<(), StorageError> {
        match &self.inner.log {
            Some(log) if !log.is_younger(log.clock.now(), STALE) => self.inner.catch_up().await,
            _ => Ok(()),
        }
    }

    /// Makes losses known that were just committed: on this node when it returns, elsewhere soon.
    ///
    /// It does not fail: if the log cannot be read now, it is read half a second later.
    pub async fn announce(&self) {
        let Some(log) = &self.inner.log else { return };
        log.bus.hint_losses().await;
        if let Err(error) = self.inner.catch_up().await {
            tracing::warn!(error = chain(&error), "a loss is known a little later: the log cannot be read");
        }
    }

    /// Returns how many losses are held in memory.
    pub fn remembered(&self) -> usize {
        known::read(&self.inner.memory).len()
    }

    /// Deletes losses that everybody has read long ago, and returns how many.
    pub async fn enforce_retention(&self) -> Result<u64, StorageError> {
        let Some(log) = &self.inner.log else { return Ok(0) };
        let before = log.clock.now() - KEPT;
        let mut deleted = 0;
        loop {
            let part = log.store.purge(before, PURGED_AT_ONCE).await?;
            deleted += part;
            if part < u64::from(PURGED_AT_ONCE) {
                return Ok(deleted);
            }
        }
    }
}

impl Log {
    /// Returns whether the last good look is younger than `limit`. A clock that was set back knows nothing of its age.
    fn is_younger(&self, now: Timestamp, limit: Duration) -> bool {
        let age = now.as_microsecond() - self.read_at.load(Ordering::Acquire);
        u64::try_from(age).is_ok_and(|age| Duration::from_micros(age) < limit)
    }
}

impl Inner {
    /// Reads what was logged since the last look. When it returns, everything is known that was committed before the call.
    async fn catch_up(&self) -> Result<(), StorageError> {
        let Some(log) = &self.log else { return Ok(()) };
        let before = log.looks.load(Ordering::Acquire);
        let _reading = log.reading.lock().await;
        if log.good_look.load(Ordering::Acquire) > before {
            // Somebody else began to look after this call, and has finished.
            return Ok(());
        }
        let look = log.looks.fetch_add(1, Ordering::AcqRel) + 1;
        let began = log.clock.now();
        let away = Duration::from_micros(
            u64::try_from(began.as_microsecond() - log.read_at.load(Ordering::Acquire)).unwrap_or(0),
        );
        if away > KEPT / 2 {
            // Losses of that time may be purged, and leave a hole only once the next one comes.
            known::write(&self.memory).distrust();
        }
        let read = tokio::time::timeout(READ_LIMIT, self.read(log));
        read.await.unwrap_or_else(|late| Err(StorageError::transient("read the log of losses", late)))?;
        known::write(&self.memory).forget(began - log.remembered);
        log.read_at.store(began.as_microsecond(), Ordering::Release);
        log.good_look.store(look, Ordering::Release);
        Ok(())
    }

    async fn read(&self, log: &Log) -> Result<(), StorageError> {
        loop {
            let after = known::read(&self.memory).position;
            let losses = log.store.page(after, PAGE).await?;
            if losses.is_empty() {
                return Ok(());
            }
            let now = log.clock.now();
            let mut memory = known::write(&self.memory);
            for loss in &losses {
                memory.learn(loss, now);
            }
            if losses.len() < usize::from(PAGE) {
                return Ok(());
            }
        }
    }
}

/// Reads the log as long as somebody wants to know.
async fn follow(inner: Weak<Inner>, mut hints: LossHints) {
    let mut is_away = false;
    loop {
        tokio::select! {
            () = tokio::time::sleep(POLL) => {}
            () = hints.next() => {}
        }
        let Some(inner) = inner.upgrade() else { return };
        let looked = inner.catch_up().await;
        match &looked {
            Ok(()) if is_away => tracing::info!("the log of losses can be read again"),
            Ok(()) => {}
            Err(error) if !is_away => {
                tracing::warn!(error = chain(error), "the log of losses cannot be read");
            }
            Err(error) => tracing::debug!(error = chain(error), "the log of losses still cannot be read"),
        }
        is_away = looked.is_err();
    }
}
