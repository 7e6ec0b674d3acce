//! `weltenwind bench realtime`: what a delivery over a socket costs, and how long it takes.
//!
//! The server runs in processes of its own, started for each run; the clients run in this one. To give each a core of its
//! own, name the server's and keep this process on the other: `taskset -c 1 weltenwind bench realtime --server-core 0`.

mod crowd;
mod dialect;
mod floor;
mod frames;
mod processes;
mod report;
mod server;
mod tally;
mod workload;

use std::{
    fs,
    net::{SocketAddr, ToSocketAddrs as _},
    ops::RangeInclusive,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    thread,
    time::Duration,
};

use clap::Args;
use reqwest::Url;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    runtime::Handle,
    sync::Semaphore,
    task::JoinSet,
};
use weltenwind_core::{
    AccountId, Actor, ChannelId, IdGenerator as _, MessageId, Room, Scope, Stores, SystemIds,
    accounts::DisplayName,
    chat::{Author, Body, ChannelDraft, Chat, NewMessage},
    wire::SessionBody,
};
use weltenwind_storage::StorageConfig;

use self::{
    crowd::{Crowd, Place},
    dialect::Stamp,
    floor::Written,
    processes::Watched,
    report::{Figures, Replay, Report, Row, Run, Watches, Writes, real},
    server::{Peer, SETTINGS, pinned},
    workload::{Named, Pace, REPLAYED, What, Workload},
};
pub(super) use self::{
    floor::{FloorArgs, run as floor},
    report::Spread,
    server::{Running, Server, Start},
};
use super::nodes::joined;
use crate::{
    failure::{Exit, Failure},
    output::Output,
    store::unopened,
};

#[derive(Debug, Args)]
pub(crate) struct RealtimeArgs {
    /// What to measure, separated by commas; all of it if absent.
    #[arg(long = "workload", value_enum, value_delimiter = ',', conflicts_with = "sockets")]
    workloads: Vec<Named>,
    /// A workload of your own instead: so many sockets, evenly in the rooms.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=20_000))]
    sockets: Option<u32>,
    /// Rooms of your own workload, with one publisher each.
    #[arg(long, default_value_t = 1, requires = "sockets", value_parser = clap::value_parser!(u32).range(1..=1000))]
    rooms: u32,
    /// Messages a second of your own workload, in all rooms together.
    #[arg(long, default_value_t = 100, requires = "sockets", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: u32,
    /// Messages that each publisher of your own workload keeps under way, instead of a rate.
    #[arg(long, requires = "sockets", value_parser = clap::value_parser!(u32).range(1..=1024))]
    under_way: Option<u32>,
    /// What the publishers of your own workload say.
    #[arg(long, value_enum, default_value = "messages", requires = "sockets")]
    what: What,
    /// Seconds of each measurement, after one second to warm up.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=300))]
    seconds: u64,
    /// How often each is measured, the servers in turn; the middle one and the range are told.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=50))]
    runs: u32,
    /// Seconds for which the sockets of `many` are measured while nothing is posted: two signs of life of each, or 0 for
    /// none. What the server spends before they come is measured as well, and is not theirs.
    #[arg(long, default_value_t = 50, value_parser = idle_seconds)]
    idle_seconds: u64,
    /// The core that servers are kept on; keep their database on it, too.
    #[arg(long, value_name = "N")]
    server_core: Option<usize>,
    /// Set a configuration value of the servers that are started: --server-set chat.lanes=2.
    #[arg(long, value_name = "KEY=VALUE", conflicts_with = "urls")]
    server_set: Vec<String>,
    /// Nodes that are started; each room has its members on all of them in turn. More than one need --redis and a Postgres.
    #[arg(long, default_value_t = 1, conflicts_with = "urls", value_parser = clap::value_parser!(u32).range(1..=8))]
    nodes: u32,
    /// The Redis between the nodes.
    #[arg(long, value_name = "URL", conflicts_with = "urls")]
    redis: Option<String>,
    /// A running node to measure instead of starting one; give it once for each node, and its store with --database, where
    /// channels are opened. Start it with one `public_url` for all nodes and the settings that the output names.
    #[arg(long = "url", value_name = "URL")]
    urls: Vec<String>,
    /// A room that is there, to be joined instead of opening one; give it once for each. Whatever server speaks the protocol
    /// can be measured so, without its store. Each record must come in one frame.
    #[arg(long = "room", value_name = "ROOM", requires = "urls", conflicts_with = "database")]
    given_rooms: Vec<String>,
    /// A file with a token on each line, and behind a space whose it is: of sockets that are opened in this order. Without it
    /// guests sign in with `POST /api/v1/auth/guest`.
    #[arg(long, value_name = "FILE", requires = "urls")]
    tokens: Option<PathBuf>,
    /// The process of a running node, for time on the processor and memory; give it once for each node.
    #[arg(long = "pid", value_name = "PID", requires = "urls")]
    processes: Vec<u32>,
    /// The first process of the database's server, if it is not found by its connections.
    #[arg(long, value_name = "PID")]
    database_pid: Option<u32>,
    /// Measure these beside, by the same clients in the same run.
    #[arg(long, value_enum, value_delimiter = ',')]
    beside: Vec<Peer>,
    /// Measure also what writing costs: a prepared frame to each of 1 000 sockets in turn, once and 16 times a write.
    #[arg(long)]
    floor: bool,
    /// A store to write to; the channels are closed afterwards, their messages stay.
    #[arg(long, value_name = "URL")]
    pub(super) database: Option<String>,
}

