//! The connections to Postgres that all adapters share.

mod statements;

use std::{str::FromStr as _, sync::Arc, time::Duration};

use async_trait::async_trait;
use sqlx::{
    Connection as _, PgConnection, PgPool,
    postgres::{PgConnectOptions, PgListener, PgPoolOptions},
};
use weltenwind_core::{StorageError, StoreHealth, Stores};

use self::statements::Statements;
use crate::{
    access::{PgApiKeyStore, PgGrantStore},
    accounts::{PgAccountStore, PgDeviceStore, PgKeyStore, PgPreferenceStore, PgSecondFactorStore, PgSessionStore},
    announcements::PgAnnouncementStore,
    chat::PgChatStore,
    config::StorageConfig,
    error::{Abort, cause, failed},
    idempotency::PgIdempotencyStore,
    mail::PgMailStore,
    migrate::{self, Migrated},
    notifications::PgNotificationStore,
    open::OpenError,
    outbox::PgOutboxStore,
    privacy::PgPrivacyStore,
    refusals::PgRefusalStore,
    revocations::PgRevocationStore,
    worlds::PgWorldStore,
};

/// A Postgres database that any number of nodes share.
///
/// Clones share its connections: a fifth of them for what is read all the time, a fifth for batches of messages, the rest for
/// transactions and rare statements. More readers read no more pages: they are busy, not waiting.
#[derive(Debug, Clone)]
pub struct PgDatabase {
    pool: PgPool,
    readers: Statements,
    appends: Statements,
    /// One connection that is told of jobs, once somebody listens.
    listening: PgPool,
}

/// A connection that lay idle for longer is asked whether it still lives before it is used: a question costs as much as
/// a short statement.
const TRUSTED_IDLE: Duration = Duration::from_millis(250);

impl PgDatabase {
    /// Connects, and brings the schema up to date unless the configuration forbids it.
    pub async fn open(config: &StorageConfig) -> Result<Self, OpenError> {
        let options = options(config)?;
        let mut connection = connect(config, &options).await?;
        if config.migrate_on_start {
            migrate::POSTGRES.apply(&mut connection).await?;
        } else {
            expect_current(&mut connection).await?;
        }
        // An open connection is what matters; whether it closes cleanly does not.
        let _ = connection.close().await;
        let patience = Duration::from_secs(config.acquire_timeout_seconds);
        let fifth = (config.max_connections / 5).max(1);
        let readers = Statements::new(options.clone(), fifth, patience, statements::LONGEST);
        let appends = Statements::new(options.clone(), fifth, patience, statements::LONGEST);
        let listening =
            PgPoolOptions::new().max_connections(1).acquire_timeout(patience).connect_lazy_with(options.clone());
        let pool = PgPoolOptions::new()
            .max_connections(config.max_connections.saturating_sub(2 * fifth).max(1))
            .acquire_timeout(patience)
            .test_before_acquire(false)
            .before_acquire(|connection, known| {
                Box::pin(async move {
                    if known.idle_for > TRUSTED_IDLE {
                        connection.ping().await?;
                    }
                    Ok(true)
                })
            })
            .connect_lazy_with(options);
        Ok(Self { pool, readers, appends, listening })
    }

    /// Puts every port's adapter on this database.
    pub fn stores(&self) -> Stores {
        Stores {
            accounts: Arc::new(PgAccountStore::new(self.clone())),
            sessions: Arc::new(PgSessionStore::new(self.clone())),
            devices: Arc::new(PgDeviceStore::new(self.clone())),
            keys: Arc::new(PgKeyStore::new(self.clone())),
            factors: Arc::new(PgSecondFactorStore::new(self.clone())),
            preferences: Arc::new(PgPreferenceStore::new(self.clone())),
            grants: Arc::new(PgGrantStore::new(self.clone())),
            api_keys: Arc::new(PgApiKeyStore::new(self.clone())),
            worlds: Arc::new(PgWorldStore::new(self.clone())),
            chat: Arc::new(PgChatStore::new(self.clone())),
            announcements: Arc::new(PgAnnouncementStore::new(self.clone())),
            notifications: Arc::new(PgNotificationStore::new(self.clone())),
            mail: Arc::new(PgMailStore::new(self.clone())),
            idempotency: Arc::new(PgIdempotencyStore::new(self.clone())),
            revocations: Arc::new(PgRevocationStore::new(self.clone())),
            privacy: Arc::new(PgPrivacyStore::new(self.clone())),
            outbox: Arc::new(PgOutboxStore::new(self.clone())),
            refusals: Arc::new(PgRefusalStore::new(self.clone())),
            health: Arc::new(self.clone()),
        }
    }

