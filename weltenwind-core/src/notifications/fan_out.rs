//! Telling an audience, as a job.

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::json;

use super::{model::Spread, service::Notifications};
use crate::{
    clock::Timestamp,
    ids::AnnouncementId,
    outbox::{Due, JobError, JobHandler, JobKind, JobPolicy, NewJob, Outbox, Verdict, Work},
};

/// Tells the audience of an announcement.
const FAN_OUT: JobKind = JobKind::named("announcement.fan-out");

/// The job that tells the audience of an announcement once it is published. Of one announcement there is one that waits; where the
/// time of publication changes, the sooner counts, and whoever comes too soon comes again.
pub(crate) fn fan_out(announcement: AnnouncementId, publish_at: Timestamp, now: Timestamp) -> NewJob {
    let due = if publish_at <= now { Due::Now } else { Due::At(publish_at) };
    NewJob::new(FAN_OUT, json!({ "announcement": announcement })).due(due).once_per(announcement.to_string())
}

#[derive(Debug, Deserialize)]
struct Payload {
    announcement: AnnouncementId,
}

/// Spreads announcements, page by page. Where it has come to stands with the announcement, so another attempt goes on there.
#[derive(Debug)]
pub(crate) struct FanOut {
    pub(crate) notifications: Notifications,
    pub(crate) outbox: Outbox,
}

#[async_trait]
impl JobHandler for FanOut {
    fn kind(&self) -> JobKind {
        FAN_OUT
    }

    /// Many workers may die while a large audience is told, and it is not to blame: what was told stays told.
    fn policy(&self) -> JobPolicy {
        JobPolicy { batch: 1, max_crashes: 100, deadline_ms: 30 * 60_000, ..JobPolicy::default() }
    }

    async fn run(&self, work: &Work) -> Result<Vec<Verdict>, JobError> {
        for job in work.jobs() {
            let Payload { announcement } = job.read()?;
            let mut told = 0;
            loop {
                match self.notifications.spread(announcement).await? {
                    Spread::More(page) => told += page,
                    Spread::Done(page) => {
                        tracing::info!(%announcement, told = told + page, "an audience was told");
                        break;
                    }
                    Spread::Gone => break,
                    Spread::NotBefore(publish_at) => {
                        self.outbox.enqueue(&[fan_out(announcement, publish_at, work.at())]).await?;
                        break;
                    }
                }
            }
        }
        Ok(work.every(&Verdict::Done))
    }
}