const WARM_UP: Duration = Duration::from_secs(1);
/// Less than two signs of life of each socket is less than what it does, and tells nothing.
const IDLE_SECONDS: RangeInclusive<u64> = 50..=300;
/// For so long a server is measured before its sockets come: two turns of what it does every five seconds.
const EMPTY: Duration = Duration::from_secs(10);
/// Accounts that are made at once.
const SIGNING_IN: usize = 32;
/// The sockets and the copies a write of bare writes.
const FLOORS: [(usize, usize); 2] = [(1000, 1), (1000, 16)];
const FLOOR_SECONDS: u64 = 2;
const OF_THE_MOMENT: &str = "socketio knows messages alone: leave it away, or ephemeral";

pub(crate) async fn run(args: RealtimeArgs, storage: StorageConfig, output: Output) -> Result<(), Failure> {
    let workloads = workloads(&args)?;
    let mut bench = Bench::prepare(args, &storage).await?;
    let report = bench.report(&workloads).await;
    if let Rooms::Opened { stores, .. } = &bench.rooms {
        stores.health.close().await;
    }
    let report = report?;
    output.value(&report, Report::text)?;
    let wrong = report.wrong();
    if wrong.is_nothing() {
        return Ok(());
    }
    let (lost, doubled, late, elsewhere) = (wrong.lost, wrong.doubled, wrong.out_of_order, wrong.elsewhere);
    Err(Failure::new(
        Exit::Findings,
        format!("{lost} lost, {doubled} doubled, {late} out of order, {elsewhere} in a wrong room"),
    ))
}

/// What is measured, one after the other; none stands for `replay`.
fn workloads(args: &RealtimeArgs) -> Result<Vec<Option<Workload>>, Failure> {
    if let Some(sockets) = args.sockets {
        let [sockets, rooms] = [sockets, args.rooms].map(|n| n as usize);
        if sockets % rooms != 0 {
            return Err(Failure::usage("--sockets must be a multiple of --rooms"));
        }
        let pace = args.under_way.map_or(Pace::Rate(args.rate), |limit| Pace::UnderWay(limit as usize));
        let members = sockets / rooms;
        if args.what == What::Presence && rooms > 1 {
            return Err(Failure::usage("--what presence has one room"));
        }
        if args.what != What::Messages && args.beside.contains(&Peer::SocketIo) {
            return Err(Failure::usage(OF_THE_MOMENT));
        }
        let (what, idles) = (args.what, false);
        return Ok(vec![Some(Workload { name: "own", rooms, members, publishers_per_room: 1, what, pace, idles })]);
    }
    let named = if args.workloads.is_empty() {
        use Named::{Ephemeral, Light, Many, Max, Maxrooms, Mid, Replay, Rooms};
        let all = [Light, Rooms, Mid, Many, Max, Maxrooms, Ephemeral, Replay];
        // Messages for a replay are put into the store past a server, which only one that starts later notices. And what is
        // of the moment the room in Node knows nothing of.
        let has_all = args.beside.iter().all(|peer| *peer != Peer::SocketIo);
        let is_meant = |named: &Named| (args.urls.is_empty() || *named != Replay) && (has_all || *named != Ephemeral);
        all.into_iter().filter(is_meant).collect()
    } else {
        args.workloads.clone()
    };
    if !args.urls.is_empty() && named.contains(&Named::Replay) {
        return Err(Failure::usage("replay starts servers of its own and cannot be measured with --url"));
    }
    if named.contains(&Named::Ephemeral) && args.beside.contains(&Peer::SocketIo) {
        return Err(Failure::usage(OF_THE_MOMENT));
    }
    Ok(named.into_iter().flat_map(Named::workloads).collect())
}

