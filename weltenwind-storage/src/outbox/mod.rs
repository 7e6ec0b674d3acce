//! Jobs.

#[cfg(feature = "postgres")]
pub(crate) mod postgres;
mod rows;
mod sql;
#[cfg(feature = "sqlite")]
pub(crate) mod sqlite;

#[cfg(feature = "postgres")]
pub use self::postgres::PgOutboxStore;
#[cfg(feature = "sqlite")]
pub use self::sqlite::SqliteOutboxStore;

use std::{collections::HashSet, time::Duration};

use weltenwind_core::outbox::{DeadJob, JobId, Lease, LeaseLost, NewJob, cut_error};

/// Passes if every lease was found; if not, the step is rolled back.
pub(crate) fn all_held(leases: &[Lease], found: u64) -> sqlx::Result<()> {
    if found == leases.len() as u64 { Ok(()) } else { Err(sqlx::Error::Decode(LeaseLost.into())) }
}

/// The leases under which nothing was found.
fn missing(leases: impl Iterator<Item = Lease>, found: &[i64]) -> Vec<Lease> {
    let found: HashSet<JobId> = found.iter().copied().map(JobId::new).collect();
    leases.filter(|lease| !found.contains(&lease.job)).collect()
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX / 4)
}

/// What is kept of an error: Postgres keeps no zero bytes in a text.
fn kept_of(error: &str) -> String {
    cut_error(error).replace('\0', "")
}

/// The job that a dead one becomes again.
fn replayed(dead: &DeadJob) -> NewJob {
    NewJob {
        order_key: dead.order_key.clone(),
        dedupe_key: dead.dedupe_key.clone(),
        ..NewJob::new(dead.kind.clone(), dead.payload.clone())
    }
}
