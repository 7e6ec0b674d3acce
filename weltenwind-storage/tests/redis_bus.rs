//! The bus over Redis: the suite on two nodes that share a server, and what becomes of them when it fails.
#![cfg(feature = "redis")]

mod redis_server;

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use redis::aio::MultiplexedConnection;
use redis_server::RedisServer;
use weltenwind_core::{
    Room,
    bus::{Bus, BusLag, RoomEvent, Subscription, conformance::Nodes},
    chat::NewChannel,
};
use weltenwind_storage::{RedisBus, RedisConfig};

/// Longer than anything here takes on the slowest machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// The server that all tests share, under names of a test's own.
fn shared_server() -> RedisConfig {
    static TESTS: AtomicU32 = AtomicU32::new(0);
    let url = std::env::var("WW_TEST_REDIS_URL")
        .expect("WW_TEST_REDIS_URL names a Redis; scripts/with-services starts a throw-away one");
    let key_prefix = format!("ww-test-{}-{}", std::process::id(), TESTS.fetch_add(1, Ordering::Relaxed));
    RedisConfig { url, key_prefix, linger_seconds: 1 }
}

fn own_server(server: &RedisServer) -> RedisConfig {
    RedisConfig { url: server.url(), ..RedisConfig::default() }
}

/// A node that is connected.
async fn node(config: &RedisConfig) -> RedisBus {
    let bus = RedisBus::connect(config).expect("the configuration is sound");
    is_there(&bus).await;
    bus
}

async fn is_there(bus: &RedisBus) {
    until("the bus is connected", async || bus.check().is_ok() && bus.counts().round_trip.is_some()).await;
}

async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let wait = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("in time, {what}"));
}

async fn two_nodes(config: &RedisConfig) -> (RedisBus, RedisBus) {
    (node(config).await, node(config).await)
}

async fn nodes() -> ((), Nodes) {
    let (here, there) = two_nodes(&shared_server()).await;
    ((), Nodes { here: Arc::new(here), there: Arc::new(there) })
}

fn event(change: i64) -> Arc<RoomEvent> {
    Arc::new(RoomEvent::sample(1, change))
}

fn room() -> Room {
    Room::Channel(event(1).channel())
}

async fn next(listener: &mut Subscription) -> Result<i64, BusLag> {
    let next = tokio::time::timeout(PATIENCE, listener.next()).await.expect("something is heard in time");
    next.map(|event| event.message.change.get())
}

/// Publishes until the listener hears of it, and answers what it heard before: a lag, as a rule.
async fn reaches(bus: &RedisBus, listener: &mut Subscription, change: i64) -> bool {
    let mut lagged = false;
    let reach = async {
        loop {
            bus.publish(event(change)).await;
            match tokio::time::timeout(Duration::from_millis(200), listener.next()).await {
                Ok(Ok(event)) if event.message.change.get() == change => return,
                Ok(Err(BusLag)) => lagged = true,
                _ => {}
            }
        }
    };
    tokio::time::timeout(PATIENCE, reach).await.expect("events cross again");
    lagged
}

mod redis_suite {
    use super::nodes;

    weltenwind_core::bus_conformance!(nodes(), ignore = "needs WW_TEST_REDIS_URL");
}

async fn admin(config: &RedisConfig) -> MultiplexedConnection {
    let client = redis::Client::open(config.url.as_str()).expect("a URL");
    client.get_multiplexed_async_connection().await.expect("the server answers")
}

/// The partitions that somebody follows under the names of this test.
async fn followed(config: &RedisConfig) -> Vec<String> {
    let pattern = format!("{}:{{rooms:*", config.key_prefix);
    let mut admin = admin(config).await;
    redis::cmd("PUBSUB").arg("SHARDCHANNELS").arg(pattern).query_async(&mut admin).await.expect("the list of channels")
}

#[tokio::test]
#[ignore = "needs WW_TEST_REDIS_URL"]
async fn a_partition_is_followed_once_for_all_its_listeners_and_left_some_time_after_the_last() {
    let config = shared_server();
    let bus = node(&config).await;
    assert!(followed(&config).await.is_empty());

    let listeners = [bus.subscribe(room()).await, bus.subscribe(room()).await];

    let names = followed(&config).await;
    let [name] = &names[..] else { panic!("one partition: {names:?}") };
    let mut admin = admin(&config).await;
    let counted: (String, u64) =
        redis::cmd("PUBSUB").arg("SHARDNUMSUB").arg(name).query_async(&mut admin).await.expect("a count");
    assert_eq!(counted.1, 1);
    drop(listeners);
    assert!(!followed(&config).await.is_empty(), "players come back");
    until("the partition is left", async || followed(&config).await.is_empty()).await;
    let mut back = bus.subscribe(room()).await;
    let other = node(&config).await;
    other.publish(event(1)).await;
    assert_eq!(next(&mut back).await, Ok(1));
}

