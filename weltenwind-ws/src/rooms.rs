//! The rooms that a socket has joined, and what it hears from them.

use std::{
    collections::BTreeMap,
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{
    FutureExt as _, Stream, StreamExt as _,
    stream::{self, AbortHandle, Abortable, FuturesUnordered},
};
use weltenwind_core::{
    ChannelId, Class, Classify as _, CursorSealer, Room, Timestamp, chain,
    chat::{ChatError, GapCause, LiveChannel, LiveEvent},
    wire::ServerRecord,
};

use crate::records;

/// What a joined room tells its socket: a finished record, the same bytes for every listener.
#[derive(Debug)]
pub(crate) struct Heard {
    pub(crate) record: Bytes,
    pub(crate) what: What,
}

/// What a record tells, for who counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    /// What happened before the join.
    Replay,
    /// A message that was accepted just now, at this time.
    News(Timestamp),
    /// A message was edited or removed just now.
    Change,
    /// Everything before was replay.
    Live,
    /// Something was missed and is not replayed.
    Gap(GapCause),
}

/// Everything that one joined room tells one socket, in order, each record finished.
///
/// This is the seam between sockets and the fan-out. Now it is a [`LiveChannel`] of one's own that pulls from the bus and
/// the store; an engine that shares one ring of frames among all sockets of a room only has to answer this stream. What is
/// demanded of it: nothing is fetched before it is polled, so that a slow reader costs nothing but its place; and a room
/// that can no longer be heard ends with an error.
pub(crate) struct RoomFeed(Pin<Box<dyn Stream<Item = Result<Heard, ChatError>> + Send>>);

/// Pauses before the store is asked again after it was away.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

impl RoomFeed {
    /// Follows a channel.
    pub(crate) fn of_channel(channel: ChannelId, live: LiveChannel, cursors: CursorSealer) -> Self {
        let listener = Listener { channel, live, cursors, is_replay: true };
        Self(Box::pin(stream::try_unfold(listener, async |mut listener| {
            let heard = listener.hear().await?;
            Ok(Some((heard, listener)))
        })))
    }
}

impl Stream for RoomFeed {
    type Item = Result<Heard, ChatError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.as_mut().poll_next(cx)
    }
}

impl fmt::Debug for RoomFeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RoomFeed").finish_non_exhaustive()
    }
}

struct Listener {
    channel: ChannelId,
    live: LiveChannel,
    cursors: CursorSealer,
    is_replay: bool,
}

