//! Letters.

#[cfg(feature = "postgres")]
mod postgres;
mod rows;
mod sql;
#[cfg(feature = "sqlite")]
mod sqlite;
mod steps;

#[cfg(feature = "postgres")]
pub use self::postgres::PgMailStore;
#[cfg(feature = "sqlite")]
pub use self::sqlite::SqliteMailStore;
