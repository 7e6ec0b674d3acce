//! What a program says of itself: it holds until something else is said, over any number of connections.

use std::{collections::VecDeque, time::Duration};

use tokio::{sync::oneshot, time::Instant};

use crate::error::{ClientError, Refusal};

/// What the client says again by itself, and is refused for the moment, is said once more after this.
const PAUSE: Duration = Duration::from_secs(2);

pub(super) type Asker = oneshot::Sender<Result<(), ClientError>>;

/// Whoever waits for one answer.
#[derive(Debug, Default)]
pub(super) struct Askers(Vec<Asker>);

impl From<Asker> for Askers {
    fn from(asker: Asker) -> Self {
        Self(vec![asker])
    }
}

impl Askers {
    /// Returns whether nobody waits any more.
    pub(super) fn is_empty(&self) -> bool {
        self.0.iter().all(oneshot::Sender::is_closed)
    }

    /// Tells everybody that it is done, or was refused.
    pub(super) fn answer(self, refusal: Option<&Refusal>) {
        for asker in self.0 {
            // Who asked may have gone.
            let _ = asker.send(refusal.map_or(Ok(()), |refusal| Err(Box::new(refusal.clone()).into())));
        }
    }

    /// Tells everybody that there is no connection.
    pub(super) fn disconnect(self) {
        for asker in self.0 {
            // Who asked may have gone.
            let _ = asker.send(Err(ClientError::NotConnected));
        }
    }
}

/// One thing that was said, and who waits for its answer.
#[derive(Debug)]
pub(super) struct Saying<T> {
    /// Counts what is said.
    turn: u64,
    pub(super) what: T,
    pub(super) askers: Askers,
}

impl<T> Saying<T> {
    /// Makes one of two: what was said later counts, for everybody who waits.
    fn merge(self, other: Self) -> Self {
        let (mut newer, older) = if other.turn > self.turn { (other, self) } else { (self, other) };
        newer.askers.0.extend(older.askers.0.into_iter().filter(|asker| !asker.is_closed()));
        newer
    }
}

/// Requests and what was said by them, in order.
pub(super) type Sent<T> = VecDeque<(i64, Saying<T>)>;

/// Something of which the newest counts. What was said and is not the default is said again on the next connection.
#[derive(Debug)]
pub(super) struct Statement<T> {
    /// What the server was told, and is told again on the next connection.
    holds: Option<T>,
    /// What the server knows on the present connection, if that is known.
    known: Option<T>,
    /// What it is to be told, not before a moment if there is one.
    unsaid: Option<(Saying<T>, Option<Instant>)>,
    /// What it was told on the present connection and has not answered, in order.
    sent: Sent<T>,
    turn: u64,
}

impl<T> Default for Statement<T> {
    fn default() -> Self {
        Self { holds: None, known: None, unsaid: None, sent: VecDeque::new(), turn: 0 }
    }
}

impl<T: Clone + Default + PartialEq> Statement<T> {
    /// Says something. What the server knows already, or is being told, is not said a second time.
    pub(super) fn say(&mut self, what: T, asker: Asker) {
        let is_settled = self.unsaid.is_none();
        match self.sent.back_mut() {
            Some((_, last)) if is_settled && last.what == what => return last.askers.0.push(asker),
            None if is_settled && self.known.as_ref() == Some(&what) => return Askers::from(asker).answer(None),
            _ => {}
        }
        self.turn += 1;
        self.put_back(Saying { turn: self.turn, what, askers: asker.into() });
    }

    /// Returns whether the program may be waiting for an answer.
    pub(super) fn is_awaited(&self) -> bool {
        let unsaid = self.unsaid.iter().map(|(saying, _)| saying);
        unsaid.chain(self.sent.iter().map(|(_, saying)| saying)).any(|saying| !saying.askers.is_empty())
    }

    fn put_back(&mut self, saying: Saying<T>) {
        let newest = match self.unsaid.take() {
            Some((unsaid, _)) => unsaid.merge(saying),
            None => saying,
        };
        self.unsaid = Some((newest, None));
    }