    /// Returns the pool, for what is one statement.
    pub(crate) const fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// Returns the connections for what is one statement and read all the time.
    pub(crate) const fn readers(&self) -> &Statements {
        &self.readers
    }

    /// Returns the connections for batches of messages.
    pub(crate) const fn appends(&self) -> &Statements {
        &self.appends
    }

    /// Listens on a channel, on a connection of its own that is made anew when it breaks.
    pub(crate) async fn listen(&self, channel: &str) -> sqlx::Result<PgListener> {
        let mut listener = PgListener::connect_with(&self.listening).await?;
        listener.listen(channel).await?;
        Ok(listener)
    }

    /// Runs `work` in one transaction; an [`Abort`] rolls it back.
    pub(crate) async fn write<T, E: From<StorageError>>(
        &self,
        attempted: &'static str,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, Abort<E>>,
    ) -> Result<T, E> {
        let attempt = async {
            let mut tx = self.pool.begin().await?;
            let done = work(&mut tx).await?;
            tx.commit().await?;
            Ok(done)
        };
        attempt.await.map_err(|abort: Abort<E>| abort.into_error(attempted))
    }
}

#[async_trait]
impl StoreHealth for PgDatabase {
    async fn check(&self) -> Result<(), StorageError> {
        const ATTEMPTED: &str = "check the store";
        let version: Option<i64> =
            sqlx::query_scalar(migrate::VERSION).fetch_one(&self.pool).await.map_err(failed(ATTEMPTED))?;
        migrate::POSTGRES.expect_version(version).map_err(|error| StorageError::permanent(ATTEMPTED, error))
    }

    async fn close(&self) {
        self.readers.close();
        self.appends.close();
        // Whoever has listened keeps the connection for as long as the store lives: it is not waited for.
        drop(self.listening.close());
        self.pool.close().await;
    }
}

pub(crate) async fn migrate(config: &StorageConfig) -> Result<Migrated, OpenError> {
    let mut connection = connect(config, &options(config)?).await?;
    let migrated = migrate::POSTGRES.apply(&mut connection).await?;
    let _ = connection.close().await;
    Ok(migrated)
}

async fn expect_current(connection: &mut PgConnection) -> Result<(), OpenError> {
    let has_schema: bool = sqlx::query_scalar("SELECT to_regclass('_sqlx_migrations') IS NOT NULL")
        .fetch_one(&mut *connection)
        .await
        .map_err(|error| OpenError::Failed { source: cause(error) })?;
    if has_schema { migrate::POSTGRES.expect_current(connection).await } else { Err(migrate::POSTGRES.expect_some()) }
}

fn options(config: &StorageConfig) -> Result<PgConnectOptions, OpenError> {
    let options = PgConnectOptions::from_str(&config.url)
        .map_err(|error| OpenError::UrlInvalid { url: config.redacted_url(), source: error.into() })?;
    Ok(options.application_name("weltenwind"))
}

/// Opens one connection outside of the pool, whose time-out would hide why a server cannot be reached.
async fn connect(config: &StorageConfig, options: &PgConnectOptions) -> Result<PgConnection, OpenError> {
    let url = config.redacted_url();
    let patience = Duration::from_secs(config.acquire_timeout_seconds);
    match tokio::time::timeout(patience, PgConnection::connect_with(options)).await {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(sqlx::Error::Database(error))) => {
            let code = error.code().unwrap_or_default().into_owned();
            let source = error.into();
            Err(match code.as_str() {
                "28000" | "28P01" => OpenError::SignInRefused { url, source },
                "3D000" => OpenError::DatabaseMissing { url, source },
                code if is_transient(code) => OpenError::ServerUnreachable { url, source },
                _ => OpenError::Failed { source },
            })
        }
        Ok(Err(error)) => Err(OpenError::ServerUnreachable { url, source: cause(error) }),
        Err(elapsed) => Err(OpenError::ServerUnreachable { url, source: elapsed.into() }),
    }
}

/// Returns whether a repeat may cure a failure with this SQLSTATE.
///
/// <https://www.postgresql.org/docs/current/errcodes-appendix.html>
pub(crate) fn is_transient(sqlstate: &str) -> bool {
    // Connections, resources, operator intervention; rollbacks by deadlock or serialisation, a lock not to be had, and a
    // server that has just become a replica.
    ["08", "53", "57"].iter().any(|class| sqlstate.starts_with(class))
        || matches!(sqlstate, "40001" | "40P01" | "55P03" | "25006")
}
