//! The ports that keep letters and hand them over.

use std::fmt::Debug;

use async_trait::async_trait;

use super::model::{Begun, MailIntent, NewMail, OutgoingMail, Queued, Settled};
use crate::{clock::Timestamp, error::StorageError, ids::MailId, step::Step};

/// Keeps letters from when they are meant until long after they were sent.
///
/// Each method is one atomic step. After [`Class::Unavailable`](crate::Class::Unavailable) the step may have taken effect, and
/// repeating it is safe.
#[async_trait]
pub trait MailStore: Debug + Send + Sync + 'static {
    /// Writes a letter down. Its key answers the first letter again, in the state that it has now, and changes nothing.
    async fn queue(&self, step: &Step, new: &NewMail) -> Result<Queued, StorageError>;

    /// Reads a letter.
    async fn find(&self, id: MailId) -> Result<Option<MailIntent>, StorageError>;

    /// Begins to send a letter that is queued: it is `sending` when this returns.
    ///
    /// One that is `sending` was left so by somebody who died over it, and nobody can say whether it went out: it becomes unknown,
    /// unless it [may be sent again](super::Letter::is_resendable) and never was.
    async fn begin(&self, id: MailId, at: Timestamp) -> Result<Begun, StorageError>;

    /// Notes what has become of an attempt, if it is the letter's last one and nobody has noted it before. An attempt that was thought
    /// to be lost may still report that it was accepted.
    async fn settle(&self, settled: &Settled, at: Timestamp) -> Result<(), StorageError>;

    /// Deletes at most `limit` letters that were settled before `before`, and answers how many there were.
    async fn purge(&self, before: Timestamp, limit: u32) -> Result<u64, StorageError>;
}

/// Hands letters to a mail server.
#[async_trait]
pub trait Mailer: Debug + Send + Sync + 'static {
    /// Hands one over, and answers when the server has taken it.
    async fn send(&self, mail: &OutgoingMail) -> Result<(), MailFailure>;

    /// Returns whether there is a server to hand letters to.
    fn is_configured(&self) -> bool {
        true
    }
}

/// Why a mail server has not taken a letter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MailFailure {
    /// It cannot be reached, or speaks otherwise than it should: no letter is to blame, and none went out.
    #[error("the mail server is away: {0}")]
    Away(String),
    /// It does not take the letter now (4xx).
    #[error("the mail server does not take the letter now: {0}")]
    Deferred(String),
    /// It does not take the letter at all (5xx).
    #[error("the mail server refuses the letter: {0}")]
    Refused(String),
    /// The line broke behind the letter's text, before the server said anything: it may have been taken.
    #[error("nobody can say whether the mail server has taken the letter: {0}")]
    Unknown(String),
}

/// No mail server: what is to be sent waits.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoMailer;

#[async_trait]
impl Mailer for NoMailer {
    async fn send(&self, _: &OutgoingMail) -> Result<(), MailFailure> {
        Err(MailFailure::Away("none is configured".to_owned()))
    }

    fn is_configured(&self) -> bool {
        false
    }
}
