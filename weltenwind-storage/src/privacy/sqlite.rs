//! What is held on accounts in SQLite.

use async_trait::async_trait;
use sqlx::{query, query_as, types::Json};
use weltenwind_core::{
    AccountId, Outcome, Page, Scope, Step, StorageError, Timestamp,
    privacy::{AuditEntry, AuditQuery, Erasure, ErasureQuery, Holdings, NewErasure, PrivacyError, PrivacyStore},
};

use super::{
    rows::{AuditRow, ErasureRow},
    sections::Held,
    sql,
};
use crate::{
    error::failed,
    rows::{FIRST, Instant, all},
    sqlite::{
        Class::{Background, Interactive},
        SqliteDatabase,
    },
    step,
};

/// Reads and erases what is held on accounts in a SQLite file.
#[derive(Debug, Clone)]
pub struct SqlitePrivacyStore {
    db: SqliteDatabase,
}

impl SqlitePrivacyStore {
    /// Reads and erases in `db`.
    pub const fn new(db: SqliteDatabase) -> Self {
        Self { db }
    }
}

#[async_trait]
impl PrivacyStore for SqlitePrivacyStore {
    async fn holdings(&self, account: AccountId) -> Result<Option<Holdings>, StorageError> {
        let mut connection = self.db.readers().acquire().await.map_err(failed("read what is held on an account"))?;
        connection.holdings(account).await.map_err(failed("read what is held on an account"))
    }

    async fn audit(&self, query: &AuditQuery) -> Result<Vec<AuditEntry>, StorageError> {
        let rows: Vec<AuditRow> = query_as(AUDIT)
            .bind(query.account.uuid())
            .bind(Json(query.targets.as_slice()))
            .bind(query.after)
            .bind(i64::from(query.limit))
            .fetch_all(self.db.readers())
            .await
            .map_err(failed("read the audit log"))?;
        all(rows).map_err(failed("read the audit log"))
    }

    async fn note(&self, step: &Step, account: AccountId) -> Result<(), StorageError> {
        let step = step.clone();
        self.db
            .write(Interactive, "write into the audit log", move |tx| {
                Box::pin(async move { Ok(step::finish(tx, &step, &Outcome::of(account)).await?) })
            })
            .await
    }

    async fn last_owner_of(&self, account: AccountId) -> Result<Vec<Scope>, StorageError> {
        let mut connection = self.db.readers().acquire().await.map_err(failed("find what an account owns"))?;
        connection.last_owner_of(account).await.map_err(failed("find what an account owns"))
    }

    async fn erase(&self, step: &Step, erasure: &NewErasure) -> Result<Erasure, PrivacyError> {
        let (step, erasure) = (step.clone(), erasure.clone());
        self.db
            .write(Interactive, "erase an account", move |tx| {
                Box::pin(async move { Held::erase(tx, &step, &erasure).await })
            })
            .await
    }

    async fn sweep(&self, account: AccountId) -> Result<(), StorageError> {
        self.db
            .write(Background, "clear away behind an erased account", move |tx| {
                Box::pin(async move { Ok(tx.tie_loose_ends(account).await?) })
            })
            .await
    }

    async fn settle(&self, account: AccountId, since: Timestamp) -> Result<(), StorageError> {
        self.db
            .write(Background, "settle an erasure", move |tx| {
                Box::pin(async move {
                    query(sql::SETTLE).bind(account.uuid()).bind(Instant(since)).execute(tx).await?;
                    Ok(())
                })
            })
            .await
    }

    async fn erasures(&self, query: &ErasureQuery) -> Result<Page<Erasure>, StorageError> {
        let rows: Vec<ErasureRow> = query_as(sql::PAGE)
            .bind(query.after.map_or(FIRST, AccountId::uuid))
            .bind(query.limit.with_probe())
            .fetch_all(self.db.readers())
            .await
            .map_err(failed("list erasures"))?;
        Ok(Page::from_probe(rows.into_iter().map(Erasure::from).collect(), query.limit))
    }

    async fn unsettled(&self) -> Result<Vec<Erasure>, StorageError> {
        let rows: Vec<ErasureRow> =
            query_as(sql::UNSETTLED).fetch_all(self.db.readers()).await.map_err(failed("list erasures"))?;
        Ok(rows.into_iter().map(Erasure::from).collect())
    }

    async fn purge_marks(&self, before: Timestamp) -> Result<u64, StorageError> {
        self.db
            .write(Background, "delete old marks", move |tx| {
                Box::pin(async move {
                    let purged = query(sql::PURGE_MARKS).bind(Instant(before)).execute(tx).await?;
                    Ok(purged.rows_affected())
                })
            })
            .await
    }
}

const AUDIT: &str = sql::audit!("IN (SELECT value FROM json_each($2))");
