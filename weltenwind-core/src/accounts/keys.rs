//! The keys of an installation: made on first start, kept in the store so that all nodes share them, never shipped.

use std::{fmt::Debug, time::Duration};

use async_trait::async_trait;

use crate::{clock::Timestamp, error::StorageError, secret::Secret, step::Step};

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

/// A secret from which keys for cursors, refresh tokens and hashes are derived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootKey {
    /// What the store knows it by: [`RootKey::FOUNDING`], or an identifier.
    pub id: String,
    /// The secret.
    pub secret: Secret<[u8; 32]>,
    /// When it was made; new things are derived from the youngest, [`RootKey::SETTLING`] after that.
    pub created_at: Timestamp,
}

impl RootKey {
    /// The id of an installation's first root key.
    pub const FOUNDING: &str = "root";

    /// How long a root key is known before anything is derived from it: time for every node to read it, and for their
    /// clocks to differ.
    pub const SETTLING: Duration = Duration::from_mins(2);
}

/// Every key of an installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerKeys {
    /// The keys that sign access tokens, youngest first; never empty once stored.
    pub signing: Vec<SigningKey>,
    /// The root keys, youngest first; never empty, and the last one is [`RootKey::FOUNDING`].
    pub roots: Vec<RootKey>,
}

/// Keeps the keys of an installation.
#[async_trait]
pub trait KeyStore: Debug + Send + Sync + 'static {
    /// Answers the stored keys; an installation without any adopts `fresh`. Of two nodes that start at once, one's keys
    /// are adopted and both get them.
    async fn adopt(&self, fresh: &ServerKeys) -> Result<ServerKeys, StorageError>;

    /// Reads the keys of an installation that has some.
    async fn read(&self) -> Result<ServerKeys, StorageError>;

    /// Adds a root key to those of an installation that has some. One whose id is known changes nothing.
    async fn add_root(&self, step: &Step, root: &RootKey) -> Result<(), StorageError>;
}
