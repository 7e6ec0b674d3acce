//! The bus: how a change in one place reaches listeners elsewhere, soon and without a promise.
//!
//! The store is the truth, the bus is a hint. An event may be lost, doubled or late; a listener that sees a hole in the
//! numbers, or has heard nothing for a while, reads the store.

use std::{
    collections::HashMap,
    fmt::Debug,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::broadcast;

use crate::{chat::Message, ids::ChannelId, room::Room};

/// Something happened in a room.
#[derive(Debug)]
pub struct RoomEvent {
    /// The message in its new state; its `change` is the event's number in the room.
    pub message: Message,
    /// The life of the channel's counters.
    pub epoch: u32,
    encoded: OnceLock<Bytes>,
}

impl RoomEvent {
    /// Tells of a message.
    pub const fn new(message: Message, epoch: u32) -> Self {
        Self { message, epoch, encoded: OnceLock::new() }
    }

    /// Returns the room it happened in.
    pub const fn channel(&self) -> ChannelId {
        self.message.channel
    }

    /// Returns the event as a host's finished frame: the first listener encodes, all others share.
    pub fn encoded(&self, encode: impl FnOnce(&Self) -> Bytes) -> Bytes {
        self.encoded.get_or_init(|| encode(self)).clone()
    }
}

/// Carries events from who publishes to who listens.
#[async_trait]
pub trait Bus: Debug + Send + Sync + 'static {
    /// Tells the listeners of a room, here and on other nodes. A bus that is away drops the event and counts it; nothing
    /// is lost by that, since listeners read the store.
    async fn publish(&self, event: Arc<RoomEvent>);

    /// Listens to a room. When this returns, every event published from now on is either received or noticed as
    /// [`BusLag`].
    async fn subscribe(&self, room: Room) -> Subscription;
}

/// Events were missed; the store has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("events were missed")]
pub struct BusLag;

/// Receives a room's events.
#[derive(Debug)]
pub struct Subscription {
    events: broadcast::Receiver<Arc<RoomEvent>>,
    _room: Arc<RoomGuard>,
}

impl Subscription {
    /// Waits for the next event. Dropping the future loses nothing.
    ///
    /// # Errors
    ///
    /// [`BusLag`] if this listener was too slow, or the bus lost its connection.
    pub async fn next(&mut self) -> Result<Arc<RoomEvent>, BusLag> {
        match self.events.recv().await {
            Ok(event) => Ok(event),
            Err(broadcast::error::RecvError::Lagged(_)) => Err(BusLag),
            // The guard keeps the sender alive, so the room cannot close under a listener.
            Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }
}

/// Events that a listener may be behind before it reads the store instead.
const BACKLOG: usize = 256;

type Rooms = Arc<Mutex<HashMap<Room, RoomEntry>>>;

#[derive(Debug)]
struct RoomEntry {
    events: broadcast::Sender<Arc<RoomEvent>>,
    guard: std::sync::Weak<RoomGuard>,
}

/// Held by every listener of a room; the last one takes the room off the table.
#[derive(Debug)]
struct RoomGuard {
    room: Room,
    rooms: Rooms,
}

impl Drop for RoomGuard {
    fn drop(&mut self) {
        let mut rooms = lock(&self.rooms);
        // A new listener may have opened the room again between the last drop and this lock.
        if rooms.get(&self.room).is_some_and(|entry| entry.guard.strong_count() == 0) {
            rooms.remove(&self.room);
        }
    }
}

fn lock(rooms: &Rooms) -> MutexGuard<'_, HashMap<Room, RoomEntry>> {
    rooms.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The bus inside one process.
#[derive(Debug, Default)]
pub struct LocalBus {
    rooms: Rooms,
}

#[async_trait]
impl Bus for LocalBus {
    async fn publish(&self, event: Arc<RoomEvent>) {
        let rooms = lock(&self.rooms);
        if let Some(entry) = rooms.get(&Room::Channel(event.channel())) {
            // Without a listener there is nobody to tell.
            let _ = entry.events.send(event);
        }
    }

    async fn subscribe(&self, room: Room) -> Subscription {
        let mut rooms = lock(&self.rooms);
        let entry = rooms
            .entry(room)
            .or_insert_with(|| RoomEntry { events: broadcast::channel(BACKLOG).0, guard: std::sync::Weak::new() });
        let guard = entry.guard.upgrade().unwrap_or_else(|| {
            let guard = Arc::new(RoomGuard { room, rooms: Arc::clone(&self.rooms) });
            entry.guard = Arc::downgrade(&guard);
            guard
        });
        Subscription { events: entry.events.subscribe(), _room: guard }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::{Change, NewMessage, Seq};

    fn event(change: i64) -> Arc<RoomEvent> {
        let new = NewMessage::sample("well met");
        let message = Message {
            id: new.id,
            channel: new.channel,
            seq: Seq::new(change),
            posted_change: Change::new(change),
            change: Change::new(change),
            author: new.author,
            body: Some(new.body),
            client_id: new.client_id,
            reply_to: None,
            sent_at: new.sent_at,
            edited_at: None,
            tombstone: None,
        };
        Arc::new(RoomEvent::new(message, 7))
    }

    #[tokio::test]
    async fn every_listener_of_a_room_hears_what_is_published() {
        let bus = LocalBus::default();
        let room = Room::Channel(event(1).channel());
        let (mut one, mut other) = (bus.subscribe(room).await, bus.subscribe(room).await);

        bus.publish(event(1)).await;

        assert_eq!(one.next().await.unwrap().message.change, Change::new(1));
        assert_eq!(other.next().await.unwrap().message.change, Change::new(1));
    }

    #[tokio::test]
    async fn a_slow_listener_notices_that_it_missed_something() {
        let bus = LocalBus::default();
        let mut slow = bus.subscribe(Room::Channel(event(1).channel())).await;

        for change in 1..=i64::try_from(BACKLOG).unwrap() + 1 {
            bus.publish(event(change)).await;
        }

        assert_eq!(slow.next().await.map(|event| event.message.change), Err(BusLag));
    }

    #[tokio::test]
    async fn a_room_without_listeners_costs_nothing() {
        let bus = LocalBus::default();

        drop(bus.subscribe(Room::Global).await);

        assert!(lock(&bus.rooms).is_empty());
    }
}
