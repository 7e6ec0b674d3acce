//! Who holds which role where.

#[cfg(feature = "postgres")]
pub(crate) mod postgres;
mod rows;
mod sql;
#[cfg(feature = "sqlite")]
pub(crate) mod sqlite;

#[cfg(feature = "postgres")]
pub use self::postgres::PgGrantStore;
#[cfg(feature = "sqlite")]
pub use self::sqlite::SqliteGrantStore;
