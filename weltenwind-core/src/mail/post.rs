//! Handing letters over, as a job.

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::json;

use super::{
    model::{Begun, MailIntent, MailState, Settled},
    port::MailFailure,
    service::Mail,
};
use crate::{
    ids::MailId,
    outbox::{Job, JobError, JobHandler, JobKind, JobPolicy, NewJob, Verdict, Work},
};

/// Hands a letter to the mail server.
const SEND: JobKind = JobKind::named("mail.send");

/// The job that sends a letter.
pub(super) fn send(id: MailId) -> NewJob {
    NewJob::new(SEND, json!({ "mail": id })).once_per(id.to_string())
}

#[derive(Debug, Deserialize)]
struct Payload {
    mail: MailId,
}

/// Hands letters over, one after the other. That one is on its way is committed before the mail server is asked, so that whoever
/// comes after a crash knows of it.
#[derive(Debug)]
pub(crate) struct Post {
    pub(crate) mail: Mail,
}

impl Post {
    async fn one(&self, job: &Job) -> Result<Verdict, JobError> {
        let Payload { mail: id } = job.read()?;
        let Mail { store, mailer, url, sources } = &self.mail;
        let intent = match store.begin(id, sources.clock.now()).await? {
            Begun::Send(intent) => intent,
            Begun::Nothing(state) => {
                if state == MailState::Unknown {
                    tracing::warn!(mail = %id, "nobody can say whether a letter went out; it is not sent again");
                }
                return Ok(Verdict::Done);
            }
            Begun::Gone => return Ok(Verdict::Done),
        };
        let sent = mailer.send(&intent.outgoing(url)).await;
        let (state, verdict) = match &sent {
            Ok(()) => (MailState::Accepted, Verdict::Done),
            Err(failure @ MailFailure::Away(_)) => {
                (MailState::Queued, Verdict::Failed(JobError::outage(failure.to_string())))
            }
            Err(failure @ MailFailure::Deferred(_)) => {
                (MailState::Queued, Verdict::Failed(JobError::new(failure.to_string())))
            }
            Err(failure @ MailFailure::Refused(_)) => {
                (MailState::Failed, Verdict::Failed(JobError::fatal(failure.to_string())))
            }
            Err(failure @ MailFailure::Unknown(_)) => {
                tracing::warn!(mail = %id, error = %failure, "a letter may have gone out");
                (MailState::Unknown, Verdict::Done)
            }
        };
        let error = sent.err().map(|failure| failure.to_string());
        let MailIntent { attempts, .. } = intent;
        store.settle(&Settled { id, attempt: attempts, state, error }, sources.clock.now()).await?;
        Ok(verdict)
    }
}

#[async_trait]
impl JobHandler for Post {
    fn kind(&self) -> JobKind {
        SEND
    }

    /// Tried again after 30 seconds, two minutes, eight, and so on, for a little more than a day.
    fn policy(&self) -> JobPolicy {
        JobPolicy {
            batch: 10,
            base_ms: 30_000,
            factor: 4.0,
            cap_ms: 12 * 3_600_000,
            max_failures: 9,
            ..JobPolicy::default()
        }
    }

    async fn run(&self, work: &Work) -> Result<Vec<Verdict>, JobError> {
        let mut verdicts = Vec::with_capacity(work.jobs().len());
        for job in work.jobs() {
            verdicts.push(self.one(job).await.unwrap_or_else(Verdict::Failed));
        }
        Ok(verdicts)
    }
}
