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
use http::{HeaderName, Method};
use tracing::{Instrument as _, field};
use weltenwind_core::CorrelationId;

use super::{Edge, Log};

const TRACE_PARENT: HeaderName = HeaderName::from_static("traceparent");

/// Logs and counts by route template: neither path nor query, which may hold what is nobody's business.
pub(super) async fn observe(State(edge): State<Arc<Edge>>, request: Request, next: Next) -> Response {
    let method = method_label(request.method());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map_or("unmatched", MatchedPath::as_str);
    let id = request.extensions().get::<CorrelationId>().map_or("", CorrelationId::as_str);
    let span = tracing::info_span!("request", id, method, route, trace = field::Empty, actor = field::Empty);
    if let Some(trace) = request.headers().get(TRACE_PARENT).and_then(|parent| trace_id(parent.to_str().ok()?)) {
        span.record("trace", trace);
    }
    let in_flight = edge.metrics.enter();
    let started = Instant::now();
    let response = next.run(request).instrument(span.clone()).await;
    let took = started.elapsed();
    drop(in_flight);
    let status = response.status();
    edge.metrics.answered(method, route, status.as_str(), took);
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

/// Reads the trace that the caller's system follows this request under (W3C Trace Context, 3.2.2).
fn trace_id(parent: &str) -> Option<&str> {
    let mut parts = parent.split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let is_hex =
        |text: &str, length| text.len() == length && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let is_something = |text: &str| text.bytes().any(|b| b != b'0');
    let fits = is_hex(version, 2) && version != "ff" && (version != "00" || parts.next().is_none()) && is_hex(flags, 2);
    (fits && is_hex(trace, 32) && is_something(trace) && is_hex(span, 16) && is_something(span)).then_some(trace)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_followed_if_it_is_one() {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        for (parent, expected) in [
            (format!("00-{trace}-00f067aa0ba902b7-01"), Some(trace)),
            (format!("01-{trace}-00f067aa0ba902b7-01-more"), Some(trace)),
            (format!("00-{trace}-00f067aa0ba902b7-01-more"), None),
            (format!("ff-{trace}-00f067aa0ba902b7-01"), None),
            (format!("00-{trace}-0000000000000000-01"), None),
            (format!("00-{}-00f067aa0ba902b7-01", trace.to_uppercase()), None),
            (format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)), None),
            ("noise".to_owned(), None),
        ] {
            assert_eq!(trace_id(&parent), expected, "{parent}");
        }
    }
}
