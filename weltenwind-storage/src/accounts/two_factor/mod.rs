//! Second factors.

#[cfg(feature = "postgres")]
mod postgres;
mod rows;
mod sql;
#[cfg(feature = "sqlite")]
mod sqlite;

#[cfg(feature = "postgres")]
pub use self::postgres::PgSecondFactorStore;
#[cfg(feature = "sqlite")]
pub use self::sqlite::SqliteSecondFactorStore;
