//! Jobs in Postgres. Every comparison of instants is made by the database's clock.

use std::{collections::BTreeSet, sync::Arc};

use async_trait::async_trait;
use sqlx::{PgConnection, PgExecutor, Row as _, postgres::PgListener, query, query_as, query_scalar, types::Json};
use tokio::sync::Mutex;
use uuid::Uuid;
use weltenwind_core::{
    CorrelationId, Outcome, Page, Step, StorageError, Timestamp,
    outbox::{
        Claim, Class, DeadJob, Due, How, Job, JobId, JobKind, JobQuery, Lease, LiveJob, NewJob, OutboxStats,
        OutboxStore, Renewal, ScheduleRow, Settlement, Swept,
    },
};

use super::{
    all_held, kept_of, micros, missing, replayed,
    rows::{DeadRow, JobRow, LiveRow, ScheduleColumns, StatsRow},
    sql,
};
use crate::{
    error::{Abort, failed},
    postgres::PgDatabase,
    rows::{Instant, all, one},
    step::{self, Begun::Repeated},
};

/// Keeps jobs in Postgres.
#[derive(Debug, Clone)]
pub struct PgOutboxStore {
    db: PgDatabase,
    listener: Arc<Mutex<Option<PgListener>>>,
}

impl PgOutboxStore {
    /// Keeps jobs in `db`.
    pub fn new(db: PgDatabase) -> Self {
        Self { db, listener: Arc::default() }
    }
}

/// What processes tell each other on.
const CHANNEL: &str = "weltenwind_jobs";
/// Kinds that one notification names: its text is bounded to 8000 bytes.
const KINDS_AT_ONCE: usize = 100;

/// The materialised part is what bounds the claim: as a plain subquery, the planner may run it again, and more would be
/// claimed than was asked for. Each class has an index of its own.
macro_rules! claim {
    ($class:literal) => {
        concat!(
            "WITH due AS MATERIALIZED (
                 SELECT id AS due_id FROM outbox_jobs
                 WHERE kind = $1 AND worker IS NULL AND NOT behind AND run_at <= statement_timestamp() AND ",
            $class,
            "    ORDER BY run_at, id LIMIT $2
                 FOR UPDATE SKIP LOCKED
             )
             UPDATE outbox_jobs
             SET worker = $3, fence = fence + 1, crash_limit = $6,
                 lease_until = statement_timestamp() + least($4, $5) * INTERVAL '1 microsecond',
                 deadline_at = statement_timestamp() + $5 * INTERVAL '1 microsecond'
             FROM due WHERE id = due_id
             RETURNING ",
            sql::claimed!()
        )
    };
}

const CLAIM_SOUND: &str = claim!("crashes = 0");
const CLAIM_SUSPECT: &str = claim!("crashes > 0");

/// A row that another transaction has is passed over: it is being finished, and nobody waits for anybody.
const RENEW: &str = "
    WITH asked AS (
        SELECT * FROM unnest($1::BIGINT[], $2::BIGINT[], $3::BIGINT[]) AS asked (job, held_fence, by)
    ), kept AS MATERIALIZED (
        SELECT id AS kept_id, by FROM outbox_jobs JOIN asked ON id = job
        WHERE fence = held_fence AND worker IS NOT NULL AND lease_until > statement_timestamp()
        FOR UPDATE OF outbox_jobs SKIP LOCKED
    ), renewed AS (
        UPDATE outbox_jobs
        SET lease_until = least(deadline_at, statement_timestamp() + by * INTERVAL '1 microsecond')
        FROM kept WHERE id = kept_id
    )
    SELECT job, held_fence FROM asked JOIN outbox_jobs ON id = job
    WHERE fence <> held_fence OR worker IS NULL OR deadline_at <= statement_timestamp()";

macro_rules! held {
    () => {
        "id = job AND fence = held_fence AND worker IS NOT NULL"
    };
}

/// The lock of an order key, as writers and the table's triggers take it.
macro_rules! order_key {
    () => {
        "'weltenwind order ' || kind || ' ' || order_key"
    };
}

