//! Accounts, sessions and the keys of the installation.

mod devices;
#[cfg(feature = "postgres")]
mod postgres;
mod rows;
mod sql;
#[cfg(feature = "sqlite")]
mod sqlite;

#[cfg(feature = "postgres")]
pub use self::{
    devices::PgDeviceStore,
    postgres::{PgAccountStore, PgKeyStore, PgSessionStore},
};
#[cfg(feature = "sqlite")]
pub use self::{
    devices::SqliteDeviceStore,
    sqlite::{SqliteAccountStore, SqliteKeyStore, SqliteSessionStore},
};
pub(crate) use self::{
    devices::{DeviceRow, device_columns},
    rows::AccountRow,
    sql::account_columns,
};
