//! The outbox: work that follows from a step is written in its transaction, and done behind it.
//!
//! A service adds [`NewJob`]s to its step ([`Step::with_jobs`](crate::Step::with_jobs)): they exist if the step was committed,
//! and not otherwise. A [`Worker`] claims them under a lease and gives them to the [`JobHandler`] of their kind, a slice at a
//! time. The handler has its effect with a step that finishes its jobs ([`Work::step`]), in one transaction: whatever is
//! killed, whenever, an effect in the store happens once. What fails is tried again by the kind's [`JobPolicy`]; what fails
//! too often, or ends too many processes, lies among the dead until an operator replays it.
//!
//! ```
//! use async_trait::async_trait;
//! use weltenwind_core::outbox::{JobError, JobHandler, JobKind, Verdict, Work};
//!
//! const GREET: JobKind = JobKind::named("example.greet");
//!
//! #[derive(Debug)]
//! struct Greeter;
//!
//! #[async_trait]
//! impl JobHandler for Greeter {
//!     fn kind(&self) -> JobKind {
//!         GREET
//!     }
//!
//!     async fn run(&self, work: &Work) -> Result<Vec<Verdict>, JobError> {
//!         for job in work.jobs() {
//!             let name: String = job.read()?;
//!             println!("well met, {name}");
//!         }
//!         Ok(work.every(&Verdict::Done))
//!     }
//! }
//! ```

#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod desk;
mod error;
mod handler;
mod model;
mod policy;
mod schedule;
mod service;
mod store;
mod worker;

pub use self::{
    desk::{Jobs, Why},
    error::{Cure, JobError, LeaseLost, OutboxError},
    handler::{JobHandler, Verdict, Work},
    model::{
        Claim, Class, DeadJob, Due, ERROR_BYTES, ERRORS_KEPT, How, Job, JobId, JobKind, JobQuery, JobState, Lease,
        LiveJob, Mishap, NewJob, OutboxStats, ParseJobIdError, ParseJobKindError, Renewal, ScheduleRow, Settlement,
        Swept, cut_error,
    },
    policy::JobPolicy,
    schedule::{Schedule, ScheduleInvalid},
    service::{JobCounts, Outbox, OutboxCounts},
    store::OutboxStore,
    worker::{RunningWorker, Worker, WorkerConfig},
};
