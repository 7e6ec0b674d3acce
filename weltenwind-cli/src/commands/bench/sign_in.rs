//! `weltenwind bench sign-in`: what a sign-in costs beside the hash of its password, and what it costs to know a token again.

use std::{
    hint::black_box,
    thread,
    time::{Duration, Instant},
};

use clap::Args;
use serde::Serialize;
use tokio::runtime::Handle;
use weltenwind_core::{
    Actor, CorrelationId, Secret, ServiceConfig, Services, Sources, SystemIds,
    accounts::{AccountsConfig, DeviceDraft, HashingConfig, Password, RegistrationDraft, SignIn, Username},
};
use weltenwind_storage::StorageConfig;

use super::Waits;
use crate::{failure::Failure, output::Output, store::unopened};

#[derive(Debug, Args)]
pub(crate) struct SignInArgs {
    /// Sessions whose tokens are shown in turn.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=50_000))]
    sessions: u32,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=60))]
    seconds: u64,
}

/// One row of the answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Measured {
    what: &'static str,
    threads: usize,
    per_second: u64,
    /// The time of one thread for one of them, on average.
    microseconds: f64,
    /// Of sign-ins; a token that is known is too quick to be timed by itself.
    p99_ms: Option<f64>,
}

const PASSWORD: &str = "a lantern on the pier";
/// Checks between two looks at the clock.
const ROUND: usize = 1000;

pub(crate) async fn run(args: &SignInArgs, storage: &StorageConfig, output: Output) -> Result<(), Failure> {
    let stores = weltenwind_storage::open(storage).await.map_err(unopened)?;
    // The smallest hash there is: what is left is everything else.
    let hashing = HashingConfig { memory_kib: 8, passes: 1, ..HashingConfig::default() };
    let accounts = AccountsConfig { hashing, ..AccountsConfig::default() };
    let config = ServiceConfig { accounts, ..ServiceConfig::default() };
    let services = Services::start(stores, config, Sources::default()).await?;
    let username = format!("bench-{}", std::process::id());
    let draft = RegistrationDraft {
        username: Username::new(&username)?,
        password: Password::new(PASSWORD)?,
        display_name: None,
        email: None,
        device: DeviceDraft::new(None, Some("the bench's device"))?,
    };
    let account = services.accounts.register(&Actor::operator(), draft).await?.account.id;

    let mut rows = vec![sign_ins(args, &services, &username).await?];
    let mut tokens = Vec::new();
    for _ in 0..args.sessions {
        tokens.push(sign_in(&services, &username).await?);
    }
    for threads in [1, 2] {
        let (services, tokens) = (services.clone(), tokens.clone());
        let time = Duration::from_secs(args.seconds);
        let showing = tokio::task::spawn_blocking(move || known_tokens(&services, &tokens, threads, time)).await;
        let (shown, took) = showing.map_err(|error| Failure::failed(format!("a thread ended badly: {error}")))?;
        if shown == 0 {
            return Err(Failure::failed("a token of the bench's own session does not hold"));
        }
        rows.push(measured("token seen before", threads, shown, took, None));
    }
    services.accounts.end_sessions_of(&Actor::operator(), account).await?;
    services.health.close().await;
    output.value(&rows, |rows| table(rows))
}

fn table(rows: &[Measured]) -> String {
    let mut lines = vec![format!("{:<28}{:>8}{:>12}{:>12}{:>10}", "WHAT", "THREADS", "PER S", "US EACH", "P99 MS")];
    for Measured { what, threads, per_second, microseconds, p99_ms } in rows {
        let p99 = p99_ms.map_or_else(String::new, |ms| format!("{ms:.2}"));
        lines.push(format!("{what:<28}{threads:>8}{per_second:>12}{microseconds:>12.2}{p99:>10}"));
    }
    lines.join("\n")
}

async fn sign_in(services: &Services, username: &str) -> Result<String, Failure> {
    let device = DeviceDraft::new(None, Some("the bench's device"))?;
    let (username, password) = (username.to_owned(), Secret::new(PASSWORD.to_owned()));
    let sign_in = SignIn { username, password, code: None, device };
    let grant = services.accounts.sign_in(&Actor::operator(), sign_in).await?;
    Ok(grant.access_token.expose().clone())
}

/// Signs in one after the other until the time is over.
async fn sign_ins(args: &SignInArgs, services: &Services, username: &str) -> Result<Measured, Failure> {
    let (begun, mut waits) = (Instant::now(), Vec::new());
    while begun.elapsed() < Duration::from_secs(args.seconds) {
        let asked = Instant::now();
        sign_in(services, username).await?;
        waits.push(asked.elapsed());
    }
    let (took, waits) = (begun.elapsed(), Waits::new(waits));
    Ok(measured("sign-in, the smallest hash", 1, waits.count(), took, Some(waits.at(99))))
}

/// Shows tokens that are known until the time is over, and answers how often.
fn known_tokens(services: &Services, tokens: &[String], threads: usize, time: Duration) -> (usize, Duration) {
    let (begun, runtime) = (Instant::now(), &Handle::current());
    let shown = thread::scope(|scope| {
        let showing = |n| scope.spawn(move || show(runtime, services, tokens, n * tokens.len() / 2, time));
        let showing: Vec<_> = (0..threads).map(showing).collect();
        showing.into_iter().map(|thread| thread.join().unwrap_or(0)).sum()
    });
    (shown, begun.elapsed())
}

fn show(runtime: &Handle, services: &Services, tokens: &[String], start: usize, time: Duration) -> usize {
    let request = CorrelationId::draw(&SystemIds);
    runtime.block_on(async {
        let (begun, mut at, mut shown) = (Instant::now(), start, 0);
        while begun.elapsed() < time {
            for _ in 0..ROUND {
                let actor = services.accounts.authenticate(&tokens[at % tokens.len()], request.clone()).await;
                if black_box(actor).is_err() {
                    return 0;
                }
                at += 1;
            }
            shown += ROUND;
        }
        shown
    })
}

fn measured(what: &'static str, threads: usize, done: usize, took: Duration, p99_ms: Option<f64>) -> Measured {
    #[expect(clippy::cast_precision_loss, reason = "nobody counts that far in a minute")]
    let (done_exactly, threads_exactly) = (done as f64, threads as f64);
    let per_second = done as u128 * 1_000_000 / took.as_micros().max(1);
    Measured {
        what,
        threads,
        per_second: u64::try_from(per_second).unwrap_or(u64::MAX),
        microseconds: took.as_secs_f64() * 1_000_000.0 * threads_exactly / done_exactly.max(1.0),
        p99_ms,
    }
}
