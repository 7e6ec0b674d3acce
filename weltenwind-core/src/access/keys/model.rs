//! What an API key is.

use crate::{
    access::PermissionSet,
    accounts::TokenHash,
    clock::Timestamp,
    ids::{AccountId, ApiKeyId},
    page::Limit,
    scope::Scope,
    validation::{one_line, text},
};

text! {
    /// What a key is called: 1 to 32 characters on one line. It is the name under which the key writes.
    ApiKeyName, "/name", |text| one_line("name", text, 1, 32)
}

/// What a caller says of a key to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKeyDraft {
    /// What it is for; the name under which it writes.
    pub name: ApiKeyName,
    /// What it reaches at most.
    pub scope: Scope,
    /// What it may do there.
    pub permissions: PermissionSet,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
}

/// A key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// The key.
    pub id: ApiKeyId,
    /// SHA-256 of what its bearer shows.
    pub hash: TokenHash,
    /// What it is for; the name under which it writes.
    pub name: ApiKeyName,
    /// What it reaches at most.
    pub scope: Scope,
    /// What it may do there.
    pub permissions: PermissionSet,
    /// The rank of whoever made it, in its scope.
    pub rank: u8,
    /// The account or key that made it; none for the operator.
    pub created_by: Option<AccountId>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
    /// When it was last used, in steps of five minutes.
    pub last_used_at: Option<Timestamp>,
}

impl ApiKey {
    /// Returns whether the key holds at `now`.
    pub fn holds_at(&self, now: Timestamp) -> bool {
        self.expires_at.is_none_or(|end| now < end)
    }
}

/// A key to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewApiKey {
    /// The key.
    pub id: ApiKeyId,
    /// SHA-256 of what its bearer shows.
    pub hash: TokenHash,
    /// What it is for.
    pub name: ApiKeyName,
    /// What it reaches at most.
    pub scope: Scope,
    /// What it may do there.
    pub permissions: PermissionSet,
    /// The rank of whoever makes it.
    pub rank: u8,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
}

/// Which keys to read, in order of their ids.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ApiKeyQuery {
    /// Only those of exactly this scope.
    pub scope: Option<Scope>,
    /// Only those behind this one.
    pub after: Option<ApiKeyId>,
    /// How many.
    pub limit: Limit,
}
