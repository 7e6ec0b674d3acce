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
#[error("{permission} in {scope} {}", why.as_str())]
pub struct Denied {
    /// What was asked for.
    pub permission: Permission,
    /// Where.
    pub scope: Scope,
    /// What would have to be otherwise.
    pub why: WhyDenied,
}

/// What whoever is denied a permission lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhyDenied {
    /// The permission; signing in might help.
    SignInRequired,
    /// The permission.
    Missing,
    /// A second factor, which this permission asks for here.
    SecondFactorMissing,
}

impl WhyDenied {
    const fn as_str(self) -> &'static str {
        match self {
            Self::SignInRequired | Self::Missing => "is missing",
            Self::SecondFactorMissing => "asks for a second factor, and the account has none",
        }
    }
}

impl From<Decision> for Denied {
    fn from(decision: Decision) -> Self {
        Self {
            permission: decision.permission,
            scope: decision.scope,
            why: match decision.because {
                Because::SignInRequired => WhyDenied::SignInRequired,
                Because::SecondFactorMissing(..) => WhyDenied::SecondFactorMissing,
                _ => WhyDenied::Missing,
            },
        }
    }
}

impl Classify for Denied {
    fn code(&self) -> Code {
        match self.why {
            WhyDenied::SignInRequired => Code::Unauthenticated,
            WhyDenied::Missing => Code::PermissionDenied,
            WhyDenied::SecondFactorMissing => Code::TwoFactorEnrolmentRequired,
        }
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
