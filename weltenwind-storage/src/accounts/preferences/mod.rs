//! Preferences.

#[cfg(feature = "postgres")]
mod postgres;
mod rows;
mod sql;
#[cfg(feature = "sqlite")]
mod sqlite;

#[cfg(feature = "postgres")]
pub use self::postgres::PgPreferenceStore;
#[cfg(feature = "sqlite")]
pub use self::sqlite::SqlitePreferenceStore;
pub(crate) use self::{rows::PreferencesRow, sql::FIND};
