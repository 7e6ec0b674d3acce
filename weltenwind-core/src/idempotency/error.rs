//! Why a request under a key is not run.

use std::time::Duration;

use crate::{
    code::Code,
    error::{Classify, StorageError},
};

/// When to ask again for a request that is running: most take a fraction of it.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// Why a request under a key is refused, or its key could not be looked up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdempotencyError {
    /// The key is none.
    #[error("the Idempotency-Key must be 16 to 128 visible ASCII characters, once")]
    KeyInvalid,
    /// The first request under this key is running, or its node has died less than a lease ago.
    #[error("the first request under this Idempotency-Key is still running")]
    InProgress,
    /// The key was used for another request.
    #[error("this Idempotency-Key was used for another request; a new request needs a new key")]
    KeyReused,
    /// The storage backend failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl Classify for IdempotencyError {
    fn code(&self) -> Code {
        match self {
            Self::KeyInvalid => Code::IdempotencyKeyInvalid,
            Self::InProgress => Code::IdempotencyInProgress,
            Self::KeyReused => Code::IdempotencyKeyReused,
            Self::Storage(error) => error.code(),
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::InProgress => Some(ASK_AGAIN),
            Self::Storage(error) => error.retry_after(),
            Self::KeyInvalid | Self::KeyReused => None,
        }
    }
}
