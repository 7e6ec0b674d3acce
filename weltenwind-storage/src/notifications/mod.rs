//! What accounts are told.

#[cfg(feature = "postgres")]
mod postgres;
mod rows;
mod sql;
#[cfg(feature = "sqlite")]
mod sqlite;
mod steps;

#[cfg(feature = "postgres")]
pub use self::postgres::PgNotificationStore;
pub(crate) use self::rows::HeldNotificationRow;
#[cfg(feature = "sqlite")]
pub use self::sqlite::SqliteNotificationStore;
