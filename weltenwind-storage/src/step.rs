//! What every transaction does beside its own work: it knows a repeated request again, finishes the jobs whose effect it is,
//! and writes the audit log, the jobs that follow from it, and the log of losses.
//!
//! An adapter opens with [`begin`], answers at once if the step was taken before, and closes with [`finish`]. Both come
//! before and after everything else, so all transactions lock in the same order.

use std::str::FromStr;

use sqlx::{QueryBuilder, types::Json};
use weltenwind_core::{
    CorrelationId, EffectKey, Outcome, Step, Timestamp,
    outbox::{Lease, NewJob},
    revocations::Loss,
};

use crate::{
    error::BrokenRow,
    outbox,
    revocations::{LossColumns, TAKE_NUMBERS, account_column},
    rows::{Instant, ScopeColumns},
};

/// Whether a step has had its effect before.
#[derive(Debug)]
pub(crate) enum Begun {
    /// It has not, and no other transaction can begin it until this one ends.
    Fresh,
    /// It has, and this is what it made.
    Repeated(Target),
}

/// What a step made or changed, as its [`Outcome`] named it.
#[derive(Debug)]
pub(crate) struct Target(String);

impl Target {
    /// Returns the identifier.
    pub(crate) fn id<T: FromStr>(&self) -> sqlx::Result<T> {
        self.0.parse().map_err(|_| BrokenRow::new("effect_keys", "target", &self.0).into())
    }

    /// Returns what the target names; a row that is gone is an invariant broken.
    pub(crate) fn found<T>(&self, found: Option<T>) -> sqlx::Result<T> {
        found.ok_or_else(|| BrokenRow::new("effect_keys", "target", &self.0).into())
    }
}

/// Begins a step inside a transaction, before anything else.
pub(crate) async fn begin<C: Ledger>(tx: &mut C, step: &Step) -> sqlx::Result<Begun> {
    let Some(key) = &step.effect_key else { return Ok(Begun::Fresh) };
    if tx.take_key(key, step.at).await? {
        return Ok(Begun::Fresh);
    }
    let target = Target(tx.target_of(key).await?);
    // What the jobs were to do is done.
    tx.finish_jobs(&step.finishes).await?;
    Ok(Begun::Repeated(target))
}

/// Finishes a step: writes the audit row, what answers a repeat, the jobs that follow, and what was lost, and finishes the jobs
/// whose effect it is. It fails if one of those is held by somebody else meanwhile; the transaction is then rolled back. The
/// counter of losses is the last lock that is taken, so whoever waits for it waits for a commit and nothing else.
pub(crate) async fn finish<C: Ledger>(tx: &mut C, step: &Step, outcome: &Outcome) -> sqlx::Result<()> {
    tx.lock_job_keys(&step.jobs, &step.finishes).await?;
    tx.finish_jobs(&step.finishes).await?;
    tx.write_audit(step, outcome).await?;
    if let Some(key) = &step.effect_key {
        tx.set_target(key, &outcome.target).await?;
    }
    tx.write_jobs(&step.jobs, &step.correlation_id, step.at).await?;
    if outcome.losses.is_empty() { Ok(()) } else { tx.log_losses(&outcome.losses, step.at).await }
}

/// Finishes a step that has changed nothing and is no refusal: it leaves no trace, and no jobs follow from it.
pub(crate) async fn skip<C: Ledger>(tx: &mut C, step: &Step) -> sqlx::Result<()> {
    tx.finish_jobs(&step.finishes).await?;
    match &step.effect_key {
        Some(key) => tx.give_key_back(key).await,
        None => Ok(()),
    }
}

/// The statements of a step, which both drivers run alike.
pub(crate) trait Ledger {
    /// Takes an effect key and answers whether this transaction got it; waits for one that has it and is not done.
    async fn take_key(&mut self, key: &EffectKey, at: Timestamp) -> sqlx::Result<bool>;

    async fn target_of(&mut self, key: &EffectKey) -> sqlx::Result<String>;

    async fn set_target(&mut self, key: &EffectKey, target: &str) -> sqlx::Result<()>;

    async fn give_key_back(&mut self, key: &EffectKey) -> sqlx::Result<()>;

    async fn write_audit(&mut self, step: &Step, outcome: &Outcome) -> sqlx::Result<()>;

    /// Takes the keys under which jobs are written and finished, before anything else of the outbox is locked.
    async fn lock_job_keys(&mut self, jobs: &[NewJob], finishes: &[Lease]) -> sqlx::Result<()>;

    /// Finishes jobs that are still held, or fails.
    async fn finish_jobs(&mut self, leases: &[Lease]) -> sqlx::Result<()>;

    async fn write_jobs(&mut self, jobs: &[NewJob], correlation_id: &CorrelationId, at: Timestamp) -> sqlx::Result<()>;

    /// Numbers losses and writes them; there is one at least.
    async fn log_losses(&mut self, losses: &[Loss], at: Timestamp) -> sqlx::Result<()>;
}

