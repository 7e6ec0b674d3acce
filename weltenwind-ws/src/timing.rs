//! What happens to a socket because time passes.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

/// Asks a silent client for a sign of life. Whatever comes in is one.
#[derive(Debug)]
pub(crate) struct Heartbeat {
    heard: Instant,
    ping: Ping,
}

/// When a sign of life is asked for, and missed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// After so much silence one is asked for.
    pub(crate) every: Duration,
    /// So long may the answer take.
    pub(crate) grace: Duration,
}

#[derive(Debug, Clone, Copy)]
enum Ping {
    NotNeeded,
    Queued,
    Written(Instant),
}

/// What a silence asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Beat {
    /// A sign of life must be asked for.
    Ping,
    /// None came.
    Dead,
}

impl Heartbeat {
    pub(crate) const fn new(now: Instant) -> Self {
        Self { heard: now, ping: Ping::NotNeeded }
    }

    pub(crate) fn heard(&mut self, now: Instant) {
        self.heard = now;
        self.ping = Ping::NotNeeded;
    }

    /// Notes that everything queued was written: the grace begins when the client can have the ping.
    pub(crate) fn written(&mut self, now: Instant) {
        if matches!(self.ping, Ping::Queued) {
            self.ping = Ping::Written(now);
        }
    }

    /// Waits for another grace.
    pub(crate) const fn listen_on(&mut self, now: Instant) {
        self.ping = Ping::Written(now);
    }

    /// Returns when the next beat is due; none while a ping waits to be written, since then the write's own time counts.
    pub(crate) fn due(&self, pace: Pace) -> Option<Instant> {
        match self.ping {
            Ping::NotNeeded => Some(self.heard + pace.every),
            Ping::Queued => None,
            Ping::Written(at) => Some(at + pace.grace),
        }
    }

    /// Says what is due. Who is awake for something else asks up to `ahead` of time, rather than to wake up again for it; an
    /// answer is never missed ahead of time.
    pub(crate) fn beat(&mut self, pace: Pace, now: Instant, ahead: Duration) -> Option<Beat> {
        let ahead = if matches!(self.ping, Ping::NotNeeded) { ahead } else { Duration::ZERO };
        if self.due(pace).is_none_or(|due| now + ahead < due) {
            return None;
        }
        if matches!(self.ping, Ping::Written(_)) {
            return Some(Beat::Dead);
        }
        self.ping = Ping::Queued;
        Some(Beat::Ping)
    }
}

/// How long an access token still carries a socket.
#[derive(Debug)]
pub(crate) struct Expiry {
    ask_at: Instant,
    end_at: Instant,
    asked: bool,
}

/// What a token's age asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Age {
    /// A newer token is needed soon.
    Refresh,
    /// The token has expired, and nothing came.
    Over,
}

/// A client whose timers are throttled still gets its token refreshed.
const EXPIRY_GRACE: Duration = Duration::from_secs(25);

impl Expiry {
    /// A token that lives for `life` from `now` on. It is asked for a successor at 80 % of that.
    pub(crate) fn new(life: Duration, now: Instant) -> Self {
        Self { ask_at: now + life * 4 / 5, end_at: now + life + EXPIRY_GRACE, asked: false }
    }

    pub(crate) const fn due(&self) -> Instant {
        if self.asked { self.end_at } else { self.ask_at }
    }

    pub(crate) fn age(&mut self, now: Instant) -> Option<Age> {
        if now < self.due() {
            return None;
        }
        if self.asked {
            return Some(Age::Over);
        }
        self.asked = true;
        Some(Age::Refresh)
    }
}

/// Bytes that a client may send: what comes faster is read later.
#[derive(Debug)]
pub(crate) struct Allowance {
    per_second: u64,
    burst: u64,
    /// When everything that was taken is made up for.
    level_at: Instant,
}

impl Allowance {
    pub(crate) const fn new(per_second: u64, burst: u64, now: Instant) -> Self {
        Self { per_second, burst, level_at: now }
    }

    /// Takes bytes that have come in.
    pub(crate) fn take(&mut self, bytes: usize, now: Instant) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.level_at = self.level_at.max(now) + self.time_for(bytes);
    }

    /// Returns when reading goes on, if it has to wait.
    pub(crate) fn opens_at(&self, now: Instant) -> Option<Instant> {
        let opens_at = self.level_at.checked_sub(self.time_for(self.burst))?;
        (opens_at > now).then_some(opens_at)
    }

    const fn time_for(&self, bytes: u64) -> Duration {
        Duration::from_micros(bytes.saturating_mul(1_000_000) / self.per_second)
    }
}

