//! The SQLite file that all adapters share: connections that read, and one task that writes.

mod writer;

use std::{error::Error as _, path::PathBuf, str::FromStr as _, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use sqlx::{
    Connection as _, SqliteConnection, SqlitePool,
    error::DatabaseError,
    sqlite::{SqliteConnectOptions, SqliteError, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use weltenwind_core::{StorageError, StoreHealth, Stores};

pub(crate) use self::writer::Class;
use self::writer::Writer;
use crate::{
    access::{SqliteApiKeyStore, SqliteGrantStore},
    accounts::{
        SqliteAccountStore, SqliteDeviceStore, SqliteKeyStore, SqlitePreferenceStore, SqliteSecondFactorStore,
        SqliteSessionStore,
    },
    announcements::SqliteAnnouncementStore,
    chat::SqliteChatStore,
    config::StorageConfig,
    error::{Abort, cause, failed},
    idempotency::SqliteIdempotencyStore,
    mail::SqliteMailStore,
    migrate::{self, Migrated},
    notifications::SqliteNotificationStore,
    open::OpenError,
    outbox::SqliteOutboxStore,
    privacy::SqlitePrivacyStore,
    refusals::SqliteRefusalStore,
    revocations::SqliteRevocationStore,
    worlds::SqliteWorldStore,
};

/// Rows that a reader hands over without waiting for who takes them: the longest page, with its probe.
const PAGE: usize = 201;

/// Pages that each reader keeps, in KiB below zero: the inner ones of every index it needs. The system keeps the others for
/// all of them together.
const READER_CACHE: &str = "-512";

/// A database in one file, in WAL mode: readers never wait for the writer, nor it for them.
///
/// Clones share the connections. Other processes may open the same file.
#[derive(Debug, Clone)]
pub struct SqliteDatabase {
    readers: SqlitePool,
    writer: Writer,
}

impl SqliteDatabase {
    /// Opens the file, makes it if it is missing, and brings the schema up to date unless the configuration forbids it.
    ///
    /// Must be called inside a Tokio runtime, which then runs the task that writes.
    pub async fn open(config: &StorageConfig) -> Result<Self, OpenError> {
        let file = File::named(config)?;
        let mut connection = file.connect().await?;
        if config.migrate_on_start {
            apply(&mut connection).await.map(drop)
        } else {
            expect_current(&mut connection).await
        }
        .map_err(|error| file.blame(error))?;

        let readers = SqlitePoolOptions::new()
            .max_connections(config.readers.max(1))
            .acquire_timeout(Duration::from_secs(config.acquire_timeout_seconds))
            // A file does not hang up.
            .test_before_acquire(false)
            .connect_lazy_with(file.options.read_only(true).row_buffer_size(PAGE).pragma("cache_size", READER_CACHE));
        Ok(Self { readers, writer: Writer::start(connection, config.write_queue.max(1)) })
    }

    /// Puts every port's adapter on this database.
    pub fn stores(&self) -> Stores {
        Stores {
            accounts: Arc::new(SqliteAccountStore::new(self.clone())),
            sessions: Arc::new(SqliteSessionStore::new(self.clone())),
            devices: Arc::new(SqliteDeviceStore::new(self.clone())),
            keys: Arc::new(SqliteKeyStore::new(self.clone())),
            factors: Arc::new(SqliteSecondFactorStore::new(self.clone())),
            preferences: Arc::new(SqlitePreferenceStore::new(self.clone())),
            grants: Arc::new(SqliteGrantStore::new(self.clone())),
            api_keys: Arc::new(SqliteApiKeyStore::new(self.clone())),
            worlds: Arc::new(SqliteWorldStore::new(self.clone())),
            chat: Arc::new(SqliteChatStore::new(self.clone())),
            announcements: Arc::new(SqliteAnnouncementStore::new(self.clone())),
            notifications: Arc::new(SqliteNotificationStore::new(self.clone())),
            mail: Arc::new(SqliteMailStore::new(self.clone())),
            idempotency: Arc::new(SqliteIdempotencyStore::new(self.clone())),
            revocations: Arc::new(SqliteRevocationStore::new(self.clone())),
            privacy: Arc::new(SqlitePrivacyStore::new(self.clone())),
            outbox: Arc::new(SqliteOutboxStore::new(self.clone())),
            refusals: Arc::new(SqliteRefusalStore::new(self.clone())),
            health: Arc::new(self.clone()),
        }
    }

    /// Returns the connections that read, for what is one statement.
    pub(crate) const fn readers(&self) -> &SqlitePool {
        &self.readers
    }

    /// Runs `work` in one transaction of the writing task; an [`Abort`] rolls it back.
    ///
    /// Once queued it runs to its end, even if the caller goes away. A full queue is a transient failure.
    pub(crate) async fn write<T, E, W>(&self, class: Class, attempted: &'static str, work: W) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StorageError> + Send + 'static,
        W: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, Abort<E>>> + Send + 'static,
    {
        self.writer.write(class, attempted, work).await
    }

    /// Runs a script in the writing task like [`write`](Self::write), but for the transaction: the script begins and
    /// commits by itself, all in one query, and is rolled back if it stops in the middle.
    ///
    /// Each query is a trip to the connection's thread and back, `BEGIN` and `COMMIT` too. What is written for every
    /// message is worth a script.
    pub(crate) async fn script<T, E, W>(&self, class: Class, attempted: &'static str, script: W) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StorageError> + Send + 'static,
        W: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, Abort<E>>> + Send + 'static,
    {
        self.writer.script(class, attempted, script).await
    }
}

#[async_trait]
impl StoreHealth for SqliteDatabase {
    async fn check(&self) -> Result<(), StorageError> {
        const ATTEMPTED: &str = "check the store";
        self.writer.check(ATTEMPTED)?;
        let version: Option<i64> =
            sqlx::query_scalar(migrate::VERSION).fetch_one(&self.readers).await.map_err(failed(ATTEMPTED))?;
        migrate::SQLITE.expect_version(version).map_err(|error| StorageError::permanent(ATTEMPTED, error))
    }

    async fn close(&self) {
        // Readers first: only a file that nobody reads can be checkpointed to its end.
        self.readers.close().await;
        self.writer.close().await;
    }
}

pub(crate) async fn migrate(config: &StorageConfig) -> Result<Migrated, OpenError> {
    let file = File::named(config)?;
    let mut connection = file.connect().await?;
    let migrated = apply(&mut connection).await.map_err(|error| file.blame(error))?;
    let _ = connection.close().await;
    Ok(migrated)
}

/// Migrates in one transaction: SQLite has no other lock that a second process would wait for.
async fn apply(connection: &mut SqliteConnection) -> Result<Migrated, OpenError> {
    let mut tx = connection.begin_with("BEGIN IMMEDIATE").await.map_err(interrupted)?;
    let migrated = migrate::SQLITE.apply(&mut *tx).await?;
    tx.commit().await.map_err(interrupted)?;
    Ok(migrated)
}

async fn expect_current(connection: &mut SqliteConnection) -> Result<(), OpenError> {
    let has_schema: bool = sqlx::query_scalar("SELECT count(*) FROM sqlite_schema WHERE name = '_sqlx_migrations'")
        .fetch_one(&mut *connection)
        .await
        .map_err(interrupted)?;
    if has_schema { migrate::SQLITE.expect_current(connection).await } else { Err(migrate::SQLITE.expect_some()) }
}

fn interrupted(error: sqlx::Error) -> OpenError {
    OpenError::Failed { source: cause(error) }
}

/// The file of a database and how it is opened.
struct File {
    path: PathBuf,
    options: SqliteConnectOptions,
}

impl File {
    fn named(config: &StorageConfig) -> Result<Self, OpenError> {
        let invalid = |source| OpenError::UrlInvalid { url: config.redacted_url(), source };
        let options = SqliteConnectOptions::from_str(&config.url).map_err(|error| invalid(error.into()))?;
        let path = options.get_filename().to_owned();
        if config.url.contains(":memory:") || config.url.contains("mode=memory") || path.as_os_str().is_empty() {
            return Err(invalid("a file is expected".into()));
        }
        let options = options
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // What was acknowledged survives a power failure, too.
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            // In pages of 4 KiB: a batch of messages in many channels writes hundreds, and a checkpoint at SQLite's default
            // of 1000 would come with every third batch.
            .pragma("wal_autocheckpoint", "8000")
            // A page of 50 is read as 51 rows, and the largest as 201: each comes over in one go.
            .row_buffer_size(256)
            .busy_timeout(Duration::from_millis(config.busy_timeout_ms));
        Ok(Self { path, options })
    }

    async fn connect(&self) -> Result<SqliteConnection, OpenError> {
        SqliteConnection::connect_with(&self.options).await.map_err(|error| self.blame(interrupted(error)))
    }

    /// Says so if a failure comes from the file itself.
    fn blame(&self, error: OpenError) -> OpenError {
        let path = self.path.clone();
        let code = error.source().and_then(|source| result_code(&**source.downcast_ref::<Box<dyn DatabaseError>>()?));
        match code {
            Some(CORRUPT | NOTADB) => OpenError::FileCorrupt { path, source: error.into() },
            Some(PERM | READONLY | CANTOPEN | BUSY) => OpenError::FileUnusable { path, source: error.into() },
            _ => error,
        }
    }
}

// https://www.sqlite.org/rescode.html
const PERM: i32 = 3;
const BUSY: i32 = 5;
const LOCKED: i32 = 6;
const NOMEM: i32 = 7;
const READONLY: i32 = 8;
const INTERRUPT: i32 = 9;
const IOERR: i32 = 10;
const CORRUPT: i32 = 11;
const FULL: i32 = 13;
const CANTOPEN: i32 = 14;
const NOTADB: i32 = 26;

/// Returns SQLite's primary result code, if the failure is SQLite's.
pub(crate) fn result_code(error: &dyn DatabaseError) -> Option<i32> {
    let extended: i32 = error.try_downcast_ref::<SqliteError>()?.code()?.parse().ok()?;
    Some(extended & 0xff)
}

/// Returns whether a repeat may cure a failure with this primary result code.
pub(crate) const fn is_transient(code: i32) -> bool {
    matches!(code, BUSY | LOCKED | NOMEM | INTERRUPT | IOERR | FULL)
}