/// A token, and the account that it is of.
type Guest = (Arc<str>, Arc<str>);

/// Where what is said goes.
enum Rooms {
    /// Into channels that are opened for it.
    Opened {
        stores: Box<Stores>,
        chat: Chat,
    },
    Given(Vec<String>),
}

impl Rooms {
    fn opened(&self) -> Result<(&Stores, &Chat), Failure> {
        match self {
            Self::Opened { stores, chat } => Ok((stores, chat)),
            Self::Given(_) => Err(Failure::usage("a store is needed, and rooms are given")),
        }
    }
}

struct Bench {
    args: RealtimeArgs,
    rooms: Rooms,
    start: Start,
    /// Who opens sockets.
    tokens: Vec<Guest>,
    watched: Watched,
}

impl Bench {
    async fn prepare(args: RealtimeArgs, storage: &StorageConfig) -> Result<Self, Failure> {
        let nodes = args.nodes as usize;
        if nodes > 1 && args.redis.is_none() {
            return Err(Failure::usage("--nodes takes the --redis between them"));
        }
        if !args.processes.is_empty() && args.processes.len() != args.urls.len() {
            return Err(Failure::usage("--pid is given once for each --url"));
        }
        let is_given = !args.given_rooms.is_empty();
        if !args.urls.is_empty() && !is_given && args.database.is_none() {
            return Err(Failure::usage("--url takes the store of its nodes with --database, or a --room to join"));
        }
        let rooms = if is_given {
            Rooms::Given(args.given_rooms.clone())
        } else {
            let stores = weltenwind_storage::open(storage).await.map_err(unopened)?;
            // The database's processes are known by a connection to them.
            stores.health.check().await?;
            let chat = Chat::builder(Arc::clone(&stores.chat)).build();
            Rooms::Opened { stores: Box::new(stores), chat }
        };
        let watched = Watched {
            server: args.processes.clone(),
            database: if is_given { args.database_pid } else { database_process(&args, &storage.url)? },
            broker: args.redis.as_deref().and_then(|url| processes::redis_at(port(url, 6379)?)),
            metrics: Vec::new(),
        };
        let start = Start {
            core: args.server_core,
            nodes,
            database: storage.url.clone(),
            redis: args.redis.clone(),
            settings: args.server_set.clone(),
        };
        Ok(Self { args, rooms, start, tokens: Vec::new(), watched })
    }

    async fn report(&mut self, workloads: &[Option<Workload>]) -> Result<Report, Failure> {
        let sockets = workloads.iter().map(|workload| workload.map_or(1, |workload| workload.sockets()));
        self.tokens = self.sign_in(sockets.max().unwrap_or_default()).await?;
        let mut servers = vec![Server::Weltenwind];
        servers.extend(self.args.beside.iter().map(|peer| Server::Beside(*peer)));
        let (mut rows, mut replays) = (Vec::new(), Vec::new());
        for workload in workloads {
            let Some(workload) = workload else {
                replays.push(self.replays().await?);
                continue;
            };
            let mut runs: Vec<Vec<Run>> = servers.iter().map(|_| Vec::new()).collect();
            for _ in 0..self.args.runs {
                for (server, runs) in servers.iter().zip(&mut runs) {
                    runs.push(self.run(*server, workload).await?);
                }
            }
            let mut measured: Vec<Row> =
                servers.iter().zip(runs).map(|(server, runs)| row(*server, workload, &runs)).collect();
            // Linux counts in hundredths of a second, so what takes hardly any takes none.
            let micros = |row: &Row| row.figures.server_micros.map(Spread::median).filter(|micros| *micros > 0.0);
            let floor = measured.iter().find(|row| row.server == Server::Beside(Peer::Floor).name()).and_then(micros);
            for row in &mut measured {
                row.floor_quotient = micros(row).zip(floor).map(|(micros, floor)| micros / floor);
            }
            rows.extend(measured);
        }
        let writes = if self.args.floor { self.floors().await? } else { Vec::new() };
        Ok(Report { conditions: self.conditions()?, workloads: rows, replays, writes })
    }

