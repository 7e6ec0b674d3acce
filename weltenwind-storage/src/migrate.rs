//! The schema, carried inside the program, and how a database is brought up to it.

/// What a migration run has done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Migrated {
    /// The names of the migrations that were applied, in order; empty if the schema was up to date.
    pub applied: Vec<String>,
}

#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub(crate) use self::schema::*;

#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod schema {
    use std::error::Error;

    use sqlx::{
        SqlSafeStr as _,
        migrate::{AppliedMigration, Migrate, MigrateError, Migration, MigrationType},
    };

    use super::Migrated;
    use crate::{error::cause, open::OpenError};

    /// Where sqlx keeps what was applied.
    const TABLE: &str = "_sqlx_migrations";

    /// The migrations of one backend, in order; both have the same names.
    macro_rules! schema {
        ($folder:literal) => {
            schema!(
                $folder: "0001_foundation", "0002_accounts", "0003_worlds_access", "0004_chat", "0005_idempotency",
                "0006_revocations", "0007_access_keys", "0008_second_factor", "0009_erasure",
                "0010_identities", "0011_outbox", "0012_announcements", "0013_notifications",
                "0014_outbox_order", "0015_chat_purged"
            )
        };
        ($folder:literal: $($name:literal),+) => {
            &[$(($name, include_str!(concat!("../migrations/", $folder, "/", $name, ".sql"))),)+]
        };
    }

    #[cfg(feature = "sqlite")]
    pub(crate) const SQLITE: Schema = Schema(schema!("sqlite"));
    #[cfg(feature = "postgres")]
    pub(crate) const POSTGRES: Schema = Schema(schema!("postgres"));

    /// Reads the version that a database's schema is at.
    pub(crate) const VERSION: &str = "SELECT max(version) FROM _sqlx_migrations";

    /// Names and statements of migrations, numbered from 1 without a hole.
    #[derive(Debug, Clone, Copy)]
    pub(crate) struct Schema(&'static [(&'static str, &'static str)]);

    impl Schema {
        /// Returns the newest version this program knows.
        pub(crate) fn version(self) -> i64 {
            i64::try_from(self.0.len()).expect("nobody writes that many migrations")
        }

        fn migrations(self) -> impl Iterator<Item = (&'static str, Migration)> {
            (1..).zip(self.0).map(|(version, &(name, sql))| {
                let migration =
                    Migration::new(version, name[5..].into(), MigrationType::Simple, sql.into_sql_str(), false);
                (name, migration)
            })
        }

        /// Applies what is missing, each migration in a transaction of its own unless the caller has begun one.
        ///
        /// The backend's lock is held meanwhile, so of two programs that start at once one migrates and the other waits.
        pub(crate) async fn apply(self, connection: &mut impl Migrate) -> Result<Migrated, OpenError> {
            connection.lock().await.map_err(failed)?;
            connection.ensure_migrations_table(TABLE).await.map_err(failed)?;
            let missing = self.missing(connection).await?;
            let mut applied = Vec::new();
            for (name, migration) in missing {
                let result = connection.apply(TABLE, &migration).await;
                result.map_err(|error| OpenError::MigrationFailed { name, source: source(error) })?;
                tracing::info!(migration = name, "applied a migration");
                applied.push(name.to_owned());
            }
            connection.unlock().await.map_err(failed)?;
            Ok(Migrated { applied })
        }

        /// Refuses a schema that is not up to date.
        pub(crate) async fn expect_current(self, connection: &mut impl Migrate) -> Result<(), OpenError> {
            let missing = self.missing(connection).await?;
            if missing.is_empty() { Ok(()) } else { Err(outdated(missing.into_iter().map(|(name, _)| name))) }
        }

        /// Refuses what a running program cannot work with. A newer schema is none: it still serves the release before, so
        /// that nodes can be replaced one by one.
        pub(crate) fn expect_version(self, version: Option<i64>) -> Result<(), OpenError> {
            let reached = usize::try_from(version.unwrap_or(0)).unwrap_or(0);
            match self.0.get(reached..) {
                None | Some([]) => Ok(()),
                Some(missing) => Err(outdated(missing.iter().map(|&(name, _)| name))),
            }
        }

        /// Refuses a database without any schema.
        pub(crate) fn expect_some(self) -> OpenError {
            outdated(self.0.iter().map(|&(name, _)| name))
        }

        async fn missing(self, connection: &mut impl Migrate) -> Result<Vec<(&'static str, Migration)>, OpenError> {
            let applied = connection.list_applied_migrations(TABLE).await.map_err(failed)?;
            if let Some(AppliedMigration { version, .. }) = applied.iter().find(|m| m.version > self.version()) {
                return Err(OpenError::SchemaNewer { found: *version, known: self.version() });
            }
            let mut missing = Vec::new();
            for (name, migration) in self.migrations() {
                match applied.iter().find(|m| m.version == migration.version) {
                    Some(m) if m.checksum == migration.checksum => {}
                    Some(_) => return Err(OpenError::MigrationChanged { name }),
                    None => missing.push((name, migration)),
                }
            }
            Ok(missing)
        }
    }

    fn outdated(missing: impl Iterator<Item = &'static str>) -> OpenError {
        OpenError::SchemaOutdated { missing: missing.map(str::to_owned).collect() }
    }

    fn failed(error: MigrateError) -> OpenError {
        OpenError::Failed { source: source(error) }
    }

    fn source(error: MigrateError) -> Box<dyn Error + Send + Sync> {
        match error {
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => cause(error),
            other => other.into(),
        }
    }
}
