//! What is counted of requests: rate, errors, duration and sizes, by route template and never by path.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::body::Body;
use bytes::Bytes;
use http::StatusCode;
use http_body::{Frame, SizeHint};
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry, core::Collector,
};
use weltenwind_core::chain;

/// Seconds: from a cached read to the time-out.
const BUCKETS: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
/// Bytes: from a small object to the largest body that is taken anywhere.
const SIZES: &[f64] = &[256.0, 1024.0, 4096.0, 16_384.0, 65_536.0, 262_144.0, 1_048_576.0];

#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    requests: IntCounterVec,
    seconds: HistogramVec,
    request_bytes: HistogramVec,
    response_bytes: HistogramVec,
    in_flight: IntGauge,
    replays: IntCounter,
    in_progress: IntCounter,
}

impl Metrics {
    /// Makes the metrics and registers them. A registry that has those of another host keeps them, and these count unseen.
    pub(crate) fn new(registry: &Registry) -> Self {
        let metrics = Self {
            requests: IntCounterVec::new(
                Opts::new("weltenwind_http_requests_total", "Requests that were answered."),
                &["method", "route", "status"],
            )
            .expect("the description is sound"),
            seconds: HistogramVec::new(
                HistogramOpts::new("weltenwind_http_request_seconds", "Time from a request's head to its answer's.")
                    .buckets(BUCKETS.to_vec()),
                &["method", "route"],
            )
            .expect("the description is sound"),
            request_bytes: sizes("weltenwind_http_request_bytes", "Bytes that were read of a request's body."),
            response_bytes: sizes("weltenwind_http_response_bytes", "Bytes that were taken of an answer's body."),
            in_flight: IntGauge::new("weltenwind_http_in_flight", "Requests that are being answered.")
                .expect("the description is sound"),
            replays: IntCounter::new(
                "weltenwind_idempotency_replays_total",
                "Requests under an Idempotency-Key that were answered as before.",
            )
            .expect("the description is sound"),
            in_progress: IntCounter::new(
                "weltenwind_idempotency_in_progress_total",
                "Requests that were refused because the first under their Idempotency-Key was still running.",
            )
            .expect("the description is sound"),
        };
        let collectors: [Box<dyn Collector>; 7] = [
            Box::new(metrics.requests.clone()),
            Box::new(metrics.seconds.clone()),
            Box::new(metrics.request_bytes.clone()),
            Box::new(metrics.response_bytes.clone()),
            Box::new(metrics.in_flight.clone()),
            Box::new(metrics.replays.clone()),
            Box::new(metrics.in_progress.clone()),
        ];
        for collector in collectors {
            if let Err(error) = registry.register(collector) {
                tracing::warn!(error = chain(&error), "this host's requests are not counted");
            }
        }
        metrics
    }

    /// Counts a request as being answered until the guard is dropped, also by a caller who went away.
    pub(crate) fn enter(self: &Arc<Self>) -> InFlight {
        self.in_flight.inc();
        InFlight(Arc::clone(self))
    }

    /// Counts a request that was answered as before.
    pub(crate) fn replayed(&self) {
        self.replays.inc();
    }

    /// Counts a request whose first is still running.
    pub(crate) fn repeated_too_early(&self) {
        self.in_progress.inc();
    }

    /// Counts an answer. A mounted service may invent statuses, so those without a name share a label.
    pub(crate) fn answered(&self, method: &str, route: &str, status: StatusCode, took: Duration) {
        let status = if status.canonical_reason().is_some() { status.as_str() } else { "other" };
        self.requests.with_label_values(&[method, route, status]).inc();
        self.seconds.with_label_values(&[method, route]).observe(took.as_secs_f64());
    }

    pub(crate) fn measured_request(&self, method: &str, route: &str, body: Body) -> Body {
        Body::new(Measured { body, bytes: 0, sizes: self.request_bytes.with_label_values(&[method, route]) })
    }

    pub(crate) fn measured_response(&self, method: &str, route: &str, body: Body) -> Body {
        Body::new(Measured { body, bytes: 0, sizes: self.response_bytes.with_label_values(&[method, route]) })
    }
}

fn sizes(name: &str, help: &str) -> HistogramVec {
    HistogramVec::new(HistogramOpts::new(name, help).buckets(SIZES.to_vec()), &["method", "route"])
        .expect("the description is sound")
}

/// A body whose bytes are counted as they pass, and noted once nobody wants more of it, complete or not.
struct Measured {
    body: Body,
    bytes: usize,
    sizes: Histogram,
}

impl http_body::Body for Measured {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &frame {
            self.bytes += frame.data_ref().map_or(0, Bytes::len);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Measured {
    fn drop(&mut self) {
        self.sizes.observe(f64::from(u32::try_from(self.bytes).unwrap_or(u32::MAX)));
    }
}

pub(crate) struct InFlight(Arc<Metrics>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.dec();
    }
}
