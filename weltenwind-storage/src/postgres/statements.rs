//! Connections for single statements that are asked all the time, and for the few that go behind locks in their place.
//!
//! The pool of sqlx asks a connection twice for each statement whether it still lives, before and after: three journeys
//! instead of one, and half the cost of a page of history. A statement that is its own transaction needs neither: there is
//! nothing to roll back, and a connection that failed is thrown away.
//!
//! Each statement is planned once for each connection. Left to itself the server plans one with arrays anew each time, for as
//! many elements as it sees, which costs a commit as much again; the statements are written so that the plan for any number
//! is the best one.

use std::{fmt, time::Duration};

use deadpool::{
    Runtime,
    managed::{Manager, Metrics, Pool, PoolError, QueueMode, RecycleError, RecycleResult},
};
use sqlx::{Connection as _, Executor as _, PgConnection, error::DatabaseError, postgres::PgConnectOptions};

use super::TRUSTED_IDLE;

/// How long the server itself works on a statement, its waiting for locks included. Longer than anybody here waits for one: it
/// is for those that were given up, which would otherwise stand in line for a lock as long as that is held.
pub(super) const LONGEST: Duration = Duration::from_secs(20);

/// A pool of connections that are lent for one statement at a time, or one short transaction.
#[derive(Clone)]
pub(crate) struct Statements {
    pool: Pool<Connector>,
}

impl Statements {
    /// Waits for a connection for `patience`, and lets the server work on a statement for `longest`.
    pub(super) fn new(options: PgConnectOptions, connections: u32, patience: Duration, longest: Duration) -> Self {
        let pool = Pool::builder(Connector { options, longest })
            .max_size(usize::try_from(connections).unwrap_or(usize::MAX))
            .queue_mode(QueueMode::Lifo)
            .wait_timeout(Some(patience))
            .create_timeout(Some(patience))
            .recycle_timeout(Some(patience))
            .runtime(Runtime::Tokio1)
            .build()
            .expect("time-outs have a runtime");
        Self { pool }
    }

    /// Lends a connection to a `work` of one statement, outside of any transaction.
    pub(crate) async fn run<T>(&self, work: impl AsyncFnOnce(&mut PgConnection) -> sqlx::Result<T>) -> sqlx::Result<T> {
        let mut lent = self.pool.get().await.map_err(unavailable)?;
        lent.in_use = true;
        let done = work(&mut lent.connection).await;
        lent.in_use = done.as_ref().is_err_and(ends_connection);
        done
    }

    /// Lends a connection to a `work` of a few statements, in one transaction that is rolled back if it fails. The server works
    /// on each of them for as long as on a single one.
    pub(crate) async fn transaction<T>(
        &self,
        work: impl AsyncFnOnce(&mut PgConnection) -> sqlx::Result<T>,
    ) -> sqlx::Result<T> {
        self.run(async |connection| {
            let mut tx = connection.begin().await?;
            let done = work(&mut tx).await;
            // Ended here either way: the next borrower must find none, and nobody waits for its locks.
            if done.is_ok() {
                tx.commit().await?;
            } else {
                tx.rollback().await?;
            }
            done
        })
        .await
    }

    pub(super) fn close(&self) {
        self.pool.close();
    }
}

impl fmt::Debug for Statements {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Statements").field("status", &self.pool.status()).finish()
    }
}

/// Returns whether a connection is of no use after this error: only after a refusal that concerns the statement alone it is.
fn ends_connection(error: &sqlx::Error) -> bool {
    // Class 57: the server is being shut down, or somebody ended the connection.
    error.as_database_error().and_then(DatabaseError::code).is_none_or(|code| code.starts_with("57P"))
}

fn unavailable(error: PoolError<sqlx::Error>) -> sqlx::Error {
    match error {
        PoolError::Backend(error) => error,
        PoolError::Timeout(_) => sqlx::Error::PoolTimedOut,
        PoolError::Closed | PoolError::NoRuntimeSpecified | PoolError::PostCreateHook(_) => sqlx::Error::PoolClosed,
    }
}

/// Opens connections, and tells which may be lent again.
struct Connector {
    options: PgConnectOptions,
    longest: Duration,
}

struct Lent {
    connection: PgConnection,
    /// Set while a statement runs, so also of a connection whose borrower went away in the middle of one.
    in_use: bool,
}

impl Manager for Connector {
    type Type = Lent;
    type Error = sqlx::Error;

    async fn create(&self) -> sqlx::Result<Lent> {
        let mut connection = PgConnection::connect_with(&self.options).await?;
        // As statements, because poolers between here and the server refuse them as options of the connection.
        connection.execute("SET plan_cache_mode = force_generic_plan").await?;
        let longest = format!("{}ms", self.longest.as_millis());
        sqlx::query("SELECT set_config('statement_timeout', $1, FALSE)").bind(longest).execute(&mut connection).await?;
        Ok(Lent { connection, in_use: false })
    }

    async fn recycle(&self, lent: &mut Lent, known: &Metrics) -> RecycleResult<sqlx::Error> {
        if lent.in_use {
            return Err(RecycleError::message("it was left in the middle of a statement"));
        }
        if known.last_used() > TRUSTED_IDLE {
            lent.connection.ping().await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::str::FromStr as _;

    use sqlx::query_scalar;

    use super::*;
    use crate::postgres::is_transient;

    const SECOND: Duration = Duration::from_secs(1);
    /// Any number that no other test locks.
    const LOCK: &str = "SELECT pg_advisory_lock(2003071860)::TEXT";

    async fn lock(statements: &Statements) -> sqlx::Result<String> {
        statements.run(async |connection| query_scalar(LOCK).fetch_one(connection).await).await
    }

    #[tokio::test]
    #[ignore = "needs WW_TEST_POSTGRES_URL"]
    async fn the_server_gives_up_a_statement_that_waits_for_a_lock() {
        let url = std::env::var("WW_TEST_POSTGRES_URL").expect("WW_TEST_POSTGRES_URL names a Postgres");
        let options = PgConnectOptions::from_str(&url).expect("a URL");
        let mut other = PgConnection::connect_with(&options).await.expect("the database");
        other.execute(LOCK).await.expect("the lock is free");
        let statements = Statements::new(options, 1, SECOND, SECOND / 5);

        let given_up = lock(&statements).await.expect_err("the lock is not free");
        let code = given_up.as_database_error().and_then(DatabaseError::code).expect("the server's own word");
        assert!(code == "57014" && is_transient(&code), "{given_up:?}");

        // The connection is as good as before.
        let pid = "SELECT pg_backend_pid()";
        let mut pids = Vec::new();
        for _ in 0..2 {
            let read = statements.run(async |connection| query_scalar::<_, i32>(pid).fetch_one(connection).await);
            pids.push(read.await.expect("a short statement"));
        }
        assert_eq!(pids[0], pids[1]);
        other.close().await.expect("the lock is given back");
        lock(&statements).await.expect("the lock is free");
    }
}
