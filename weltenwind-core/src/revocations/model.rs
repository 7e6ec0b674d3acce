//! What a loss is.

use serde::{Deserialize, Serialize};

use crate::{
    clock::Timestamp,
    code::Code,
    error::Classify,
    ids::{AccountId, ApiKeyId, DeviceId, SessionId},
    scope::Scope,
};

/// The number of a loss: 1, 2, 3 … in the order of commits, without holes; 0 stands before the first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LossSeq(i64);

impl LossSeq {
    /// Before the first loss.
    pub const START: Self = Self(0);

    /// Wraps a number.
    pub const fn new(seq: i64) -> Self {
        Self(seq)
    }

    /// Returns the number.
    pub const fn get(self) -> i64 {
        self.0
    }

    /// Returns the number behind this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// What an account no longer has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Lost {
    /// A session has ended.
    Session(SessionId),
    /// A device has ended, with every session on it.
    Device(DeviceId),
    /// A role was taken, or ends sooner, in this scope; or the scope itself is open to fewer. Whatever follows from that is to
    /// be looked up anew.
    Rights(Scope),
    /// The account bears another name. What is remembered of it is to be read anew.
    Name,
    /// The account is no more, with everything that it had; or the API key that stands under its id.
    Account,
}

/// The kind of a stored loss is none that this program knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a kind of loss")]
pub struct ParseLostError;

impl Lost {
    /// Returns where it has effect.
    pub(super) const fn scope(&self) -> Scope {
        match self {
            Self::Rights(scope) => *scope,
            _ => Scope::Global,
        }
    }

    /// Returns the word for the kind, as it is stored.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Session(_) => "session",
            Self::Device(_) => "device",
            Self::Rights(_) => "rights",
            Self::Name => "name",
            Self::Account => "account",
        }
    }
}

/// A loss to be logged, in the transaction that causes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Loss {
    /// Who loses; none if a place is open to fewer, whoever they are: then it is the [`Lost::Rights`] of that place.
    pub account: Option<AccountId>,
    /// What is lost.
    pub lost: Lost,
}

impl Loss {
    /// What an account loses.
    pub const fn of(account: AccountId, lost: Lost) -> Self {
        Self { account: Some(account), lost }
    }

    /// What all those lose who had no more right to a place than that it was open to them.
    pub const fn in_place(scope: Scope) -> Self {
        Self { account: None, lost: Lost::Rights(scope) }
    }

    /// What the bearers of an API key lose with it: they act under its id.
    pub const fn of_key(key: ApiKeyId) -> Self {
        Self::of(AccountId::new(key.uuid()), Lost::Account)
    }
}

/// A loss as it stands in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoggedLoss {
    /// Its number.
    pub seq: LossSeq,
    /// When it happened, by the clock of the node that caused it.
    pub at: Timestamp,
    /// What was lost.
    pub loss: Loss,
}

/// Why a sign-in that was good is no longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Ended {
    /// The session has ended, or its account is no more.
    #[error("the session has ended")]
    Session,
    /// The device that the session was opened on has ended.
    #[error("the device was signed out")]
    Device,
}

impl Classify for Ended {
    fn code(&self) -> Code {
        match self {
            Self::Session => Code::SessionEnded,
            Self::Device => Code::DeviceRevoked,
        }
    }
}