    /// Makes accounts before anything is measured.
    async fn sign_in(&self, count: usize) -> Result<Vec<Guest>, Failure> {
        if let Some(file) = &self.args.tokens {
            return given_tokens(file, count);
        }
        let running = self.serve(Server::Weltenwind).await?;
        let url = format!("http://{}/api/v1/auth/guest", running.addresses[0]);
        let (http, places) = (reqwest::Client::new(), Arc::new(Semaphore::new(SIGNING_IN)));
        let mut signing_in = JoinSet::new();
        for n in 0..count {
            let request = http.post(&url).json(&serde_json::json!({ "displayName": format!("Guest {n}") }));
            let places = Arc::clone(&places);
            signing_in.spawn(async move {
                let _place = places.acquire_owned().await.expect("nobody closes the semaphore");
                let response = request.send().await.and_then(reqwest::Response::error_for_status)?;
                let session = response.json::<SessionBody>().await?;
                Ok::<_, reqwest::Error>((session.access_token, session.user.id.to_string()))
            });
        }
        let mut tokens = Vec::with_capacity(count);
        while let Some(token) = signing_in.join_next().await {
            let token = joined(token)?.map_err(|error| Failure::failed(format!("a guest cannot sign in: {error}")))?;
            let (token, user) = token;
            tokens.push((Arc::from(token), Arc::from(user)));
        }
        running.end().await?;
        Ok(tokens)
    }

    /// Starts a server; one that runs already is used as it is.
    async fn serve(&self, server: Server) -> Result<Running, Failure> {
        if server != Server::Weltenwind || self.args.urls.is_empty() {
            return self.start.run(server).await;
        }
        let addresses = self.args.urls.iter().map(|url| address(url)).collect::<Result<_, _>>()?;
        Ok(Running::elsewhere(addresses))
    }

    /// Says which processes to look at.
    fn watched(&self, server: Server, running: &Running) -> Watched {
        let (server_processes, metrics) = (running.processes.clone(), running.metrics.clone());
        match server {
            Server::Weltenwind if server_processes.is_empty() => self.watched.clone(),
            Server::Weltenwind => Watched { server: server_processes, metrics, ..self.watched.clone() },
            Server::Beside(_) => {
                Watched { server: server_processes, database: None, broker: self.watched.broker, metrics }
            }
        }
    }

    async fn run(&self, server: Server, workload: &Workload) -> Result<Run, Failure> {
        let (mut names, mut channels) = (Vec::new(), Vec::new());
        for n in 0..workload.rooms {
            if workload.what == What::Presence {
                names.push(Room::Global.to_string());
            } else if let (Server::Weltenwind, Rooms::Given(rooms)) = (server, &self.rooms) {
                let few = || Failure::usage(format!("{} has {} rooms: give as many", workload.name, workload.rooms));
                names.push(rooms.get(n).cloned().ok_or_else(few)?);
            } else if server == Server::Weltenwind {
                let id = self.open_channel(n).await?;
                channels.push(id);
                names.push(Room::Channel(id).to_string());
            } else {
                names.push(format!("bench-{n}"));
            }
        }
        let running = self.serve(server).await?;
        let watched = self.watched(server, &running);
        let places = self.places(server, workload, &running.addresses);
        let (seconds, idle) = (self.args.seconds, self.args.idle_seconds);
        let workload = *workload;
        let measuring = tokio::task::spawn_blocking(move || {
            let idle = Duration::from_secs(if workload.idles { idle } else { 0 });
            measure(server, &workload, names, places, &watched, Duration::from_secs(seconds), idle)
        });
        let run = joined(measuring.await)?;
        running.end().await?;
        self.close(channels).await?;
        run
    }

    async fn open_channel(&self, n: usize) -> Result<ChannelId, Failure> {
        let slug = format!("bench-{}-{n}", SystemIds.draw().simple());
        let (_, chat) = self.rooms.opened()?;
        Ok(chat.open_channel(&Actor::operator(), ChannelDraft::new(Scope::Global, &slug, "Bench")).await?.id)
    }

