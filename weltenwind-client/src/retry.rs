//! How often and how long after a failure something is tried again.

use std::time::Duration;

use crate::error::ClientError;

/// How calls over HTTP are tried again.
///
/// Pauses are drawn at random between nothing and a bound that doubles (full jitter), so that clients which failed
/// together do not come back together. Where the server names a pause, that one is kept.
///
/// ```
/// use weltenwind_client::RetryPolicy;
///
/// let patient = RetryPolicy { attempts: 8, ..RetryPolicy::default() };
/// assert_eq!(RetryPolicy::never().attempts, 1);
/// # let _ = patient;
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryPolicy {
    /// How often a call is made at most, the first time included.
    pub attempts: u32,
    /// The bound of the first pause.
    pub first_pause: Duration,
    /// The bound of every pause. A server that asks for a longer one is not waited for: the call fails with its refusal.
    pub longest_pause: Duration,
}

impl Default for RetryPolicy {
    /// Four attempts, pauses of up to 200 ms at first and 5 s at most.
    fn default() -> Self {
        Self { attempts: 4, first_pause: Duration::from_millis(200), longest_pause: Duration::from_secs(5) }
    }
}

/// What a second execution of a call does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// Nothing that the first did not: a read, a call that sets something, a post under a client id or an idempotency key.
    Harmless,
    /// The same again.
    Doubles,
}

impl RetryPolicy {
    /// Every call is made once.
    pub fn never() -> Self {
        Self { attempts: 1, ..Self::default() }
    }

    /// Returns how long to wait before the next attempt, if there should be one.
    pub(crate) fn pause(&self, made: u32, error: &ClientError, repeat: Repeat) -> Option<Duration> {
        if made >= self.attempts || !error.is_retryable() || (repeat == Repeat::Doubles && may_have_happened(error)) {
            return None;
        }
        match error.refusal().and_then(|refusal| refusal.retry_after) {
            Some(wait) if wait > self.longest_pause => None,
            Some(wait) => Some(wait + at_random(Duration::ZERO, self.first_pause)),
            None => {
                let bound = doubled(self.first_pause, made.saturating_sub(1)).min(self.longest_pause);
                Some(at_random(Duration::ZERO, bound))
            }
        }
    }
}

/// Returns whether the server may have done what was asked, though it did not say so.
fn may_have_happened(error: &ClientError) -> bool {
    match error {
        ClientError::Unreachable { sent, .. } => *sent,
        // Who came too often was turned away at the door; behind any other failure the call may have passed.
        ClientError::Refused(refusal) => refusal.status != Some(429),
        _ => true,
    }
}

/// Pauses between attempts to open a socket.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    shortest: Duration,
    longest: Duration,
    failures: u32,
}

impl Backoff {
    pub(crate) const fn new(shortest: Duration, longest: Duration) -> Self {
        Self { shortest, longest, failures: 0 }
    }

    /// The same with pauses of a bound's length at least.
    pub(crate) const fn no_shorter_than(&self, shortest: Duration) -> Self {
        Self::new(shortest, self.longest)
    }

    /// Draws the pause before the next attempt.
    pub(crate) fn next(&mut self) -> Duration {
        self.failures = self.failures.saturating_add(1);
        at_random(self.shortest, doubled(self.shortest, self.failures).min(self.longest))
    }

    /// Begins anew: the last connection held.
    pub(crate) const fn reset(&mut self) {
        self.failures = 0;
    }
}

fn doubled(pause: Duration, times: u32) -> Duration {
    pause.saturating_mul(2_u32.saturating_pow(times))
}

/// Draws a duration between two others.
pub(crate) fn at_random(shortest: Duration, longest: Duration) -> Duration {
    let micros = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    let (low, high) = (micros(shortest), micros(longest.max(shortest)));
    Duration::from_micros(rand::random_range(low..=high))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Refusal;

    fn unreachable(sent: bool) -> ClientError {
        ClientError::Unreachable { correlation_id: String::new(), sent, source: "reset".into() }
    }

    fn refused(code: &str, wait: Option<u64>) -> ClientError {
        Box::new(Refusal::of_record(code.to_owned(), String::new(), String::new(), wait)).into()
    }

    #[test]
    fn pauses_grow_up_to_their_bound_and_attempts_end() {
        let policy = RetryPolicy { attempts: 9, ..RetryPolicy::default() };
        for made in 1..9 {
            let pause = policy.pause(made, &unreachable(true), Repeat::Harmless).unwrap();

            assert!(pause <= Duration::from_millis(200) * 2_u32.pow(made - 1) && pause <= policy.longest_pause);
        }
        assert_eq!(policy.pause(9, &unreachable(true), Repeat::Harmless), None);
    }

    #[test]
    fn what_would_double_is_repeated_only_if_it_cannot_have_happened() {
        let policy = RetryPolicy::default();
        let again = |error, repeat| policy.pause(1, &error, repeat).is_some();

        assert!(again(unreachable(false), Repeat::Doubles) && again(refused("slow-mode", Some(0)), Repeat::Doubles));
        assert!(!again(unreachable(true), Repeat::Doubles) && !again(refused("unavailable", None), Repeat::Doubles));
        assert!(again(unreachable(true), Repeat::Harmless) && again(refused("unavailable", None), Repeat::Harmless));
        assert!(!again(refused("permission-denied", None), Repeat::Harmless));
    }

    #[test]
    fn a_pause_that_the_server_names_is_kept_or_not_waited_for() {
        let policy = RetryPolicy::default();

        let short = policy.pause(1, &refused("unavailable", Some(3000)), Repeat::Harmless).unwrap();

        assert!((3000..=3200).contains(&short.as_millis()), "{short:?}");
        assert_eq!(policy.pause(1, &refused("slow-mode", Some(60_000)), Repeat::Harmless), None);
    }

    #[test]
    fn reconnects_are_spread_and_begin_anew_once_a_connection_held() {
        let (shortest, longest) = (Duration::from_millis(500), Duration::from_secs(20));
        let mut backoff = Backoff::new(shortest, longest);

        let first = backoff.next();
        let later: Vec<Duration> = (0..100).map(|_| backoff.next()).collect();
        backoff.reset();

        assert!(first >= shortest && first <= 2 * shortest);
        assert!(later.iter().all(|pause| (shortest..=longest).contains(pause)));
        assert!(later.iter().any(|pause| *pause > Duration::from_secs(5)), "pauses grow");
        assert!(backoff.next() <= 2 * shortest);
    }
}
