//! What a node tells of its bus; the hosts bring their own metrics.

use std::sync::Arc;

use prometheus::{Gauge, IntCounter, IntGauge, Registry, core::Collector, core::Desc, proto::MetricFamily};
use weltenwind_core::bus::{Bus, BusCounts};

/// Tells of the bus at every scrape.
pub(crate) fn register_bus(bus: Arc<dyn Bus>, registry: &Registry) -> Result<(), prometheus::Error> {
    let counters = [
        ("published", "Events that the broker took."),
        ("received", "Events that came from other nodes."),
        ("dropped", "Events that were not published because the broker was away or too slow."),
        ("unreadable", "Events of other nodes that could not be read."),
        ("reconnects", "Connections to the broker that were made after the first."),
    ];
    let counter = |(name, help)| IntCounter::new(format!("weltenwind_bus_{name}_total"), help);
    let [published, received, dropped, unreadable, reconnects] = counters.map(counter);
    let round_trip = "Seconds that the last sign of life took through the broker and back; 0 while there is none.";
    registry.register(Box::new(BusCollector {
        bus,
        published: published?,
        received: received?,
        dropped: dropped?,
        unreadable: unreadable?,
        reconnects: reconnects?,
        up: IntGauge::new("weltenwind_bus_up", "Whether events cross between nodes; a single node needs no broker.")?,
        round_trip: Gauge::new("weltenwind_bus_round_trip_seconds", round_trip)?,
    }))
}

/// Copies what the bus counts into metrics when they are asked for.
struct BusCollector {
    bus: Arc<dyn Bus>,
    published: IntCounter,
    received: IntCounter,
    dropped: IntCounter,
    unreadable: IntCounter,
    reconnects: IntCounter,
    up: IntGauge,
    round_trip: Gauge,
}

impl BusCollector {
    fn metrics(&self) -> [&dyn Collector; 7] {
        let Self { bus: _, published, received, dropped, unreadable, reconnects, up, round_trip } = self;
        [published, received, dropped, unreadable, reconnects, up, round_trip]
    }
}

impl Collector for BusCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.metrics().into_iter().flat_map(Collector::desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let BusCounts { published, received, dropped, unreadable, reconnects, round_trip } = self.bus.counts();
        let counts = [
            (&self.published, published),
            (&self.received, received),
            (&self.dropped, dropped),
            (&self.unreadable, unreadable),
            (&self.reconnects, reconnects),
        ];
        for (counter, count) in counts {
            // Two scrapes at once may add one difference twice; later ones then add nothing until that is made up.
            counter.inc_by(count.saturating_sub(counter.get()));
        }
        self.up.set(i64::from(self.bus.check().is_ok()));
        self.round_trip.set(round_trip.map_or(0.0, |time| time.as_secs_f64()));
        self.metrics().into_iter().flat_map(Collector::collect).collect()
    }
}
