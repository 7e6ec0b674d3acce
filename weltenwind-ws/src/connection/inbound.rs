//! From frames to records, from records to requests, from answers to records.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};
use weltenwind_core::{
    CorrelationId, Room,
    chat::Draft,
    wire::{ClientRecord, ServerRecord, close},
};

use super::{Connection, End};
use crate::{
    host::Host,
    records::{self, Failure, Refusal},
    requests::{Answer, Checked},
    timing::Expiry,
    wire::Link,
};

/// Records that wait for their turn; with so many, or with as many bytes of them as a frame may have, nothing more is read.
const MAX_WAITING: usize = 32;
/// Posts that may wait for their commits at once. They are numbered in the order in which they were sent.
const MAX_POSTS: usize = 32;
/// When to look again at a socket that is told nothing meanwhile.
const SUSPECT_AGAIN: Duration = Duration::from_secs(1);
/// Looks at a session that may fail in a row because the store is away.
const MAX_UNDECIDED: u32 = 3;

/// A frame whose records are taken one by one.
#[derive(Debug)]
pub(super) struct Incoming {
    text: Utf8Bytes,
    at: usize,
}

/// A record that waits for its turn.
#[derive(Debug)]
pub(super) struct Waiting {
    request: CorrelationId,
    record: ClientRecord,
    /// How long its line was.
    bytes: usize,
}

impl Incoming {
    /// Returns how much of it was not taken yet.
    fn left(&self) -> usize {
        self.text.len().saturating_sub(self.at)
    }

    /// Returns the next line that is not blank.
    fn next_line(&mut self) -> Option<&str> {
        while self.at < self.text.len() {
            let start = self.at;
            let length = self.text[start..].find('\n').unwrap_or(self.text.len() - start);
            self.at += length + 1;
            if !self.text[start..start + length].trim().is_empty() {
                return Some(self.text[start..start + length].trim());
            }
        }
        None
    }
}

impl<L: Link> Connection<L> {
    pub(super) fn is_reading(&self) -> bool {
        let is_free = self.incoming.is_none() && !self.wire.has_received() && self.has_room_for(0);
        is_free && !self.draining && self.allowance.opens_at(Instant::now()).is_none()
    }

    /// Returns whether another record may wait, and so many bytes. The first may always.
    fn has_room_for(&self, bytes: usize) -> bool {
        let waiting = || self.waiting.iter().map(|waiting| waiting.bytes).sum::<usize>();
        self.waiting.is_empty() || self.waiting.len() < MAX_WAITING && waiting() + bytes <= self.host.config.frame_bytes
    }

    /// Returns whether everything that was read is answered.
    pub(super) fn owes_nothing(&self) -> bool {
        let has_answered = self.waiting.is_empty() && self.request.is_none() && self.posts.is_empty();
        self.incoming.is_none() && !self.wire.has_received() && has_answered
    }

    fn take_message(&mut self, message: Message) {
        match message {
            Message::Text(text) if text.trim().is_empty() => self.strike(None, "the frame is empty"),
            Message::Text(text) => self.incoming = Some(Incoming { text, at: 0 }),
            Message::Binary(_) => self.strike(None, "frames are text"),
            Message::Close(_) => self.end(End::Left),
            // Tungstenite answers pings by itself.
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
        }
    }

    /// Reads the records of the frames at hand, as far as there is room for them: at most the bytes of one frame wait, and one
    /// more frame is at hand.
    pub(super) fn take_records(&mut self) {
        while self.end.is_none() && self.has_room_for(self.incoming.as_ref().map_or(0, Incoming::left)) {
            let Some(incoming) = &mut self.incoming else {
                match self.wire.take_received() {
                    Some(Ok(message)) => self.take_message(message),
                    Some(Err(error)) => self.end(End::of(&error)),
                    None => return,
                }
                continue;
            };
            let Some(line) = incoming.next_line() else {
                self.incoming = None;
                continue;
            };
            let (record, bytes) = (records::read(line), line.len());
            self.host.metrics.records_in.inc();
            match record {
                Ok(ClientRecord::Pong) => {}
                Ok(record) => {
                    let request = self.next_request();
                    self.waiting.push_back(Waiting { request, record, bytes });
                }
                Err((id, detail)) => self.strike(id, &detail),
            }
        }
    }

