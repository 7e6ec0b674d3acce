//! Accounts, sessions and the keys of the installation.

mod devices;
#[cfg(feature = "postgres")]
mod postgres;
mod preferences;
mod rows;
mod sql;
#[cfg(feature = "sqlite")]
mod sqlite;
mod two_factor;

#[cfg(feature = "postgres")]
pub use self::{
    devices::PgDeviceStore,
    postgres::{PgAccountStore, PgKeyStore, PgSessionStore},
    preferences::PgPreferenceStore,
    two_factor::PgSecondFactorStore,
};
#[cfg(feature = "sqlite")]
pub use self::{
    devices::SqliteDeviceStore,
    preferences::SqlitePreferenceStore,
    sqlite::{SqliteAccountStore, SqliteKeyStore, SqliteSessionStore},
    two_factor::SqliteSecondFactorStore,
};
pub(crate) use self::{
    devices::{DeviceRow, device_columns},
    preferences::{FIND as FIND_PREFERENCES, PreferencesRow},
    rows::AccountRow,
    sql::account_columns,
};
