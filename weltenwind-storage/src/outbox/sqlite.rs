//! Jobs in SQLite. Leases and pauses of a batch travel as JSON.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use jiff::Timestamp;
use sqlx::{SqliteConnection, query, query_as, query_scalar, types::Json};
use uuid::Uuid;
use weltenwind_core::{
    CorrelationId, Outcome, Page, Step, StorageError,
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
    rows::{Instant, all, one},
    sqlite::{
        Class::{Background, Interactive},
        SqliteDatabase,
    },
    step::{self, Begun::Repeated},
};

/// Keeps jobs in a SQLite file.
#[derive(Debug, Clone)]
pub struct SqliteOutboxStore {
    db: SqliteDatabase,
    time: Arc<Mutex<Option<Time>>>,
}

/// The instant of the last call, and what a clock showed then that nobody sets.
#[derive(Debug, Clone, Copy)]
struct Time {
    at: Timestamp,
    since: std::time::Instant,
}

impl SqliteOutboxStore {
    /// Keeps jobs in `db`.
    pub fn new(db: SqliteDatabase) -> Self {
        Self { db, time: Arc::default() }
    }

    /// Returns the instant to go by: that of the caller's clock, unless it was set back; then time goes on from before.
    async fn time(&self, at: Timestamp) -> sqlx::Result<Timestamp> {
        let known = *self.time.lock().unwrap_or_else(PoisonError::into_inner);
        let before = if let Some(time) = known {
            time.at.checked_add(time.since.elapsed()).unwrap_or(at)
        } else {
            // What a process before this one has seen.
            let newest: Option<Instant> = query_scalar(NEWEST).fetch_one(self.db.readers()).await?;
            newest.map_or(at, |newest| newest.0)
        };
        let now = at.max(before);
        *self.time.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(Time { at: now, since: std::time::Instant::now() });
        Ok(now)
    }
}

const NEWEST: &str = "SELECT max(created_at) FROM outbox_jobs";

/// Each class has an index of its own.
macro_rules! claim {
    ($class:literal) => {
        concat!(
            "UPDATE outbox_jobs
             SET worker = $3, fence = fence + 1, lease_until = $4, deadline_at = $5, crash_limit = $6
             WHERE id IN (
                 SELECT id FROM outbox_jobs
                 WHERE kind = $1 AND worker IS NULL AND NOT behind AND run_at <= $7 AND ",
            $class,
            "    ORDER BY run_at, id LIMIT $2
             )
             RETURNING ",
            sql::claimed!()
        )
    };
}

const CLAIM_SOUND: &str = claim!("crashes = 0");
const CLAIM_SUSPECT: &str = claim!("crashes > 0");

const RENEW: &str = "
    UPDATE outbox_jobs SET lease_until = min(deadline_at, $2 + (held.value ->> 2))
    FROM json_each($1) held
    WHERE outbox_jobs.id = held.value ->> 0 AND fence = held.value ->> 1 AND worker IS NOT NULL AND lease_until > $2";

/// `CROSS JOIN` keeps the order: each lease is looked up, whatever SQLite believes of the table's size.
const LOST: &str = "
    SELECT held.value ->> 0, held.value ->> 1
    FROM json_each($1) held CROSS JOIN outbox_jobs ON outbox_jobs.id = held.value ->> 0
    WHERE fence <> held.value ->> 1 OR worker IS NULL OR deadline_at <= $2";

/// The first condition finds the rows, the second compares the fence.
const DONE: &str = "
    DELETE FROM outbox_jobs
    WHERE id IN (SELECT value ->> 0 FROM json_each($1))
        AND (id, fence) IN (SELECT value ->> 0, value ->> 1 FROM json_each($1)) AND worker IS NOT NULL
    RETURNING id";

const RELEASED: &str = "
    UPDATE outbox_jobs SET worker = NULL, lease_until = NULL, deadline_at = NULL, crash_limit = NULL
    FROM json_each($1) held
    WHERE outbox_jobs.id = held.value ->> 0 AND fence = held.value ->> 1 AND worker IS NOT NULL
    RETURNING id";

