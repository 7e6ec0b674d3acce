//! `weltenwind serve`: one process with everything in it.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use weltenwind_core::{AllowedOrigins, Services, chain};
use weltenwind_http::{HttpConfig, HttpHost, Readiness};
use weltenwind_ws::Realtime;

use crate::{
    config::Config,
    failure::{Exit, Failure},
    logging, metrics, output, store, welcome, worker,
};

/// How often keys that other processes made are read, so that each is known everywhere before it is used, and one that was
/// deleted is forgotten.
const KEYS_EVERY: Duration = Duration::from_secs(5);
/// How often erasures are gone on with that are not through.
const ERASURES_EVERY: Duration = Duration::from_secs(30);
/// How long operators' questions that are being answered may take once the server has stopped, in seconds.
pub(crate) const OPS_DRAIN_SECONDS: u64 = 1;
/// How often refused attempts are written into the audit log.
const REFUSALS_EVERY: Duration = Duration::from_secs(1);

pub(crate) async fn run(config: Config, no_welcome: bool) -> Result<(), Failure> {
    logging::start(&config.log)?;
    let signal = termination()?;
    let proxies = proxies(&config)?;
    // Addresses first: a taken port should not leave a database behind.
    let http = bind("http.listen", &config.http.listen).await?;
    let ops = match config.ops.listen.as_str() {
        "" => None,
        address => Some(bind("ops.listen", address).await?),
    };
    let address = local(&http)?;
    let public_url = config.public_url_at(&address.to_string());
    let origins = origins(&config, &public_url)?;
    let services = store::node(&config, &public_url).await?;
    if !no_welcome {
        welcome::furnish(&services).await?;
    }

    let registry = prometheus::Registry::new();
    let counted = worker::Counted::default();
    metrics::register_bus(Arc::clone(&services.bus), &registry)
        .and_then(|()| metrics::register_limits(services.limits.clone(), &registry))
        .and_then(|()| metrics::register_outbox(services.outbox.clone(), counted.clone(), &registry))
        .map_err(|error| Failure::failed(format!("cannot register metrics: {error}")))?;
    let realtime = Realtime::new(services.clone(), origins, config.realtime.clone(), &registry)
        .map_err(|error| Failure::failed(format!("cannot register metrics: {error}")))?;
    let http_config = HttpConfig { public_url: public_url.clone(), trusted_proxies: proxies, ..config.http.clone() };
    let host = HttpHost::new(services.clone(), http_config.clone(), &registry).mount("/realtime/v1", realtime.clone());
    let readiness = Readiness::default();
    let stop = CancellationToken::new();
    let ops_stop = CancellationToken::new();

    let mut tasks = tokio::task::JoinSet::new();
    if let Some(ops) = ops {
        let router = weltenwind_http::operations(services.clone(), registry, readiness.clone());
        let config = HttpConfig { drain_seconds: OPS_DRAIN_SECONDS, ..http_config.clone() };
        let stop = ops_stop.clone();
        announce(&format!("Operations    http://{}/readyz and /metrics", local(&ops)?))?;
        tasks.spawn(async move { weltenwind_http::serve(ops, router, &config, stop).await });
    }
    if !public_url.ends_with(&format!("//{address}")) {
        announce(&format!("Listening     http://{address}"))?;
    }
    announce(&format!("Weltenwind    {public_url}"))?;
    announce(&format!("Store         {}", weltenwind_storage::redact(&config.storage.url)))?;
    if config.redis.is_set() {
        announce(&format!("Bus           {}", weltenwind_storage::redact(&config.redis.url)))?;
    }
    announce("First admin   weltenwind admin bootstrap")?;
    let worker = config.worker.in_serve.then(|| worker::start(&services, &config));
    let counting = tokio::spawn(worker::count(services.outbox.clone(), counted));
    let keys = tokio::spawn(keep_keys(services.clone()));
    let presence = tokio::spawn({
        let presence = Arc::clone(&services.presence);
        async move { presence.run().await }
    });
    let erasures = tokio::spawn(keep_erasures(services.clone()));
    let refusals = tokio::spawn(keep_refusals(services.clone(), stop.clone()));
    let serving = {
        let (stop, service) = (stop.clone(), host.into_router());
        tokio::spawn(async move { weltenwind_http::serve(http, service, &http_config, stop).await })
    };

    signal.await;
    tracing::info!("draining");
    readiness.drain();
    // Beside the requests: each has time of its own.
    let working = worker.map(|worker| tokio::spawn(worker.drain()));
    realtime.drain().await;
    stop.cancel();
    if let Err(error) = serving.await {
        tracing::error!(error = %chain(&error), "the HTTP server ended badly");
    }
    counting.abort();
    keys.abort();
    // Its members are not taken away: the lease runs out, and until then they have come back on another node.
    presence.abort();
    erasures.abort();
    if let Some(working) = working
        && let Err(error) = working.await
    {
        tracing::error!(error = %chain(&error), "the worker ended badly");
    }
    if let Err(error) = refusals.await {
        tracing::error!(error = %chain(&error), "the audit of refused attempts ended badly");
    }
    if let Err(error) = services.refusals.close().await {
        tracing::error!(error = %chain(&error), "cannot write the last refused attempts down");
    }
    ops_stop.cancel();
    tasks.join_all().await;
    services.health.close().await;
    tracing::info!("stopped");
    Ok(())
}

