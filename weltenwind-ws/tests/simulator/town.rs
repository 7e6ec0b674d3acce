//! Nodes over one store and one network, and what befalls them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use prometheus::Registry;
use tokio::{task::AbortHandle, time::Instant};
use tower::Service as _;
use weltenwind_core::{
    AccountId, Actor, AllowedOrigins, ChannelId, Clock, CorrelationId, IdGenerator as _, Limit, Room, Scope,
    SequentialIds, ServiceConfig, Services, Shared, Sources, Timestamp, WorldId,
    access::MemoryGrantStore,
    accounts::{AccountsConfig, DeviceDraft, DisplayName, SessionGrant},
    chat::{ChannelDraft, Draft, RemovalMode},
    limits::{LimitsConfig, MemoryRateLimiter, Quota, Unit},
    notifications::LocalNotices,
    presence::{MemoryPresenceStore, SocketId},
    revocations::Mark,
    worlds::{Visibility, WorldAmendment, WorldDraft, WorldRef},
};
use weltenwind_ws::{Realtime, RealtimeConfig};

use crate::{
    depot::{Depot, Road},
    dice::Dice,
    network::{Network, Port},
    oracle::{Acknowledged, At},
    pipe::{Hose, Scissors, Secret, Tap},
    support::{
        ORIGIN,
        stores::{CountingRandom, MemoryAccounts, MemoryWorlds, stores},
    },
};

/// A room that everybody may be in.
pub(crate) const LOBBY: usize = 0;
/// A room of a private world.
pub(crate) const DEN: usize = 1;

/// What is done to an oracle's witness, to show that the oracle bites.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mutation {
    None,
    /// A client does not get a frame.
    Drop,
    /// A client gets a frame twice.
    Double,
    /// A client gets a frame behind the one that follows.
    Swap,
    /// A client gets a message that says something else.
    Alter,
    /// A client is not told of a gap.
    HideGap,
    /// A client is not told anew who is there after it was too slow.
    HideWhole,
    /// A post is acknowledged that was never stored.
    Acknowledge,
    /// Whoever looks believes that a client had no rights from the beginning.
    Revoke,
    /// Whoever looks believes that nothing may be kept.
    Starve,
    /// A client never hands in its account.
    Linger,
    /// A client does the same again and again, and no time passes.
    Circle,
}

/// What a run is made of.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) nodes: usize,
    pub(crate) clients: usize,
    pub(crate) span: Duration,
    pub(crate) token_life: Duration,
    pub(crate) realtime: RealtimeConfig,
    pub(crate) mutation: Mutation,
    page: u16,
    window: i64,
}

impl Plan {
    fn draw(dice: &mut Dice, mutation: Mutation) -> Self {
        let realtime = RealtimeConfig {
            ping_every_seconds: dice.within(4..25),
            pong_grace_seconds: dice.within(2..10),
            send_buffer_bytes: dice.pick(&[1024, 4096, 16 * 1024]),
            rings_bytes: dice.pick(&[0, 0, 64 * 1024]),
            write_timeout_seconds: dice.within(3..20),
            drain_seconds: 3,
            ..RealtimeConfig::default()
        };
        Self {
            nodes: dice.pick(&[1, 2, 2, 3]),
            clients: dice.below(3) + 2,
            span: dice.millis(3_000..11_000),
            token_life: dice.pick(&[Duration::from_secs(8), Duration::from_secs(20), Duration::from_mins(5)]),
            realtime,
            mutation,
            page: u16::try_from(dice.pick(&[3, 10, 40, 200, 200])).expect("a page"),
            window: dice.pick(&[20, 60, i64::MAX, i64::MAX]),
        }
    }
}

/// The clock of one node, beside tokio's.
#[derive(Debug)]
struct Watch {
    began: Instant,
    ahead: Duration,
}

