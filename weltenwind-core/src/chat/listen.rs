//! A channel as it happens: replay from the store, then live from the bus, without a gap or a repeat between them.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;

use super::{
    error::ChatError,
    heads::Heads,
    model::{Change, ChangeQuery, Message, RoomHead, RoomPosition},
    store::ChatStore,
};
use crate::{
    bus::{BusLag, RoomEvent, Subscription},
    ids::ChannelId,
    page::Limit,
};

/// How long a room may be silent before the store is asked whether something was missed.
const HEAD_CHECK: Duration = Duration::from_secs(5);

/// How long a hole may stay before the store is read. Events of two nodes that post in one room overtake each other by
/// milliseconds, and what is lost is late anyway.
const HOLE_PATIENCE: Duration = Duration::from_millis(20);

/// Events that may wait behind a hole.
const EARLY: usize = 64;

/// What a listener hears.
#[derive(Debug, Clone)]
pub enum LiveEvent {
    /// A message that the listener has not seen.
    Posted(Arc<RoomEvent>),
    /// A message that the listener has seen was edited or removed.
    Updated(Arc<RoomEvent>),
    /// Everything before was replay; what follows happens now. Comes once.
    Live,
    /// Something was missed and cannot be replayed; the listener reads the history anew.
    Gap(GapCause),
}

/// Why something cannot be replayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GapCause {
    /// It lies further back than [`REPLAY_WINDOW`](super::REPLAY_WINDOW) changes, or retention has deleted some of it.
    Window,
    /// The channel's counters began another life.
    Epoch,
}

impl RoomPosition {
    /// Returns why a reader at this position cannot be told everything up to `head`; none if it can.
    pub fn gap_before(self, head: RoomHead) -> Option<GapCause> {
        let RoomHead { position, purged } = head;
        if self.epoch != position.epoch || self.change > position.change {
            Some(GapCause::Epoch)
        } else if position.change.get() - self.change.get() > super::REPLAY_WINDOW || self.change < purged {
            Some(GapCause::Window)
        } else {
            debug_assert!(self.change >= Change::ZERO, "positions are not negative");
            None
        }
    }
}

/// Follows one channel; see [`Chat::listen`](super::Chat::listen).
///
/// Events come in the order of their changes, each once. The bus may lose, double and delay as it likes: a listener that
/// sees a hole reads the store.
#[derive(Debug)]
pub struct LiveChannel {
    channel: ChannelId,
    store: Arc<dyn ChatStore>,
    heads: Heads,
    bus: Subscription,
    position: RoomPosition,
    pending: VecDeque<LiveEvent>,
    /// What came before its turn, and until when the hole in front of it may stay.
    early: BTreeMap<Change, Arc<RoomEvent>>,
    hole_until: Option<Instant>,
    behind: bool,
    /// Where the replay under way began; it may take several pages.
    replay_from: Option<Change>,
    /// Where the last replay began.
    replayed_since: Change,
    live: bool,
}

impl LiveChannel {
    /// Follows from `position`, which was read after `bus` was subscribed to.
    pub(super) fn new(
        channel: ChannelId,
        store: Arc<dyn ChatStore>,
        heads: Heads,
        bus: Subscription,
        position: RoomPosition,
    ) -> Self {
        Self {
            channel,
            store,
            heads,
            bus,
            position,
            pending: VecDeque::new(),
            early: BTreeMap::new(),
            hole_until: None,
            behind: false,
            replay_from: None,
            replayed_since: position.change,
            live: false,
        }
    }

    /// Begins at `since`, if everything from there on can be told; `head` is how far the channel was.
    pub(super) fn since(mut self, since: RoomPosition, head: RoomHead) -> Self {
        if let Some(cause) = since.gap_before(head) {
            self.pending.push_back(LiveEvent::Gap(cause));
        } else {
            self.behind = since != head.position;
            (self.position, self.replayed_since) = (since, since.change);
        }
        self
    }

    /// Returns how far the listener has heard.
    pub const fn position(&self) -> RoomPosition {
        self.position
    }

    /// Returns whether everything since the asked position will be heard.
    pub fn is_recovered(&self) -> bool {
        !matches!(self.pending.front(), Some(LiveEvent::Gap(_)))
    }

    /// Returns whether a replay from the store is under way. What was heard last is then not all that happened up to there:
    /// what was changed since comes at the place of its newest change.
    pub fn is_replaying(&self) -> bool {
        self.replay_from.is_some() || !self.pending.is_empty()
    }

    /// Returns from where on the last replay told what is new, and what was changed since.
    pub const fn replayed_since(&self) -> Change {
        self.replayed_since
    }

