//! `weltenwind bench history`: pages of a long channel over HTTP.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use clap::Args;
use serde::Serialize;
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;
use weltenwind_core::{
    AccountId, Actor, ChannelId, IdGenerator as _, MessageId, Scope, ServiceConfig, Services, Sources, Stores,
    SystemIds,
    accounts::DisplayName,
    chat::{Author, Body, ChannelDraft, NewMessage},
    wire::HistoryBody,
};
use weltenwind_http::{HttpConfig, HttpHost};
use weltenwind_storage::StorageConfig;

use super::Waits;
use crate::{failure::Failure, output::Output, store::unopened};

#[derive(Debug, Args)]
pub(crate) struct HistoryArgs {
    /// Messages in the channel.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(i64).range(1000..=10_000_000))]
    messages: i64,
    /// Clients that read at once, each waiting for its answer before it reads again.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=1024))]
    clients: u32,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=60))]
    seconds: u64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Measured {
    place: &'static str,
    pages_per_second: u64,
    p50_ms: f64,
    p99_ms: f64,
}

#[derive(Debug, Clone, Copy)]
enum Place {
    Random,
    Newest,
    Oldest,
}

pub(crate) async fn run(args: &HistoryArgs, storage: StorageConfig, output: Output) -> Result<(), Failure> {
    let stores = weltenwind_storage::open(&storage).await.map_err(unopened)?;
    let services = Services::start(stores.clone(), ServiceConfig::default(), Sources::default()).await?;
    let operator = Actor::operator();
    let slug = format!("bench-{}", std::process::id());
    let channel = services.chat.open_channel(&operator, ChannelDraft::new(Scope::Global, &slug, "Bench")).await?;
    fill(&stores, channel.id, args.messages).await?;

    let failed = |error: std::io::Error| Failure::failed(format!("cannot listen: {error}"));
    let listener = TcpListener::bind("127.0.0.1:0").await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let config = HttpConfig { public_url: format!("http://{address}"), ..HttpConfig::default() };
    let router = HttpHost::new(services.clone(), config.clone(), &prometheus::Registry::new()).into_router();
    let stop = CancellationToken::new();
    let serving = tokio::spawn({
        let stop = stop.clone();
        async move { weltenwind_http::serve(listener, router, &config, stop).await }
    });

    let mut rows = Vec::new();
    let reader = Reader::walk(format!("http://{address}/api/v1/channels/{}/messages", channel.id)).await?;
    for place in [Place::Random, Place::Newest, Place::Oldest] {
        rows.push(measure(args, reader.clone(), place).await?);
    }
    services.chat.close_channel(&operator, channel.id, None).await?;
    stop.cancel();
    serving.await.map_err(|error| Failure::failed(format!("the server ended badly: {error}")))?;
    stores.health.close().await;
    output.list(&rows, &["place", "pages/s", "p50 ms", "p99 ms"], |row| {
        let (p50, p99) = (format!("{:.2}", row.p50_ms), format!("{:.2}", row.p99_ms));
        vec![row.place.to_owned(), row.pages_per_second.to_string(), p50, p99]
    })
}

/// Fills a channel past the service: nobody posts a million messages one by one.
async fn fill(stores: &Stores, channel: ChannelId, messages: i64) -> Result<(), Failure> {
    let author = Author { id: AccountId::new(SystemIds.draw()), display_name: DisplayName::new("Mira")? };
    let text = "The wind has turned, and with it the fleet: all hands to the lee side, we meet at the old lighthouse.";
    let sent_at = weltenwind_core::Clock::now(&weltenwind_core::SystemClock);
    let mut left = messages;
    while left > 0 {
        let batch: Vec<NewMessage> = (0..left.min(2048))
            .map(|n| NewMessage {
                id: MessageId::new(SystemIds.draw()),
                channel,
                author: author.clone(),
                body: Body::from_stored(format!("{text} ({n})")),
                client_id: None,
                reply_to: None,
                sent_at,
            })
            .collect();
        left -= 2048;
        stores.chat.append(&batch).await?;
    }
    Ok(())
}

#[derive(Debug, Clone)]
struct Reader {
    url: String,
    cursors: Arc<[String]>,
}

impl Reader {
    /// Walks the whole channel once, so that there is a cursor to every place.
    async fn walk(url: String) -> Result<Self, Failure> {
        let http = reqwest::Client::new();
        let mut cursors = Vec::new();
        let mut page = format!("{url}?limit=200");
        loop {
            let response =
                http.get(&page).send().await.and_then(reqwest::Response::error_for_status).map_err(unread)?;
            let body: HistoryBody = response.json().await.map_err(unread)?;
            let Some(cursor) = body.next_cursor else { break };
            page = format!("{url}?limit=200&cursor={cursor}");
            cursors.push(cursor);
        }
        Ok(Self { url, cursors: cursors.into() })
    }

    /// The address of a page.
    fn page(&self, place: Place, n: u64) -> String {
        let url = &self.url;
        match place {
            Place::Newest => format!("{url}?limit=50"),
            Place::Oldest => format!("{url}?limit=50&direction=newer"),
            // A multiplicative hash (Knuth, 6.4) spreads n over the channel, the same way in every run.
            Place::Random => {
                let spread = n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 33;
                let at = usize::try_from(spread).unwrap_or(0) % self.cursors.len();
                format!("{url}?limit=50&cursor={}", self.cursors[at])
            }
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it stands in `map_err`")]
fn unread(error: reqwest::Error) -> Failure {
    Failure::failed(format!("a page was not read: {error}"))
}

async fn measure(args: &HistoryArgs, reader: Reader, place: Place) -> Result<Measured, Failure> {
    let stop = Arc::new(AtomicBool::new(false));
    let mut clients = JoinSet::new();
    for n in 0..args.clients {
        clients.spawn(read(reader.clone(), place, u64::from(n), Arc::clone(&stop)));
    }
    let begun = Instant::now();
    tokio::time::sleep(Duration::from_secs(args.seconds)).await;
    stop.store(true, Ordering::Relaxed);
    let mut waits = Vec::new();
    while let Some(client) = clients.join_next().await {
        waits.extend(client.map_err(|error| Failure::failed(format!("a client ended badly: {error}")))??);
    }
    let elapsed = begun.elapsed();
    let waits = Waits::new(waits);
    let per_second = waits.count() as u128 * 1_000_000 / elapsed.as_micros().max(1);
    Ok(Measured {
        place: match place {
            Place::Random => "random",
            Place::Newest => "newest",
            Place::Oldest => "oldest",
        },
        pages_per_second: u64::try_from(per_second).unwrap_or(u64::MAX),
        p50_ms: waits.at(50),
        p99_ms: waits.at(99),
    })
}

async fn read(reader: Reader, place: Place, client: u64, stop: Arc<AtomicBool>) -> Result<Vec<Duration>, Failure> {
    let http = reqwest::Client::new();
    let mut waits = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let url = reader.page(place, client * 1_000_003 + waits.len() as u64);
        let begun = Instant::now();
        let response = http.get(url).send().await.and_then(reqwest::Response::error_for_status).map_err(unread)?;
        response.bytes().await.map_err(unread)?;
        waits.push(begun.elapsed());
    }
    Ok(waits)
}
