//! Why work behind a step, or a question about it, comes to nothing.

use std::{fmt, time::Duration};

use crate::{
    access::{AccessError, Denied},
    code::Code,
    error::{Class, Classify, StorageError, chain},
    limits::RateLimited,
};

/// Why a question about jobs was refused or failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutboxError {
    /// A permission is missing.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The job does not exist, or is not dead.
    #[error("the job does not exist")]
    NotFound,
    /// A quota is used up.
    #[error(transparent)]
    RateLimited(#[from] RateLimited),
    /// Access could not be decided.
    #[error(transparent)]
    Access(AccessError),
    /// The storage backend failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl From<AccessError> for OutboxError {
    fn from(error: AccessError) -> Self {
        match error {
            AccessError::Denied(denied) => Self::Denied(denied),
            AccessError::RateLimited(limited) => Self::RateLimited(limited),
            AccessError::Storage(error) => Self::Storage(error),
            other => Self::Access(other),
        }
    }
}

impl Classify for OutboxError {
    fn code(&self) -> Code {
        match self {
            Self::Denied(error) => error.code(),
            Self::NotFound => Code::JobNotFound,
            Self::RateLimited(error) => error.code(),
            Self::Access(error) => error.code(),
            Self::Storage(error) => error.code(),
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited(error) => error.retry_after(),
            Self::Access(error) => error.retry_after(),
            Self::Storage(error) => error.retry_after(),
            Self::Denied(_) | Self::NotFound => None,
        }
    }
}

/// Somebody else has the job, or it is done: what was to be finished with it is rolled back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the job is held by somebody else")]
pub struct LeaseLost;

/// Why a job failed.
///
/// Any error of a domain becomes one: what a repeat may cure is tried again, what breaks a rule or does not exist is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobError {
    message: String,
    cure: Cure,
    retry_after: Option<Duration>,
}

/// What a repeat does for a failed job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cure {
    /// Something that all jobs need is away: none of them is to blame.
    Outage,
    /// A repeat may pass.
    Repeat,
    /// No repeat passes.
    None,
}

impl JobError {
    /// A failure that a repeat may cure.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), cure: Cure::Repeat, retry_after: None }
    }

    /// A failure of something that all jobs need, such as a server that is away.
    pub fn outage(message: impl Into<String>) -> Self {
        Self { cure: Cure::Outage, ..Self::new(message) }
    }

    /// A failure that no repeat cures: the job is dead.
    pub fn fatal(message: impl Into<String>) -> Self {
        Self { cure: Cure::None, ..Self::new(message) }
    }

    /// Says how long to wait, in place of what the policy says.
    #[must_use]
    pub const fn after(mut self, pause: Duration) -> Self {
        self.retry_after = Some(pause);
        self
    }

    /// Returns what a repeat does.
    pub const fn cure(&self) -> Cure {
        self.cure
    }

    /// Returns how long to wait, if the policy does not say so.
    pub const fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }
}

impl fmt::Display for JobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl<E: Classify + 'static> From<E> for JobError {
    fn from(error: E) -> Self {
        let message = chain(&error);
        match error.class() {
            Class::Unavailable | Class::Throttled => Self::outage(message),
            Class::Internal | Class::Conflict => Self::new(message),
            _ => Self::fatal(message),
        }
    }
}
