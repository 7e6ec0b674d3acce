//! The sign of life that a connection sends to itself, through pub/sub.
//!
//! A connection can answer every command and still hear nothing: the broker's subscription is gone, or a proxy between has
//! forgotten half of it. So what is proven is the whole way that an event takes.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// How long a sign of life may take.
const LIMIT: Duration = Duration::from_secs(3);

#[derive(Debug, Default)]
pub(super) struct Pulse {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    number: u64,
    sent: Option<Instant>,
    round_trip: Option<Duration>,
}

/// A sign of life did not come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("nothing is heard back from pub/sub")]
pub(super) struct Deaf;

impl Pulse {
    /// Begins anew, with another connection.
    pub(super) fn begin(&self) {
        let mut state = self.lock();
        state.sent = None;
        state.round_trip = None;
    }

    /// Returns the next sign of life to be sent; none while one is under way.
    pub(super) fn beat(&self, now: Instant) -> Result<Option<[u8; 8]>, Deaf> {
        let mut state = self.lock();
        match state.sent {
            Some(sent) if now.saturating_duration_since(sent) > LIMIT => Err(Deaf),
            Some(_) => Ok(None),
            None => {
                state.number += 1;
                state.sent = Some(now);
                Ok(Some(state.number.to_be_bytes()))
            }
        }
    }

    /// Takes a sign of life that came back. An older connection's is passed over.
    pub(super) fn echo(&self, sign: &[u8], now: Instant) {
        let mut state = self.lock();
        if sign == state.number.to_be_bytes()
            && let Some(sent) = state.sent.take()
        {
            state.round_trip = Some(now.saturating_duration_since(sent));
        }
    }

    /// Returns how long the last one took; none before the first came back on this connection.
    pub(super) fn round_trip(&self) -> Option<Duration> {
        self.lock().round_trip
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sign_that_comes_back_gives_way_to_the_next() {
        let (pulse, start) = (Pulse::default(), Instant::now());

        let first = pulse.beat(start).unwrap().unwrap();
        assert_eq!(pulse.beat(start + LIMIT), Ok(None), "one is under way");
        pulse.echo(&first, start + Duration::from_millis(2));

        assert_eq!(pulse.round_trip(), Some(Duration::from_millis(2)));
        assert_ne!(pulse.beat(start + LIMIT * 2).unwrap().unwrap(), first);
    }

    #[test]
    fn silence_ends_the_connection_and_not_the_next_one() {
        let (pulse, start) = (Pulse::default(), Instant::now());
        let old = pulse.beat(start).unwrap().unwrap();
        let late = start + LIMIT + Duration::from_millis(1);
        assert_eq!(pulse.beat(late), Err(Deaf));

        pulse.begin();

        let new = pulse.beat(late).unwrap().unwrap();
        pulse.echo(&old, late);
        assert_eq!(pulse.round_trip(), None, "an old sign proves nothing");
        pulse.echo(&new, late);
        assert_eq!(pulse.round_trip(), Some(Duration::ZERO));
    }
}
