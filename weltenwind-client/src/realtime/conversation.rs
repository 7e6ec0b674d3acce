//! What is said on a socket and what it means, without a socket: records and commands in, records and events out.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use tokio::{sync::oneshot, time::Instant};
use weltenwind_core::{
    AccountId, Room,
    wire::{ClientRecord, MemberRecord, MessageBody, PresenceRecord, ServerRecord},
};

use super::{
    Joined,
    event::{Event, GapCause},
    membership::{Kind, Membership, Standing},
    posts::Posts,
    present::{Present, View},
    statement::{Asker, Askers, Saying, Statement},
};
use crate::{
    api::Draft,
    error::{ClientError, Refusal, is_of_the_moment},
    retry::Backoff,
};

/// Events that may wait here while the socket is read for the sake of answers. What comes on top is thrown away and
/// replayed later.
const MAX_WAITING: usize = 4096;
/// A room that the server could not let the program into, or could not keep up, is asked for again after this at the earliest.
const ROOM_PAUSE: Duration = Duration::from_secs(2);
/// How often a server pings by default.
const PINGS_EVERY: Duration = Duration::from_secs(25);

/// What the program asks for.
#[derive(Debug)]
pub(super) enum Command {
    Join { room: Room, since: Option<String>, asker: oneshot::Sender<Result<Joined, ClientError>> },
    Leave { room: Room, asker: oneshot::Sender<()> },
    Publish { draft: Draft, asker: oneshot::Sender<Result<MessageBody, ClientError>> },
    Say { room: Room, state: Option<String>, asker: Asker },
    Type { room: Room, asker: Asker },
    Foreground { on: bool, asker: Asker },
    Look { room: Room, asker: oneshot::Sender<Option<Present>> },
}

/// How the server takes its leave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bye {
    pub(super) code: u16,
    pub(super) reason: String,
    pub(super) window: (Duration, Duration),
    pub(super) resume: bool,
}

/// What a record asks of whoever owns the socket.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// The server is heard, and has said how often it pings.
    Welcome,
    /// The access token ends soon.
    NewToken,
    /// The connection is about to end.
    Goodbye(Bye),
}

/// The state of a conversation over any number of connections.
#[derive(Debug)]
pub(super) struct Conversation {
    rooms: BTreeMap<Room, Membership>,
    posts: Posts,
    /// For each room anew.
    backoff: Backoff,
    /// Whether somebody looks at the program.
    foreground: Statement<bool>,
    /// Requests of the present connection that are not made again on the next.
    asks: BTreeMap<i64, Askers>,
    last_id: i64,
    is_online: bool,
    /// What the program is to hear.
    pub(super) inbox: VecDeque<Event>,
    /// What is to be sent on the present connection.
    pub(super) outbox: VecDeque<ClientRecord>,
    /// What the present connection is called in the server's log.
    pub(super) connection: String,
    /// After so much silence the server sends a ping, as it said last.
    pub(super) pings_every: Duration,
}

impl Conversation {
    /// `backoff` draws the pauses of what the server refuses for the moment.
    pub(super) fn new(pending_posts: usize, backoff: Backoff) -> Self {
        Self {
            rooms: BTreeMap::new(),
            backoff: backoff.no_shorter_than(ROOM_PAUSE),
            posts: Posts::new(pending_posts, backoff),
            foreground: Statement::default(),
            asks: BTreeMap::new(),
            last_id: 0,
            is_online: false,
            inbox: VecDeque::new(),
            outbox: VecDeque::new(),
            connection: String::new(),
            pings_every: PINGS_EVERY,
        }
    }

    /// A connection is open: every room is joined from where it was left.
    pub(super) fn open(&mut self) {
        self.is_online = true;
        self.connection.clear();
        self.foreground.renew();
        let rooms: Vec<Room> = self.rooms.keys().copied().collect();
        for room in rooms {
            self.ask_for(room);
        }
        self.send_posts();
    }

    /// The connection is lost: whatever was not answered is asked for again on the next.
    pub(super) fn lose(&mut self, keeps_positions: bool) {
        self.is_online = false;
        self.outbox.clear();
        self.posts.put_all_back();
        self.foreground.lose();
        for (_, askers) in std::mem::take(&mut self.asks) {
            askers.disconnect();
        }
        for membership in self.rooms.values_mut() {
            membership.standing = Standing::Wanted(None);
            membership.state.lose();
            if !keeps_positions {
                membership.lose_position(GapCause::Cursor);
            }
        }
    }

