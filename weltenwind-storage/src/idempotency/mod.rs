//! Requests under a key, in both databases.

#[cfg(feature = "postgres")]
mod postgres;
mod rows;
mod sql;
#[cfg(feature = "sqlite")]
mod sqlite;

#[cfg(feature = "postgres")]
pub use self::postgres::PgIdempotencyStore;
#[cfg(feature = "sqlite")]
pub use self::sqlite::SqliteIdempotencyStore;
