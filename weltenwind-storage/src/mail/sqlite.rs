//! Letters in SQLite.

use async_trait::async_trait;
use sqlx::{query, query_as};
use weltenwind_core::{
    MailId, Step, StorageError, Timestamp,
    mail::{Begun, MailIntent, MailStore, NewMail, Queued, Settled},
};

use super::{rows::MailRow, sql, steps::Letters};
use crate::{
    error::{Abort, failed},
    rows::{Instant, one},
    sqlite::{
        Class::{Background, Interactive},
        SqliteDatabase,
    },
};

/// Keeps letters in a SQLite file.
#[derive(Debug, Clone)]
pub struct SqliteMailStore {
    db: SqliteDatabase,
}

impl SqliteMailStore {
    /// Keeps letters in `db`.
    pub const fn new(db: SqliteDatabase) -> Self {
        Self { db }
    }
}

#[async_trait]
impl MailStore for SqliteMailStore {
    async fn queue(&self, step: &Step, new: &NewMail) -> Result<Queued, StorageError> {
        let (step, new) = (step.clone(), new.clone());
        self.db
            .write(Interactive, "write a letter down", move |tx| {
                Box::pin(async move { Ok::<_, Abort<StorageError>>(tx.queue(&step, &new).await?) })
            })
            .await
    }

    async fn find(&self, id: MailId) -> Result<Option<MailIntent>, StorageError> {
        let row: Option<MailRow> = query_as(sql::FIND)
            .bind(id.uuid())
            .fetch_optional(self.db.readers())
            .await
            .map_err(failed("find a letter"))?;
        one(row).map_err(failed("find a letter"))
    }

    async fn begin(&self, id: MailId, at: Timestamp) -> Result<Begun, StorageError> {
        self.db
            .write(Background, "begin to send a letter", move |tx| {
                Box::pin(async move { Ok::<_, Abort<StorageError>>(tx.begin_letter(id, at).await?) })
            })
            .await
    }

    async fn settle(&self, settled: &Settled, at: Timestamp) -> Result<(), StorageError> {
        let Settled { id, attempt, state, error } = settled.clone();
        self.db
            .write(Background, "note what became of a letter", move |tx| {
                Box::pin(async move {
                    query(sql::SETTLE)
                        .bind(id.uuid())
                        .bind(i64::from(attempt))
                        .bind(state.as_str())
                        .bind(error.as_deref())
                        .bind(Instant(at))
                        .execute(tx)
                        .await?;
                    Ok::<_, Abort<StorageError>>(())
                })
            })
            .await
    }

    async fn purge(&self, before: Timestamp, limit: u32) -> Result<u64, StorageError> {
        self.db
            .write(Background, "delete old letters", move |tx| {
                Box::pin(async move {
                    let purged = query(sql::PURGE).bind(Instant(before)).bind(i64::from(limit)).execute(tx).await?;
                    Ok::<_, Abort<StorageError>>(purged.rows_affected())
                })
            })
            .await
    }
}