/// Takes the order keys of the jobs in `held`, in the order in which everybody takes keys. Rows come after keys, or a writer that
/// has the key and waits for a row would wait for whoever deletes that row and waits for the key.
macro_rules! keys_of_held {
    () => {
        concat!(
            "keys AS MATERIALIZED (
                 SELECT pg_advisory_xact_lock(hashtextextended(key, 0)) FROM (
                     SELECT key FROM (
                         SELECT DISTINCT ",
            order_key!(),
            " AS key FROM outbox_jobs JOIN held ON id = job WHERE order_key IS NOT NULL
                     ) AS distinct_keys ORDER BY key COLLATE \"C\"
                 ) AS sorted
             )"
        )
    };
}

macro_rules! keys_are_taken {
    () => {
        "(SELECT count(*) FROM keys) >= 0"
    };
}

const DONE: &str = concat!(
    "WITH held AS MATERIALIZED (SELECT * FROM unnest($1::BIGINT[], $2::BIGINT[]) AS held (job, held_fence)), ",
    keys_of_held!(),
    " DELETE FROM outbox_jobs USING held WHERE ",
    held!(),
    " AND ",
    keys_are_taken!(),
    " RETURNING id"
);

const RELEASED: &str = concat!(
    "UPDATE outbox_jobs SET worker = NULL, lease_until = NULL, deadline_at = NULL, crash_limit = NULL
     FROM unnest($1::BIGINT[], $2::BIGINT[]) AS held (job, held_fence) WHERE ",
    held!(),
    " RETURNING id"
);

/// The errors of a job with one more at the end, and the oldest gone if there are eight.
macro_rules! errors_with {
    ($error:literal) => {
        concat!(
            "(CASE WHEN jsonb_array_length(errors) >= 8 THEN errors - 0 ELSE errors END) || jsonb_build_object(
                'at', (extract(epoch FROM statement_timestamp()) * 1000000)::BIGINT, 'error', ",
            $error,
            ")"
        )
    };
}

const RETRIED: &str = concat!(
    "UPDATE outbox_jobs
     SET worker = NULL, lease_until = NULL, deadline_at = NULL, crash_limit = NULL, failures = failures + 1,
         run_at = statement_timestamp() + after * INTERVAL '1 microsecond', errors = ",
    errors_with!("error"),
    "FROM unnest($1::BIGINT[], $2::BIGINT[], $3::BIGINT[], $4::TEXT[]) AS held (job, held_fence, after, error) WHERE ",
    held!(),
    " RETURNING id"
);

const BURIED: &str = concat!(
    "WITH held AS MATERIALIZED (
         SELECT * FROM unnest($1::BIGINT[], $2::BIGINT[], $3::TEXT[]) AS held (job, held_fence, error)
     ), ",
    keys_of_held!(),
    ", gone AS (
         DELETE FROM outbox_jobs USING held WHERE ",
    held!(),
    " AND ",
    keys_are_taken!(),
    " RETURNING outbox_jobs.*, error
     )
     INSERT INTO outbox_dead
         (id, kind, payload, order_key, dedupe_key, correlation_id, created_at, died_at, failures, crashes, errors, replay_of)
     SELECT id, kind, payload, order_key, dedupe_key, correlation_id, created_at, statement_timestamp(), failures + 1,
         crashes, ",
    errors_with!("error"),
    ", replay_of
     FROM gone RETURNING id"
);

