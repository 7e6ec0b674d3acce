//! Two nodes on one Postgres with a Redis between: players on both share a room, whatever fails.
//!
//! Under load, a node is killed, Redis is killed, stands still, answers nobody, forgets everything. Afterwards every
//! listener, also one that changed nodes all the time, has heard every message once and in order, and each that was
//! acknowledged is among them. Operators see that Redis is away, and who is there is soon right again.

mod fixture;
#[path = "../../weltenwind-storage/tests/redis_server/mod.rs"]
mod redis_server;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use fixture::{Guest, PATIENCE, Server, Socket, Store};
use redis_server::RedisServer;
use serde_json::{Value, json};
use tokio::task::JoinSet;

/// Acknowledged messages before something fails, and again after it was mended.
const ACKNOWLEDGED: u32 = 300;
/// Within which all nodes agree again on who is there.
const SOON: Duration = Duration::from_secs(10);

/// What a test does to two nodes, and what all that run beside it share.
struct Town {
    store: Store,
    redis: RedisServer,
    nodes: RwLock<[Arc<Server>; 2]>,
    channel: String,
    acknowledged: AtomicU32,
    is_over: AtomicBool,
    /// The number of the last message, once nobody posts any more.
    last: AtomicI64,
}

/// An acknowledged message: who wrote it, what it said, and the number it was given.
type Acknowledged = (String, String, i64);

impl Town {
    async fn start() -> Self {
        let (store, redis) = (Store::postgres().await, RedisServer::start());
        let nodes = [(); 2].map(|()| Arc::new(serve(&store, &redis)));
        let channel = nodes[0].general().await;
        let (acknowledged, is_over, last) = (AtomicU32::new(0), AtomicBool::new(false), AtomicI64::new(0));
        Self { store, redis, nodes: RwLock::new(nodes), channel, acknowledged, is_over, last }
    }

    fn node(&self, n: usize) -> Arc<Server> {
        Arc::clone(&self.nodes.read().unwrap_or_else(PoisonError::into_inner)[n % 2])
    }

    fn room(&self) -> String {
        format!("channel:{}", self.channel)
    }

    fn acknowledge(&self) {
        self.acknowledged.fetch_add(1, Ordering::SeqCst);
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::SeqCst)
    }

    async fn until_more_is_acknowledged(&self) {
        let enough = self.acknowledged.load(Ordering::SeqCst) + ACKNOWLEDGED;
        until("posts are acknowledged", async || self.acknowledged.load(Ordering::SeqCst) >= enough).await;
    }
}

fn serve(store: &Store, redis: &RedisServer) -> Server {
    let redis = format!("redis.url={}", redis.url());
    // One address for both, as behind a balancer: a token of one node holds on the other.
    store.serve(&["--set", &redis, "--set", "public_url=http://wind.test"])
}

async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let wait = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("in time, {what}"));
}

/// Waits until both nodes tell their operators the same of the bus. They are ready all along: the store is the truth.
async fn until_the_bus_is(town: &Town, status: &str) {
    let is_there = status == "ok";
    for n in 0..2 {
        until(&format!("the bus is {status}"), async || {
            let node = town.node(n);
            let ready = reqwest::get(format!("{}/readyz", node.operations)).await.expect("an answer");
            if ready.status().as_u16() != 200 {
                return false;
            }
            let ready: Value = ready.json().await.expect("a body");
            let checks = ready["checks"].as_array().expect("checks");
            let bus = checks.iter().find(|check| check["name"] == "bus").expect("a check of the bus");
            let is_up = node.metric("weltenwind_bus_up").await > 0.0;
            bus["status"] == status && bus["roundTripSeconds"].is_number() == is_there && is_up == is_there
        })
        .await;
    }
}

/// People who sit in the room of everybody, one on each node, and who of them was told to have left.
struct Sitters {
    ids: Vec<String>,
    left: Arc<Mutex<Vec<Value>>>,
    /// Ends with this.
    sitting: JoinSet<()>,
}

impl Sitters {
    async fn sit(town: &Town) -> Self {
        let mut sitters = Self { ids: Vec::new(), left: Arc::default(), sitting: JoinSet::new() };
        for n in 0..2 {
            sitters.seat(town, n, &format!("Sitter {n}")).await;
        }
        sitters.are_all_seen(town).await;
        sitters
    }

