//! API keys of game servers and bots.

#[cfg(feature = "postgres")]
mod postgres;
mod rows;
mod sql;
#[cfg(feature = "sqlite")]
mod sqlite;

#[cfg(feature = "postgres")]
pub use self::postgres::PgApiKeyStore;
#[cfg(feature = "sqlite")]
pub use self::sqlite::SqliteApiKeyStore;
pub(crate) use self::{rows::ApiKeyRow, sql::api_key_columns};
