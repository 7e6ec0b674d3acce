//! What a node tells of its bus and its limits; the hosts bring their own metrics.

use std::sync::Arc;

use prometheus::{
    Gauge, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, core::Collector, core::Desc,
    proto::MetricFamily,
};
use weltenwind_core::{
    bus::{Bus, BusCounts},
    limits::Limits,
    outbox::{JobCounts, Outbox, OutboxCounts, OutboxStats},
};

use crate::worker::Counted;

/// Tells of the bus at every scrape.
pub(crate) fn register_bus(bus: Arc<dyn Bus>, registry: &Registry) -> Result<(), prometheus::Error> {
    let counters = [
        ("published", "Events that the broker took."),
        ("received", "Events that came from other nodes for somebody here."),
        ("unheard", "Events of other nodes in rooms in which nobody is here."),
        ("dropped", "Events that were not published because the broker was away or too slow."),
        ("unreadable", "Events of other nodes that could not be read."),
        ("reconnects", "Connections to the broker that were made after the first."),
    ];
    let counter = |(name, help)| IntCounter::new(format!("weltenwind_bus_{name}_total"), help);
    let [published, received, unheard, dropped, unreadable, reconnects] = counters.map(counter);
    let round_trip = "Seconds that the last sign of life took through the broker and back; 0 while there is none.";
    registry.register(Box::new(BusCollector {
        bus,
        published: published?,
        received: received?,
        unheard: unheard?,
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
    unheard: IntCounter,
    dropped: IntCounter,
    unreadable: IntCounter,
    reconnects: IntCounter,
    up: IntGauge,
    round_trip: Gauge,
}

impl BusCollector {
    fn metrics(&self) -> [&dyn Collector; 8] {
        let Self { bus: _, published, received, unheard, dropped, unreadable, reconnects, up, round_trip } = self;
        [published, received, unheard, dropped, unreadable, reconnects, up, round_trip]
    }
}

impl Collector for BusCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.metrics().into_iter().flat_map(Collector::desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let BusCounts { published, received, unheard, dropped, unreadable, reconnects, round_trip } = self.bus.counts();
        let counts = [
            (&self.published, published),
            (&self.received, received),
            (&self.unheard, unheard),
            (&self.dropped, dropped),
            (&self.unreadable, unreadable),
            (&self.reconnects, reconnects),
        ];
        for (counter, count) in counts {
            catch_up(counter, count);
        }
        self.up.set(i64::from(self.bus.check().is_ok()));
        self.round_trip.set(round_trip.map_or(0.0, |time| time.as_secs_f64()));
        self.metrics().into_iter().flat_map(Collector::collect).collect()
    }
}

/// Two scrapes at once may add one difference twice; later ones then add nothing until that is made up.
fn catch_up(counter: &IntCounter, count: u64) {
    counter.inc_by(count.saturating_sub(counter.get()));
}

/// Tells of the limits at every scrape.
pub(crate) fn register_limits(limits: Limits, registry: &Registry) -> Result<(), prometheus::Error> {
    let refusals = Opts::new("weltenwind_rate_limit_refusals_total", "Calls that came too soon, by policy.");
    let fallbacks = "Decisions that a node made alone, because what nodes share was away or too slow.";
    registry.register(Box::new(LimitsCollector {
        limits,
        refusals: IntCounterVec::new(refusals, &["policy"])?,
        fallbacks: IntCounter::new("weltenwind_rate_limit_fallbacks_total", fallbacks)?,
    }))
}

/// Copies what the limits count into metrics when they are asked for.
struct LimitsCollector {
    limits: Limits,
    refusals: IntCounterVec,
    fallbacks: IntCounter,
}

impl Collector for LimitsCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.refusals.desc().into_iter().chain(self.fallbacks.desc()).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        for (policy, count) in self.limits.refusals() {
            catch_up(&self.refusals.with_label_values(&[policy.as_str()]), count);
        }
        catch_up(&self.fallbacks, self.limits.fallbacks());
        self.refusals.collect().into_iter().chain(self.fallbacks.collect()).collect()
    }
}