    async fn close(&self, channels: Vec<ChannelId>) -> Result<(), Failure> {
        for channel in channels {
            self.rooms.opened()?.1.close_channel(&Actor::operator(), channel, None).await?;
        }
        Ok(())
    }

    /// Spreads everybody over rooms and nodes.
    fn places(&self, server: Server, workload: &Workload, nodes: &[SocketAddr]) -> Vec<Place> {
        // A room's publishers sit on all nodes, unless the server keeps their messages in order on one only.
        let stride = if server.dialect().orders_across_nodes() { 1 } else { nodes.len() };
        let publishes = |member: usize| member.is_multiple_of(stride) && member / stride < workload.publishers_per_room;
        let place = |n: usize| {
            let (room, member) = (n % workload.rooms, n / workload.rooms);
            Place {
                address: nodes[(room + member) % nodes.len()],
                token: Arc::clone(&self.tokens[n].0),
                user: Arc::clone(&self.tokens[n].1),
                room,
                publishes: publishes(member),
                since: None,
            }
        };
        (0..workload.sockets()).map(place).collect()
    }

    /// Has a socket come back to a room in which much was said.
    async fn replays(&self) -> Result<Replay, Failure> {
        let (mut times, mut messages, mut wrong) = (Vec::new(), 0, tally::Wrong::default());
        for _ in 0..self.args.runs {
            let channel = self.open_channel(0).await?;
            let running = self.serve(Server::Weltenwind).await?;
            let cursor = self.come(&running, channel, None).await?.cursor();
            let cursor = cursor.ok_or_else(|| Failure::failed("the server names no position in a room"))?;
            running.end().await?;
            self.fill(channel).await?;
            let running = self.serve(Server::Weltenwind).await?;
            let crowd = self.come(&running, channel, Some(cursor)).await?;
            let (heard, amiss, time) = crowd.replayed(REPLAYED as u64);
            drop(crowd);
            running.end().await?;
            self.close(vec![channel]).await?;
            messages = heard;
            wrong.add(amiss);
            times.push(time.as_secs_f64() * 1000.0);
        }
        let live_ms = Spread::of(times).expect("there is a run");
        Ok(Replay { server: Server::Weltenwind.name(), messages, live_ms, wrong })
    }

    /// Has one socket join.
    async fn come(&self, running: &Running, channel: ChannelId, since: Option<String>) -> Result<Crowd, Failure> {
        let (address, (token, user)) = (running.addresses[0], self.tokens[0].clone());
        let place = Place { address, token, user, room: 0, publishes: false, since };
        let names = vec![Room::Channel(channel).to_string()];
        let dialect = Server::Weltenwind.dialect();
        let coming = tokio::task::spawn_blocking(move || Crowd::gather(dialect, What::Messages, names, vec![place]));
        joined(coming.await)?
    }

    /// Puts messages into a channel past the service.
    async fn fill(&self, channel: ChannelId) -> Result<(), Failure> {
        let author = Author { id: AccountId::new(SystemIds.draw()), display_name: DisplayName::new("Mira")? };
        let sent_at = weltenwind_core::Clock::now(&weltenwind_core::SystemClock);
        let mut text = Vec::new();
        Stamp { micros: 0, publisher: 0 }.push_text(&mut text);
        let text = String::from_utf8(text).expect("it is ASCII");
        let message = |_| NewMessage {
            id: MessageId::new(SystemIds.draw()),
            channel,
            author: author.clone(),
            body: Body::from_stored(text.clone()),
            client_id: None,
            reply_to: None,
            sent_at,
            pause: Duration::ZERO,
        };
        let messages: Vec<NewMessage> = (0..REPLAYED).map(message).collect();
        for batch in messages.chunks(1000) {
            self.rooms.opened()?.0.chat.append(batch).await?;
        }
        Ok(())
    }

    async fn floors(&self) -> Result<Vec<Writes>, Failure> {
        let mut rows = Vec::new();
        for (sockets, copies) in FLOORS {
            let (mut rates, mut costs) = (Vec::new(), Vec::new());
            for _ in 0..self.args.runs {
                let Written { frames, spent, elapsed } = bare_writes(self.args.server_core, sockets, copies).await?;
                rates.push(real(frames) * 1e6 / real(elapsed));
                costs.push(real(spent) / real(frames.max(1)));
            }
            let spread = |figures| Spread::of(figures).expect("there is a run");
            rows.push(Writes { sockets, copies, deliveries_per_second: spread(rates), micros: spread(costs) });
        }
        Ok(rows)
    }

