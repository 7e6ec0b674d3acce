//! Refused attempts in Postgres.

use async_trait::async_trait;
use weltenwind_core::{
    StorageError,
    refusals::{RefusalStore, RefusedAttempt},
};

use crate::{postgres::PgDatabase, step};

/// Writes refused attempts into the audit log in Postgres.
#[derive(Debug, Clone)]
pub struct PgRefusalStore {
    db: PgDatabase,
}

impl PgRefusalStore {
    /// Writes into `db`.
    pub const fn new(db: PgDatabase) -> Self {
        Self { db }
    }
}

#[async_trait]
impl RefusalStore for PgRefusalStore {
    async fn record(&self, refused: &[RefusedAttempt]) -> Result<(), StorageError> {
        self.db
            .write("write refused attempts", async |tx| {
                for (step, outcome) in refused.iter().map(RefusedAttempt::audited) {
                    step::finish(tx, &step, &outcome).await?;
                }
                Ok(())
            })
            .await
    }
}