    /// Whoever listened knows nothing any more.
    pub(super) fn forget(&mut self) {
        self.known = None;
    }

    /// The connection is lost: what was not answered is said again.
    pub(super) fn lose(&mut self) {
        self.forget();
        while let Some((_, saying)) = self.sent.pop_front() {
            self.put_back(saying);
        }
    }

    /// Whoever listens now knows nothing: what holds is said again, unless something newer is about to be.
    pub(super) fn renew(&mut self) {
        self.forget();
        if self.unsaid.is_none()
            && self.sent.is_empty()
            && let Some(what) = self.holds.clone()
        {
            self.unsaid = Some((Saying { turn: self.turn, what, askers: Askers::default() }, None));
        }
    }

    /// Returns when something is to be said, if it is not yet; none if there is nothing, or it may be said now.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        self.unsaid.as_ref().and_then(|(_, at)| *at).filter(|at| *at > now)
    }

    /// Takes what is to be said now, under the next request's number.
    pub(super) fn send(&mut self, last_id: &mut i64, now: Instant) -> Option<(i64, T)> {
        let (saying, _) = self.unsaid.take_if(|(_, at)| at.is_none_or(|at| at <= now))?;
        *last_id += 1;
        let what = saying.what.clone();
        self.sent.push_back((*last_id, saying));
        Some((*last_id, what))
    }

    fn take(&mut self, id: i64) -> Option<Saying<T>> {
        let at = self.sent.iter().position(|(sent_as, _)| *sent_as == id)?;
        self.sent.remove(at).map(|(_, saying)| saying)
    }

    /// The server has heard; answers whether this request was one of these.
    pub(super) fn settle(&mut self, id: i64) -> bool {
        let Some(saying) = self.take(id) else { return false };
        self.known = Some(saying.what.clone());
        self.holds = Some(saying.what).filter(|what| *what != T::default());
        saying.askers.answer(None);
        true
    }

    /// The server refuses; answers whether this request was one of these. `is_late` says that it was on its way when the room
    /// was lost, and is said again there.
    pub(super) fn refuse(&mut self, id: i64, refusal: &Refusal, is_late: bool, now: Instant) -> bool {
        let Some(saying) = self.take(id) else { return false };
        if is_late {
            self.put_back(saying);
        } else if saying.askers.is_empty() && refusal.is_retryable() {
            if self.unsaid.is_none() && self.sent.is_empty() {
                let pause = refusal.retry_after.unwrap_or_default().max(PAUSE);
                self.unsaid = Some((saying, Some(now + pause)));
            }
        } else {
            saying.askers.answer(Some(refusal));
        }
        true
    }

    /// Takes everything apart: what was sent, by its request, and what was not.
    pub(super) fn give_up(self) -> (Sent<T>, Option<Saying<T>>) {
        (self.sent, self.unsaid.map(|(saying, _)| saying))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type State = Option<&'static str>;
    type Answer = oneshot::Receiver<Result<(), ClientError>>;

    fn say(statement: &mut Statement<State>, what: State) -> Answer {
        let (asker, answer) = oneshot::channel();
        statement.say(what, asker);
        answer
    }

    fn refusal(code: &str) -> Refusal {
        Refusal::of_record(code.to_owned(), String::new(), String::new(), Some(5000))
    }

    #[test]
    fn each_that_is_sent_has_its_own_answer() {
        let (mut statement, mut id, now) = (Statement::default(), 0, Instant::now());

        let mut first = say(&mut statement, Some("away"));
        assert_eq!(statement.send(&mut id, now), Some((1, Some("away"))));
        let mut second = say(&mut statement, Some("too long"));
        assert_eq!(statement.send(&mut id, now), Some((2, Some("too long"))));
        assert!(statement.settle(1) && statement.refuse(2, &refusal("validation-failed"), false, now));

        assert!(matches!(first.try_recv(), Ok(Ok(()))));
        assert_eq!(second.try_recv().unwrap().unwrap_err().code(), Some("validation-failed"));
        statement.lose();
        statement.renew();
        assert_eq!(statement.send(&mut id, now), Some((3, Some("away"))), "what was refused does not hold");
    }

    #[test]
    fn what_the_server_knows_or_is_being_told_is_not_said_twice() {
        let (mut statement, mut id, now) = (Statement::default(), 0, Instant::now());
        let mut answers: Vec<Answer> = (0..2).map(|_| say(&mut statement, Some("away"))).collect();
        assert_eq!(statement.send(&mut id, now), Some((1, Some("away"))));

        answers.push(say(&mut statement, Some("away")));
        assert_eq!(statement.send(&mut id, now), None, "it is on its way");
        statement.settle(1);
        answers.push(say(&mut statement, Some("away")));
        assert_eq!(statement.send(&mut id, now), None, "it is known");

        assert!(answers.iter_mut().all(|answer| matches!(answer.try_recv(), Ok(Ok(())))));
        drop(say(&mut statement, Some("back")));
        statement.send(&mut id, now);
        drop(say(&mut statement, Some("away")));
        assert_eq!(statement.send(&mut id, now), Some((3, Some("away"))), "something else was said between");
        statement.settle(2);
        statement.settle(3);
        statement.lose();
        let mut waits = say(&mut statement, Some("away"));
        assert!(waits.try_recv().is_err(), "nobody knows it without a connection");
        assert_eq!(statement.send(&mut id, now), Some((4, Some("away"))));
    }

    #[test]
    fn without_a_connection_the_newest_is_kept_and_answers_for_all() {
        let (mut statement, mut id, now) = (Statement::default(), 0, Instant::now());

        let mut first = say(&mut statement, Some("away"));
        statement.send(&mut id, now);
        let mut second = say(&mut statement, Some("back"));
        statement.lose();
        statement.renew();

        assert_eq!(statement.send(&mut id, now), Some((2, Some("back"))));
        assert_eq!(statement.send(&mut id, now), None);
        assert!(!statement.settle(1) && statement.is_awaited() && statement.settle(2));
        assert!(matches!((first.try_recv(), second.try_recv()), (Ok(Ok(())), Ok(Ok(())))));
        assert!(!statement.is_awaited());
    }

    #[test]
    fn what_is_said_no_more_is_not_said_again() {
        let (mut statement, mut id, now) = (Statement::default(), 0, Instant::now());
        for what in [Some("away"), None] {
            let _answer = say(&mut statement, what);
            let (sent, _) = statement.send(&mut id, now).unwrap();
            statement.settle(sent);
        }

        statement.renew();

        assert_eq!(statement.send(&mut id, now), None);
    }

    #[test]
    fn what_nobody_waits_for_is_said_again_when_it_may_be() {
        let (mut statement, mut id, now) = (Statement::default(), 0, Instant::now());
        drop(say(&mut statement, Some("away")));
        statement.send(&mut id, now);

        assert!(statement.refuse(1, &refusal("rate-limited"), false, now));

        let at = now + Duration::from_secs(5);
        assert_eq!((statement.send(&mut id, now), statement.due(now)), (None, Some(at)));
        assert_eq!((statement.due(at), statement.send(&mut id, at)), (None, Some((2, Some("away")))));
    }

    #[test]
    fn what_was_on_its_way_when_the_room_was_lost_gives_way_to_what_is_newer() {
        let (mut statement, mut id, now) = (Statement::default(), 0, Instant::now());
        let sayings = [Some("one"), Some("two")].map(|what| {
            let answer = say(&mut statement, what);
            statement.send(&mut id, now);
            answer
        });

        for id in [1, 2] {
            assert!(statement.refuse(id, &refusal("not-joined"), true, now));
        }

        assert_eq!(statement.send(&mut id, now), Some((3, Some("two"))));
        statement.settle(3);
        for mut answer in sayings {
            assert!(matches!(answer.try_recv(), Ok(Ok(()))));
        }
    }
}
