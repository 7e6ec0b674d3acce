//! `weltenwind bench limits`: how long it takes to decide how often something may be done.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use clap::Args;
use serde::Serialize;
use tokio::task::JoinSet;
use weltenwind_core::{
    AccountId, IdGenerator as _, SystemClock, SystemIds,
    limits::{Bucket, LimitKey, MemoryRateLimiter, Policy, Quota, RateLimiter, Unit},
};
use weltenwind_storage::{RedisConfig, RedisRateLimiter};

use super::{Waits, on_processor};
use crate::{failure::Failure, output::Output, store::unusable};

#[derive(Debug, Args)]
pub(crate) struct LimitsArgs {
    /// Measure the limiter that nodes share over this Redis, too.
    #[arg(long, value_name = "URL")]
    redis: Option<String>,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=60))]
    seconds: u64,
    /// Callers that ask Redis at once, each waiting for its answer before it asks again.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=1024))]
    callers: u32,
}

/// One row of the answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Measured {
    limiter: &'static str,
    keys: usize,
    callers: u32,
    decisions_per_second: u64,
    /// In this process: for one decision, on the processor.
    nanoseconds: Option<u64>,
    /// Through Redis: from question to answer.
    p50_ms: Option<f64>,
    p99_ms: Option<f64>,
}

/// Accounts that ask in turn, where there are many: more than a processor's cache holds.
const MANY: usize = 50_000;
/// Decisions between two looks at the clock.
const ROUND: usize = 1000;
/// How long Redis is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

pub(crate) async fn run(args: &LimitsArgs, redis: &RedisConfig, output: Output) -> Result<(), Failure> {
    let mut rows = Vec::new();
    for (keys, threads) in [(1, 1), (MANY, 1), (1, 2), (MANY, 2)] {
        rows.push(in_memory(args, keys, threads).await?);
    }
    if let Some(url) = &args.redis {
        let config = RedisConfig { url: url.clone(), ..redis.clone() };
        for callers in [1, args.callers] {
            rows.push(over_redis(args, &config, callers).await?);
        }
    }
    output.list(&rows, &["limiter", "keys", "callers", "decisions/s", "ns of work", "p50 ms", "p99 ms"], |row| {
        let numbers = [row.keys.to_string(), row.callers.to_string(), row.decisions_per_second.to_string()];
        let mut cells = vec![row.limiter.to_owned()];
        cells.extend(numbers);
        cells.push(row.nanoseconds.map_or_else(String::new, |nanos| nanos.to_string()));
        cells.extend([row.p50_ms, row.p99_ms].map(|ms| ms.map_or_else(String::new, |ms| format!("{ms:.2}"))));
        cells
    })
}

/// Buckets of accounts that use up nothing: what is measured is the way of a caller who may.
fn buckets(keys: usize) -> Arc<[Bucket]> {
    let quota = Quota::per(1_000_000, Unit::Second);
    let bucket = |_| Bucket { policy: Policy::Chat, key: LimitKey::Account(AccountId::new(SystemIds.draw())), quota };
    (0..keys).map(bucket).collect()
}

