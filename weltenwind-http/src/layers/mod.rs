//! What every request passes on its way in and every answer on its way out, in one place.
//!
//! From the outside in: who asks and under which id, the log line and the metrics, security headers, problem bodies, which
//! pages may call, panics, the time-out, the size of head and body. Routes, mounted services and the answers 404 and 405 inherit all of it.

mod api;
mod cors;
mod guard;
mod headers;
mod idempotency;
mod identify;
mod observe;
mod problems;
mod trace;

use std::sync::Arc;

use axum::{Router, middleware};
use prometheus::Registry;
use tower_http::catch_panic::CatchPanicLayer;
use weltenwind_core::{AllowedOrigins, IdGenerator, RandomSource, Sources};

pub(crate) use self::{
    api::api,
    headers::PAGE_POLICY,
    idempotency::{KEY, Keyed, idempotency},
};
use crate::{config::HttpConfig, metrics::Metrics};

/// Which requests the log names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Log {
    /// All of them.
    EveryRequest,
    /// Those that fail: the others come every few seconds from a program.
    Failures,
}

/// What the layers need to know.
#[derive(Debug)]
pub(crate) struct Edge {
    ids: Arc<dyn IdGenerator>,
    random: Arc<dyn RandomSource>,
    /// Whose pages may call the API.
    origins: AllowedOrigins,
    config: HttpConfig,
    metrics: Arc<Metrics>,
    log: Log,
}

impl Edge {
    pub(crate) fn new(sources: &Sources, config: HttpConfig, registry: &Registry, log: Log) -> Arc<Self> {
        Arc::new(Self {
            ids: Arc::clone(&sources.ids),
            random: Arc::clone(&sources.random),
            origins: config.origins(),
            config,
            metrics: Arc::new(Metrics::new(registry)),
            log,
        })
    }
}

/// Puts a layer around a router.
type Layer = fn(Router, &Arc<Edge>) -> Router;

macro_rules! with_edge {
    ($layer:path) => {
        |router, edge| router.layer(middleware::from_fn_with_state(Arc::clone(edge), $layer))
    };
}

/// Every layer; the one named last is the outermost.
pub(crate) const LAYERS: [(&str, Layer); 8] = [
    ("size of head and body", with_edge!(guard::size)),
    ("time", with_edge!(guard::time)),
    ("panics", |router, _| router.layer(CatchPanicLayer::custom(guard::panicked))),
    ("pages of other origins", with_edge!(cors::cors)),
    ("problems", |router, _| router.layer(middleware::from_fn(problems::problems))),
    ("security headers", with_edge!(headers::headers)),
    ("span, log line, metrics", with_edge!(observe::observe)),
    ("request id and address", with_edge!(identify::identify)),
];

/// Wraps every route of a router.
pub(crate) fn wrap(router: Router, edge: &Arc<Edge>) -> Router {
    LAYERS.iter().fold(router, |router, (_, layer)| layer(router, edge))
}
