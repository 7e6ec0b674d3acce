//! Requests under a key in SQLite.

use async_trait::async_trait;
use sqlx::{SqliteConnection, query, query_as, query_scalar};
use uuid::Uuid;
use weltenwind_core::{
    StorageError, Timestamp,
    idempotency::{Claim, Claimed, IdempotencyStore, KEPT, NewClaim, Release, StoredAnswer},
};

use super::{rows::RecordRow, sql};
use crate::{
    rows::Instant,
    sqlite::{
        Class::{Background, Interactive},
        SqliteDatabase,
    },
};

/// Keeps requests under a key in a SQLite file.
#[derive(Debug, Clone)]
pub struct SqliteIdempotencyStore {
    db: SqliteDatabase,
}

impl SqliteIdempotencyStore {
    /// Keeps requests under a key in `db`.
    pub const fn new(db: SqliteDatabase) -> Self {
        Self { db }
    }
}

#[async_trait]
impl IdempotencyStore for SqliteIdempotencyStore {
    async fn claim(&self, claim: &NewClaim) -> Result<Claimed, StorageError> {
        let claim = claim.clone();
        self.db
            .write(Interactive, "claim an idempotency key", move |tx| {
                Box::pin(async move { Ok(claim_in(tx, &claim).await?) })
            })
            .await
    }

    async fn complete(&self, claim: &Claim, answer: &StoredAnswer) -> Result<bool, StorageError> {
        let (claim, answer) = (*claim, answer.clone());
        self.db
            .write(Interactive, "keep an answer", move |tx| {
                Box::pin(async move { Ok(complete_in(tx, &claim, &answer).await?) })
            })
            .await
    }

    async fn release(&self, claim: &Claim, release: Release) -> Result<(), StorageError> {
        let claim = *claim;
        self.db
            .write(Interactive, "release an idempotency key", move |tx| {
                Box::pin(async move { Ok(release_in(tx, &claim, release).await?) })
            })
            .await
    }

    async fn purge(&self, before: Timestamp, limit: u32) -> Result<u64, StorageError> {
        let mut deleted = 0;
        for statement in [PURGE_RECORDS, PURGE_EFFECTS] {
            deleted += self
                .db
                .write(Background, "delete old idempotency keys", move |tx| {
                    Box::pin(async move {
                        let done = query(statement).bind(Instant(before)).bind(i64::from(limit)).execute(tx).await?;
                        Ok::<_, crate::error::Abort<StorageError>>(done.rows_affected())
                    })
                })
                .await?;
        }
        Ok(deleted)
    }
}

/// One machine has one clock, and the claim was made by it.
const CLAIM: &str = sql::claim!("$4 + $5", "$4");

const PURGE_RECORDS: &str = sql::purge!("idempotency_records", "since", "");
const PURGE_EFFECTS: &str = sql::purge!("effect_keys", "at", "");

async fn claim_in(tx: &mut SqliteConnection, claim: &NewClaim) -> sqlx::Result<Claimed> {
    let key = claim.key.as_bytes().as_slice();
    let since: Option<Instant> = query_scalar(CLAIM)
        .bind(key)
        .bind(claim.fingerprint.as_slice())
        .bind(claim.holder)
        .bind(Instant(claim.at))
        .bind(i64::try_from(claim.lease.as_micros()).unwrap_or(i64::MAX))
        .bind(Instant(claim.at - KEPT))
        .bind(claim.account.uuid())
        .fetch_optional(&mut *tx)
        .await?;
    if let Some(Instant(since)) = since {
        return Ok(Claimed::Fresh(Claim { key: claim.key, holder: claim.holder, since }));
    }
    query_as::<_, RecordRow>(sql::FIND).bind(key).fetch_one(tx).await?.answer(claim)
}

async fn complete_in(tx: &mut SqliteConnection, claim: &Claim, answer: &StoredAnswer) -> sqlx::Result<bool> {
    let kept = query(sql::COMPLETE)
        .bind(claim.key.as_bytes().as_slice())
        .bind(claim.holder)
        .bind(i32::from(answer.status))
        .bind(answer.location.as_deref())
        .bind(answer.etag.as_deref())
        .bind(answer.content_type.as_deref())
        .bind(answer.resource)
        .bind(answer.body.as_slice())
        .execute(tx)
        .await?;
    Ok(kept.rows_affected() == 1)
}

async fn release_in(tx: &mut SqliteConnection, claim: &Claim, release: Release) -> sqlx::Result<()> {
    let (key, holder) = (claim.key.as_bytes().as_slice(), claim.holder);
    let statement = match release {
        Release::Forgotten => query(sql::FORGET).bind(key).bind(holder),
        Release::Bound => {
            query(sql::END_LEASE).bind(key).bind(holder).bind(Uuid::nil()).bind(Instant(Timestamp::UNIX_EPOCH))
        }
    };
    statement.execute(tx).await?;
    Ok(())
}

/// Takes a thing that is destroyed out of the answers that show it, inside a larger step.
pub(crate) async fn destroy_in(tx: &mut SqliteConnection, resource: Uuid) -> sqlx::Result<()> {
    query(sql::DESTROY).bind(resource).bind(Instant(Timestamp::UNIX_EPOCH)).execute(tx).await?;
    Ok(())
}