impl Clock for Watch {
    fn now(&self) -> Timestamp {
        let start = Timestamp::from_second(1_767_225_600).expect("the year 2026 is in range");
        let micros = (self.began.elapsed() + self.ahead).as_micros();
        start + Duration::from_micros(u64::try_from(micros).expect("a run is short"))
    }
}

/// A running node.
pub(crate) struct Node {
    pub(crate) services: Services,
    realtime: Realtime,
    registry: Registry,
    scissors: Arc<Scissors>,
    port: Arc<Port>,
    road: Arc<Road>,
    /// What was known to be lost when it started.
    started: Mark,
    /// Tells who is where.
    presence: AbortHandle,
}

/// A guest, and what it may still do.
pub(crate) struct Resident {
    pub(crate) grant: SessionGrant,
    pub(crate) account: AccountId,
    /// Whether it ever was in the private world.
    pub(crate) is_member: bool,
    /// Whether it lost that.
    pub(crate) has_left: AtomicBool,
}

pub(crate) struct Town {
    pub(crate) plan: Plan,
    pub(crate) depot: Arc<Depot>,
    network: Arc<Network>,
    accounts: Arc<MemoryAccounts>,
    grants: Arc<MemoryGrantStore>,
    worlds: Arc<MemoryWorlds>,
    presence: Arc<MemoryPresenceStore>,
    /// Which client is in the room of everybody, and what it says of itself there.
    square: Mutex<BTreeMap<usize, (AccountId, Option<String>)>>,
    ids: Arc<SequentialIds>,
    random: Arc<CountingRandom>,
    nodes: Mutex<Vec<Option<Arc<Node>>>>,
    pub(crate) began: Instant,
    pub(crate) residents: Mutex<Vec<Arc<Resident>>>,
    pub(crate) acknowledged: Mutex<Vec<Acknowledged>>,
    broken: Mutex<Option<String>>,
    digest: AtomicU64,
    world: Mutex<Option<WorldId>>,
    /// Whether nothing fails and nothing is written any more, so that everybody gets to the end.
    pub(crate) is_settling: AtomicBool,
    pub(crate) is_over: AtomicBool,
}

impl Town {
    /// Founds a town with its rooms and residents, while all is well.
    pub(crate) async fn found(seed: u64, mutation: Mutation) -> Arc<Self> {
        let mut dice = Dice::new(seed);
        let plan = Plan::draw(&mut dice, mutation);
        let accounts = Arc::new(MemoryAccounts::default());
        let page = Limit::new(plan.page).expect("a limit");
        let town = Arc::new(Self {
            depot: Depot::new(page, plan.window),
            network: Network::new(dice.fork()),
            grants: Arc::new(MemoryGrantStore::logging(Arc::clone(&accounts.log))),
            worlds: Arc::new(MemoryWorlds::logging(&accounts.log)),
            accounts,
            presence: Arc::default(),
            square: Mutex::default(),
            ids: Arc::default(),
            random: Arc::default(),
            nodes: Mutex::default(),
            began: Instant::now(),
            residents: Mutex::default(),
            acknowledged: Mutex::default(),
            broken: Mutex::default(),
            digest: AtomicU64::new(0xcbf2_9ce4_8422_2325),
            world: Mutex::default(),
            is_settling: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
            plan,
        });
        for _ in 0..town.plan.nodes {
            let node = town.start_node(&mut dice).await;
            town.nodes.lock().expect("no panic").push(Some(node));
        }
        town.furnish(&mut dice).await;
        town
    }