    /// Says how it was measured, so that figures can be told from others.
    fn conditions(&self) -> Result<Vec<String>, Failure> {
        let cores = |pid: u32| processes::cores_of(pid);
        let pinned = match self.args.server_core {
            Some(core) => core.to_string(),
            None if self.args.urls.is_empty() => cores(std::process::id())?,
            None => self.watched.server.iter().map(|pid| cores(*pid)).collect::<Result<Vec<_>, _>>()?.join(", "),
        };
        let mut lines = vec![
            format!("weltenwind {}, nodes: {}", env!("CARGO_PKG_VERSION"), self.start.nodes.max(self.args.urls.len())),
            match &self.rooms {
                Rooms::Opened { .. } => format!("store: {}", weltenwind_storage::redact(&self.start.database)),
                Rooms::Given(rooms) => format!("rooms that were given: {}", rooms.len()),
            },
            format!("cores of the server: {pinned}; of the clients: {}", cores(std::process::id())?),
        ];
        if let Some(pid) = self.watched.database {
            lines.push(format!("cores of the database: {}", cores(pid)?));
        }
        if let Some(pid) = self.watched.broker {
            lines.push(format!("cores of Redis: {}", cores(pid)?));
        }
        let settings = SETTINGS.into_iter().chain(self.args.server_set.iter().map(String::as_str));
        let settings = settings.collect::<Vec<_>>().join(" ");
        lines.push(if self.args.urls.is_empty() {
            format!("settings: {settings}")
        } else {
            format!("settings: those of the running nodes; this bench starts its own with {settings}")
        });
        let Self { args: RealtimeArgs { runs, seconds, .. }, .. } = self;
        lines.push(format!(
            "{runs} runs of {seconds} s each; texts of 256 bytes; weltenwind commits each message first, and what is of \
             the moment not at all"
        ));
        Ok(lines)
    }
}

/// Runs one workload once. It has its thread to itself.
fn measure(
    server: Server,
    workload: &Workload,
    names: Vec<String>,
    places: Vec<Place>,
    watched: &Watched,
    time: Duration,
    idle: Duration,
) -> Result<Run, Failure> {
    let told_by = || Handle::current().block_on(server::told_by(&watched.metrics));
    let is_seen = !watched.server.is_empty();
    let sockets = real(places.len() as u64);
    let is_idle_seen = !idle.is_zero() && is_seen;
    let mut without = 0.0;
    if is_idle_seen {
        thread::sleep(WARM_UP);
        let begun = watched.threads()?;
        thread::sleep(EMPTY);
        without = watched.threads()?.since(&begun).as_secs_f64() / EMPTY.as_secs_f64();
    }
    let before = watched.resident_kib()?;
    let mut crowd = Crowd::gather(server.dialect(), workload.what, names, places)?;
    let mut idle_micros = None;
    if is_idle_seen {
        let begun = watched.threads()?;
        crowd.idle(idle)?;
        let with = watched.threads()?.since(&begun).as_secs_f64() / idle.as_secs_f64();
        idle_micros = Some((with - without) * 1e6 / sockets);
    }
    // What joining brought about is told by then, and what only joining needed is given back.
    crowd.idle(WARM_UP)?;
    let grown = watched.resident_kib()?.saturating_sub(before);
    let (told_before, heard_before) = (told_by()?, crowd.records());
    let mut edges = Vec::new();
    crowd.post(workload.pace, WARM_UP, time, || {
        edges.push(watched.spent()?);
        Ok(())
    })?;
    let spent = edges[1].since(edges[0]);
    let (mut wrong, dropped, heard) = (crowd.wrong(), crowd.dropped(), crowd.records() - heard_before);
    let told = told_by()?.zip(told_before).map(|(told, before)| told - before);
    if workload.what != What::Messages {
        // Of messages every one is missed by its number.
        wrong.lost += told.map_or(0, |told| told.saturating_sub(heard));
    }
    let seen = crowd.into_measured();
    Ok(Run {
        deliveries: seen.deliveries,
        messages: seen.messages,
        window: time,
        latency: seen.latency,
        lag: seen.lag,
        accepted: seen.accepted,
        joined: seen.joined,
        spent,
        kib_per_socket: is_seen.then(|| real(grown) / sockets),
        idle_micros_per_second: idle_micros,
        told,
        heard,
        dropped,
        wrong,
        watches: Watches { server: is_seen, database: watched.database.is_some(), broker: watched.broker.is_some() },
    })
}

