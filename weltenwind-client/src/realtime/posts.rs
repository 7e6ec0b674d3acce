//! Messages that wait for their acknowledgement.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use tokio::{sync::oneshot, time::Instant};
use weltenwind_core::{
    Room,
    wire::{ClientRecord, MessageBody},
};

use crate::{
    api::Draft,
    error::{ClientError, Refusal, is_of_the_moment},
    retry::Backoff,
};

/// How often a message is sent that is refused for the moment; by default that takes about a minute.
const MOST_TRIES: u32 = 10;
/// A server that asks for a longer pause is not asked again.
const LONGEST_PAUSE: Duration = Duration::from_mins(2);
/// Of what has waited, one more message may be under way for each so many that were stored in a row. They are more than a
/// quota lets pass at once by default, so behind one that is refused for coming too often there is none that may pass.
const TRUSTED_AFTER: usize = 32;

type Answer = Result<MessageBody, ClientError>;

#[derive(Debug)]
struct Post {
    draft: Draft,
    /// The request it was sent as on the present connection.
    sent_as: Option<i64>,
    /// Whether it may be stored: it was sent, and the server did not say what became of it.
    is_unsure: bool,
    /// Whether it could not be sent at once: for want of a connection or its room, behind another one, or for a refusal that
    /// passes. Nobody stands by for its answer any more, so such a refusal is waited out.
    has_waited: bool,
    /// How often the server refused it for the moment.
    failures: u32,
    backoff: Backoff,
    /// It is not sent before.
    held_until: Option<Instant>,
    asker: oneshot::Sender<Answer>,
}

impl Post {
    const fn room(&self) -> Room {
        Room::Channel(self.draft.channel)
    }

    fn is_held(&self, now: Instant) -> bool {
        self.held_until.is_some_and(|until| until > now)
    }

    /// Returns how long to wait before it is sent again, if it should be after this refusal.
    fn pause(&mut self, refusal: &Refusal) -> Option<Duration> {
        let asked = refusal.retry_after.unwrap_or_default();
        let may_wait = self.is_unsure || self.has_waited;
        let may_pass = is_of_the_moment(&refusal.code) || (may_wait && refusal.is_retryable());
        self.failures += 1;
        (may_pass && self.failures < MOST_TRIES && asked <= LONGEST_PAUSE).then(|| self.backoff.next().max(asked))
    }
}

/// The messages for one room, as far as they were looked at.
#[derive(Debug, Default)]
struct Line {
    under_way: usize,
    /// Whether there is one that has waited: what comes behind it has, too.
    has_waited: bool,
    /// Whether there is one that is not sent now.
    is_closed: bool,
}

/// A queue with a bound. What is in it was not acknowledged, and is sent again under its client id: after a reconnect, and
/// after a pause if the server could not say what became of it, or could not take it yet.
#[derive(Debug)]
pub(super) struct Posts {
    waiting: VecDeque<Post>,
    limit: usize,
    /// For each message anew.
    backoff: Backoff,
    /// How many were stored since one was refused for the moment, or the queue was empty.
    stored_in_a_row: usize,
}

impl Posts {
    pub(super) const fn new(limit: usize, backoff: Backoff) -> Self {
        Self { waiting: VecDeque::new(), limit, backoff, stored_in_a_row: 0 }
    }

    pub(super) fn push(&mut self, draft: Draft, asker: oneshot::Sender<Answer>) {
        if self.waiting.len() >= self.limit {
            // Who asked may have gone.
            let _ = asker.send(Err(ClientError::QueueFull(self.limit)));
            return;
        }
        self.waiting.push_back(Post {
            draft,
            sent_as: None,
            is_unsure: false,
            has_waited: false,
            failures: 0,
            backoff: self.backoff.clone(),
            held_until: None,
            asker,
        });
    }

