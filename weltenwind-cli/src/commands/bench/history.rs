//! `weltenwind bench history`: pages of a long channel over HTTP.
//!
//! The server runs in this process, the clients in another. To give each a core of its own, start this one and its database
//! on one core and name the other: `taskset -c 0 weltenwind bench history --load-core 1`.

use std::{process::Stdio, time::Duration};

use clap::Args;
use serde::Serialize;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    net::TcpListener,
    process::{Child, Command},
    time::MissedTickBehavior,
};
use tokio_util::sync::CancellationToken;
use weltenwind_core::{
    AccountId, Actor, ChannelId, IdGenerator as _, MessageId, Scope, ServiceConfig, Services, Sources, Stores,
    SystemIds,
    accounts::DisplayName,
    chat::{Author, Body, ChannelDraft, Draft, NewMessage},
    limits::LimitsConfig,
    wire::HistoryBody,
};
use weltenwind_http::{HttpConfig, HttpHost};
use weltenwind_storage::StorageConfig;

use super::{
    UNHURRIED,
    load::{Load, Seen},
};
use crate::{failure::Failure, output::Output, store::unopened};

#[derive(Debug, Args)]
pub(crate) struct HistoryArgs {
    /// Messages in the channel.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(i64).range(10_000..=10_000_000))]
    messages: i64,
    /// Clients that read at once, each waiting for its answer before it reads again.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=1024))]
    clients: u32,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=60))]
    seconds: u64,
    /// How often each is measured, in turn; the middle one is told.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=9))]
    runs: u64,
    /// The core that the clients run on.
    #[arg(long, value_name = "N")]
    load_core: Option<usize>,
    /// A program that answers the same pages from the same tables, to measure beside; see benches/express-history.
    #[arg(long, value_name = "COMMAND")]
    beside: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Measured {
    server: &'static str,
    place: &'static str,
    clients: u32,
    pages_per_second: u64,
    not_modified_percent: usize,
    p50_ms: f64,
    p99_ms: f64,
}

/// What is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// At a cursor anywhere in the channel.
    Random,
    /// The oldest page.
    Oldest,
    /// The newest page.
    Newest,
    /// Any page of the newest thousand messages, while others post.
    Live,
    /// The newest page again and again, with its ETag.
    Known,
}

impl Place {
    const ALL: [Self; 5] = [Self::Random, Self::Oldest, Self::Newest, Self::Live, Self::Known];

    const fn name(self) -> &'static str {
        match self {
            Self::Random => "random",
            Self::Oldest => "oldest",
            Self::Newest => "newest",
            Self::Live => "newest 1 000, live",
            Self::Known => "newest, ETag known",
        }
    }
}

/// Messages a second that are posted while a live channel is read.
const LIVE_RATE: u32 = 5;

