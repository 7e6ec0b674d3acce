//! Accounts, sessions and the keys of the installation.

#[cfg(feature = "postgres")]
mod postgres;
mod rows;
mod sql;
#[cfg(feature = "sqlite")]
mod sqlite;

#[cfg(feature = "postgres")]
pub use self::postgres::{PgAccountStore, PgKeyStore, PgSessionStore};
#[cfg(feature = "sqlite")]
pub use self::sqlite::{SqliteAccountStore, SqliteKeyStore, SqliteSessionStore};
