//! Why a step on notifications is refused.

use std::time::Duration;

use crate::{
    actor::NotOneself,
    code::Code,
    error::{Classify, StorageError},
    limits::RateLimited,
};

/// Why an operation on notifications was refused or failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotificationError {
    /// The actor has no account of its own to speak of.
    #[error(transparent)]
    NotOneself(#[from] NotOneself),
    /// The account was told no such thing, or has dismissed it.
    #[error("the notification does not exist")]
    NotFound,
    /// A quota is used up.
    #[error(transparent)]
    RateLimited(#[from] RateLimited),
    /// The storage backend failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl Classify for NotificationError {
    fn code(&self) -> Code {
        match self {
            Self::NotOneself(error) => error.code(),
            Self::NotFound => Code::NotificationNotFound,
            Self::RateLimited(limited) => limited.code(),
            Self::Storage(error) => error.code(),
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
