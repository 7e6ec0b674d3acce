//! The one store that all nodes share, and each node's way to it: slow, away, cut in the middle of a call.

use std::{
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use weltenwind_core::{
    AccountId, ChannelId, Limit, MessageId, Page, Step, StorageError, Timestamp,
    chat::{
        Appended, AuthorRenaming, ChangeQuery, Changes, Channel, ChannelChange, ChannelQuery, ChatError, ChatStore,
        Edit, History, MemoryChatStore, Message, MessageQuery, NewChannel, NewMessage, Removal, RoomHead, Seq, Unread,
        Written, WrittenQuery,
    },
};

use crate::{
    dice::Dice,
    oracle::{At, Fact, Ledger, Shown},
};

/// Behind every node.
#[derive(Debug)]
pub(crate) struct Depot {
    state: Mutex<State>,
    /// Whether nobody reaches it.
    pub(crate) away: AtomicBool,
    /// Changes in one page of replay.
    page: Limit,
    /// Changes that a reader may be behind; beyond that the store knows nothing more.
    window: i64,
    /// Whether a page was answered that had another one behind it.
    has_torn: AtomicBool,
    /// Whether retention sets in as soon as a page was answered that has another one behind it.
    pub(crate) trims_replays: AtomicBool,
    has_purged: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    store: Arc<MemoryChatStore>,
    /// Counts how often it was restored.
    lives: u32,
    rooms: Vec<Kept>,
    ledger: Ledger,
}

/// What a backup of a channel holds.
#[derive(Debug)]
struct Kept {
    channel: NewChannel,
    epoch: u32,
    posts: Vec<NewMessage>,
    messages: Vec<MessageId>,
}

impl Depot {
    pub(crate) fn new(page: Limit, window: i64) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            away: AtomicBool::new(false),
            page,
            window,
            has_torn: AtomicBool::new(false),
            trims_replays: AtomicBool::new(false),
            has_purged: AtomicBool::new(false),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panics while it holds the lock")
    }

    /// Lets the ledger be read and written.
    pub(crate) fn with_ledger<T>(&self, with: impl FnOnce(&mut Ledger) -> T) -> T {
        with(&mut self.state().ledger)
    }

    /// Returns how far a room is.
    pub(crate) fn head(&self, room: usize) -> At {
        let state = self.state();
        let life = state.ledger.lives(room).last().expect("a room has a life");
        At { epoch: life.epoch, change: life.head() }
    }

    pub(crate) fn room(&self, channel: ChannelId) -> Option<usize> {
        self.state().rooms.iter().position(|kept| kept.channel.id == channel)
    }

    pub(crate) fn channel(&self, room: usize) -> ChannelId {
        self.state().rooms[room].channel.id
    }

    /// Returns one of a room's messages.
    pub(crate) fn some_message(&self, room: usize, dice: &mut Dice) -> Option<MessageId> {
        let state = self.state();
        let messages = &state.rooms[room].messages;
        // As a rule one of the newest.
        let from = messages.len().saturating_sub(if dice.percent(70) { 12 } else { messages.len() });
        (!messages.is_empty()).then(|| messages[from + dice.below(messages.len() - from)])
    }

    pub(crate) fn lives(&self) -> u32 {
        self.state().lives
    }

    /// Returns whether a replay took more than one page.
    pub(crate) fn has_torn(&self) -> bool {
        self.has_torn.load(Ordering::SeqCst)
    }

    pub(crate) fn has_window(&self) -> bool {
        self.window < i64::MAX
    }

    /// Returns whether retention has deleted anything.
    pub(crate) fn has_purged(&self) -> bool {
        self.has_purged.load(Ordering::SeqCst)
    }

    /// Deletes so many of a channel's oldest messages.
    pub(crate) async fn purge(&self, channel: ChannelId, count: u32) {
        let store = Arc::clone(&self.state().store);
        let deleted = store.purge(channel, Timestamp::MAX, count).await.expect("a store in memory");
        if deleted > 0 {
            self.has_purged.store(true, Ordering::SeqCst);
            crate::count("purges");
        }
    }

    /// Begins another life from a backup that lacks the newest posts of each channel, and whatever was edited.
    pub(crate) async fn restore(&self, dice: &mut Dice) {
        let store = Arc::new(MemoryChatStore::default());
        let kept = {
            let mut state = self.state();
            state.store = Arc::clone(&store);
            state.lives += 1;
            std::mem::take(&mut state.rooms)
        };
        for (room, Kept { channel, mut epoch, mut posts, .. }) in kept.into_iter().enumerate() {
            epoch += 1;
            posts.truncate(dice.below(posts.len() + 1));
            let channel = NewChannel { epoch, ..channel };
            store.create_channel(&Step::sample(Timestamp::UNIX_EPOCH), &channel).await.expect("an empty store");
            self.begin(room, channel);
            let appended = store.append(&posts).await.expect("the same posts");
            self.note_posts(&posts, &appended);
        }
    }

    fn begin(&self, room: usize, channel: NewChannel) {
        let mut state = self.state();
        state.ledger.begin(room, channel.epoch);
        state.rooms.push(Kept { epoch: channel.epoch, channel, posts: Vec::new(), messages: Vec::new() });
    }

    fn note_posts(&self, batch: &[NewMessage], appended: &[Appended]) {
        let mut state = self.state();
        for (new, appended) in batch.iter().zip(appended) {
            if let Ok(message) = appended
                && message.id == new.id
            {
                let kept = state.rooms.iter_mut().find(|kept| kept.channel.id == new.channel).expect("a known room");
                kept.posts.push(new.clone());
                kept.messages.push(new.id);
                state.note(message);
            }
        }
    }
}

