//! The port that writes refused attempts down.

use std::fmt::Debug;

use async_trait::async_trait;

use super::model::RefusedAttempt;
use crate::error::StorageError;

/// Writes refused attempts into the audit log.
#[async_trait]
pub trait RefusalStore: Debug + Send + Sync + 'static {
    /// Writes a row for each, as [`RefusedAttempt::audited`] says, in one transaction and behind what people wait for.
    async fn record(&self, refused: &[RefusedAttempt]) -> Result<(), StorageError>;
}
