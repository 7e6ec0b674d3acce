//! Presence over several nodes: what one does, all see; what the store loses, the nodes find again.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use tokio::{sync::broadcast, time::Instant};
use weltenwind_core::{
    AccountId, ManualClock, NodeId, Room, Sources, StorageError, SystemIds, SystemRandom, WorldId,
    accounts::DisplayName,
    presence::{
        Beat, Flush, MemoryPresenceStore, Presence, PresenceConfig, PresenceEvent, PresenceNews, PresenceState,
        PresenceStore, PresenceWatch, Shard, Snapshot, SocketId, Typing, conformance::Stores,
    },
};

mod memory_suite {
    use super::*;

    weltenwind_core::presence_store_conformance!(async {
        let store = Arc::new(MemoryPresenceStore::default());
        ((), Stores { here: store.clone(), there: store })
    });
}

const TURN: Duration = Duration::from_millis(100);
/// What the debounce promises.
const DEBOUNCE: Duration = Duration::from_secs(5);
/// Within which the members of a killed node are gone.
const EXACT: Duration = Duration::from_secs(10);

/// The one store, which may be emptied.
type Shared = Arc<Mutex<Arc<MemoryPresenceStore>>>;

/// One node's way to the store, on which news are lost and calls fail.
#[derive(Debug)]
struct Wire {
    shared: Shared,
    news: broadcast::Sender<PresenceNews>,
    heard: Mutex<broadcast::Receiver<PresenceNews>>,
    is_cut: AtomicBool,
}

impl Wire {
    fn new(shared: &Shared) -> Self {
        let heard = Mutex::new(shared.lock().unwrap().listen());
        Self { shared: shared.clone(), news: broadcast::Sender::new(4096), heard, is_cut: AtomicBool::new(false) }
    }

    /// Carries the news that have come, but for those that are lost.
    fn carry(&self, mut is_lost: impl FnMut() -> bool) {
        let mut heard = self.heard.lock().unwrap();
        loop {
            match heard.try_recv() {
                Ok(news) if is_lost() => drop(news),
                Ok(news) => drop(self.news.send(news)),
                Err(broadcast::error::TryRecvError::Lagged(_)) => {}
                Err(_) => return,
            }
        }
    }

    fn store(&self) -> Result<Arc<MemoryPresenceStore>, StorageError> {
        if self.is_cut.load(Ordering::SeqCst) {
            return Err(StorageError::transient("reach the store", "the wire is cut"));
        }
        Ok(self.shared.lock().unwrap().clone())
    }
}

#[async_trait]
impl PresenceStore for Wire {
    async fn beat(&self, node: NodeId, sequence: u64, lease: Duration, is_first: bool) -> Result<Beat, StorageError> {
        self.store()?.beat(node, sequence, lease, is_first).await
    }

    async fn publish(&self, flush: &Flush) -> Result<(), StorageError> {
        self.store()?.publish(flush).await
    }

    async fn read(&self, rooms: &[Room]) -> Result<Vec<Vec<Shard>>, StorageError> {
        self.store()?.read(rooms).await
    }

    async fn bury(&self, node: NodeId) -> Result<(), StorageError> {
        self.store()?.bury(node).await
    }

    async fn tell(&self, typing: &Typing) {
        if let Ok(store) = self.store() {
            store.tell(typing).await;
        }
    }

    fn listen(&self) -> broadcast::Receiver<PresenceNews> {
        self.news.subscribe()
    }
}

struct Node {
    started: Instant,
    wire: Arc<Wire>,
    presence: Presence,
    watches: Vec<Watched>,
}

/// A room as somebody sees it who was told a snapshot and every change since.
struct Watched {
    room: Room,
    watch: PresenceWatch,
    version: u64,
    count: usize,
    members: BTreeMap<AccountId, Option<String>>,
}

impl Watched {
    fn new(snapshot: &Snapshot, watch: PresenceWatch) -> Self {
        let members = snapshot.members.iter().map(|member| (member.account, member.state.clone())).collect();
        Self { room: snapshot.room, watch, version: snapshot.version, count: snapshot.count, members }
    }

