//! Opening a store by its URL, and why that can fail.

use std::{error::Error, path::PathBuf};

use weltenwind_core::Stores;

use crate::{config::StorageConfig, migrate::Migrated};

type Source = Box<dyn Error + Send + Sync>;

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// No store is known under the URL's scheme.
    #[error("no store is known under {scheme:?}")]
    UnknownScheme {
        /// The scheme.
        scheme: String,
    },
    /// The store is known, and was left out of this program.
    #[error("this program was built without {backend}")]
    NotBuiltIn {
        /// The name of the store, and of the feature that builds it in.
        backend: &'static str,
    },
    /// The URL cannot be read.
    #[error("the storage URL {url} cannot be read")]
    UrlInvalid {
        /// The URL, without its password.
        url: String,
        /// What is wrong with it.
        source: Source,
    },
    /// The database server does not answer.
    #[error("the database server at {url} cannot be reached")]
    ServerUnreachable {
        /// The URL, without its password.
        url: String,
        /// What the network said.
        source: Source,
    },
    /// The database server refuses the user or the password.
    #[error("the database server at {url} refuses the sign-in")]
    SignInRefused {
        /// The URL, without its password.
        url: String,
        /// What the server said.
        source: Source,
    },
    /// The database server has no such database.
    #[error("the database server at {url} has no such database")]
    DatabaseMissing {
        /// The URL, without its password.
        url: String,
        /// What the server said.
        source: Source,
    },
    /// The database file cannot be opened or written.
    #[error("the database file {} cannot be opened", path.display())]
    FileUnusable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: Source,
    },
    /// The file is no database, or a damaged one.
    #[error("the database file {} is corrupt", path.display())]
    FileCorrupt {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        source: Source,
    },
    /// A newer program has brought the schema beyond what this one knows.
    #[error("the schema is at version {found}, and this program knows {known}")]
    SchemaNewer {
        /// The schema's version.
        found: i64,
        /// The newest version that this program knows.
        known: i64,
    },
    /// The schema is not up to date, and the configuration forbids to change it on start.
    #[error("the schema is out of date: {} is missing", missing.join(", "))]
    SchemaOutdated {
        /// The names of the migrations that are missing.
        missing: Vec<String>,
    },
    /// A migration that was applied is not the one that this program carries.
    #[error("migration {name} was applied in another form")]
    MigrationChanged {
        /// The migration.
        name: &'static str,
    },
    /// A migration failed, and has changed nothing.
    #[error("cannot apply {name}")]
    MigrationFailed {
        /// The migration.
        name: &'static str,
        /// What the database said.
        source: Source,
    },
    /// The database failed otherwise.
    #[error("cannot open the store")]
    Failed {
        /// What the database said.
        source: Source,
    },
}

impl OpenError {
    /// Says what a person can do about it.
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::UnknownScheme { .. } => "a storage URL begins with sqlite:// or postgres://",
            Self::NotBuiltIn { .. } => "build the program with the feature of that name, or choose another store",
            Self::UrlInvalid { .. } => {
                "write sqlite://path/to/weltenwind.db or postgres://user:password@host:5432/database; \
                 special characters are percent-encoded"
            }
            Self::ServerUnreachable { .. } => {
                "check that the server runs, and the host, port and TLS mode in the storage URL"
            }
            Self::SignInRefused { .. } => {
                "check the user and the password in the storage URL, and the server's pg_hba.conf"
            }
            Self::DatabaseMissing { .. } => "create the database with createdb, or name another one in the storage URL",
            Self::FileUnusable { .. } => {
                "check that the folder exists and that file and folder are writable by the user who runs this program"
            }
            Self::FileCorrupt { .. } => {
                "check that the storage URL names the right file; if it does, restore the file from a backup"
            }
            Self::SchemaNewer { .. } => "run the newest version that has used this store; a schema is never taken back",
            Self::SchemaOutdated { .. } => "run `weltenwind migrate` first, or let the start do it",
            Self::MigrationChanged { .. } => {
                "the store was made by another build of the program; run that one, or an official release"
            }
            Self::MigrationFailed { .. } => {
                "the store is as it was before; check the user's privileges and the free space, and try again"
            }
            Self::Failed { .. } => "the cause is in the line above",
        }
    }
}

/// Opens the store that the configuration names, brings its schema up to date, and answers every port of it.
///
/// Dropping the ports ends the store; [`StoreHealth::close`](weltenwind_core::StoreHealth::close) also waits for what is
/// under way. Must be called inside a Tokio runtime.
pub async fn open(config: &StorageConfig) -> Result<Stores, OpenError> {
    match backend(config)? {
        #[cfg(feature = "sqlite")]
        Backend::Sqlite => Ok(crate::sqlite::SqliteDatabase::open(config).await?.stores()),
        #[cfg(feature = "postgres")]
        Backend::Postgres => Ok(crate::postgres::PgDatabase::open(config).await?.stores()),
    }
}

/// Brings the schema of the store up to date, whatever the configuration says of the start, and answers what was done.
pub async fn migrate(config: &StorageConfig) -> Result<Migrated, OpenError> {
    match backend(config)? {
        #[cfg(feature = "sqlite")]
        Backend::Sqlite => crate::sqlite::migrate(config).await,
        #[cfg(feature = "postgres")]
        Backend::Postgres => crate::postgres::migrate(config).await,
    }
}

/// The stores that are built in.
pub(crate) enum Backend {
    #[cfg(feature = "sqlite")]
    Sqlite,
    #[cfg(feature = "postgres")]
    Postgres,
}

pub(crate) fn backend(config: &StorageConfig) -> Result<Backend, OpenError> {
    match config.scheme() {
        #[cfg(feature = "sqlite")]
        "sqlite" => Ok(Backend::Sqlite),
        #[cfg(not(feature = "sqlite"))]
        "sqlite" => Err(OpenError::NotBuiltIn { backend: "sqlite" }),
        #[cfg(feature = "postgres")]
        "postgres" | "postgresql" => Ok(Backend::Postgres),
        #[cfg(not(feature = "postgres"))]
        "postgres" | "postgresql" => Err(OpenError::NotBuiltIn { backend: "postgres" }),
        scheme => Err(OpenError::UnknownScheme { scheme: scheme.to_owned() }),
    }
}