impl State {
    fn note(&mut self, message: &Message) {
        let room = self.rooms.iter().position(|kept| kept.channel.id == message.channel).expect("a known room");
        let at = At { epoch: self.rooms[room].epoch, change: message.change.get() };
        let shown =
            Shown { message: message.id.to_string(), seq: message.seq.get(), body: message.text().map(str::to_owned) };
        let fact = Fact { shown, posted: Some(message.posted_change.get()) };
        self.ledger.note(room, at, fact).expect("a store gives each change once");
    }
}

/// One node's connections to the depot.
#[derive(Debug)]
pub(crate) struct Road {
    depot: Arc<Depot>,
    dice: Mutex<Dice>,
    /// Whether the node is no more: what it asked for is never answered.
    dead: AtomicBool,
    /// Whether this node alone does not reach the store.
    pub(crate) blocked: AtomicBool,
    /// Whether nothing is answered to this node, on either way, and never will be.
    pub(crate) silent: AtomicBool,
    /// Milliseconds that a call may take.
    pub(crate) slowness: AtomicU64,
    /// So many calls in a hundred fail after they had their effect.
    pub(crate) shaky: AtomicI64,
}

impl Road {
    pub(crate) fn new(depot: &Arc<Depot>, dice: Dice) -> Arc<Self> {
        Arc::new(Self {
            depot: Arc::clone(depot),
            dice: Mutex::new(dice),
            dead: AtomicBool::new(false),
            blocked: AtomicBool::new(false),
            silent: AtomicBool::new(false),
            slowness: AtomicU64::new(0),
            shaky: AtomicI64::new(0),
        })
    }

    /// Lets nothing through any more, in either direction.
    pub(crate) fn end(&self) {
        self.dead.store(true, Ordering::SeqCst);
    }

    pub(crate) fn heal(&self) {
        self.blocked.store(false, Ordering::SeqCst);
        self.silent.store(false, Ordering::SeqCst);
        self.slowness.store(0, Ordering::SeqCst);
        self.shaky.store(0, Ordering::SeqCst);
    }

    fn away() -> StorageError {
        StorageError::transient("reach the store", "it is away")
    }

    fn delay(&self) -> Duration {
        let mut dice = self.dice.lock().expect("no panic");
        match self.slowness.load(Ordering::SeqCst) {
            0 if dice.percent(60) => Duration::ZERO,
            0 => dice.millis(1..4),
            slowness => dice.millis(0..slowness),
        }
    }

    async fn pass(&self) {
        let delay = self.delay();
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        if self.dead.load(Ordering::SeqCst) || self.silent.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
    }

    /// Goes to the store.
    async fn go(&self) -> Result<Arc<MemoryChatStore>, StorageError> {
        let lives = self.depot.lives();
        self.pass().await;
        let is_away = self.depot.away.load(Ordering::SeqCst) || self.blocked.load(Ordering::SeqCst);
        // Connections to a store that was restored meanwhile are broken.
        if is_away || lives != self.depot.lives() {
            return Err(Self::away());
        }
        Ok(Arc::clone(&self.depot.state().store))
    }

