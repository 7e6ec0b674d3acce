//! One room that the program wants to be in.

use std::time::Duration;

use tokio::{sync::oneshot, time::Instant};
use weltenwind_core::{
    Room,
    wire::{MessageBody, PresenceRecord},
};

use super::{
    Joined,
    event::{Event, GapCause},
    present::View,
    seen::Seen,
    statement::Statement,
};
use crate::{error::ClientError, retry::Backoff};

/// How a room stands on the present connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// It is to be joined, not before a moment if there is one.
    Wanted(Option<Instant>),
    /// It was asked for, by this request.
    Asked(i64),
    /// It is joined.
    Joined,
}

/// A room, and how far the program has heard of it. Both outlive connections.
#[derive(Debug)]
pub(super) struct Membership {
    pub(super) standing: Standing,
    /// The newest position that was told of.
    pub(super) cursor: Option<String>,
    /// The program that waits for the first join.
    pub(super) asker: Option<oneshot::Sender<Result<Joined, ClientError>>>,
    /// Something was thrown away for want of room, and is replayed once there is some.
    pub(super) behind: bool,
    /// Draws the pauses before it is asked for again, until it has told everything that was missed.
    pub(super) backoff: Backoff,
    /// What the program says of itself there.
    pub(super) state: Statement<Option<String>>,
    /// Who is there; none in a room that is not told of.
    pub(super) view: Option<View>,
    /// The position does not hold any more, which is told with the next join.
    lost: Option<GapCause>,
    seen: Seen,
}

/// What the server takes a record for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    News,
    Change,
}

impl Membership {
    pub(super) fn new(
        since: Option<String>,
        asker: oneshot::Sender<Result<Joined, ClientError>>,
        backoff: Backoff,
    ) -> Self {
        Self {
            standing: Standing::Wanted(None),
            cursor: since,
            asker: Some(asker),
            behind: false,
            backoff,
            state: Statement::default(),
            view: None,
            lost: None,
            seen: Seen::default(),
        }
    }

    /// The server cannot let the program in for the moment, and asks for a pause, perhaps none.
    pub(super) fn wait(&mut self, asked: Duration) {
        self.standing = Standing::Wanted(Some(Instant::now() + self.backoff.next().max(asked)));
        self.state.forget();
    }

    /// Notes that the position does not hold any more.
    pub(super) fn lose_position(&mut self, cause: GapCause) {
        if self.cursor.take().is_some() {
            self.lost = Some(cause);
        }
        self.seen.clear();
    }

    /// The room was joined; returns what the program hears of that.
    pub(super) fn joined(&mut self, room: Room, cursor: Option<String>, recovered: bool) -> Option<Event> {
        self.standing = Standing::Joined;
        self.behind = false;
        self.state.renew();
        // A position that was asked for stays until something comes after it: what could not be recovered is told as a gap,
        // and that record carries the new position.
        if self.cursor.is_none() {
            self.cursor.clone_from(&cursor);
        }
        if let Some(asker) = self.asker.take() {
            // Who asked may have gone; the room is joined all the same.
            let _ = asker.send(Ok(Joined { cursor: cursor.clone(), recovered }));
        }
        self.lost.take().map(|cause| Event::Gap { room, cause, cursor })
    }

    /// Takes who is there, and returns what the program hears of that.
    pub(super) fn take_present(&mut self, room: Room, snapshot: PresenceRecord) -> Event {
        self.view.get_or_insert_default().renew(room, snapshot)
    }

    /// Takes a message; nothing is told of one that was told of before in this state.
    ///
    /// Whether a message is news to the program is decided here, by its number. The server tells as news all that was posted
    /// since a replay began, also what this program was told before it left that replay; what comes as a change was told
    /// before, unless the cursor was sealed by an older server.
    pub(super) fn take(&mut self, kind: Kind, cursor: String, message: MessageBody) -> Option<Event> {
        let seq = message.seq;
        let is_known = self.seen.contains(seq);
        let is_changed = message.edited_at.is_some() || message.tombstone.is_some();
        if self.cursor.as_deref() == Some(cursor.as_str()) || (is_known && kind == Kind::News && !is_changed) {
            return None;
        }
        self.cursor = Some(cursor.clone());
        let is_news = !is_known && (kind == Kind::News || self.seen.passed_over(seq));
        if is_news {
            self.seen.insert(seq);
            return Some(Event::Message { message, cursor });
        }
        Some(Event::Updated { message, cursor })
    }

    /// Something was missed.
    pub(super) fn miss(&mut self, room: Room, cause: GapCause, cursor: String) -> Event {
        // The program reads the history anew, so what it has seen is not known here any more.
        self.seen.clear();
        self.cursor = Some(cursor.clone());
        Event::Gap { room, cause, cursor: Some(cursor) }
    }
}