/// Reads the rows alone: whose worker is gone is told by nothing but the lease, and looked at again under the row's lock. It has
/// the rows already, so it waits for no key: a dead job whose key a writer has is left to the next sweep.
const SWEEP: &str = concat!(
    "WITH found AS MATERIALIZED (
         SELECT id AS late_id, ",
    order_key!(),
    " AS key, crashes + 1 >= crash_limit AS dies,
             CASE WHEN deadline_at <= statement_timestamp() THEN 'it took longer than its deadline'
                 ELSE 'worker ' || worker || ' no longer told of itself' END AS why
         FROM outbox_jobs
         WHERE worker IS NOT NULL AND lease_until <= statement_timestamp()
         ORDER BY lease_until LIMIT $1
         FOR UPDATE SKIP LOCKED
     ), late AS MATERIALIZED (
         SELECT * FROM found
         WHERE CASE WHEN dies AND key IS NOT NULL THEN pg_try_advisory_xact_lock(hashtextextended(key, 0)) ELSE TRUE END
     ), returned AS (
         UPDATE outbox_jobs
         SET worker = NULL, lease_until = NULL, deadline_at = NULL, crash_limit = NULL, crashes = crashes + 1, errors = ",
    errors_with!("why"),
    "    FROM late WHERE id = late_id AND NOT dies
         RETURNING id
     ), gone AS (
         DELETE FROM outbox_jobs USING late WHERE id = late_id AND dies RETURNING outbox_jobs.*, why
     ), buried AS (
         INSERT INTO outbox_dead
             (id, kind, payload, order_key, dedupe_key, correlation_id, created_at, died_at, failures, crashes, errors,
             replay_of)
         SELECT id, kind, payload, order_key, dedupe_key, correlation_id, created_at, statement_timestamp(), failures,
             crashes + 1, ",
    errors_with!("why"),
    ", replay_of
         FROM gone RETURNING id
     )
     SELECT (SELECT count(*) FROM returned) AS returned, (SELECT count(*) FROM buried) AS buried"
);

/// The keys `$1`, and the order keys of the jobs `$2`, in an order that is every transaction's.
const LOCK_KEYS: &str = concat!(
    "SELECT pg_advisory_xact_lock(hashtextextended(key, 0)) FROM (
         SELECT key FROM (
             SELECT unnest($1::TEXT[]) AS key
             UNION SELECT ",
    order_key!(),
    " FROM outbox_jobs WHERE id = ANY ($2) AND order_key IS NOT NULL
         ) AS distinct_keys ORDER BY key COLLATE \"C\"
     ) AS sorted"
);

const WRITE: &str = "
    INSERT INTO outbox_jobs (kind, payload, order_key, dedupe_key, correlation_id, created_at, run_at, replay_of)
    SELECT kind, payload, order_key, dedupe_key, $5, statement_timestamp(),
        coalesce(at, statement_timestamp() + after * INTERVAL '1 microsecond'), $8
    FROM unnest($1::TEXT[], $2::JSONB[], $3::TEXT[], $4::TEXT[], $6::BIGINT[], $7::TIMESTAMPTZ[]) WITH ORDINALITY
        AS job (kind, payload, order_key, dedupe_key, after, at, n)
    ORDER BY n
    RETURNING id";

/// Holds the row until the commit: who claims it afterwards reads what this transaction has done.
const HOLD_NAMESAKE: &str = "SELECT id, worker FROM outbox_jobs WHERE kind = $1 AND dedupe_key = $2 FOR UPDATE";

const HURRY: &str = "
    UPDATE outbox_jobs SET run_at = least(run_at, coalesce($2, statement_timestamp() + $3 * INTERVAL '1 microsecond'))
    WHERE id = $1";

const STATS: &str = "
    SELECT count(*) FILTER (WHERE worker IS NULL AND run_at <= statement_timestamp() AND NOT behind) AS due,
        count(*) FILTER (WHERE worker IS NULL AND run_at <= statement_timestamp() AND behind) AS behind,
        count(*) FILTER (WHERE worker IS NULL AND run_at > statement_timestamp()) AS later,
        count(*) FILTER (WHERE worker IS NOT NULL) AS leased,
        (SELECT count(*) FROM outbox_dead) AS dead,
        coalesce((extract(epoch FROM statement_timestamp() - min(run_at) FILTER (
            WHERE worker IS NULL AND run_at <= statement_timestamp())) * 1000000)::BIGINT, 0) AS oldest_due_micros,
        (SELECT (extract(epoch FROM coalesce(max(statement_timestamp() - xact_start), INTERVAL '0')) * 1000000)::BIGINT
            FROM pg_stat_activity WHERE backend_xmin IS NOT NULL AND pid <> pg_backend_pid()) AS oldest_snapshot_micros
    FROM outbox_jobs";

#[async_trait]
impl OutboxStore for PgOutboxStore {
    async fn enqueue(
        &self,
        jobs: &[NewJob],
        correlation_id: &CorrelationId,
        at: Timestamp,
    ) -> Result<(), StorageError> {
        self.db
            .write("write jobs", async |tx| {
                lock_keys_in(tx, jobs, &[]).await?;
                Ok(write_in(tx, jobs, correlation_id, at).await?)
            })
            .await
    }