    /// Takes what was told, and answers who left and what else happened.
    fn follow(&mut self) -> (Vec<AccountId>, usize) {
        let (mut left, mut typed) = (Vec::new(), 0);
        while let Some(event) = self.watch.next_ready() {
            let PresenceEvent::Changed(diff) = event else {
                typed += 1;
                continue;
            };
            if diff.version <= self.version {
                // It was part of the snapshot.
                continue;
            }
            assert_eq!(diff.version, self.version + 1, "no change is left out");
            (self.version, self.count) = (diff.version, diff.count);
            for account in &diff.leave {
                assert!(self.members.remove(account).is_some(), "nobody leaves who was not there");
                left.push(*account);
            }
            self.members.extend(diff.join.iter().map(|member| (member.account, member.state.clone())));
        }
        (left, typed)
    }
}

/// Several nodes, their players, and the one time for all.
struct Town {
    shared: Shared,
    clock: Arc<ManualClock>,
    config: PresenceConfig,
    nodes: Vec<Node>,
    sockets: AtomicU64,
}

impl Town {
    fn new(config: PresenceConfig) -> Self {
        let shared = Arc::new(Mutex::new(Arc::default()));
        Self { shared, clock: Arc::default(), config, nodes: Vec::new(), sockets: AtomicU64::new(0) }
    }

    async fn start(&mut self, rooms: &[Room]) -> usize {
        let wire = Arc::new(Wire::new(&self.shared));
        let (clock, random) = (self.clock.clone(), Arc::new(SystemRandom));
        let sources = Sources { clock, ids: Arc::new(SystemIds), random };
        let presence = Presence::new(wire.clone(), self.config, sources);
        let mut watches = Vec::new();
        for room in rooms {
            let ((snapshot, watch), ()) = tokio::join!(presence.watch(*room), presence.turn());
            watches.push(Watched::new(&snapshot, watch));
        }
        self.nodes.push(Node { started: Instant::now(), wire, presence, watches });
        self.nodes.len() - 1
    }

    async fn enter(&self, node: usize, room: Room, account: AccountId) -> (SocketId, Snapshot) {
        let socket = SocketId(self.sockets.fetch_add(1, Ordering::Relaxed));
        let (presence, name) = (&self.nodes[node].presence, DisplayName::new("Mira").unwrap());
        let (snapshot, ()) = tokio::join!(presence.enter(room, socket, account, &name), presence.turn());
        assert!(snapshot.members.is_empty() || snapshot.members.iter().any(|member| member.account == account));
        (socket, snapshot)
    }

    fn say(&self, node: usize, room: Room, socket: SocketId, state: &str) {
        self.clock.advance(Duration::from_micros(1));
        assert!(self.nodes[node].presence.say(room, socket, Some(PresenceState::new(state).unwrap())));
    }

    /// Lets a tenth of a second pass everywhere.
    async fn turn(&self, mut is_lost: impl FnMut() -> bool) {
        tokio::time::advance(TURN).await;
        self.clock.advance(TURN);
        for node in &self.nodes {
            node.wire.carry(&mut is_lost);
            node.presence.turn().await;
        }
    }

    async fn pass(&self, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.turn(|| false).await;
        }
    }

    /// SIGKILL.
    fn kill(&mut self, node: usize) {
        drop(self.nodes.remove(node));
    }

    /// The store loses everything, leases too.
    fn empty_store(&self) {
        *self.shared.lock().unwrap() = Arc::default();
        for node in &self.nodes {
            *node.wire.heard.lock().unwrap() = self.shared.lock().unwrap().listen();
        }
    }

    /// Who is there, as each node sees it; each must have told its watchers the same.
    fn seen(&mut self, room: Room) -> Vec<BTreeMap<AccountId, Option<String>>> {
        let see = |node: &mut Node| {
            let snapshot = node.presence.snapshot(room);
            let watched = node.watches.iter_mut().find(|watched| watched.room == room).expect("it is watched");
            watched.follow();
            let members: BTreeMap<_, _> =
                snapshot.members.into_iter().map(|member| (member.account, member.state)).collect();
            assert_eq!(
                (&watched.members, watched.version, watched.count),
                (&members, snapshot.version, snapshot.count)
            );
            members
        };
        self.nodes.iter_mut().map(see).collect()
    }
}

fn account(n: u128) -> AccountId {
    AccountId::new(uuid::Uuid::from_u128(n))
}

fn world(n: u128) -> Room {
    Room::World(WorldId::new(uuid::Uuid::from_u128(n)))
}

fn only(accounts: &[u128]) -> BTreeMap<AccountId, Option<String>> {
    accounts.iter().map(|n| (account(*n), None)).collect()
}

