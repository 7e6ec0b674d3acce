//! What a job is: work that follows from a step and is done behind it.

use std::{borrow::Cow, fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, de::DeserializeOwned};
use serde_json::Value;

use super::error::JobError;
use crate::{actor::CorrelationId, clock::Timestamp, ids::WorkerId, page::Limit};

/// What is to be done, for example `announcement.fan-out`: it chooses the handler.
///
/// One to 64 lower-case letters, digits, dots and hyphens.
///
/// ```
/// use weltenwind_core::outbox::JobKind;
///
/// const FAN_OUT: JobKind = JobKind::named("announcement.fan-out");
/// assert_eq!("announcement.fan-out".parse(), Ok(FAN_OUT));
/// assert!("Fan out".parse::<JobKind>().is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobKind(Cow<'static, str>);

impl JobKind {
    /// Names a kind.
    ///
    /// # Panics
    ///
    /// If `name` is none; in a constant the compiler says so.
    pub const fn named(name: &'static str) -> Self {
        assert!(is_kind(name.as_bytes()), "a kind of job is 1 to 64 of a-z, 0-9, '.' and '-'");
        Self(Cow::Borrowed(name))
    }

    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

const fn is_kind(name: &[u8]) -> bool {
    let mut n = 0;
    while n < name.len() {
        if !(name[n].is_ascii_lowercase() || name[n].is_ascii_digit() || name[n] == b'.' || name[n] == b'-') {
            return false;
        }
        n += 1;
    }
    n >= 1 && n <= 64
}

/// The text is no kind of job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a kind of job")]
pub struct ParseJobKindError;

impl FromStr for JobKind {
    type Err = ParseJobKindError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if is_kind(text.as_bytes()) { Ok(Self(Cow::Owned(text.to_owned()))) } else { Err(ParseJobKindError) }
    }
}

impl fmt::Display for JobKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for JobKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for JobKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<'de, str>::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// The number of a job; a job that is replayed gets another one. In JSON it is a string.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(i64);

impl JobId {
    /// Before the first job.
    pub const START: Self = Self(0);

    /// Wraps a number.
    pub const fn new(number: i64) -> Self {
        Self(number)
    }

    /// Returns the number.
    pub const fn get(self) -> i64 {
        self.0
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The text is no number of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the number of a job")]
pub struct ParseJobIdError;

impl FromStr for JobId {
    type Err = ParseJobIdError;

    /// Takes digits alone, without a sign or a leading zero: a number has one spelling.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_plain = text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
        match text.parse() {
            Ok(number) if is_plain => Ok(Self(number)),
            _ => Err(ParseJobIdError),
        }
    }
}

impl Serialize for JobId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for JobId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<'de, str>::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// When a job may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Due {
    /// As soon as it is committed.
    #[default]
    Now,
    /// So long after it was written, by the clock of the store.
    After(Duration),
    /// At an instant that somebody chose.
    At(Timestamp),
}

/// A job to be written in the transaction of a step: `step.with_jobs([…])`.
///
/// ```
/// use serde_json::json;
/// use weltenwind_core::outbox::{JobKind, NewJob};
///
/// const REFRESH: JobKind = JobKind::named("ranking.refresh");
/// let job = NewJob::new(REFRESH, json!({ "world": "mistral" })).once_per("mistral").in_order_of("mistral");
/// assert_eq!(job.dedupe_key.as_deref(), Some("mistral"));
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct NewJob {
    /// What is to be done.
    pub kind: JobKind,
    /// With what; at most 64 KiB. A larger one fails the step. Identifiers and positions rather than texts: operators see it.
    pub payload: Value,
    /// When it may run.
    pub due: Due,
    /// Jobs of one kind and key run one after the other, in the order in which they were committed. At most 200 bytes.
    pub order_key: Option<String>,
    /// Of jobs of one kind and key that wait, there is one: a further one is folded into it, and the sooner instant counts.
    /// One that runs already may have read before this step, so it folds nothing. At most 200 bytes.
    pub dedupe_key: Option<String>,
}

