//! Devices.

#[cfg(feature = "postgres")]
mod postgres;
mod rows;
mod sql;
#[cfg(feature = "sqlite")]
mod sqlite;

#[cfg(feature = "postgres")]
pub use self::postgres::PgDeviceStore;
#[cfg(feature = "sqlite")]
pub use self::sqlite::SqliteDeviceStore;
pub(crate) use self::{rows::DeviceRow, sql::device_columns};
