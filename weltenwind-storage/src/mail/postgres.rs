//! Letters in Postgres.

use async_trait::async_trait;
use sqlx::{query, query_as};
use weltenwind_core::{
    MailId, Step, StorageError, Timestamp,
    mail::{Begun, MailIntent, MailStore, NewMail, Queued, Settled},
};

use super::{rows::MailRow, sql, steps::Letters};
use crate::{
    error::{Abort, failed},
    postgres::PgDatabase,
    rows::{Instant, one},
};

/// Keeps letters in Postgres.
#[derive(Debug, Clone)]
pub struct PgMailStore {
    db: PgDatabase,
}

impl PgMailStore {
    /// Keeps letters in `db`.
    pub const fn new(db: PgDatabase) -> Self {
        Self { db }
    }
}

#[async_trait]
impl MailStore for PgMailStore {
    async fn queue(&self, step: &Step, new: &NewMail) -> Result<Queued, StorageError> {
        self.db.write("write a letter down", async |tx| Ok::<_, Abort<StorageError>>(tx.queue(step, new).await?)).await
    }

    async fn find(&self, id: MailId) -> Result<Option<MailIntent>, StorageError> {
        let row: Option<MailRow> = query_as(sql::FIND)
            .bind(id.uuid())
            .fetch_optional(self.db.pool())
            .await
            .map_err(failed("find a letter"))?;
        one(row).map_err(failed("find a letter"))
    }

    async fn begin(&self, id: MailId, at: Timestamp) -> Result<Begun, StorageError> {
        self.db
            .write("begin to send a letter", async |tx| Ok::<_, Abort<StorageError>>(tx.begin_letter(id, at).await?))
            .await
    }

    async fn settle(&self, settled: &Settled, at: Timestamp) -> Result<(), StorageError> {
        let Settled { id, attempt, state, error } = settled;
        query(sql::SETTLE)
            .bind(id.uuid())
            .bind(i64::from(*attempt))
            .bind(state.as_str())
            .bind(error.as_deref())
            .bind(Instant(at))
            .execute(self.db.pool())
            .await
            .map_err(failed("note what became of a letter"))?;
        Ok(())
    }

    async fn purge(&self, before: Timestamp, limit: u32) -> Result<u64, StorageError> {
        let purged = query(sql::PURGE).bind(Instant(before)).bind(i64::from(limit)).execute(self.db.pool()).await;
        Ok(purged.map_err(failed("delete old letters"))?.rows_affected())
    }
}