    async fn furnish(&self, dice: &mut Dice) {
        let services = self.node(0).expect("a node").services.clone();
        let operator = Actor::operator();
        let lobby = ChannelDraft::new(Scope::Global, "lobby", "Lobby");
        services.chat.open_channel(&operator, lobby).await.expect("a channel");
        let world = services.worlds.create(&operator, WorldDraft::new("Mistral").expect("a name")).await;
        let world = world.expect("a world").id;
        let members = dice.below(self.plan.clients + 1);
        for n in 0..self.plan.clients {
            let is_member = n < members;
            let resident = self.settle(&services, &format!("Guest {n}"), is_member).await;
            if is_member {
                let actor = resident.actor(&services).await.expect("a session");
                services.worlds.join(&actor, &WorldRef::Id(world)).await.expect("a member");
            }
            self.residents.lock().expect("no panic").push(resident);
        }
        let amendment = WorldAmendment { visibility: Some(Visibility::Private), ..WorldAmendment::default() };
        services.worlds.amend(&operator, &WorldRef::Id(world), None, amendment).await.expect("a private world");
        let den = ChannelDraft::new(Scope::World(world), "den", "Den");
        services.chat.open_channel(&operator, den).await.expect("a channel");
        *self.world.lock().expect("no panic") = Some(world);
    }

    /// Signs somebody in who was not here before.
    pub(crate) async fn settle(&self, services: &Services, name: &str, is_member: bool) -> Arc<Resident> {
        let name = DisplayName::new(name).expect("a name");
        let anonymous = Actor::anonymous(request());
        let grant = services.accounts.open_guest(&anonymous, Some(name), DeviceDraft::default()).await;
        let grant = grant.expect("a guest");
        Arc::new(Resident { account: grant.account.id, grant, is_member, has_left: AtomicBool::new(false) })
    }

    async fn start_node(&self, dice: &mut Dice) -> Arc<Node> {
        let (port, line) = self.network.attach();
        let road = Road::new(&self.depot, dice.fork());
        let sources = Sources {
            clock: Arc::new(Watch { began: self.began, ahead: dice.millis(0..300) }),
            ids: self.ids.clone(),
            random: self.random.clone(),
        };
        let limiter = Arc::new(MemoryRateLimiter::with_capacity(Arc::clone(&sources.clock), 64));
        let stores = stores(road.clone(), &self.accounts, self.grants.clone(), self.worlds.clone());
        let config = ServiceConfig {
            limits: LimitsConfig::uniform(Quota::per(1_000_000, Unit::Second)),
            accounts: AccountsConfig { access_token_life: self.plan.token_life, ..AccountsConfig::default() },
            ..ServiceConfig::default()
        };
        let presence = self.presence.clone();
        let shared = Shared { bus: line, limiter, presence, notices: Arc::new(LocalNotices::default()) };
        let services = Services::start_shared(stores, shared, config, sources).await.expect("services start");
        let registry = Registry::new();
        let origins = AllowedOrigins::new([ORIGIN]);
        let realtime = Realtime::new(services.clone(), origins, self.plan.realtime.clone(), &registry);
        let presence = Arc::clone(&services.presence);
        Arc::new(Node {
            realtime: realtime.expect("one host, one registry"),
            presence: tokio::spawn(async move { presence.run().await }).abort_handle(),
            started: services.revocations.mark(),
            services,
            registry,
            scissors: Arc::default(),
            port,
            road,
        })
    }

    pub(crate) fn node(&self, n: usize) -> Option<Arc<Node>> {
        let nodes = self.nodes.lock().expect("no panic");
        nodes[n % nodes.len()].clone()
    }

    /// Returns a node that runs, if one does.
    pub(crate) fn some_node(&self, dice: &mut Dice) -> Option<Arc<Node>> {
        self.node(dice.below(self.plan.nodes))
    }

    /// Ends a node as if the power had failed: nothing of it reaches anybody any more.
    fn kill(&self, n: usize) {
        let Some(node) = self.nodes.lock().expect("no panic")[n].take() else { return };
        node.port.end();
        node.road.end();
        node.presence.abort();
        node.scissors.cut();
    }

    async fn revive(&self, n: usize, dice: &mut Dice) {
        if self.node(n).is_none() {
            let node = self.start_node(dice).await;
            self.nodes.lock().expect("no panic")[n] = Some(node);
        }
    }