/// The errors of a job with one more at the end, and the oldest gone if there are eight; `$2` is the present.
macro_rules! errors_with {
    ($error:literal) => {
        concat!(
            "json_insert(
                CASE WHEN json_array_length(errors) >= 8 THEN json_remove(errors, '$[0]') ELSE errors END,
                '$[#]', json_object('at', $2, 'error', ",
            $error,
            "))"
        )
    };
}

const RETRIED: &str = concat!(
    "UPDATE outbox_jobs
     SET worker = NULL, lease_until = NULL, deadline_at = NULL, crash_limit = NULL, failures = failures + 1,
         run_at = $2 + (held.value ->> 2), errors = ",
    errors_with!("held.value ->> 3"),
    " FROM json_each($1) held
     WHERE outbox_jobs.id = held.value ->> 0 AND fence = held.value ->> 1 AND worker IS NOT NULL
     RETURNING id"
);

const BURIED: &str = concat!(
    "INSERT INTO outbox_dead
         (id, kind, payload, order_key, dedupe_key, correlation_id, created_at, died_at, failures, crashes, errors, replay_of)
     SELECT job.id, kind, payload, order_key, dedupe_key, correlation_id, created_at, $2, failures + 1, crashes, ",
    errors_with!("held.value ->> 2"),
    ", replay_of
     FROM json_each($1) held CROSS JOIN outbox_jobs job ON job.id = held.value ->> 0
     WHERE fence = held.value ->> 1 AND worker IS NOT NULL
     RETURNING id"
);

const LATE: &str = "
    SELECT id, crashes + 1 >= crash_limit, worker, deadline_at <= $1 FROM outbox_jobs
    WHERE worker IS NOT NULL AND lease_until <= $1 ORDER BY lease_until LIMIT $2";

const RETURNED: &str = concat!(
    "UPDATE outbox_jobs
     SET worker = NULL, lease_until = NULL, deadline_at = NULL, crash_limit = NULL, crashes = crashes + 1, errors = ",
    errors_with!("late.value ->> 1"),
    " FROM json_each($1) late WHERE outbox_jobs.id = late.value ->> 0"
);

const SWEPT_AWAY: &str = concat!(
    "INSERT INTO outbox_dead
         (id, kind, payload, order_key, dedupe_key, correlation_id, created_at, died_at, failures, crashes, errors, replay_of)
     SELECT job.id, kind, payload, order_key, dedupe_key, correlation_id, created_at, $2, failures, crashes + 1, ",
    errors_with!("late.value ->> 1"),
    ", replay_of
     FROM json_each($1) late CROSS JOIN outbox_jobs job ON job.id = late.value ->> 0"
);

const GONE: &str = "DELETE FROM outbox_jobs WHERE id IN (SELECT value FROM json_each($1))";

const WRITE: &str = "
    INSERT INTO outbox_jobs (kind, payload, order_key, dedupe_key, correlation_id, created_at, run_at, replay_of)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
    RETURNING id";

const HURRY: &str = "UPDATE outbox_jobs SET run_at = min(run_at, $2) WHERE id = $1";

const STATS: &str = "
    SELECT count(*) FILTER (WHERE worker IS NULL AND run_at <= $1 AND NOT behind) AS due,
        count(*) FILTER (WHERE worker IS NULL AND run_at <= $1 AND behind) AS behind,
        count(*) FILTER (WHERE worker IS NULL AND run_at > $1) AS later,
        count(*) FILTER (WHERE worker IS NOT NULL) AS leased,
        (SELECT count(*) FROM outbox_dead) AS dead,
        coalesce($1 - min(run_at) FILTER (WHERE worker IS NULL AND run_at <= $1), 0) AS oldest_due_micros,
        NULL AS oldest_snapshot_micros
    FROM outbox_jobs";

#[async_trait]
impl OutboxStore for SqliteOutboxStore {
    async fn enqueue(
        &self,
        jobs: &[NewJob],
        correlation_id: &CorrelationId,
        at: Timestamp,
    ) -> Result<(), StorageError> {
        let (jobs, correlation_id) = (jobs.to_vec(), correlation_id.clone());
        self.db
            .write(Interactive, "write jobs", move |tx| {
                Box::pin(async move { Ok(write_in(tx, &jobs, &correlation_id, at).await?) })
            })
            .await
    }

    async fn claim(&self, claim: &Claim, at: Timestamp) -> Result<Vec<Job>, StorageError> {
        let (claim, now) = (claim.clone(), self.time(at).await.map_err(failed("claim jobs"))?);
        let jobs = self.db.write(Background, "claim jobs", move |tx| {
            Box::pin(async move {
                let statement = match claim.class {
                    Class::Sound => CLAIM_SOUND,
                    Class::Suspect => CLAIM_SUSPECT,
                };
                let rows: Vec<JobRow> = query_as(statement)
                    .bind(claim.kind.as_str())
                    .bind(i64::from(claim.limit))
                    .bind(claim.worker.uuid())
                    .bind(now.as_microsecond() + micros(claim.lease.min(claim.deadline)))
                    .bind(now.as_microsecond() + micros(claim.deadline))
                    .bind(i64::from(claim.max_crashes))
                    .bind(Instant(now))
                    .fetch_all(tx)
                    .await?;
                Ok(all::<Job, _>(rows)?)
            })
        });
        let jobs: Result<_, StorageError> = jobs.await;
        let mut jobs = jobs?;
        jobs.sort_by_key(Job::id);
        Ok(jobs)
    }

    async fn renew(&self, renewals: &[Renewal], at: Timestamp) -> Result<Vec<Lease>, StorageError> {
        let now = self.time(at).await.map_err(failed("renew leases of jobs"))?;
        let held: Vec<_> =
            renewals.iter().map(|Renewal { lease, by }| (lease.job.get(), lease.fence, micros(*by))).collect();
        self.db
            .write(Interactive, "renew leases of jobs", move |tx| {
                Box::pin(async move {
                    query(RENEW).bind(Json(&held)).bind(Instant(now)).execute(&mut *tx).await?;
                    let lost: Vec<(i64, i64)> =
                        query_as(LOST).bind(Json(&held)).bind(Instant(now)).fetch_all(tx).await?;
                    Ok(lost.into_iter().map(|(job, fence)| Lease { job: JobId::new(job), fence }).collect())
                })
            })
            .await
    }

    async fn settle(&self, settlements: &[Settlement], at: Timestamp) -> Result<Vec<Lease>, StorageError> {
        let (now, asked) = (self.time(at).await.map_err(failed("settle jobs"))?, settlements.to_vec());
        let found: Result<Vec<i64>, StorageError> = self
            .db
            .write(Interactive, "settle jobs", move |tx| Box::pin(async move { Ok(settle_in(tx, &asked, now).await?) }))
            .await;
        Ok(missing(settlements.iter().map(|settlement| settlement.lease), &found?))
    }

    async fn sweep(&self, limit: u16, at: Timestamp) -> Result<Swept, StorageError> {
        let now = self.time(at).await.map_err(failed("take jobs back from dead workers"))?;
        self.db
            .write(Background, "take jobs back from dead workers", move |tx| {
                Box::pin(async move { Ok(sweep_in(tx, limit, now).await?) })
            })
            .await
    }

    async fn now(&self, at: Timestamp) -> Result<Timestamp, StorageError> {
        self.time(at).await.map_err(failed("read the store's clock"))
    }

    async fn page(&self, query: &JobQuery) -> Result<Page<LiveJob>, StorageError> {
        let rows: Vec<LiveRow> = query_as(sql::PAGE)
            .bind(query.after.unwrap_or(JobId::START).get())
            .bind(query.kind.as_ref().map(JobKind::as_str))
            .bind(query.limit.with_probe())
            .fetch_all(self.db.readers())
            .await
            .map_err(failed("list jobs"))?;
        Ok(Page::from_probe(all(rows).map_err(failed("list jobs"))?, query.limit))
    }

    async fn find(&self, id: JobId) -> Result<Option<LiveJob>, StorageError> {
        let row: Option<LiveRow> =
            query_as(sql::FIND).bind(id.get()).fetch_optional(self.db.readers()).await.map_err(failed("find a job"))?;
        one(row).map_err(failed("find a job"))
    }

    async fn blocker(&self, id: JobId) -> Result<Option<LiveJob>, StorageError> {
        let row: Option<LiveRow> = query_as(sql::BLOCKER)
            .bind(id.get())
            .fetch_optional(self.db.readers())
            .await
            .map_err(failed("find what a job waits for"))?;
        one(row).map_err(failed("find what a job waits for"))
    }

    async fn page_dead(&self, query: &JobQuery) -> Result<Page<DeadJob>, StorageError> {
        let rows: Vec<DeadRow> = query_as(sql::PAGE_DEAD)
            .bind(query.after.unwrap_or(JobId::START).get())
            .bind(query.kind.as_ref().map(JobKind::as_str))
            .bind(query.limit.with_probe())
            .fetch_all(self.db.readers())
            .await
            .map_err(failed("list dead jobs"))?;
        Ok(Page::from_probe(all(rows).map_err(failed("list dead jobs"))?, query.limit))
    }

    async fn find_dead(&self, id: JobId) -> Result<Option<DeadJob>, StorageError> {
        let row: Option<DeadRow> = query_as(sql::FIND_DEAD)
            .bind(id.get())
            .fetch_optional(self.db.readers())
            .await
            .map_err(failed("find a dead job"))?;
        one(row).map_err(failed("find a dead job"))
    }

    async fn replay(&self, step: &Step, id: JobId) -> Result<Option<JobId>, StorageError> {
        let step = step.clone();
        self.db
            .write(Interactive, "replay a dead job", move |tx| Box::pin(async move { replay_in(tx, &step, id).await }))
            .await
    }

    async fn purge_dead(&self, before: Timestamp, limit: u32) -> Result<u64, StorageError> {
        self.db
            .write(Background, "delete old dead jobs", move |tx| {
                Box::pin(async move {
                    let purged =
                        query(sql::PURGE_DEAD).bind(Instant(before)).bind(i64::from(limit)).execute(tx).await?;
                    Ok(purged.rows_affected())
                })
            })
            .await
    }

    async fn stats(&self, at: Timestamp) -> Result<OutboxStats, StorageError> {
        let now = self.time(at).await.map_err(failed("count jobs"))?;
        let row: StatsRow =
            query_as(STATS).bind(Instant(now)).fetch_one(self.db.readers()).await.map_err(failed("count jobs"))?;
        Ok(row.into())
    }

    async fn schedules(&self, names: &[String]) -> Result<Vec<ScheduleRow>, StorageError> {
        let rows: Vec<ScheduleColumns> = query_as(
            "SELECT name, spec, next_at FROM outbox_schedules WHERE name IN (SELECT value FROM json_each($1))",
        )
        .bind(Json(names))
        .fetch_all(self.db.readers())
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
        let (was, row, job, correlation_id) = (was.cloned(), row.clone(), job.cloned(), correlation_id.clone());
        self.db
            .write(Background, "move a schedule on", move |tx| {
                Box::pin(async move {
                    let moved = match &was {
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
                    write_in(tx, job.as_slice(), &correlation_id, at).await?;
                    Ok(true)
                })
            })
            .await
    }

    async fn hint(&self, _kinds: &[JobKind]) -> Result<(), StorageError> {
        Ok(())
    }

    async fn hinted(&self) -> Result<Vec<JobKind>, StorageError> {
        std::future::pending().await
    }
}

/// The one writer is the lock.
pub(crate) fn lock_keys_in(
    _tx: &mut SqliteConnection,
    _jobs: &[NewJob],
    _finishes: &[Lease],
) -> std::future::Ready<sqlx::Result<()>> {
    std::future::ready(Ok(()))
}

/// Finishes jobs whose effect this transaction is.
pub(crate) async fn finish_in(tx: &mut SqliteConnection, leases: &[Lease]) -> sqlx::Result<()> {
    let found = delete_in(tx, leases.iter().copied()).await?;
    all_held(leases, found.len() as u64)
}

/// Writes jobs, in order.
pub(crate) async fn write_in(
    tx: &mut SqliteConnection,
    jobs: &[NewJob],
    correlation_id: &CorrelationId,
    at: Timestamp,
) -> sqlx::Result<()> {
    for job in jobs {
        write_one_in(tx, job, correlation_id, None, at).await?;
    }
    Ok(())
}

/// Writes a job, or folds it into one that waits under its dedupe key, and returns that one's number.
async fn write_one_in(
    tx: &mut SqliteConnection,
    job: &NewJob,
    correlation_id: &CorrelationId,
    replay_of: Option<JobId>,
    at: Timestamp,
) -> sqlx::Result<JobId> {
    let run_at = match job.due {
        Due::Now => Instant(at),
        Due::After(pause) => Instant(at.checked_add(pause).unwrap_or(Timestamp::MAX)),
        Due::At(instant) => Instant(instant),
    };
    if let Some(key) = &job.dedupe_key {
        let namesake: Option<(i64, Option<Uuid>)> =
            query_as(sql::FIND_NAMESAKE).bind(job.kind.as_str()).bind(key).fetch_optional(&mut *tx).await?;
        match namesake {
            Some((id, None)) => {
                query(HURRY).bind(id).bind(run_at).execute(tx).await?;
                return Ok(JobId::new(id));
            }
            Some((id, Some(_))) => {
                query(sql::GIVE_KEY_UP).bind(id).execute(&mut *tx).await?;
            }
            None => {}
        }
    }
    let id: i64 = query_scalar(WRITE)
        .bind(job.kind.as_str())
        .bind(Json(&job.payload))
        .bind(job.order_key.as_deref())
        .bind(job.dedupe_key.as_deref())
        .bind(correlation_id.as_str())
        .bind(Instant(at))
        .bind(run_at)
        .bind(replay_of.map(JobId::get))
        .fetch_one(tx)
        .await?;
    Ok(JobId::new(id))
}

async fn delete_in(tx: &mut SqliteConnection, leases: impl Iterator<Item = Lease>) -> sqlx::Result<Vec<i64>> {
    let held: Vec<_> = leases.map(|lease| (lease.job.get(), lease.fence)).collect();
    query_scalar(DONE).bind(Json(held)).fetch_all(tx).await
}

async fn settle_in(tx: &mut SqliteConnection, settlements: &[Settlement], now: Timestamp) -> sqlx::Result<Vec<i64>> {
    let (mut done, mut released, mut retried, mut buried) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for Settlement { lease, how } in settlements {
        let (job, fence) = (lease.job.get(), lease.fence);
        match how {
            How::Done => done.push(*lease),
            How::Released => released.push((job, fence)),
            How::Retried { after, error } => retried.push((job, fence, micros(*after), kept_of(error))),
            How::Buried { error } => buried.push((job, fence, kept_of(error))),
        }
    }
    let mut found = Vec::new();
    if !done.is_empty() {
        found.extend(delete_in(tx, done.into_iter()).await?);
    }
    if !released.is_empty() {
        found.extend(query_scalar::<_, i64>(RELEASED).bind(Json(released)).fetch_all(&mut *tx).await?);
    }
    if !retried.is_empty() {
        let statement = query_scalar::<_, i64>(RETRIED).bind(Json(retried)).bind(Instant(now));
        found.extend(statement.fetch_all(&mut *tx).await?);
    }
    if !buried.is_empty() {
        let dead: Vec<i64> = query_scalar(BURIED).bind(Json(buried)).bind(Instant(now)).fetch_all(&mut *tx).await?;
        query(GONE).bind(Json(&dead)).execute(&mut *tx).await?;
        found.extend(dead);
    }
    Ok(found)
}

async fn sweep_in(tx: &mut SqliteConnection, limit: u16, now: Timestamp) -> sqlx::Result<Swept> {
    let late: Vec<(i64, bool, Uuid, bool)> =
        query_as(LATE).bind(Instant(now)).bind(i64::from(limit)).fetch_all(&mut *tx).await?;
    let (mut returned, mut dead) = (Vec::new(), Vec::new());
    for (id, dies, worker, is_overdue) in late {
        let why = if is_overdue {
            "it took longer than its deadline".to_owned()
        } else {
            format!("worker {worker} no longer told of itself")
        };
        if dies { dead.push((id, why)) } else { returned.push((id, why)) }
    }
    if !returned.is_empty() {
        query(RETURNED).bind(Json(&returned)).bind(Instant(now)).execute(&mut *tx).await?;
    }
    if !dead.is_empty() {
        query(SWEPT_AWAY).bind(Json(&dead)).bind(Instant(now)).execute(&mut *tx).await?;
        let ids: Vec<i64> = dead.iter().map(|(id, _)| *id).collect();
        query(GONE).bind(Json(ids)).execute(&mut *tx).await?;
    }
    Ok(Swept { returned: returned.len() as u64, buried: dead.len() as u64 })
}

async fn replay_in(tx: &mut SqliteConnection, step: &Step, id: JobId) -> Result<Option<JobId>, Abort<StorageError>> {
    if let Repeated(target) = step::begin(tx, step).await? {
        return Ok(Some(target.id()?));
    }
    let found: Option<DeadRow> = query_as(sql::FIND_DEAD).bind(id.get()).fetch_optional(&mut *tx).await?;
    let Some(dead) = one::<DeadJob, _>(found)? else {
        step::skip(tx, step).await?;
        return Ok(None);
    };
    query(sql::EXHUME).bind(id.get()).execute(&mut *tx).await?;
    let written = write_one_in(tx, &replayed(&dead), &dead.correlation_id, Some(id), step.at).await?;
    step::finish(tx, step, &Outcome::of(written)).await?;
    Ok(Some(written))
}

#[cfg(test)]
mod tests {
    use sqlx::{AssertSqlSafe, Connection as _, Row as _};

    use super::*;

    /// Of jobs that wait behind another one, and of the other class, the index has none.
    #[tokio::test]
    async fn a_claim_goes_by_the_index_of_its_class() {
        let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        crate::migrate::SQLITE.apply(&mut connection).await.unwrap();
        for (statement, index) in [(CLAIM_SOUND, "outbox_jobs_sound"), (CLAIM_SUSPECT, "outbox_jobs_suspect")] {
            let explained = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}"));
            let plan = query(explained).bind("test.work").fetch_all(&mut connection).await.unwrap();
            let plan: Vec<String> = plan.iter().map(|row| row.get("detail")).collect();

            let search = format!("SEARCH outbox_jobs USING INDEX {index} (kind=? AND run_at<?)");
            assert!(plan.contains(&search), "{plan:?}");
        }
    }
}
