//! The log of losses in Postgres.

use async_trait::async_trait;
use sqlx::{query, query_as, query_scalar};
use weltenwind_core::{
    StorageError, Timestamp,
    revocations::{LoggedLoss, LossSeq, RevocationStore},
};

use super::{rows::LossRow, sql};
use crate::{
    error::failed,
    postgres::PgDatabase,
    rows::{Instant, all},
};

/// Reads the log of losses in Postgres.
#[derive(Debug, Clone)]
pub struct PgRevocationStore {
    db: PgDatabase,
}

impl PgRevocationStore {
    /// Reads the log in `db`.
    pub const fn new(db: PgDatabase) -> Self {
        Self { db }
    }
}

#[async_trait]
impl RevocationStore for PgRevocationStore {
    async fn page(&self, after: LossSeq, limit: u16) -> Result<Vec<LoggedLoss>, StorageError> {
        let rows: Vec<LossRow> = query_as(sql::PAGE)
            .bind(after.get())
            .bind(i64::from(limit))
            .fetch_all(self.db.pool())
            .await
            .map_err(failed("read the log of losses"))?;
        all(rows).map_err(failed("read the log of losses"))
    }

    async fn position_at(&self, at: Timestamp) -> Result<LossSeq, StorageError> {
        let position: i64 = query_scalar(sql::POSITION_AT)
            .bind(Instant(at))
            .fetch_one(self.db.pool())
            .await
            .map_err(failed("find a position in the log of losses"))?;
        Ok(LossSeq::new(position))
    }

    async fn purge(&self, before: Timestamp, limit: u32) -> Result<u64, StorageError> {
        let purged = query(sql::PURGE)
            .bind(Instant(before))
            .bind(i64::from(limit))
            .execute(self.db.pool())
            .await
            .map_err(failed("purge the log of losses"))?;
        Ok(purged.rows_affected())
    }
}
