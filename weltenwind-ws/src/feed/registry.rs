//! The rooms that somebody on this node is in.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, Weak},
};

use weltenwind_core::{
    CursorSealer, Room, Services,
    chat::{Chat, ChatError},
    presence::Presence,
};

use super::{Budget, Channel, Feed, MOST_KEPT, lock, source, whispers};
use crate::{bell::Bell, metrics::Metrics};

/// Every room of this node, each with one feed.
#[derive(Debug)]
pub(crate) struct Feeds {
    shared: Arc<Shared>,
}

#[derive(Debug)]
pub(super) struct Shared {
    chat: Chat,
    cursors: CursorSealer,
    presence: Arc<Presence>,
    rooms: Mutex<BTreeMap<Room, Arc<Feed>>>,
    budget: Arc<Budget>,
}

impl Feeds {
    /// Every ring together keeps at most `bytes`, and rooms and bytes are counted.
    pub(crate) fn new(services: &Services, bytes: usize, metrics: &Metrics) -> Self {
        let (rooms, counted, pages) = (metrics.rooms.clone(), metrics.ring_bytes.clone(), metrics.page_bytes.clone());
        let budget = Arc::new(Budget { total: bytes, kept: MOST_KEPT.into(), rooms, bytes: counted, pages });
        let (chat, cursors, presence) =
            (services.chat.clone(), services.cursors.clone(), Arc::clone(&services.presence));
        Self { shared: Arc::new(Shared { chat, cursors, presence, rooms: Mutex::default(), budget }) }
    }

    /// Attends a room: from when this returns, the bell rings whenever the room has something to tell.
    pub(crate) async fn attend(&self, room: Room, bell: &Arc<Bell>) -> Result<Attendance, ChatError> {
        loop {
            let attendance = self.shared.enter(room, bell);
            if let Some(channel) = &attendance.feed.channel {
                let start = source::start(&self.shared, &attendance.feed, channel);
                channel.is_followed.get_or_try_init(|| start).await?;
            }
            // A room that ended is another one for who comes later.
            match attendance.feed.ended() {
                None => return Ok(attendance),
                Some(_) => self.shared.forget(&attendance.feed),
            }
        }
    }

    /// Asks something of all who are in any room; every socket is in that of its account.
    pub(crate) fn summon(&self) {
        let feeds: Vec<Arc<Feed>> = lock(&self.shared.rooms).values().cloned().collect();
        for feed in feeds {
            feed.for_each_bell(Bell::summon);
        }
    }

    /// Attends a room without messages; it is there at once.
    pub(crate) fn attend_silent(&self, room: Room, bell: &Arc<Bell>) -> Attendance {
        self.shared.enter(room, bell)
    }
}

impl Shared {
    fn enter(self: &Arc<Self>, room: Room, bell: &Arc<Bell>) -> Attendance {
        let mut rooms = lock(&self.rooms);
        let feed = rooms.entry(room).or_insert_with(|| {
            let channel = match room {
                Room::Channel(id) => Some(Box::new(Channel::new(id, self.chat.shared(id), self.cursors.clone()))),
                _ => None,
            };
            let feed = Arc::new(Feed::new(room, channel, Arc::clone(&self.budget)));
            if !matches!(room, Room::User(_)) {
                whispers::follow(&self.presence, &feed);
            }
            feed
        });
        // Under the lock, so that nobody enters a room that is just given up.
        let seat = {
            let mut bells = lock(&feed.bells);
            if bells.is_empty() {
                // Most rooms are those of one account, which has one socket.
                bells.reserve_exact(1);
            }
            bells.insert(Arc::clone(bell))
        };
        let attendance = Attendance { feed: Arc::clone(feed), seat, rooms: Arc::downgrade(self) };
        self.budget.share(rooms.len());
        attendance
    }

    /// Gives a room up in which nobody is; answers whether it is gone.
    pub(super) fn give_up(&self, feed: &Arc<Feed>) -> bool {
        let mut rooms = lock(&self.rooms);
        let is_empty = lock(&feed.bells).is_empty();
        if is_empty {
            Self::remove(&mut rooms, feed);
            self.budget.share(rooms.len());
        }
        is_empty
    }

    /// Takes a room off the list; who is in it stays there.
    pub(super) fn forget(&self, feed: &Arc<Feed>) {
        Self::remove(&mut lock(&self.rooms), feed);
    }

    fn remove(rooms: &mut BTreeMap<Room, Arc<Feed>>, feed: &Arc<Feed>) {
        if rooms.get(&feed.room).is_some_and(|known| Arc::ptr_eq(known, feed)) {
            rooms.remove(&feed.room);
        }
    }
}

/// A place in a room, until it is dropped.
#[derive(Debug)]
pub(crate) struct Attendance {
    pub(crate) feed: Arc<Feed>,
    seat: usize,
    rooms: Weak<Shared>,
}

impl Drop for Attendance {
    fn drop(&mut self) {
        lock(&self.feed.bells).remove(self.seat);
        // A channel's room is given up by who fills it, a while later: its readers may be back in a moment.
        let is_followed = self.feed.channel.as_ref().is_some_and(|channel| channel.is_followed.initialized());
        if !is_followed && let Some(rooms) = self.rooms.upgrade() {
            rooms.give_up(&self.feed);
        }
    }
}