#[tokio::test]
#[ignore = "needs WW_TEST_REDIS_URL"]
async fn what_a_newer_node_says_is_passed_over_and_counted() {
    let config = shared_server();
    let (here, there) = two_nodes(&config).await;
    let mut listener = there.subscribe(room()).await;

    let mut admin = admin(&config).await;
    let [name] = &followed(&config).await[..] else { panic!("one partition") };
    let channel = event(1).channel().uuid().into_bytes();
    let newer = [[b"another!", &channel[..], b"2{}"].concat(), [b"another!", &channel[..], b"1{"].concat()];
    for newer in newer.iter().map(Vec::as_slice).chain([&b"another!2{}"[..], b"short"]) {
        redis::cmd("SPUBLISH").arg(name).arg(newer).exec_async(&mut admin).await.expect("it is published");
    }
    here.publish(event(2)).await;

    assert_eq!(next(&mut listener).await, Ok(2));
    let counts = there.counts();
    assert_eq!((counts.unreadable, counts.received, counts.published, counts.dropped), (4, 1, 0, 0));
    until("the answer has come", async || here.counts().published == 1).await;
    assert_eq!(here.counts().received, 0);
}

/// Many rooms, so that some of them share any partition.
fn rooms() -> impl Iterator<Item = Room> {
    (1..=2000).map(|n| Room::Channel(NewChannel::sample(n).id))
}