    /// Waits for the next event. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Result<LiveEvent, ChatError> {
        loop {
            if let Some(event) = self.pending.pop_front() {
                return Ok(event);
            }
            if self.behind {
                self.catch_up().await?;
            } else if !self.live {
                self.live = true;
                return Ok(LiveEvent::Live);
            } else if let Some(event) = self.hear().await? {
                return Ok(event);
            }
        }
    }

    /// Takes the next event if it is known already; none if it has to be waited for, or read from the store.
    pub fn ready(&mut self) -> Option<LiveEvent> {
        while self.pending.is_empty() && !self.behind {
            if !self.live {
                self.live = true;
                return Some(LiveEvent::Live);
            }
            if let Some(event) = self.early.remove(&self.position.change.next()) {
                return Some(self.advance(event));
            }
            match self.bus.try_next() {
                Ok(Some(event)) => {
                    if let Some(event) = self.place(event) {
                        return Some(event);
                    }
                }
                Ok(None) => return None,
                Err(BusLag) => self.behind = true,
            }
        }
        self.pending.pop_front()
    }

    /// Hears one event from the bus, or finds that the store must be read.
    async fn hear(&mut self) -> Result<Option<LiveEvent>, ChatError> {
        if let Some(event) = self.early.remove(&self.position.change.next()) {
            return Ok(Some(self.advance(event)));
        }
        let patience = self.hole_until.map_or(HEAD_CHECK, |until| until.saturating_duration_since(Instant::now()));
        let event = match tokio::time::timeout(patience, self.bus.next()).await {
            Ok(Ok(event)) => event,
            Ok(Err(BusLag)) => {
                self.behind = true;
                return Ok(None);
            }
            Err(_) if self.hole_until.is_some() => {
                self.behind = true;
                return Ok(None);
            }
            // Silence may be a bus that lost something: the head tells.
            Err(_) => {
                let head = self.heads.lately(self.channel).await?;
                self.behind = head.epoch != self.position.epoch || head.change > self.position.change;
                return Ok(None);
            }
        };
        Ok(self.place(event))
    }

    /// Takes all that is known by now and waits for the store alone, where something was missed.
    pub(super) async fn drain(&mut self, mut hear: impl FnMut(LiveEvent)) -> Result<(), ChatError> {
        self.live = true;
        loop {
            self.pending.drain(..).for_each(&mut hear);
            if self.behind {
                self.catch_up().await?;
                continue;
            }
            if let Some(event) = self.early.remove(&self.position.change.next()) {
                hear(self.advance(event));
                continue;
            }
            match self.bus.try_next() {
                Ok(Some(event)) => self.place(event).into_iter().for_each(&mut hear),
                Ok(None) if self.hole_until.is_some_and(|until| until <= Instant::now()) => self.behind = true,
                Ok(None) => return Ok(()),
                Err(BusLag) => self.behind = true,
            }
        }
    }

    /// Looks whether the store is further than what was heard.
    pub(super) async fn confirm(&mut self) -> Result<(), ChatError> {
        let head = self.heads.now(self.channel).await?.position;
        self.behind |= head.epoch != self.position.epoch || head.change > self.position.change;
        Ok(())
    }

    /// Takes an event if it is the next one, and keeps it if it came early.
    fn place(&mut self, event: Arc<RoomEvent>) -> Option<LiveEvent> {
        let (change, next) = (event.message.change, self.position.change.next());
        if change == next && event.epoch == self.position.epoch {
            return Some(self.advance(event));
        }
        if event.epoch != self.position.epoch || self.early.len() >= EARLY {
            self.behind = true;
        } else if change > next {
            self.early.insert(change, event);
            self.hole_until.get_or_insert_with(|| Instant::now() + HOLE_PATIENCE);
        }
        None
    }

    /// Takes the next event.
    fn advance(&mut self, event: Arc<RoomEvent>) -> LiveEvent {
        self.position.change = event.message.change;
        if self.early.is_empty() {
            self.hole_until = None;
        }
        if event.message.is_new() { LiveEvent::Posted(event) } else { LiveEvent::Updated(event) }
    }

    /// Reads what was missed from the store, and whatever waited behind a hole with it.
    async fn catch_up(&mut self) -> Result<(), ChatError> {
        let seen = self.position;
        let query = ChangeQuery { channel: self.channel, since: seen, limit: Limit::MAX };
        match self.store.changes(&query).await {
            Ok(changes) => {
                let from = *self.replay_from.get_or_insert(seen.change);
                self.replayed_since = from;
                self.position = changes.position;
                self.behind = changes.page.more;
                if !self.behind {
                    self.replay_from = None;
                }
                let events = changes.page.items.into_iter().map(|message| unseen(message, from, seen.epoch));
                self.pending.extend(events);
            }
            Err(ChatError::ReplayWindowExceeded) => {
                let head = self.heads.now(self.channel).await?;
                let cause = seen.gap_before(head).unwrap_or(GapCause::Window);
                self.position = head.position;
                self.behind = false;
                self.replay_from = None;
                self.pending.push_back(LiveEvent::Gap(cause));
            }
            Err(error) => return Err(error),
        }
        self.early.clear();
        self.hole_until = None;
        Ok(())
    }
}

/// Tells a message that was posted after `from` from one that was changed after it.
fn unseen(message: Message, from: Change, epoch: u32) -> LiveEvent {
    let is_news = message.posted_change > from;
    let event = Arc::new(RoomEvent::new(message, epoch));
    if is_news { LiveEvent::Posted(event) } else { LiveEvent::Updated(event) }
}