    async fn claim(&self, claim: &Claim, _at: Timestamp) -> Result<Vec<Job>, StorageError> {
        let statement = match claim.class {
            Class::Sound => CLAIM_SOUND,
            Class::Suspect => CLAIM_SUSPECT,
        };
        let rows: Vec<JobRow> = query_as(statement)
            .bind(claim.kind.as_str())
            .bind(i64::from(claim.limit))
            .bind(claim.worker.uuid())
            .bind(micros(claim.lease))
            .bind(micros(claim.deadline))
            .bind(i64::from(claim.max_crashes))
            .fetch_all(self.db.pool())
            .await
            .map_err(failed("claim jobs"))?;
        let mut jobs: Vec<Job> = all(rows).map_err(failed("claim jobs"))?;
        jobs.sort_by_key(Job::id);
        Ok(jobs)
    }

    async fn renew(&self, renewals: &[Renewal], _at: Timestamp) -> Result<Vec<Lease>, StorageError> {
        let (jobs, fences) = columns(renewals.iter().map(|renewal| renewal.lease));
        let by: Vec<i64> = renewals.iter().map(|renewal| micros(renewal.by)).collect();
        let lost: Vec<(i64, i64)> = query_as(RENEW)
            .bind(jobs)
            .bind(fences)
            .bind(by)
            .fetch_all(self.db.pool())
            .await
            .map_err(failed("renew leases of jobs"))?;
        Ok(lost.into_iter().map(|(job, fence)| Lease { job: JobId::new(job), fence }).collect())
    }

    async fn settle(&self, settlements: &[Settlement], _at: Timestamp) -> Result<Vec<Lease>, StorageError> {
        let found = if settlements.iter().all(|settlement| settlement.how == How::Done) {
            // One statement needs no transaction around it, and saves two journeys.
            delete_in(self.db.pool(), settlements.iter().map(|settlement| settlement.lease))
                .await
                .map_err(failed("finish jobs"))?
        } else {
            let settled = self.db.write("settle jobs", async |tx| Ok(settle_in(tx, settlements).await?));
            settled.await.map_err(|error: StorageError| error)?
        };
        Ok(missing(settlements.iter().map(|settlement| settlement.lease), &found))
    }

    async fn sweep(&self, limit: u16, _at: Timestamp) -> Result<Swept, StorageError> {
        let row = query(SWEEP)
            .bind(i64::from(limit))
            .fetch_one(self.db.pool())
            .await
            .map_err(failed("take jobs back from dead workers"))?;
        let count = |name| row.try_get::<i64, _>(name).map(i64::unsigned_abs);
        let swept = || Ok(Swept { returned: count("returned")?, buried: count("buried")? });
        swept().map_err(failed("take jobs back from dead workers"))
    }

    async fn now(&self, _at: Timestamp) -> Result<Timestamp, StorageError> {
        let now: Instant = query_scalar("SELECT statement_timestamp()")
            .fetch_one(self.db.pool())
            .await
            .map_err(failed("read the store's clock"))?;
        Ok(now.0)
    }

    async fn page(&self, query: &JobQuery) -> Result<Page<LiveJob>, StorageError> {
        let rows: Vec<LiveRow> = query_as(sql::PAGE)
            .bind(query.after.unwrap_or(JobId::START).get())
            .bind(query.kind.as_ref().map(JobKind::as_str))
            .bind(query.limit.with_probe())
            .fetch_all(self.db.pool())
            .await
            .map_err(failed("list jobs"))?;
        Ok(Page::from_probe(all(rows).map_err(failed("list jobs"))?, query.limit))
    }

    async fn find(&self, id: JobId) -> Result<Option<LiveJob>, StorageError> {
        let row: Option<LiveRow> =
            query_as(sql::FIND).bind(id.get()).fetch_optional(self.db.pool()).await.map_err(failed("find a job"))?;
        one(row).map_err(failed("find a job"))
    }