#[cfg(test)]
mod tests {
    use weltenwind_core::{
        AccountId, ChannelId, IdGenerator as _, MessageId, SequentialIds, Timestamp, wire::MessageAuthor,
    };

    use super::*;

    fn membership() -> Membership {
        let pause = Duration::from_secs(2);
        let mut membership = Membership::new(None, oneshot::channel().0, Backoff::new(pause, pause));
        membership.joined(Room::Global, Some("0".to_owned()), false);
        membership
    }

    fn message(seq: i64, is_edited: bool) -> MessageBody {
        let ids = SequentialIds::default();
        let time = Timestamp::UNIX_EPOCH.into();
        MessageBody {
            id: MessageId::new(ids.draw()),
            channel_id: ChannelId::new(ids.draw()),
            seq,
            author: MessageAuthor { id: AccountId::new(ids.draw()), display_name: "Mira".to_owned() },
            body: Some("well met".to_owned()),
            client_id: None,
            reply_to: None,
            sent_at: time,
            edited_at: is_edited.then_some(time),
            flags: Vec::new(),
            tombstone: None,
        }
    }

    fn told(event: Option<Event>) -> (char, i64) {
        match event {
            Some(Event::Message { message, .. }) => ('m', message.seq),
            Some(Event::Updated { message, .. }) => ('u', message.seq),
            None => ('-', 0),
            other => panic!("{other:?} is unexpected"),
        }
    }

    #[test]
    fn a_message_is_news_once() {
        let mut room = membership();

        let told = [
            told(room.take(Kind::News, "1".to_owned(), message(1, false))),
            told(room.take(Kind::News, "1".to_owned(), message(1, false))),
            told(room.take(Kind::News, "2".to_owned(), message(2, false))),
            told(room.take(Kind::News, "1".to_owned(), message(1, false))),
            told(room.take(Kind::Change, "3".to_owned(), message(1, true))),
            told(room.take(Kind::News, "4".to_owned(), message(2, true))),
        ];

        assert_eq!(told, [('m', 1), ('-', 0), ('m', 2), ('-', 0), ('u', 1), ('u', 2)]);
        assert_eq!(room.cursor.as_deref(), Some("4"));
    }

    #[test]
    fn a_message_that_a_replay_passed_over_is_news_when_it_comes_as_a_change() {
        let mut room = membership();
        for seq in [1, 3] {
            room.take(Kind::News, seq.to_string(), message(seq, false));
        }

        assert_eq!(told(room.take(Kind::Change, "4".to_owned(), message(2, true))), ('m', 2));
        assert_eq!(told(room.take(Kind::Change, "5".to_owned(), message(2, true))), ('u', 2));
    }

    #[test]
    fn each_message_of_the_longest_replay_is_news_once_though_every_other_one_was_edited() {
        const EDITED: i64 = 3333;
        let mut room = membership();
        let (untouched, edited) = ((1..=EDITED).map(|n| 2 * n - 1), (1..=EDITED).map(|n| 2 * n));

        let told: Vec<_> = untouched
            .chain(edited)
            .map(|seq| told(room.take(Kind::News, seq.to_string(), message(seq, seq % 2 == 0))))
            .collect();

        assert!(told.iter().all(|(kind, _)| *kind == 'm'), "{told:?}");
    }

    #[test]
    fn a_message_from_before_the_join_is_changed_and_never_news() {
        let mut room = membership();

        assert_eq!(told(room.take(Kind::Change, "1".to_owned(), message(7, true))), ('u', 7));
        room.take(Kind::News, "2".to_owned(), message(9, false));
        assert_eq!(told(room.take(Kind::Change, "3".to_owned(), message(7, true))), ('u', 7));
    }

    #[test]
    fn numbers_begin_anew_behind_a_gap() {
        let mut room = membership();
        for seq in [1, 2, 3] {
            room.take(Kind::News, seq.to_string(), message(seq, false));
        }

        room.miss(Room::Global, GapCause::Epoch, "n0".to_owned());

        assert_eq!(told(room.take(Kind::News, "n1".to_owned(), message(1, false))), ('m', 1));
    }

    #[test]
    fn a_lost_position_is_told_with_the_next_join() {
        let mut room = membership();
        room.lose_position(GapCause::Cursor);

        let told = room.joined(Room::Global, Some("9".to_owned()), false);

        assert!(matches!(told, Some(Event::Gap { cause: GapCause::Cursor, cursor: Some(at), .. }) if at == "9"));
        assert!(room.joined(Room::Global, Some("9".to_owned()), false).is_none());
    }
}
