//! Two real nodes on Postgres with a real Redis between, held against the oracles of the simulator.
//!
//! People on both post, edit and remove; meanwhile Redis stands still, is killed and comes back empty, and a node is killed.
//! Whoever listens, at one node or in turns at both, fast or slowly, hears the same.

mod fixture;
#[path = "../../weltenwind-ws/tests/simulator/oracle.rs"]
mod oracle;
#[path = "../../weltenwind-storage/tests/redis_server/mod.rs"]
mod redis_server;

use std::{
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use fixture::{Guest, PATIENCE, Server, Socket, Store};
use oracle::{Acknowledged, At, Ear, Ledger, Shown};
use redis_server::RedisServer;
use serde_json::{Value, json};
use tokio::task::JoinSet;

const ROOM: usize = 0;
/// Acknowledged posts between one failure and the next.
const ACKNOWLEDGED: u32 = 120;
/// What is posted last of all.
const THE_END: &str = "the end";
/// A loss is known within half a second; the rest is for a busy machine.
const SOON: Duration = Duration::from_secs(5);

struct Town {
    store: Store,
    redis: RedisServer,
    nodes: RwLock<[Arc<Server>; 2]>,
    channel: String,
    ledger: Mutex<Ledger>,
    acknowledged: Mutex<Vec<Acknowledged>>,
    count: AtomicU32,
    is_over: AtomicBool,
}

impl Town {
    async fn start() -> Arc<Self> {
        let (store, redis) = (Store::postgres().await, RedisServer::start());
        let nodes = [(); 2].map(|()| Arc::new(serve(&store, &redis)));
        let channel = nodes[0].general().await;
        Arc::new(Self {
            store,
            redis,
            nodes: RwLock::new(nodes),
            channel,
            ledger: Mutex::default(),
            acknowledged: Mutex::default(),
            count: AtomicU32::new(0),
            is_over: AtomicBool::new(false),
        })
    }

    fn node(&self, n: usize) -> Arc<Server> {
        Arc::clone(&self.nodes.read().unwrap_or_else(PoisonError::into_inner)[n % 2])
    }

    fn room(&self) -> String {
        format!("channel:{}", self.channel)
    }

    fn acknowledge(&self, answer: &Value) -> String {
        let message = answer["id"].as_str().expect("an id").to_owned();
        let post = Acknowledged { room: ROOM, message: message.clone() };
        self.acknowledged.lock().expect("no panic").push(post);
        self.count.fetch_add(1, Ordering::SeqCst);
        message
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::SeqCst)
    }

    async fn until_more_is_acknowledged(&self) {
        let (begun, enough) = (Instant::now(), self.count.load(Ordering::SeqCst) + ACKNOWLEDGED);
        while self.count.load(Ordering::SeqCst) < enough {
            assert!(begun.elapsed() < PATIENCE, "posts are acknowledged");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

fn serve(store: &Store, redis: &RedisServer) -> Server {
    let redis = format!("redis.url={}", redis.url());
    // One address for both, as behind a balancer: a token of one node holds on the other.
    store.serve(&["--set", &redis, "--set", "public_url=http://wind.test"])
}

/// Posts each message until it is acknowledged, and now and then edits or removes one of its own.
async fn write(town: Arc<Town>, guest: Guest, node: usize) {
    let path = format!("/api/v1/channels/{}/messages", town.channel);
    let mut written = Vec::new();
    for n in 0_usize.. {
        let post = json!({ "body": format!("{n} of {node}"), "clientId": format!("post-{n}") });
        loop {
            if let Some((status, answer)) = town.node(node).try_post(&path, &guest.token, &post).await {
                assert!(status == 201 || status == 200, "{answer}");
                written.push(town.acknowledge(&answer));
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        // Another node edits than the one that posted. What is cut off has happened or not; both will do.
        let other = format!("/api/v1/messages/{}", written[n - n % 7]);
        match n % 5 {
            2 | 3 => {
                let body = json!({ "body": format!("{n} of {node}, edited") });
                let _ = town.node(node + 1).try_patch(&other, &guest.token, &body).await;
            }
            4 if n % 15 == 4 => {
                let _ = town.node(node + 1).try_delete(&other, &guest.token).await;
            }
            _ => {}
        }
        if town.is_over() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// How somebody listens.
#[derive(Clone, Copy)]
struct Habit {
    node: usize,
    /// Goes to the other node after so many records.
    roams_after: usize,
    /// Looks away for so long every hundred records.
    dozes: Duration,
}

/// Listens until the end is told, and comes back by its cursor whenever the socket breaks.
async fn listen(town: Arc<Town>, guest: Guest, mut habit: Habit) -> Ear {
    let mut ear = None;
    loop {
        if let Some(mut socket) = town.node(habit.node).socket_if_alive(&guest).await
            && hear(&town, &mut socket, &mut ear, habit).await
        {
            return ear.expect("it has joined");
        }
        if habit.roams_after < usize::MAX {
            habit.node += 1;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Joins and listens; answers whether that was the end of all.
async fn hear(town: &Town, socket: &mut Socket, ear: &mut Option<Ear>, habit: Habit) -> bool {
    let mut join = json!({ "t": "join", "id": 1, "room": town.room() });
    if let Some(ear) = &ear {
        join["since"] = ear.cursor().into();
    }
    if !socket.try_send(&join).await {
        return false;
    }
    for n in 1.. {
        let Some(record) = socket.next().await else { return false };
        let is_end = record["message"]["body"] == THE_END;
        take(town, ear, &record).unwrap_or_else(|broken| panic!("{broken}: {record}"));
        if is_end {
            return true;
        }
        if n % habit.roams_after == 0 {
            return false;
        }
        if n % 100 == 0 {
            tokio::time::sleep(habit.dozes).await;
        }
    }
    unreachable!("records do not end")
}

/// Takes a record as the oracles want it.
fn take(town: &Town, ear: &mut Option<Ear>, record: &Value) -> Result<(), oracle::Broken> {
    let cursor = || record["cursor"].as_str().ok_or("a cursor");
    let mut ledger = town.ledger.lock().unwrap_or_else(PoisonError::into_inner);
    match (record["t"].as_str().ok_or("a kind")?, ear) {
        ("joined", ear) => {
            let recovered = record["recovered"] == true;
            if ledger.lives(ROOM).is_empty() {
                ledger.begin(ROOM, At::of_cursor(cursor()?)?.epoch);
            }
            match ear {
                Some(ear) => ear.rejoin(&ledger, cursor()?, recovered)?,
                None => *ear = Some(Ear::open(ROOM, cursor()?, recovered)?),
            }
        }
        (kind @ ("msg" | "update"), Some(ear)) => {
            let message = &record["message"];
            let shown = Shown {
                message: message["id"].as_str().ok_or("an id")?.to_owned(),
                seq: message["seq"].as_i64().ok_or("a number")?,
                body: message["body"].as_str().map(str::to_owned),
            };
            ear.message(&mut ledger, kind == "msg", cursor()?, shown)?;
        }
        ("live", Some(ear)) => ear.live()?,
        ("gap", _) => return Err("nothing is out of the window".to_owned()),
        ("err", _) => return Err("refused".to_owned()),
        _ => {}
    }
    Ok(())
}

/// Sits on one node while its session is ended on the other, and is told nothing more.
async fn is_shown_out(town: &Town) {
    let guest = town.node(0).guest("Leaver").await;
    let mut socket = town.node(1).socket(&guest).await;
    socket.join(&town.channel, None).await;
    socket.next_of("msg").await;

    let (status, answer) = town.node(0).post("/api/v1/auth/logout", Some(&guest.token), &json!({})).await;

    assert_eq!(status, 204, "{answer}");
    let begun = Instant::now();
    assert_eq!(socket.next_of("bye").await["code"], 4201);
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    assert!(socket.next().await.is_none(), "nothing comes behind it");
}

/// Lets one thing after the other fail.
async fn harm(town: &Town) {
    town.redis.pause();
    town.until_more_is_acknowledged().await;
    is_shown_out(town).await;
    town.redis.resume();
    town.until_more_is_acknowledged().await;

    town.redis.kill();
    town.until_more_is_acknowledged().await;
    is_shown_out(town).await;
    tokio::task::block_in_place(|| town.redis.start_again());
    town.until_more_is_acknowledged().await;

    let killed = std::process::Command::new("kill").args(["-9", &town.node(1).id().to_string()]).status();
    assert!(killed.expect("kill runs").success());
    // Half of those who write are on the other node.
    town.until_more_is_acknowledged().await;
    let again = Arc::new(tokio::task::block_in_place(|| serve(&town.store, &town.redis)));
    town.nodes.write().unwrap_or_else(PoisonError::into_inner)[1] = again;
    town.until_more_is_acknowledged().await;
    is_shown_out(town).await;
}

/// Asks whether anybody misses anything, and answers how each message was heard last.
fn judged(town: &Town, ears: &[Ear]) -> Vec<Value> {
    let ledger = town.ledger.lock().expect("no panic");
    let acknowledged = town.acknowledged.lock().expect("no panic");
    for ear in ears {
        ear.judge(&ledger, &acknowledged, true).unwrap_or_else(|broken| panic!("{broken}"));
    }
    let mut newest = ledger.newest(ROOM, ears[0].at().epoch);
    newest.sort_by_key(|shown| shown.seq);
    newest.iter().map(|shown| json!({ "id": shown.message, "seq": shown.seq, "body": shown.body })).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs WW_TEST_POSTGRES_DURABLE_URL"]
async fn real_nodes_and_a_real_redis_pass_the_oracles_of_the_simulator() {
    let town = Town::start().await;
    let steady = Habit { node: 0, roams_after: usize::MAX, dozes: Duration::ZERO };
    let habits = [
        steady,
        Habit { node: 1, ..steady },
        Habit { roams_after: 60, ..steady },
        Habit { node: 1, roams_after: 35, ..steady },
        Habit { dozes: Duration::from_secs(1), ..steady },
        Habit { node: 1, dozes: Duration::from_millis(300), roams_after: 250 },
    ];
    let mut listeners = JoinSet::new();
    for (n, habit) in habits.into_iter().enumerate() {
        let guest = town.node(0).guest(&format!("Listener {n}")).await;
        listeners.spawn(listen(Arc::clone(&town), guest, habit));
    }
    // Who has no cursor yet hears what comes after the join.
    let mut joined = 0.0;
    while joined < 6.0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
        joined = town.node(0).metric("weltenwind_ws_joins_total").await;
        joined += town.node(1).metric("weltenwind_ws_joins_total").await;
    }
    let mut writers = JoinSet::new();
    for node in 0..4 {
        let guest = town.node(0).guest(&format!("Writer {node}")).await;
        writers.spawn(write(Arc::clone(&town), guest, node));
    }
    town.until_more_is_acknowledged().await;

    harm(&town).await;

    town.is_over.store(true, Ordering::SeqCst);
    writers.join_all().await;
    let guest = town.node(0).guest("Last").await;
    let path = format!("/api/v1/channels/{}/messages", town.channel);
    let (status, answer) = town.node(0).post(&path, Some(&guest.token), &json!({ "body": THE_END })).await;
    assert_eq!(status, 201, "{answer}");
    town.acknowledge(&answer);
    let ears = tokio::time::timeout(PATIENCE, listeners.join_all()).await.expect("everybody hears the end");

    let heard = judged(&town, &ears);
    let history = town.node(0).history(&town.channel).await;
    let history: Vec<Value> = history
        .iter()
        .map(|message| json!({ "id": message["id"], "seq": message["seq"], "body": message["body"] }))
        .collect();
    assert_eq!(heard, history, "what was heard last of each message is what the store has");
    let Ok(Town { store, nodes, .. }) = Arc::try_unwrap(town).map_err(|_| ()) else { panic!("nobody is left in town") };
    drop(nodes);
    store.drop_database().await;
}
