//! Requests under a key, in both databases.

#[cfg(feature = "postgres")]
pub(crate) mod postgres;
mod rows;
mod sql;
#[cfg(feature = "sqlite")]
pub(crate) mod sqlite;

#[cfg(feature = "postgres")]
pub use self::postgres::PgIdempotencyStore;
#[cfg(feature = "sqlite")]
pub use self::sqlite::SqliteIdempotencyStore;
