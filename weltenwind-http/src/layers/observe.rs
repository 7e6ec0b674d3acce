//! One span, one log line and one count per request.

use std::{sync::Arc, time::Instant};

use axum::{
    extract::{MatchedPath, Request, State},
    middleware::Next,
    response::Response,
};
use http::Method;
use tracing::{Instrument as _, field};
use weltenwind_core::CorrelationId;

use super::Edge;

/// Logs and counts by route template: neither path nor query, which may hold what is nobody's business.
pub(super) async fn observe(State(edge): State<Arc<Edge>>, request: Request, next: Next) -> Response {
    let method = method_label(request.method());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map_or("unmatched", MatchedPath::as_str);
    let id = request.extensions().get::<CorrelationId>().map_or("", CorrelationId::as_str);
    let span = tracing::info_span!("request", id, method, route, actor = field::Empty);
    let in_flight = edge.metrics.enter();
    let started = Instant::now();
    let response = next.run(request).instrument(span.clone()).await;
    let took = started.elapsed();
    drop(in_flight);
    let status = response.status();
    edge.metrics.answered(method, route, status.as_str(), took);
    let milliseconds = took.as_secs_f64() * 1000.0;
    span.in_scope(|| {
        if status.is_server_error() {
            tracing::error!(status = status.as_u16(), ms = milliseconds, "answered");
        } else {
            tracing::info!(status = status.as_u16(), ms = milliseconds, "answered");
        }
    });
    response
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