impl Listener {
    /// Waits for the next event; while the store is away the room is late, not lost.
    async fn hear(&mut self) -> Result<Heard, ChatError> {
        let mut pause = FIRST_PAUSE;
        loop {
            match self.live.next().await {
                Ok(event) => return Ok(self.finish(event)),
                Err(error) if error.class() == Class::Unavailable => {
                    tracing::warn!(channel = %self.channel, error = chain(&error), "a room is late");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn finish(&mut self, event: LiveEvent) -> Heard {
        let room = Room::Channel(self.channel);
        let (event, is_news) = match event {
            LiveEvent::Posted(event) => (event, true),
            LiveEvent::Updated(event) => (event, false),
            LiveEvent::Live => {
                self.is_replay = false;
                return Heard { record: records::write(&ServerRecord::Live { room }), what: What::Live };
            }
            LiveEvent::Gap(cause) => {
                let cursor = self.cursors.seal_room(self.channel, self.live.position());
                let record = ServerRecord::Gap { room, cause: name_of(cause).to_owned(), cursor };
                return Heard { record: records::write(&record), what: What::Gap(cause) };
            }
        };
        let what = match (self.is_replay, is_news) {
            (true, _) => What::Replay,
            (false, true) => What::News(event.message.sent_at),
            (false, false) => What::Change,
        };
        // An event from the bus is one for all its listeners, so the first of them encodes for all.
        let record = event.encoded(|event| records::write_event(event, is_news, &self.cursors));
        Heard { record, what }
    }
}

/// Returns the word for a cause, as it is sent and counted.
pub(crate) const fn name_of(cause: GapCause) -> &'static str {
    match cause {
        GapCause::Window => "window",
        GapCause::Epoch => "epoch",
    }
}

/// The rooms of one socket.
#[derive(Debug, Default)]
pub(crate) struct Rooms {
    joined: BTreeMap<Room, Option<AbortHandle>>,
    turns: FuturesUnordered<Turn>,
}

/// What one room has told at once.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) room: Room,
    pub(crate) heard: Vec<Heard>,
    /// Why nothing more will come.
    pub(crate) ended: Option<ChatError>,
}

impl Rooms {
    pub(crate) fn contains(&self, room: Room) -> bool {
        self.joined.contains_key(&room)
    }

    pub(crate) fn len(&self) -> usize {
        self.joined.len()
    }

    pub(crate) fn names(&self) -> Vec<Room> {
        self.joined.keys().copied().collect()
    }

    /// Joins a room; one without a feed is silent.
    pub(crate) fn join(&mut self, room: Room, feed: Option<RoomFeed>) {
        let handle = feed.map(|feed| {
            let (handle, registration) = AbortHandle::new_pair();
            self.turns.push(Turn { room, feed: Some(Abortable::new(feed, registration)) });
            handle
        });
        self.joined.insert(room, handle);
    }

    /// Leaves a room and returns whether it was joined. Nothing more is heard of it.
    pub(crate) fn leave(&mut self, room: Room) -> bool {
        let Some(handle) = self.joined.remove(&room) else { return false };
        if let Some(handle) = handle {
            handle.abort();
        }
        true
    }

    /// Waits until a room tells something. Dropping the future loses nothing.
    pub(crate) async fn next(&mut self) -> Told {
        loop {
            let Some((told, feed)) = self.turns.next().await else {
                return std::future::pending().await;
            };
            if let Some(told) = self.take(told, feed) {
                return told;
            }
        }
    }

    /// Returns what a room tells right now.
    pub(crate) fn next_ready(&mut self) -> Option<Told> {
        self.next().now_or_never()
    }

    /// Gives a feed its next turn, and drops what a room told that was left meanwhile.
    fn take(&mut self, told: Told, feed: Abortable<RoomFeed>) -> Option<Told> {
        if feed.is_aborted() {
            return None;
        }
        if told.ended.is_some() {
            self.joined.remove(&told.room);
        } else {
            self.turns.push(Turn { room: told.room, feed: Some(feed) });
        }
        Some(told)
    }
}

/// One room's turn: it lasts until the room has something to tell, and takes along what else is there.
#[derive(Debug)]
struct Turn {
    room: Room,
    feed: Option<Abortable<RoomFeed>>,
}

/// A room with much to tell lets others have their turn after so many events or bytes.
const TURN_EVENTS: usize = 64;
const TURN_BYTES: usize = 16 * 1024;

impl Future for Turn {
    type Output = (Told, Abortable<RoomFeed>);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let room = self.room;
        let feed = self.feed.as_mut().expect("a turn is not polled once it is over");
        let mut told = Told { room, heard: Vec::new(), ended: None };
        let mut bytes = 0;
        // What is told first is waited for; what else is there comes along.
        let mut next = ready!(feed.poll_next_unpin(cx));
        loop {
            match next {
                Some(Ok(heard)) => {
                    bytes += heard.record.len();
                    told.heard.push(heard);
                }
                Some(Err(error)) => {
                    told.ended = Some(error);
                    break;
                }
                // The room was left.
                None => break,
            }
            if told.heard.len() >= TURN_EVENTS || bytes >= TURN_BYTES {
                break;
            }
            match feed.poll_next_unpin(cx) {
                Poll::Ready(more) => next = more,
                Poll::Pending => break,
            }
        }
        Poll::Ready((told, self.feed.take().expect("the feed was just polled")))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use weltenwind_core::{
        Actor, Scope, SystemClock,
        chat::{ChannelDraft, Chat, Draft, MemoryChatStore},
        limits::{Limits, LimitsConfig, Quota, Unit},
    };

    use super::*;

    async fn follow(chat: &Chat, channel: ChannelId) -> RoomFeed {
        let live = chat.listen(&Actor::player("Mira"), channel, None).await.unwrap();
        RoomFeed::of_channel(channel, live, CursorSealer::new([7; 32]))
    }

    async fn channel(chat: &Chat, slug: &str) -> ChannelId {
        chat.open_channel(&Actor::operator(), ChannelDraft::new(Scope::Global, slug, slug)).await.unwrap().id
    }

    #[tokio::test]
    async fn an_event_is_encoded_once_for_all_who_hear_it() {
        let chat = Chat::in_memory();
        let lobby = channel(&chat, "lobby").await;
        let (mut one, mut other) = (follow(&chat, lobby).await, follow(&chat, lobby).await);
        for feed in [&mut one, &mut other] {
            assert_eq!(feed.next().await.unwrap().unwrap().what, What::Live);
        }

        chat.post(&Actor::player("Lu"), Draft::new(lobby, "well met")).await.unwrap();

        let (one, other) = (one.next().await.unwrap().unwrap(), other.next().await.unwrap().unwrap());
        assert!(matches!(one.what, What::News(_)));
        assert_eq!(one.record.as_ptr(), other.record.as_ptr(), "the bytes are the same, not equal");
    }

    #[tokio::test]
    async fn a_room_with_much_to_tell_does_not_keep_others_from_being_heard() {
        let quota = Quota::per(1_000_000, Unit::Second);
        let limits = Limits::in_process(Arc::new(SystemClock), LimitsConfig::uniform(quota));
        let chat = Chat::builder(Arc::new(MemoryChatStore::default())).limits(limits).build();
        let (loud, quiet) = (channel(&chat, "loud").await, channel(&chat, "quiet").await);
        let mut rooms = Rooms::default();
        for id in [loud, quiet] {
            rooms.join(Room::Channel(id), Some(follow(&chat, id).await));
        }
        while rooms.next_ready().is_some() {}

        let post = async |id, body: String| chat.post(&Actor::player("Lu"), Draft::new(id, body)).await.unwrap();
        for n in 0..200 {
            post(loud, format!("{n}")).await;
        }
        post(quiet, "a word".to_owned()).await;

        let (first, second) = (rooms.next().await, rooms.next().await);
        assert!(first.heard.len() <= TURN_EVENTS);
        assert_eq!((first.room, second.room), (Room::Channel(loud), Room::Channel(quiet)));
    }

    #[tokio::test]
    async fn a_room_that_was_left_holds_nothing_and_tells_nothing() {
        let chat = Chat::in_memory();
        let lobby = channel(&chat, "lobby").await;
        let mut rooms = Rooms::default();
        rooms.join(Room::Channel(lobby), Some(follow(&chat, lobby).await));
        while rooms.next_ready().is_some() {}

        chat.post(&Actor::player("Lu"), Draft::new(lobby, "unheard")).await.unwrap();
        assert!(rooms.leave(Room::Channel(lobby)) && !rooms.leave(Room::Channel(lobby)));

        assert!(rooms.next_ready().is_none() && rooms.turns.is_empty());
    }
}
