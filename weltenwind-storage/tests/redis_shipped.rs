//! The configuration of Redis that is shipped: it loads, and does what it says.
#![cfg(feature = "redis")]

mod redis_server;

use std::{collections::HashMap, sync::Arc, time::Duration};

use redis::aio::MultiplexedConnection;
use redis_server::RedisServer;
use weltenwind_core::{
    AccountId, Room, SystemClock,
    bus::{Bus, RoomEvent},
    limits::{Bucket, LimitKey, Policy, Quota, RateLimiter, Unit},
};
use weltenwind_storage::{RedisBus, RedisConfig, RedisRateLimiter};

/// Longer than anything here takes on the slowest machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Nothing of it comes back while a test runs.
const ONCE: Quota = Quota::per(1, Unit::Day).burst(1);

fn shipped() -> RedisServer {
    RedisServer::start_with(&[concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/redis/weltenwind.conf")])
}

fn config(server: &RedisServer) -> RedisConfig {
    RedisConfig { url: server.url(), ..RedisConfig::default() }
}

async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let wait = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("in time, {what}"));
}

async fn admin(server: &RedisServer) -> MultiplexedConnection {
    let client = redis::Client::open(server.url()).expect("a URL");
    client.get_multiplexed_async_connection().await.expect("the server answers")
}

async fn limiter(server: &RedisServer) -> RedisRateLimiter {
    let limiter = RedisRateLimiter::connect(&config(server), Arc::new(SystemClock)).expect("a sound configuration");
    until("the limits are shared", async || limiter.is_shared()).await;
    limiter
}

fn bucket(account: u128) -> Bucket {
    Bucket { policy: Policy::Chat, key: LimitKey::Account(AccountId::new(uuid::Uuid::from_u128(account))), quota: ONCE }
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn the_shipped_configuration_is_taken_as_it_stands() {
    let server = shipped();

    let taken: HashMap<String, String> =
        redis::cmd("CONFIG").arg("GET").arg("*").query_async(&mut admin(&server).await).await.expect("the settings");

    for (name, value) in [
        ("maxmemory", "268435456"),
        ("maxmemory-policy", "noeviction"),
        ("appendonly", "yes"),
        ("appendfsync", "everysec"),
        ("save", ""),
        ("tcp-keepalive", "60"),
        ("timeout", "0"),
    ] {
        assert_eq!(taken[name], value, "{name}");
    }
    assert!(taken["client-output-buffer-limit"].contains("pubsub 33554432 8388608 60"));
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_quota_that_is_spent_is_spent_after_redis_was_killed() {
    let server = shipped();
    assert!(limiter(&server).await.take(&bucket(1)).await.is_allowed());

    server.kill();
    server.start_again();

    // One that knows nothing itself.
    let limiter = limiter(&server).await;
    assert!(!limiter.take(&bucket(1)).await.is_allowed());
    assert!(limiter.take(&bucket(2)).await.is_allowed());
    assert_eq!(limiter.fallbacks(), 0);
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_redis_that_is_full_throws_nothing_away_and_stops_nobody() {
    let server = shipped();
    let mut admin = admin(&server).await;
    let limiter = limiter(&server).await;
    assert!(limiter.take(&bucket(1)).await.is_allowed());
    let nodes = [(); 2].map(|()| RedisBus::connect(&config(&server)).expect("a sound configuration"));
    let event = Arc::new(RoomEvent::sample(1, 1));
    let mut listener = nodes[1].subscribe(Room::Channel(event.channel())).await;
    for node in &nodes {
        until("the bus is connected", async || node.counts().round_trip.is_some()).await;
    }
    while listener.try_next().is_err() {}

    let full = ["SET", "maxmemory", "1"];
    redis::cmd("CONFIG").arg(&full[..]).exec_async(&mut admin).await.expect("there is no more room");
    assert!(limiter.take(&bucket(2)).await.is_allowed(), "the node decides alone");
    assert_eq!(limiter.fallbacks(), 1);
    nodes[0].publish(Arc::clone(&event)).await;
    let heard = tokio::time::timeout(PATIENCE, listener.next()).await.expect("in time").expect("nothing was missed");
    assert_eq!(heard.message.change, event.message.change, "messages cross");

    let room = ["SET", "maxmemory", "268435456"];
    redis::cmd("CONFIG").arg(&room[..]).exec_async(&mut admin).await.expect("there is room again");
    until("the limits are shared", async || limiter.is_shared()).await;
    assert!(!limiter.take(&bucket(1)).await.is_allowed(), "it was kept");
    assert_eq!(limiter.fallbacks(), 1);
}
