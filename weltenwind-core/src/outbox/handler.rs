//! Who does a kind of work.

use std::fmt::Debug;

use async_trait::async_trait;

use super::{
    error::JobError,
    model::{Job, JobKind, Lease, NewJob},
    policy::JobPolicy,
};
use crate::{
    actor::CorrelationId,
    clock::Timestamp,
    services::Sources,
    step::{AuditDraft, Step},
};

/// Does the jobs of one kind, a slice at a time.
///
/// A handler whose effect is in the store takes it with [`Work::step`] or [`Work::step_of`]: such a step finishes its jobs in
/// the transaction of the effect, so that both happen once or neither does. If the lease was lost meanwhile, the port fails and
/// everything is rolled back; the handler passes the error on. An effect elsewhere (a mail) cannot be had once for certain:
/// whoever does it twice should be known by a key that the job carries.
///
/// The future is dropped when the lease is lost or the deadline has passed.
#[async_trait]
pub trait JobHandler: Debug + Send + Sync + 'static {
    /// Returns the kind that it does.
    fn kind(&self) -> JobKind;

    /// Returns how its jobs are run and tried again, unless the configuration says otherwise.
    fn policy(&self) -> JobPolicy {
        JobPolicy::default()
    }

    /// Does a slice of jobs, one at least, and answers what became of each, in order.
    ///
    /// # Errors
    ///
    /// What fails as a whole. Unless it is an outage, its jobs are then tried one by one, so that one bad job does not fail
    /// its neighbours.
    async fn run(&self, work: &Work) -> Result<Vec<Verdict>, JobError>;
}

/// What became of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// A step has finished it, with its effect.
    Settled,
    /// Its effect is elsewhere, or there was none to have: it is finished now.
    Done,
    /// It failed.
    Failed(JobError),
}

/// A slice of jobs of one kind, and what its handler needs.
#[derive(Debug)]
pub struct Work {
    jobs: Vec<Job>,
    at: Timestamp,
    correlation_id: CorrelationId,
}

impl Work {
    /// A slice, for tests of handlers; a worker makes its own.
    pub fn new(jobs: Vec<Job>, sources: &Sources) -> Self {
        let correlation_id = match jobs.split_first() {
            Some((first, others)) if others.iter().all(|job| job.correlation_id == first.correlation_id) => {
                first.correlation_id.clone()
            }
            _ => CorrelationId::draw(&*sources.ids),
        };
        Self { jobs, at: sources.clock.now(), correlation_id }
    }

    /// Returns the jobs.
    pub fn jobs(&self) -> &[Job] {
        &self.jobs
    }

    /// Returns when the work began, by the clock of this node.
    pub const fn at(&self) -> Timestamp {
        self.at
    }

    /// Returns the request that the slice follows from; of a slice from several requests, one of its own.
    pub const fn correlation_id(&self) -> &CorrelationId {
        &self.correlation_id
    }

    /// Opens a step that finishes the whole slice.
    pub fn step(&self, audit: AuditDraft) -> Step {
        self.step_with(self.jobs.iter().map(|job| job.lease).collect(), self.correlation_id.clone(), audit)
    }

    /// Opens a step that finishes one job of the slice.
    pub fn step_of(&self, job: &Job, audit: AuditDraft) -> Step {
        self.step_with(vec![job.lease], job.correlation_id.clone(), audit)
    }

    /// Opens a step that finishes no job: a part of the work that another attempt may take again.
    pub fn step_on_the_way(&self, audit: AuditDraft) -> Step {
        self.step_with(Vec::new(), self.correlation_id.clone(), audit)
    }

    fn step_with(&self, finishes: Vec<Lease>, correlation_id: CorrelationId, audit: AuditDraft) -> Step {
        Step {
            actor: None,
            session: None,
            device: None,
            correlation_id,
            at: self.at,
            effect_key: None,
            audit,
            jobs: Vec::<NewJob>::new(),
            finishes,
        }
    }

    /// Answers the same for every job.
    pub fn every(&self, verdict: &Verdict) -> Vec<Verdict> {
        vec![verdict.clone(); self.jobs.len()]
    }
}