#[tokio::test]
#[ignore = "needs WW_TEST_REDIS_URL"]
async fn what_happens_in_other_rooms_of_a_partition_is_passed_over_unread() {
    let config = shared_server();
    let (here, there) = two_nodes(&config).await;
    let mut listener = there.subscribe(room()).await;
    let [name] = &followed(&config).await[..] else { panic!("one partition") };

    for n in 2..=2000 {
        here.publish(Arc::new(RoomEvent::sample(n, 1))).await;
    }
    let nothing = [b"another!", &NewChannel::sample(2).id.uuid().into_bytes()[..], b"1{"].concat();
    let mut admin = admin(&config).await;
    until("all are published", async || here.counts().published == 1999).await;
    redis::cmd("SPUBLISH").arg(name).arg(nothing).exec_async(&mut admin).await.expect("it is published");
    here.publish(event(2)).await;

    assert_eq!(next(&mut listener).await, Ok(2));
    let counts = there.counts();
    assert_eq!((counts.received, counts.unreadable), (1, 0));
    assert!((2..100).contains(&counts.unheard), "those of one partition of many: {counts:?}");
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_new_connection_asks_for_few_names_and_all_rooms_are_heard_again() {
    let server = RedisServer::start();
    let config = own_server(&server);
    let (here, there) = two_nodes(&config).await;
    let mut listeners = Vec::new();
    for room in rooms() {
        listeners.push(there.subscribe(room).await);
    }
    let names = followed(&config).await.len();
    let mut admin = admin(&config).await;

    redis::cmd("CONFIG").arg("RESETSTAT").exec_async(&mut admin).await.expect("it is counted anew");
    redis::cmd("CLIENT").arg(&["KILL", "TYPE", "pubsub"][..]).exec_async(&mut admin).await.expect("they are cut");
    until("both are back", async || here.counts().reconnects == 1 && there.counts().reconnects == 1).await;
    is_there(&here).await;
    is_there(&there).await;

    let told: String = redis::cmd("INFO").arg("commandstats").query_async(&mut admin).await.expect("what was counted");
    let asked = told.split_once("cmdstat_ssubscribe:calls=").and_then(|(_, calls)| calls.split_once(','));
    let asked: usize = asked.expect("it was asked").0.parse().expect("a number");
    // The nodes' own three names each, and the partitions of all rooms once.
    assert_eq!((names, asked), (128, 128 + 2 * 3));
    for (n, mut listener) in (1..).zip(listeners) {
        assert_eq!(next(&mut listener).await, Err(BusLag), "what came meanwhile is lost, and known to be");
        if n % 100 == 0 {
            here.publish(Arc::new(RoomEvent::sample(n, 5))).await;
            assert_eq!(next(&mut listener).await, Ok(5));
        }
    }
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_cluster_takes_every_name_and_has_the_partitions_evenly() {
    let server = RedisServer::start_cluster();
    let config = own_server(&server);
    let mut admin = admin(&config).await;
    let slots = ["ADDSLOTSRANGE", "0", "16383"];
    redis::cmd("CLUSTER").arg(&slots[..]).exec_async(&mut admin).await.expect("it has all slots");
    until("the cluster is whole", async || {
        let mut admin = admin.clone();
        let told: String = redis::cmd("CLUSTER").arg("INFO").query_async(&mut admin).await.expect("an answer");
        told.contains("cluster_state:ok")
    })
    .await;
    let (here, there) = two_nodes(&config).await;

    let mut listeners = Vec::new();
    for room in rooms() {
        listeners.push(there.subscribe(room).await);
    }
    here.publish(event(1)).await;
    assert_eq!(next(&mut listeners[0]).await, Ok(1));
    let mut slots = BTreeSet::new();
    for name in followed(&config).await {
        let slot: u32 = redis::cmd("CLUSTER").arg("KEYSLOT").arg(name).query_async(&mut admin).await.expect("a slot");
        slots.insert(slot);
    }

    assert_eq!(slots.len(), 128, "each lies on a slot of its own");
    for shards in [2, 3, 4, 6, 8] {
        let mut parts = vec![0_u32; shards as usize];
        for slot in &slots {
            parts[(slot * shards / 16_384) as usize] += 1;
        }
        let (least, most) = (parts.iter().min().expect("some"), parts.iter().max().expect("some"));
        assert!(most - least <= 3, "{parts:?}");
    }
}

#[tokio::test]
#[ignore = "needs WW_TEST_REDIS_URL"]
async fn installations_under_other_prefixes_do_not_hear_each_other() {
    let (here, there) = (node(&shared_server()).await, node(&shared_server()).await);
    let mut listener = there.subscribe(room()).await;

    here.publish(event(1)).await;
    until("it is published", async || here.counts().published == 1).await;
    there.publish(event(2)).await;

    assert_eq!(next(&mut listener).await, Ok(2));
    assert_eq!(there.counts().received, 0);
}

#[tokio::test]
#[ignore = "needs WW_TEST_REDIS_URL"]
async fn a_cut_connection_is_told_as_a_lag_and_made_again() {
    let server = RedisServer::start();
    let config = own_server(&server);
    let (here, there) = two_nodes(&config).await;
    let mut listener = there.subscribe(room()).await;
    here.publish(event(1)).await;
    assert_eq!(next(&mut listener).await, Ok(1));

    let mut admin = admin(&config).await;
    let killed: u32 = redis::cmd("CLIENT")
        .arg(&["KILL", "TYPE", "pubsub"][..])
        .query_async(&mut admin)
        .await
        .expect("the connections are cut");

    assert_eq!(killed, 2);
    assert_eq!(next(&mut listener).await, Err(BusLag), "what came meanwhile is lost, and known to be");
    until("both are back", async || here.counts().reconnects == 1 && there.counts().reconnects == 1).await;
    is_there(&here).await;
    here.publish(event(2)).await;
    assert_eq!(next(&mut listener).await, Ok(2));
}

#[tokio::test]
#[ignore = "needs WW_TEST_REDIS_URL"]
async fn a_server_that_is_killed_and_started_again_is_found_again() {
    let server = RedisServer::start();
    let (here, there) = two_nodes(&own_server(&server)).await;
    let mut before = there.subscribe(room()).await;

    server.kill();
    until("the end is noticed", async || here.check().is_err() && there.check().is_err()).await;
    let mut meanwhile = there.subscribe(room()).await;
    let mut at_home = here.subscribe(room()).await;
    here.publish(event(1)).await;
    assert_eq!(next(&mut at_home).await, Ok(1), "a node alone still speaks to its own");
    assert_eq!(here.counts().dropped, 1);
    server.start_again();

    assert!(reaches(&here, &mut before, 2).await, "who listened before is told of the lag");
    assert!(reaches(&here, &mut meanwhile, 3).await, "so is who came while it was away");
}

#[tokio::test]
#[ignore = "needs WW_TEST_REDIS_URL"]
async fn a_server_that_stands_still_holds_nobody_up() {
    let server = RedisServer::start();
    let (here, there) = two_nodes(&own_server(&server)).await;
    let mut at_home = here.subscribe(room()).await;
    let mut elsewhere = there.subscribe(room()).await;

    server.pause();
    let begun = std::time::Instant::now();
    for n in 1..=10_000 {
        here.publish(event(n)).await;
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "publishing waits for nobody");
    assert_eq!(next(&mut at_home).await, Err(BusLag), "it was slow, and hears the newest all the same");
    let joined = tokio::time::timeout(Duration::from_secs(5), here.subscribe(Room::Global)).await;
    assert!(joined.is_ok(), "joining waits a second at most");
    until("silence is noticed", async || here.check().is_err() && there.check().is_err()).await;
    server.resume();

    assert!(reaches(&here, &mut elsewhere, 20_000).await, "there was a lag");
    let counts = here.counts();
    assert!(counts.dropped > 0 && counts.published + counts.dropped >= 10_000, "{counts:?}");
}

#[tokio::test]
#[ignore = "needs WW_TEST_REDIS_URL"]
async fn a_server_that_comes_after_the_nodes_is_found() {
    let server = RedisServer::start();
    server.kill();
    let config = own_server(&server);
    let (here, there) = (RedisBus::connect(&config).unwrap(), RedisBus::connect(&config).unwrap());
    let mut listener = there.subscribe(room()).await;
    until("the reason is told", async || here.check().is_err_and(|away| away.0.contains("refused"))).await;

    server.start_again();

    reaches(&here, &mut listener, 1).await;
    assert_eq!(here.check(), Ok(()));
}