    async fn seat(&mut self, town: &Town, node: usize, name: &str) {
        let guest = town.node(node).guest(name).await;
        let (mut socket, _) = look(&town.node(node), &guest).await;
        let left = Arc::clone(&self.left);
        self.sitting.spawn(async move {
            while let Some(record) = socket.next().await {
                let gone = record["leave"].as_array().cloned().unwrap_or_default();
                left.lock().unwrap_or_else(PoisonError::into_inner).extend(gone);
            }
        });
        self.ids.push(guest.id);
    }

    async fn are_all_seen(&self, town: &Town) {
        for n in 0..2 {
            let guest = town.node(n).guest("Looker").await;
            until("everybody is seen", async || {
                let (_, members) = look(&town.node(n), &guest).await;
                self.ids.iter().all(|id| members.contains(id))
            })
            .await;
        }
    }

    /// Has somebody come to each node: all nodes see all who are there, within the time that is promised.
    async fn are_soon_right(&mut self, town: &Town) {
        let begun = Instant::now();
        for n in 0..2 {
            self.seat(town, n, "Newcomer").await;
        }
        self.are_all_seen(town).await;
        assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    }

    /// Whether one of them was told to have left, who never did.
    fn seemed_to_leave(&self) -> bool {
        let left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        self.ids.iter().any(|id| left.iter().any(|gone| gone == id))
    }
}

/// Comes to a node and learns who is in the room of everybody.
async fn look(node: &Server, guest: &Guest) -> (Socket, Vec<String>) {
    let mut socket = node.socket(guest).await;
    socket.send(&json!({ "t": "join", "id": 1, "room": "global" })).await;
    let joined = socket.next_of("joined").await;
    let members = joined["presence"]["members"].as_array().expect("members");
    let ids = members.iter().map(|member| member["id"].as_str().expect("an id").to_owned()).collect();
    (socket, ids)
}

