//! The bus inside one process.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use async_trait::async_trait;
use tokio::sync::{broadcast, watch};

use super::{
    model::{BusLag, RoomEvent},
    port::Bus,
};
use crate::room::Room;

/// Events that a listener may be behind before it reads the store instead.
const BACKLOG: usize = 256;

/// An event, or none where events were missed.
type Signal = Option<Arc<RoomEvent>>;

/// Receives a room's events.
#[derive(Debug)]
pub struct Subscription {
    signals: broadcast::Receiver<Signal>,
    _room: Arc<RoomGuard>,
}

impl Subscription {
    /// Waits for the next event. Dropping the future loses nothing.
    ///
    /// # Errors
    ///
    /// [`BusLag`] if this listener was too slow, or the bus lost its connection.
    pub async fn next(&mut self) -> Result<Arc<RoomEvent>, BusLag> {
        match self.signals.recv().await {
            Ok(signal) => signal.ok_or(BusLag),
            Err(broadcast::error::RecvError::Lagged(_)) => Err(BusLag),
            // The guard keeps the sender alive, so the room cannot close under a listener.
            Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }

    /// Takes the next event if one is there.
    ///
    /// # Errors
    ///
    /// As [`next`](Self::next).
    pub fn try_next(&mut self) -> Result<Option<Arc<RoomEvent>>, BusLag> {
        match self.signals.try_recv() {
            Ok(signal) => signal.map(Some).ok_or(BusLag),
            Err(broadcast::error::TryRecvError::Lagged(_)) => Err(BusLag),
            Err(broadcast::error::TryRecvError::Empty | broadcast::error::TryRecvError::Closed) => Ok(None),
        }
    }
}

type Rooms = Arc<Mutex<BTreeMap<Room, RoomEntry>>>;

#[derive(Debug)]
struct RoomEntry {
    signals: broadcast::Sender<Signal>,
    guard: Weak<RoomGuard>,
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

fn lock(rooms: &Rooms) -> MutexGuard<'_, BTreeMap<Room, RoomEntry>> {
    rooms.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Tells that the log of losses has grown.
#[derive(Debug, Clone, Default)]
pub struct LossHints(Option<watch::Receiver<()>>);

impl LossHints {
    /// Waits for a hint that was not heard before; several are one. Dropping the future loses nothing.
    pub async fn next(&mut self) {
        if let Some(hints) = &mut self.0
            && hints.changed().await.is_ok()
        {
            return;
        }
        // Nobody is left to give one.
        self.0 = None;
        std::future::pending::<()>().await;
    }
}

/// The bus inside one process, and the fan-out behind every bus between processes.
#[derive(Debug, Default)]
pub struct LocalBus {
    rooms: Rooms,
    losses: watch::Sender<()>,
}

impl LocalBus {
    /// Tells the listeners of the event's room.
    pub fn deliver(&self, event: Arc<RoomEvent>) {
        self.signal(Room::Channel(event.channel()), Some(event));
    }

    /// Listens to a room.
    pub fn listen(&self, room: Room) -> Subscription {
        let mut rooms = lock(&self.rooms);
        let entry = rooms
            .entry(room)
            .or_insert_with(|| RoomEntry { signals: broadcast::channel(BACKLOG).0, guard: Weak::new() });
        let guard = entry.guard.upgrade().unwrap_or_else(|| {
            let guard = Arc::new(RoomGuard { room, rooms: Arc::clone(&self.rooms) });
            entry.guard = Arc::downgrade(&guard);
            guard
        });
        Subscription { signals: entry.signals.subscribe(), _room: guard }
    }

    /// Tells the listeners of a room that events may have been missed: each hears [`BusLag`] and reads the store.
    pub fn miss(&self, room: Room) {
        self.signal(room, None);
    }

    /// The same for every room, after the connection to a broker was lost and found again.
    pub fn miss_all(&self) {
        for entry in lock(&self.rooms).values() {
            let _ = entry.signals.send(None);
        }
    }

    /// Lists the rooms that somebody listens to.
    pub fn rooms(&self) -> Vec<Room> {
        lock(&self.rooms).keys().copied().collect()
    }

    /// Returns whether somebody listens to a room: what comes for another one need not be read.
    pub fn has_listeners(&self, room: Room) -> bool {
        lock(&self.rooms).contains_key(&room)
    }

    /// Says here that the log of losses has grown.
    pub fn hint(&self) {
        self.losses.send_replace(());
    }

    /// Listens for such hints.
    pub fn hints(&self) -> LossHints {
        LossHints(Some(self.losses.subscribe()))
    }

    fn signal(&self, room: Room, signal: Signal) {
        if let Some(entry) = lock(&self.rooms).get(&room) {
            // Without a listener there is nobody to tell.
            let _ = entry.signals.send(signal);
        }
    }
}

#[async_trait]
impl Bus for LocalBus {
    async fn publish(&self, event: Arc<RoomEvent>) {
        self.deliver(event);
    }

    async fn subscribe(&self, room: Room) -> Subscription {
        self.listen(room)
    }

    async fn hint_losses(&self) {
        self.hint();
    }

    fn loss_hints(&self) -> LossHints {
        self.hints()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::conformance::Nodes;

    crate::bus_conformance!(async { ((), Nodes::one(LocalBus::default())) });

    #[tokio::test]
    async fn what_was_missed_is_told_in_its_place() {
        let bus = LocalBus::default();
        let room = Room::Channel(RoomEvent::sample(1, 1).channel());
        let (mut here, mut elsewhere) = (bus.listen(room), bus.listen(Room::Global));

        bus.deliver(Arc::new(RoomEvent::sample(1, 1)));
        bus.miss(room);
        bus.deliver(Arc::new(RoomEvent::sample(1, 3)));
        bus.miss_all();

        assert_eq!(here.next().await.unwrap().message.change.get(), 1);
        assert_eq!(here.next().await.unwrap_err(), BusLag);
        assert_eq!(here.next().await.unwrap().message.change.get(), 3);
        assert_eq!(here.next().await.unwrap_err(), BusLag);
        assert_eq!(elsewhere.next().await.unwrap_err(), BusLag);
    }

    #[test]
    fn a_room_without_listeners_costs_nothing() {
        let bus = LocalBus::default();
        let listener = bus.listen(Room::Global);
        assert_eq!(bus.rooms(), [Room::Global]);
        assert!(bus.has_listeners(Room::Global));

        drop(listener);

        assert!(bus.rooms().is_empty());
        assert!(!bus.has_listeners(Room::Global));
    }
}
