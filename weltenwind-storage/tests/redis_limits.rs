//! Rate limits over Redis: the suite on two nodes that share a server, and what becomes of them when it fails.
#![cfg(feature = "redis")]

mod redis_server;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use redis::aio::MultiplexedConnection;
use redis_server::RedisServer;
use weltenwind_core::{
    AccountId, SystemClock,
    limits::{Bucket, LimitKey, Policy, Quota, RateLimiter, Unit, conformance::Limiters},
};
use weltenwind_storage::{RedisConfig, RedisRateLimiter};

/// Longer than anything here takes on the slowest machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// The server that all tests share, under names of a test's own.
fn shared_server() -> RedisConfig {
    static TESTS: AtomicU32 = AtomicU32::new(0);
    let url = std::env::var("WW_TEST_REDIS_URL")
        .expect("WW_TEST_REDIS_URL names a Redis; scripts/with-services starts a throw-away one");
    let key_prefix = format!("ww-limits-{}-{}", std::process::id(), TESTS.fetch_add(1, Ordering::Relaxed));
    RedisConfig { url, key_prefix, ..RedisConfig::default() }
}

fn own_server(server: &RedisServer) -> RedisConfig {
    RedisConfig { url: server.url(), ..RedisConfig::default() }
}

/// A node that may be connected or not.
fn stranger(config: &RedisConfig) -> RedisRateLimiter {
    RedisRateLimiter::connect(config, Arc::new(SystemClock)).expect("the configuration is sound")
}

/// A node that is connected.
async fn node(config: &RedisConfig) -> RedisRateLimiter {
    let limiter = stranger(config);
    until("the limits are shared", async || limiter.is_shared()).await;
    limiter
}

async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let wait = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("in time, {what}"));
}

async fn limiters() -> ((), Limiters) {
    let config = shared_server();
    let (here, there) = (node(&config).await, node(&config).await);
    ((), Limiters { here: Arc::new(here), there: Arc::new(there), clock: None })
}

mod redis_suite {
    use super::limiters;

    weltenwind_core::rate_limiter_conformance!(limiters(), ignore = "needs WW_TEST_REDIS_URL");
}

fn bucket(quota: Quota) -> Bucket {
    Bucket { policy: Policy::Chat, key: LimitKey::Account(AccountId::new(uuid::Uuid::from_u128(7))), quota }
}

/// Nothing of it comes back while a test runs.
const FEW: Quota = Quota::per(1, Unit::Day).burst(5);

async fn admin(config: &RedisConfig) -> MultiplexedConnection {
    let client = redis::Client::open(config.url.as_str()).expect("a URL");
    client.get_multiplexed_async_connection().await.expect("the server answers")
}

#[tokio::test]
#[ignore = "needs WW_TEST_REDIS_URL"]
async fn a_bucket_is_one_tagged_key_that_is_gone_once_it_is_full() {
    let config = shared_server();
    let limiter = node(&config).await;
    let mut admin = admin(&config).await;
    let bucket = bucket(Quota::per(2, Unit::Second));
    let name = format!("{}:limit:{{{bucket}}}", config.key_prefix);

    limiter.peek(&bucket).await;
    let exists: bool = redis::cmd("EXISTS").arg(&name).query_async(&mut admin).await.expect("an answer");
    assert!(!exists, "looking makes nothing");
    limiter.take(&bucket).await;

    let left: i64 = redis::cmd("PTTL").arg(&name).query_async(&mut admin).await.expect("an answer");
    assert!((-2..=500).contains(&left) && left != -1, "{left} ms");
    until("the key is gone", async || {
        let mut admin = admin.clone();
        !redis::cmd("EXISTS").arg(&name).query_async::<bool>(&mut admin).await.expect("an answer")
    })
    .await;
    assert_eq!((limiter.take(&bucket).await.remaining, limiter.fallbacks()), (1, 0));
}