    /// Returns how far all rooms are.
    pub(crate) fn heads(&self) -> [At; 2] {
        [LOBBY, DEN].map(|room| self.depot.head(room))
    }

    pub(crate) fn channel(&self, room: usize) -> ChannelId {
        self.depot.channel(room)
    }

    /// Notes what broke first.
    pub(crate) fn breaks(&self, what: &str) {
        self.broken.lock().expect("no panic").get_or_insert_with(|| format!("at {:?}: {what}", self.began.elapsed()));
    }

    pub(crate) fn broken(&self) -> Option<String> {
        self.broken.lock().expect("no panic").clone()
    }

    /// Adds to the history's fingerprint (FNV-1a).
    pub(crate) fn witness(&self, parts: [u64; 4]) {
        let now = u64::try_from(self.began.elapsed().as_micros()).expect("a run is short");
        let mut digest = self.digest.load(Ordering::SeqCst);
        for byte in parts.into_iter().chain([now]).flat_map(u64::to_le_bytes) {
            digest = (digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        self.digest.store(digest, Ordering::SeqCst);
    }

    pub(crate) fn digest(&self) -> u64 {
        self.digest.load(Ordering::SeqCst)
    }

    pub(crate) fn is_settling(&self) -> bool {
        self.is_settling.load(Ordering::SeqCst)
    }

    pub(crate) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::SeqCst) || self.broken.lock().expect("no panic").is_some()
    }

    /// Lets things fail until the time is up, and then mends everything.
    pub(crate) async fn befall(&self, mut dice: Dice) {
        let end = self.began + self.plan.span;
        let often = dice.within(200..2_500);
        loop {
            tokio::time::sleep(dice.millis(0..often)).await;
            if Instant::now() >= end || self.is_over() {
                break;
            }
            self.misfortune(&mut dice).await;
        }
        self.network.heal();
        self.depot.away.store(false, Ordering::SeqCst);
        self.accounts.away.store(false, Ordering::SeqCst);
        for n in 0..self.plan.nodes {
            self.revive(n, &mut dice).await;
            self.node(n).expect("it runs").road.heal();
        }
        self.is_settling.store(true, Ordering::SeqCst);
    }

    async fn misfortune(&self, dice: &mut Dice) {
        const NAMES: [&str; 20] = [
            "losses on the bus",
            "doubles on the bus",
            "disorder on the bus",
            "stalls of the bus",
            "breaks of the bus",
            "stores away",
            "nodes cut off the store",
            "slow stores",
            "stores that fail behind the effect",
            "killed nodes",
            "stores that never answer",
            "restored backups",
            "ended sessions",
            "taken rights",
            "sessions that cannot be read",
            "drained nodes",
            "crowds",
            "crowds",
            "retention",
            "retention in the middle of a replay",
        ];
        let n = dice.below(self.plan.nodes);
        let node = self.node(n);
        let which = dice.below(NAMES.len());
        crate::count(NAMES[which]);
        match which {
            0 => self.network.loss.store(dice.pick(&[0, 50, 300, 1000]), Ordering::SeqCst),
            1 => self.network.doubling.store(dice.pick(&[0, 200, 1000]), Ordering::SeqCst),
            2 => self.network.disorder.store(dice.pick(&[0, 5, 15, 200]), Ordering::SeqCst),
            3 => node.into_iter().for_each(|node| node.port.stall(dice.millis(100..4_000))),
            4 => {
                let Some(node) = node else { return };
                node.port.break_off();
                let pause = dice.millis(50..3_000);
                tokio::time::sleep(pause).await;
                node.port.mend();
            }
            5 => {
                self.depot.away.store(true, Ordering::SeqCst);
                tokio::time::sleep(dice.millis(50..3_000)).await;
                self.depot.away.store(false, Ordering::SeqCst);
            }
            6 => {
                let Some(node) = node else { return };
                node.road.blocked.store(true, Ordering::SeqCst);
                tokio::time::sleep(dice.millis(50..3_000)).await;
                node.road.blocked.store(false, Ordering::SeqCst);
            }
            7 => node.into_iter().for_each(|node| node.road.slowness.store(dice.pick(&[0, 30, 400]), Ordering::SeqCst)),
            8 => node.into_iter().for_each(|node| node.road.shaky.store(dice.pick(&[0, 10, 50]), Ordering::SeqCst)),
            10 => {
                let Some(node) = node else { return };
                node.road.silent.store(true, Ordering::SeqCst);
                tokio::time::sleep(dice.millis(50..3_000)).await;
                node.road.silent.store(false, Ordering::SeqCst);
            }
            9 => {
                self.kill(n);
                tokio::time::sleep(dice.millis(0..3_000)).await;
                self.revive(n, dice).await;
            }
            11 => self.restore(dice).await,
            12 => self.end_session(dice).await,
            13 => self.take_rights(dice).await,
            14 => {
                self.accounts.away.store(true, Ordering::SeqCst);
                tokio::time::sleep(dice.millis(50..3_000)).await;
                self.accounts.away.store(false, Ordering::SeqCst);
            }
            16 | 17 => {
                let Some(node) = node else { return };
                self.crowd(&node, dice).await;
            }
            18 => {
                let room = dice.pick(&[LOBBY, LOBBY, DEN]);
                let count = dice.pick(&[1, 5, 20, u32::MAX]);
                self.depot.purge(self.channel(room), count).await;
            }
            19 => self.depot.trims_replays.store(true, Ordering::SeqCst),
            _ => {
                // A whole node goes in peace, and comes back.
                let Some(node) = node else { return };
                node.realtime.drain().await;
                self.kill(n);
                self.revive(n, dice).await;
            }
        }
    }

