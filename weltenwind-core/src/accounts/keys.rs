//! The keys of an installation: made on first start, kept in the store so that all nodes share them, never shipped.

use std::fmt::Debug;

use async_trait::async_trait;

use crate::{clock::Timestamp, error::StorageError, secret::Secret};

/// A key that signs access tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigningKey {
    /// The `kid` in a token's header.
    pub id: String,
    /// The Ed25519 key pair as PKCS #8, version 2.
    pub pkcs8: Secret<Vec<u8>>,
    /// When it was made; the youngest signs, all verify.
    pub created_at: Timestamp,
}

/// Every key of an installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerKeys {
    /// The keys that sign access tokens, youngest first; never empty once stored.
    pub signing: Vec<SigningKey>,
    /// The secret from which keys for cursors, refresh tokens and hashes are derived.
    pub root: Secret<[u8; 32]>,
}

/// Keeps the keys of an installation.
#[async_trait]
pub trait KeyStore: Debug + Send + Sync + 'static {
    /// Answers the stored keys; an installation without any adopts `fresh`. Of two nodes that start at once, one's keys
    /// are adopted and both get them.
    async fn adopt(&self, fresh: &ServerKeys) -> Result<ServerKeys, StorageError>;
}
