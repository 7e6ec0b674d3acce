//! What operators and admins ask of jobs.

use std::sync::Arc;

use serde_json::json;

use super::{
    error::OutboxError,
    model::{DeadJob, JobId, JobQuery, JobState, LiveJob, NewJob},
    service::Outbox,
};
use crate::{
    access::{AccessControlService, Denied, Permission, Place, WhyDenied},
    actor::{Actor, Identity},
    clock::Timestamp,
    limits::{Limits, Policy},
    page::Page,
    scope::Scope,
    step::AuditDraft,
};

/// Jobs as operators see them, and the dead as admins see and replay them.
#[derive(Debug, Clone)]
pub struct Jobs {
    outbox: Outbox,
    access: Arc<dyn AccessControlService>,
    limits: Limits,
}

/// Why a job does not run, or that it does.
#[derive(Debug, Clone, PartialEq)]
pub enum Why {
    /// It is being done; if its worker is gone, it is taken back at `until`.
    Runs {
        /// Until when the worker holds it, unless it tells of itself.
        until: Timestamp,
    },
    /// It waits for its time: after a failure, or because it was meant for later.
    NotDue {
        /// When it is due.
        at: Timestamp,
    },
    /// An older job of its order key is not done.
    Behind(Box<LiveJob>),
    /// Nothing stands against it: no worker of its kind has come to it.
    Unclaimed,
    /// It is dead, and waits for somebody to replay it.
    Dead(Box<DeadJob>),
}

impl Jobs {
    /// Wires the questions to what they rest on.
    pub fn new(outbox: Outbox, access: Arc<dyn AccessControlService>, limits: Limits) -> Self {
        Self { outbox, access, limits }
    }

    /// Passes if the actor may see and replay dead jobs: `outbox.manage`.
    pub async fn require_manage(&self, actor: &Actor) -> Result<(), OutboxError> {
        Ok(self.access.require(actor, Permission::OutboxManage, &Place::global()).await?)
    }

    /// Lists the jobs that are not done and not dead. For the operator alone.
    pub async fn list(&self, actor: &Actor, query: &JobQuery) -> Result<Page<LiveJob>, OutboxError> {
        require_operator(actor)?;
        Ok(self.outbox.store().page(query).await?)
    }

    /// Finds a job that is not done and not dead. For the operator alone.
    ///
    /// # Errors
    ///
    /// [`OutboxError::NotFound`].
    pub async fn find(&self, actor: &Actor, id: JobId) -> Result<LiveJob, OutboxError> {
        require_operator(actor)?;
        self.outbox.store().find(id).await?.ok_or(OutboxError::NotFound)
    }

    /// Says why a job does not run. For the operator alone. A job that is done is not found.
    ///
    /// # Errors
    ///
    /// [`OutboxError::NotFound`].
    pub async fn why(&self, actor: &Actor, id: JobId) -> Result<Why, OutboxError> {
        require_operator(actor)?;
        let store = self.outbox.store();
        let Some(job) = store.find(id).await? else {
            let dead = store.find_dead(id).await?.ok_or(OutboxError::NotFound)?;
            return Ok(Why::Dead(Box::new(dead)));
        };
        if let JobState::Leased { until, .. } = job.state {
            return Ok(Why::Runs { until });
        }
        if job.run_at > store.now(self.outbox.inner.now()).await? {
            return Ok(Why::NotDue { at: job.run_at });
        }
        Ok(match store.blocker(id).await? {
            Some(blocker) => Why::Behind(Box::new(blocker)),
            None => Why::Unclaimed,
        })
    }

    /// Lists dead jobs. Needs `outbox.manage`.
    pub async fn dead(&self, actor: &Actor, query: &JobQuery) -> Result<Page<DeadJob>, OutboxError> {
        self.require_manage(actor).await?;
        Ok(self.outbox.store().page_dead(query).await?)
    }

    /// Finds a dead job. Needs `outbox.manage`.
    ///
    /// # Errors
    ///
    /// [`OutboxError::NotFound`].
    pub async fn find_dead(&self, actor: &Actor, id: JobId) -> Result<DeadJob, OutboxError> {
        self.require_manage(actor).await?;
        self.outbox.store().find_dead(id).await?.ok_or(OutboxError::NotFound)
    }

    /// Replays a dead job, and returns the number of the new one, or of the one that waits under its dedupe key. Needs
    /// `outbox.manage`.
    ///
    /// # Errors
    ///
    /// [`OutboxError::NotFound`], also if it was replayed before.
    pub async fn replay(&self, actor: &Actor, id: JobId) -> Result<JobId, OutboxError> {
        self.require_manage(actor).await?;
        self.limits.charge(actor, Policy::Admin).await?;
        let store = self.outbox.store();
        let kind = store.find_dead(id).await?.map(|dead| dead.kind);
        let audit = AuditDraft::new("outbox.replay", Scope::Global).with(json!({ "job": id, "kind": kind }));
        let step = actor.step(self.outbox.inner.now(), audit);
        let replayed = store.replay(&step, id).await?.ok_or(OutboxError::NotFound)?;
        self.outbox.wake(kind.map(|kind| NewJob::new(kind, json!(null))).as_ref());
        Ok(replayed)
    }
}

fn require_operator(actor: &Actor) -> Result<(), OutboxError> {
    if actor.identity == Identity::Operator {
        return Ok(());
    }
    let why = WhyDenied::SignInRequired;
    Err(Denied { permission: Permission::OutboxManage, scope: Scope::Global, why }.into())
}