    /// Comes back from it.
    async fn come_back(&self) -> Result<(), StorageError> {
        self.pass().await;
        let shaky = u64::try_from(self.shaky.load(Ordering::SeqCst)).unwrap_or(0);
        if shaky > 0 && self.dice.lock().expect("no panic").percent(shaky) {
            return Err(Self::away());
        }
        Ok(())
    }
}

macro_rules! roads {
    ($(fn $name:ident($($argument:ident: $type:ty),*) -> $answer:ty;)+) => {
        #[async_trait]
        impl ChatStore for Road {
            async fn create_channel(&self, step: &Step, channel: &NewChannel) -> Result<Channel, ChatError> {
                let made = self.go().await?.create_channel(step, channel).await?;
                let room = self.depot.state().rooms.len();
                self.depot.begin(room, channel.clone());
                Ok(made)
            }

            async fn append(&self, batch: &[NewMessage]) -> Result<Vec<Appended>, StorageError> {
                let appended = self.go().await?.append(batch).await?;
                self.depot.note_posts(batch, &appended);
                self.come_back().await?;
                Ok(appended)
            }

            async fn edit(&self, step: &Step, edit: &Edit) -> Result<Message, ChatError> {
                let edited = self.go().await?.edit(step, edit).await?;
                self.depot.state().note(&edited);
                self.come_back().await?;
                Ok(edited)
            }

            async fn remove(&self, step: &Step, removal: &Removal) -> Result<Message, ChatError> {
                let removed = self.go().await?.remove(step, removal).await?;
                self.depot.state().note(&removed);
                self.come_back().await?;
                Ok(removed)
            }

            async fn changes(&self, query: &ChangeQuery) -> Result<Changes, ChatError> {
                let store = self.go().await?;
                let limit = if query.limit.get() < self.depot.page.get() { query.limit } else { self.depot.page };
                let changes = store.changes(&ChangeQuery { limit, ..*query }).await?;
                let head = self.depot.head(self.depot.room(query.channel).ok_or(ChatError::ChannelNotFound)?);
                if head.change - query.since.change.get() > self.depot.window {
                    return Err(ChatError::ReplayWindowExceeded);
                }
                if changes.page.more {
                    self.depot.has_torn.store(true, Ordering::SeqCst);
                    crate::count("pages that are not the last");
                    if self.depot.trims_replays.swap(false, Ordering::SeqCst) {
                        // All that the page has, and at least one message behind it.
                        let last = changes.page.items.last().expect("a page with another one behind it").seq;
                        self.depot.purge(query.channel, u32::try_from(last.get()).expect("a few") + 1).await;
                        crate::count("purges in the middle of a replay");
                    }
                }
                self.come_back().await?;
                Ok(changes)
            }

            $(async fn $name(&self $(, $argument: $type)*) -> $answer {
                let answer = self.go().await?.$name($($argument),*).await?;
                self.come_back().await?;
                Ok(answer)
            })+
        }
    };
}

roads! {
    fn find_channel(id: ChannelId) -> Result<Option<Channel>, StorageError>;
    fn channels(query: &ChannelQuery) -> Result<Page<Channel>, StorageError>;
    fn amend_channel(step: &Step, change: &ChannelChange) -> Result<Channel, ChatError>;
    fn page(query: &MessageQuery) -> Result<Option<History>, StorageError>;
    fn head(channel: ChannelId) -> Result<Option<RoomHead>, StorageError>;
    fn find_message(id: MessageId) -> Result<Option<Message>, StorageError>;
    fn mark_read(account: AccountId, channel: ChannelId, seq: Seq) -> Result<Unread, ChatError>;
    fn unread(account: AccountId) -> Result<Vec<Unread>, StorageError>;
    fn written(query: &WrittenQuery) -> Result<Vec<Written>, StorageError>;
    fn messages_at(channel: ChannelId, places: &[Seq]) -> Result<Vec<Message>, StorageError>;
    fn rename_author(renaming: &AuthorRenaming) -> Result<Vec<Message>, StorageError>;
    fn purge(channel: ChannelId, before: Timestamp, limit: u32) -> Result<u64, StorageError>;
    fn channels_with_retention() -> Result<Vec<Channel>, StorageError>;
}