    /// Returns whether messages wait.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Makes the records of everything that was not sent on this connection and may be, in order: behind a message that is
    /// held back, those for the same room wait too. What has waited goes by and by, so that a refusal in its midst lets
    /// nothing overtake it; the rest goes at once.
    pub(super) fn send(
        &mut self,
        last_id: &mut i64,
        now: Instant,
        may_send: impl Fn(Room) -> bool,
    ) -> Vec<ClientRecord> {
        let most_under_way = 1 + self.stored_in_a_row / TRUSTED_AFTER;
        let (mut records, mut lines) = (Vec::new(), BTreeMap::<Room, Line>::new());
        for post in &mut self.waiting {
            let room = post.room();
            let line = lines.entry(room).or_default();
            if post.sent_as.is_none() {
                post.has_waited |= line.has_waited;
                let is_early = post.has_waited && line.under_way >= most_under_way;
                if is_early || line.is_closed || post.is_held(now) || !may_send(room) {
                    // One that was under way goes as it went before.
                    post.has_waited |= !post.is_unsure;
                    line.is_closed = true;
                } else {
                    *last_id += 1;
                    post.sent_as = Some(*last_id);
                    let Draft { body, client_id, reply_to, .. } = post.draft.clone();
                    records.push(ClientRecord::Pub { id: *last_id, room, client_id, body, reply_to });
                }
            }
            line.under_way += usize::from(post.sent_as.is_some());
            line.has_waited |= post.has_waited;
        }
        records
    }

    /// Returns when a message is to be sent that is held back; none if there is none.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        self.waiting.iter().filter_map(|post| post.held_until).filter(|until| *until > now).min()
    }

    /// Returns the room of a message that was sent as this request.
    pub(super) fn room_of(&self, id: i64) -> Option<Room> {
        self.place_of(id).map(|at| self.waiting[at].room())
    }

    fn place_of(&self, id: i64) -> Option<usize> {
        self.waiting.iter().position(|post| post.sent_as == Some(id))
    }

    /// Answers who posted that the message is stored.
    pub(super) fn stored(&mut self, id: i64, message: MessageBody) {
        if let Some(at) = self.place_of(id) {
            self.stored_in_a_row += 1;
            self.settle(at, Ok(message));
        }
    }

    /// Takes a refusal. If it says nothing of what became of the message, or may pass while nobody knows that or stands by, the
    /// message goes back to its place and is sent again: under its client id it is stored once. Else who posted is told.
    pub(super) fn refuse(&mut self, id: i64, refusal: Refusal, now: Instant) {
        let Some(at) = self.place_of(id) else { return };
        let post = &mut self.waiting[at];
        post.is_unsure |= refusal.is_undecided();
        if let Some(pause) = post.pause(&refusal) {
            tracing::info!(correlation_id = %refusal.correlation_id, error = %refusal, ?pause, "a message is sent again");
            (post.sent_as, post.held_until, post.has_waited) = (None, Some(now + pause), true);
            self.stored_in_a_row = 0;
            return;
        }
        let source = Box::new(refusal);
        let error = if post.is_unsure {
            ClientError::OutcomeUnknown { client_id: post.draft.client_id.clone(), source: Some(source) }
        } else {
            source.into()
        };
        self.settle(at, Err(error));
    }

    fn settle(&mut self, at: usize, answer: Answer) {
        if let Some(post) = self.waiting.remove(at) {
            // Who posted may have gone; what became of the message is the same.
            let _ = post.asker.send(answer);
        }
        if self.waiting.is_empty() {
            self.stored_in_a_row = 0;
        }
    }

    /// The socket is closed for good: nobody will say what became of what was sent. Who posted the rest learns that it is
    /// closed.
    pub(super) fn end(mut self) {
        self.put_all_back();
        for post in self.waiting {
            let client_id = post.draft.client_id;
            let unknown = ClientError::OutcomeUnknown { client_id, source: None };
            let error = if post.is_unsure { unknown } else { ClientError::Closed };
            // Who posted may have gone.
            let _ = post.asker.send(Err(error));
        }
    }

    /// Puts a message back, to be sent again.
    pub(super) fn put_back(&mut self, id: i64) {
        for post in self.waiting.iter_mut().filter(|post| post.sent_as == Some(id)) {
            post.sent_as = None;
        }
    }

    /// The connection is lost: nothing counts as sent, and what was may be stored.
    pub(super) fn put_all_back(&mut self) {
        self.stored_in_a_row = 0;
        for post in &mut self.waiting {
            post.is_unsure |= post.sent_as.take().is_some();
        }
    }
}
