//! Requests under a key in Postgres.

use async_trait::async_trait;
use sqlx::{PgConnection, query, query_as, query_scalar};
use uuid::Uuid;
use weltenwind_core::{
    StorageError, Timestamp,
    idempotency::{Claim, Claimed, IdempotencyStore, KEPT, NewClaim, Release, StoredAnswer},
};

use super::{rows::RecordRow, sql};
use crate::{error::failed, postgres::PgDatabase, rows::Instant};

/// Keeps requests under a key in Postgres.
#[derive(Debug, Clone)]
pub struct PgIdempotencyStore {
    db: PgDatabase,
}

impl PgIdempotencyStore {
    /// Keeps requests under a key in `db`.
    pub const fn new(db: PgDatabase) -> Self {
        Self { db }
    }
}

#[async_trait]
impl IdempotencyStore for PgIdempotencyStore {
    async fn claim(&self, claim: &NewClaim) -> Result<Claimed, StorageError> {
        claim_on(&self.db, claim).await.map_err(failed("claim an idempotency key"))
    }

    async fn complete(&self, claim: &Claim, answer: &StoredAnswer) -> Result<bool, StorageError> {
        let kept = query(sql::COMPLETE)
            .bind(claim.key.as_bytes().as_slice())
            .bind(claim.holder)
            .bind(i32::from(answer.status))
            .bind(answer.location.as_deref())
            .bind(answer.etag.as_deref())
            .bind(answer.content_type.as_deref())
            .bind(answer.resource)
            .bind(answer.body.as_slice())
            .execute(self.db.pool())
            .await
            .map_err(failed("keep an answer"))?;
        Ok(kept.rows_affected() == 1)
    }

    async fn release(&self, claim: &Claim, release: Release) -> Result<(), StorageError> {
        let (key, holder) = (claim.key.as_bytes().as_slice(), claim.holder);
        let statement = match release {
            Release::Forgotten => query(sql::FORGET).bind(key).bind(holder),
            Release::Bound => {
                query(sql::END_LEASE).bind(key).bind(holder).bind(Uuid::nil()).bind(Instant(Timestamp::UNIX_EPOCH))
            }
        };
        statement.execute(self.db.pool()).await.map_err(failed("release an idempotency key"))?;
        Ok(())
    }

    async fn purge(&self, before: Timestamp, limit: u32) -> Result<u64, StorageError> {
        let mut deleted = 0;
        for statement in [PURGE_RECORDS, PURGE_EFFECTS] {
            let done = query(statement).bind(Instant(before)).bind(i64::from(limit)).execute(self.db.pool()).await;
            deleted += done.map_err(failed("delete old idempotency keys"))?.rows_affected();
        }
        Ok(deleted)
    }
}

/// All nodes measure leases by the database's clock.
const CLAIM: &str = sql::claim!("clock_timestamp() + $5 * INTERVAL '1 microsecond'", "clock_timestamp()");

/// Several nodes purge at once, each its own rows.
const PURGE_RECORDS: &str = sql::purge!("idempotency_records", "since", "FOR UPDATE SKIP LOCKED");
const PURGE_EFFECTS: &str = sql::purge!("effect_keys", "at", "FOR UPDATE SKIP LOCKED");

async fn claim_on(db: &PgDatabase, claim: &NewClaim) -> sqlx::Result<Claimed> {
    let key = claim.key.as_bytes().as_slice();
    let since: Option<Instant> = query_scalar(CLAIM)
        .bind(key)
        .bind(claim.fingerprint.as_slice())
        .bind(claim.holder)
        .bind(Instant(claim.at))
        .bind(i64::try_from(claim.lease.as_micros()).unwrap_or(i64::MAX))
        .bind(Instant(claim.at - KEPT))
        .bind(claim.account.uuid())
        .fetch_optional(db.pool())
        .await?;
    if let Some(Instant(since)) = since {
        return Ok(Claimed::Fresh(Claim { key: claim.key, holder: claim.holder, since }));
    }
    let row: Option<RecordRow> = query_as(sql::FIND).bind(key).fetch_optional(db.pool()).await?;
    // The key was forgotten in between: a moment ago somebody ran the request, and the next attempt finds it free.
    row.map_or(Ok(Claimed::Running), |row| row.answer(claim))
}

/// Takes a thing that is destroyed out of the answers that show it, inside a larger step.
pub(crate) async fn destroy_in(tx: &mut PgConnection, resource: Uuid) -> sqlx::Result<()> {
    query(sql::DESTROY).bind(resource).bind(Instant(Timestamp::UNIX_EPOCH)).execute(tx).await?;
    Ok(())
}
