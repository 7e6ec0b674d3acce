//! Why a step on a world is refused.

use std::time::Duration;

use super::slug::Slug;
use crate::{
    access::{AccessError, Denied},
    code::Code,
    error::{Classify, StorageError},
    limits::RateLimited,
    page::Revision,
    validation::{FieldError, Invalid},
};

/// Why a world operation was refused or failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorldError {
    /// A permission is missing.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The request breaks rules.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The world does not exist, or not for who asks.
    #[error("the world does not exist")]
    NotFound,
    /// Another world has, or had, this slug.
    #[error("the slug {0} is taken, or was another world's")]
    SlugTaken(Slug),
    /// The world has changed since the caller saw it.
    #[error("the world has changed; its revision is {0}")]
    Stale(Revision),
    /// The world is joined by invitation.
    #[error("the world is joined by invitation")]
    InviteRequired,
    /// Only accounts are members; the actor is an API key.
    #[error("an API key is no account")]
    AccountRequired,
    /// A membership cannot change this way.
    #[error(transparent)]
    Access(AccessError),
    /// A quota is used up.
    #[error(transparent)]
    RateLimited(#[from] RateLimited),
    /// The storage backend failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl From<AccessError> for WorldError {
    fn from(error: AccessError) -> Self {
        match error {
            AccessError::Denied(denied) => Self::Denied(denied),
            AccessError::RateLimited(limited) => Self::RateLimited(limited),
            AccessError::Storage(error) => Self::Storage(error),
            other => Self::Access(other),
        }
    }
}

impl Classify for WorldError {
    fn code(&self) -> Code {
        match self {
            Self::Denied(denied) => denied.code(),
            Self::Invalid(_) => Code::ValidationFailed,
            Self::NotFound => Code::WorldNotFound,
            Self::SlugTaken(_) => Code::SlugTaken,
            Self::Stale(_) => Code::PreconditionFailed,
            Self::InviteRequired => Code::InviteRequired,
            Self::AccountRequired => Code::AccountRequired,
            Self::Access(error) => error.code(),
            Self::RateLimited(limited) => limited.code(),
            Self::Storage(error) => error.code(),
        }
    }

    fn fields(&self) -> &[FieldError] {
        match self {
            Self::Invalid(invalid) => &invalid.errors,
            Self::Access(error) => error.fields(),
            _ => &[],
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited(limited) => limited.retry_after(),
            Self::Access(error) => error.retry_after(),
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
