//! The port that reads the log of losses; every step of another port that takes something away writes it.

use std::fmt::Debug;

use async_trait::async_trait;

use super::model::{LoggedLoss, LossSeq};
use crate::{clock::Timestamp, error::StorageError};

/// Reads the log of losses.
///
/// Losses are written by the steps that cause them (`Outcome::losing`), in the same transaction: what is rolled back is not
/// logged, and a repeated step logs nothing again. Numbers are given out in the order of commits, so whoever has read to
/// number n never misses one that commits later. An identity column does not do that.
#[async_trait]
pub trait RevocationStore: Debug + Send + Sync + 'static {
    /// Reads at most `limit` losses behind `after`, in order of their numbers.
    async fn page(&self, after: LossSeq, limit: u16) -> Result<Vec<LoggedLoss>, StorageError>;

    /// Returns the number behind which everything stands that happened at `at` or later: the newest number if that is
    /// nothing.
    async fn position_at(&self, at: Timestamp) -> Result<LossSeq, StorageError>;

    /// Deletes at most `limit` losses that happened before `before`, and returns how many it were. Numbers are not given out
    /// again.
    async fn purge(&self, before: Timestamp, limit: u32) -> Result<u64, StorageError>;
}
