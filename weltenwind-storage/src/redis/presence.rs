//! Who is where, on all nodes.
//!
//! A node has one lease, a key that runs out, and for each room one hash of those it has there; what changes is written, and
//! nothing else is. Everything of a room is hash-tagged by it, everything of a node by the node, so a cluster spreads both.
//! News go through one channel of sharded pub/sub, a message for everything that a node changed in one turn.

use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use redis::{
    AsyncConnectionConfig, Client, PushInfo, PushKind, RedisError, RedisResult, Script, Value,
    aio::MultiplexedConnection,
};
use serde::{Deserialize, Serialize};
use tokio::{
    sync::{Notify, broadcast},
    task::AbortHandle,
};
use weltenwind_core::{
    NodeId, Room, StorageError, chain,
    presence::{Beat, Flush, Member, PresenceNews, PresenceStore, RoomChange, Shard, Typing},
};

use super::{
    config::{RedisConfig, RedisConfigError},
    link::with_jitter,
};

/// How long connecting and every answer may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// News that a node may be behind.
const BACKLOG: usize = 4096;

/// Changes one node's members of a room: `KEYS` are the room's nodes and the node's members; `ARGV` are the node, the
/// sequence, whether the room is told as a whole, how many accounts are gone, those, then accounts and members in turn.
const CHANGE: &str = "
local nodes, members = KEYS[1], KEYS[2]
if ARGV[3] == '1' then redis.call('DEL', members) end
local gone = tonumber(ARGV[4])
for i = 5, 4 + gone do redis.call('HDEL', members, ARGV[i]) end
for i = 5 + gone, #ARGV, 2 do redis.call('HSET', members, ARGV[i], ARGV[i + 1]) end
if redis.call('EXISTS', members) == 1 then
    redis.call('HSET', nodes, ARGV[1], ARGV[2])
else
    redis.call('HDEL', nodes, ARGV[1])
end
return 1
";

/// Answers a room's nodes, the sequence of each and its members, at one moment. The names of the members' hashes begin as the
/// name of the room's nodes does, so all are in one place of a cluster.
const READ: &str = "
local nodes, shards = redis.call('HGETALL', KEYS[1]), {}
for i = 1, #nodes, 2 do
    shards[#shards + 1] = { nodes[i], nodes[i + 1], redis.call('HVALS', KEYS[1] .. ':' .. nodes[i]) }
end
return shards
";

/// [`PresenceStore`] over Redis 7 or newer.
///
/// While Redis is away every call fails at once, and nodes know their own sockets alone. A new connection is tried until one
/// answers; then news may have been missed, and that is told. Dropping the store ends the connection.
#[derive(Debug)]
pub struct RedisPresenceStore {
    shared: Arc<Shared>,
    keeper: AbortHandle,
}

struct Shared {
    client: Client,
    prefix: String,
    change: Script,
    read: Script,
    news: broadcast::Sender<PresenceNews>,
    link: RwLock<Option<Link>>,
}

/// The connection of the moment, and what says that it is no more: the end of an older one says nothing about this one.
#[derive(Clone)]
struct Link {
    redis: MultiplexedConnection,
    lost: Arc<Notify>,
}

/// News as one node tells another. What a newer node says beyond that is passed over.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Told {
    Flush(Flush),
    Typing(Typing),
}

/// There is no connection.
#[derive(Debug, thiserror::Error)]
#[error("Redis is away")]
struct Away;

impl RedisPresenceStore {
    /// Begins to connect, and does not wait for it. Must be called inside a Tokio runtime, and for `rediss://` with a default
    /// crypto provider of rustls installed.
    ///
    /// # Errors
    ///
    /// What is wrong with the configuration.
    pub fn connect(config: &RedisConfig) -> Result<Self, RedisConfigError> {
        let shared = Arc::new(Shared {
            client: config.client()?,
            prefix: config.key_prefix.clone(),
            change: Script::new(CHANGE),
            read: Script::new(READ),
            news: broadcast::Sender::new(BACKLOG),
            link: RwLock::default(),
        });
        let keeper = tokio::spawn(Arc::clone(&shared).keep_connected()).abort_handle();
        Ok(Self { shared, keeper })
    }