    /// Has many come to the room of everybody at once, write there, and go again.
    async fn crowd(&self, node: &Node, dice: &mut Dice) {
        let presence = &node.services.presence;
        let passers: Vec<_> = (0..dice.within(20..170)).map(|n| (SocketId(u64::MAX - n), self.ids.draw())).collect();
        for (socket, account) in &passers {
            let name = DisplayName::new("Somebody who passes").expect("a name");
            presence.enter(Room::Global, *socket, AccountId::new(*account), &name).await;
            presence.type_in(Room::Global, AccountId::new(*account), &name).await;
        }
        tokio::time::sleep(dice.millis(0..700)).await;
        for (socket, _) in passers {
            presence.leave(Room::Global, socket);
        }
    }

    /// Notes that a client is in the room of everybody, or is not any more.
    pub(crate) fn come(&self, client: usize, there: Option<(AccountId, Option<String>)>) {
        let mut square = self.square.lock().expect("no panic");
        match there {
            Some(there) => drop(square.insert(client, there)),
            None => drop(square.remove(&client)),
        }
    }

    /// Returns who is in the room of everybody, and what they say of themselves.
    pub(crate) fn there(&self) -> BTreeSet<(String, Option<String>)> {
        let square = self.square.lock().expect("no panic");
        square.values().map(|(account, said)| (account.to_string(), said.clone())).collect()
    }

    /// Puts a backup in the store's place. Meanwhile it is away, and long enough for nobody to believe in the former life.
    async fn restore(&self, dice: &mut Dice) {
        self.depot.away.store(true, Ordering::SeqCst);
        tokio::time::sleep(dice.millis(1_500..3_000)).await;
        self.depot.restore(dice).await;
        self.depot.away.store(false, Ordering::SeqCst);
    }

    fn some_resident(&self, dice: &mut Dice) -> Arc<Resident> {
        let residents = self.residents.lock().expect("no panic");
        Arc::clone(&residents[dice.below(residents.len())])
    }

