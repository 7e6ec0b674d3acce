//! What was measured, as a table for people and as one document for programs.

use std::{fmt::Write as _, time::Duration};

use hdrhistogram::Histogram;
use serde::Serialize;

use super::{processes::Spent, tally::Wrong};
use crate::output;

/// Everything that a bench says.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    pub(super) conditions: Vec<String>,
    pub(super) workloads: Vec<Row>,
    pub(super) replays: Vec<Replay>,
    pub(super) writes: Vec<Writes>,
}

/// One server under one workload.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Row {
    pub(super) server: &'static str,
    pub(super) workload: &'static str,
    pub(super) sockets: usize,
    pub(super) rooms: usize,
    pub(super) runs: usize,
    /// The server's time for each delivery by that of the floor in the same run.
    pub(super) floor_quotient: Option<f64>,
    /// Records that the server says it has written to the sockets while somebody said something, and while they were read.
    pub(super) told: Option<u64>,
    /// Records that came to the sockets in that time.
    pub(super) heard: u64,
    /// What is of the moment may be passed over for who is too slow; so much of it was.
    pub(super) dropped: u64,
    #[serde(flatten)]
    pub(super) figures: Figures,
    #[serde(flatten)]
    pub(super) wrong: Wrong,
}

/// The figures of all runs: the middle one, the least and the greatest.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Figures {
    pub(super) deliveries_per_second: Spread,
    pub(super) messages_per_second: Spread,
    pub(super) p50_ms: Spread,
    pub(super) p99_ms: Spread,
    pub(super) p999_ms: Spread,
    pub(super) lag_p99_ms: Spread,
    pub(super) accepted_p50_ms: Spread,
    pub(super) accepted_p99_ms: Spread,
    pub(super) server_micros: Option<Spread>,
    pub(super) database_micros: Option<Spread>,
    pub(super) broker_micros: Option<Spread>,
    pub(super) together_micros: Option<Spread>,
    pub(super) clients_percent: Spread,
    pub(super) kib_per_socket: Option<Spread>,
    pub(super) idle_micros_per_second: Option<Spread>,
    pub(super) join_p50_ms: Spread,
    pub(super) join_p95_ms: Spread,
}

/// What one run saw.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) deliveries: u64,
    pub(super) messages: u64,
    pub(super) window: Duration,
    pub(super) latency: Histogram<u64>,
    pub(super) lag: Histogram<u64>,
    pub(super) accepted: Histogram<u64>,
    pub(super) joined: Histogram<u64>,
    /// What was taken of the processors while it counted.
    pub(super) spent: Spent,
    pub(super) kib_per_socket: Option<f64>,
    pub(super) idle_micros_per_second: Option<f64>,
    pub(super) told: Option<u64>,
    pub(super) heard: u64,
    pub(super) dropped: u64,
    pub(super) wrong: Wrong,
    pub(super) watches: Watches,
}

/// Which processes of a run could be looked at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Watches {
    pub(super) server: bool,
    pub(super) database: bool,
    pub(super) broker: bool,
}

/// The middle one of several figures, and both ends.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Spread {
    median: f64,
    min: f64,
    max: f64,
}

/// A socket that came back.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Replay {
    pub(super) server: &'static str,
    pub(super) messages: u64,
    /// From the connect until everything was heard.
    pub(super) live_ms: Spread,
    #[serde(flatten)]
    pub(super) wrong: Wrong,
}

/// A prepared frame that is written to each socket in turn.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Writes {
    pub(super) sockets: usize,
    pub(super) copies: usize,
    pub(super) deliveries_per_second: Spread,
    pub(super) micros: Spread,
}

/// Turns a count into what can be divided.
pub(super) fn real(count: u64) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

impl Spread {
    pub(super) const fn median(self) -> f64 {
        self.median
    }

    /// Spreads the figures; none if there are none.
    pub(crate) fn of(figures: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = figures.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        Some(Self { median: *sorted.get(sorted.len() / 2)?, min: *sorted.first()?, max: *sorted.last()? })
    }

    /// `8.3 (8.0–9.1)`.
    pub(crate) fn text(self, digits: usize) -> String {
        let Self { median, min, max } = self;
        format!("{median:.digits$} ({min:.digits$}–{max:.digits$})")
    }
}

fn ms_at(histogram: &Histogram<u64>, quantile: f64) -> f64 {
    real(histogram.value_at_quantile(quantile)) / 1000.0
}

impl Run {
    fn per_delivery(&self, time: Duration) -> f64 {
        time.as_secs_f64() * 1e6 / real(self.deliveries.max(1))
    }
}

impl Figures {
    /// Gathers what the runs saw, of which there is at least one.
    pub(super) fn of(runs: &[Run]) -> Self {
        let all = |figure: &dyn Fn(&Run) -> f64| Spread::of(runs.iter().map(figure)).expect("there is a run");
        let some = |figure: &dyn Fn(&Run) -> Option<f64>| Spread::of(runs.iter().filter_map(figure));
        let cost = |seen: fn(&Run) -> bool, time: fn(&Run) -> Duration| {
            some(&|run| seen(run).then(|| run.per_delivery(time(run))))
        };
        Self {
            deliveries_per_second: all(&|run| real(run.deliveries) / run.window.as_secs_f64()),
            messages_per_second: all(&|run| real(run.messages) / run.window.as_secs_f64()),
            p50_ms: all(&|run| ms_at(&run.latency, 0.5)),
            p99_ms: all(&|run| ms_at(&run.latency, 0.99)),
            p999_ms: all(&|run| ms_at(&run.latency, 0.999)),
            lag_p99_ms: all(&|run| ms_at(&run.lag, 0.99)),
            accepted_p50_ms: all(&|run| ms_at(&run.accepted, 0.5)),
            accepted_p99_ms: all(&|run| ms_at(&run.accepted, 0.99)),
            server_micros: cost(|run| run.watches.server, |run| run.spent.server),
            database_micros: cost(|run| run.watches.database, |run| run.spent.database),
            broker_micros: cost(|run| run.watches.broker, |run| run.spent.broker),
            together_micros: cost(|run| run.watches.server, |run| run.spent.together()),
            clients_percent: all(&|run| 100.0 * run.spent.clients.as_secs_f64() / run.window.as_secs_f64()),
            kib_per_socket: some(&|run| run.kib_per_socket),
            idle_micros_per_second: some(&|run| run.idle_micros_per_second),
            join_p50_ms: all(&|run| ms_at(&run.joined, 0.5)),
            join_p95_ms: all(&|run| ms_at(&run.joined, 0.95)),
        }
    }
}