    /// Nothing follows: tells whoever waits for an answer, and returns what the program is still to hear.
    pub(super) fn end(self) -> VecDeque<Event> {
        self.posts.end();
        self.inbox
    }

    /// Tells the program that the connection is lost. One that has not heard yet that the last one was back hears of one long
    /// loss, so that a program which takes nothing is not told of one loss after the other.
    pub(super) fn tell_lost(&mut self, error: ClientError, retry_in: Duration) {
        if self.inbox.pop_back_if(|event| matches!(event, Event::Reconnected)).is_none() {
            self.inbox.push_back(Event::Disconnected { error, retry_in });
        }
    }

    /// Returns whether the socket should be read. While the program has events to take, it is not, so that the server
    /// holds back what comes next; but an answer that the program may be waiting for is always read.
    pub(super) fn is_reading(&self) -> bool {
        let is_awaited = |room: &Membership| room.asker.is_some() || room.state.is_awaited();
        let has_asked = !self.posts.is_empty() || !self.asks.is_empty() || self.foreground.is_awaited();
        self.inbox.is_empty() || has_asked || self.rooms.values().any(is_awaited)
    }

    pub(super) fn command(&mut self, command: Command) {
        match command {
            Command::Join { room, asker, .. } if self.rooms.contains_key(&room) => {
                // Who asked may have gone.
                let _ = asker.send(Err(ClientError::AlreadyJoined(room)));
            }
            Command::Join { room, since, asker } => {
                self.rooms.insert(room, Membership::new(since, asker, self.backoff.clone()));
                if self.is_online {
                    self.ask_for(room);
                }
            }
            Command::Leave { room, asker } => {
                let membership = self.rooms.remove(&room);
                let was_asked_for = |room: &Membership| !matches!(room.standing, Standing::Wanted(_));
                if self.is_online && membership.as_ref().is_some_and(was_asked_for) {
                    self.tell_leave(room);
                }
                self.give_up_state(room, membership);
                // Who asked may have gone.
                let _ = asker.send(());
            }
            Command::Publish { draft, asker } => {
                self.posts.push(draft, asker);
                self.send_posts();
            }
            Command::Say { room, state, asker } => match self.rooms.get_mut(&room) {
                Some(membership) => membership.state.say(state, asker),
                None => self.ask(asker.into(), |id| ClientRecord::Presence { id: Some(id), room, state }),
            },
            Command::Type { room, asker } => {
                self.ask(asker.into(), |id| ClientRecord::Typing { id: Some(id), room });
            }
            Command::Foreground { on, asker } => self.foreground.say(on, asker),
            Command::Look { room, asker } => {
                let view = self.rooms.get(&room).and_then(|membership| membership.view.as_ref());
                // Who asked may have gone.
                let _ = asker.send(view.map(View::present));
            }
        }
    }

    /// Does what is due: rooms that are behind are replayed once the program has taken what it was told, and rooms that
    /// were refused for the moment are asked for again, as messages are sent again; what the program says of itself is said.
    /// Returns when to look again.
    pub(super) fn pass_time(&mut self, now: Instant) -> Option<Instant> {
        if !self.is_online {
            return None;
        }
        let mut next: Option<Instant> = None;
        let mut due = Vec::new();
        for (room, membership) in &self.rooms {
            match membership.standing {
                Standing::Joined if membership.behind && self.inbox.is_empty() => due.push((*room, true)),
                Standing::Wanted(Some(at)) if at <= now => due.push((*room, false)),
                Standing::Wanted(Some(at)) => next = Some(next.map_or(at, |next| next.min(at))),
                _ => {}
            }
        }
        for (room, is_joined) in due {
            if is_joined {
                self.tell_leave(room);
            }
            self.ask_for(room);
        }
        self.send_posts_at(now);
        [next, self.posts.due(now), self.send_statements(now)].into_iter().flatten().min()
    }

