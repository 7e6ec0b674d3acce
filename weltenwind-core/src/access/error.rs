//! Why access is refused.

use std::time::Duration;

use super::{
    model::{Because, Decision},
    permission::Permission,
};
use crate::{
    code::Code,
    error::{Classify, StorageError},
    limits::RateLimited,
    scope::Scope,
    validation::{FieldError, Invalid},
};

/// A permission is missing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{permission} in {scope} is missing")]
pub struct Denied {
    /// What was asked for.
    pub permission: Permission,
    /// Where.
    pub scope: Scope,
    /// Whether signing in might help.
    pub anonymous: bool,
}

impl From<Decision> for Denied {
    fn from(decision: Decision) -> Self {
        Self {
            permission: decision.permission,
            scope: decision.scope,
            anonymous: decision.because == Because::SignInRequired,
        }
    }
}

impl Classify for Denied {
    fn code(&self) -> Code {
        if self.anonymous { Code::Unauthenticated } else { Code::PermissionDenied }
    }
}

/// Why an access operation was refused or failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AccessError {
    /// A permission is missing.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The request breaks rules.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The account does not exist.
    #[error("the account does not exist")]
    AccountNotFound,
    /// The scope does not exist, or not for who asks.
    #[error("the scope does not exist")]
    ScopeNotFound,
    /// The grant does not exist.
    #[error("the grant does not exist")]
    GrantNotFound,
    /// The API key does not exist.
    #[error("the API key does not exist")]
    KeyNotFound,
    /// The account holds no role there.
    #[error("the account is not a member")]
    MemberNotFound,
    /// The scope would be left without an owner.
    #[error("the last owner stays")]
    LastOwner,
    /// A quota is used up.
    #[error(transparent)]
    RateLimited(#[from] RateLimited),
    /// The storage backend failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl Classify for AccessError {
    fn code(&self) -> Code {
        match self {
            Self::Denied(denied) => denied.code(),
            Self::Invalid(_) => Code::ValidationFailed,
            Self::AccountNotFound => Code::AccountNotFound,
            Self::ScopeNotFound => Code::WorldNotFound,
            Self::GrantNotFound => Code::GrantNotFound,
            Self::KeyNotFound => Code::ApiKeyNotFound,
            Self::MemberNotFound => Code::MemberNotFound,
            Self::LastOwner => Code::LastOwner,
            Self::RateLimited(limited) => limited.code(),
            Self::Storage(error) => error.code(),
        }
    }

    fn fields(&self) -> &[FieldError] {
        match self {
            Self::Invalid(invalid) => &invalid.errors,
            _ => &[],
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited(limited) => limited.retry_after(),
            Self::Storage(error) => error.retry_after(),
            _ => None,
        }
    }
}
