//! How failures of the database become errors of the ports.

use std::{error::Error, fmt::Display};

use sqlx::error::{DatabaseError, ErrorKind};
use weltenwind_core::StorageError;

/// What ends a transaction without a commit.
#[derive(Debug)]
pub(crate) enum Abort<E> {
    /// The domain refuses the step, in its own words.
    Refused(E),
    /// The database failed.
    Failed(sqlx::Error),
}

impl<E> From<sqlx::Error> for Abort<E> {
    fn from(error: sqlx::Error) -> Self {
        Self::Failed(error)
    }
}

impl<E> From<BrokenRow> for Abort<E> {
    fn from(broken: BrokenRow) -> Self {
        Self::Failed(broken.into())
    }
}

impl<E: From<StorageError>> Abort<E> {
    /// Returns the error that the port answers.
    pub(crate) fn into_error(self, attempted: &'static str) -> E {
        match self {
            Self::Refused(error) => error,
            Self::Failed(error) => failed(attempted)(error).into(),
        }
    }
}

/// Says what was being attempted when the database failed, and whether a repeat may cure it.
///
/// ```text
/// .await.map_err(failed("append chat messages"))?
/// ```
pub(crate) fn failed(attempted: &'static str) -> impl Fn(sqlx::Error) -> StorageError {
    move |error| {
        let transient = is_transient(&error);
        let source = cause(error);
        if transient { StorageError::transient(attempted, source) } else { StorageError::permanent(attempted, source) }
    }
}

/// Unwraps what sqlx would print twice: in its own words and as their source.
pub(crate) fn cause(error: sqlx::Error) -> Box<dyn Error + Send + Sync> {
    match error {
        sqlx::Error::Database(error) => error.into(),
        sqlx::Error::Io(error) => error.into(),
        sqlx::Error::Decode(error) | sqlx::Error::Encode(error) => error,
        other => other.into(),
    }
}

fn is_transient(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => true,
        sqlx::Error::Database(error) => is_transient_code(&**error),
        _ => false,
    }
}

fn is_transient_code(error: &dyn DatabaseError) -> bool {
    #[cfg(feature = "postgres")]
    if let Some(error) = error.try_downcast_ref::<sqlx::postgres::PgDatabaseError>() {
        return crate::postgres::is_transient(error.code());
    }
    #[cfg(feature = "sqlite")]
    if let Some(code) = crate::sqlite::result_code(error) {
        return crate::sqlite::is_transient(code);
    }
    let _ = error;
    false
}

/// Returns whether `error` is a row that exists already, by the constraint or index `name`.
///
/// SQLite tells the kind alone: there, a statement that could violate two such constraints names the one it means in
/// `ON CONFLICT`.
pub(crate) fn violates_unique(error: &sqlx::Error, name: &str) -> bool {
    violates(error, &ErrorKind::UniqueViolation, name)
}

/// Returns whether `error` is a reference to a row that does not exist, by the constraint `name`; see
/// [`violates_unique`] for SQLite.
pub(crate) fn violates_foreign_key(error: &sqlx::Error, name: &str) -> bool {
    violates(error, &ErrorKind::ForeignKeyViolation, name)
}

fn violates(error: &sqlx::Error, kind: &ErrorKind, name: &str) -> bool {
    error
        .as_database_error()
        .is_some_and(|error| error.kind() == *kind && error.constraint().is_none_or(|constraint| constraint == name))
}

/// A stored row breaks an invariant: it was not written by this program, or by a newer one.
#[derive(Debug, thiserror::Error)]
#[error("column {column} of row {id} in table {table} holds no valid value")]
pub(crate) struct BrokenRow {
    table: &'static str,
    column: &'static str,
    id: String,
}

impl BrokenRow {
    pub(crate) fn new(table: &'static str, column: &'static str, id: impl Display) -> Self {
        Self { table, column, id: id.to_string() }
    }
}

impl From<BrokenRow> for sqlx::Error {
    fn from(broken: BrokenRow) -> Self {
        Self::Decode(broken.into())
    }
}