    /// Returns whether there is a connection, as far as is known without asking.
    pub fn is_connected(&self) -> bool {
        self.shared.is_up()
    }
}

impl Drop for RedisPresenceStore {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("prefix", &self.prefix).field("up", &self.is_up()).finish_non_exhaustive()
    }
}

impl Shared {
    fn link(&self, attempted: &'static str) -> Result<Link, StorageError> {
        let link = self.link.read().unwrap_or_else(PoisonError::into_inner).clone();
        link.ok_or_else(|| StorageError::transient(attempted, Away))
    }

    fn is_up(&self) -> bool {
        self.link.read().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// The channel of news.
    fn news_name(&self) -> String {
        format!("{}:presence:{{news}}", self.prefix)
    }

    /// The set of all nodes that left something here.
    fn nodes(&self) -> String {
        format!("{}:presence:{{nodes}}", self.prefix)
    }

    fn lease(&self, node: NodeId) -> String {
        format!("{}:presence:{{node:{node}}}:lease", self.prefix)
    }

    /// The set of rooms in which a node has somebody, or had.
    fn rooms_of(&self, node: NodeId) -> String {
        format!("{}:presence:{{node:{node}}}:rooms", self.prefix)
    }

    /// The hash of a room's nodes and their sequences; the members of each stand beside it.
    fn nodes_in(&self, room: &str) -> String {
        format!("{}:presence:{{{room}}}", self.prefix)
    }

    fn members(&self, room: &str, node: NodeId) -> String {
        format!("{}:{node}", self.nodes_in(room))
    }

    /// Connects as often as it takes; ends by being aborted.
    async fn keep_connected(self: Arc<Self>) {
        let (mut pause, mut is_told) = (FIRST_PAUSE, false);
        loop {
            match self.connection().await {
                Ok(link) => {
                    let lost = Arc::clone(&link.lost);
                    *self.link.write().unwrap_or_else(PoisonError::into_inner) = Some(link);
                    // Nobody hears it where nobody listens yet.
                    let _ = self.news.send(PresenceNews::Missed);
                    tracing::info!("who is where is shared with other nodes");
                    let since = Instant::now();
                    lost.notified().await;
                    *self.link.write().unwrap_or_else(PoisonError::into_inner) = None;
                    tracing::warn!("who is where is not shared: Redis is away");
                    is_told = true;
                    if since.elapsed() > LONGEST_PAUSE {
                        pause = FIRST_PAUSE;
                    }
                }
                Err(error) if is_told => tracing::debug!(error = chain(&error), "who is where is still not shared"),
                Err(error) => {
                    is_told = true;
                    tracing::warn!(error = chain(&error), "who is where is not shared: Redis is away");
                }
            }
            tokio::time::sleep(with_jitter(pause)).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn connection(&self) -> RedisResult<Link> {
        let lost = Arc::new(Notify::new());
        let ear = Ear { news: self.news.clone(), lost: Arc::clone(&lost), name: self.news_name() };
        let options = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(ANSWER_LIMIT))
            .set_response_timeout(Some(ANSWER_LIMIT))
            .set_push_sender(ear);
        let mut redis = self.client.get_multiplexed_async_connection_with_config(&options).await?;
        for script in [&self.change, &self.read] {
            script.load_async(&mut redis).await?;
        }
        redis::cmd("SSUBSCRIBE").arg(self.news_name()).exec_async(&mut redis).await?;
        Ok(Link { redis, lost })
    }

    async fn beat(
        &self,
        redis: &mut MultiplexedConnection,
        (node, sequence): (NodeId, u64),
        lease: Duration,
        is_first: bool,
    ) -> RedisResult<Beat> {
        let mut renew = redis::cmd("SET");
        renew.arg(self.lease(node)).arg(sequence);
        renew.arg("PX").arg(u64::try_from(lease.as_millis()).unwrap_or(u64::MAX));
        if !is_first {
            renew.arg("XX");
        }
        let renewed: Option<String> = renew.query_async(redis).await?;
        if is_first {
            redis::cmd("SADD").arg(self.nodes()).arg(node.to_string()).exec_async(redis).await?;
        }
        let names: Vec<String> = redis::cmd("SMEMBERS").arg(self.nodes()).query_async(redis).await?;
        let nodes: Vec<NodeId> = names.iter().filter_map(|name| name.parse().ok()).collect();
        // One command each: in a cluster, no two need live on the same shard.
        let mut ask = redis::pipe();
        for node in &nodes {
            ask.cmd("GET").arg(self.lease(*node));
        }
        let leases: Vec<Option<u64>> = if nodes.is_empty() { Vec::new() } else { ask.query_async(redis).await? };
        let mut beat = Beat { was_known: !is_first && renewed.is_some(), ..Beat::default() };
        for (node, lease) in nodes.into_iter().zip(leases) {
            match lease {
                Some(sequence) => beat.live.push((node, sequence)),
                None => beat.dead.push(node),
            }
        }
        Ok(beat)
    }

    async fn publish(&self, redis: &mut MultiplexedConnection, flush: &Flush) -> RedisResult<()> {
        let (node, mut commands) = (flush.node, redis::pipe());
        // Also whoever was buried meanwhile leaves nothing that nobody would bury again.
        commands.cmd("SADD").arg(self.nodes()).arg(node.to_string()).ignore();
        let rooms: Vec<String> = flush.changes.iter().map(|change| change.room.to_string()).collect();
        commands.cmd("SADD").arg(self.rooms_of(node)).arg(&rooms).ignore();
        for (RoomChange { whole, set, gone, .. }, room) in flush.changes.iter().zip(&rooms) {
            let call = commands.cmd("EVALSHA").arg(self.change.get_hash()).arg(2);
            call.arg(self.nodes_in(room)).arg(self.members(room, node)).arg(node.to_string()).arg(flush.sequence);
            call.arg(u8::from(*whole)).arg(gone.len());
            for account in gone {
                call.arg(account.to_string());
            }
            for member in set {
                call.arg(member.account.to_string()).arg(json(member));
            }
            call.ignore();
        }
        commands.cmd("SPUBLISH").arg(self.news_name()).arg(json(&Told::Flush(flush.clone()))).ignore();
        commands.exec_async(redis).await
    }

    async fn read(&self, redis: &mut MultiplexedConnection, rooms: &[Room]) -> RedisResult<Vec<Vec<Shard>>> {
        let mut commands = redis::pipe();
        for room in rooms {
            let name = self.nodes_in(&room.to_string());
            commands.cmd("EVALSHA").arg(self.read.get_hash()).arg(1).arg(name);
        }
        let read: Vec<Vec<(String, u64, Vec<String>)>> = commands.query_async(redis).await?;
        Ok(read.into_iter().map(|shards| shards.into_iter().filter_map(shard).collect()).collect())
    }

    async fn bury(&self, redis: &mut MultiplexedConnection, node: NodeId) -> RedisResult<()> {
        let rooms: Vec<String> = redis::cmd("SMEMBERS").arg(self.rooms_of(node)).query_async(redis).await?;
        let mut commands = redis::pipe();
        for room in rooms {
            commands.cmd("HDEL").arg(self.nodes_in(&room)).arg(node.to_string()).ignore();
            commands.cmd("DEL").arg(self.members(&room, node)).ignore();
        }
        commands.cmd("DEL").arg(self.rooms_of(node)).ignore();
        // Last of all: whoever is interrupted is found dead again.
        commands.cmd("SREM").arg(self.nodes()).arg(node.to_string()).ignore();
        commands.exec_async(redis).await
    }
}

/// Says what was being attempted when Redis failed. The connection is given up: the next one brings along what this one may
/// have lost, scripts too.
fn failed(attempted: &'static str, lost: &Notify) -> impl Fn(RedisError) -> StorageError {
    move |error| {
        lost.notify_one();
        StorageError::transient(attempted, error)
    }
}

fn json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("presence is plain data")
}

/// Reads what the script answers of one node; what is not readable was written by a newer version, and is passed over.
fn shard((node, version, members): (String, u64, Vec<String>)) -> Option<Shard> {
    let members = members.iter().filter_map(|member| serde_json::from_str::<Member>(member).ok()).collect();
    Some(Shard { node: node.parse().ok()?, version, members })
}

#[async_trait]
impl PresenceStore for RedisPresenceStore {
    async fn beat(&self, node: NodeId, sequence: u64, lease: Duration, is_first: bool) -> Result<Beat, StorageError> {
        let Link { mut redis, lost } = self.shared.link("give a sign of life")?;
        let beat = self.shared.beat(&mut redis, (node, sequence), lease, is_first).await;
        beat.map_err(failed("give a sign of life", &lost))
    }

