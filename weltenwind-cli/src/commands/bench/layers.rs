//! `weltenwind bench layers`: what each layer around a handler costs, in time on the processor.

use std::thread;

use clap::Args;
use serde::Serialize;
use weltenwind_core::{Actor, ServiceConfig, Services, Sources, accounts::DeviceDraft, limits::LimitsConfig};
use weltenwind_http::{HttpConfig, bench::Onion};
use weltenwind_storage::StorageConfig;

use super::{UNHURRIED, on_processor};
use crate::{failure::Failure, output::Output, store::unopened};

#[derive(Debug, Args)]
pub(crate) struct LayersArgs {
    /// Reads of each measurement.
    #[arg(long, default_value_t = 50_000, value_parser = clap::value_parser!(u32).range(1000..=10_000_000))]
    reads: u32,
    /// How often each is measured, in turn; the middle one is told.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=99))]
    runs: u32,
}

/// One row of the answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Measured {
    layer: &'static str,
    /// With everything within.
    together_micros: f64,
    alone_micros: f64,
}

/// Runs on a thread of its own, so that nothing else is on the thread whose time is read.
pub(crate) fn run(args: &LayersArgs, storage: StorageConfig, output: Output) -> Result<(), Failure> {
    let (reads, runs) = (args.reads, args.runs);
    let measuring = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Failure::failed(format!("cannot start: {error}")))?;
        runtime.block_on(measure(reads, runs, storage))
    });
    let rows = measuring.join().map_err(|_| Failure::failed("the measurement ended badly"))??;
    output.list(&rows, &["layer", "µs alone", "µs together"], |row| {
        vec![row.layer.to_owned(), format!("{:.2}", row.alone_micros), format!("{:.2}", row.together_micros)]
    })
}

async fn measure(reads: u32, runs: u32, storage: StorageConfig) -> Result<Vec<Measured>, Failure> {
    let stores = weltenwind_storage::open(&storage).await.map_err(unopened)?;
    let settings = ServiceConfig { limits: LimitsConfig::uniform(UNHURRIED), ..ServiceConfig::default() };
    let services = Services::start(stores.clone(), settings, Sources::default()).await?;
    let guest = services.accounts.open_guest(&Actor::operator(), None, DeviceDraft::default()).await?;
    let onions = Onion::all(services, &HttpConfig::default(), guest.access_token.expose());
    let mut times = vec![Vec::new(); onions.len()];
    for _ in 0..runs {
        for (onion, times) in onions.iter().zip(&mut times) {
            let before = on_processor()?;
            for _ in 0..reads {
                onion.ask().await;
            }
            times.push((on_processor()? - before) / f64::from(reads));
        }
    }
    stores.health.close().await;
    let mut within = 0.0;
    let rows = onions.iter().zip(times).map(|(onion, mut times)| {
        times.sort_by(f64::total_cmp);
        let together = times[times.len() / 2];
        let alone = together - within;
        within = together;
        Measured { layer: onion.outermost, together_micros: together, alone_micros: alone }
    });
    Ok(rows.collect())
}
