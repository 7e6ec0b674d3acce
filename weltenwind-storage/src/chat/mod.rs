//! Channels and messages.

mod append;
mod rows;
mod sql;

#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;

#[cfg(feature = "postgres")]
pub use self::postgres::PgChatStore;
#[cfg(feature = "sqlite")]
pub use self::sqlite::SqliteChatStore;
