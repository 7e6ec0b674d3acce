//! The port that keeps jobs between the step that wrote them and the step that finishes them.

use std::fmt::Debug;

use async_trait::async_trait;

use super::model::{
    Claim, DeadJob, Job, JobId, JobKind, JobQuery, Lease, LiveJob, NewJob, OutboxStats, Renewal, ScheduleRow,
    Settlement, Swept,
};
use crate::{actor::CorrelationId, clock::Timestamp, error::StorageError, page::Page, step::Step};

/// Keeps jobs.
///
/// Jobs are written by the steps they follow from (`Step::jobs`) and finished by the steps that have their effect
/// (`Step::finishes`), each in the same transaction; this port is what lies between. Each method is one atomic step.
///
/// **Time.** Every method takes the instant `at` of its caller. A store that several machines share decides by its own clock
/// alone and passes over `at`, so that a machine whose clock is wrong can neither take nor keep a lease. A store on one
/// machine goes by `at`, and by no instant before one that it has seen: a clock that is set back holds nothing up.
///
/// **Leases.** A claim gives the job the next fence, which is never set back, not even when the lease ends or is given back.
/// Whatever is done under a lease holds only while the job is leased under that very fence.
#[async_trait]
pub trait OutboxStore: Debug + Send + Sync + 'static {
    /// Writes jobs that follow from nothing else, as a step would.
    async fn enqueue(&self, jobs: &[NewJob], correlation_id: &CorrelationId, at: Timestamp)
    -> Result<(), StorageError>;

    /// Claims jobs that are due, oldest first, none that another claim has.
    ///
    /// A job under an order key is claimed only if no older job of its kind and key is left, in whatever state. Fences are
    /// given anew, and the worker, the end of the lease, the deadline and the limit of crashes stand on the row afterwards.
    async fn claim(&self, claim: &Claim, at: Timestamp) -> Result<Vec<Job>, StorageError>;

    /// Keeps leases, and returns those that are lost: taken back, or past their deadline. A job that is done, and so is there no
    /// more, is none of them.
    async fn renew(&self, renewals: &[Renewal], at: Timestamp) -> Result<Vec<Lease>, StorageError>;

    /// Says what becomes of claimed jobs, and returns the leases that were lost: for those, nothing changes.
    async fn settle(&self, settlements: &[Settlement], at: Timestamp) -> Result<Vec<Lease>, StorageError>;

    /// Takes back at most `limit` jobs whose lease or deadline has passed, and counts a crash for each. Those with as many as
    /// stand on their row are dead, the others are due at once. It reads the rows alone, so any process can sweep for any
    /// other.
    async fn sweep(&self, limit: u16, at: Timestamp) -> Result<Swept, StorageError>;

    /// Returns the instant by which the store decides.
    async fn now(&self, at: Timestamp) -> Result<Timestamp, StorageError>;

    /// Lists the jobs that are not done and not dead, in order of their numbers.
    async fn page(&self, query: &JobQuery) -> Result<Page<LiveJob>, StorageError>;

    /// Finds a job that is not done and not dead.
    async fn find(&self, id: JobId) -> Result<Option<LiveJob>, StorageError>;

    /// Finds the oldest job that a job waits for: one of its kind and order key with a smaller number.
    async fn blocker(&self, id: JobId) -> Result<Option<LiveJob>, StorageError>;

    /// Lists dead jobs, in order of their numbers.
    async fn page_dead(&self, query: &JobQuery) -> Result<Page<DeadJob>, StorageError>;

    /// Finds a dead job.
    async fn find_dead(&self, id: JobId) -> Result<Option<DeadJob>, StorageError>;

    /// Makes a dead job anew, without its mishaps and due at once, and returns the number of the new one; none if there is no
    /// such dead job. If one waits under its dedupe key, that one is the answer.
    async fn replay(&self, step: &Step, id: JobId) -> Result<Option<JobId>, StorageError>;

    /// Deletes at most `limit` jobs that died before `before`, and returns how many it were.
    async fn purge_dead(&self, before: Timestamp, limit: u32) -> Result<u64, StorageError>;

    /// Counts what there is.
    async fn stats(&self, at: Timestamp) -> Result<OutboxStats, StorageError>;

    /// Returns when the schedules of these names are due; one that is not known is left out.
    async fn schedules(&self, names: &[String]) -> Result<Vec<ScheduleRow>, StorageError>;

    /// Moves a schedule on from what it was (none: it was not known) and writes the job of the instant that has come, if there
    /// is one; returns false, and does neither, if another process has moved it meanwhile.
    async fn advance(
        &self,
        was: Option<&ScheduleRow>,
        row: &ScheduleRow,
        job: Option<&NewJob>,
        correlation_id: &CorrelationId,
        at: Timestamp,
    ) -> Result<bool, StorageError>;

    /// Tells other processes on this store that there are jobs of these kinds. It may get lost.
    async fn hint(&self, kinds: &[JobKind]) -> Result<(), StorageError>;

    /// Waits until another process may have told of jobs, and returns their kinds; for ever where processes do not speak to
    /// each other. One caller waits at a time.
    async fn hinted(&self) -> Result<Vec<JobKind>, StorageError>;
}