pub(crate) async fn run(args: &HistoryArgs, storage: StorageConfig, output: Output) -> Result<(), Failure> {
    let stores = weltenwind_storage::open(&storage).await.map_err(unopened)?;
    let settings = ServiceConfig { limits: LimitsConfig::uniform(UNHURRIED), ..ServiceConfig::default() };
    let services = Services::start(stores.clone(), settings, Sources::default()).await?;
    let operator = Actor::operator();
    let slug = format!("bench-{}", std::process::id());
    let channel = services.chat.open_channel(&operator, ChannelDraft::new(Scope::Global, &slug, "Bench")).await?;
    fill(&stores, channel.id, args.messages).await?;

    let failed = |error: std::io::Error| Failure::failed(format!("cannot listen: {error}"));
    let listener = TcpListener::bind("127.0.0.1:0").await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?.to_string();
    let config = HttpConfig { public_url: format!("http://{address}"), ..HttpConfig::default() };
    let router = HttpHost::new(services.clone(), config.clone(), &prometheus::Registry::new()).into_router();
    let stop = CancellationToken::new();
    let serving = tokio::spawn({
        let stop = stop.clone();
        async move { weltenwind_http::serve(listener, router, &config, stop).await }
    });

    let own = Paths::walk(&address, channel.id).await?;
    let peer = match &args.beside {
        Some(command) => Some(Peer::start(command, &storage.url, channel.id, args.messages).await?),
        None => None,
    };
    let mut rows = Vec::new();
    for place in Place::ALL {
        let live = CancellationToken::new();
        let posting = (place == Place::Live).then(|| tokio::spawn(post(services.clone(), channel.id, live.clone())));
        let (mut here, mut there) = (Vec::new(), Vec::new());
        for _ in 0..args.runs {
            here.push(own.load(args, place).apart(args.load_core).await?);
            if let Some(peer) = peer.as_ref().filter(|_| place != Place::Live) {
                there.push(peer.paths.load(args, place).apart(args.load_core).await?);
            }
        }
        live.cancel();
        if let Some(posting) = posting {
            posting.await.map_err(|error| Failure::failed(format!("the poster ended badly: {error}")))??;
        }
        for (server, runs) in [("weltenwind", here), ("beside", there)] {
            rows.extend(middle(runs).map(|seen| measured(args, server, place, &seen)));
        }
    }
    drop(peer);
    services.chat.close_channel(&operator, channel.id, None).await?;
    stop.cancel();
    serving.await.map_err(|error| Failure::failed(format!("the server ended badly: {error}")))?;
    stores.health.close().await;
    let titles = ["server", "place", "clients", "pages/s", "304 %", "p50 ms", "p99 ms"];
    output.list(&rows, &titles, |row| {
        let (p50, p99) = (format!("{:.2}", row.p50_ms), format!("{:.2}", row.p99_ms));
        vec![
            row.server.to_owned(),
            row.place.to_owned(),
            row.clients.to_string(),
            row.pages_per_second.to_string(),
            row.not_modified_percent.to_string(),
            p50,
            p99,
        ]
    })
}

/// Returns the run with the middle rate.
fn middle(mut runs: Vec<Seen>) -> Option<Seen> {
    runs.sort_by_key(|seen| seen.per_second);
    (!runs.is_empty()).then(|| runs.swap_remove(runs.len() / 2))
}

fn measured(args: &HistoryArgs, server: &'static str, place: Place, seen: &Seen) -> Measured {
    Measured {
        server,
        place: place.name(),
        clients: args.clients,
        pages_per_second: seen.per_second,
        not_modified_percent: seen.not_modified * 100 / seen.requests.max(1),
        p50_ms: seen.p50_ms,
        p99_ms: seen.p99_ms,
    }
}

/// Posts as the rest of the world would while a channel is read.
async fn post(services: Services, channel: ChannelId, stop: CancellationToken) -> Result<(), Failure> {
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / LIVE_RATE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            _ = ticks.tick() => {}
        }
        let draft = Draft { channel, body: TEXT.to_owned(), client_id: None, reply_to: None };
        services.chat.post(&Actor::player("Tarn"), draft).await?;
    }
}

const TEXT: &str =
    "The wind has turned, and with it the fleet: all hands to the lee side, we meet at the old lighthouse.";

/// Fills a channel past the service: nobody posts a million messages one by one.
async fn fill(stores: &Stores, channel: ChannelId, messages: i64) -> Result<(), Failure> {
    let author = Author { id: AccountId::new(SystemIds.draw()), display_name: DisplayName::new("Mira")? };
    let sent_at = weltenwind_core::Clock::now(&weltenwind_core::SystemClock);
    let mut left = messages;
    while left > 0 {
        let batch: Vec<NewMessage> = (0..left.min(2048))
            .map(|n| NewMessage {
                id: MessageId::new(SystemIds.draw()),
                channel,
                author: author.clone(),
                body: Body::from_stored(format!("{TEXT} ({n})")),
                client_id: None,
                reply_to: None,
                sent_at,
                pause: Duration::ZERO,
            })
            .collect();
        left -= 2048;
        stores.chat.append(&batch).await?;
    }
    Ok(())
}

/// The addresses of a channel's pages.
struct Paths {
    address: String,
    newest: String,
    oldest: String,
    /// Pages at places all over the channel, in no order.
    random: Vec<String>,
    /// Pages of the newest thousand messages.
    live: Vec<String>,
}

