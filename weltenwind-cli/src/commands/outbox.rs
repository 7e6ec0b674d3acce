//! `weltenwind outbox`.

use clap::{Args, Subcommand};
use serde::Serialize;
use weltenwind_core::{
    Actor, Limit, Services,
    outbox::{JobId, JobKind, JobQuery, JobState, OutboxError, Why},
    wire::{DeadJobBody, LiveJobBody, ReplayedBody},
};

use crate::{config::Config, failure::Failure, output::Output, store};

#[derive(Debug, Subcommand)]
pub(crate) enum OutboxCommand {
    /// List the jobs that wait or run, oldest first, or those that are dead.
    List(ListArgs),
    /// Show a job with its payload and what came in between.
    Show(JobArgs),
    /// Say why a job does not run.
    Why(JobArgs),
    /// Do a dead job again, or all of a kind.
    Retry(RetryArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Those that failed too often, in place of those that wait or run.
    #[arg(long)]
    dead: bool,
    /// Only jobs of this kind.
    #[arg(long)]
    kind: Option<JobKind>,
    /// Jobs to list at most.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
}

#[derive(Debug, Args)]
pub(crate) struct JobArgs {
    /// The job's number, as `outbox list` shows it.
    id: JobId,
}

#[derive(Debug, Args)]
pub(crate) struct RetryArgs {
    /// The dead job's number, as `outbox list --dead` shows it.
    #[arg(required_unless_present = "kind")]
    id: Option<JobId>,
    /// Every dead job of this kind.
    #[arg(long, conflicts_with = "id")]
    kind: Option<JobKind>,
    /// Say what would be done again, and do nothing.
    #[arg(long)]
    dry_run: bool,
}

pub(crate) async fn run(command: OutboxCommand, config: &Config, output: Output) -> Result<(), Failure> {
    let services = store::services(config, &config.public_url()).await?;
    match command {
        OutboxCommand::List(args) if args.dead => list_dead(args, &services, output).await?,
        OutboxCommand::List(args) => list(args, &services, output).await?,
        OutboxCommand::Show(args) => show(args.id, &services, output).await?,
        OutboxCommand::Why(args) => why(args.id, &services, output).await?,
        OutboxCommand::Retry(args) => retry(args, &services, output).await?,
    }
    services.health.close().await;
    Ok(())
}

async fn list(args: ListArgs, services: &Services, output: Output) -> Result<(), Failure> {
    let mut query = JobQuery { kind: args.kind, after: None, limit: Limit::MAX };
    let mut jobs: Vec<LiveJobBody> = Vec::new();
    while jobs.len() < args.limit as usize {
        let page = services.jobs.list(&Actor::operator(), &query).await?;
        jobs.extend(page.items.iter().map(LiveJobBody::from));
        query.after = page.next(|job| job.id);
        if query.after.is_none() {
            break;
        }
    }
    jobs.truncate(args.limit as usize);
    output.list(&jobs, &["id", "kind", "due", "failures", "crashes", "worker"], |job| {
        let worker = job.worker.map(|worker| worker.to_string()).unwrap_or_default();
        let (failures, crashes) = (job.failures.to_string(), job.crashes.to_string());
        vec![job.id.to_string(), job.kind.to_string(), job.run_at.to_string(), failures, crashes, worker]
    })
}

async fn list_dead(args: ListArgs, services: &Services, output: Output) -> Result<(), Failure> {
    let jobs = dead(services, args.kind, args.limit as usize).await?;
    output.list(&jobs, &["id", "kind", "died", "failures", "crashes", "why"], |job| {
        let why = job.errors.last().map(|mishap| mishap.error.lines().next().unwrap_or_default().to_owned());
        let (failures, crashes) = (job.failures.to_string(), job.crashes.to_string());
        vec![
            job.id.to_string(),
            job.kind.to_string(),
            job.died_at.to_string(),
            failures,
            crashes,
            why.unwrap_or_default(),
        ]
    })
}

/// Reads so many dead jobs.
async fn dead(services: &Services, kind: Option<JobKind>, limit: usize) -> Result<Vec<DeadJobBody>, Failure> {
    let mut query = JobQuery { kind, after: None, limit: Limit::MAX };
    let mut jobs: Vec<DeadJobBody> = Vec::new();
    while jobs.len() < limit {
        let page = services.jobs.dead(&Actor::operator(), &query).await?;
        jobs.extend(page.items.iter().map(DeadJobBody::from));
        query.after = page.next(|job| job.id);
        if query.after.is_none() {
            break;
        }
    }
    jobs.truncate(limit);
    Ok(jobs)
}

async fn show(id: JobId, services: &Services, output: Output) -> Result<(), Failure> {
    let operator = Actor::operator();
    match services.jobs.find(&operator, id).await {
        Ok(job) => output.value(&LiveJobBody::from(&job), as_lines),
        Err(OutboxError::NotFound) => {
            output.value(&DeadJobBody::from(&services.jobs.find_dead(&operator, id).await?), as_lines)
        }
        Err(error) => Err(error.into()),
    }
}

/// One member a line.
fn as_lines<T: Serialize>(body: &T) -> String {
    let value = serde_json::to_value(body).unwrap_or_default();
    let members = value.as_object().into_iter().flatten();
    let lines = members.map(|(name, value)| match value.as_str() {
        Some(text) => format!("{name:<14} {text}"),
        None => format!("{name:<14} {value}"),
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Why a job does not run.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Answered {
    id: JobId,
    /// `runs`, `not-due`, `behind`, `unclaimed` or `dead`.
    why: &'static str,
    detail: String,
}

async fn why(id: JobId, services: &Services, output: Output) -> Result<(), Failure> {
    let operator = Actor::operator();
    let (why, detail) = match services.jobs.why(&operator, id).await? {
        Why::Runs { until } => {
            ("runs", format!("a worker has it; if that is gone, the job is taken back after {until}"))
        }
        Why::NotDue { at } => {
            let job = services.jobs.find(&operator, id).await?;
            let reason = match job.errors.last() {
                Some(mishap) => format!("it failed {} times, the last time with: {}", job.failures, mishap.error),
                None => "it was meant for later".to_owned(),
            };
            ("not-due", format!("it is due at {at}; {reason}"))
        }
        Why::Behind(blocker) => {
            let key = blocker.order_key.as_deref().unwrap_or_default();
            let state = if blocker.state == JobState::Waiting { "waits" } else { "runs" };
            ("behind", format!("job {} of its order key {key:?} is older and {state}; ask why of that one", blocker.id))
        }
        Why::Unclaimed => (
            "unclaimed",
            "nothing stands against it: no worker that knows its kind has come to it; does one run?".to_owned(),
        ),
        Why::Dead(dead) => {
            let last = dead.errors.last().map(|mishap| mishap.error.as_str()).unwrap_or_default();
            let (failures, crashes) = (dead.failures, dead.crashes);
            ("dead", format!("it failed {failures} times and crashed {crashes} times, the last time with: {last}"))
        }
    };
    output.value(&Answered { id, why, detail }, |answered| format!("{}: {}", answered.why, answered.detail))
}

async fn retry(args: RetryArgs, services: &Services, output: Output) -> Result<(), Failure> {
    let operator = Actor::operator();
    let ids: Vec<JobId> = match (args.id, args.kind) {
        (Some(id), _) => vec![services.jobs.find_dead(&operator, id).await?.id],
        (None, kind) => dead(services, kind, usize::MAX).await?.into_iter().map(|dead| dead.id).collect(),
    };
    let mut replayed = Vec::with_capacity(ids.len());
    for id in ids {
        let id = if args.dry_run { id } else { services.jobs.replay(&operator, id).await? };
        replayed.push(ReplayedBody { id });
    }
    let verb = if args.dry_run { "would do again" } else { "does again, as" };
    output.value(&replayed, |replayed| {
        let ids: Vec<_> = replayed.iter().map(|job| job.id.to_string()).collect();
        if ids.is_empty() { "no job is dead".to_owned() } else { format!("{verb}: {}", ids.join(", ")) }
    })
}