/// The conflict waits for the other transaction's end in Postgres; in SQLite there is no other.
const TAKE_KEY: &str = "INSERT INTO effect_keys (key, target, at) VALUES ($1, '', $2) ON CONFLICT (key) DO NOTHING";

const TARGET_OF: &str = "SELECT target FROM effect_keys WHERE key = $1";

const SET_TARGET: &str = "UPDATE effect_keys SET target = $2 WHERE key = $1";

const GIVE_KEY_BACK: &str = "DELETE FROM effect_keys WHERE key = $1";

const WRITE_AUDIT: &str = "
    INSERT INTO audit_log
        (at, actor, session, device, correlation_id, action, scope_kind, scope_id, target, reason, details)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";

const LOG_LOSSES: &str = "INSERT INTO revocations (seq, at, account_id, kind, subject, scope_kind, scope_id) ";

/// Rows that are written by one statement; both databases take that many parameters.
const LOSSES_AT_ONCE: usize = 500;

macro_rules! ledger {
    ($connection:ty, $database:ty, $jobs:ident) => {
        impl Ledger for $connection {
            async fn take_key(&mut self, key: &EffectKey, at: Timestamp) -> sqlx::Result<bool> {
                let taken =
                    sqlx::query(TAKE_KEY).bind(key.as_bytes().as_slice()).bind(Instant(at)).execute(self).await?;
                Ok(taken.rows_affected() == 1)
            }

            async fn target_of(&mut self, key: &EffectKey) -> sqlx::Result<String> {
                sqlx::query_scalar(TARGET_OF).bind(key.as_bytes().as_slice()).fetch_one(self).await
            }

            async fn set_target(&mut self, key: &EffectKey, target: &str) -> sqlx::Result<()> {
                sqlx::query(SET_TARGET).bind(key.as_bytes().as_slice()).bind(target).execute(self).await?;
                Ok(())
            }

            async fn give_key_back(&mut self, key: &EffectKey) -> sqlx::Result<()> {
                sqlx::query(GIVE_KEY_BACK).bind(key.as_bytes().as_slice()).execute(self).await?;
                Ok(())
            }

            async fn write_audit(&mut self, step: &Step, outcome: &Outcome) -> sqlx::Result<()> {
                let ScopeColumns { scope_kind, scope_id } = step.audit.scope.into();
                sqlx::query(WRITE_AUDIT)
                    .bind(Instant(step.at))
                    .bind(step.actor.map(|id| id.uuid()))
                    .bind(step.session.map(|id| id.uuid()))
                    .bind(step.device.map(|id| id.uuid()))
                    .bind(step.correlation_id.as_str())
                    .bind(step.audit.action)
                    .bind(scope_kind)
                    .bind(scope_id)
                    .bind(&outcome.target)
                    .bind(step.audit.reason.as_deref())
                    .bind((!step.audit.details.is_null()).then_some(Json(&step.audit.details)))
                    .execute(self)
                    .await?;
                Ok(())
            }

            async fn lock_job_keys(&mut self, jobs: &[NewJob], finishes: &[Lease]) -> sqlx::Result<()> {
                outbox::$jobs::lock_keys_in(self, jobs, finishes).await
            }

            async fn finish_jobs(&mut self, leases: &[Lease]) -> sqlx::Result<()> {
                if leases.is_empty() { Ok(()) } else { outbox::$jobs::finish_in(self, leases).await }
            }

            async fn write_jobs(
                &mut self,
                jobs: &[NewJob],
                correlation_id: &CorrelationId,
                at: Timestamp,
            ) -> sqlx::Result<()> {
                if jobs.is_empty() { Ok(()) } else { outbox::$jobs::write_in(self, jobs, correlation_id, at).await }
            }

            async fn log_losses(&mut self, losses: &[Loss], at: Timestamp) -> sqlx::Result<()> {
                let count = i64::try_from(losses.len()).expect("losses were in memory");
                let last: i64 = sqlx::query_scalar(TAKE_NUMBERS).bind(count).fetch_one(&mut *self).await?;
                let mut numbers = last - count + 1..=last;
                for losses in losses.chunks(LOSSES_AT_ONCE) {
                    let mut statement = QueryBuilder::<$database>::new(LOG_LOSSES);
                    statement.push_values(losses.iter().zip(&mut numbers), |mut row, (loss, seq)| {
                        let LossColumns { kind, subject, scope_kind, scope_id } = LossColumns::from(&loss.lost);
                        row.push_bind(seq)
                            .push_bind(Instant(at))
                            .push_bind(account_column(loss))
                            .push_bind(kind)
                            .push_bind(subject)
                            .push_bind(scope_kind)
                            .push_bind(scope_id);
                    });
                    statement.build().execute(&mut *self).await?;
                }
                Ok(())
            }
        }
    };
}

#[cfg(feature = "postgres")]
ledger!(sqlx::PgConnection, sqlx::Postgres, postgres);
#[cfg(feature = "sqlite")]
ledger!(sqlx::SqliteConnection, sqlx::Sqlite, sqlite);
