//! Who holds which role where, and the keys of game servers.

mod keys;
#[cfg(feature = "postgres")]
pub(crate) mod postgres;
mod rows;
mod sql;
#[cfg(feature = "sqlite")]
pub(crate) mod sqlite;

#[cfg(feature = "postgres")]
pub use self::{keys::PgApiKeyStore, postgres::PgGrantStore};
#[cfg(feature = "sqlite")]
pub use self::{keys::SqliteApiKeyStore, sqlite::SqliteGrantStore};
pub(crate) use self::{
    keys::{ApiKeyRow, api_key_columns},
    rows::GrantRow,
    sql::grant_columns,
};
