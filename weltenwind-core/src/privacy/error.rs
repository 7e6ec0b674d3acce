//! Why an account is neither handed out nor erased.

use std::time::Duration;

use crate::{
    accounts::AccountError,
    actor::NotOneself,
    code::Code,
    error::{Classify, StorageError},
    limits::RateLimited,
    scope::Scope,
    validation::FieldError,
};

/// Why an export or an erasure was refused or failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PrivacyError {
    /// The call is about one's own account, and the actor has none to speak of.
    #[error(transparent)]
    NotOneself(#[from] NotOneself),
    /// The call is the operator's.
    #[error("sign-in is required")]
    SignInRequired,
    /// The account does not exist.
    #[error("the account does not exist")]
    NotFound,
    /// The session was opened too long ago for what cannot be undone.
    #[error("the sign-in is older than 15 minutes; sign in again to erase the account")]
    RecentSignInRequired,
    /// The account is the last owner of these scopes.
    #[error("the account is the last owner of {}; make somebody else an owner there first, or archive the world", list(.0))]
    LastOwner(Vec<Scope>),
    /// The session cannot be looked at.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// A quota is used up.
    #[error(transparent)]
    RateLimited(#[from] RateLimited),
    /// The storage backend failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

fn list(scopes: &[Scope]) -> String {
    scopes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

impl Classify for PrivacyError {
    fn code(&self) -> Code {
        match self {
            Self::NotOneself(reason) => reason.code(),
            Self::SignInRequired => Code::Unauthenticated,
            Self::NotFound => Code::AccountNotFound,
            Self::RecentSignInRequired => Code::RecentSignInRequired,
            Self::LastOwner(_) => Code::LastOwner,
            Self::Account(error) => error.code(),
            Self::RateLimited(limited) => limited.code(),
            Self::Storage(error) => error.code(),
        }
    }

    fn fields(&self) -> &[FieldError] {
        match self {
            Self::Account(error) => error.fields(),
            _ => &[],
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Account(error) => error.retry_after(),
            Self::RateLimited(limited) => limited.retry_after(),
            Self::Storage(error) => error.retry_after(),
            _ => None,
        }
    }
}
