//! The log of losses.

#[cfg(feature = "postgres")]
mod postgres;
mod rows;
mod sql;
#[cfg(feature = "sqlite")]
mod sqlite;

#[cfg(feature = "postgres")]
pub use self::postgres::PgRevocationStore;
#[cfg(feature = "sqlite")]
pub use self::sqlite::SqliteRevocationStore;
pub(crate) use self::{
    rows::{LossColumns, account_column},
    sql::TAKE_NUMBERS,
};
