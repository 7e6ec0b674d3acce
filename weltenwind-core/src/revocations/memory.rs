//! The log in memory: the executable reading of [`RevocationStore`].

use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use super::{
    model::{LoggedLoss, Loss, LossSeq},
    store::RevocationStore,
};
use crate::{clock::Timestamp, error::StorageError};

/// Keeps losses until the process ends. Other adapters in memory write to it.
#[derive(Debug, Default)]
pub struct MemoryRevocationStore {
    log: Mutex<Log>,
}

#[derive(Debug, Default)]
struct Log {
    losses: Vec<LoggedLoss>,
    last: LossSeq,
}

impl MemoryRevocationStore {
    /// Writes losses that happen at `at`.
    pub fn append(&self, losses: impl IntoIterator<Item = Loss>, at: Timestamp) {
        let mut log = self.lock();
        for loss in losses {
            log.last = log.last.next();
            let seq = log.last;
            log.losses.push(LoggedLoss { seq, at, loss });
        }
    }

    fn lock(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl RevocationStore for MemoryRevocationStore {
    async fn page(&self, after: LossSeq, limit: u16) -> Result<Vec<LoggedLoss>, StorageError> {
        let log = self.lock();
        Ok(log.losses.iter().filter(|logged| logged.seq > after).take(limit.into()).copied().collect())
    }

    async fn position_at(&self, at: Timestamp) -> Result<LossSeq, StorageError> {
        let log = self.lock();
        let first = log.losses.iter().find(|logged| logged.at >= at);
        Ok(first.map_or(log.last, |logged| LossSeq::new(logged.seq.get() - 1)))
    }

    async fn purge(&self, before: Timestamp, limit: u32) -> Result<u64, StorageError> {
        let mut left = limit;
        let mut log = self.lock();
        let kept = log.losses.len();
        log.losses.retain(|logged| {
            let goes = logged.at < before && left > 0;
            left -= u32::from(goes);
            !goes
        });
        Ok((kept - log.losses.len()) as u64)
    }
}