    async fn end_session(&self, dice: &mut Dice) {
        let (resident, node) = (self.some_resident(dice), self.some_node(dice));
        // One loss each, so that it is clear which one is known.
        if let Some(node) = node
            && !resident.has_left.load(Ordering::SeqCst)
            && let Some(actor) = resident.actor(&node.services).await
            && let Err(error) = node.services.accounts.sign_out(&actor).await
        {
            self.breaks(&format!("a session does not end: {error}"));
        }
    }

    async fn take_rights(&self, dice: &mut Dice) {
        let (resident, node) = (self.some_resident(dice), self.some_node(dice));
        let world = self.world.lock().expect("no panic").expect("a world");
        if let Some(node) = node
            && resident.is_member
            && let Some(actor) = resident.actor(&node.services).await
            && !resident.has_left.swap(true, Ordering::SeqCst)
            && let Err(error) = node.services.worlds.leave(&actor, &WorldRef::Id(world)).await
        {
            self.breaks(&format!("a member does not leave: {error}"));
        }
    }

    /// Writes, edits and removes without a socket, on whichever node runs.
    pub(crate) async fn write(&self, mut dice: Dice, writer: usize) {
        let author = Actor::player(&format!("Writer {writer}"));
        let pause = dice.within(100..2_000);
        let mut n = 0;
        while !self.is_settling() && !self.is_over() {
            tokio::time::sleep(dice.millis(1..pause)).await;
            let Some(node) = self.some_node(&mut dice) else { continue };
            let chat = &node.services.chat;
            match dice.below(10) {
                0..5 => {
                    let body = text(&mut dice, n);
                    self.post(chat, &author, body, &mut n, &mut dice).await;
                }
                5 => {
                    // Many at once: enough to turn a ring over.
                    for _ in 0..dice.within(4..14) {
                        let body = text(&mut dice, n) + &"x".repeat(dice.below(1_800));
                        self.post(chat, &author, body, &mut n, &mut dice).await;
                    }
                }
                6 | 7 => {
                    if let Some(message) = self.depot.some_message(LOBBY, &mut dice) {
                        let text = text(&mut dice, n);
                        // Who is not its author, or comes too late, changes nothing.
                        let _ = in_time(chat.edit(&author, message, &text)).await;
                    }
                }
                _ => {
                    let room = dice.pick(&[LOBBY, DEN]);
                    if let Some(message) = self.depot.some_message(room, &mut dice) {
                        let mode = dice.pick(&[RemovalMode::Mask, RemovalMode::Purge]);
                        let operator = Actor::operator();
                        let _ = in_time(chat.remove(&operator, message, mode, Some("a reason"))).await;
                    }
                }
            }
        }
    }

    async fn post(
        &self,
        chat: &weltenwind_core::chat::Chat,
        author: &Actor,
        body: String,
        n: &mut u64,
        dice: &mut Dice,
    ) {
        *n += 1;
        let mut draft = Draft::new(self.channel(LOBBY), body);
        if dice.percent(50) {
            draft = draft.with_client_id(format!("post-{n}"));
        }
        if let Some(Ok(posted)) = in_time(chat.post(author, draft)).await {
            self.acknowledge(LOBBY, posted.message.id.to_string());
        }
    }

    pub(crate) fn acknowledge(&self, room: usize, message: String) {
        self.acknowledged.lock().expect("no panic").push(Acknowledged { room, message });
    }

    /// Looks at the memory that nodes keep for rooms.
    pub(crate) async fn weigh(&self) {
        while !self.is_over() {
            tokio::time::sleep(Duration::from_secs(3)).await;
            for n in 0..self.plan.nodes {
                if let Some(node) = self.node(n) {
                    self.weigh_node(&node);
                }
            }
        }
    }

