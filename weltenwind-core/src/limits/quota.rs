//! How much, and what is left of it: the generic cell rate algorithm (GCRA) as plain arithmetic.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A span of time that a rate is given in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unit {
    /// A second: `s`.
    Second,
    /// A minute: `min`.
    Minute,
    /// An hour: `h`.
    Hour,
    /// 24 hours: `day`.
    Day,
}

impl Unit {
    const ALL: [Self; 4] = [Self::Second, Self::Minute, Self::Hour, Self::Day];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Second => "s",
            Self::Minute => "min",
            Self::Hour => "h",
            Self::Day => "day",
        }
    }

    const fn micros(self) -> u64 {
        let seconds = match self {
            Self::Second => 1,
            Self::Minute => 60,
            Self::Hour => 60 * 60,
            Self::Day => 24 * 60 * 60,
        };
        seconds * SECOND
    }
}

const SECOND: u64 = 1_000_000;
/// The largest rate and burst: with more, the time between two calls would round to nothing.
const MOST: u32 = 1_000_000;
/// An empty bucket is full again within this; also what keeps instants exact in a script's floating point.
const LONGEST: u64 = 31 * Unit::Day.micros();

/// How many calls may be made: a burst at once, and then one after the other at a rate.
///
/// Written as text it is the rate, and the burst if that is another number. The time between two calls is kept in whole
/// microseconds, rounded down.
///
/// ```
/// use weltenwind_core::limits::{Quota, Unit};
///
/// let chat: Quota = "5/s burst 20".parse()?;
/// assert_eq!(chat, Quota::per(5, Unit::Second).burst(20));
/// assert_eq!(Quota::per(200, Unit::Day).to_string(), "200/day");
/// # Ok::<(), weltenwind_core::limits::QuotaInvalid>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Quota {
    requests: u32,
    unit: Unit,
    burst: u32,
}

impl Quota {
    /// So many calls in a unit of time, all of them at once if need be.
    ///
    /// # Panics
    ///
    /// If `requests` is not 1 to 1 000 000.
    pub const fn per(requests: u32, unit: Unit) -> Self {
        assert!(1 <= requests && requests <= MOST, "a rate is 1 to 1000000");
        Self { requests, unit, burst: requests }
    }

    /// Lets so many calls come at once.
    ///
    /// # Panics
    ///
    /// If `burst` is not 1 to 1 000 000, or takes more than 31 days to come back.
    #[must_use]
    pub const fn burst(self, burst: u32) -> Self {
        assert!(1 <= burst && burst <= MOST, "a burst is 1 to 1000000");
        let quota = Self { burst, ..self };
        assert!(quota.span() <= LONGEST, "a burst comes back within 31 days");
        quota
    }

    /// Returns how many calls may come at once.
    pub const fn limit(self) -> u32 {
        self.burst
    }

    /// Returns the time after which an empty bucket is full again.
    pub const fn window(self) -> Duration {
        Duration::from_micros(self.span())
    }

    /// The time between two calls, in microseconds.
    pub const fn interval_micros(self) -> u64 {
        self.unit.micros() / self.requests as u64
    }

    const fn span(self) -> u64 {
        self.interval_micros() * self.burst as u64
    }

    /// Decides on one more call in a bucket that is full again in `debt_micros`.
    ///
    /// An adapter keeps the instant at which a bucket is full again and no more: [`Verdict::reset_after`] says when that is
    /// now. A debt larger than the quota allows (the clock was set back, the quota was tightened) counts as an empty bucket.
    #[must_use]
    pub fn take(self, debt_micros: u64) -> Verdict {
        let (interval, span) = (self.interval_micros(), self.span());
        let debt = debt_micros.min(span);
        if debt + interval > span {
            return self.verdict(debt, Some(debt + interval - span));
        }
        self.verdict(debt + interval, None)
    }

    /// Tells what is left in a bucket that is full again in `debt_micros`, without taking anything.
    #[must_use]
    pub fn peek(self, debt_micros: u64) -> Verdict {
        let (interval, span) = (self.interval_micros(), self.span());
        let debt = debt_micros.min(span);
        let wait = (debt + interval).saturating_sub(span);
        self.verdict(debt, (wait > 0).then_some(wait))
    }

    fn verdict(self, debt: u64, wait: Option<u64>) -> Verdict {
        let remaining = (self.span() - debt) / self.interval_micros();
        Verdict {
            quota: self,
            remaining: u32::try_from(remaining).unwrap_or(self.burst),
            reset_after: Duration::from_micros(debt),
            retry_after: wait.map(Duration::from_micros),
        }
    }
}

/// What a limiter says of a call, and of the calls after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// What it was decided by.
    pub quota: Quota,
    /// How many more calls could follow at once.
    pub remaining: u32,
    /// After which time the bucket is full again.
    pub reset_after: Duration,
    /// After which time one more call may pass; none if this one does.
    pub retry_after: Option<Duration>,
}

impl Verdict {
    /// Returns whether the call may pass.
    pub const fn is_allowed(&self) -> bool {
        self.retry_after.is_none()
    }
}

/// The text is no quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a quota is written like `60/s` or `5/s burst 20`: 1 to 1000000 calls per s, min, h or day, and a burst that comes \
     back within 31 days"
)]
pub struct QuotaInvalid;

impl FromStr for Quota {
    type Err = QuotaInvalid;

