//! What nodes share beside the store, over Redis: the bus between them, who is where, and their rate limits.
//!
//! Redis carries hints and keeps nothing that cannot be made again: it may be empty, restarted or away at any time. Rooms fall
//! into a fixed number of partitions, each a channel of sharded pub/sub with a hash tag of its own. A node follows those
//! of the rooms that somebody listens to there, so a new connection asks for few names, however many rooms there are. What
//! comes of other rooms is passed over before it is read.
//!
//! An event reaches the publishing node's own listeners at once and does not wait for its way through Redis: they hear as
//! soon as those of a single node, also while Redis is slow or away. What comes back of a node's own is passed over by the
//! node's mark in front of it. The price is that a node may hear its own event before an earlier one of another node;
//! listeners put that right by the events' numbers.

mod config;
mod limiter;
mod link;
mod partition;
mod presence;
mod pulse;
mod shared;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::{
    sync::{broadcast, mpsc, oneshot},
    task::AbortHandle,
};
use weltenwind_core::{
    Room,
    bus::{Bus, BusAway, BusCounts, LossHints, RoomEvent, Subscription},
    notifications::{Notice, Notices},
};

pub use self::{
    config::{RedisConfig, RedisConfigError},
    limiter::RedisRateLimiter,
    presence::RedisPresenceStore,
};
use self::{
    link::{Join, Link, Outgoing},
    partition::Partition,
    shared::Shared,
};

/// Events and hints that may wait for Redis; more are dropped.
const WAITING: usize = 4096;

/// How long a listener waits for its room. A confirmation that comes later is told to it as a lag.
const JOIN_PATIENCE: Duration = Duration::from_secs(1);

/// Carries events between nodes over Redis 7 or newer.
///
/// One connection publishes, listens and probes: each second it sends a sign of life to itself through pub/sub, and one that
/// does not come back ends the connection. It is made anew as long as the bus lives, with growing pauses; afterwards every
/// listener is told that it may have missed something. Dropping the bus ends the connection.
#[derive(Debug)]
pub struct RedisBus {
    shared: Arc<Shared>,
    outgoing: mpsc::Sender<Outgoing>,
    joins: mpsc::UnboundedSender<Join>,
    link: AbortHandle,
}

impl RedisBus {
    /// Begins to connect, and does not wait for it: without Redis, nodes still work, each for itself. Must be called inside a
    /// Tokio runtime, and for `rediss://` with a default crypto provider of rustls installed.
    ///
    /// # Errors
    ///
    /// What is wrong with the configuration; whether Redis is there, [`check`](Bus::check) tells.
    pub fn connect(config: &RedisConfig) -> Result<Self, RedisConfigError> {
        let client = config.client()?;
        let shared = Arc::new(Shared::new(&config.key_prefix));
        let (outgoing, waiting) = mpsc::channel(WAITING);
        // Not bounded, because a listener whose room is not asked for would hear nothing; there is one at most for every
        // listener that waits.
        let (joins, joining) = mpsc::unbounded_channel();
        let linger = Duration::from_secs(config.linger_seconds);
        let link = Link::new(client, Arc::clone(&shared), waiting, joining, linger);
        let link = tokio::spawn(link.run()).abort_handle();
        Ok(Self { shared, outgoing, joins, link })
    }
}

impl RedisBus {
    fn send(&self, outgoing: Outgoing) {
        if !self.shared.is_up() || self.outgoing.try_send(outgoing).is_err() {
            self.shared.tally.dropped(1);
        }
    }
}

impl Drop for RedisBus {
    fn drop(&mut self) {
        self.link.abort();
    }
}

#[async_trait]
impl Bus for RedisBus {
    async fn publish(&self, event: Arc<RoomEvent>) {
        self.shared.local.deliver(Arc::clone(&event));
        self.send(Outgoing::Event(event));
    }

    async fn subscribe(&self, room: Room) -> Subscription {
        // First listen, then look: a connection that comes up meanwhile finds the listener and follows its partition.
        let subscription = self.shared.local.listen(room);
        if self.shared.is_up() && !self.shared.follows(Partition::of(room)) {
            let (confirm, confirmed) = oneshot::channel();
            // A link that has ended, or a connection that ends first, confirms nothing.
            if self.joins.send(Join { room, confirm }).is_ok() {
                let _ = tokio::time::timeout(JOIN_PATIENCE, confirmed).await;
            }
        }
        subscription
    }

    async fn hint_losses(&self) {
        self.shared.local.hint();
        self.send(Outgoing::Losses);
    }

    fn loss_hints(&self) -> LossHints {
        self.shared.local.hints()
    }

    fn check(&self) -> Result<(), BusAway> {
        self.shared.check()
    }

    fn counts(&self) -> BusCounts {
        self.shared.counts()
    }
}

#[async_trait]
impl Notices for RedisBus {
    async fn publish(&self, notice: Notice) {
        self.shared.notices.tell(notice);
        self.send(Outgoing::Notice(notice));
    }

    fn subscribe(&self) -> broadcast::Receiver<Notice> {
        self.shared.notices.subscribe()
    }
}