#[tokio::test]
#[ignore = "needs WW_TEST_REDIS_URL"]
async fn a_server_that_forgot_the_script_is_given_it_again() {
    let server = RedisServer::start();
    let config = own_server(&server);
    let limiter = node(&config).await;
    limiter.take(&bucket(FEW)).await;

    redis::cmd("SCRIPT").arg("FLUSH").exec_async(&mut admin(&config).await).await.expect("the scripts are gone");

    assert_eq!(limiter.take(&bucket(FEW)).await.remaining, 3);
    assert_eq!(limiter.fallbacks(), 0);
}

#[tokio::test]
#[ignore = "needs WW_TEST_REDIS_URL"]
async fn installations_under_other_prefixes_are_counted_apart() {
    let (here, there) = (node(&shared_server()).await, node(&shared_server()).await);

    assert_eq!((here.take(&bucket(FEW)).await.remaining, there.take(&bucket(FEW)).await.remaining), (4, 4));
}

#[tokio::test]
#[ignore = "needs WW_TEST_REDIS_URL"]
async fn while_the_server_stands_still_every_node_decides_alone_and_shares_again_afterwards() {
    let server = RedisServer::start();
    let config = own_server(&server);
    let (here, there) = (node(&config).await, node(&config).await);
    here.take(&bucket(FEW)).await;

    server.pause();
    let begun = Instant::now();
    let alone: Vec<bool> = {
        let mut passed = Vec::new();
        for _ in 0..1000 {
            passed.push(here.take(&bucket(FEW)).await.is_allowed());
        }
        passed
    };
    assert!(begun.elapsed() < Duration::from_secs(5), "one caller waits for a moment, and the others for nothing");
    assert_eq!(alone.iter().filter(|passed| **passed).count(), 5, "a node alone keeps the quota too");
    assert_eq!((here.fallbacks(), here.is_shared()), (1000, false));
    server.resume();

    until("the limits are shared again", async || here.is_shared()).await;
    let counted = here.fallbacks();
    let verdict = here.take(&bucket(FEW)).await;
    // What was asked while it stood still may have been counted when it went on: once, since nobody asked again.
    assert!((2..=3).contains(&verdict.remaining), "{verdict:?}");
    until("the other one does", async || there.is_shared()).await;
    assert_eq!(there.take(&bucket(FEW)).await.remaining, verdict.remaining - 1);
    assert_eq!(here.fallbacks(), counted);
}

#[tokio::test]
#[ignore = "needs WW_TEST_REDIS_URL"]
async fn a_server_that_is_killed_and_started_again_is_found_again() {
    let server = RedisServer::start();
    let config = own_server(&server);
    let (here, there) = (node(&config).await, node(&config).await);
    assert_eq!((here.take(&bucket(FEW)).await.remaining, there.take(&bucket(FEW)).await.remaining), (4, 3));

    server.kill();
    let alone = [here.take(&bucket(FEW)).await, there.take(&bucket(FEW)).await].map(|verdict| verdict.remaining);
    assert_eq!(alone, [4, 4], "each begins to count by itself");
    assert_eq!((here.fallbacks(), there.fallbacks()), (1, 1));
    server.start_again();

    until("both share again", async || here.is_shared() && there.is_shared()).await;
    assert_eq!((here.take(&bucket(FEW)).await.remaining, there.take(&bucket(FEW)).await.remaining), (4, 3));
}

#[tokio::test]
#[ignore = "needs WW_TEST_REDIS_URL"]
async fn a_server_that_comes_after_the_node_is_found() {
    let server = RedisServer::start();
    server.kill();
    let limiter = stranger(&own_server(&server));
    assert_eq!(limiter.take(&bucket(FEW)).await.remaining, 4);
    assert_eq!(limiter.fallbacks(), 1);

    server.start_again();

    until("the limits are shared", async || limiter.is_shared()).await;
    assert_eq!((limiter.take(&bucket(FEW)).await.remaining, limiter.fallbacks()), (4, 1));
}
