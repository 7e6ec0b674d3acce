//! `weltenwind bench feed`: an announcement to a large world, feeds that are read meanwhile, and searches in many announcements.
//!
//! The server runs in a process of its own with its worker, as `serve` starts it; the readers run in this one. To give each a core
//! of its own: `taskset -c 1 weltenwind bench feed --server-core 0`.

mod crowd;
mod readers;
mod texts;

use std::time::{Duration, Instant};

use clap::Args;
use reqwest::Url;
use serde::Serialize;
use serde_json::json;
use weltenwind_core::{AnnouncementId, IdGenerator as _, SystemIds, wire::AnnouncementBody};
use weltenwind_storage::StorageConfig;

use self::{
    crowd::{Crowd, Reader},
    readers::{Reading, get, unread},
    texts::Wanted,
};
use super::{
    Waits,
    load::Connection,
    realtime::{Running, Server, Spread, Start},
};
use crate::{
    failure::{Exit, Failure},
    output::{self, Output},
};

#[derive(Debug, Args)]
pub(crate) struct FeedArgs {
    /// Members of the world.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(100..=1_000_000))]
    members: u32,
    /// Announcements that were made in the world before.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(100..=1_000_000))]
    announcements: u32,
    /// Of those, so many of the newest stand in each member's feed.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(0..=100))]
    told: u32,
    /// Members who read over HTTP.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    readers: u32,
    /// Feeds that are read a second.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: u32,
    /// Seconds for which feeds are read while nothing is announced.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=300))]
    seconds: u64,
    /// Searches of each kind, one after the other.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    searches: u32,
    /// How often each is measured, in turn; the middle one and the range are told.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=50))]
    runs: u32,
    /// The core that the server is kept on; keep its database on it, too.
    #[arg(long, value_name = "N")]
    server_core: Option<usize>,
    /// Set a configuration value of the server: `--server-set storage.max_connections=8`.
    #[arg(long, value_name = "KEY=VALUE")]
    server_set: Vec<String>,
}

/// Every member is told within so long, or the bench gives up.
const PATIENCE: Duration = Duration::from_mins(5);
/// Between two looks at the last member's feed.
const LOOK: Duration = Duration::from_millis(10);

/// Everything that the bench says.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    conditions: Vec<String>,
    spreads: Told,
    reads: Vec<Row>,
}

/// An announcement to everybody in the world.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Told {
    members: u64,
    /// Until the request to publish it is answered.
    published_ms: Spread,
    /// From the request until the last member's feed shows it, and everybody has been told.
    visible_ms: Spread,
    members_per_second: Spread,
}

/// What was read over HTTP, and how long that took.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    what: &'static str,
    requests: usize,
    p50_ms: Spread,
    p95_ms: Spread,
    p99_ms: Spread,
}

