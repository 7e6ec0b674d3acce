//! The stores of Weltenwind: SQLite in one file, or Postgres for any number of nodes, with Redis between them.
//!
//! [`open`] picks the backend by the URL's scheme, brings the schema up to date and answers every port of
//! `weltenwind-core`. A program that needs a single port opens a `SqliteDatabase` or `PgDatabase` and puts the one adapter
//! on it.
//!
//! With the feature `redis`, a `RedisBus` carries what happens between nodes that share a Postgres, a `RedisPresenceStore` tells
//! who is where on all of them, and a `RedisRateLimiter` counts calls for all.
//!
//! With the feature `smtp`, an `SmtpMailer` hands letters to a mail server.
//!
//! With the feature `bench`, measurements fill a store with many rows at once.
//!
//! The features `sqlite`, `postgres`, `redis`, `smtp` and `bench` choose what is built; none is on by default.
//!
//! ```
//! # #[cfg(feature = "sqlite")]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use weltenwind_storage::StorageConfig;
//!
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("weltenwind.db");
//! let config = StorageConfig { url: format!("sqlite://{}", path.display()), ..StorageConfig::default() };
//! let stores = weltenwind_storage::open(&config).await?;
//! assert!(stores.worlds.is_empty().await?);
//! stores.health.close().await;
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "sqlite"))]
//! # fn main() {}
//! ```

mod config;
mod migrate;
mod open;

#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod access;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod accounts;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod announcements;
#[cfg(all(feature = "bench", any(feature = "sqlite", feature = "postgres")))]
pub mod bench;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod chat;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod error;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod idempotency;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod mail;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod notifications;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod outbox;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod privacy;
#[cfg(feature = "redis")]
mod redis;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod refusals;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod revocations;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod rows;
#[cfg(feature = "smtp")]
mod smtp;
#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod step;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod worlds;

#[cfg(feature = "redis")]
pub use self::redis::{RedisBus, RedisConfig, RedisConfigError, RedisPresenceStore, RedisRateLimiter};
#[cfg(feature = "smtp")]
pub use self::smtp::{MailConfig, MailConfigError, SmtpMailer};
#[cfg(feature = "postgres")]
pub use self::{
    access::{PgApiKeyStore, PgGrantStore},
    accounts::{PgAccountStore, PgDeviceStore, PgKeyStore, PgPreferenceStore, PgSecondFactorStore, PgSessionStore},
    announcements::PgAnnouncementStore,
    chat::PgChatStore,
    idempotency::PgIdempotencyStore,
    mail::PgMailStore,
    notifications::PgNotificationStore,
    outbox::PgOutboxStore,
    postgres::PgDatabase,
    privacy::PgPrivacyStore,
    refusals::PgRefusalStore,
    revocations::PgRevocationStore,
    worlds::PgWorldStore,
};
#[cfg(feature = "sqlite")]
pub use self::{
    access::{SqliteApiKeyStore, SqliteGrantStore},
    accounts::{
        SqliteAccountStore, SqliteDeviceStore, SqliteKeyStore, SqlitePreferenceStore, SqliteSecondFactorStore,
        SqliteSessionStore,
    },
    announcements::SqliteAnnouncementStore,
    chat::SqliteChatStore,
    idempotency::SqliteIdempotencyStore,
    mail::SqliteMailStore,
    notifications::SqliteNotificationStore,
    outbox::SqliteOutboxStore,
    privacy::SqlitePrivacyStore,
    refusals::SqliteRefusalStore,
    revocations::SqliteRevocationStore,
    sqlite::SqliteDatabase,
    worlds::SqliteWorldStore,
};
pub use self::{
    config::{StorageConfig, redact},
    migrate::Migrated,
    open::{OpenError, migrate, open},
};
