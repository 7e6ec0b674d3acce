//! What every request passes on its way in and every answer on its way out, in one place.
//!
//! From the outside in: who asks and under which id, the log line and the metrics, security headers, problem bodies, which
//! pages may call, panics, the time-out, the size of head and body. Routes, mounted services and the answers 404 and 405 inherit all of it.

mod api;
mod cors;
mod guard;
mod headers;
mod identify;
mod observe;
mod problems;
mod trace;

use std::sync::Arc;

use axum::{Router, middleware};
use prometheus::Registry;
use tower_http::catch_panic::CatchPanicLayer;
use weltenwind_core::{AllowedOrigins, IdGenerator, RandomSource, Sources};

pub(crate) use self::{api::api, headers::PAGE_POLICY};
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

/// Wraps every route of a router; the layer named last is the outermost.
pub(crate) fn wrap(router: Router, edge: &Arc<Edge>) -> Router {
    router
        .layer(middleware::from_fn_with_state(Arc::clone(edge), guard::size))
        .layer(middleware::from_fn_with_state(Arc::clone(edge), guard::time))
        .layer(CatchPanicLayer::custom(guard::panicked))
        .layer(middleware::from_fn_with_state(Arc::clone(edge), cors::cors))
        .layer(middleware::from_fn(problems::problems))
        .layer(middleware::from_fn_with_state(Arc::clone(edge), headers::headers))
        .layer(middleware::from_fn_with_state(Arc::clone(edge), observe::observe))
        .layer(middleware::from_fn_with_state(Arc::clone(edge), identify::identify))
}
