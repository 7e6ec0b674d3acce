//! `weltenwind worker`, and the worker inside `weltenwind serve`.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio_util::sync::CancellationToken;
use weltenwind_core::{
    Services, chain,
    outbox::{Outbox, OutboxStats, RunningWorker},
};
use weltenwind_http::{HttpConfig, Readiness};

use crate::{
    config::Config,
    failure::Failure,
    logging, metrics, output,
    serve::{OPS_DRAIN_SECONDS, bind, local, termination},
    store,
};

/// How often the jobs are counted for whoever asks for metrics: a count reads the whole table.
const COUNTED_EVERY: Duration = Duration::from_secs(5);

/// Does jobs until it is told to stop, and serves nobody but operators.
pub(crate) async fn run(config: Config) -> Result<(), Failure> {
    logging::start(&config.log)?;
    let signal = termination()?;
    let ops = match config.ops.listen.as_str() {
        "" => None,
        address => Some(bind("ops.listen", address).await?),
    };
    let services = store::node(&config, &config.public_url()).await?;
    let registry = prometheus::Registry::new();
    let counted = Counted::default();
    metrics::register_outbox(services.outbox.clone(), counted.clone(), &registry)
        .and_then(|()| metrics::register_bus(Arc::clone(&services.bus), &registry))
        .map_err(|error| Failure::failed(format!("cannot register metrics: {error}")))?;
    let readiness = Readiness::default();
    let ops_stop = CancellationToken::new();
    let mut tasks = tokio::task::JoinSet::new();
    // Before anybody asks whether it is ready.
    let worker = start(&services, &config);
    if let Some(ops) = ops {
        let router = weltenwind_http::operations(services.clone(), registry, readiness.clone());
        let http = HttpConfig { drain_seconds: OPS_DRAIN_SECONDS, ..config.http.clone() };
        let stop = ops_stop.clone();
        output::line(&format!("Operations    http://{}/readyz and /metrics", local(&ops)?))?;
        tasks.spawn(async move { weltenwind_http::serve(ops, router, &http, stop).await });
    }
    output::line(&format!("Store         {}", weltenwind_storage::redact(&config.storage.url)))?;
    output::line(&format!("Worker        {}", worker.id()))?;
    let counting = tokio::spawn(count(services.outbox.clone(), counted));

    signal.await;
    tracing::info!("draining");
    readiness.drain();
    worker.drain().await;
    counting.abort();
    ops_stop.cancel();
    tasks.join_all().await;
    services.health.close().await;
    tracing::info!("stopped");
    Ok(())
}

/// Starts a worker with everything that services have to do.
pub(crate) fn start(services: &Services, config: &Config) -> RunningWorker {
    services.worker(config.worker.worker()).start()
}

/// The jobs as they were counted last.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counted(Arc<Mutex<OutboxStats>>);

impl Counted {
    pub(crate) fn stats(&self) -> OutboxStats {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts the jobs as long as it runs.
pub(crate) async fn count(outbox: Outbox, counted: Counted) {
    let mut timer = tokio::time::interval(COUNTED_EVERY);
    loop {
        timer.tick().await;
        match outbox.stats().await {
            Ok(stats) => {
                *counted.0.lock().unwrap_or_else(PoisonError::into_inner) = stats;
            }
            Err(error) => {
                tracing::debug!(error = %chain(&error), "cannot count the jobs; trying again in five seconds");
            }
        }
    }
}
