//! What is held on accounts, across all domains, and the ledger of erasures.

#[cfg(feature = "postgres")]
mod postgres;
mod rows;
mod sections;
mod sql;
#[cfg(feature = "sqlite")]
mod sqlite;

#[cfg(feature = "postgres")]
pub use self::postgres::PgPrivacyStore;
#[cfg(feature = "sqlite")]
pub use self::sqlite::SqlitePrivacyStore;
