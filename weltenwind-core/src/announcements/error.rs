//! Why a step on an announcement is refused.

use std::time::Duration;

use crate::{
    access::{AccessError, Denied},
    code::Code,
    error::{Classify, StorageError},
    limits::RateLimited,
    page::Revision,
    scope::Scope,
    validation::{FieldError, Invalid},
};

/// Why an announcement operation was refused or failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AnnouncementError {
    /// A permission is missing.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The request breaks rules.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The scope does not exist, or not for who asks.
    #[error("{0} does not exist")]
    ScopeNotFound(Scope),
    /// The announcement does not exist, or not for who asks.
    #[error("the announcement does not exist")]
    NotFound,
    /// The announcement has changed since the caller saw it.
    #[error("the announcement has changed; its revision is {0}")]
    Stale(Revision),
    /// The time of publication has passed.
    #[error("the announcement is published, and when it was does not change")]
    AlreadyPublished,
    /// A quota is used up.
    #[error(transparent)]
    RateLimited(#[from] RateLimited),
    /// The storage backend failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl From<AccessError> for AnnouncementError {
    fn from(error: AccessError) -> Self {
        match error {
            AccessError::Denied(denied) => Self::Denied(denied),
            AccessError::Storage(error) => Self::Storage(error),
            other => Self::Storage(StorageError::permanent("decide about a permission", other)),
        }
    }
}

impl Classify for AnnouncementError {
    fn code(&self) -> Code {
        match self {
            Self::Denied(denied) => denied.code(),
            Self::Invalid(_) => Code::ValidationFailed,
            Self::ScopeNotFound(Scope::Group(_)) => Code::GroupNotFound,
            Self::ScopeNotFound(_) => Code::WorldNotFound,
            Self::NotFound => Code::AnnouncementNotFound,
            Self::Stale(_) => Code::PreconditionFailed,
            Self::AlreadyPublished => Code::AnnouncementPublished,
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

    fn current(&self) -> Option<Revision> {
        match self {
            Self::Stale(revision) => Some(*revision),
            _ => None,
        }
    }
}
