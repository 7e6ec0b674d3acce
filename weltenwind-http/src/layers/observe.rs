//! One span, one log line and one count per request.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    extract::{MatchedPath, Request, State},
    middleware::Next,
    response::Response,
};
use http::Method;
use tracing::{Instrument as _, field};
use weltenwind_core::CorrelationId;

use super::{Edge, Log, trace::Trace};

/// Logs and counts by route template: neither path nor query, which may hold what is nobody's business.
pub(super) async fn observe(State(edge): State<Arc<Edge>>, request: Request, next: Next) -> Response {
    let method = method_label(request.method());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map_or("unmatched", MatchedPath::as_str);
    let id = request.extensions().get::<CorrelationId>().map_or("", CorrelationId::as_str);
    let Trace { id: trace, parent, span: step } = Trace::of(request.headers(), &*edge.random);
    let span = tracing::info_span!("request", id, method, route, trace, span = step, parent, actor = field::Empty);
    let in_flight = edge.metrics.enter();
    let started = Instant::now();
    let request = request.map(|body| edge.metrics.measured_request(method, route, body));
    let response = next.run(request).instrument(span.clone()).await;
    let took = started.elapsed();
    drop(in_flight);
    let status = response.status();
    edge.metrics.answered(method, route, status, took);
    let response = response.map(|body| edge.metrics.measured_response(method, route, body));
    let (status, ms) = (status.as_u16(), milliseconds(took));
    span.in_scope(|| match (edge.log, status) {
        (_, 500..) => tracing::error!(status, ms, "answered"),
        (Log::EveryRequest, _) => tracing::info!(status, ms, "answered"),
        (Log::Failures, _) => tracing::debug!(status, ms, "answered"),
    });
    response
}

/// To the microsecond: more digits would be noise.
fn milliseconds(took: Duration) -> f64 {
    f64::from(u32::try_from(took.as_micros()).unwrap_or(u32::MAX)) / 1000.0
}

/// Bounds the label: anybody may invent methods.
fn method_label(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}