    /// Answers what cannot be read; the last straw ends the socket.
    fn strike(&mut self, id: Option<i64>, detail: &str) {
        let request = self.next_request();
        self.refuse(id, Refusal::Unreadable(detail.to_owned()), &request);
        if self.strikes.get_or_insert_default().strike(Instant::now()) {
            self.end(End::Bye(close::PROTOCOL_VIOLATION, "too many records could not be read"));
        }
    }

    fn refuse(&mut self, id: Option<i64>, refusal: Refusal, request: &CorrelationId) {
        let record = Failure::from(refusal).record(id, request);
        self.take_answer(Answer::Record(Box::new(record)));
    }

    /// Begins what waits, one at a time, as long as there is room for the answers.
    pub(super) fn begin_requests(&mut self) {
        while self.request.is_none()
            && self.posts.len() < MAX_POSTS
            && self.outbox.has_room()
            // Answers keep the order of the requests; only posts are many at a time.
            && let Some(Waiting { request, record, .. }) = self.waiting.pop_front_if(|Waiting { record, .. }| {
                self.posts.is_empty() || matches!(record, ClientRecord::Pub { .. })
            })
        {
            self.begin(request, record);
        }
        // An idle socket keeps no queue.
        if self.waiting.is_empty() {
            self.waiting = VecDeque::new();
        }
        if self.posts.is_empty() {
            self.posts = VecDeque::new();
        }
    }

    fn begin(&mut self, request: CorrelationId, record: ClientRecord) {
        self.rights_at_request = self.losses.standing().rights_lost;
        match record {
            ClientRecord::Join { id, room, since } => match self.check_join(room) {
                Ok(()) => self.request = Some(Box::pin(self.asker(request).join(id, room, since))),
                Err(refusal) => self.refuse(Some(id), refusal, &request),
            },
            ClientRecord::Leave { id, room } => {
                if self.rooms.leave(room) {
                    self.say(&ServerRecord::Left { id: Some(id), room, code: None });
                } else {
                    self.refuse(Some(id), Refusal::NotJoined, &request);
                }
            }
            ClientRecord::Pub { id, room, client_id, body, reply_to } => match self.check_pub(room) {
                Ok(channel) => {
                    let draft = Draft { channel, body, client_id: Some(client_id), reply_to };
                    self.request = Some(Box::pin(self.asker(request).post(id, draft)));
                }
                Err(refusal) => self.refuse(Some(id), refusal, &request),
            },
            ClientRecord::Presence { id, room, state } => {
                if self.rooms.contains(room) {
                    self.request = Some(Box::pin(self.asker(request).say(id, room, state)));
                } else {
                    self.refuse(id, Refusal::NotJoined, &request);
                }
            }
            ClientRecord::Typing { id, room } => {
                if self.rooms.contains(room) {
                    self.request = Some(Box::pin(self.asker(request).type_in(id, room)));
                } else {
                    self.refuse(id, Refusal::NotJoined, &request);
                }
            }
            ClientRecord::Foreground { id, on } => {
                match (&self.viewing, self.sign_in.device().filter(|_| on)) {
                    (Some(viewing), Some(_)) => viewing.look_again(),
                    (None, Some(device)) => {
                        let Host { services, toasts, .. } = &*self.host;
                        let viewing = toasts.view(services, self.sign_in.account, device, self.socket, &self.bell);
                        self.viewing = Some(Box::new(viewing));
                    }
                    (_, None) => self.viewing = None,
                }
                self.say(&ServerRecord::Ok { id, message: None });
            }
            ClientRecord::Refresh { id, token } => {
                self.request = Some(Box::pin(self.asker(request).refresh(id, token)));
            }
            ClientRecord::Pong => {}
        }
    }

