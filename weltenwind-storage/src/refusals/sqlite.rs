//! Refused attempts in SQLite.

use async_trait::async_trait;
use weltenwind_core::{
    StorageError,
    refusals::{RefusalStore, RefusedAttempt},
};

use crate::{
    sqlite::{Class::Background, SqliteDatabase},
    step,
};

/// Writes refused attempts into the audit log in a SQLite file.
#[derive(Debug, Clone)]
pub struct SqliteRefusalStore {
    db: SqliteDatabase,
}

impl SqliteRefusalStore {
    /// Writes into `db`.
    pub const fn new(db: SqliteDatabase) -> Self {
        Self { db }
    }
}

#[async_trait]
impl RefusalStore for SqliteRefusalStore {
    async fn record(&self, refused: &[RefusedAttempt]) -> Result<(), StorageError> {
        let refused = refused.to_vec();
        self.db
            .write(Background, "write refused attempts", move |tx| {
                Box::pin(async move {
                    for (step, outcome) in refused.iter().map(RefusedAttempt::audited) {
                        step::finish(tx, &step, &outcome).await?;
                    }
                    Ok(())
                })
            })
            .await
    }
}
