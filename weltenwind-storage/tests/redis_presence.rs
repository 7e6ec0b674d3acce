//! Presence over Redis: the suite on two connections to one server, and what becomes of nodes when it fails.
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

use redis_server::RedisServer;
use weltenwind_core::{
    AccountId, Room, Sources, WorldId,
    accounts::DisplayName,
    presence::{Presence, PresenceConfig, PresenceEvent, PresenceWatch, SocketId, conformance::Stores},
};
use weltenwind_storage::{RedisConfig, RedisPresenceStore};

/// Longer than anything here takes on the slowest machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// The server that all tests share, under names of a test's own.
fn shared_server() -> RedisConfig {
    static TESTS: AtomicU32 = AtomicU32::new(0);
    let url = std::env::var("WW_TEST_REDIS_URL")
        .expect("WW_TEST_REDIS_URL names a Redis; scripts/with-services starts a throw-away one");
    let key_prefix = format!("ww-presence-{}-{}", std::process::id(), TESTS.fetch_add(1, Ordering::Relaxed));
    RedisConfig { url, key_prefix, ..RedisConfig::default() }
}

fn own_server(server: &RedisServer) -> RedisConfig {
    RedisConfig { url: server.url(), ..RedisConfig::default() }
}

async fn connected(config: &RedisConfig) -> Arc<RedisPresenceStore> {
    let store = Arc::new(RedisPresenceStore::connect(config).expect("the configuration is sound"));
    until("the store is connected", async || store.is_connected()).await;
    store
}

async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let wait = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("in time, {what}"));
}

async fn stores() -> ((), Stores) {
    let config = shared_server();
    ((), Stores { here: connected(&config).await, there: connected(&config).await })
}

mod redis_suite {
    use super::stores;

    weltenwind_core::presence_store_conformance!(stores(), ignore = "needs WW_TEST_REDIS_URL");
}

/// A node that runs until it is killed.
struct Node {
    presence: Arc<Presence>,
    running: tokio::task::JoinHandle<()>,
}

impl Node {
    async fn start(config: &RedisConfig) -> Self {
        let store = connected(config).await;
        let presence = Arc::new(Presence::new(store, PresenceConfig::default(), Sources::default()));
        let running = tokio::spawn({
            let presence = presence.clone();
            async move { presence.run().await }
        });
        Self { presence, running }
    }

    async fn enter(&self, account: u128) {
        let socket = SocketId(u64::try_from(account).expect("it is small"));
        self.presence.enter(world(), socket, id(account), &DisplayName::new("Mira").expect("a name")).await;
    }

    async fn sees(&self, accounts: &[u128]) {
        let expected: BTreeSet<AccountId> = accounts.iter().copied().map(id).collect();
        until(&format!("{accounts:?} are seen"), async || {
            let snapshot = self.presence.snapshot(world());
            snapshot.members.iter().map(|member| member.account).collect::<BTreeSet<_>>() == expected
        })
        .await;
    }

    /// What a SIGKILL leaves: nothing is said any more.
    fn kill(self) {
        self.running.abort();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.running.abort();
    }
}

fn world() -> Room {
    Room::World(WorldId::new(uuid::Uuid::from_u128(1)))
}

fn id(n: u128) -> AccountId {
    AccountId::new(uuid::Uuid::from_u128(n))
}

/// Whoever was told to have left since the last time.
fn left(watch: &mut PresenceWatch) -> Vec<AccountId> {
    let mut left = Vec::new();
    while let Some(event) = watch.next_ready() {
        if let PresenceEvent::Changed(diff) = event {
            left.extend(&diff.leave);
        }
    }
    left
}

#[tokio::test]
#[ignore = "needs WW_TEST_REDIS_URL"]
async fn members_of_a_killed_node_are_gone_and_its_names_too() {
    let config = shared_server();
    let (here, there) = (Node::start(&config).await, Node::start(&config).await);
    here.enter(1).await;
    there.enter(2).await;
    there.enter(3).await;
    here.sees(&[1, 2, 3]).await;

    there.kill();
    here.sees(&[1]).await;

    let client = redis::Client::open(config.url.as_str()).expect("a URL");
    let mut admin = client.get_multiplexed_async_connection().await.expect("the server answers");
    until("only the names of the node that lives are left", async || {
        let mut admin = admin.clone();
        let pattern = format!("{}:presence:*", config.key_prefix);
        let keys: Vec<String> = redis::cmd("KEYS").arg(pattern).query_async(&mut admin).await.expect("the names");
        // The nodes, the room's nodes, and of the one that lives: its lease, its rooms and its members there.
        keys.len() == 5
    })
    .await;
    redis::cmd("PING").exec_async(&mut admin).await.expect("the server answers");
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_redis_that_lost_everything_is_filled_again_and_nobody_seemed_to_leave() {
    let server = RedisServer::start();
    let config = own_server(&server);
    let (here, there) = (Node::start(&config).await, Node::start(&config).await);
    let (_, mut watch) = here.presence.watch(world()).await;
    here.enter(1).await;
    there.enter(2).await;
    here.sees(&[1, 2]).await;

    server.kill();
    here.enter(3).await;
    here.sees(&[1, 2, 3]).await;
    server.start_again();

    there.sees(&[1, 2, 3]).await;
    let late = Node::start(&config).await;
    late.sees(&[]).await;
    let (_, _watch) = late.presence.watch(world()).await;
    late.sees(&[1, 2, 3]).await;
    assert_eq!(left(&mut watch), []);
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_redis_that_stands_still_holds_nobody_up_for_long() {
    let server = RedisServer::start();
    let config = own_server(&server);
    let (here, there) = (Node::start(&config).await, Node::start(&config).await);
    here.enter(1).await;
    there.enter(2).await;
    here.sees(&[1, 2]).await;

    server.pause();
    here.enter(3).await;
    here.sees(&[1, 2, 3]).await;
    server.resume();

    there.sees(&[1, 2, 3]).await;
}
