//! The clock that services read, so that tests can move time by hand.

use std::{
    fmt::Debug,
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

/// An instant in UTC, kept to the microsecond: what both databases store without loss.
pub type Timestamp = jiff::Timestamp;

/// Tells the time.
///
/// Services read it once per step and pass the instant on; stores never read a clock.
pub trait Clock: Debug + Send + Sync + 'static {
    /// Returns the present instant, cut to whole microseconds.
    fn now(&self) -> Timestamp;
}

/// The clock of the operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the system's clock")]
    fn now(&self) -> Timestamp {
        let now = jiff::Timestamp::now();
        Timestamp::from_microsecond(now.as_microsecond()).expect("an instant in whole microseconds stays in range")
    }
}

/// A clock that stands still until it is moved by hand.
///
/// ```
/// use std::time::Duration;
/// use weltenwind_core::{Clock, ManualClock};
///
/// let clock = ManualClock::default();
/// let before = clock.now();
/// clock.advance(Duration::from_secs(60));
/// assert_eq!(clock.now().as_second() - before.as_second(), 60);
/// ```
#[derive(Debug)]
pub struct ManualClock {
    microseconds: AtomicI64,
}

impl ManualClock {
    /// Starts a clock at `start`.
    pub fn at(start: Timestamp) -> Self {
        Self { microseconds: AtomicI64::new(start.as_microsecond()) }
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        let by = i64::try_from(by.as_micros()).expect("a test's step fits an i64 of microseconds");
        self.microseconds.fetch_add(by, Ordering::SeqCst);
    }

    /// Sets the clock, back too: a machine's own may jump.
    pub fn set(&self, to: Timestamp) {
        self.microseconds.store(to.as_microsecond(), Ordering::SeqCst);
    }
}

impl Default for ManualClock {
    /// Starts at 2026-01-01T00:00:00Z.
    fn default() -> Self {
        Self::at(Timestamp::from_second(1_767_225_600).expect("the year 2026 is in range"))
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_microsecond(self.microseconds.load(Ordering::SeqCst)).expect("a test's clock stays in range")
    }
}
