//! Jobs as rows.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use sqlx::types::Json;
use uuid::Uuid;
use weltenwind_core::{
    CorrelationId, WorkerId,
    outbox::{DeadJob, Job, JobId, JobState, Lease, LiveJob, Mishap, OutboxStats, ScheduleRow},
};

use crate::{
    error::BrokenRow,
    rows::{Instant, RowName},
};

#[derive(Debug, sqlx::FromRow)]
pub(super) struct JobRow {
    id: i64,
    fence: i64,
    kind: String,
    payload: Json<Value>,
    correlation_id: String,
    created_at: Instant,
    failures: i64,
    crashes: i64,
}

impl TryFrom<JobRow> for Job {
    type Error = BrokenRow;

    fn try_from(row: JobRow) -> Result<Self, BrokenRow> {
        let name = RowName::new("outbox_jobs", row.id);
        Ok(Self {
            lease: Lease { job: JobId::new(row.id), fence: row.fence },
            kind: name.parse("kind", &row.kind)?,
            payload: row.payload.0,
            correlation_id: correlation(&name, &row.correlation_id)?,
            created_at: row.created_at.0,
            failures: name.number("failures", row.failures)?,
            crashes: name.number("crashes", row.crashes)?,
        })
    }
}

#[derive(Debug, sqlx::FromRow)]
pub(super) struct LiveRow {
    id: i64,
    kind: String,
    payload: Json<Value>,
    order_key: Option<String>,
    dedupe_key: Option<String>,
    correlation_id: String,
    created_at: Instant,
    run_at: Instant,
    failures: i64,
    crashes: i64,
    worker: Option<Uuid>,
    lease_until: Option<Instant>,
    deadline_at: Option<Instant>,
    errors: Json<Vec<MishapColumns>>,
    replay_of: Option<i64>,
}

impl TryFrom<LiveRow> for LiveJob {
    type Error = BrokenRow;

    fn try_from(row: LiveRow) -> Result<Self, BrokenRow> {
        let name = RowName::new("outbox_jobs", row.id);
        let state = match (row.worker, row.lease_until, row.deadline_at) {
            (None, None, None) => JobState::Waiting,
            (Some(worker), Some(until), Some(deadline)) => {
                JobState::Leased { worker: WorkerId::new(worker), until: until.0, deadline: deadline.0 }
            }
            _ => return Err(name.broken("lease_until")),
        };
        Ok(Self {
            id: JobId::new(row.id),
            kind: name.parse("kind", &row.kind)?,
            payload: row.payload.0,
            order_key: row.order_key,
            dedupe_key: row.dedupe_key,
            correlation_id: correlation(&name, &row.correlation_id)?,
            created_at: row.created_at.0,
            run_at: row.run_at.0,
            state,
            failures: name.number("failures", row.failures)?,
            crashes: name.number("crashes", row.crashes)?,
            errors: mishaps(&name, row.errors.0)?,
            replay_of: row.replay_of.map(JobId::new),
        })
    }
}

#[derive(Debug, sqlx::FromRow)]
pub(super) struct DeadRow {
    id: i64,
    kind: String,
    payload: Json<Value>,
    order_key: Option<String>,
    dedupe_key: Option<String>,
    correlation_id: String,
    created_at: Instant,
    died_at: Instant,
    failures: i64,
    crashes: i64,
    errors: Json<Vec<MishapColumns>>,
    replay_of: Option<i64>,
}

impl TryFrom<DeadRow> for DeadJob {
    type Error = BrokenRow;

    fn try_from(row: DeadRow) -> Result<Self, BrokenRow> {
        let name = RowName::new("outbox_dead", row.id);
        Ok(Self {
            id: JobId::new(row.id),
            kind: name.parse("kind", &row.kind)?,
            payload: row.payload.0,
            order_key: row.order_key,
            dedupe_key: row.dedupe_key,
            correlation_id: correlation(&name, &row.correlation_id)?,
            created_at: row.created_at.0,
            died_at: row.died_at.0,
            failures: name.number("failures", row.failures)?,
            crashes: name.number("crashes", row.crashes)?,
            errors: mishaps(&name, row.errors.0)?,
            replay_of: row.replay_of.map(JobId::new),
        })
    }
}

/// An attempt that came to nothing, as it stands in `errors`.
#[derive(Debug, Deserialize)]
struct MishapColumns {
    /// Microseconds since 1970.
    at: i64,
    error: String,
}

fn mishaps(name: &RowName<i64>, errors: Vec<MishapColumns>) -> Result<Vec<Mishap>, BrokenRow> {
    let mishap = |MishapColumns { at, error }| {
        let at = Timestamp::from_microsecond(at).map_err(|_| name.broken("errors"))?;
        Ok(Mishap { at, error })
    };
    errors.into_iter().map(mishap).collect()
}

fn correlation(name: &RowName<i64>, text: &str) -> Result<CorrelationId, BrokenRow> {
    CorrelationId::accept(text).ok_or_else(|| name.broken("correlation_id"))
}

#[derive(Debug, sqlx::FromRow)]
pub(super) struct StatsRow {
    due: i64,
    behind: i64,
    later: i64,
    leased: i64,
    dead: i64,
    oldest_due_micros: i64,
    oldest_snapshot_micros: Option<i64>,
}

impl From<StatsRow> for OutboxStats {
    fn from(row: StatsRow) -> Self {
        let count = |count: i64| u64::try_from(count).unwrap_or(0);
        let micros = |micros: i64| std::time::Duration::from_micros(count(micros));
        Self {
            due: count(row.due),
            behind: count(row.behind),
            later: count(row.later),
            leased: count(row.leased),
            dead: count(row.dead),
            oldest_due: micros(row.oldest_due_micros),
            oldest_snapshot: row.oldest_snapshot_micros.map(micros),
        }
    }
}

#[derive(Debug, sqlx::FromRow)]
pub(super) struct ScheduleColumns {
    name: String,
    spec: String,
    next_at: Instant,
}

impl From<ScheduleColumns> for ScheduleRow {
    fn from(row: ScheduleColumns) -> Self {
        Self { name: row.name, spec: row.spec, next_at: row.next_at.0 }
    }
}