    fn weigh_node(&self, node: &Node) {
        /// What a ring keeps however many there are, and its newest frame: a page's text and one record more.
        const RING: i64 = 16 * 1024 + 32 * 1024 + 16 * 1024;
        /// A page that a socket holds of a room: two frames and their headers.
        const PAGE: i64 = 2 * (32 * 1024 + 10);
        let (rooms, bytes) = (node.gauge("weltenwind_ws_rooms"), node.gauge("weltenwind_ws_ring_bytes"));
        let total = i64::try_from(self.plan.realtime.rings_bytes).expect("a size");
        let budget = if self.plan.mutation == Mutation::Starve { 0 } else { total + rooms * RING };
        if bytes > budget {
            self.breaks(&format!("{rooms} rooms keep {bytes} bytes, and may keep {budget}"));
        }
        let (sockets, held) = (node.gauge("weltenwind_ws_connections"), node.gauge("weltenwind_ws_page_bytes"));
        let channels = i64::try_from(self.heads().len()).expect("two");
        let budget = sockets * channels * PAGE;
        if held > budget {
            self.breaks(&format!("{sockets} sockets hold pages of {held} bytes, and may hold {budget}"));
        }
    }

    /// Looks whether anything is kept for clients that are gone.
    pub(crate) fn look_for_remains(&self) {
        for n in 0..self.plan.nodes {
            let node = self.node(n).expect("all run");
            for gauge in ["connections", "stalled_connections", "rooms", "ring_bytes", "page_bytes"]
                .map(|name| format!("weltenwind_ws_{name}"))
            {
                let left = node.gauge(&gauge);
                if left != 0 {
                    self.breaks(&format!("{gauge} is {left} when everybody is gone"));
                }
            }
        }
    }
}

/// A text of its own.
pub(crate) fn text(dice: &mut Dice, n: u64) -> String {
    format!("{n}-{:08x}", dice.draw() & 0xffff_ffff)
}

/// Nobody waits for a node that was killed.
pub(crate) async fn in_time<T>(call: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(Duration::from_secs(8), call).await.ok()
}

pub(crate) fn request() -> CorrelationId {
    CorrelationId::accept("a-request").expect("a name")
}

impl Resident {
    pub(crate) async fn actor(&self, services: &Services) -> Option<Actor> {
        services.accounts.actor_of_session(self.grant.session, request()).await.ok()
    }
}

impl Node {
    #[expect(clippy::cast_possible_truncation, reason = "these gauges count things")]
    fn gauge(&self, name: &str) -> i64 {
        let families = self.registry.gather();
        let family = families.iter().find(|family| family.name() == name).expect("a gauge of that name");
        family.get_metric()[0].get_gauge().get_value() as i64
    }

    /// Opens a connection for a resident.
    pub(crate) async fn connect(&self, town: &Arc<Town>, resident: &Arc<Resident>, bytes: usize) -> Option<Hose> {
        let (client, server) = tokio::io::duplex(bytes);
        let actor = resident.actor(&self.services).await;
        let (revocations, started) = (self.services.revocations.clone(), self.started);
        let (account, session) = (resident.account, resident.grant.session);
        let device = actor?.device?;
        let den = format!("channel:{}", town.channel(DEN));
        let (resident, mutation) = (Arc::clone(resident), town.plan.mutation);
        let secret = move || {
            if revocations.check(account, session, device).is_err() || mutation == Mutation::Revoke {
                Secret::Everything
            } else if resident.has_left.load(Ordering::SeqCst) && revocations.touched_since(account, started) {
                Secret::Room(den.clone())
            } else {
                Secret::Nothing
            }
        };
        let tells = Arc::downgrade(town);
        let tells = move |what: String| tells.upgrade().into_iter().for_each(|town| town.breaks(&what));
        let tap = Tap::new(Box::new(secret), Box::new(tells));
        let server = Hose::new(server, &self.scissors, Some(tap));
        let realtime = self.realtime.clone();
        let service = service_fn(move |mut asked: hyper::Request<Incoming>| {
            asked.extensions_mut().insert(request());
            realtime.clone().call(asked)
        });
        let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(server), service);
        tokio::spawn(connection.with_upgrades());
        Some(Hose::new(client, &self.scissors, None))
    }
}
