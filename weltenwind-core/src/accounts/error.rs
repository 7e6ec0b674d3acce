//! Why a step on an account is refused.

use std::time::Duration;

use super::model::Username;
use crate::{
    actor::NotOneself,
    code::Code,
    error::{Classify, StorageError},
    limits::RateLimited,
    page::Revision,
    revocations::Ended,
    validation::{FieldError, Invalid},
};

/// Why an account operation was refused or failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AccountError {
    /// Nobody is signed in.
    #[error("sign-in is required")]
    SignInRequired,
    /// The call is about one's own account, and the actor has none to speak of.
    #[error(transparent)]
    NotOneself(#[from] NotOneself),
    /// The request breaks rules.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The account does not exist.
    #[error("the account does not exist")]
    NotFound,
    /// Another account has this username.
    #[error("the username {0} is taken")]
    UsernameTaken(Username),
    /// The username or the password is wrong; which of them is not told.
    #[error("the username or the password is wrong")]
    InvalidCredentials,
    /// The password is right, and the account has a second factor, whose code is missing.
    #[error("the account asks for a code beside the password")]
    TwoFactorRequired,
    /// The code is none of the second factor's, or was used before.
    #[error("the code is wrong, or was used before")]
    TwoFactorCodeInvalid,
    /// The account has a second factor.
    #[error("the second factor is enabled already")]
    TwoFactorEnabled,
    /// The account has no second factor, or none was begun.
    #[error("no second factor is enabled or begun")]
    TwoFactorNotEnabled,
    /// Only registered accounts may; this one is a guest's.
    #[error("a guest has no sign-in to protect")]
    RegistrationRequired,
    /// The preferences have changed since the caller saw them.
    #[error("the preferences have changed; their revision is {0}")]
    Stale(Revision),
    /// The access token does not hold: its form, signature, issuer or audience is wrong.
    #[error("the access token does not hold")]
    TokenInvalid,
    /// The access token's time is over.
    #[error("the access token has expired")]
    TokenExpired,
    /// The session was ended or has expired.
    #[error("the session has ended")]
    SessionEnded,
    /// The device that the session was opened on was signed out.
    #[error("the device was signed out")]
    DeviceRevoked,
    /// The session does not exist, has ended, or is somebody else's.
    #[error("the session does not exist")]
    SessionNotFound,
    /// The device does not exist, was signed out, or is somebody else's.
    #[error("the device does not exist")]
    DeviceNotFound,
    /// The account is no guest's.
    #[error("the account is registered already")]
    AlreadyRegistered,
    /// The API key was never made, was deleted, or has expired.
    #[error("the API key does not hold")]
    KeyInvalid,
    /// The refresh token was never issued, or its session has ended.
    #[error("the refresh token does not hold")]
    RefreshTokenInvalid,
    /// The refresh token was used before, so two parties hold it: its session has been ended.
    #[error("the refresh token was used before; the session has ended")]
    RefreshTokenReused,
    /// The ticket was never issued, was spent, has expired or belongs to another origin.
    #[error("the ticket does not hold")]
    TicketInvalid,
    /// The bootstrap token was never issued.
    #[error("the bootstrap token does not hold")]
    BootstrapTokenInvalid,
    /// The bootstrap token was used, or its time is over.
    #[error("the bootstrap token is spent; `weltenwind admin bootstrap` prints a new one")]
    BootstrapTokenSpent,
    /// More passwords wait to be hashed than can be in time.
    #[error("too many sign-ins at once")]
    Overloaded,
    /// A quota is used up.
    #[error(transparent)]
    RateLimited(#[from] RateLimited),
    /// The storage backend failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl From<Ended> for AccountError {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Session => Self::SessionEnded,
            Ended::Device => Self::DeviceRevoked,
        }
    }
}

impl Classify for AccountError {
    fn code(&self) -> Code {
        match self {
            Self::SignInRequired => Code::Unauthenticated,
            Self::NotOneself(reason) => reason.code(),
            Self::Invalid(_) => Code::ValidationFailed,
            Self::NotFound => Code::AccountNotFound,
            Self::UsernameTaken(_) => Code::UsernameTaken,
            Self::InvalidCredentials => Code::InvalidCredentials,
            Self::TwoFactorRequired => Code::TwoFactorRequired,
            Self::TwoFactorCodeInvalid => Code::TwoFactorCodeInvalid,
            Self::TwoFactorEnabled => Code::TwoFactorEnabled,
            Self::TwoFactorNotEnabled => Code::TwoFactorNotEnabled,
            Self::RegistrationRequired => Code::RegistrationRequired,
            Self::Stale(_) => Code::PreconditionFailed,
            Self::TokenInvalid => Code::TokenInvalid,
            Self::TokenExpired => Code::TokenExpired,
            Self::SessionEnded => Code::SessionEnded,
            Self::DeviceRevoked => Code::DeviceRevoked,
            Self::SessionNotFound => Code::SessionNotFound,
            Self::DeviceNotFound => Code::DeviceNotFound,
            Self::AlreadyRegistered => Code::AlreadyRegistered,
            Self::KeyInvalid => Code::ApiKeyInvalid,
            Self::RefreshTokenInvalid => Code::RefreshTokenInvalid,
            Self::RefreshTokenReused => Code::RefreshTokenReused,
            Self::TicketInvalid => Code::TicketInvalid,
            Self::BootstrapTokenInvalid => Code::BootstrapTokenInvalid,
            Self::BootstrapTokenSpent => Code::BootstrapTokenSpent,
            Self::Overloaded => Code::Overloaded,
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

    fn current(&self) -> Option<Revision> {
        match self {
            Self::Stale(revision) => Some(*revision),
            _ => None,
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Overloaded => Some(Duration::from_secs(1)),
            Self::RateLimited(limited) => limited.retry_after(),
            Self::Storage(error) => error.retry_after(),
            _ => None,
        }
    }
}
