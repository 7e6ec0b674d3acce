//! What is counted of requests: rate, errors, duration, by route template and never by path.

use std::{sync::Arc, time::Duration};

use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGauge, Opts, Registry, core::Collector};
use weltenwind_core::chain;

/// Seconds: from a cached read to the time-out.
const BUCKETS: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    requests: IntCounterVec,
    seconds: HistogramVec,
    in_flight: IntGauge,
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
            in_flight: IntGauge::new("weltenwind_http_in_flight", "Requests that are being answered.")
                .expect("the description is sound"),
        };
        let collectors: [Box<dyn Collector>; 3] = [
            Box::new(metrics.requests.clone()),
            Box::new(metrics.seconds.clone()),
            Box::new(metrics.in_flight.clone()),
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

    pub(crate) fn answered(&self, method: &str, route: &str, status: &str, took: Duration) {
        self.requests.with_label_values(&[method, route, status]).inc();
        self.seconds.with_label_values(&[method, route]).observe(took.as_secs_f64());
    }
}

pub(crate) struct InFlight(Arc<Metrics>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.dec();
    }
}
