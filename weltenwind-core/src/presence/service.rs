use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Mutex as AsyncMutex, Notify, broadcast, mpsc},
    time::{Instant, MissedTickBehavior},
};

use super::{
    book::{Book, LEASE},
    config::PresenceConfig,
    memory::MemoryPresenceStore,
    model::{PresenceEvent, PresenceNews, PresenceState, Snapshot, SocketId, Typing},
    port::PresenceStore,
};
use crate::{
    accounts::DisplayName,
    error::{StorageError, chain},
    ids::{AccountId, NodeId},
    room::Room,
    services::Sources,
};

/// Changes within this time are told together.
const TURN: Duration = Duration::from_millis(100);
/// How long whoever enters waits to hear who is there on other nodes; without an answer they learn it later.
const PATIENCE: Duration = Duration::from_secs(1);

/// Who is where, as one node knows it: its own sockets, and through [`PresenceStore`] those of the others.
///
/// Members are accounts, however many sockets they have. Whoever loses the last one still counts for some seconds, so
/// reconnects do not flicker. Those of a node that was killed are gone within 10 seconds; those of a node that ends in an
/// orderly way are too, which is time for its players to come back elsewhere.
///
/// Somebody has to run [`run`](Self::run), or call [`turn`](Self::turn) again and again: nothing is told by itself.
#[derive(Debug)]
pub struct Presence {
    book: Mutex<Book>,
    store: Arc<dyn PresenceStore>,
    sources: Sources,
    news: AsyncMutex<broadcast::Receiver<PresenceNews>>,
    wake: Notify,
    /// Wakes those who wait for a turn, in the order in which they came.
    turned: Notify,
}

/// What happens in a room from now on.
#[derive(Debug)]
pub struct PresenceWatch {
    events: mpsc::UnboundedReceiver<PresenceEvent>,
}

impl PresenceWatch {
    /// Waits for what happens next. Dropping the future loses nothing.
    pub async fn next(&mut self) -> PresenceEvent {
        match self.events.recv().await {
            Some(event) => event,
            // Rooms that are watched are kept, so this is the end of the node.
            None => std::future::pending().await,
        }
    }

    /// Returns what has happened and was not taken yet.
    pub fn next_ready(&mut self) -> Option<PresenceEvent> {
        self.events.try_recv().ok()
    }
}

impl Presence {
    /// Presence of a node among others that share a store. The node is named anew each time.
    pub fn new(store: Arc<dyn PresenceStore>, config: PresenceConfig, sources: Sources) -> Self {
        let node = NodeId::new(sources.ids.draw());
        Self {
            book: Mutex::new(Book::new(node, config)),
            news: AsyncMutex::new(store.listen()),
            store,
            sources,
            wake: Notify::new(),
            turned: Notify::new(),
        }
    }