    /// Says what is due, and returns when more will be.
    fn send_statements(&mut self, now: Instant) -> Option<Instant> {
        if let Some((id, on)) = self.foreground.send(&mut self.last_id, now) {
            self.outbox.push_back(ClientRecord::Foreground { id: Some(id), on });
        }
        let mut next = self.foreground.due(now);
        for (room, membership) in &mut self.rooms {
            if membership.standing != Standing::Joined {
                continue;
            }
            if let Some((id, state)) = membership.state.send(&mut self.last_id, now) {
                self.outbox.push_back(ClientRecord::Presence { id: Some(id), room: *room, state });
            }
            next = [next, membership.state.due(now)].into_iter().flatten().min();
        }
        next
    }

    /// Takes a record of the server's.
    ///
    /// # Errors
    ///
    /// [`ClientError::Unreadable`] if the server does not keep to the protocol.
    pub(super) fn record(&mut self, record: ServerRecord) -> Result<Option<Wish>, ClientError> {
        match record {
            ServerRecord::Welcome { conn, node, ping_every_seconds, .. } => {
                tracing::info!(connection = %conn, %node, "the socket is open");
                self.connection = conn;
                self.pings_every = Duration::from_secs(ping_every_seconds);
                return Ok(Some(Wish::Welcome));
            }
            ServerRecord::Joined { id, room, cursor, recovered, presence } => {
                self.joined(id, room, cursor, recovered, presence);
            }
            ServerRecord::Msg { room, cursor, message, .. } => self.take(room, Kind::News, cursor, message),
            ServerRecord::Update { room, cursor, message } => self.take(room, Kind::Change, cursor, message),
            ServerRecord::Live { room } => {
                if let Some(membership) = self.heard(room) {
                    membership.backoff.reset();
                    self.inbox.push_back(Event::Live { room });
                }
            }
            ServerRecord::Gap { room, cause, cursor } => {
                if let Some(membership) = self.heard(room) {
                    let gap = membership.miss(room, cause.into(), cursor);
                    self.inbox.push_back(gap);
                }
            }
            ServerRecord::Ok { id: Some(id), message: Some(message) } => self.posts.stored(id, message),
            ServerRecord::Ok { id: Some(id), message: None } => {
                if self.posts.room_of(id).is_some() {
                    return Err(self.unreadable(format!("the answer to post {id} has no message")));
                }
                self.done(id);
            }
            ServerRecord::Err { id, code, detail, correlation_id, retry_after_ms } => {
                self.refused(id, Refusal::of_record(code, detail, correlation_id, retry_after_ms));
            }
            ServerRecord::Left { id: None, room, code } => self.taken_away(room, code.unwrap_or_default()),
            // A room was left as the program asked, or the server took something that has no number.
            ServerRecord::Left { .. } | ServerRecord::Ok { id: None, .. } => {}
            ServerRecord::Presence { room, version, whole: true, join: members, count, .. } => {
                let snapshot = PresenceRecord { version, members, count };
                let renewed = self.heard(room).map(|membership| membership.take_present(room, snapshot));
                self.inbox.extend(renewed);
            }
            ServerRecord::Presence { room, version, join, leave, count, .. } => {
                self.take_change(room, version, join, &leave, count);
            }
            ServerRecord::Typing { room, user, display_name } => {
                if self.heard(room).is_some() {
                    self.inbox.push_back(Event::Typing { room, user, display_name });
                }
            }
            ServerRecord::Notice { room, kind, id } => self.inbox.push_back(Event::Notice { room, kind, id }),
            ServerRecord::RefreshNeeded => return Ok(Some(Wish::NewToken)),
            // A sign of life goes first.
            ServerRecord::Ping => self.outbox.push_front(ClientRecord::Pong),
            ServerRecord::Bye { code, reason, retry_min_ms, retry_max_ms, resume } => {
                let window = (Duration::from_millis(retry_min_ms), Duration::from_millis(retry_max_ms));
                return Ok(Some(Wish::Goodbye(Bye { code, reason, window, resume })));
            }
        }
        Ok(None)
    }

    /// Sends a newer token.
    pub(super) fn refresh(&mut self, token: String) {
        self.last_id += 1;
        self.outbox.push_back(ClientRecord::Refresh { id: Some(self.last_id), token });
    }