    fn check_join(&self, room: Room) -> Result<(), Refusal> {
        let own = Room::User(self.sign_in.account);
        let joined = self.rooms.len() - usize::from(self.rooms.contains(own));
        if self.rooms.contains(room) {
            Err(Refusal::AlreadyJoined)
        } else if joined >= self.host.config.max_rooms && room != own {
            Err(Refusal::TooManyRooms(self.host.config.max_rooms))
        } else {
            Ok(())
        }
    }

    fn check_pub(&self, room: Room) -> Result<weltenwind_core::ChannelId, Refusal> {
        match room {
            _ if !self.rooms.contains(room) => Err(Refusal::NotJoined),
            Room::Channel(channel) => Ok(channel),
            _ => Err(Refusal::NotAChannel),
        }
    }

    pub(super) fn take_answer(&mut self, answer: Answer) {
        match answer {
            Answer::Record(_) if !self.posts.is_empty() => self.posts.push_back(Box::pin(std::future::ready(answer))),
            Answer::Record(_) | Answer::Ended(_) => self.give(answer),
            Answer::Posted(post) => self.posts.push_back(post),
            Answer::Joined { id, cursor, recovered, attendance, reader, present, until } => {
                self.host.metrics.joins.inc();
                let (presence, seat) = present.map(|present| (present.snapshot, present.seat)).unzip();
                let room = attendance.feed.room;
                self.say(&ServerRecord::Joined { id, room, cursor, recovered, presence });
                self.rooms.join(attendance, reader, seat);
                // It may have ended meanwhile; its bell was heard before it was joined.
                self.take_ended();
                self.hold_from(until);
                if self.losses.standing().rights_lost != self.rights_at_request {
                    // What was lost while the request was under way may be the right to be in this room.
                    self.suspect();
                }
            }
            Answer::Refreshed { id, sign_in } => {
                let now = Instant::now();
                let reaches_less = sign_in.reaches_less_than(&self.sign_in);
                self.expiry = Expiry::new(sign_in.life, now);
                self.sign_in = sign_in;
                self.check_at = now;
                self.say(&ServerRecord::Ok { id, message: None });
                if reaches_less {
                    // What lies beyond is not told any more, not even until the look.
                    self.suspect();
                }
            }
        }
    }

    /// Gives an answer whose turn it is.
    pub(super) fn give(&mut self, answer: Answer) {
        match answer {
            Answer::Record(record) => self.say(&record),
            Answer::Ended(ended) => self.end(End::of_ended(ended)),
            // Those are no answers yet.
            Answer::Posted(_) | Answer::Joined { .. } | Answer::Refreshed { .. } => self.take_answer(answer),
        }
    }

    pub(super) fn take_check(&mut self, checked: Checked) {
        match checked {
            Checked::Holds { lost, until } => {
                self.undecided = 0;
                self.hold_from(until);
                self.is_suspect = false;
                for (room, code) in lost {
                    if self.rooms.leave(room) {
                        self.say(&ServerRecord::Left { id: None, room, code: Some(code.to_string()) });
                    }
                }
            }
            Checked::Ended(ended) => self.end_with_nothing(End::of_ended(ended)),
            Checked::Banned => self.end_with_nothing(End::of_ban()),
            Checked::HoldsNowhere => self.end_with_nothing(End::of_scope()),
            Checked::Undecided => {
                self.undecided += 1;
                if self.undecided >= MAX_UNDECIDED {
                    // Nobody is believed for ever.
                    self.end(End::Bye(close::OVERLOADED, "the session cannot be confirmed"));
                }
                if self.is_suspect {
                    // Nothing is written until it is known.
                    self.check_at = Instant::now() + SUSPECT_AGAIN;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_taken_apart_line_by_line() {
        let mut incoming = Incoming { text: Utf8Bytes::from_static("one\r\n\n  two \nß"), at: 0 };

        assert_eq!(incoming.next_line(), Some("one"));
        assert_eq!(incoming.next_line(), Some("two"));
        assert_eq!(incoming.next_line(), Some("ß"));
        assert_eq!(incoming.next_line(), None);
    }
}