    async fn blocker(&self, id: JobId) -> Result<Option<LiveJob>, StorageError> {
        let row: Option<LiveRow> = query_as(sql::BLOCKER)
            .bind(id.get())
            .fetch_optional(self.db.pool())
            .await
            .map_err(failed("find what a job waits for"))?;
        one(row).map_err(failed("find what a job waits for"))
    }

    async fn page_dead(&self, query: &JobQuery) -> Result<Page<DeadJob>, StorageError> {
        let rows: Vec<DeadRow> = query_as(sql::PAGE_DEAD)
            .bind(query.after.unwrap_or(JobId::START).get())
            .bind(query.kind.as_ref().map(JobKind::as_str))
            .bind(query.limit.with_probe())
            .fetch_all(self.db.pool())
            .await
            .map_err(failed("list dead jobs"))?;
        Ok(Page::from_probe(all(rows).map_err(failed("list dead jobs"))?, query.limit))
    }

    async fn find_dead(&self, id: JobId) -> Result<Option<DeadJob>, StorageError> {
        let row: Option<DeadRow> = query_as(sql::FIND_DEAD)
            .bind(id.get())
            .fetch_optional(self.db.pool())
            .await
            .map_err(failed("find a dead job"))?;
        one(row).map_err(failed("find a dead job"))
    }

    async fn replay(&self, step: &Step, id: JobId) -> Result<Option<JobId>, StorageError> {
        self.db.write("replay a dead job", async |tx| replay_in(tx, step, id).await).await
    }

    async fn purge_dead(&self, before: Timestamp, limit: u32) -> Result<u64, StorageError> {
        let purged = query(sql::PURGE_DEAD)
            .bind(Instant(before))
            .bind(i64::from(limit))
            .execute(self.db.pool())
            .await
            .map_err(failed("delete old dead jobs"))?;
        Ok(purged.rows_affected())
    }

    async fn stats(&self, _at: Timestamp) -> Result<OutboxStats, StorageError> {
        let row: StatsRow = query_as(STATS).fetch_one(self.db.pool()).await.map_err(failed("count jobs"))?;
        Ok(row.into())
    }

    async fn schedules(&self, names: &[String]) -> Result<Vec<ScheduleRow>, StorageError> {
        let rows: Vec<ScheduleColumns> =
            query_as("SELECT name, spec, next_at FROM outbox_schedules WHERE name = ANY ($1)")
                .bind(names)
                .fetch_all(self.db.pool())
                .await
                .map_err(failed("read schedules"))?;
        Ok(rows.into_iter().map(ScheduleRow::from).collect())
    }

    async fn advance(
        &self,
        was: Option<&ScheduleRow>,
        row: &ScheduleRow,
        job: Option<&NewJob>,
        correlation_id: &CorrelationId,
        at: Timestamp,
    ) -> Result<bool, StorageError> {
        self.db
            .write("move a schedule on", async |tx| {
                let jobs = job.map(std::slice::from_ref).unwrap_or_default();
                lock_keys_in(tx, jobs, &[]).await?;
                let moved = match was {
                    None => query(sql::KNOW_SCHEDULE).bind(&row.name).bind(&row.spec).bind(Instant(row.next_at)),
                    Some(was) => query(sql::MOVE_SCHEDULE)
                        .bind(&row.name)
                        .bind(&row.spec)
                        .bind(Instant(row.next_at))
                        .bind(&was.spec)
                        .bind(Instant(was.next_at)),
                };
                if moved.execute(&mut *tx).await?.rows_affected() == 0 {
                    return Ok(false);
                }
                write_in(tx, jobs, correlation_id, at).await?;
                Ok(true)
            })
            .await
    }

    async fn hint(&self, kinds: &[JobKind]) -> Result<(), StorageError> {
        for kinds in kinds.chunks(KINDS_AT_ONCE) {
            let names: Vec<&str> = kinds.iter().map(JobKind::as_str).collect();
            query("SELECT pg_notify($1, $2)")
                .bind(CHANNEL)
                .bind(names.join(","))
                .execute(self.db.pool())
                .await
                .map_err(failed("tell other processes of jobs"))?;
        }
        Ok(())
    }