/// Reads who opens sockets.
fn given_tokens(file: &Path, count: usize) -> Result<Vec<Guest>, Failure> {
    let text = fs::read_to_string(file).map_err(|error| Failure::failed(format!("{}: {error}", file.display())))?;
    let split = |line: &str| {
        let (token, user) = line.split_once(' ').unwrap_or((line, ""));
        (Arc::from(token), Arc::from(user.trim()))
    };
    let tokens: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty()).map(split).collect();
    if tokens.len() < count {
        let found = tokens.len();
        return Err(Failure::usage(format!("{} has {found} tokens, and {count} sockets are opened", file.display())));
    }
    Ok(tokens)
}

fn idle_seconds(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(seconds) if seconds == 0 || IDLE_SECONDS.contains(&seconds) => Ok(seconds),
        _ => Err(format!("expected 0 or {} to {}", IDLE_SECONDS.start(), IDLE_SECONDS.end())),
    }
}

fn row(server: Server, workload: &Workload, runs: &[Run]) -> Row {
    let mut wrong = tally::Wrong::default();
    for run in runs {
        wrong.add(run.wrong);
    }
    Row {
        server: server.name(),
        workload: workload.name,
        sockets: workload.sockets(),
        rooms: workload.rooms,
        runs: runs.len(),
        floor_quotient: None,
        told: runs.iter().map(|run| run.told).sum(),
        heard: runs.iter().map(|run| run.heard).sum(),
        dropped: runs.iter().map(|run| run.dropped).sum(),
        figures: Figures::of(runs),
        wrong,
    }
}

/// Finds the process of a Postgres; SQLite works in the server's own.
fn database_process(args: &RealtimeArgs, url: &str) -> Result<Option<u32>, Failure> {
    if args.database_pid.is_some() || !url.starts_with("postgres") {
        return Ok(args.database_pid);
    }
    match port(url, 5432).and_then(processes::postgres_at) {
        Some(pid) => Ok(Some(pid)),
        None => Err(Failure::failed("the database's processes are not found on this machine")
            .hint("name the first of them with --database-pid, or measure with a database that runs here")),
    }
}

fn port(url: &str, default: u16) -> Option<u16> {
    Some(Url::parse(url).ok()?.port().unwrap_or(default))
}

/// Finds the address of a running node.
fn address(url: &str) -> Result<SocketAddr, Failure> {
    let unusable = || Failure::usage(format!("--url: {url} is no http:// address of a node"));
    let parsed = Url::parse(url).ok().filter(|url| url.scheme() == "http").ok_or_else(unusable)?;
    let (host, port) = parsed.host_str().zip(parsed.port_or_known_default()).ok_or_else(unusable)?;
    (host, port).to_socket_addrs().ok().and_then(|mut addresses| addresses.next()).ok_or_else(unusable)
}

/// Has a process write to sockets that this one reads from.
async fn bare_writes(core: Option<usize>, sockets: usize, copies: usize) -> Result<Written, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::failed(format!("the floor does not run: {error}"));
    let program = std::env::current_exe().map_err(|error| failed(&error))?;
    let (sockets_text, copies, seconds) = (sockets.to_string(), copies.to_string(), FLOOR_SECONDS.to_string());
    let mut child = pinned(program.as_os_str(), core)
        .args(["bench", "floor", "--sockets", &sockets_text, "--copies", &copies, "--seconds", &seconds])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| failed(&error))?;
    let mut lines = BufReader::new(child.stdout.take().expect("it was piped")).lines();
    let line = lines.next_line().await.map_err(|error| failed(&error))?.unwrap_or_default();
    let address = line.trim_start_matches("Listening ").parse::<SocketAddr>().map_err(|error| failed(&error))?;
    let reading = tokio::task::spawn_blocking(move || crowd::swallow(address, sockets));
    let line = lines.next_line().await.map_err(|error| failed(&error))?.unwrap_or_default();
    joined(reading.await)??;
    serde_json::from_str(&line).map_err(|error| failed(&error))
}
