//! A real server on a throw-away store, behind a wire that can be cut, and clients that speak to it.

#![allow(dead_code, reason = "each test program uses a part of it")]

pub(crate) mod script;
pub(crate) mod shaky;
pub(crate) mod wire;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use prometheus::Registry;
use tempfile::TempDir;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use weltenwind_client::{ChannelId, Client, Event, HistoryQuery, Realtime, RealtimeOptions, Room};
use weltenwind_core::{
    Actor, AllowedOrigins, ManualClock, Scope, ServiceConfig, Services, Sources,
    access::{GrantDraft, Role},
    accounts::AccountsConfig,
    chat::ChannelDraft,
    limits::{LimitsConfig, Quota, Unit},
    presence::PresenceConfig,
    worlds::{Slug, WorldDraft},
};
use weltenwind_http::{HttpConfig, HttpHost};
use weltenwind_storage::StorageConfig;

use self::{shaky::Shaky, wire::Wire};

/// Nothing here takes longer on the slowest machine; a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_mins(1);

/// Waits for something that should happen.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it happens in time")
}

/// Pauses that do not hold up a test.
pub(crate) fn quick() -> RealtimeOptions {
    let (shortest_pause, longest_pause) = (Duration::from_millis(5), Duration::from_millis(50));
    RealtimeOptions { shortest_pause, longest_pause, ..RealtimeOptions::default() }
}

/// How a town's servers are set up.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) accounts: AccountsConfig,
    pub(crate) realtime: weltenwind_ws::RealtimeConfig,
    /// A clock to be moved by hand, in place of the system's.
    pub(crate) clock: Option<Arc<ManualClock>>,
    pub(crate) limits: LimitsConfig,
    pub(crate) presence: PresenceConfig,
    /// Posts whose answers get lost between the store and the server.
    pub(crate) losses: Arc<AtomicU32>,
}

impl Default for Settings {
    /// Quotas for programs, which post faster than people do.
    fn default() -> Self {
        Self {
            accounts: AccountsConfig::default(),
            realtime: weltenwind_ws::RealtimeConfig::default(),
            clock: None,
            limits: LimitsConfig::uniform(Quota::per(1_000_000, Unit::Second)),
            presence: PresenceConfig::default(),
            losses: Arc::default(),
        }
    }
}

/// A store, the servers that are started on it one after the other, and the address that stays the same.
pub(crate) struct Town {
    pub(crate) wire: Wire,
    pub(crate) channel: ChannelId,
    settings: Settings,
    folder: TempDir,
    node: Option<Node>,
}

/// A running server.
struct Node {
    services: Services,
    realtime: weltenwind_ws::Realtime,
    address: SocketAddr,
    registry: Registry,
    stop: CancellationToken,
    serving: JoinHandle<()>,
    telling: JoinHandle<()>,
}

impl Town {
    pub(crate) async fn start() -> Self {
        Self::with(Settings::default()).await
    }