    async fn hinted(&self) -> Result<Vec<JobKind>, StorageError> {
        let mut listener = self.listener.lock().await;
        if listener.is_none() {
            *listener = Some(self.db.listen(CHANNEL).await.map_err(failed("listen for jobs"))?);
        }
        let Some(connected) = listener.as_mut() else { return Ok(Vec::new()) };
        match connected.recv().await {
            Ok(hint) => Ok(hint.payload().split(',').filter_map(|kind| kind.parse().ok()).collect()),
            Err(error) => {
                *listener = None;
                Err(failed("listen for jobs")(error))
            }
        }
    }
}

/// Waits for other transactions that write or finish jobs under the same keys: so numbers of one order key are given out in the
/// order of commits, and a key stands for one waiting job. Before anything else of the outbox is locked. Where nothing is written,
/// whatever finishes takes the keys.
pub(crate) async fn lock_keys_in(tx: &mut PgConnection, jobs: &[NewJob], finishes: &[Lease]) -> sqlx::Result<()> {
    let mut keys = BTreeSet::new();
    for job in jobs {
        keys.extend(job.order_key.as_ref().map(|key| format!("weltenwind order {} {key}", job.kind)));
        keys.extend(job.dedupe_key.as_ref().map(|key| format!("weltenwind dedupe {} {key}", job.kind)));
    }
    if !keys.is_empty() {
        let jobs: Vec<i64> = finishes.iter().map(|lease| lease.job.get()).collect();
        query(LOCK_KEYS).bind(keys.into_iter().collect::<Vec<_>>()).bind(jobs).execute(tx).await?;
    }
    Ok(())
}

/// Finishes jobs whose effect this transaction is.
pub(crate) async fn finish_in(tx: &mut PgConnection, leases: &[Lease]) -> sqlx::Result<()> {
    let found = delete_in(tx, leases.iter().copied()).await?;
    all_held(leases, found.len() as u64)
}

/// Writes jobs, in order.
pub(crate) async fn write_in(
    tx: &mut PgConnection,
    jobs: &[NewJob],
    correlation_id: &CorrelationId,
    _at: Timestamp,
) -> sqlx::Result<()> {
    let mut plain = Vec::new();
    for job in jobs {
        if job.dedupe_key.is_none() {
            plain.push(job);
            continue;
        }
        insert_in(tx, &std::mem::take(&mut plain), correlation_id, None).await?;
        write_once_in(tx, job, correlation_id, None).await?;
    }
    insert_in(tx, &plain, correlation_id, None).await.map(drop)
}

/// Writes a job under a dedupe key, or folds it into one that waits, and returns that one's number.
async fn write_once_in(
    tx: &mut PgConnection,
    job: &NewJob,
    correlation_id: &CorrelationId,
    replay_of: Option<JobId>,
) -> sqlx::Result<JobId> {
    let namesake: Option<(i64, Option<Uuid>)> =
        query_as(HOLD_NAMESAKE).bind(job.kind.as_str()).bind(&job.dedupe_key).fetch_optional(&mut *tx).await?;
    match namesake {
        Some((id, None)) => {
            let (after, at) = due(job.due);
            query(HURRY).bind(id).bind(at).bind(after).execute(tx).await?;
            return Ok(JobId::new(id));
        }
        Some((id, Some(_))) => {
            query(sql::GIVE_KEY_UP).bind(id).execute(&mut *tx).await?;
        }
        None => {}
    }
    let written = insert_in(tx, &[job], correlation_id, replay_of).await?;
    written.first().copied().ok_or(sqlx::Error::RowNotFound)
}

async fn insert_in(
    tx: &mut PgConnection,
    jobs: &[&NewJob],
    correlation_id: &CorrelationId,
    replay_of: Option<JobId>,
) -> sqlx::Result<Vec<JobId>> {
    if jobs.is_empty() {
        return Ok(Vec::new());
    }
    let (after, at): (Vec<i64>, Vec<Option<Instant>>) = jobs.iter().map(|job| due(job.due)).unzip();
    let ids: Vec<i64> = query_scalar(WRITE)
        .bind(jobs.iter().map(|job| job.kind.as_str()).collect::<Vec<_>>())
        .bind(jobs.iter().map(|job| Json(&job.payload)).collect::<Vec<_>>())
        .bind(jobs.iter().map(|job| job.order_key.as_deref()).collect::<Vec<_>>())
        .bind(jobs.iter().map(|job| job.dedupe_key.as_deref()).collect::<Vec<_>>())
        .bind(correlation_id.as_str())
        .bind(after)
        .bind(at)
        .bind(replay_of.map(JobId::get))
        .fetch_all(tx)
        .await?;
    Ok(ids.into_iter().map(JobId::new).collect())
}