impl NewJob {
    /// A job that may run at once, beside every other.
    pub const fn new(kind: JobKind, payload: Value) -> Self {
        Self { kind, payload, due: Due::Now, order_key: None, dedupe_key: None }
    }

    /// Lets it run later.
    #[must_use]
    pub const fn due(mut self, due: Due) -> Self {
        self.due = due;
        self
    }

    /// Lets it run behind the older jobs of its kind under the same key.
    #[must_use]
    pub fn in_order_of(mut self, key: impl Into<String>) -> Self {
        self.order_key = Some(key.into());
        self
    }

    /// Folds it into one that waits under the same key.
    #[must_use]
    pub fn once_per(mut self, key: impl Into<String>) -> Self {
        self.dedupe_key = Some(key.into());
        self
    }
}

/// Who holds a job: its number, and how often it was claimed before. Whoever holds an older lease of the same job can neither
/// finish it nor fail it nor keep it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Lease {
    /// The job.
    pub job: JobId,
    /// Counts the claims of this job, from 1; it is never set back.
    pub fence: i64,
}

/// A job that was claimed.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// What shows that it is held.
    pub lease: Lease,
    /// What is to be done.
    pub kind: JobKind,
    /// With what.
    pub payload: Value,
    /// The request that it follows from.
    pub correlation_id: CorrelationId,
    /// When it was written, by the clock of the store.
    pub created_at: Timestamp,
    /// How often it failed before.
    pub failures: u32,
    /// How often it was taken from a worker that no longer told of itself, or took too long.
    pub crashes: u32,
}

impl Job {
    /// Returns the number.
    pub const fn id(&self) -> JobId {
        self.lease.job
    }

    /// Reads the payload.
    ///
    /// # Errors
    ///
    /// A [`JobError`] that no repeat cures, if it is not of this form.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, JobError> {
        T::deserialize(&self.payload).map_err(|error| JobError::fatal(format!("the payload cannot be read: {error}")))
    }
}

/// Which jobs of a kind are claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Those during which no worker has died.
    Sound,
    /// Those during which one has: perhaps they were the reason. They are run one at a time.
    Suspect,
}

/// A claim of jobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// What the worker can do.
    pub kind: JobKind,
    /// Which of them.
    pub class: Class,
    /// Who claims; drawn anew whenever a process starts.
    pub worker: WorkerId,
    /// Jobs at most.
    pub limit: u16,
    /// How long they are held unless the lease is renewed.
    pub lease: Duration,
    /// How long they are held in any case.
    pub deadline: Duration,
    /// With how many crashes a job is dead; it stands on the row then, so that whoever sweeps needs no policy.
    pub max_crashes: u32,
}

/// A lease to be renewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Renewal {
    /// What is held.
    pub lease: Lease,
    /// For how long from now; the deadline stays.
    pub by: Duration,
}

/// What becomes of a job that was claimed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settlement {
    /// What shows that it is held.
    pub lease: Lease,
    /// What becomes of it.
    pub how: How,
}

/// What becomes of a job that was claimed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum How {
    /// It is done, and goes.
    Done,
    /// It was not tried, and waits again as before.
    Released,
    /// It failed, and is tried again.
    Retried {
        /// How long from now, by the clock of the store.
        after: Duration,
        /// Why, for the operator; what is longer than 2 KiB is cut off.
        error: String,
    },
    /// It failed, and is not tried again.
    Buried {
        /// Why, for the operator; what is longer than 2 KiB is cut off.
        error: String,
    },
}

/// Bytes of an error that are kept.
pub const ERROR_BYTES: usize = 2048;

/// Errors of a job that are kept: the newest.
pub const ERRORS_KEPT: usize = 8;

/// Cuts an error to what is kept of it, between characters.
pub fn cut_error(error: &str) -> &str {
    &error[..error.floor_char_boundary(ERROR_BYTES)]
}

/// What a sweep found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Jobs that wait again.
    pub returned: u64,
    /// Jobs that crashed too often, and are dead.
    pub buried: u64,
}

/// An attempt that came to nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Mishap {
    /// When, by the clock of the store.
    pub at: Timestamp,
    /// Why.
    pub error: String,
}

