//! The port that keeps API keys.

use std::fmt::Debug;

use async_trait::async_trait;

use super::model::{ApiKey, ApiKeyQuery, NewApiKey};
use crate::{access::AccessError, clock::Timestamp, error::StorageError, ids::ApiKeyId, page::Page, step::Step};

/// Keeps API keys, and nothing of them by which one could be used.
///
/// Each method is one atomic step. A refusal has changed nothing; after [`Class::Unavailable`](crate::Class::Unavailable)
/// the step may have taken effect, and repeating it is safe.
#[async_trait]
pub trait ApiKeyStore: Debug + Send + Sync + 'static {
    /// Makes a key.
    async fn create(&self, step: &Step, key: &NewApiKey) -> Result<ApiKey, AccessError>;

    /// Reads a key, expired or not; one that was deleted is gone.
    async fn find(&self, id: ApiKeyId) -> Result<Option<ApiKey>, StorageError>;

    /// Reads keys in order of their ids, expired ones included.
    async fn page(&self, query: &ApiKeyQuery) -> Result<Page<ApiKey>, StorageError>;

    /// Deletes a key, logs the loss, and answers the key.
    ///
    /// # Errors
    ///
    /// [`AccessError::KeyNotFound`]. Of two deletions at once, one passes.
    async fn delete(&self, step: &Step, id: ApiKeyId) -> Result<ApiKey, AccessError>;

    /// Notes when a key was used, unless a later use is noted. An unknown key is no error.
    async fn used(&self, id: ApiKeyId, at: Timestamp) -> Result<(), StorageError>;
}