async fn delete_in(executor: impl PgExecutor<'_>, leases: impl Iterator<Item = Lease>) -> sqlx::Result<Vec<i64>> {
    let (jobs, fences) = columns(leases);
    query_scalar(DONE).bind(jobs).bind(fences).fetch_all(executor).await
}

async fn settle_in(tx: &mut PgConnection, settlements: &[Settlement]) -> sqlx::Result<Vec<i64>> {
    let (mut done, mut released, mut retried, mut buried) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut pauses, mut errors, mut last_errors) = (Vec::new(), Vec::new(), Vec::new());
    for Settlement { lease, how } in settlements {
        match how {
            How::Done => done.push(*lease),
            How::Released => released.push(*lease),
            How::Retried { after, error } => {
                retried.push(*lease);
                pauses.push(micros(*after));
                errors.push(kept_of(error));
            }
            How::Buried { error } => {
                buried.push(*lease);
                last_errors.push(kept_of(error));
            }
        }
    }
    let mut found = Vec::new();
    if !done.is_empty() {
        found.extend(delete_in(&mut *tx, done.into_iter()).await?);
    }
    if !released.is_empty() {
        let (jobs, fences) = columns(released.into_iter());
        found.extend(query_scalar::<_, i64>(RELEASED).bind(jobs).bind(fences).fetch_all(&mut *tx).await?);
    }
    if !retried.is_empty() {
        let (jobs, fences) = columns(retried.into_iter());
        let statement = query_scalar::<_, i64>(RETRIED).bind(jobs).bind(fences).bind(pauses).bind(errors);
        found.extend(statement.fetch_all(&mut *tx).await?);
    }
    if !buried.is_empty() {
        let (jobs, fences) = columns(buried.into_iter());
        let statement = query_scalar::<_, i64>(BURIED).bind(jobs).bind(fences).bind(last_errors);
        found.extend(statement.fetch_all(&mut *tx).await?);
    }
    Ok(found)
}

async fn replay_in(tx: &mut PgConnection, step: &Step, id: JobId) -> Result<Option<JobId>, Abort<StorageError>> {
    if let Repeated(target) = step::begin(tx, step).await? {
        return Ok(Some(target.id()?));
    }
    let found: Option<DeadRow> = query_as(sql::FIND_DEAD).bind(id.get()).fetch_optional(&mut *tx).await?;
    let Some(dead) = one::<DeadJob, _>(found)? else {
        step::skip(tx, step).await?;
        return Ok(None);
    };
    let job = replayed(&dead);
    lock_keys_in(tx, std::slice::from_ref(&job), &[]).await?;
    if query(sql::EXHUME).bind(id.get()).execute(&mut *tx).await?.rows_affected() == 0 {
        step::skip(tx, step).await?;
        return Ok(None);
    }
    let written = if job.dedupe_key.is_some() {
        write_once_in(tx, &job, &dead.correlation_id, Some(id)).await?
    } else {
        let written = insert_in(tx, &[&job], &dead.correlation_id, Some(id)).await?;
        written.first().copied().ok_or(sqlx::Error::RowNotFound)?
    };
    step::finish(tx, step, &Outcome::of(written)).await?;
    Ok(Some(written))
}

fn columns(leases: impl Iterator<Item = Lease>) -> (Vec<i64>, Vec<i64>) {
    leases.map(|lease| (lease.job.get(), lease.fence)).unzip()
}

/// How long from now, or when.
fn due(due: Due) -> (i64, Option<Instant>) {
    match due {
        Due::Now => (0, None),
        Due::After(pause) => (micros(pause), None),
        Due::At(at) => (0, Some(Instant(at))),
    }
}
