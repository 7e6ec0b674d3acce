//! How a kind of job is run and tried again, as data.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::random::RandomSource;

/// How jobs of one kind are run and tried again.
///
/// After failure n the next attempt waits `base_ms · factor^(n-1)`, at most `cap_ms`, more or less by up to `jitter_percent`.
///
/// ```
/// use std::time::Duration;
/// use weltenwind_core::outbox::JobPolicy;
///
/// let policy = JobPolicy { jitter_percent: 0, ..JobPolicy::default() };
/// let pauses: Vec<_> = (1..=4).map(|n| policy.pause(n, &weltenwind_core::SystemRandom).as_secs()).collect();
/// assert_eq!(pauses, [5, 15, 45, 135]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JobPolicy {
    /// Jobs that a handler gets at once, at most.
    pub batch: u16,
    /// Slices that one process works on at a time; jobs during which a worker died come beside them, one at a time.
    pub concurrency: u16,
    /// With how many failures a job is dead.
    pub max_failures: u32,
    /// With how many crashes a job is dead: whose payload ends the process must not end every one.
    pub max_crashes: u32,
    /// The pause after the first failure, in milliseconds.
    pub base_ms: u64,
    /// By how much each pause is longer than the one before.
    pub factor: f64,
    /// The longest pause, in milliseconds.
    pub cap_ms: u64,
    /// By how much of itself a pause is longer or shorter at random, in percent: 0 to 100.
    pub jitter_percent: u8,
    /// How long a job is held by a worker that does not tell of itself, in milliseconds; it does so three times as often.
    pub lease_ms: u64,
    /// How long a slice may take in all, in milliseconds; from a worker that does not give it up by then it is taken a lease
    /// later.
    pub deadline_ms: u64,
}

impl Default for JobPolicy {
    /// Twelve attempts over about a day; a dead worker is noticed after half a minute.
    fn default() -> Self {
        Self {
            batch: 100,
            concurrency: 2,
            max_failures: 12,
            max_crashes: 5,
            base_ms: 5_000,
            factor: 3.0,
            cap_ms: 4 * 3_600_000,
            jitter_percent: 20,
            lease_ms: 30_000,
            deadline_ms: 300_000,
        }
    }
}

impl JobPolicy {
    /// Returns how long to wait after failure `failures`, counted from 1.
    pub fn pause(&self, failures: u32, random: &dyn RandomSource) -> Duration {
        let cap = Duration::from_millis(self.cap_ms).as_secs_f64();
        let steps = i32::try_from(failures.saturating_sub(1)).unwrap_or(i32::MAX);
        let pause = (Duration::from_millis(self.base_ms).as_secs_f64() * self.factor.powi(steps)).clamp(0.0, cap);
        let mut bytes = [0; 4];
        random.fill(&mut bytes);
        let spread = f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX) * 2.0 - 1.0;
        Duration::from_secs_f64(pause * (1.0 + spread * f64::from(self.jitter_percent.min(100)) / 100.0))
    }

    /// Returns how long a job is held unless that is renewed.
    pub const fn lease(&self) -> Duration {
        Duration::from_millis(self.lease_ms)
    }

    /// Returns how long a slice may take.
    pub const fn deadline(&self) -> Duration {
        Duration::from_millis(self.deadline_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SystemRandom;

    #[test]
    fn pauses_grow_to_a_cap_and_never_overflow() {
        let policy = JobPolicy { jitter_percent: 0, ..JobPolicy::default() };
        let pauses: Vec<_> = (1..=12).map(|n| policy.pause(n, &SystemRandom)).collect();

        assert!(pauses.is_sorted() && pauses[11] == Duration::from_hours(4));
        assert_eq!(policy.pause(u32::MAX, &SystemRandom), Duration::from_hours(4));
    }

    #[test]
    fn jitter_stays_within_its_share() {
        let policy = JobPolicy { base_ms: 1000, jitter_percent: 20, ..JobPolicy::default() };
        let pauses: Vec<_> = (0..1000).map(|_| policy.pause(1, &SystemRandom).as_secs_f64()).collect();

        assert!(pauses.iter().all(|pause| (0.8..=1.2).contains(pause)));
        assert!(pauses.iter().any(|pause| *pause < 0.95) && pauses.iter().any(|pause| *pause > 1.05));
    }
}
