//! `outbox/…`: jobs that are dead, and their return.

use serde::Deserialize;
use utoipa::IntoParams;
use weltenwind_core::{
    outbox::{JobKind, JobQuery, OutboxError},
    wire::{DeadJobBody, ListBody, ReplayedBody},
};

use crate::{
    answer::{self, Answer},
    context::Context,
    query::LimitParam,
    reference::OfJob,
};

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListDead {
    /// Only jobs of this kind.
    #[param(value_type = Option<String>, min_length = 1, max_length = 64, pattern = "^[a-z0-9.-]+$")]
    kind: Option<JobKind>,
    /// Where the list goes on: `nextCursor` of the part before.
    cursor: Option<String>,
    /// How many items at most.
    #[param(value_type = u16, minimum = 1, maximum = 200, default = 50)]
    #[serde(default)]
    limit: LimitParam,
}

/// Lists jobs that are dead: those that failed too often or ended too many processes.
///
/// Needs `outbox.manage`. Oldest first; they are kept for 30 days.
#[utoipa::path(
    get,
    path = "/api/v1/outbox/dead",
    operation_id = "listDeadJobs",
    tag = "operations",
    params(ListDead),
    responses(
        (status = 200, description = "A part of the list.", body = ListBody<DeadJobBody>),
        (status = 403, description = "permission-denied, two-factor-enrolment-required"),
    ),
    security(("bearer" = []))
)]
pub(crate) async fn list_dead(cx: Context<ListDead>) -> Answer {
    let ListDead { kind, cursor, limit } = &cx.query;
    let list = format!("outbox/dead?kind={}", kind.as_ref().map(JobKind::as_str).unwrap_or_default());
    // Who may not see the list hears that, whatever place in it is asked for.
    cx.services.jobs.require_manage(cx.actor()).await?;
    let after = cursor.as_deref().map(|cursor| cx.services.cursors.open(&list, cursor)).transpose()?;
    let query = JobQuery { kind: kind.clone(), after, limit: limit.0 };
    let page = cx.services.jobs.dead(cx.actor(), &query).await?;
    let next = page.next(|dead| cx.services.cursors.seal(&list, &dead.id));
    Ok(cx.list(page.items.iter().map(DeadJobBody::from), next))
}

/// Replays a dead job.
///
/// Needs `outbox.manage`. It is done anew under another number, without its failures; if one waits under its dedupe key, that one
/// is answered.
#[utoipa::path(
    post,
    path = "/api/v1/outbox/dead/{id}/retry",
    operation_id = "retryDeadJob",
    tag = "operations",
    params(OfJob),
    responses(
        (status = 200, description = "The number of the job that does it now.", body = ReplayedBody),
        (status = 403, description = "permission-denied, two-factor-enrolment-required"),
        (status = 404, description = "job-not-found"),
    ),
    security(("bearer" = []))
)]
pub(crate) async fn retry_dead(cx: Context) -> Answer {
    cx.services.jobs.require_manage(cx.actor()).await?;
    let id = cx.param("id").ok_or(OutboxError::NotFound)?;
    let replayed = cx.services.jobs.replay(cx.actor(), id).await?;
    Ok(answer::ok(&ReplayedBody { id: replayed }))
}
