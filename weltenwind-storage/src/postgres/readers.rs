//! Connections for what is read all the time.
//!
//! The pool of sqlx asks a connection twice for each statement whether it still lives, before and after: three journeys
//! instead of one, and half the cost of a page of history. Statements that only read need neither: there is no
//! transaction to roll back, and a connection that failed is thrown away.

use std::{fmt, time::Duration};

use deadpool::{
    Runtime,
    managed::{Manager, Metrics, Pool, PoolError, QueueMode, RecycleError, RecycleResult},
};
use sqlx::{Connection as _, PgConnection, error::DatabaseError, postgres::PgConnectOptions};

use super::TRUSTED_IDLE;

/// A pool of connections that are lent for one statement at a time.
#[derive(Clone)]
pub(crate) struct Readers {
    pool: Pool<Connector>,
}

impl Readers {
    pub(super) fn new(options: PgConnectOptions, connections: u32, patience: Duration) -> Self {
        let pool = Pool::builder(Connector { options })
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

    /// Lends a connection to a `work` that only reads, outside of any transaction.
    pub(crate) async fn read<T>(
        &self,
        work: impl AsyncFnOnce(&mut PgConnection) -> sqlx::Result<T>,
    ) -> sqlx::Result<T> {
        let mut lent = self.pool.get().await.map_err(unavailable)?;
        lent.in_use = true;
        let read = work(&mut lent.connection).await;
        lent.in_use = read.as_ref().is_err_and(ends_connection);
        read
    }

    pub(super) fn close(&self) {
        self.pool.close();
    }
}

impl fmt::Debug for Readers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Readers").field("status", &self.pool.status()).finish()
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
}

struct Reader {
    connection: PgConnection,
    /// Set while a statement runs, so also of a connection whose borrower went away in the middle of one.
    in_use: bool,
}

impl Manager for Connector {
    type Type = Reader;
    type Error = sqlx::Error;

    async fn create(&self) -> sqlx::Result<Reader> {
        Ok(Reader { connection: PgConnection::connect_with(&self.options).await?, in_use: false })
    }

    async fn recycle(&self, reader: &mut Reader, known: &Metrics) -> RecycleResult<sqlx::Error> {
        if reader.in_use {
            return Err(RecycleError::message("it was left in the middle of a statement"));
        }
        if known.last_used() > TRUSTED_IDLE {
            reader.connection.ping().await?;
        }
        Ok(())
    }
}
