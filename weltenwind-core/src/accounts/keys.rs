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
    /// When it was made; the youngest signs, [`RootKey::SETTLING`] after that, and all verify.
    pub created_at: Timestamp,
}

impl SigningKey {
    /// Returns from when on it signs, unless it is the only one.
    pub fn signs_from(&self) -> Timestamp {
        self.created_at + RootKey::SETTLING
    }

    /// Returns from when on no token under an older key holds anywhere, if tokens live so long: every node signs with this
    /// one, and clocks may differ.
    pub fn stands_alone_from(&self, token_life: Duration) -> Timestamp {
        self.signs_from() + token_life + RootKey::SETTLING
    }
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

/// The keys that take the place of others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRotation {
    /// The youngest signing key as it was read; the rotation does nothing if there is a younger one.
    pub follows: String,
    /// The key that will sign.
    pub signing: SigningKey,
    /// The key that things will be derived from.
    pub root: RootKey,
    /// The signing keys that are deleted.
    pub dropped: Vec<String>,
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

    /// Adds a signing key and a root key, deletes signing keys, and answers whether it did: not if `rotation.follows` is not
    /// the youngest signing key any more. Of two rotations at once, one passes.
    async fn rotate(&self, step: &Step, rotation: &KeyRotation) -> Result<bool, StorageError>;

    /// Deletes those of `signing` that are there and not the youngest signing key, and answers how many it were.
    async fn drop_signing(&self, step: &Step, signing: &[String]) -> Result<u64, StorageError>;
}
