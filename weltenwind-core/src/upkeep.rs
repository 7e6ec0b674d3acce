//! What is deleted by age, as a job: one process of an installation does it every hour.

use async_trait::async_trait;

use crate::{
    accounts::Accounts,
    announcements::Announcements,
    chat::Chat,
    idempotency::Idempotency,
    mail::Mail,
    notifications::Notifications,
    outbox::{JobError, JobHandler, JobKind, JobPolicy, Schedule, Verdict, Work},
    privacy::Privacy,
    revocations::Revocations,
};

/// Deletes what was kept long enough.
const RETENTION: JobKind = JobKind::named("retention.run");

/// When that is due.
pub(crate) fn retention_schedule() -> Schedule {
    Schedule::new("retention", RETENTION, "7 * * * *", "UTC").expect("the pattern and the zone are written here")
}

/// Deletes messages that are older than their channels keep them, idempotency keys and losses of the day before, announcements
/// that were withdrawn and notifications of months ago, letters of the month before, marks of accounts that were erased long ago, and signing keys whose
/// tokens have run out.
#[derive(Debug)]
pub(crate) struct Retention {
    pub(crate) accounts: Accounts,
    pub(crate) chat: Chat,
    pub(crate) idempotency: Idempotency,
    pub(crate) announcements: Announcements,
    pub(crate) notifications: Notifications,
    pub(crate) mail: Mail,
    pub(crate) privacy: Privacy,
    pub(crate) revocations: Revocations,
}

#[async_trait]
impl JobHandler for Retention {
    fn kind(&self) -> JobKind {
        RETENTION
    }

    /// Each part begins anew where the last attempt ended, so a long one may be interrupted.
    fn policy(&self) -> JobPolicy {
        JobPolicy { batch: 1, concurrency: 1, deadline_ms: 30 * 60_000, ..JobPolicy::default() }
    }

    async fn run(&self, work: &Work) -> Result<Vec<Verdict>, JobError> {
        // What cannot be deleted of one does not keep the others.
        let messages = self.chat.enforce_retention().await;
        let requests = self.idempotency.enforce_retention().await;
        let announcements = self.announcements.enforce_retention().await;
        let notifications = self.notifications.enforce_retention().await;
        let letters = self.mail.enforce_retention().await;
        let marks = self.privacy.enforce_retention().await;
        let keys = self.accounts.retire_keys().await;
        let losses = self.revocations.enforce_retention().await;
        let (messages, requests, marks, keys, losses) = (messages?, requests?, marks?, keys?, losses?);
        let (announcements, notifications, letters) = (announcements?, notifications?, letters?);
        tracing::info!(
            messages,
            requests,
            announcements,
            notifications,
            letters,
            marks,
            keys,
            losses,
            "deleted what was kept long enough"
        );
        Ok(work.every(&Verdict::Done))
    }
}
