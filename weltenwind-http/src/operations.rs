//! What operators ask: is it alive, is it ready, what did it count.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    extract::State,
    response::{IntoResponse as _, Response},
    routing::get,
};
use http::{HeaderValue, StatusCode, header};
use prometheus::{Registry, TextEncoder};
use serde_json::json;
use weltenwind_core::{Code, FieldError, Services, chain};

use crate::{
    answer::{self, Answer, With as _},
    config::HttpConfig,
    layers::{self, Edge, Log},
    problem::Refusal,
};

/// How long the store may take to answer.
const STORE_LIMIT: Duration = Duration::from_secs(2);
/// For how long the worker of a process may not reach the store, if it has one.
const WORKER_LIMIT: Duration = Duration::from_secs(30);

/// Whether this process wants requests. Whoever stops it says so first, and balancers send requests elsewhere.
///
/// ```
/// let readiness = weltenwind_http::Readiness::default();
/// assert!(!readiness.is_draining());
/// readiness.drain();
/// assert!(readiness.is_draining());
/// ```
#[derive(Debug, Clone, Default)]
pub struct Readiness {
    draining: Arc<AtomicBool>,
}

impl Readiness {
    /// Wants no more requests.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::SeqCst);
    }

    /// Returns whether no more requests are wanted.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }
}

#[derive(Debug)]
struct Operations {
    services: Services,
    registry: Registry,
    readiness: Readiness,
}

/// `/livez`, `/readyz` and `/metrics`, for a listener of their own that only operators reach.
///
/// `/livez` answers 200 as long as requests are answered at all. `/readyz` answers 200 with each check, or 503 if one fails:
/// the store answers within two seconds, what was lost could be read within the last ten, the worker of the process, if it has
/// one, has looked for jobs within the last thirty, and the process is not about to stop. A bus that is away is told and fails nothing;
/// of one that is there, how long its last sign of life took.
/// `/metrics` is Prometheus' text format.
pub fn operations(services: Services, registry: Registry, readiness: Readiness) -> Router {
    // Counted apart, so that a balancer's questions do not pass for players'.
    let edge = Edge::new(&services.sources, HttpConfig::default(), &Registry::new(), Log::Failures);
    let router = Router::new()
        .route("/livez", get(live))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(Arc::new(Operations { services, registry, readiness }));
    layers::wrap(router, &edge)
}

async fn live() -> Response {
    no_store(answer::ok(&json!({ "status": "alive" })))
}

async fn ready(State(operations): State<Arc<Operations>>) -> Answer {
    let store = match tokio::time::timeout(STORE_LIMIT, operations.services.health.check()).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => {
            tracing::warn!(error = chain(&error), "the store is not ready");
            Err("the store cannot be used")
        }
        Err(_) => Err("the store took longer than two seconds"),
    };
    let losses = match tokio::time::timeout(STORE_LIMIT, operations.services.revocations.require_fresh()).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err("what was lost could not be read for ten seconds"),
    };
    let jobs = match operations.services.outbox.unreached_for() {
        Some(age) if age > WORKER_LIMIT => Err("jobs could not be looked for in half a minute"),
        _ => Ok(()),
    };
    let draining = if operations.readiness.is_draining() { Err("the process is about to stop") } else { Ok(()) };
    let checks = [("store", store), ("losses", losses), ("jobs", jobs), ("draining", draining)];
    let failed: Vec<FieldError> = checks
        .iter()
        .filter_map(|(name, outcome)| Some(FieldError::new(*name, Code::Unavailable, outcome.err()?)))
        .collect();
    if !failed.is_empty() {
        return Err(Refusal::new(Code::Unavailable, "not ready").naming(failed).into());
    }
    let mut checks: Vec<_> = checks.iter().map(|(name, _)| json!({ "name": name, "status": "ok" })).collect();
    // Without the bus messages of other nodes come late and nothing else: no reason to send people away, least of all
    // from every node at once, which is what a Redis that is away would do.
    let bus = &operations.services.bus;
    checks.push(match (bus.check(), bus.counts().round_trip) {
        (Ok(()), Some(time)) => json!({ "name": "bus", "status": "ok", "roundTripSeconds": time.as_secs_f64() }),
        (Ok(()), None) => json!({ "name": "bus", "status": "ok" }),
        (Err(_), _) => json!({ "name": "bus", "status": "away" }),
    });
    Ok(no_store(answer::ok(&json!({ "status": "ready", "checks": checks }))))
}

async fn metrics(State(operations): State<Arc<Operations>>) -> Response {
    match TextEncoder::new().encode_to_string(&operations.registry.gather()) {
        Ok(text) => {
            no_store(text.into_response().with(header::CONTENT_TYPE, HeaderValue::from_static(prometheus::TEXT_FORMAT)))
        }
        Err(error) => {
            tracing::error!(error = chain(&error), "cannot write the metrics");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

fn no_store(response: Response) -> Response {
    response.with(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))
}