#[tokio::test(start_paused = true)]
async fn sockets_on_all_nodes_are_one_member() {
    let mut town = Town::new(PresenceConfig::default());
    let rooms = [world(1)];
    let (here, there) = (town.start(&rooms).await, town.start(&rooms).await);

    let (first, _) = town.enter(here, world(1), account(1)).await;
    let (second, snapshot) = town.enter(there, world(1), account(1)).await;
    town.say(here, world(1), first, "in a raid");
    town.say(there, world(1), second, "away");
    town.pass(TURN * 3).await;

    assert_eq!(snapshot.count, 1);
    let away = BTreeMap::from([(account(1), Some("away".to_owned()))]);
    assert_eq!(town.seen(world(1)), [away.clone(), away], "the newest state counts");

    town.nodes[there].presence.leave(world(1), second);
    town.pass(DEBOUNCE + TURN * 3).await;
    let raid = BTreeMap::from([(account(1), Some("in a raid".to_owned()))]);
    assert_eq!(town.seen(world(1)), [raid.clone(), raid], "what the socket that is left said");
}

#[tokio::test(start_paused = true)]
async fn who_comes_back_in_time_never_left() {
    let mut town = Town::new(PresenceConfig::default());
    let rooms = [world(1)];
    let (here, there) = (town.start(&rooms).await, town.start(&rooms).await);
    let (mut socket, _) = town.enter(here, world(1), account(1)).await;
    town.pass(TURN * 3).await;
    town.seen(world(1));
    let versions = |town: &Town| [here, there].map(|node| town.nodes[node].watches[0].version);
    let before = versions(&town);

    for node in [here, there, here] {
        town.nodes[if node == here { there } else { here }].presence.leave(world(1), socket);
        town.nodes[here].presence.leave(world(1), socket);
        town.pass(DEBOUNCE - TURN * 5).await;
        socket = town.enter(node, world(1), account(1)).await.0;
        town.pass(TURN * 3).await;
    }

    assert_eq!(town.seen(world(1)), [only(&[1]), only(&[1])]);
    assert_eq!(versions(&town), before, "nothing was told");
}

