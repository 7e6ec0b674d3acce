//! Refused attempts in the audit log.

#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;

#[cfg(feature = "postgres")]
pub use self::postgres::PgRefusalStore;
#[cfg(feature = "sqlite")]
pub use self::sqlite::SqliteRefusalStore;