impl Report {
    /// Adds up what did not come as it should.
    pub(super) fn wrong(&self) -> Wrong {
        let mut sum = Wrong::default();
        let replays = self.replays.iter().map(|replay| replay.wrong);
        self.workloads.iter().map(|row| row.wrong).chain(replays).for_each(|wrong| sum.add(wrong));
        sum
    }

    pub(super) fn text(&self) -> String {
        let mut text = self.conditions.join("\n");
        let mut add = |header: &[&str], rows: Vec<Vec<String>>| {
            if !rows.is_empty() {
                write!(text, "\n\n{}", output::table(header, rows)).expect("a String takes everything");
            }
        };
        let rows = |cells: fn(&Row) -> Vec<String>| {
            let row = |row: &Row| {
                let mut line = vec![row.server.to_owned(), row.workload.to_owned()];
                line.extend(cells(row));
                line
            };
            self.workloads.iter().map(row).collect::<Vec<_>>()
        };
        let maybe = |spread: Option<Spread>, digits| spread.map_or_else(String::new, |spread| spread.text(digits));
        add(
            &[
                "server",
                "workload",
                "deliveries/s",
                "messages/s",
                "µs server",
                "× floor",
                "database",
                "broker",
                "together",
                "clients %",
            ],
            rows(|row| {
                let figures = &row.figures;
                let maybe = |spread: Option<Spread>| spread.map_or_else(String::new, |spread| spread.text(2));
                vec![
                    figures.deliveries_per_second.text(0),
                    figures.messages_per_second.text(0),
                    maybe(figures.server_micros),
                    row.floor_quotient.map_or_else(String::new, |quotient| format!("{quotient:.2}")),
                    maybe(figures.database_micros),
                    maybe(figures.broker_micros),
                    maybe(figures.together_micros),
                    figures.clients_percent.text(0),
                ]
            }),
        );
        add(
            &["server", "workload", "p50 ms", "p99 ms", "p99.9 ms", "lag p99 ms", "pub to ok p50 ms", "p99 ms"],
            rows(|row| {
                let Figures { p50_ms, p99_ms, p999_ms, lag_p99_ms, accepted_p50_ms, accepted_p99_ms, .. } =
                    &row.figures;
                let figures = [p50_ms, p99_ms, p999_ms, lag_p99_ms, accepted_p50_ms, accepted_p99_ms];
                figures.map(|figure| figure.text(2)).to_vec()
            }),
        );
        let joined = self.workloads.iter().map(|row| {
            let (figures, wrong) = (&row.figures, row.wrong);
            let mut line = vec![row.server.to_owned(), row.workload.to_owned()];
            line.extend([figures.join_p50_ms, figures.join_p95_ms].map(|figure| figure.text(1)));
            line.push(maybe(figures.kib_per_socket, 2));
            line.push(maybe(figures.idle_micros_per_second, 2));
            line.extend([wrong.lost, wrong.doubled, wrong.out_of_order, wrong.elsewhere].map(|n| n.to_string()));
            line
        });
        let header = ["server", "workload", "join p50 ms", "p95 ms", "KiB/socket", "idle µs/s/socket"];
        let header = [&header[..], &["lost", "doubled", "out of order", "wrong room"]].concat();
        add(&header, joined.collect());
        let counted = rows(|row| {
            let told = row.told.map_or_else(String::new, |told| told.to_string());
            vec![told, row.heard.to_string(), row.dropped.to_string()]
        });
        add(&["server", "workload", "records told, as it says", "heard", "passed over"], counted);
        let replays = self.replays.iter().map(|replay| {
            let wrong = replay.wrong;
            let mut line = vec![replay.server.to_owned(), replay.messages.to_string(), replay.live_ms.text(1)];
            line.extend([wrong.lost, wrong.doubled, wrong.out_of_order, wrong.elsewhere].map(|n| n.to_string()));
            line
        });
        let header = ["server", "replayed", "connect to live ms", "lost", "doubled", "out of order", "wrong room"];
        add(&header, replays.collect());
        let writes = self.writes.iter().map(|writes| {
            let (rate, cost) = (writes.deliveries_per_second.text(0), writes.micros.text(2));
            vec![writes.sockets.to_string(), writes.copies.to_string(), rate, cost]
        });
        add(&["bare writes, sockets", "copies a write", "deliveries/s", "µs each"], writes.collect());
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_told_by_the_middle_and_both_ends() {
        let spread = Spread::of([3.0, 1.0, 2.04]).unwrap();

        assert_eq!(spread, Spread { median: 2.04, min: 1.0, max: 3.0 });
        assert_eq!(spread.text(1), "2.0 (1.0–3.0)");
        assert_eq!(Spread::of([]), None);
    }
}