/// One measurement.
#[derive(Debug)]
struct Run {
    published: Duration,
    visible: Duration,
    members: u64,
    reads: Vec<(&'static str, Waits)>,
}

pub(crate) async fn run(args: &FeedArgs, storage: &StorageConfig, output: Output) -> Result<(), Failure> {
    let start = Start {
        core: args.server_core,
        nodes: 1,
        database: storage.url.clone(),
        redis: None,
        settings: args.server_set.clone(),
    };
    let mut crowd = Crowd::gather(args, storage, &start).await?;
    let server = start.run(Server::Weltenwind).await?;
    let mut runs = Vec::new();
    for _ in 0..args.runs {
        runs.push(measure(args, storage, &mut crowd, &server).await?);
    }
    server.end().await?;
    let report = Report {
        conditions: conditions(args, storage, &start),
        spreads: told(&runs).ok_or_else(|| Failure::failed("nothing was measured"))?,
        reads: rows(&runs),
    };
    output.value(&report, Report::text)
}

fn conditions(args: &FeedArgs, storage: &StorageConfig, start: &Start) -> Vec<String> {
    let store = if storage.url.starts_with("sqlite:") { "SQLite, synchronous=FULL" } else { "Postgres, as it is set" };
    let FeedArgs { members, announcements, told, readers, rate, .. } = args;
    let mut conditions = vec![
        format!("{store}; {members} members and {announcements} announcements, {told} of them in each feed"),
        format!("{readers} readers, {rate} feeds a second; searches one after the other"),
    ];
    conditions.extend(start.settings.iter().map(|setting| format!("server with {setting}")));
    conditions
}

async fn measure(
    args: &FeedArgs,
    storage: &StorageConfig,
    crowd: &mut Crowd,
    server: &Running,
) -> Result<Run, Failure> {
    let address = server.addresses[0].to_string();
    let feeds: Vec<String> = crowd.readers.iter().map(|reader| feed(&address, reader, None)).collect();

    let reading = Reading::start(&address, feeds.clone(), 200, args.rate);
    tokio::time::sleep(Duration::from_secs(args.seconds)).await;
    let mut reads = vec![("feeds", Waits::new(reading.stop().await?))];

    let reading = Reading::start(&address, feeds.clone(), 200, args.rate);
    let announced = announce(crowd, &address).await?;
    reads.push(("feeds while it is announced", Waits::new(reading.stop().await?)));
    let members = everybody_was_told_once(storage, crowd, &address, announced.id).await?;

    let mut connection = Connection::open(&address).await.map_err(unread)?;
    let mut known = Vec::new();
    for (reader, feed_again) in crowd.readers.iter().zip(&feeds) {
        let answered = connection.ask(feed_again.as_bytes()).await.map_err(unread)?;
        let tag = answered.tag.ok_or_else(|| unread("a feed without an ETag"))?;
        known.push(feed(&address, reader, Some(&tag)));
    }
    let reading = Reading::start(&address, known, 304, args.rate);
    tokio::time::sleep(Duration::from_secs(args.seconds)).await;
    reads.push(("feeds that are known", Waits::new(reading.stop().await?)));

    for wanted in Wanted::ALL {
        let mut waits = Vec::new();
        for n in 0..args.searches {
            let text = crowd.search(wanted);
            let url = Url::parse_with_params(
                &format!("http://{address}/api/v1/announcements"),
                [("scope", crowd.scope().to_string()), ("q", text.clone())],
            );
            let url = url.map_err(unread)?;
            let path = format!("{}?{}", url.path(), url.query().unwrap_or_default());
            let reader = &crowd.readers[n as usize % crowd.readers.len()];
            let head = get(&address, &path, &reader.token, None);
            let asked = Instant::now();
            let answered = connection.ask(head.as_bytes()).await.map_err(unread)?;
            waits.push(asked.elapsed());
            let found: serde_json::Value = serde_json::from_slice(connection.body()).map_err(unread)?;
            let is_found = found["items"].as_array().is_some_and(|items| !items.is_empty());
            if answered.status != 200 || wanted.is_there() && !is_found {
                return Err(Failure::new(Exit::Findings, format!("{text:?} is not found: {}", answered.status)));
            }
        }
        reads.push((wanted.name(), Waits::new(waits)));
    }
    Ok(Run { published: announced.published, visible: announced.visible, members, reads })
}

fn feed(address: &str, reader: &Reader, tag: Option<&str>) -> String {
    get(address, "/api/v1/notifications", &reader.token, tag)
}

struct Announced {
    id: AnnouncementId,
    published: Duration,
    visible: Duration,
}

/// Announces something, and waits until the last member sees it.
async fn announce(crowd: &mut Crowd, address: &str) -> Result<Announced, Failure> {
    let unpublished = |error: reqwest::Error| Failure::failed(format!("nothing is announced: {error}"));
    let text = crowd.write();
    let body = json!({
        "title": text.title, "body": text.body, "audience": { "kind": "world", "worldId": crowd.world },
    });
    let url = format!("http://{address}/api/v1/announcements");
    let request = reqwest::Client::new().post(url).bearer_auth(&crowd.publisher.token);
    let request = request.header("idempotency-key", SystemIds.draw().to_string()).json(&body);
    let last = crowd.readers.last().ok_or_else(|| Failure::failed("nobody reads"))?;
    let mut connection = Connection::open(address).await.map_err(unread)?;

    let begun = Instant::now();
    let response = request.send().await.and_then(reqwest::Response::error_for_status).map_err(unpublished)?;
    let announcement: AnnouncementBody = response.json().await.map_err(unpublished)?;
    let published = begun.elapsed();
    let (wanted, mut tag) = (announcement.id.to_string(), None);
    loop {
        let head = feed(address, last, tag.as_deref());
        let answered = connection.ask(head.as_bytes()).await.map_err(unread)?;
        if answered.status == 200 {
            let body: serde_json::Value = serde_json::from_slice(connection.body()).map_err(unread)?;
            let items = body["items"].as_array().map(Vec::as_slice).unwrap_or_default();
            if items.iter().any(|item| item["id"] == *wanted) {
                return Ok(Announced { id: announcement.id, published, visible: begun.elapsed() });
            }
        }
        tag = answered.tag;
        if begun.elapsed() > PATIENCE {
            let message = format!("the last member was not told within {} s", PATIENCE.as_secs());
            return Err(Failure::new(Exit::Findings, message));
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Passes if each member was told, nobody else was, and each reader's feed shows it once; answers how many members there are.
async fn everybody_was_told_once(
    storage: &StorageConfig,
    crowd: &Crowd,
    address: &str,
    id: AnnouncementId,
) -> Result<u64, Failure> {
    let wrong = |message: String| Err(Failure::new(Exit::Findings, message));
    let told = crowd.told(storage, id).await?;
    if told.told != told.members || told.rows != told.members {
        let weltenwind_storage::bench::Audience { members, told, rows } = told;
        return wrong(format!("of {members} members {told} were told when the last was, in {rows} rows"));
    }
    let (wanted, mut connection) = (id.to_string(), Connection::open(address).await.map_err(unread)?);
    for reader in &crowd.readers {
        connection.ask(feed(address, reader, None).as_bytes()).await.map_err(unread)?;
        let body: serde_json::Value = serde_json::from_slice(connection.body()).map_err(unread)?;
        let items = body["items"].as_array().map(Vec::as_slice).unwrap_or_default();
        let times = items.iter().filter(|item| item["id"] == *wanted).count();
        if times != 1 {
            return wrong(format!("a member's feed shows the announcement {times} times"));
        }
    }
    Ok(told.members)
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn told(runs: &[Run]) -> Option<Told> {
    let spread = |figure: fn(&Run) -> f64| Spread::of(runs.iter().map(figure));
    Some(Told {
        members: runs.first()?.members,
        published_ms: spread(|run| ms(run.published))?,
        visible_ms: spread(|run| ms(run.visible))?,
        members_per_second: spread(|run| {
            f64::from(u32::try_from(run.members).unwrap_or(u32::MAX)) / run.visible.as_secs_f64()
        })?,
    })
}

fn rows(runs: &[Run]) -> Vec<Row> {
    let names = runs.iter().flat_map(|run| &run.reads).map(|(what, _)| *what).take(runs[0].reads.len());
    let row = |what: &'static str| {
        let reads = || runs.iter().flat_map(|run| &run.reads).filter(move |(read, _)| *read == what);
        let at = |percent| Spread::of(reads().map(|(_, waits)| waits.at(percent)));
        let requests = reads().map(|(_, waits)| waits.count()).sum();
        Some(Row { what, requests, p50_ms: at(50)?, p95_ms: at(95)?, p99_ms: at(99)? })
    };
    names.filter_map(row).collect()
}

impl Report {
    fn text(&self) -> String {
        let Told { members, published_ms, visible_ms, members_per_second } = &self.spreads;
        let told = output::table(
            &["members told", "published ms", "visible to all ms", "members/s"],
            [vec![members.to_string(), published_ms.text(1), visible_ms.text(0), members_per_second.text(0)]],
        );
        let reads = self.reads.iter().map(|row| {
            let mut line = vec![row.what.to_owned(), row.requests.to_string()];
            line.extend([row.p50_ms, row.p95_ms, row.p99_ms].map(|figure| figure.text(2)));
            line
        });
        let reads = output::table(&["read", "requests", "p50 ms", "p95 ms", "p99 ms"], reads);
        format!("{}\n\n{told}\n\n{reads}", self.conditions.join("\n"))
    }
}