    async fn publish(&self, flush: &Flush) -> Result<(), StorageError> {
        let Link { mut redis, lost } = self.shared.link("publish who is where")?;
        self.shared.publish(&mut redis, flush).await.map_err(failed("publish who is where", &lost))
    }

    async fn read(&self, rooms: &[Room]) -> Result<Vec<Vec<Shard>>, StorageError> {
        let Link { mut redis, lost } = self.shared.link("read who is where")?;
        self.shared.read(&mut redis, rooms).await.map_err(failed("read who is where", &lost))
    }

    async fn bury(&self, node: NodeId) -> Result<(), StorageError> {
        let Link { mut redis, lost } = self.shared.link("forget a dead node")?;
        self.shared.bury(&mut redis, node).await.map_err(failed("forget a dead node", &lost))
    }

    async fn tell(&self, typing: &Typing) {
        const ATTEMPTED: &str = "tell that somebody is writing";
        let Ok(Link { mut redis, lost }) = self.shared.link(ATTEMPTED) else { return };
        let mut command = redis::cmd("SPUBLISH");
        command.arg(self.shared.news_name()).arg(json(&Told::Typing(typing.clone())));
        if let Err(error) = command.exec_async(&mut redis).await.map_err(failed(ATTEMPTED, &lost)) {
            tracing::debug!(error = chain(&error), "nobody elsewhere hears that somebody is writing");
        }
    }

    fn listen(&self) -> broadcast::Receiver<PresenceNews> {
        self.shared.news.subscribe()
    }
}

/// Hears what Redis tells a connection.
struct Ear {
    news: broadcast::Sender<PresenceNews>,
    lost: Arc<Notify>,
    name: String,
}

impl redis::aio::AsyncPushSender for Ear {
    fn send(&self, push: PushInfo) -> Result<(), redis::aio::SendError> {
        match push.kind {
            PushKind::SMessage => self.hear(&push.data),
            PushKind::Disconnection => self.lost.notify_one(),
            _ => {}
        }
        Ok(())
    }
}

impl Ear {
    fn hear(&self, data: &[Value]) {
        let [Value::BulkString(name), Value::BulkString(payload)] = data else { return };
        if name != self.name.as_bytes() {
            return;
        }
        let news = match serde_json::from_slice(payload) {
            Ok(Told::Flush(flush)) => PresenceNews::Flush(Arc::new(flush)),
            Ok(Told::Typing(typing)) => PresenceNews::Typing(Arc::new(typing)),
            Err(error) => return tracing::debug!(%error, "news of another node are passed over"),
        };
        // Nobody listens where nobody has come yet.
        let _ = self.news.send(news);
    }
}
