//! Why a letter is not sent.

use crate::{
    code::Code,
    error::{Classify, StorageError},
    validation::{FieldError, Invalid},
};

/// Why an operation on mail was refused or failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MailError {
    /// No mail server is configured.
    #[error("no mail server is configured")]
    NotConfigured,
    /// The letter breaks rules.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The storage backend failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl Classify for MailError {
    fn code(&self) -> Code {
        match self {
            Self::NotConfigured => Code::Unavailable,
            Self::Invalid(_) => Code::ValidationFailed,
            Self::Storage(error) => error.code(),
        }
    }

    fn fields(&self) -> &[FieldError] {
        match self {
            Self::Invalid(invalid) => &invalid.errors,
            _ => &[],
        }
    }
}