    /// A town with one world, `welcome`, and one channel in it, `general`.
    pub(crate) async fn with(settings: Settings) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let node = Node::start(&folder, &settings).await;
        let operator = Actor::operator();
        let slug = Some(Slug::new("welcome").expect("a slug"));
        let draft = WorldDraft { slug, ..WorldDraft::new("Welcome").expect("a name") };
        let world = node.services.worlds.create(&operator, draft).await.expect("a world");
        let draft = ChannelDraft::new(Scope::World(world.id), "general", "General");
        let channel = node.services.chat.open_channel(&operator, draft).await.expect("a channel").id;
        let wire = Wire::to(node.address).await;
        Self { wire, channel, settings, folder, node: Some(node) }
    }

    fn node(&self) -> &Node {
        self.node.as_ref().expect("the server runs")
    }

    pub(crate) fn services(&self) -> &Services {
        &self.node().services
    }

    pub(crate) fn room(&self) -> Room {
        Room::Channel(self.channel)
    }

    /// Sends all sockets away and stops the server, as a planned stop does.
    pub(crate) async fn stop(&mut self) {
        let node = self.node.take().expect("the server runs");
        node.realtime.drain().await;
        node.stop.cancel();
        node.serving.await.expect("the server ends");
        node.telling.abort();
        self.wire.lead_nowhere();
        node.services.health.close().await;
    }

    /// Starts a server on the same store, at the same address as far as clients see.
    pub(crate) async fn start_again(&mut self) {
        self.start_again_hidden().await;
        self.show();
    }

    /// Starts a server on the same store that only bystanders reach yet.
    pub(crate) async fn start_again_hidden(&mut self) {
        self.node = Some(Node::start(&self.folder, &self.settings).await);
    }

    /// Lets clients reach the server.
    pub(crate) fn show(&self) {
        self.wire.lead_to(self.node().address);
    }

    /// A client through the wire, not signed in.
    pub(crate) fn client(&self) -> Client {
        Client::new(&self.wire.url()).expect("an address")
    }

    /// A client through the wire, signed in.
    pub(crate) async fn guest(&self, name: &str) -> Client {
        let client = self.client();
        client.guest(name).await.expect("a session");
        client
    }

    /// A client through the wire, signed in as one who may make worlds.
    pub(crate) async fn owner(&self) -> Client {
        let client = self.client();
        let user = client.guest("Keeper").await.expect("a session");
        let admin =
            GrantDraft { account: user.id, role: Role::Admin, scope: Scope::Global, reason: None, expires_at: None };
        self.services().grants.give(&Actor::operator(), admin).await.expect("a grant");
        client
    }

    /// A client that the wire does not stand before: its calls come through whatever is cut.
    pub(crate) async fn bystander(&self, name: &str) -> Client {
        let client = Client::new(&format!("http://{}", self.node().address)).expect("an address");
        client.guest(name).await.expect("a session");
        client
    }

    /// A socket that has joined the channel.
    pub(crate) async fn member(&self, client: &Client) -> Realtime {
        let mut realtime = soon(Realtime::connect_with(client, &quick())).await.expect("a socket");
        soon(realtime.join(self.room(), None)).await.expect("the room is joined");
        assert!(matches!(soon(realtime.next()).await, Some(Event::Live { .. })));
        realtime
    }

    /// Every message of the channel, oldest first.
    pub(crate) async fn history(&self, client: &Client) -> Vec<String> {
        let (mut texts, mut query) = (Vec::new(), HistoryQuery::newer().limit(200));
        loop {
            let page = client.history(self.channel, &query).await.expect("a page");
            texts.extend(page.items.into_iter().map(|message| message.body.expect("a text")));
            match page.next_cursor {
                Some(cursor) => query = HistoryQuery::newer().limit(200).behind(cursor),
                None => return texts,
            }
        }
    }

    /// How many sockets are open.
    pub(crate) fn connections(&self) -> usize {
        self.node().realtime.connections()
    }

    /// Lets the store do what the next so many posts ask for, and say that it is away.
    pub(crate) fn lose_answers(&self, losses: u32) {
        self.settings.losses.store(losses, Ordering::SeqCst);
    }

    /// How often the server answered a call with a status.
    pub(crate) fn answered(&self, route: &str, status: u16) -> u64 {
        let families = self.node().registry.gather();
        let family = families.iter().find(|family| family.name() == "weltenwind_http_requests_total");
        let metrics = family.map_or(&[][..], |family| family.get_metric());
        let status = status.to_string();
        let has = |metric: &prometheus::proto::Metric, name, value: &str| {
            metric.get_label().iter().any(|label| label.name() == name && label.value() == value)
        };
        let counted = metrics.iter().filter(|metric| has(metric, "route", route) && has(metric, "status", &status));
        // A counter of whole numbers prints as one.
        counted.map(|metric| metric.get_counter().get_value().to_string().parse::<u64>().expect("a count")).sum()
    }
}

impl Node {
    async fn start(folder: &TempDir, settings: &Settings) -> Self {
        let url = format!("sqlite://{}", folder.path().join("town.db").display());
        let storage = StorageConfig { url, ..StorageConfig::default() };
        let mut stores = weltenwind_storage::open(&storage).await.expect("a store");
        stores.chat = Arc::new(Shaky { store: stores.chat, losses: Arc::clone(&settings.losses) });
        let (accounts, limits) = (settings.accounts.clone(), settings.limits.clone());
        let presence = settings.presence;
        let config = ServiceConfig { accounts, limits, presence, ..ServiceConfig::default() };
        let mut sources = Sources::default();
        if let Some(clock) = &settings.clock {
            sources.clock = clock.clone();
        }
        let services = Services::start(stores, config, sources).await.expect("services");
        let registry = Registry::new();
        let http = HttpConfig::default();
        let origins = AllowedOrigins::of_public_url(&http.public_url);
        let realtime = weltenwind_ws::Realtime::new(services.clone(), origins, settings.realtime.clone(), &registry);
        let realtime = realtime.expect("metrics");
        let host = HttpHost::new(services.clone(), http.clone(), &registry).mount("/realtime/v1", realtime.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let stop = CancellationToken::new();
        let (router, stopped) = (host.into_router(), stop.clone());
        let serving = tokio::spawn(async move { weltenwind_http::serve(listener, router, &http, stopped).await });
        let presence = Arc::clone(&services.presence);
        let telling = tokio::spawn(async move { presence.run().await });
        Self { services, realtime, address, registry, stop, serving, telling }
    }
}

/// The next message that a program is told of; other events are passed over.
pub(crate) async fn next_message(realtime: &mut Realtime) -> String {
    let next = async {
        loop {
            match realtime.next().await.expect("the socket stays open") {
                Event::Message { message, .. } => return message.body.expect("a text"),
                Event::Gap { .. } | Event::Updated { .. } | Event::Closed { .. } => panic!("a message is expected"),
                _ => {}
            }
        }
    };
    soon(next).await
}

/// So many messages.
pub(crate) async fn next_messages(realtime: &mut Realtime, count: usize) -> Vec<String> {
    let mut texts = Vec::new();
    while texts.len() < count {
        texts.push(next_message(realtime).await);
    }
    texts
}
