//! What can be measured of sockets; no label has more values than the code names.

use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry, core::Collector};

#[derive(Debug)]
pub(crate) struct Metrics {
    pub(crate) connections: IntGauge,
    pub(crate) stalled: IntGauge,
    pub(crate) rooms: IntGauge,
    pub(crate) ring_bytes: IntGauge,
    pub(crate) page_bytes: IntGauge,
    pub(crate) joins: IntCounter,
    pub(crate) records_in: IntCounter,
    pub(crate) records_out: IntCounter,
    pub(crate) closed: IntCounterVec,
    pub(crate) gaps: IntCounterVec,
    pub(crate) replayed: IntCounter,
    pub(crate) pages: IntCounterVec,
    pub(crate) refused: IntCounterVec,
    pub(crate) connect: Histogram,
    pub(crate) deliver: Histogram,
    pub(crate) revoke: Histogram,
}

/// Seconds; the bars to reach are 5 ms on one node and 15 ms across two.
const BUCKETS: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];

impl Metrics {
    pub(crate) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        fn keep<C: Collector + Clone + 'static>(registry: &Registry, collector: C) -> Result<C, prometheus::Error> {
            registry.register(Box::new(collector.clone()))?;
            Ok(collector)
        }
        let gauge = |name: &str, help: &str| keep(registry, IntGauge::new(name, help)?);
        let counter = |name: &str, help: &str| keep(registry, IntCounter::new(name, help)?);
        let counters =
            |name: &str, help: &str, label| keep(registry, IntCounterVec::new(Opts::new(name, help), &[label])?);

        let records =
            counters("weltenwind_ws_records_total", "Records read from and written to sockets.", "direction")?;
        let deliver =
            "Seconds from a message's acceptance until the frame with it is written; the oldest one of each frame.";
        let deliver = HistogramOpts::new("weltenwind_ws_deliver_seconds", deliver).buckets(BUCKETS.to_vec());
        let connect = "Seconds from the handshake until `welcome` is written.";
        let connect = HistogramOpts::new("weltenwind_ws_connect_seconds", connect).buckets(BUCKETS.to_vec());
        let revoke = "Seconds from the end of a session or device until its socket is closed.";
        let revoke = HistogramOpts::new("weltenwind_ws_revoke_seconds", revoke).buckets(BUCKETS.to_vec());
        Ok(Self {
            connections: gauge("weltenwind_ws_connections", "Open sockets.")?,
            stalled: gauge(
                "weltenwind_ws_stalled_connections",
                "Open sockets that have taken nothing for five seconds of what waits for them.",
            )?,
            rooms: gauge("weltenwind_ws_rooms", "Rooms that somebody on this node is in, or was a moment ago.")?,
            ring_bytes: gauge("weltenwind_ws_ring_bytes", "Bytes of frames that the rooms of this node keep.")?,
            page_bytes: gauge(
                "weltenwind_ws_page_bytes",
                "Bytes of frames of the store's pages that sockets of this node are being told.",
            )?,
            joins: counter("weltenwind_ws_joins_total", "Rooms that were joined.")?,
            records_in: records.with_label_values(&["in"]),
            records_out: records.with_label_values(&["out"]),
            closed: counters("weltenwind_ws_closed_total", "Closed sockets, by close code or who left.", "code")?,
            gaps: counters("weltenwind_ws_gaps_total", "Gaps that clients were told of, by cause.", "cause")?,
            pages: counters(
                "weltenwind_ws_pages_total",
                "Pages that sockets asked for, because they came back or lag behind.",
                "why",
            )?,
            replayed: counter("weltenwind_ws_replayed_total", "Messages that were replayed after a join.")?,
            refused: counters("weltenwind_ws_refused_total", "Handshakes that were refused, by code.", "code")?,
            connect: keep(registry, Histogram::with_opts(connect)?)?,
            deliver: keep(registry, Histogram::with_opts(deliver)?)?,
            revoke: keep(registry, Histogram::with_opts(revoke)?)?,
        })
    }

    /// Counts a socket until the answer is dropped.
    pub(crate) fn count(&self) -> Counted {
        Counted::new(&self.connections)
    }

    /// Counts a socket as stalled until the answer is dropped.
    pub(crate) fn count_stalled(&self) -> Counted {
        Counted::new(&self.stalled)
    }
}

/// A socket that counts as open, or as stalled.
#[derive(Debug)]
pub(crate) struct Counted(IntGauge);

impl Counted {
    fn new(gauge: &IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Bytes that are counted until this is dropped.
#[derive(Debug)]
pub(crate) struct Weighed {
    gauge: IntGauge,
    bytes: i64,
}

impl Weighed {
    pub(crate) fn new(gauge: &IntGauge, bytes: usize) -> Self {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        gauge.add(bytes);
        Self { gauge: gauge.clone(), bytes }
    }
}

impl Drop for Weighed {
    fn drop(&mut self) {
        self.gauge.sub(self.bytes);
    }
}