fn proxies(config: &Config) -> Result<Vec<ipnet::IpNet>, Failure> {
    let parse = |network: &String| {
        network.parse().map_err(|_| {
            Failure::usage(format!("trusted_proxies: `{network}` is no network"))
                .hint("write it as 10.0.0.0/8 or ::1/128")
        })
    };
    config.trusted_proxies.iter().map(parse).collect()
}

fn origins(config: &Config, public_url: &str) -> Result<AllowedOrigins, Failure> {
    let listed = &config.http.allowed_origins;
    if let Some(other) = listed.iter().find(|origin| !AllowedOrigins::is_origin(origin)) {
        let failure = Failure::usage(format!("http.allowed_origins: `{other}` is no origin"));
        return Err(failure.hint("write each as https://wind.example, with its port if it has one of its own"));
    }
    Ok(if listed.is_empty() {
        AllowedOrigins::of_public_url(public_url)
    } else {
        AllowedOrigins::new(listed.iter().map(String::as_str))
    })
}

pub(crate) async fn bind(key: &str, address: &str) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|error| {
        let failure = Failure::new(Exit::Failed, format!("cannot listen on {address}: {error}"));
        failure.hint(format!("another program may listen there; choose another address: --set {key}=127.0.0.1:0"))
    })
}

pub(crate) fn local(listener: &TcpListener) -> Result<SocketAddr, Failure> {
    listener.local_addr().map_err(|error| Failure::failed(format!("cannot learn the address listened on: {error}")))
}

fn announce(line: &str) -> Result<(), Failure> {
    output::line(line)
}

/// Goes on with erasures, also those that another process began and did not end.
async fn keep_erasures(services: Services) {
    let mut timer = tokio::time::interval(ERASURES_EVERY);
    loop {
        timer.tick().await;
        match services.privacy.finish().await {
            Ok(0) => {}
            Ok(settled) => tracing::info!(settled, "nothing bears the names of erased accounts any more"),
            Err(error) => {
                tracing::warn!(error = %chain(&error), "cannot go on with erasures; trying again in half a minute");
            }
        }
    }
}

async fn keep_keys(services: Services) {
    let mut timer = tokio::time::interval(KEYS_EVERY);
    loop {
        timer.tick().await;
        if let Err(error) = services.accounts.reload_keys().await {
            tracing::warn!(error = %chain(&error), "cannot read the keys; trying again in five seconds");
        }
    }
}

async fn keep_refusals(services: Services, stop: CancellationToken) {
    let mut timer = tokio::time::interval(REFUSALS_EVERY);
    while stop.run_until_cancelled(timer.tick()).await.is_some() {
        if let Err(error) = services.refusals.write_down().await {
            tracing::warn!(error = %chain(&error), "cannot write refused attempts down; trying again in a second");
        }
    }
}

/// Waits for SIGINT or SIGTERM; the handlers are in place when this returns.
pub(crate) fn termination() -> Result<impl Future<Output = ()>, Failure> {
    let no_signal = |error: std::io::Error| Failure::failed(format!("cannot wait for signals: {error}"));
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};

        let mut interrupt = signal(SignalKind::interrupt()).map_err(no_signal)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(no_signal)?;
        Ok(async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        })
    }
    #[cfg(not(unix))]
    {
        let _ = no_signal;
        Ok(async {
            if tokio::signal::ctrl_c().await.is_err() {
                std::future::pending::<()>().await;
            }
        })
    }
}
