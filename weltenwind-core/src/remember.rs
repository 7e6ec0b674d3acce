//! What was read of a place is remembered for a moment, and read once for all who ask at the same time.

use std::{fmt, hash::Hash, sync::Arc, time::Duration};

use moka::sync::Cache;
use tokio::sync::Mutex;

use crate::{
    clock::{Clock, Timestamp},
    error::StorageError,
    revocations::{Mark, Revocations},
};

/// For how long it is believed: a change has effect on every node within this.
const BELIEVED: Duration = Duration::from_secs(1);
/// Places that are remembered; some 400 bytes each.
const REMEMBERED: u64 = 20_000;

/// Remembers values that depend on how open places are, until a loss of any place is known.
///
/// When a world becomes private, everybody who is there asks at once; one of them asks the store.
pub(crate) struct Remembered<K, V> {
    clock: Arc<dyn Clock>,
    revocations: Revocations,
    known: Cache<K, Known<V>>,
    /// Who reads: all others who want to know the same wait for the one.
    reading: Cache<K, Arc<Mutex<()>>>,
}

#[derive(Clone)]
struct Known<V> {
    value: V,
    read_at: Timestamp,
    /// How far losses were known before it was read.
    mark: Mark,
}

impl<K: Eq + Hash + Copy + Send + Sync + 'static, V: Clone + Send + Sync + 'static> Remembered<K, V> {
    pub(crate) fn new(clock: Arc<dyn Clock>, revocations: Revocations) -> Self {
        Self { clock, revocations, known: Cache::new(REMEMBERED), reading: Cache::new(REMEMBERED) }
    }

    /// Returns what is remembered, or reads it.
    pub(crate) async fn get(
        &self,
        key: K,
        read: impl Future<Output = Result<V, StorageError>>,
    ) -> Result<V, StorageError> {
        if let Some(value) = self.believed(key) {
            return Ok(value);
        }
        let reading = self.reading.get_with(key, Arc::default);
        let _reading = reading.lock().await;
        if let Some(value) = self.believed(key) {
            return Ok(value);
        }
        // Before the look: a loss that comes meanwhile is then newer than what is found.
        let (read_at, mark) = (self.clock.now(), self.revocations.mark());
        let value = read.await?;
        self.known.insert(key, Known { value: value.clone(), read_at, mark });
        Ok(value)
    }

    fn believed(&self, key: K) -> Option<V> {
        let now = self.clock.now();
        let known = self.known.get(&key).filter(|known| known.read_at <= now && now < known.read_at + BELIEVED)?;
        (!self.revocations.narrowed_since(known.mark)).then_some(known.value)
    }

    pub(crate) fn forget(&self, key: K) {
        self.known.invalidate(&key);
    }
}

impl<K, V> fmt::Debug for Remembered<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remembered").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::{
        bus::LocalBus,
        clock::ManualClock,
        ids::WorldId,
        revocations::{Loss, MemoryRevocationStore},
        scope::Scope,
    };

    #[tokio::test]
    async fn what_many_ask_for_is_read_once_and_anew_behind_a_loss() {
        let (log, clock) = (Arc::new(MemoryRevocationStore::default()), Arc::new(ManualClock::default()));
        let bus = Arc::new(LocalBus::default());
        let life = Duration::from_mins(5);
        let revocations = Revocations::start(log.clone(), bus, clock.clone(), life).await.expect("a log");
        let (places, reads) = (Remembered::new(clock.clone(), revocations.clone()), AtomicU32::new(0));
        let ask = async || {
            let read = async {
                tokio::task::yield_now().await;
                Ok(reads.fetch_add(1, Ordering::SeqCst))
            };
            places.get(7, read).await.expect("a value")
        };

        assert_eq!(tokio::join!(ask(), ask(), ask()), (0, 0, 0));
        log.append([Loss::in_place(Scope::World(WorldId::new(uuid::Uuid::nil())))], clock.now());
        assert_eq!(ask().await, 0, "it is not known yet");
        revocations.announce().await;
        assert_eq!((ask().await, ask().await), (1, 1));
        clock.advance(BELIEVED);
        assert_eq!(ask().await, 2);
    }
}
