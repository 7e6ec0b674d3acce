//! Devices.

#[cfg(feature = "postgres")]
mod postgres;
mod rows;
mod sql;
#[cfg(feature = "sqlite")]
mod sqlite;

#[cfg(feature = "postgres")]
pub use self::postgres::PgDeviceStore;
pub(super) use self::rows::DeviceRow;
#[cfg(feature = "sqlite")]
pub use self::sqlite::SqliteDeviceStore;