#[tokio::test(start_paused = true)]
async fn members_of_a_killed_node_are_gone_within_ten_seconds_and_not_at_once() {
    let mut town = Town::new(PresenceConfig::default());
    let rooms = [world(1)];
    let (here, there) = (town.start(&rooms).await, town.start(&rooms).await);
    town.enter(here, world(1), account(1)).await;
    town.enter(there, world(1), account(2)).await;
    town.enter(there, world(1), account(3)).await;
    // Killed at whatever moment between two beats.
    for phase in 0..20 {
        town.pass(TURN * (20 + phase)).await;
        assert_eq!(town.seen(world(1)), [only(&[1, 2, 3]), only(&[1, 2, 3])]);

        town.kill(1);
        town.pass(DEBOUNCE - TURN).await;
        assert_eq!(town.seen(world(1)), [only(&[1, 2, 3])], "they may come back elsewhere");
        town.enter(here, world(1), account(3)).await;
        town.pass(EXACT - DEBOUNCE).await;
        assert_eq!(town.seen(world(1)), [only(&[1, 3])]);

        town.start(&rooms).await;
        town.enter(1, world(1), account(2)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn of_more_members_than_are_listed_only_the_number_is_told() {
    let mut town = Town::new(PresenceConfig { max_members: 8, ..PresenceConfig::default() });
    let rooms = [world(1)];
    let (here, _) = (town.start(&rooms).await, town.start(&rooms).await);
    let mut sockets = Vec::new();
    for n in 1..=8 {
        sockets.push(town.enter(here, world(1), account(n)).await.0);
    }
    town.pass(TURN * 3).await;
    assert_eq!(town.seen(world(1)), [only(&[1, 2, 3, 4, 5, 6, 7, 8]), only(&[1, 2, 3, 4, 5, 6, 7, 8])]);

    sockets.push(town.enter(here, world(1), account(9)).await.0);
    town.pass(TURN * 3).await;
    assert_eq!(town.seen(world(1)), [only(&[]), only(&[])], "whoever was listed is taken off the list");
    assert_eq!(town.nodes[1].presence.snapshot(world(1)).count, 9);

    for socket in sockets.drain(6..) {
        town.nodes[here].presence.leave(world(1), socket);
    }
    town.pass(DEBOUNCE + TURN * 3).await;
    assert_eq!(town.seen(world(1)), [only(&[1, 2, 3, 4, 5, 6]), only(&[1, 2, 3, 4, 5, 6])], "and back on it");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_was_emptied_is_filled_again_and_nobody_notices() {
    let mut town = Town::new(PresenceConfig::default());
    let rooms = [world(1)];
    let (here, there) = (town.start(&rooms).await, town.start(&rooms).await);
    town.enter(here, world(1), account(1)).await;
    town.enter(there, world(1), account(2)).await;
    town.pass(Duration::from_secs(3)).await;
    town.seen(world(1));
    let version = town.nodes[here].watches[0].version;

    town.empty_store();
    town.pass(EXACT).await;

    assert_eq!(town.seen(world(1)), [only(&[1, 2]), only(&[1, 2])]);
    assert_eq!(town.nodes[here].watches[0].version, version, "nobody seemed to leave");
    town.start(&rooms).await;
    town.pass(TURN).await;
    assert_eq!(town.seen(world(1))[2], only(&[1, 2]), "a node that starts now finds everybody");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_stood_still_comes_back_with_all_it_has() {
    let mut town = Town::new(PresenceConfig::default());
    let rooms = [world(1)];
    let (here, there) = (town.start(&rooms).await, town.start(&rooms).await);
    town.enter(here, world(1), account(1)).await;
    town.enter(there, world(1), account(2)).await;
    town.pass(Duration::from_secs(3)).await;

    town.nodes[there].wire.is_cut.store(true, Ordering::SeqCst);
    town.pass(EXACT).await;
    assert_eq!(town.seen(world(1)), [only(&[1]), only(&[1, 2])], "whom it knew it still shows");

    town.nodes[there].wire.is_cut.store(false, Ordering::SeqCst);
    town.pass(EXACT).await;
    assert_eq!(town.seen(world(1)), [only(&[1, 2]), only(&[1, 2])]);
}

#[tokio::test(start_paused = true)]
async fn typing_is_told_on_all_nodes_once_in_three_seconds() {
    let mut town = Town::new(PresenceConfig::default());
    let rooms = [world(1)];
    let (here, there) = (town.start(&rooms).await, town.start(&rooms).await);
    let name = DisplayName::new("Mira").unwrap();

    for _ in 0..60 {
        town.nodes[here].presence.type_in(world(1), account(1), &name).await;
        town.turn(|| false).await;
    }
    town.nodes[here].presence.type_in(world(1), account(2), &name).await;
    town.turn(|| false).await;

    for node in [here, there] {
        assert_eq!(town.nodes[node].watches[0].follow().1, 3, "twice in six seconds, and somebody else");
    }
}

/// Games that are played of each kind.
const SEEDS: u64 = 40;

/// A generator of numbers that can be replayed (xorshift64*).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        usize::try_from(self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33).unwrap() % bound
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

/// Where somebody has a socket: which start of which node.
struct Seat {
    life: usize,
    room: Room,
    account: AccountId,
    socket: SocketId,
}

/// What goes wrong beside nodes that are killed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Trouble {
    Nothing,
    /// Every fourth of the news is lost.
    LostNews,
    /// The store is emptied, too, and nodes are cut off from it.
    BrokenStore,
}

/// Players come, go and move between nodes that are killed and started. In the end everybody sees the truth.
///
/// While nothing is lost, nobody is told that somebody left who was there within the debounce: only whoever came back so late
/// that it was not known everywhere when the debounce ended.
async fn play(seed: u64, trouble: Trouble) {
    let breaks = trouble == Trouble::BrokenStore;
    let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let rooms = [world(1), world(2), Room::Global];
    let mut town = Town::new(PresenceConfig::default());
    let mut lives = Vec::new();
    let mut started = 0;
    for _ in 0..3 {
        town.start(&rooms).await;
        lives.push(started);
        started += 1;
    }
    let mut seats: Vec<Seat> = Vec::new();
    // When everybody was there last; when they came back, and when they had left before.
    let mut last_there: HashMap<(Room, AccountId), Instant> = HashMap::new();
    let mut came_back: HashMap<(Room, AccountId), (Instant, Option<Instant>)> = HashMap::new();

    for _ in 0..600 {
        match dice.below(12) {
            0..=3 => {
                let (node, room) = (dice.below(town.nodes.len()), rooms[dice.below(rooms.len())]);
                let account = account(dice.below(12) as u128);
                if !seats.iter().any(|seat| (seat.room, seat.account) == (room, account)) {
                    let left = last_there.get(&(room, account)).copied();
                    came_back.insert((room, account), (Instant::now(), left));
                }
                let (socket, _) = town.enter(node, room, account).await;
                seats.push(Seat { life: lives[node], room, account, socket });
            }
            4..=6 if !seats.is_empty() => {
                let Seat { life, room, account, socket } = seats.swap_remove(dice.below(seats.len()));
                let node = lives.iter().position(|other| *other == life).expect("it lives");
                town.nodes[node].presence.leave(room, socket);
                last_there.insert((room, account), Instant::now());
            }
            7 if !seats.is_empty() => {
                // Somebody's connection moves, as after a drain.
                let Seat { life, room, account, socket } = seats.swap_remove(dice.below(seats.len()));
                let node = lives.iter().position(|other| *other == life).expect("it lives");
                town.nodes[node].presence.leave(room, socket);
                last_there.insert((room, account), Instant::now());
                if !seats.iter().any(|seat| (seat.room, seat.account) == (room, account)) {
                    let left = last_there.get(&(room, account)).copied();
                    came_back.insert((room, account), (Instant::now(), left));
                }
                let node = dice.below(town.nodes.len());
                let (socket, _) = town.enter(node, room, account).await;
                seats.push(Seat { life: lives[node], room, account, socket });
            }
            8 if !seats.is_empty() => {
                let Seat { life, room, socket, .. } = &seats[dice.below(seats.len())];
                let node = lives.iter().position(|other| other == life).expect("it lives");
                town.say(node, *room, *socket, &format!("state {}", dice.below(100)));
            }
            9 if dice.one_in(8) && town.nodes.len() > 1 => {
                let node = dice.below(town.nodes.len());
                let life = lives.remove(node);
                town.kill(node);
                for seat in seats.extract_if(.., |seat| seat.life == life) {
                    last_there.insert((seat.room, seat.account), Instant::now());
                }
            }
            10 if town.nodes.len() < 5 && dice.one_in(4) => {
                town.start(&rooms).await;
                lives.push(started);
                started += 1;
            }
            11 if breaks && dice.one_in(10) => town.empty_store(),
            11 if breaks && dice.one_in(4) => {
                let node = dice.below(town.nodes.len());
                let is_cut = &town.nodes[node].wire.is_cut;
                is_cut.store(!is_cut.load(Ordering::SeqCst), Ordering::SeqCst);
            }
            _ => {}
        }
        town.turn(|| trouble != Trouble::Nothing && dice.one_in(4)).await;
        let now = Instant::now();
        for node in &mut town.nodes {
            for watched in &mut node.watches {
                for account in watched.follow().0 {
                    let is_there = seats.iter().any(|seat| (seat.room, seat.account) == (watched.room, account));
                    let player = (watched.room, account);
                    let away = last_there.get(&player).map(|at| now - *at);
                    // A turn at both ends.
                    let is_over = |away: Duration| away + TURN * 2 >= DEBOUNCE;
                    let has_left = !is_there && away.is_some_and(is_over);
                    // Somebody who came back at the last moment, and is still expected elsewhere.
                    let back = came_back.get(&player).map(|(at, left)| (now - *at, left.map(|left| now - left)));
                    let was_late = back.is_some_and(|(back, away)| back <= TURN * 3 && away.is_some_and(is_over));
                    // A node that has just started knows nothing of those who were killed before.
                    let is_new = now - node.started < EXACT;
                    let is_right = has_left || was_late || is_new;
                    assert!(
                        trouble != Trouble::Nothing || is_right,
                        "seed {seed}: {account} left after {away:?}, there: {is_there}, back: {back:?}"
                    );
                }
            }
        }
    }

    for node in &town.nodes {
        node.wire.is_cut.store(false, Ordering::SeqCst);
    }
    town.pass(EXACT * 2).await;
    for room in rooms {
        let truth: BTreeSet<AccountId> =
            seats.iter().filter(|seat| seat.room == room).map(|seat| seat.account).collect();
        let seen = town.seen(room);
        for one in &seen {
            assert_eq!(one.keys().copied().collect::<BTreeSet<_>>(), truth, "seed {seed}, {room}");
            assert_eq!(one, &seen[0], "seed {seed}: all see the same states");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_moves_and_whoever_is_killed_nobody_flickers() {
    for seed in 1..=SEEDS {
        play(seed, Trouble::Nothing).await;
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_news_are_lost_all_see_the_truth() {
    for seed in 1..=SEEDS {
        play(seed, Trouble::LostNews).await;
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_the_store_does_all_see_the_truth_in_the_end() {
    for seed in 1..=SEEDS {
        play(seed, Trouble::BrokenStore).await;
    }
}
