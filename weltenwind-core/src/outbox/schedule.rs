//! Jobs that come by themselves: at instants of a cron pattern in a time zone.

use std::fmt;

use croner::Cron;
use jiff::tz::TimeZone;

use super::model::{JobKind, NewJob, ScheduleRow};
use crate::clock::Timestamp;

/// A job that is written at every instant of a pattern, by one process of all that know the schedule.
///
/// What was missed while no process ran is made up for once. A run that is still under way holds the next one up, and of
/// those that wait there is one.
///
/// ```
/// use weltenwind_core::outbox::{JobKind, Schedule};
///
/// let nightly = Schedule::new("purge", JobKind::named("retention.purge"), "30 3 * * *", "Europe/Berlin").unwrap();
/// let noon = "2026-03-28T12:00:00Z".parse().unwrap();
/// assert_eq!(nightly.next(noon).unwrap().to_string(), "2026-03-29T01:30:00Z");
/// ```
#[derive(Debug, Clone)]
pub struct Schedule {
    name: String,
    kind: JobKind,
    cron: Cron,
    zone: TimeZone,
    spec: String,
}

/// Why a schedule is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleInvalid {
    /// The pattern cannot be read.
    #[error("`{pattern}` is no cron pattern: {why}")]
    Pattern {
        /// What was given.
        pattern: String,
        /// What is wrong with it.
        why: String,
    },
    /// There is no such time zone.
    #[error("`{0}` is no time zone")]
    Zone(String),
}

impl Schedule {
    /// A schedule under a name of its own, by five fields (minute, hour, day, month, weekday) or six with seconds first, in a
    /// zone of the IANA database.
    ///
    /// A time that a change of the clocks leaves out runs right behind the gap, one that comes twice runs once; patterns that
    /// repeat within the hour run on.
    pub fn new(name: impl Into<String>, kind: JobKind, pattern: &str, zone: &str) -> Result<Self, ScheduleInvalid> {
        let cron = pattern.parse().map_err(|error: croner::errors::CronError| ScheduleInvalid::Pattern {
            pattern: pattern.to_owned(),
            why: error.to_string(),
        })?;
        let in_zone = TimeZone::get(zone).map_err(|_| ScheduleInvalid::Zone(zone.to_owned()))?;
        Ok(Self { name: name.into(), kind, cron, zone: in_zone, spec: format!("{pattern} {zone}") })
    }

    /// Returns the name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the first instant behind `now`; none if the pattern names no further day.
    pub fn next(&self, now: Timestamp) -> Option<Timestamp> {
        let now = now.to_zoned(self.zone.clone());
        self.cron.find_next_occurrence(&now, false).ok().map(|next| next.timestamp())
    }

    /// Returns the row that waits for the first instant behind `now`.
    pub(super) fn row(&self, now: Timestamp) -> Option<ScheduleRow> {
        Some(ScheduleRow { name: self.name.clone(), spec: self.spec.clone(), next_at: self.next(now)? })
    }

    /// Returns the job of one instant.
    pub(super) fn job(&self) -> NewJob {
        NewJob::new(self.kind.clone(), serde_json::Value::Null).once_per(&self.name).in_order_of(&self.name)
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.spec)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(pattern: &str, zone: &str) -> Schedule {
        Schedule::new("test", JobKind::named("test"), pattern, zone).unwrap()
    }

    fn instants(schedule: &Schedule, from: &str, count: usize) -> Vec<String> {
        let mut at = from.parse().unwrap();
        let mut instants = Vec::new();
        for _ in 0..count {
            at = schedule.next(at).unwrap();
            instants.push(at.to_string());
        }
        instants
    }

    #[test]
    fn a_pattern_is_read_in_its_zone() {
        let berlin = schedule("30 3 * * *", "Europe/Berlin");

        assert_eq!(instants(&berlin, "2026-01-01T00:00:00Z", 2), ["2026-01-01T02:30:00Z", "2026-01-02T02:30:00Z"]);
        assert_eq!(instants(&berlin, "2026-07-01T00:00:00Z", 1), ["2026-07-01T01:30:00Z"]);
    }

    #[test]
    fn a_time_that_a_change_of_the_clocks_leaves_out_still_runs_that_day() {
        let runs = instants(&schedule("30 2 * * *", "Europe/Berlin"), "2026-03-28T12:00:00Z", 2);

        // 02:30 does not exist on the 29th: it is 03:00 right behind the gap.
        assert_eq!(runs, ["2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]);
    }

    #[test]
    fn a_time_that_comes_twice_runs_once() {
        let runs = instants(&schedule("30 2 * * *", "Europe/Berlin"), "2026-10-24T12:00:00Z", 2);

        assert_eq!(runs, ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]);
    }

    #[test]
    fn what_repeats_within_the_hour_runs_on_through_a_change_of_the_clocks() {
        let runs = instants(&schedule("*/30 * * * *", "Europe/Berlin"), "2026-10-25T00:00:00Z", 4);

        let expected = ["2026-10-25T00:30:00Z", "2026-10-25T01:00:00Z", "2026-10-25T01:30:00Z", "2026-10-25T02:00:00Z"];
        assert_eq!(runs, expected);
    }

    #[test]
    fn what_is_no_schedule_is_told() {
        let kind = JobKind::named("test");

        assert!(matches!(Schedule::new("a", kind.clone(), "every day", "UTC"), Err(ScheduleInvalid::Pattern { .. })));
        assert!(matches!(Schedule::new("a", kind, "* * * * *", "Mars/Olympus"), Err(ScheduleInvalid::Zone(_))));
    }
}
