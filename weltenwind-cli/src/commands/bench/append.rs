//! `weltenwind bench append`: messages that are answered after their commit, with group commit and without.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use clap::Args;
use serde::Serialize;
use tokio::task::JoinSet;
use weltenwind_core::{
    Actor, ChannelId, Scope,
    chat::{AppendConfig, ChannelDraft, Chat, ChatStore, Draft},
};
use weltenwind_storage::StorageConfig;

use super::{Waits, unhurried};
use crate::{failure::Failure, output::Output, store::unopened};

#[derive(Debug, Args)]
pub(crate) struct AppendArgs {
    /// Posters that post at once, each waiting for its answer before it posts again.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1024))]
    posters: u32,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=60))]
    seconds: u64,
    /// Measurements of each kind; the middle one is printed.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=15))]
    runs: u32,
}

/// One row of the answer.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct Measured {
    channels: u32,
    commit: &'static str,
    messages_per_second: u64,
    p50_ms: f64,
    p99_ms: f64,
}

pub(crate) async fn run(args: &AppendArgs, storage: StorageConfig, output: Output) -> Result<(), Failure> {
    let measured = append(args, storage).await?;
    output.list(&measured, &["channels", "commit", "messages/s", "p50 ms", "p99 ms"], |row| {
        let rate = row.messages_per_second.to_string();
        let (p50, p99) = (format!("{:.2}", row.p50_ms), format!("{:.2}", row.p99_ms));
        vec![row.channels.to_string(), row.commit.to_owned(), rate, p50, p99]
    })
}

async fn append(args: &AppendArgs, storage: StorageConfig) -> Result<Vec<Measured>, Failure> {
    let stores = weltenwind_storage::open(&storage).await.map_err(unopened)?;
    let mut rows = Vec::new();
    for channels in [1, 64] {
        let mut runs = [Vec::new(), Vec::new()];
        // The two kinds in turn, so that a machine that slows down slows both.
        for _ in 0..args.runs {
            for (shared, runs) in [true, false].into_iter().zip(&mut runs) {
                runs.push(measure(args, &stores.chat, channels, shared).await?);
            }
        }
        for mut runs in runs {
            runs.sort_by_key(|run| run.messages_per_second);
            rows.push(runs[runs.len() / 2].clone());
        }
    }
    stores.health.close().await;
    Ok(rows)
}

async fn measure(
    args: &AppendArgs,
    store: &Arc<dyn ChatStore>,
    channels: u32,
    shared: bool,
) -> Result<Measured, Failure> {
    // Without group commit every message is a batch of its own, and as many are under way as connections allow.
    let config =
        if shared { AppendConfig::default() } else { AppendConfig { lanes: 16, batch: 1, ..AppendConfig::default() } };
    let chat = Chat::builder(Arc::clone(store)).append(config).limits(unhurried()).build();
    let operator = Actor::operator();
    let mut halls = Vec::new();
    for n in 0..channels {
        let draft = ChannelDraft::new(Scope::Global, &format!("bench-{}-{n}", std::process::id()), "Bench");
        halls.push(chat.open_channel(&operator, draft).await?.id);
    }

    let stop = Arc::new(AtomicBool::new(false));
    let mut posters = JoinSet::new();
    for n in 0..args.posters {
        let channel = halls[n as usize % halls.len()];
        posters.spawn(post(chat.clone(), channel, n, Arc::clone(&stop)));
    }
    let begun = Instant::now();
    tokio::time::sleep(Duration::from_secs(args.seconds)).await;
    stop.store(true, Ordering::Relaxed);
    let mut waits = Vec::new();
    while let Some(poster) = posters.join_next().await {
        waits.extend(poster.map_err(|error| Failure::failed(format!("a poster ended badly: {error}")))??);
    }
    let elapsed = begun.elapsed();
    for hall in halls {
        chat.close_channel(&operator, hall, None).await?;
    }
    let waits = Waits::new(waits);
    let per_second = waits.count() as u128 * 1_000_000 / elapsed.as_micros().max(1);
    Ok(Measured {
        channels,
        commit: if shared { "shared" } else { "single" },
        messages_per_second: u64::try_from(per_second).unwrap_or(u64::MAX),
        p50_ms: waits.at(50),
        p99_ms: waits.at(99),
    })
}

/// Posts one after the other, each under a client id of its own, and answers how long each waited.
async fn post(chat: Chat, channel: ChannelId, poster: u32, stop: Arc<AtomicBool>) -> Result<Vec<Duration>, Failure> {
    let player = Actor::player(&format!("Poster {poster}"));
    let text = "The wind has turned, and with it the fleet: all hands to the lee side, we meet at the old lighthouse.";
    let mut waits = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let draft = Draft::new(channel, text).with_client_id(format!("{poster}-{}", waits.len()));
        let begun = Instant::now();
        chat.post(&player, draft).await?;
        waits.push(begun.elapsed());
    }
    Ok(waits)
}