/// Tells of jobs at every scrape: what there is as it was counted last, and what this process has done.
pub(crate) fn register_outbox(outbox: Outbox, counted: Counted, registry: &Registry) -> Result<(), prometheus::Error> {
    let gauge = |name, help| Gauge::new(format!("weltenwind_outbox_{name}"), help);
    let by_kind =
        |name, help| IntCounterVec::new(Opts::new(format!("weltenwind_outbox_{name}_total"), help), &["kind"]);
    registry.register(Box::new(OutboxCollector {
        outbox,
        counted,
        jobs: IntGaugeVec::new(
            Opts::new("weltenwind_outbox_jobs", "Jobs in the store, by how they stand."),
            &["state"],
        )?,
        oldest_due: gauge("oldest_due_seconds", "Seconds that the oldest job has waited whose time has come.")?,
        oldest_snapshot: gauge(
            "oldest_snapshot_seconds",
            "Postgres: age of the oldest transaction that keeps the database from clearing away behind jobs.",
        )?,
        claimed: by_kind("claimed", "Jobs claimed by this process.")?,
        done: by_kind("done", "Jobs done by this process.")?,
        failed: by_kind("failed", "Attempts of this process that failed and are repeated.")?,
        dead: by_kind("dead", "Jobs that failed for good in this process.")?,
        lost: by_kind("lost", "Jobs that this process lost to another while it worked on them.")?,
        swept: IntCounter::new("weltenwind_outbox_swept_total", "Jobs taken back from workers that were gone.")?,
        swept_dead: IntCounter::new("weltenwind_outbox_swept_dead_total", "Of those, jobs that are dead since.")?,
    }))
}

/// Copies what is known of jobs into metrics when they are asked for.
struct OutboxCollector {
    outbox: Outbox,
    counted: Counted,
    jobs: IntGaugeVec,
    oldest_due: Gauge,
    oldest_snapshot: Gauge,
    claimed: IntCounterVec,
    done: IntCounterVec,
    failed: IntCounterVec,
    dead: IntCounterVec,
    lost: IntCounterVec,
    swept: IntCounter,
    swept_dead: IntCounter,
}

impl OutboxCollector {
    fn metrics(&self) -> [&dyn Collector; 10] {
        let Self {
            outbox: _, counted: _, jobs, oldest_due, oldest_snapshot, claimed, done, failed, dead, lost, ..
        } = self;
        let (swept, swept_dead) = (&self.swept, &self.swept_dead);
        [jobs, oldest_due, oldest_snapshot, claimed, done, failed, dead, lost, swept, swept_dead]
    }
}

impl Collector for OutboxCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.metrics().into_iter().flat_map(Collector::desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let OutboxStats { due, behind, later, leased, dead, oldest_due, oldest_snapshot } = self.counted.stats();
        let states = [("due", due), ("behind", behind), ("later", later), ("leased", leased), ("dead", dead)];
        for (state, count) in states {
            self.jobs.with_label_values(&[state]).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        self.oldest_due.set(oldest_due.as_secs_f64());
        self.oldest_snapshot.set(oldest_snapshot.unwrap_or_default().as_secs_f64());
        let OutboxCounts { kinds, swept, swept_dead } = self.outbox.counts();
        for (kind, JobCounts { claimed, done, failed, buried, lost }) in kinds {
            let counts = [
                (&self.claimed, claimed),
                (&self.done, done),
                (&self.failed, failed),
                (&self.dead, buried),
                (&self.lost, lost),
            ];
            for (counter, count) in counts {
                catch_up(&counter.with_label_values(&[kind.as_str()]), count);
            }
        }
        catch_up(&self.swept, swept);
        catch_up(&self.swept_dead, swept_dead);
        self.metrics().into_iter().flat_map(Collector::collect).collect()
    }
}

#[cfg(test)]
mod tests {
    use weltenwind_core::{
        Actor, SystemClock,
        limits::{LimitsConfig, Policy, Quota, Unit},
    };

    use super::*;

    #[tokio::test]
    async fn every_policy_tells_how_often_it_refused() {
        let config = LimitsConfig::uniform(Quota::per(1, Unit::Day));
        let (limits, registry) = (Limits::in_process(Arc::new(SystemClock), config), Registry::new());
        register_limits(limits.clone(), &registry).unwrap();
        for _ in 0..3 {
            let _ = limits.charge(&Actor::player("Mira"), Policy::Chat).await;
        }

        for _ in 0..2 {
            let text = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();

            let counted = |policy| format!("weltenwind_rate_limit_refusals_total{{policy=\"{policy}\"}}");
            assert!(text.contains(&format!("{} 2\n", counted("chat"))), "{text}");
            assert!(Policy::ALL.iter().all(|policy| text.contains(&counted(policy.as_str()))), "{text}");
            assert!(text.contains("weltenwind_rate_limit_fallbacks_total 0\n"), "{text}");
        }
    }
}
