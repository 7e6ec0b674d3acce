//! What a connection does because time passes.

use std::{pin::Pin, time::Duration};

use tokio::time::{Instant, Sleep};
use weltenwind_core::wire::{ServerRecord, close};

use super::{Connection, End};
use crate::{
    timing::{Age, Beat},
    wire::Link,
};

impl<L: Link> Connection<L> {
    /// Returns when [`Connection::pass_time`] has something to do.
    pub(super) fn due(&self) -> Instant {
        let check = self.check.is_none().then_some(self.check_at);
        // While something waits to be written, that the client takes it is sign of life enough.
        let write = self.give_up_at().or_else(|| self.heartbeat.due(self.host.config.pace()));
        let read = self.allowance.opens_at(Instant::now());
        let until = self.until.as_deref().copied();
        [check, until, write, self.wire.stalls_at(), read].into_iter().flatten().fold(self.expiry.due(), Instant::min)
    }

    /// Returns until when the client must have taken something of what waits for it.
    fn give_up_at(&self) -> Option<Instant> {
        self.wire.stalled_since().map(|since| since + self.host.config.write_timeout())
    }

    /// Sets the timer. One that rings too early costs less than one that is moved with every record.
    pub(super) fn set(&self, mut timer: Pin<&mut Sleep>) {
        let due = self.due();
        if due < timer.deadline() || timer.is_elapsed() {
            timer.as_mut().reset(due);
        }
    }

    pub(super) fn pass_time(&mut self) {
        let now = Instant::now();
        let looks = self.check.is_none() && self.check_at <= now;
        if self.wire.stalls_at().is_some_and(|at| at <= now) {
            self.wire.count_stalled(self.host.metrics.count_stalled());
        }
        if self.give_up_at().is_some_and(|at| at <= now) {
            return self.end(End::Bye(close::SLOW, "the client does not read"));
        }
        if !self.wire.is_stalled() {
            // A silent socket wakes up once for its look and its ping, which come as often.
            let ahead = if looks { self.host.config.ping_every() / 25 } else { Duration::ZERO };
            match self.heartbeat.beat(self.host.config.pace(), now, ahead) {
                Some(Beat::Ping) => self.say(&ServerRecord::Ping),
                // Nobody has listened, so the silence proves nothing, neither life nor death: what was sent is read first.
                Some(Beat::Dead) if !self.is_reading() => self.heartbeat.listen_on(now),
                Some(Beat::Dead) => self.end(End::Bye(close::NO_PONG, "no sign of life")),
                None => {}
            }
        }
        match self.expiry.age(now) {
            Some(Age::Refresh) => self.say(&ServerRecord::RefreshNeeded),
            Some(Age::Over) => self.end(End::Bye(close::EXPIRED, "the access token has expired")),
            None => {}
        }
        if self.until.as_deref().is_some_and(|until| *until <= now) {
            // What ends now is told no more. Until a look says what is left, nothing is.
            self.until = None;
            self.suspect();
        } else if looks {
            self.check_at = now + self.host.config.ping_every();
            let request = self.next_request();
            self.check = Some(Box::pin(self.asker(request).check(self.rooms.names())));
        }
    }
}
