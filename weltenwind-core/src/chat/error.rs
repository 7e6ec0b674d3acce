//! Why a step in chat is refused.

use std::time::Duration;

use super::body::ClientId;
use crate::{
    access::Denied,
    code::Code,
    error::{Classify, StorageError},
    limits::RateLimited,
    page::Revision,
    validation::{FieldError, Invalid},
    worlds::Slug,
};

/// Why one message of a batch was not written; its neighbours are not harmed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The channel does not exist, or is closed.
    #[error("the channel does not exist")]
    ChannelNotFound,
    /// The author used this client id before, for another message.
    #[error("client id {0} was used for another message")]
    ClientIdReused(ClientId),
    /// The message replied to is not in this channel.
    #[error("the message replied to is not in this channel")]
    ReplyNotFound,
    /// The author must pause for so long.
    #[error("the channel is in slow mode; the next message may be sent in {} s", .0.as_secs().max(1))]
    SlowMode(Duration),
}

impl Classify for Refusal {
    fn code(&self) -> Code {
        match self {
            Self::ChannelNotFound => Code::ChannelNotFound,
            Self::ClientIdReused(_) => Code::ClientIdReused,
            Self::ReplyNotFound => Code::ReplyNotFound,
            Self::SlowMode(_) => Code::SlowMode,
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::SlowMode(pause) => Some(*pause),
            _ => None,
        }
    }
}

/// Why a chat operation was refused or failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChatError {
    /// A permission is missing.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The request breaks rules.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// A message was not written.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Nobody is signed in.
    #[error("sign-in is required")]
    SignInRequired,
    /// Only accounts keep marks; the actor is an API key.
    #[error("an API key is no account")]
    AccountRequired,
    /// The scope does not exist, or not for who asks.
    #[error("the scope does not exist")]
    ScopeNotFound,
    /// The channel does not exist, or not for who asks.
    #[error("the channel does not exist")]
    ChannelNotFound,
    /// The message does not exist, or not for who asks.
    #[error("the message does not exist")]
    MessageNotFound,
    /// Another channel of the scope has this slug.
    #[error("the slug {0} is taken in this scope")]
    SlugTaken(Slug),
    /// The channel has changed since the caller saw it.
    #[error("the channel has changed; its revision is {0}")]
    Stale(Revision),
    /// Guests may not post here.
    #[error("guests may not post in this channel")]
    GuestsMayNotPost,
    /// A message may be edited for a quarter of an hour.
    #[error("a message may be edited for 15 minutes")]
    EditWindowPassed,
    /// The message was removed.
    #[error("the message was removed")]
    MessageRemoved,
    /// The position lies too far back, or in another life of the channel.
    #[error("the position is outside of the window of 10000 changes; read the history anew")]
    ReplayWindowExceeded,
    /// More messages wait to be written than can be in time.
    #[error("too many messages at once")]
    Overloaded,
    /// A quota is used up.
    #[error(transparent)]
    RateLimited(#[from] RateLimited),
    /// The storage backend failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl Classify for ChatError {
    fn code(&self) -> Code {
        match self {
            Self::Denied(denied) => denied.code(),
            Self::Invalid(_) => Code::ValidationFailed,
            Self::Refused(refusal) => refusal.code(),
            Self::SignInRequired => Code::Unauthenticated,
            Self::AccountRequired => Code::AccountRequired,
            Self::ScopeNotFound => Code::WorldNotFound,
            Self::ChannelNotFound => Code::ChannelNotFound,
            Self::MessageNotFound => Code::MessageNotFound,
            Self::SlugTaken(_) => Code::SlugTaken,
            Self::Stale(_) => Code::PreconditionFailed,
            Self::GuestsMayNotPost => Code::GuestsMayNotPost,
            Self::EditWindowPassed => Code::EditWindowPassed,
            Self::MessageRemoved => Code::MessageRemoved,
            Self::ReplayWindowExceeded => Code::ReplayWindowExceeded,
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

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused(refusal) => refusal.retry_after(),
            Self::Overloaded => Some(Duration::from_secs(1)),
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