    /// Presence of a single node.
    pub fn in_process(config: PresenceConfig, sources: Sources) -> Self {
        Self::new(Arc::new(MemoryPresenceStore::default()), config, sources)
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a socket into a room, and answers who is there, oneself included. Whoever watches the room hears of it with the
    /// next turn. A socket that is in the room already changes nothing.
    ///
    /// Whether somebody may enter is decided by whoever lets the socket join.
    pub async fn enter(
        &self,
        room: Room,
        socket: SocketId,
        account: AccountId,
        display_name: &DisplayName,
    ) -> Snapshot {
        self.book().room(room).enter(socket, account, display_name.as_str());
        self.read(room, Some(account)).await
    }

    /// Answers who is in a room; in one that nobody here is in or watches, nobody is known.
    pub fn snapshot(&self, room: Room) -> Snapshot {
        let mut book = self.book();
        let snapshot = book.room(room).snapshot(None);
        drop(book);
        snapshot
    }

    /// Watches a room: who is there, and what happens from then on. Once for a node and room is enough; each change carries
    /// its version, so a socket that was told a snapshot is told every change above it.
    pub async fn watch(&self, room: Room) -> (Snapshot, PresenceWatch) {
        let watch = self.listen(room);
        (self.read(room, None).await, watch)
    }

    /// Watches a room as [`watch`](Self::watch) does, at once: a snapshot that is taken later is followed without a hole.
    pub fn listen(&self, room: Room) -> PresenceWatch {
        let (watcher, events) = mpsc::unbounded_channel();
        self.book().room(room).watch(watcher);
        PresenceWatch { events }
    }

    /// Waits until it is known whom other nodes have in a room, if they answer in time.
    async fn read(&self, room: Room, asking: Option<AccountId>) -> Snapshot {
        let known = async {
            loop {
                // Before the question, so that no turn falls between the two.
                let turned = self.turned.notified();
                if !self.book().awaits(room) {
                    break;
                }
                self.wake.notify_one();
                turned.await;
            }
        };
        if tokio::time::timeout(PATIENCE, known).await.is_err() {
            tracing::debug!(%room, "who is in a room on other nodes is not known yet");
        }
        let mut book = self.book();
        let snapshot = book.room(room).snapshot(asking);
        drop(book);
        snapshot
    }

    /// Lets a socket out of a room. Its account leaves after some seconds, if it has no other socket there by then.
    pub fn leave(&self, room: Room, socket: SocketId) {
        self.book().leave(room, socket, Instant::now());
    }

    /// Says something of oneself in a room, or nothing any more. Answers whether the socket is in the room.
    pub fn say(&self, room: Room, socket: SocketId, state: Option<PresenceState>) -> bool {
        let (state, now) = (state.map(|state| state.to_string()), self.sources.clock.now());
        self.book().rooms.get_mut(&room).is_some_and(|room| room.say(socket, state, now))
    }

    /// Tells whoever watches a room, here and elsewhere, that somebody is writing; at most once in
    /// [`PresenceConfig::typing_seconds`] for each account and room, what is more is passed over. Nobody is told of it again
    /// who did not hear.
    pub async fn type_in(&self, room: Room, account: AccountId, display_name: &DisplayName) {
        let typing = {
            let mut book = self.book();
            if !book.types(room, account, Instant::now()) {
                return;
            }
            let typing = Arc::new(Typing { node: book.node, room, account, display_name: display_name.to_string() });
            book.tell_typing(&typing);
            typing
        };
        self.store.tell(&typing).await;
    }

    /// Takes turns until it is dropped.
    pub async fn run(&self) {
        let mut ticks = tokio::time::interval(TURN);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                // In this order, so that a simulation of nodes repeats itself.
                biased;
                _ = ticks.tick() => {}
                () = self.wake.notified() => {}
            }
            self.turn().await;
        }
    }

    /// Does what is due once: hears the others, gives a sign of life, says what changed here and tells whoever watches.
    pub async fn turn(&self) {
        let mut news = self.news.lock().await;
        if let Err(error) = self.exchange(&mut news).await {
            let is_first = self.book().failed(Instant::now());
            if is_first {
                tracing::warn!(error = chain(&error), "who is where is not shared until the store answers again");
            }
        }
        drop(news);
        let mut book = self.book();
        book.settle();
        drop(book);
        self.turned.notify_waiters();
    }

    async fn exchange(&self, news: &mut broadcast::Receiver<PresenceNews>) -> Result<(), StorageError> {
        let now = Instant::now();
        self.book().pass(now);
        self.hear(news);
        if self.book().is_away && !self.book().is_beat_due(now) {
            return Ok(());
        }
        // At most twice: whoever was taken for dead begins again at once.
        for _ in 0..2 {
            let due = {
                let book = self.book();
                book.is_beat_due(now).then_some((book.node, book.sequence, !book.is_registered))
            };
            let Some((node, sequence, is_first)) = due else { break };
            let beat = self.store.beat(node, sequence, LEASE, is_first).await?;
            self.hear(news);
            self.book().beaten(beat, now, NodeId::new(self.sources.ids.draw()));
        }
        let flush = self.book().take_flush();
        if let Some(flush) = flush {
            let published = self.store.publish(&flush).await;
            if published.is_err() {
                self.book().unpublish(&flush);
            }
            published?;
        }
        let unread = self.book().unread();
        if !unread.is_empty() {
            let read = self.store.read(&unread).await?;
            let mut book = self.book();
            for (room, shards) in unread.into_iter().zip(read) {
                book.read(room, shards);
            }
        }
        let buried = self.book().take_buried();
        for node in buried {
            self.store.bury(node).await?;
        }
        Ok(())
    }

    fn hear(&self, news: &mut broadcast::Receiver<PresenceNews>) {
        use broadcast::error::TryRecvError;

        loop {
            match news.try_recv() {
                Ok(news) => self.book().hear(&news),
                Err(TryRecvError::Lagged(_)) => self.book().hear(&PresenceNews::Missed),
                Err(TryRecvError::Empty | TryRecvError::Closed) => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_room_that_nobody_watches_any_more_is_forgotten() {
        let presence = Presence::in_process(PresenceConfig::default(), Sources::default());
        let watches = [presence.watch(Room::Global).await.1, presence.watch(Room::Global).await.1];
        presence.turn().await;
        assert!(presence.book().rooms.contains_key(&Room::Global));

        drop(watches);
        presence.turn().await;

        assert!(presence.book().rooms.is_empty());
    }
}
