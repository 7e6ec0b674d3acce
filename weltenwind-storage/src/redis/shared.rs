//! What the bus and its connection share: listeners, names, and what is known of Redis.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use redis::{PushInfo, PushKind, Value};
use tokio::sync::Notify;
use weltenwind_core::{
    RandomSource as _, Room, SystemRandom,
    bus::{BusAway, BusCounts, LocalBus, RoomEvent},
    notifications::{LocalNotices, Notice},
};

use super::pulse::Pulse;

/// Marks which node an event comes from; drawn at start.
type Mark = [u8; 8];

pub(super) struct Shared {
    pub(super) local: LocalBus,
    pub(super) notices: LocalNotices,
    pub(super) pulse: Pulse,
    pub(super) tally: Tally,
    mark: Mark,
    prefix: String,
    up: AtomicBool,
    /// Why there is no connection.
    failure: Mutex<String>,
    /// The rooms that Redis tells this node of, and since when nobody here listens to them.
    followed: Mutex<HashMap<Room, Option<Instant>>>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("prefix", &self.prefix).field("up", &self.up).finish_non_exhaustive()
    }
}

impl Shared {
    pub(super) fn new(prefix: &str) -> Self {
        let mut mark = Mark::default();
        SystemRandom.fill(&mut mark);
        Self {
            local: LocalBus::default(),
            notices: LocalNotices::default(),
            pulse: Pulse::default(),
            tally: Tally::default(),
            mark,
            prefix: prefix.to_owned(),
            up: AtomicBool::new(false),
            failure: Mutex::new("not connected yet".to_owned()),
            followed: Mutex::default(),
        }
    }

    /// Returns the name of a room's channel.
    pub(super) fn name_of(&self, room: Room) -> String {
        format!("{}:{{{room}}}", self.prefix)
    }

    /// Returns the name of the channel on which this node hears itself.
    pub(super) fn own_name(&self) -> String {
        format!("{}:{{node:{:016x}}}", self.prefix, u64::from_be_bytes(self.mark))
    }

    /// Returns the name of the channel on which nodes hear that the log of losses has grown.
    pub(super) fn losses_name(&self) -> String {
        format!("{}:{{losses}}", self.prefix)
    }

    /// Returns the name of the channel on which nodes hear that there is news for accounts.
    pub(super) fn notices_name(&self) -> String {
        format!("{}:{{notices}}", self.prefix)
    }

    /// Appends a notice as it is published.
    pub(super) fn write_notice(&self, notice: Notice, buffer: &mut Vec<u8>) {
        buffer.extend_from_slice(&self.mark);
        serde_json::to_writer(buffer, &notice).expect("a notice is plain data");
    }

    /// Appends a hint as it is published: who gives it, and nothing else.
    pub(super) fn write_hint(&self, buffer: &mut Vec<u8>) {
        buffer.extend_from_slice(&self.mark);
    }

    /// Appends an event as it is published.
    pub(super) fn write(&self, event: &RoomEvent, buffer: &mut Vec<u8>) {
        buffer.extend_from_slice(&self.mark);
        event.write_wire(buffer);
    }

    /// Returns whether events are taken and rooms are asked for.
    pub(super) fn is_up(&self) -> bool {
        self.up.load(Ordering::SeqCst)
    }

    pub(super) fn come_up(&self) {
        self.up.store(true, Ordering::SeqCst);
    }

    pub(super) fn go_down(&self, why: String) {
        self.up.store(false, Ordering::SeqCst);
        lock(&self.followed).clear();
        *lock(&self.failure) = why;
    }

    pub(super) fn check(&self) -> Result<(), BusAway> {
        if self.is_up() { Ok(()) } else { Err(BusAway(lock(&self.failure).clone())) }
    }

    /// Returns whether Redis tells this node of a room.
    pub(super) fn follows(&self, room: Room) -> bool {
        lock(&self.followed).contains_key(&room)
    }