/// How a job that is not dead stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobState {
    /// It waits for its time or for a worker.
    Waiting,
    /// A worker has it.
    Leased {
        /// Which.
        worker: WorkerId,
        /// Until when, unless it is renewed.
        until: Timestamp,
        /// Until when in any case.
        deadline: Timestamp,
    },
}

/// A job that is not done, as operators see it.
#[derive(Debug, Clone, PartialEq)]
pub struct LiveJob {
    /// The number.
    pub id: JobId,
    /// What is to be done.
    pub kind: JobKind,
    /// With what.
    pub payload: Value,
    /// Behind whom it runs.
    pub order_key: Option<String>,
    /// With whom it is one.
    pub dedupe_key: Option<String>,
    /// The request that it follows from.
    pub correlation_id: CorrelationId,
    /// When it was written.
    pub created_at: Timestamp,
    /// When it may run.
    pub run_at: Timestamp,
    /// How it stands.
    pub state: JobState,
    /// How often it failed.
    pub failures: u32,
    /// How often it was taken from a worker.
    pub crashes: u32,
    /// Why, oldest first.
    pub errors: Vec<Mishap>,
    /// The dead job that this one replays.
    pub replay_of: Option<JobId>,
}

/// A job that is not tried again, as operators see it.
#[derive(Debug, Clone, PartialEq)]
pub struct DeadJob {
    /// The number.
    pub id: JobId,
    /// What was to be done.
    pub kind: JobKind,
    /// With what.
    pub payload: Value,
    /// Behind whom it ran.
    pub order_key: Option<String>,
    /// With whom it was one.
    pub dedupe_key: Option<String>,
    /// The request that it follows from.
    pub correlation_id: CorrelationId,
    /// When it was written.
    pub created_at: Timestamp,
    /// When it was given up.
    pub died_at: Timestamp,
    /// How often it failed.
    pub failures: u32,
    /// How often it was taken from a worker.
    pub crashes: u32,
    /// Why, oldest first.
    pub errors: Vec<Mishap>,
    /// The dead job that this one replayed.
    pub replay_of: Option<JobId>,
}

/// Which jobs are listed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobQuery {
    /// Only those of this kind.
    pub kind: Option<JobKind>,
    /// Only those behind this one.
    pub after: Option<JobId>,
    /// How many.
    pub limit: Limit,
}

/// What stands in the outbox.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct OutboxStats {
    /// Jobs that might run now.
    pub due: u64,
    /// Jobs whose time has come, and which wait behind another one of their order key.
    pub behind: u64,
    /// Jobs that wait for their time.
    pub later: u64,
    /// Jobs that a worker has.
    pub leased: u64,
    /// Jobs that are dead.
    pub dead: u64,
    /// For how long the oldest of those has waited whose time has come, behind another one or not.
    pub oldest_due: Duration,
    /// How old the oldest snapshot is that keeps the database from clearing away behind jobs; none where there is no such
    /// thing.
    pub oldest_snapshot: Option<Duration>,
}

/// A schedule that a store keeps: when it is due next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScheduleRow {
    /// The schedule.
    pub name: String,
    /// What `next_at` was computed from: another one is computed anew.
    pub spec: String,
    /// When it is due.
    pub next_at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_a_job_has_one_spelling() {
        assert_eq!("4711".parse(), Ok(JobId::new(4711)));
        for text in ["", "0", "007", "-1", "+1", " 1", "1e3", "99999999999999999999"] {
            assert_eq!(text.parse::<JobId>(), Err(ParseJobIdError), "{text:?}");
        }
    }

    #[test]
    fn a_kind_is_a_short_word() {
        for text in ["", "Mail", "mail send", "mail_send", &"a".repeat(65)] {
            assert_eq!(text.parse::<JobKind>(), Err(ParseJobKindError), "{text:?}");
        }
        assert!("a".repeat(64).parse::<JobKind>().is_ok());
    }

    #[test]
    fn a_long_error_is_cut_between_characters() {
        let text = format!("{}ü", "x".repeat(ERROR_BYTES - 1));

        assert_eq!(cut_error(&text), &text[..ERROR_BYTES - 1]);
        assert_eq!(cut_error("short"), "short");
    }
}