/// Posts over HTTP to one node, each message until it is acknowledged.
async fn post_over_http(town: Arc<Town>, guest: Guest, node: usize) -> Vec<Acknowledged> {
    let path = format!("/api/v1/channels/{}/messages", town.channel);
    let mut acknowledged = Vec::new();
    for n in 0.. {
        let body = format!("http {n}");
        let message = json!({ "body": body, "clientId": format!("http-{n}") });
        loop {
            if let Some((status, answer)) = town.node(node).try_post(&path, &guest.token, &message).await {
                assert!(status == 201 || status == 200, "{answer}");
                acknowledged.push((guest.id.clone(), body, answer["seq"].as_i64().expect("a number")));
                town.acknowledge();
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        if town.is_over() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    acknowledged
}

/// Posts over a socket to one node, each message until it is acknowledged.
async fn post_over_socket(town: Arc<Town>, guest: Guest, node: usize) -> Vec<Acknowledged> {
    let mut acknowledged = Vec::new();
    let mut socket = None;
    let mut n = 0;
    while !town.is_over() {
        if socket.is_none() {
            socket = join(&town, &guest, node, None).await;
        }
        let body = format!("socket {n}");
        let publish =
            json!({ "t": "pub", "id": n, "room": town.room(), "clientId": format!("socket-{n}"), "body": body });
        let answer = match &mut socket {
            Some(socket) => ask(socket, &publish).await,
            None => None,
        };
        let Some(answer) = answer else {
            socket = None;
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        acknowledged.push((guest.id.clone(), body, answer["message"]["seq"].as_i64().expect("a number")));
        town.acknowledge();
        n += 1;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    acknowledged
}

/// The answer to a request; none once the socket is closed.
async fn ask(socket: &mut Socket, request: &Value) -> Option<Value> {
    if !socket.try_send(request).await {
        return None;
    }
    loop {
        let record = socket.next().await?;
        assert_ne!(record["t"], "err", "{record}");
        if record["t"] == "ok" {
            return Some(record);
        }
    }
}

/// Joins the room on a node; none if it is away.
async fn join(town: &Town, guest: &Guest, node: usize, since: Option<&str>) -> Option<Socket> {
    let mut socket = town.node(node).socket_if_alive(guest).await?;
    let mut join = json!({ "t": "join", "id": 1, "room": town.room() });
    if let Some(since) = since {
        join["since"] = since.into();
    }
    if !socket.try_send(&join).await {
        return None;
    }
    loop {
        let record = socket.next().await?;
        assert_ne!(record["t"], "err", "{record}");
        if record["t"] == "joined" {
            assert!(since.is_none() || record["recovered"] == true, "{record}");
            return Some(socket);
        }
    }
}

/// Listens on a node and comes back by cursor whenever its socket breaks; one that roams changes nodes after so many
/// messages. It answers the messages that it heard, which must be all that there are, in their order.
async fn listen(town: Arc<Town>, guest: Guest, mut node: usize, roams_after: Option<usize>) -> Vec<Value> {
    let mut heard: Vec<Value> = Vec::new();
    // From the beginning: nothing has been posted when the first of them comes.
    let mut cursor: Option<String> = None;
    'sockets: loop {
        let Some(mut socket) = join(&town, &guest, node, cursor.as_deref()).await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let mut heard_here = 0;
        loop {
            let last = town.last.load(Ordering::SeqCst);
            if last > 0 && heard.len() == usize::try_from(last).expect("a count") {
                return heard;
            }
            let Ok(record) = tokio::time::timeout(Duration::from_millis(100), socket.next()).await else { continue };
            let Some(record) = record else { continue 'sockets };
            assert_ne!(record["t"], "gap", "nothing is out of the window");
            if record["t"] != "msg" {
                continue;
            }
            assert_eq!(record["seq"], heard.len() + 1, "after {:?}", heard.last());
            cursor = Some(record["cursor"].as_str().expect("a cursor").to_owned());
            heard.push(record["message"].clone());
            heard_here += 1;
            if roams_after.is_some_and(|after| heard_here >= after) {
                node += 1;
                continue 'sockets;
            }
        }
    }
}

/// Lets people talk on two nodes, does `harm`, and looks at what everybody has heard. Answers the town for more questions.
async fn nothing_is_lost_by(harm: impl AsyncFnOnce(&Town)) -> Arc<Town> {
    let town = Arc::new(Town::start().await);
    let guest = async |name: String| town.node(0).guest(&name).await;
    let mut listeners = JoinSet::new();
    for n in 0..2 {
        listeners.spawn(listen(Arc::clone(&town), guest(format!("Listener {n}")).await, n, None));
        listeners.spawn(listen(Arc::clone(&town), guest(format!("Roamer {n}")).await, n, Some(70)));
    }
    // Who has no cursor yet hears what comes after the join.
    for n in 0..2 {
        let node = town.node(n);
        until("all listen", async || node.metric("weltenwind_ws_joins_total").await >= 2.0).await;
    }
    let mut posters = JoinSet::new();
    for n in 0..4 {
        posters.spawn(post_over_http(Arc::clone(&town), guest(format!("Poster {n}")).await, n));
        posters.spawn(post_over_socket(Arc::clone(&town), guest(format!("Talker {n}")).await, n));
    }
    town.until_more_is_acknowledged().await;

    harm(&town).await;

    town.until_more_is_acknowledged().await;
    town.is_over.store(true, Ordering::SeqCst);
    let acknowledged: Vec<Acknowledged> = posters.join_all().await.into_iter().flatten().collect();
    let history = town.node(0).history(&town.channel).await;
    town.last.store(i64::try_from(history.len()).expect("a count"), Ordering::SeqCst);
    let heard = tokio::time::timeout(PATIENCE, listeners.join_all()).await.expect("everybody hears everything in time");

    for heard in heard {
        assert_eq!(heard, history);
    }
    let mut stored: HashMap<(&str, &str), Vec<i64>> = HashMap::new();
    for message in &history {
        let key = (message["author"]["id"].as_str().expect("an id"), message["body"].as_str().expect("a text"));
        stored.entry(key).or_default().push(message["seq"].as_i64().expect("a number"));
    }
    for (author, body, seq) in &acknowledged {
        assert_eq!(stored.get(&(author.as_str(), body.as_str())), Some(&vec![*seq]), "{body} is there once");
    }
    assert_eq!(acknowledged.len(), history.len(), "every message was posted until it was acknowledged");
    for n in 0..2 {
        assert!(town.node(n).metric("weltenwind_bus_received_total").await > 0.0, "the bus carried messages");
    }
    town
}

/// Ends a town whose nodes have lost the bus and found it again.
async fn end_reconnected(town: Arc<Town>) {
    for n in 0..2 {
        assert!(town.node(n).metric("weltenwind_bus_reconnects_total").await > 0.0);
    }
    end(town).await;
}

async fn end(town: Arc<Town>) {
    let Ok(Town { store, nodes, .. }) = Arc::try_unwrap(town) else { panic!("nobody is left in town") };
    drop(nodes);
    store.drop_database().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs WW_TEST_POSTGRES_DURABLE_URL"]
async fn a_killed_node_takes_nothing_along() {
    let town = nothing_is_lost_by(async |town: &Town| {
        let killed = town.node(1);
        let status = std::process::Command::new("kill").args(["-9", &killed.id().to_string()]).status();
        assert!(status.expect("kill runs").success());
        town.until_more_is_acknowledged().await;
        let (store, redis) = (&town.store, &town.redis);
        let again = Arc::new(tokio::task::block_in_place(|| serve(store, redis)));
        town.nodes.write().unwrap_or_else(PoisonError::into_inner)[1] = again;
    })
    .await;
    end(town).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs WW_TEST_POSTGRES_DURABLE_URL"]
async fn a_killed_redis_takes_nothing_along() {
    let town = nothing_is_lost_by(async |town: &Town| {
        let mut sitters = Sitters::sit(town).await;
        town.redis.kill();
        town.until_more_is_acknowledged().await;
        until_the_bus_is(town, "away").await;
        tokio::task::block_in_place(|| town.redis.start_again());
        until_the_bus_is(town, "ok").await;
        sitters.are_soon_right(town).await;
    })
    .await;
    end_reconnected(town).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs WW_TEST_POSTGRES_DURABLE_URL"]
async fn a_redis_that_stands_still_holds_nothing_back() {
    let town = nothing_is_lost_by(async |town: &Town| {
        let mut sitters = Sitters::sit(town).await;
        // Once too short to be noticed, once long enough to be given up.
        for seconds in [1, 4] {
            town.redis.pause();
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            if seconds > 1 {
                until_the_bus_is(town, "away").await;
            }
            town.redis.resume();
            town.until_more_is_acknowledged().await;
            until_the_bus_is(town, "ok").await;
            sitters.are_soon_right(town).await;
        }
    })
    .await;
    end_reconnected(town).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs WW_TEST_POSTGRES_DURABLE_URL"]
async fn a_redis_that_answers_nobody_holds_nothing_back() {
    let town = nothing_is_lost_by(async |town: &Town| {
        let mut sitters = Sitters::sit(town).await;
        for (millis, is_noticed) in [(1_000, false), (12_000, true)] {
            town.redis.tell(&format!("CLIENT PAUSE {millis} ALL"));
            if is_noticed {
                until_the_bus_is(town, "away").await;
            }
            town.until_more_is_acknowledged().await;
            until_the_bus_is(town, "ok").await;
            sitters.are_soon_right(town).await;
        }
    })
    .await;
    end_reconnected(town).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs WW_TEST_POSTGRES_DURABLE_URL"]
async fn a_redis_that_forgets_everything_takes_nothing_along() {
    let town = nothing_is_lost_by(async |town: &Town| {
        let mut sitters = Sitters::sit(town).await;
        for _ in 0..3 {
            town.redis.tell("FLUSHALL");
            sitters.are_soon_right(town).await;
            town.until_more_is_acknowledged().await;
        }
        // One that starts now knows only what Redis was told again.
        let late = tokio::task::block_in_place(|| serve(&town.store, &town.redis));
        let guest = late.guest("Late").await;
        until("whoever comes late sees all", async || {
            let (_, members) = look(&late, &guest).await;
            sitters.ids.iter().all(|id| members.contains(id))
        })
        .await;
        assert!(!sitters.seemed_to_leave());
    })
    .await;
    for n in 0..2 {
        let lost = town.node(n).metric("weltenwind_bus_reconnects_total").await;
        assert!(lost < 1.0, "what the bus asked for is not forgotten");
    }
    end(town).await;
}

#[tokio::test]
#[ignore = "needs WW_TEST_POSTGRES_DURABLE_URL"]
async fn a_node_starts_without_redis_and_finds_it_later() {
    let store = Store::postgres().await;
    let redis = RedisServer::start();
    redis.kill();

    let node = serve(&store, &redis);

    assert_eq!(node.metric("weltenwind_bus_up").await.to_string(), "0");
    let ready = reqwest::get(format!("{}/readyz", node.operations)).await.expect("an answer");
    assert_eq!(ready.status().as_u16(), 200, "the store is the truth");
    assert!(ready.text().await.expect("a body").contains(r#"{"name":"bus","status":"away"}"#));
    let guest = node.guest("Mira").await;
    let path = format!("/api/v1/channels/{}/messages", node.general().await);
    assert_eq!(node.post(&path, Some(&guest.token), &json!({ "body": "alone?" })).await.0, 201);
    redis.start_again();
    until("it is found", async || node.metric("weltenwind_bus_up").await > 0.0).await;
    let (code, log) = node.stop();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("the bus is away"), "{log}");
    store.drop_database().await;
}