async fn in_memory(args: &LimitsArgs, keys: usize, threads: u32) -> Result<Measured, Failure> {
    let limiter: Arc<dyn RateLimiter> = Arc::new(MemoryRateLimiter::new(Arc::new(SystemClock)));
    let (buckets, time) = (buckets(keys), Duration::from_secs(args.seconds));
    let decide = move || {
        let mut deciding = Vec::new();
        for n in 0..threads as usize {
            let (limiter, buckets) = (Arc::clone(&limiter), Arc::clone(&buckets));
            // Each begins at another place, so that two threads meet as two players do.
            deciding.push(thread::spawn(move || decide(&*limiter, &buckets, n * keys / 2, time)));
        }
        let ended = |_| Failure::failed("a thread ended badly");
        deciding.into_iter().map(|thread| thread.join().map_err(ended)?).collect::<Result<Vec<_>, Failure>>()
    };
    let begun = Instant::now();
    let decided = tokio::task::spawn_blocking(decide).await;
    let decided = decided.map_err(|error| Failure::failed(format!("a thread ended badly: {error}")))??;
    let (count, work) = decided.iter().fold((0, 0.0), |(count, work), (more, micros)| (count + more, work + micros));
    let nanoseconds = Duration::from_secs_f64(work / 1_000_000.0).as_nanos() / u128::from(count.max(1));
    let per_second = per_second(count, begun.elapsed());
    let nanoseconds = Some(u64::try_from(nanoseconds).unwrap_or(u64::MAX));
    let (limiter, callers) = ("memory", threads);
    Ok(Measured { limiter, keys, callers, decisions_per_second: per_second, nanoseconds, p50_ms: None, p99_ms: None })
}

/// Decides until the time is over, and answers how often, and how many microseconds it was at work.
fn decide(limiter: &dyn RateLimiter, buckets: &[Bucket], start: usize, time: Duration) -> Result<(u64, f64), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let runtime = runtime.map_err(|error| Failure::failed(format!("cannot start: {error}")))?;
    let before = on_processor()?;
    let decided = runtime.block_on(async {
        let (begun, mut at, mut decided) = (Instant::now(), start, 0);
        while begun.elapsed() < time {
            for _ in 0..ROUND {
                std::hint::black_box(limiter.take(&buckets[at % buckets.len()]).await);
                at += 1;
            }
            decided += ROUND as u64;
        }
        decided
    });
    Ok((decided, on_processor()? - before))
}

async fn over_redis(args: &LimitsArgs, config: &RedisConfig, callers: u32) -> Result<Measured, Failure> {
    let limiter = RedisRateLimiter::connect(config, Arc::new(SystemClock)).map_err(unusable)?;
    let begun = Instant::now();
    while !limiter.is_shared() {
        if begun.elapsed() > PATIENCE {
            return Err(Failure::failed(format!("no Redis answers at {}", weltenwind_storage::redact(&config.url))));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let (limiter, stop) = (Arc::new(limiter), Arc::new(AtomicBool::new(false)));
    let buckets = buckets(1000);
    let mut asking = JoinSet::new();
    for n in 0..callers as usize {
        let (limiter, buckets, stop) = (Arc::clone(&limiter), Arc::clone(&buckets), Arc::clone(&stop));
        asking.spawn(async move {
            let (mut waits, mut at) = (Vec::new(), n);
            while !stop.load(Ordering::Relaxed) {
                let begun = Instant::now();
                limiter.take(&buckets[at % buckets.len()]).await;
                waits.push(begun.elapsed());
                at += 1;
            }
            waits
        });
    }
    let begun = Instant::now();
    tokio::time::sleep(Duration::from_secs(args.seconds)).await;
    stop.store(true, Ordering::Relaxed);
    let mut waits = Vec::new();
    while let Some(caller) = asking.join_next().await {
        waits.extend(caller.map_err(|error| Failure::failed(format!("a caller ended badly: {error}")))?);
    }
    let elapsed = begun.elapsed();
    let alone = limiter.fallbacks();
    if alone > 0 {
        return Err(Failure::failed(format!("{alone} decisions did not go through Redis: it answers too slowly")));
    }
    let waits = Waits::new(waits);
    Ok(Measured {
        limiter: "redis",
        keys: buckets.len(),
        callers,
        decisions_per_second: per_second(waits.count() as u64, elapsed),
        nanoseconds: None,
        p50_ms: Some(waits.at(50)),
        p99_ms: Some(waits.at(99)),
    })
}

fn per_second(count: u64, elapsed: Duration) -> u64 {
    u64::try_from(u128::from(count) * 1_000_000_000 / elapsed.as_nanos().max(1)).unwrap_or(u64::MAX)
}
