//! Announcements and their words.

#[cfg(feature = "postgres")]
mod postgres;
mod rows;
mod sql;
#[cfg(feature = "sqlite")]
mod sqlite;

#[cfg(feature = "postgres")]
pub use self::postgres::PgAnnouncementStore;
pub(crate) use self::sql::COUNT;
#[cfg(feature = "sqlite")]
pub use self::sqlite::SqliteAnnouncementStore;