/// Counts records that cannot be read.
#[derive(Debug, Default)]
pub(crate) struct Strikes {
    recent: VecDeque<Instant>,
}

/// So many within [`STRIKE_WINDOW`] are no accident.
const STRIKES: usize = 20;
const STRIKE_WINDOW: Duration = Duration::from_mins(1);

impl Strikes {
    /// Counts one and returns whether it is one too many.
    pub(crate) fn strike(&mut self, now: Instant) -> bool {
        while self.recent.front().is_some_and(|at| now.duration_since(*at) >= STRIKE_WINDOW) {
            self.recent.pop_front();
        }
        self.recent.push_back(now);
        self.recent.len() >= STRIKES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const PACE: Pace = Pace { every: Duration::from_secs(25), grace: Duration::from_secs(10) };

    #[tokio::test(start_paused = true)]
    async fn a_silent_client_is_asked_and_then_given_up() {
        let start = Instant::now();
        let mut heartbeat = Heartbeat::new(start);

        assert_eq!(heartbeat.beat(PACE, start + 24 * SECOND, Duration::ZERO), None);
        assert_eq!(heartbeat.beat(PACE, start + 25 * SECOND, Duration::ZERO), Some(Beat::Ping));
        assert_eq!(heartbeat.beat(PACE, start + 80 * SECOND, Duration::ZERO), None, "the ping was not written yet");
        heartbeat.written(start + 80 * SECOND);
        assert_eq!(heartbeat.beat(PACE, start + 89 * SECOND, Duration::ZERO), None);
        assert_eq!(heartbeat.beat(PACE, start + 90 * SECOND, Duration::ZERO), Some(Beat::Dead));
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_awake_asks_a_little_early_and_misses_nothing_early() {
        let start = Instant::now();
        let mut heartbeat = Heartbeat::new(start);

        assert_eq!(heartbeat.beat(PACE, start + 23 * SECOND, SECOND), None);
        assert_eq!(heartbeat.beat(PACE, start + 24 * SECOND, SECOND), Some(Beat::Ping));
        heartbeat.written(start + 24 * SECOND);
        assert_eq!(heartbeat.beat(PACE, start + 33 * SECOND, SECOND), None);
        assert_eq!(heartbeat.beat(PACE, start + 34 * SECOND, SECOND), Some(Beat::Dead));
    }

    #[tokio::test(start_paused = true)]
    async fn any_sign_of_life_counts() {
        let start = Instant::now();
        let mut heartbeat = Heartbeat::new(start);
        assert_eq!(heartbeat.beat(PACE, start + 25 * SECOND, Duration::ZERO), Some(Beat::Ping));
        heartbeat.written(start + 25 * SECOND);

        heartbeat.heard(start + 34 * SECOND);

        assert_eq!(heartbeat.beat(PACE, start + 36 * SECOND, Duration::ZERO), None);
        assert_eq!(heartbeat.due(PACE), Some(start + 59 * SECOND));
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_is_asked_for_once_and_missed_after_a_grace() {
        let start = Instant::now();
        let mut expiry = Expiry::new(300 * SECOND, start);

        assert_eq!(expiry.age(start + 239 * SECOND), None);
        assert_eq!(expiry.age(start + 240 * SECOND), Some(Age::Refresh));
        assert_eq!(expiry.age(start + 324 * SECOND), None);
        assert_eq!(expiry.age(start + 325 * SECOND), Some(Age::Over));
    }

    #[tokio::test(start_paused = true)]
    async fn who_sends_more_than_allowed_is_read_later() {
        let start = Instant::now();
        let mut allowance = Allowance::new(100, 1_000, start);

        allowance.take(1_000, start);
        assert_eq!(allowance.opens_at(start), None, "the burst is free");
        allowance.take(200, start);
        assert_eq!(allowance.opens_at(start), Some(start + 2 * SECOND));
        assert_eq!(allowance.opens_at(start + 2 * SECOND), None);
        allowance.take(50, start + 60 * SECOND);
        assert_eq!(allowance.opens_at(start + 60 * SECOND), None, "what was taken is made up for");
    }

    #[tokio::test(start_paused = true)]
    async fn twenty_strikes_in_a_minute_are_too_many_and_spread_over_longer_they_are_not() {
        let start = Instant::now();
        let mut fast = Strikes::default();
        let mut slow = Strikes::default();

        let fast: Vec<bool> = (0..20).map(|n| fast.strike(start + SECOND * n)).collect();

        assert_eq!(fast.iter().position(|over| *over), Some(19));
        assert!((0..100).all(|n| !slow.strike(start + SECOND * 4 * n)));
    }
}
