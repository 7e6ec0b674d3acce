//! What the bus and its connection share: listeners, names, and what is known of Redis.

use std::{
    collections::{BTreeSet, HashMap},
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
    ChannelId, RandomSource as _, Room, SystemRandom,
    bus::{BusAway, BusCounts, LocalBus, RoomEvent},
    notifications::{LocalNotices, Notice},
};

use super::{partition::Partition, pulse::Pulse};

/// Marks which node an event comes from; drawn at start.
type Mark = [u8; 8];

/// The bytes that name the channel between the mark and the event.
const CHANNEL_LENGTH: usize = size_of::<uuid::Bytes>();

pub(super) struct Shared {
    pub(super) local: LocalBus,
    pub(super) notices: LocalNotices,
    pub(super) pulse: Pulse,
    pub(super) tally: Tally,
    mark: Mark,
    names: Names,
    up: AtomicBool,
    /// Why there is no connection.
    failure: Mutex<String>,
    /// The partitions that Redis tells this node of, and since when nobody here listens to any of their rooms.
    followed: Mutex<HashMap<Partition, Option<Instant>>>,
}

/// The names of Redis' channels. What stands in braces is what a cluster hashes.
struct Names {
    /// On which this node hears itself.
    own: String,
    /// On which nodes hear that the log of losses has grown.
    losses: String,
    /// On which nodes hear that there is news for accounts.
    notices: String,
    /// On which nodes hear what happens in rooms, one for each partition.
    partitions: Vec<String>,
}

impl Names {
    fn new(prefix: &str, mark: Mark) -> Self {
        Self {
            own: format!("{prefix}:{{node:{:016x}}}", u64::from_be_bytes(mark)),
            losses: format!("{prefix}:{{losses}}"),
            notices: format!("{prefix}:{{notices}}"),
            partitions: Partition::all().map(|partition| format!("{prefix}:{{rooms:{partition}}}")).collect(),
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("own", &self.names.own).field("up", &self.up).finish_non_exhaustive()
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
            names: Names::new(prefix, mark),
            up: AtomicBool::new(false),
            failure: Mutex::new("not connected yet".to_owned()),
            followed: Mutex::default(),
        }
    }

    pub(super) fn name_of(&self, partition: Partition) -> &str {
        &self.names.partitions[partition.index()]
    }

    pub(super) fn own_name(&self) -> &str {
        &self.names.own
    }

    pub(super) fn losses_name(&self) -> &str {
        &self.names.losses
    }

    pub(super) fn notices_name(&self) -> &str {
        &self.names.notices
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

    /// Appends an event as it is published: who tells of which channel, so that most need not be read any further, and what.
    pub(super) fn write(&self, event: &RoomEvent, buffer: &mut Vec<u8>) {
        buffer.extend_from_slice(&self.mark);
        buffer.extend_from_slice(event.channel().uuid().as_bytes());
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

    /// Returns whether Redis tells this node of a partition's rooms.
    pub(super) fn follows(&self, partition: Partition) -> bool {
        lock(&self.followed).contains_key(&partition)
    }

    /// Notes partitions that Redis tells of from now on.
    pub(super) fn follow(&self, partitions: impl IntoIterator<Item = Partition>) {
        lock(&self.followed).extend(partitions.into_iter().map(|partition| (partition, None)));
    }

    /// Lists the partitions of the rooms that somebody here listens to.
    pub(super) fn heard(&self) -> BTreeSet<Partition> {
        self.local.rooms().into_iter().map(Partition::of).collect()
    }

    /// Takes the partitions off in none of whose rooms anybody here has listened for `linger`.
    pub(super) fn unfollow(&self, linger: Duration, now: Instant) -> Vec<Partition> {
        let mut followed = lock(&self.followed);
        // Under the lock: a listener that came before is seen here, one that comes later finds its partition gone and asks.
        let heard = self.heard();
        let mut left = Vec::new();
        followed.retain(|partition, silent_since| {
            if heard.contains(partition) {
                *silent_since = None;
                return true;
            }
            let since = *silent_since.get_or_insert(now);
            let stays = now.saturating_duration_since(since) < linger;
            if !stays {
                left.push(*partition);
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
        if name == self.names.own.as_bytes() {
            return self.pulse.echo(payload, Instant::now());
        }
        let Some((mark, told)) = payload.split_at_checked(self.mark.len()) else {
            return self.tally.unreadable();
        };
        if mark == self.mark {
            return;
        }
        if name == self.names.losses.as_bytes() {
            self.tally.received();
            return self.local.hint();
        }
        if name == self.names.notices.as_bytes() {
            return self.hear_notice(told);
        }
        self.hear_event(told);
    }

    fn hear_notice(&self, told: &[u8]) {
        match serde_json::from_slice(told) {
            Ok(notice) => {
                self.tally.received();
                self.notices.tell(notice);
            }
            Err(error) => {
                tracing::debug!(%error, "a notice of another node is passed over");
                self.tally.unreadable();
            }
        }
    }

    fn hear_event(&self, told: &[u8]) {
        let Some((channel, event)) = told.split_first_chunk::<CHANNEL_LENGTH>() else {
            return self.tally.unreadable();
        };
        let room = Room::Channel(ChannelId::new(uuid::Uuid::from_bytes(*channel)));
        // Of the partition, but of a room in which nobody is here.
        if !self.local.has_listeners(room) {
            return self.tally.unheard();
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
    unheard: AtomicU64,
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

    fn unheard(&self) {
        self.unheard.fetch_add(1, Ordering::Relaxed);
    }

    fn unreadable(&self) {
        self.unreadable.fetch_add(1, Ordering::Relaxed);
    }

    fn counts(&self) -> BusCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        BusCounts {
            published: read(&self.published),
            received: read(&self.received),
            unheard: read(&self.unheard),
            dropped: read(&self.dropped),
            unreadable: read(&self.unreadable),
            reconnects: read(&self.connections).saturating_sub(1),
            round_trip: None,
        }
    }
}
