//! The newest messages of channels that are read often, in memory.
//!
//! The store is the truth and the bus a hint here too: a tail takes what the bus tells, reads the store where it hears a
//! hole, and asks the store every quarter of a second in which it is read whether the bus lost something. While the bus is
//! known to be away, readers get the store.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use moka::sync::Cache;
use tokio::{sync::Mutex, time::Instant};

use super::{
    error::ChatError,
    heads::Heads,
    listen::{LiveChannel, LiveEvent},
    model::{History, Message, MessageQuery, Position, RoomPosition, Seq, SharedMessage},
    store::ChatStore,
};
use crate::{
    bus::Bus,
    clock::Timestamp,
    error::StorageError,
    ids::ChannelId,
    page::{Limit, Page},
    room::Room,
};

/// Messages of one channel that are kept; a tail grows that far only when readers go back that far.
const KEPT: usize = 1000;
/// Characters of one channel that are kept: a tail takes a few hundred KiB at most.
const KEPT_TEXT: usize = 512 * 1024;
/// Channels that are kept: those that are read most.
const CHANNELS: u64 = 128;
/// A channel that nobody reads for so long is forgotten, and its room is not listened to.
const IDLE: Duration = Duration::from_mins(1);
/// Who waits longer for a page is told that the store is away, and whoever stands behind gets the turn.
const PATIENCE: Duration = Duration::from_secs(10);
/// For how long a tail is believed without a look at the store.
const BELIEVED: Duration = Duration::from_millis(250);

type Slot = Arc<Mutex<Option<Tail>>>;

#[derive(Debug)]
pub(super) struct Tails {
    store: Arc<dyn ChatStore>,
    bus: Arc<dyn Bus>,
    heads: Heads,
    known: Cache<ChannelId, Slot>,
}

impl Tails {
    pub(super) fn new(store: Arc<dyn ChatStore>, bus: Arc<dyn Bus>, heads: Heads) -> Self {
        let known = Cache::builder().max_capacity(CHANNELS).time_to_idle(IDLE).build();
        Self { store, bus, heads, known }
    }

    /// Answers a page from memory; none if it lies outside, or reaches back beyond `kept_since`.
    pub(super) async fn page(
        &self,
        query: &MessageQuery,
        kept_since: Option<Timestamp>,
    ) -> Result<Option<History<SharedMessage>>, ChatError> {
        // The newest page opens a tail. Other places are looked for where one is open.
        let slot = match query.position {
            Position::Newest => self.known.get_with(query.channel, Slot::default),
            Position::Before(_) | Position::After(_) => match self.known.get(&query.channel) {
                Some(slot) => slot,
                None => return Ok(None),
            },
        };
        let page = in_time("read a channel's history", async {
            let mut slot = slot.lock().await;
            let Some(tail) = self.fresh(query.channel, &mut slot).await? else { return Ok(None) };
            let page = tail.page(query, &*self.store).await?;
            Ok(page.map(|page| History { page, position: tail.live.position() }))
        });
        let is_kept = |message: &SharedMessage| kept_since.is_none_or(|since| message.sent_at >= since);
        Ok(page.await?.filter(|history| history.page.items.iter().all(is_kept)))
    }

    /// Answers how far a channel is; none while the bus is away.
    pub(super) async fn position(&self, channel: ChannelId) -> Result<Option<RoomPosition>, ChatError> {
        let slot = self.known.get_with(channel, Slot::default);
        in_time("read how far a channel is", async {
            let mut slot = slot.lock().await;
            Ok(self.fresh(channel, &mut slot).await?.map(|tail| tail.live.position()))
        })
        .await
    }

    /// Brings a tail up to date, or makes it; none while the bus is away.
    async fn fresh<'s>(
        &self,
        channel: ChannelId,
        slot: &'s mut Option<Tail>,
    ) -> Result<Option<&'s mut Tail>, ChatError> {
        if self.bus.check().is_err() {
            *slot = None;
            return Ok(None);
        }
        if let Some(tail) = slot {
            tail.catch_up().await?;
        }
        if slot.as_ref().is_none_or(|tail| tail.is_torn) {
            *slot = None;
            *slot = Some(self.open(channel).await?);
        }
        Ok(slot.as_mut())
    }

    async fn open(&self, channel: ChannelId) -> Result<Tail, ChatError> {
        // First listen, then look.
        let subscription = self.bus.subscribe(Room::Channel(channel)).await;
        let confirmed_at = Instant::now();
        let query = MessageQuery { channel, position: Position::Newest, limit: Limit::MAX };
        let History { page, position } = self.store.page(&query).await?.ok_or(ChatError::ChannelNotFound)?;
        let (store, heads) = (Arc::clone(&self.store), self.heads.clone());
        let live = LiveChannel::new(channel, store, heads, subscription, position);
        let (messages, is_whole) = (VecDeque::new(), !page.more);
        let mut tail = Tail { live, confirmed_at, messages, text: 0, is_whole, is_torn: false };
        tail.extend_back(page.items);
        Ok(tail)
    }
}