    pub(super) fn unreadable(&self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> ClientError {
        ClientError::Unreadable { correlation_id: self.connection.clone(), source: source.into() }
    }

    fn ask_for(&mut self, room: Room) {
        self.last_id += 1;
        if let Some(membership) = self.rooms.get_mut(&room) {
            membership.standing = Standing::Asked(self.last_id);
            membership.state.forget();
            let since = membership.cursor.clone();
            self.outbox.push_back(ClientRecord::Join { id: self.last_id, room, since });
        }
    }

    fn tell_leave(&mut self, room: Room) {
        self.last_id += 1;
        self.outbox.push_back(ClientRecord::Leave { id: self.last_id, room });
    }

    /// Sends what waits. A message for a room that is about to be joined waits for that; one for a room that nobody joined
    /// is sent, and refused by the server in its words.
    fn send_posts(&mut self) {
        self.send_posts_at(Instant::now());
    }

    fn send_posts_at(&mut self, now: Instant) {
        let is_joined = |room| self.rooms.get(&room).is_none_or(|room| room.standing == Standing::Joined);
        let may_send = |room| self.is_online && is_joined(room);
        self.outbox.extend(self.posts.send(&mut self.last_id, now, may_send));
    }

    /// Returns whether a room is about to be joined.
    fn is_awaited(&self, room: Room) -> bool {
        self.rooms.get(&room).is_some_and(|room| room.standing != Standing::Joined)
    }

    fn joined(
        &mut self,
        id: i64,
        room: Room,
        cursor: Option<String>,
        recovered: bool,
        presence: Option<PresenceRecord>,
    ) {
        let asked = self.rooms.get_mut(&room).filter(|membership| membership.standing == Standing::Asked(id));
        // Otherwise the room was left meanwhile.
        if let Some(membership) = asked {
            let gap = membership.joined(room, cursor, recovered);
            self.inbox.extend(gap);
            self.inbox.extend(presence.map(|snapshot| membership.take_present(room, snapshot)));
            self.send_posts();
        }
    }

    /// Takes who came and went. Where something between was missed, the room is joined anew, and who is there comes with that.
    fn take_change(&mut self, room: Room, version: u64, join: Vec<MemberRecord>, leave: &[AccountId], count: usize) {
        let Some(view) = self.heard(room).and_then(|membership| membership.view.as_mut()) else { return };
        if let Ok(event) = view.take(room, version, join, leave, count) {
            self.inbox.extend(event);
        } else {
            tracing::debug!(connection = %self.connection, %room, version, "the room is joined anew");
            self.tell_leave(room);
            self.ask_for(room);
        }
    }

    /// Makes a request that is lost with the connection.
    fn ask(&mut self, askers: Askers, record: impl FnOnce(i64) -> ClientRecord) {
        if self.is_online {
            self.last_id += 1;
            self.outbox.push_back(record(self.last_id));
            self.asks.insert(self.last_id, askers);
        } else {
            askers.disconnect();
        }
    }

    /// A request without a result was done.
    fn done(&mut self, id: i64) {
        if let Some(askers) = self.asks.remove(&id) {
            askers.answer(None);
        } else if !self.foreground.settle(id) {
            self.rooms.values_mut().any(|membership| membership.state.settle(id));
        }
    }

    /// A room is left: what was not said there is refused by the server in its words.
    fn give_up_state(&mut self, room: Room, membership: Option<Membership>) {
        let Some((sent, unsaid)) = membership.map(|membership| membership.state.give_up()) else { return };
        self.asks.extend(sent.into_iter().map(|(id, saying)| (id, saying.askers)));
        if let Some(Saying { what, askers, .. }) = unsaid.filter(|saying| !saying.askers.is_empty()) {
            self.ask(askers, |id| ClientRecord::Presence { id: Some(id), room, state: what });
        }
    }

    /// Returns the room if the program should hear of it.
    fn heard(&mut self, room: Room) -> Option<&mut Membership> {
        let membership = self.rooms.get_mut(&room).filter(|membership| membership.standing == Standing::Joined)?;
        membership.behind |= self.inbox.len() >= MAX_WAITING;
        (!membership.behind).then_some(membership)
    }

    fn take(&mut self, room: Room, kind: Kind, cursor: String, message: MessageBody) {
        if let Some(membership) = self.heard(room) {
            let event = membership.take(kind, cursor, message);
            self.inbox.extend(event);
        }
    }

    fn refused(&mut self, id: Option<i64>, refusal: Refusal) {
        let Some(id) = id else {
            tracing::error!(correlation_id = %refusal.correlation_id, error = %refusal, "the server cannot read a record");
            return;
        };
        let room = self.rooms.iter().find(|(_, room)| room.standing == Standing::Asked(id)).map(|(room, _)| *room);
        if let Some(room) = room {
            self.join_refused(room, refusal);
        } else if refusal.code == "not-joined" && self.posts.room_of(id).is_some_and(|room| self.is_awaited(room)) {
            // The room was lost while the message was on its way; it goes once the room is joined again.
            self.posts.put_back(id);
        } else if !self.statement_refused(id, &refusal) {
            tracing::debug!(correlation_id = %refusal.correlation_id, error = %refusal, "a request is refused");
            match self.asks.remove(&id) {
                Some(askers) => askers.answer(Some(&refusal)),
                None => self.posts.refuse(id, refusal, Instant::now()),
            }
        }
    }

    /// Returns whether what was refused is something that the program says of itself.
    fn statement_refused(&mut self, id: i64, refusal: &Refusal) -> bool {
        let now = Instant::now();
        let refuse = |membership: &mut Membership| {
            let is_late = refusal.code == "not-joined" && membership.standing != Standing::Joined;
            membership.state.refuse(id, refusal, is_late, now)
        };
        self.foreground.refuse(id, refusal, false, now) || self.rooms.values_mut().any(refuse)
    }

    fn join_refused(&mut self, room: Room, refusal: Refusal) {
        tracing::warn!(correlation_id = %refusal.correlation_id, %room, error = %refusal, "a room is refused");
        let Some(membership) = self.rooms.get_mut(&room) else { return };
        if let Some(asker) = membership.asker.take() {
            let membership = self.rooms.remove(&room);
            self.give_up_state(room, membership);
            // Who asked may have gone.
            let _ = asker.send(Err(Box::new(refusal).into()));
            self.send_posts();
        } else if refusal.code == "cursor-invalid" {
            membership.lose_position(GapCause::Cursor);
            self.ask_for(room);
        } else if refusal.code == "already-joined" {
            // The server thinks otherwise, so it is told to begin anew.
            self.tell_leave(room);
            self.ask_for(room);
        } else if refusal.is_retryable() || is_of_the_moment(&refusal.code) {
            membership.wait(refusal.retry_after.unwrap_or_default());
        } else {
            self.forget(room, refusal.code);
        }
    }

    /// The server takes a room away: for good, or because it cannot read it for the moment. Of one that is asked for anew, that
    /// is about the membership before; the answer to the request tells how it stands.
    fn taken_away(&mut self, room: Room, code: String) {
        let joined = self.rooms.get_mut(&room).filter(|membership| membership.standing == Standing::Joined);
        let Some(membership) = joined else { return };
        tracing::warn!(connection = %self.connection, %room, code, "a room is taken away");
        if is_of_the_moment(&code) {
            membership.wait(Duration::ZERO);
        } else {
            self.forget(room, code);
        }
    }

    fn forget(&mut self, room: Room, code: String) {
        let membership = self.rooms.remove(&room);
        self.give_up_state(room, membership);
        self.inbox.push_back(Event::Left { room, code });
        // Messages that waited for the room are refused by the server.
        self.send_posts();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_takes_nothing_is_told_of_one_long_loss() {
        let mut conversation = Conversation::new(1, Backoff::new(ROOM_PAUSE, ROOM_PAUSE));
        let lose = |conversation: &mut Conversation| conversation.tell_lost(ClientError::Closed, ROOM_PAUSE);

        lose(&mut conversation);
        for _ in 0..3 {
            conversation.inbox.push_back(Event::Reconnected);
            lose(&mut conversation);
        }
        conversation.inbox.push_back(Event::Reconnected);

        let told: Vec<Event> = conversation.inbox.drain(..).collect();
        assert!(matches!(told.as_slice(), [Event::Disconnected { .. }, Event::Reconnected]), "{told:?}");
    }
}