    /// Notes rooms that Redis tells of from now on.
    pub(super) fn follow(&self, rooms: impl IntoIterator<Item = Room>) {
        lock(&self.followed).extend(rooms.into_iter().map(|room| (room, None)));
    }

    /// Takes the rooms off that nobody here has listened to for `linger`.
    pub(super) fn unfollow(&self, linger: Duration, now: Instant) -> Vec<Room> {
        let mut followed = lock(&self.followed);
        // Under the lock: a listener that came before is seen here, one that comes later finds its room gone and asks.
        let heard: std::collections::HashSet<Room> = self.local.rooms().into_iter().collect();
        let mut left = Vec::new();
        followed.retain(|room, silent_since| {
            if heard.contains(room) {
                *silent_since = None;
                return true;
            }
            let since = *silent_since.get_or_insert(now);
            let stays = now.saturating_duration_since(since) < linger;
            if !stays {
                left.push(*room);
            }
            stays
        });
        left
    }

    pub(super) fn counts(&self) -> BusCounts {
        BusCounts { round_trip: self.pulse.round_trip(), ..self.tally.counts() }
    }

    /// Takes what Redis tells.
    fn hear(&self, data: &[Value]) {
        let [Value::BulkString(name), Value::BulkString(payload)] = data else { return };
        if name == self.own_name().as_bytes() {
            return self.pulse.echo(payload, Instant::now());
        }
        let Some((mark, event)) = payload.split_at_checked(self.mark.len()) else {
            return self.tally.unreadable();
        };
        if mark == self.mark {
            return;
        }
        if name == self.losses_name().as_bytes() {
            self.tally.received();
            return self.local.hint();
        }
        if name == self.notices_name().as_bytes() {
            return match serde_json::from_slice(event) {
                Ok(notice) => {
                    self.tally.received();
                    self.notices.tell(notice);
                }
                Err(error) => {
                    tracing::debug!(%error, "a notice of another node is passed over");
                    self.tally.unreadable();
                }
            };
        }
        match RoomEvent::from_wire(event) {
            Ok(event) => {
                self.tally.received();
                self.local.deliver(Arc::new(event));
            }
            Err(error) => {
                tracing::debug!(%error, "an event of another node is passed over");
                self.tally.unreadable();
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Hears what Redis tells a connection. It runs in the connection's own task, so nothing waits between socket and
/// listeners, and a node that is too slow is slow for Redis, which cuts it off in the end.
pub(super) struct Ear {
    pub(super) shared: Arc<Shared>,
    pub(super) closed: Arc<Notify>,
}

impl redis::aio::AsyncPushSender for Ear {
    fn send(&self, push: PushInfo) -> Result<(), redis::aio::SendError> {
        match push.kind {
            PushKind::SMessage => self.shared.hear(&push.data),
            PushKind::Disconnection => self.closed.notify_one(),
            _ => {}
        }
        Ok(())
    }
}

#[derive(Debug, Default)]
pub(super) struct Tally {
    published: AtomicU64,
    received: AtomicU64,
    dropped: AtomicU64,
    unreadable: AtomicU64,
    connections: AtomicU64,
}

impl Tally {
    pub(super) fn published(&self, events: u64) {
        self.published.fetch_add(events, Ordering::Relaxed);
    }

    pub(super) fn dropped(&self, events: u64) {
        self.dropped.fetch_add(events, Ordering::Relaxed);
    }

    pub(super) fn connected(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    fn received(&self) {
        self.received.fetch_add(1, Ordering::Relaxed);
    }

    fn unreadable(&self) {
        self.unreadable.fetch_add(1, Ordering::Relaxed);
    }

    fn counts(&self) -> BusCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        BusCounts {
            published: read(&self.published),
            received: read(&self.received),
            dropped: read(&self.dropped),
            unreadable: read(&self.unreadable),
            reconnects: read(&self.connections).saturating_sub(1),
            round_trip: None,
        }
    }
}