/// Gives up what takes longer than anybody is to wait, the turns of others included. A tail loses nothing by it.
async fn in_time<T>(
    attempted: &'static str,
    reading: impl Future<Output = Result<T, ChatError>>,
) -> Result<T, ChatError> {
    let late = |late| StorageError::transient(attempted, late);
    tokio::time::timeout(PATIENCE, reading).await.map_err(late)?
}

/// The newest messages of one channel, without a hole.
#[derive(Debug)]
struct Tail {
    live: LiveChannel,
    /// When the store was last looked at.
    confirmed_at: Instant,
    /// Oldest first.
    messages: VecDeque<SharedMessage>,
    text: usize,
    /// Whether nothing lies before the first of them.
    is_whole: bool,
    /// Whether something is missing between them.
    is_torn: bool,
}

impl Tail {
    /// Takes what has happened since. Dropping the future loses nothing.
    async fn catch_up(&mut self) -> Result<(), ChatError> {
        let now = Instant::now();
        if now.duration_since(self.confirmed_at) >= BELIEVED {
            self.live.confirm().await?;
            self.confirmed_at = now;
        }
        let Self { live, messages, text, is_torn, .. } = self;
        live.drain(|event| match event {
            LiveEvent::Posted(event) | LiveEvent::Updated(event) => {
                *is_torn |= !take(messages, text, event.message.clone());
            }
            LiveEvent::Live => {}
            LiveEvent::Gap(_) => *is_torn = true,
        })
        .await?;
        while self.messages.len() > KEPT || (self.text > KEPT_TEXT && self.messages.len() > Limit::MAX.get()) {
            let oldest = self.messages.pop_front().expect("there are some");
            self.text -= size(&oldest);
            self.is_whole = false;
        }
        Ok(())
    }

    /// Cuts a page, and reads further back if it reaches below; none if that is too far.
    async fn page(
        &mut self,
        query: &MessageQuery,
        store: &dyn ChatStore,
    ) -> Result<Option<Page<SharedMessage>>, ChatError> {
        let limit = query.limit.get();
        if let Position::After(seq) = query.position {
            let start = self.below(seq.next());
            if start == 0 && !self.is_whole {
                return Ok(None);
            }
            let items = self.messages.range(start..).take(limit).cloned().collect();
            return Ok(Some(Page { items, more: self.messages.len() - start > limit }));
        }
        if self.end(query) < limit && !self.is_whole {
            self.read_back(query, store).await?;
        }
        let end = self.end(query);
        // At the lower end only the store knows whether more lies before.
        if end <= limit && !self.is_whole {
            return Ok(None);
        }
        let start = end.saturating_sub(limit);
        let items = self.messages.range(start..end).rev().cloned().collect();
        Ok(Some(Page { items, more: start > 0 }))
    }

    /// Reads what lies before the oldest message, if there is room.
    async fn read_back(&mut self, query: &MessageQuery, store: &dyn ChatStore) -> Result<(), ChatError> {
        let Some(oldest) = self.messages.front() else { return Ok(()) };
        if self.messages.len() + Limit::MAX.get() > KEPT || self.text > KEPT_TEXT / 2 {
            return Ok(());
        }
        let position = Position::Before(oldest.seq);
        let query = MessageQuery { channel: query.channel, position, limit: Limit::MAX };
        let History { page, position } = store.page(&query).await?.ok_or(ChatError::ChannelNotFound)?;
        // In another life of the channel these are other messages; the next look at the head tells.
        if position.epoch == self.live.position().epoch {
            self.is_whole = !page.more;
            self.extend_back(page.items);
        }
        Ok(())
    }

    /// Puts older messages, newest first, before the others.
    fn extend_back(&mut self, older: Vec<Message>) {
        for message in older {
            let message = SharedMessage::new(message);
            self.text += size(&message);
            self.messages.push_front(message);
        }
    }

    /// Returns how many messages stand before the place from which a page goes back.
    fn end(&self, query: &MessageQuery) -> usize {
        match query.position {
            Position::Newest | Position::After(_) => self.messages.len(),
            Position::Before(seq) => self.below(seq),
        }
    }

    /// Returns how many messages stand before a place.
    fn below(&self, seq: Seq) -> usize {
        self.messages.partition_point(|message| message.seq < seq)
    }
}

/// Puts a message in its place, in its newest state; answers whether it joins on.
fn take(messages: &mut VecDeque<SharedMessage>, text: &mut usize, message: Message) -> bool {
    let Some(newest) = messages.back() else { return false };
    if message.seq > newest.seq {
        let joins = message.seq == newest.seq.next();
        let message = SharedMessage::new(message);
        *text += size(&message);
        messages.push_back(message);
        return joins;
    }
    // What lies further back than the tail reaches concerns the store alone.
    if let Ok(at) = messages.binary_search_by_key(&message.seq, |known| known.seq)
        && messages[at].change < message.change
    {
        *text -= size(&messages[at]);
        messages[at] = SharedMessage::new(message);
        *text += size(&messages[at]);
    }
    true
}

fn size(message: &Message) -> usize {
    message.body.as_ref().map_or(0, |body| body.as_str().len())
}