    fn from_str(text: &str) -> Result<Self, QuotaInvalid> {
        let mut words = text.split_whitespace();
        let (requests, unit) = words.next().and_then(|rate| rate.split_once('/')).ok_or(QuotaInvalid)?;
        let requests = count(requests)?;
        let unit = Unit::ALL.into_iter().find(|known| known.as_str() == unit).ok_or(QuotaInvalid)?;
        let burst = match (words.next(), words.next(), words.next()) {
            (None, ..) => requests,
            (Some("burst"), Some(burst), None) => count(burst)?,
            _ => return Err(QuotaInvalid),
        };
        let quota = Self { requests, unit, burst };
        if quota.span() <= LONGEST { Ok(quota) } else { Err(QuotaInvalid) }
    }
}

fn count(digits: &str) -> Result<u32, QuotaInvalid> {
    let is_plain = digits.bytes().all(|b| b.is_ascii_digit());
    digits.parse().ok().filter(|count| is_plain && (1..=MOST).contains(count)).ok_or(QuotaInvalid)
}

impl fmt::Display for Quota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.requests, self.unit.as_str())?;
        if self.burst == self.requests { Ok(()) } else { write!(f, " burst {}", self.burst) }
    }
}

impl Serialize for Quota {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Quota {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|error| de::Error::custom(format!("`{text}` is no quota: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_quota_is_read_as_it_is_written() {
        for text in ["60/s", "120/min", "5/s burst 20", "200/day", "1/h", "1000000/s", "1/day burst 31"] {
            assert_eq!(text.parse::<Quota>().map(|quota| quota.to_string()).as_deref(), Ok(text));
        }
        assert_eq!("60/s burst 60".parse::<Quota>(), Ok(Quota::per(60, Unit::Second)));
    }

    #[test]
    fn what_is_no_quota_is_refused() {
        for text in [
            "",
            "60",
            "/s",
            "60/",
            "0/s",
            "-1/s",
            "+1/s",
            "60/week",
            "1000001/s",
            "60/s burst",
            "60/s burst 0",
            "60/s burst x",
            "60/s burst 5 more",
            "60/s 5",
            "60 / s",
            "1/day burst 32",
            "99999999999/s",
        ] {
            assert_eq!(text.parse::<Quota>(), Err(QuotaInvalid), "{text}");
        }
    }

    #[test]
    fn a_burst_passes_at_once_and_then_one_at_each_interval() {
        let quota = Quota::per(5, Unit::Second).burst(3);
        let mut debt = 0;
        for remaining in [2, 1, 0] {
            let verdict = quota.take(debt);
            assert_eq!((verdict.is_allowed(), verdict.remaining), (true, remaining));
            debt = u64::try_from(verdict.reset_after.as_micros()).unwrap();
        }

        let refused = quota.take(debt);

        assert_eq!(refused.retry_after, Some(Duration::from_millis(200)));
        assert_eq!(refused.reset_after, Duration::from_millis(600), "a refusal takes nothing");
        assert!(quota.take(debt - 200_000).is_allowed());
    }

    #[test]
    fn no_debt_is_larger_than_the_quota() {
        let quota = Quota::per(2, Unit::Second);

        let verdict = quota.take(u64::MAX);

        assert_eq!((verdict.retry_after, verdict.reset_after), (Some(Duration::from_millis(500)), quota.window()));
    }

    /// A bucket as it is drawn on a blackboard: a level that rises with time and falls with each call.
    struct Naive {
        level: u64,
        quota: Quota,
    }

    impl Naive {
        fn call(&mut self, later: u64) -> (bool, u64) {
            let (interval, burst) = (self.quota.interval_micros(), u64::from(self.quota.limit()));
            self.level = (self.level + later).min(interval * burst);
            let passes = self.level >= interval;
            if passes {
                self.level -= interval;
            }
            (passes, self.level / interval)
        }
    }

    fn quotas() -> impl Strategy<Value = Quota> {
        let unit = prop::sample::select(&Unit::ALL[..3]);
        (1_u32..500, unit, 1_u32..50).prop_map(|(requests, unit, burst)| Quota::per(requests, unit).burst(burst))
    }

    proptest! {
        #[test]
        fn it_decides_as_a_naive_bucket_does(
            quota in quotas(),
            pauses in prop::collection::vec(prop_oneof![Just(0), 0_u64..100_000, 0_u64..20_000_000], 1..200),
        ) {
            let mut naive = Naive { level: quota.span(), quota };
            let (mut now, mut full_at) = (0_u64, 0_u64);
            let mut passed = Vec::new();
            for pause in pauses {
                now += pause;
                let debt = full_at.saturating_sub(now);
                let told = quota.peek(debt);
                let verdict = quota.take(debt);
                prop_assert_eq!((verdict.is_allowed(), u64::from(verdict.remaining)), naive.call(pause));
                prop_assert_eq!(told.is_allowed(), verdict.is_allowed());
                prop_assert_eq!(told.remaining, verdict.remaining + u32::from(verdict.is_allowed()));
                match verdict.retry_after {
                    None => {
                        passed.push(now);
                        full_at = now + u64::try_from(verdict.reset_after.as_micros()).unwrap();
                    }
                    Some(wait) => {
                        let wait = u64::try_from(wait.as_micros()).unwrap();
                        prop_assert!(!quota.take(debt.saturating_sub(wait - 1)).is_allowed(), "too long a wait");
                        prop_assert!(quota.take(debt.saturating_sub(wait)).is_allowed(), "too short a wait");
                    }
                }
            }
            // What the quota promises, from the outside: in no span of time pass more than the burst and the rate.
            for (n, from) in passed.iter().enumerate() {
                for (m, until) in passed.iter().enumerate().skip(n) {
                    let most = u64::from(quota.limit()) + (until - from) / quota.interval_micros();
                    prop_assert!((m - n + 1) as u64 <= most);
                }
            }
        }
    }
}