impl Paths {
    /// Walks the whole channel once, so that there is a cursor to every place.
    async fn walk(address: &str, channel: ChannelId) -> Result<Self, Failure> {
        let base = format!("/api/v1/channels/{channel}/messages");
        let http = reqwest::Client::new();
        let (mut page, mut random, mut live) =
            (format!("{base}?limit=200"), Vec::new(), vec![format!("{base}?limit=50")]);
        loop {
            let response = http.get(format!("http://{address}{page}")).send().await;
            let response = response.and_then(reqwest::Response::error_for_status).map_err(unread)?;
            let body: HistoryBody = response.json().await.map_err(unread)?;
            let Some(cursor) = body.next_cursor else { break };
            page = format!("{base}?limit=200&cursor={cursor}");
            if live.len() < 5 {
                live.push(format!("{base}?limit=50&cursor={cursor}"));
            }
            random.push(format!("{base}?limit=50&cursor={cursor}"));
        }
        shuffle(&mut random);
        let (newest, oldest) = (format!("{base}?limit=50"), format!("{base}?limit=50&direction=newer"));
        Ok(Self { address: address.to_owned(), newest, oldest, random, live })
    }

    /// The same places of a peer, which takes `before=<seq>` where there are cursors here.
    fn of_peer(address: String, messages: i64) -> Self {
        let mut random: Vec<String> = (1..messages / 200).map(|n| format!("/messages?before={}", n * 200)).collect();
        shuffle(&mut random);
        let (newest, oldest) = ("/messages".to_owned(), "/messages?before=51".to_owned());
        Self { address, newest, oldest, random, live: Vec::new() }
    }

    fn load(&self, args: &HistoryArgs, place: Place) -> Load {
        let paths = match place {
            Place::Random => self.random.clone(),
            Place::Oldest => vec![self.oldest.clone()],
            Place::Newest | Place::Known => vec![self.newest.clone()],
            Place::Live => self.live.clone(),
        };
        Load {
            address: self.address.clone(),
            paths,
            token: None,
            remembers_tags: place == Place::Known,
            clients: usize::try_from(args.clients).unwrap_or(usize::MAX),
            seconds: args.seconds,
        }
    }
}

/// Brings paths out of order, the same way in every run: by a multiplicative hash (Knuth, 6.4) of their place.
fn shuffle(paths: &mut [String]) {
    let mut order: Vec<(u64, String)> = paths
        .iter_mut()
        .zip(1_u64..)
        .map(|(path, n)| (n.wrapping_mul(0x9E37_79B9_7F4A_7C15), std::mem::take(path)))
        .collect();
    order.sort_unstable();
    for (path, (_, shuffled)) in paths.iter_mut().zip(order) {
        *path = shuffled;
    }
}

/// Another program that answers the same pages. It runs on the core of this one.
struct Peer {
    paths: Paths,
    _process: Child,
}

impl Peer {
    /// Starts a program that says on its first line at which address it listens.
    async fn start(command: &str, database: &str, channel: ChannelId, messages: i64) -> Result<Self, Failure> {
        let failed = |error: &dyn std::fmt::Display| Failure::failed(format!("{command}: {error}"));
        let mut words = command.split_whitespace();
        let program = words.next().ok_or_else(|| Failure::usage("--beside names a program"))?;
        let mut process = Command::new(program)
            .args(words)
            .env("DATABASE_URL", database)
            .env("CHANNEL", channel.to_string())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| failed(&error))?;
        let mut lines = BufReader::new(process.stdout.take().expect("it was piped")).lines();
        let address = lines.next_line().await.map_err(|error| failed(&error))?;
        let address = address.ok_or_else(|| failed(&"it said no address"))?;
        Ok(Self { paths: Paths::of_peer(address, messages), _process: process })
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it stands in `map_err`")]
fn unread(error: reqwest::Error) -> Failure {
    Failure::failed(format!("a page was not read: {error}"))
}
