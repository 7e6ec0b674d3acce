//! API keys in SQLite.

use async_trait::async_trait;
use sqlx::{SqliteConnection, SqliteExecutor, query, query_as};
use weltenwind_core::{
    AccountId, ApiKeyId, Outcome, Page, Step, StorageError, Timestamp,
    access::{
        AccessError,
        keys::{ApiKey, ApiKeyQuery, ApiKeyStore, NewApiKey},
    },
    revocations::Loss,
};

use super::{
    rows::{ApiKeyRow, list},
    sql,
};
use crate::{
    error::{
        Abort::{self, Refused},
        failed,
    },
    rows::{FIRST, Instant, ScopeColumns, all, one},
    sqlite::{
        Class::{Background, Interactive},
        SqliteDatabase,
    },
    step::{self, Begun::Repeated},
};

/// Keeps API keys in a SQLite file.
#[derive(Debug, Clone)]
pub struct SqliteApiKeyStore {
    db: SqliteDatabase,
}

impl SqliteApiKeyStore {
    /// Keeps API keys in `db`.
    pub const fn new(db: SqliteDatabase) -> Self {
        Self { db }
    }
}

#[async_trait]
impl ApiKeyStore for SqliteApiKeyStore {
    async fn create(&self, step: &Step, key: &NewApiKey) -> Result<ApiKey, AccessError> {
        let (step, key) = (step.clone(), key.clone());
        self.db
            .write(Interactive, "make an API key", move |tx| Box::pin(async move { create_in(tx, &step, &key).await }))
            .await
    }

    async fn find(&self, id: ApiKeyId) -> Result<Option<ApiKey>, StorageError> {
        let row: Option<ApiKeyRow> = query_as(sql::FIND_KEPT)
            .bind(id.uuid())
            .fetch_optional(self.db.readers())
            .await
            .map_err(failed("find an API key"))?;
        one(row).map_err(failed("find an API key"))
    }

    async fn page(&self, query: &ApiKeyQuery) -> Result<Page<ApiKey>, StorageError> {
        let scope = query.scope.map(ScopeColumns::from);
        let rows: Vec<ApiKeyRow> = query_as(sql::PAGE)
            .bind(scope.as_ref().map(|scope| &scope.scope_kind))
            .bind(scope.as_ref().and_then(|scope| scope.scope_id))
            .bind(query.after.map_or(FIRST, ApiKeyId::uuid))
            .bind(query.limit.with_probe())
            .fetch_all(self.db.readers())
            .await
            .map_err(failed("list API keys"))?;
        Ok(Page::from_probe(all(rows).map_err(failed("list API keys"))?, query.limit))
    }

    async fn delete(&self, step: &Step, id: ApiKeyId) -> Result<ApiKey, AccessError> {
        let step = step.clone();
        self.db
            .write(Interactive, "delete an API key", move |tx| Box::pin(async move { delete_in(tx, &step, id).await }))
            .await
    }

    async fn used(&self, id: ApiKeyId, at: Timestamp) -> Result<(), StorageError> {
        self.db
            .write(Background, "note the use of an API key", move |tx| {
                Box::pin(async move {
                    query(sql::USED).bind(id.uuid()).bind(Instant(at)).execute(tx).await?;
                    Ok(())
                })
            })
            .await
    }
}

async fn find_in(executor: impl SqliteExecutor<'_>, id: ApiKeyId) -> sqlx::Result<Option<ApiKey>> {
    one(query_as::<_, ApiKeyRow>(sql::FIND).bind(id.uuid()).fetch_optional(executor).await?)
}

async fn create_in(tx: &mut SqliteConnection, step: &Step, key: &NewApiKey) -> Result<ApiKey, Abort<AccessError>> {
    if let Repeated(target) = step::begin(tx, step).await? {
        return Ok(target.found(find_in(tx, target.id()?).await?)?);
    }
    let ScopeColumns { scope_kind, scope_id } = key.scope.into();
    let row: ApiKeyRow = query_as(sql::INSERT)
        .bind(key.id.uuid())
        .bind(key.hash.as_bytes().as_slice())
        .bind(key.name.as_str())
        .bind(scope_kind)
        .bind(scope_id)
        .bind(list(key.permissions))
        .bind(i64::from(key.rank))
        .bind(step.actor.map(AccountId::uuid))
        .bind(Instant(step.at))
        .bind(key.expires_at.map(Instant))
        .fetch_one(&mut *tx)
        .await?;
    step::finish(tx, step, &Outcome::of(key.id)).await?;
    Ok(row.try_into()?)
}

async fn delete_in(tx: &mut SqliteConnection, step: &Step, id: ApiKeyId) -> Result<ApiKey, Abort<AccessError>> {
    if let Repeated(target) = step::begin(tx, step).await? {
        return Ok(target.found(find_in(tx, target.id()?).await?)?);
    }
    let row: Option<ApiKeyRow> =
        query_as(sql::DELETE).bind(id.uuid()).bind(Instant(step.at)).fetch_optional(&mut *tx).await?;
    let Some(key) = one(row)? else { return Err(Refused(AccessError::KeyNotFound)) };
    step::finish(tx, step, &Outcome::of(id).losing([Loss::of_key(id)])).await?;
    Ok(key)
}
