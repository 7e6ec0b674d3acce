//! What kind of failure an error is, so that each host maps it in one `match`.

use std::{error::Error, fmt::Write as _, time::Duration};

use crate::{code::Code, page::Revision, validation::FieldError};

/// What a caller can do about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// The request cannot be parsed; it must be written differently.
    Malformed,
    /// The request breaks a rule; other values may pass.
    Invalid,
    /// Nobody is signed in, or the credentials do not hold.
    Unauthenticated,
    /// Who asks may not do this.
    Forbidden,
    /// The thing does not exist, or not for who asks.
    NotFound,
    /// The state of the thing stands against it.
    Conflict,
    /// The thing existed and is spent.
    Gone,
    /// Too much or too fast; later it may pass.
    Throttled,
    /// A part of the system is away; the step may have taken effect, and repeating it is safe.
    Unavailable,
    /// A defect; nothing a caller can do.
    Internal,
}

/// Gives an error its code in the catalogue and what belongs to the answer.
pub trait Classify: Error {
    /// Returns the code in the catalogue.
    fn code(&self) -> Code;

    /// Returns the class; by default the code's own.
    fn class(&self) -> Class {
        self.code().class()
    }

    /// Returns the members that break rules.
    fn fields(&self) -> &[FieldError] {
        &[]
    }

    /// Returns how long to wait before the same call may pass.
    fn retry_after(&self) -> Option<Duration> {
        None
    }

    /// Returns the present revision when a stale one was named.
    fn current(&self) -> Option<Revision> {
        None
    }
}

/// A storage backend failed.
///
/// What failed below stays opaque; the `source` is for the log.
#[derive(Debug, thiserror::Error)]
#[error("cannot {attempted}")]
pub struct StorageError {
    attempted: &'static str,
    transient: bool,
    source: Box<dyn Error + Send + Sync>,
}

impl StorageError {
    /// A failure that a repeat may cure: the backend is away, overloaded or was interrupted.
    pub fn transient(attempted: &'static str, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { attempted, transient: true, source: source.into() }
    }

    /// A failure that a repeat does not cure: a broken row, a refused statement.
    pub fn permanent(attempted: &'static str, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { attempted, transient: false, source: source.into() }
    }

    /// The same failure for another caller who waited for the same step.
    pub fn shared(failure: &std::sync::Arc<Self>) -> Self {
        Self {
            attempted: failure.attempted,
            transient: failure.transient,
            source: Box::new(std::sync::Arc::clone(failure)),
        }
    }

    /// Returns whether a repeat may cure it.
    pub const fn is_transient(&self) -> bool {
        self.transient
    }
}

impl Classify for StorageError {
    fn code(&self) -> Code {
        if self.transient { Code::Unavailable } else { Code::Internal }
    }

    fn retry_after(&self) -> Option<Duration> {
        self.transient.then_some(Duration::from_secs(1))
    }
}

/// Returns a time in whole seconds, rounded up.
pub(crate) const fn seconds_up(time: Duration) -> u64 {
    time.as_secs() + (time.subsec_nanos() > 0) as u64
}

/// Returns a pause in whole seconds, and at least one: whoever waits so long has waited long enough.
pub(crate) const fn whole_seconds(pause: Duration) -> u64 {
    let seconds = seconds_up(pause);
    if seconds == 0 { 1 } else { seconds }
}

/// Prints an error and its sources on one line, for the log and for the terminal.
///
/// ```
/// let error = std::io::Error::other("the disk is full");
/// assert_eq!(weltenwind_core::chain(&error), "the disk is full");
/// ```
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let _ = write!(text, ": {cause}");
        source = cause.source();
    }
    text
}
