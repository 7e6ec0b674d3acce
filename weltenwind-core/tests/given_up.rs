//! A store that does not answer: what was asked of it is given up, and nobody waits for ever.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use tokio::time::Instant;
use weltenwind_core::{
    AccountId, Actor, ChannelId, Class, Classify as _, Limit, MessageId, Page, Scope, Step, StorageError, SystemClock,
    Timestamp,
    chat::{
        AppendConfig, Appended, AuthorRenaming, ChangeQuery, Changes, Channel, ChannelChange, ChannelDraft,
        ChannelQuery, Chat, ChatError, ChatStore, Draft, Edit, History, LiveEvent, MemoryChatStore, Message,
        MessageQuery, NewChannel, NewMessage, Position, Posted, Removal, RoomHead, Seq, Unread, Written, WrittenQuery,
    },
    limits::{Limits, LimitsConfig, Quota, Unit},
};

const SECOND: Duration = Duration::from_secs(1);

/// How the store takes a batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Append {
    #[default]
    AtOnce,
    /// It is written after this time, whether or not somebody still waits for it.
    After(Duration),
    /// Nothing is written, and nothing answered.
    Never,
}

/// Chat in memory that may be slow.
#[derive(Debug, Default)]
struct SlowChat {
    store: Arc<MemoryChatStore>,
    append: Mutex<Append>,
    /// Batches that came.
    batches: AtomicU32,
    /// So many heads are never answered.
    hung_heads: AtomicU32,
    /// So many pages are never answered, nor what has changed.
    hung_readings: AtomicU32,
}

impl SlowChat {
    fn set(&self, append: Append) {
        *self.append.lock().expect("no panic") = append;
    }

    /// Answers nothing if some calls are to hang.
    async fn pass(hung: &AtomicU32) {
        let hangs = |left: u32| left.checked_sub(1);
        if hung.fetch_update(Ordering::SeqCst, Ordering::SeqCst, hangs).is_ok() {
            std::future::pending::<()>().await;
        }
    }
}

macro_rules! slow {
    ($(fn $name:ident($($argument:ident: $type:ty),*) -> $answer:ty;)+) => {
        #[async_trait]
        impl ChatStore for SlowChat {
            async fn append(&self, batch: &[NewMessage]) -> Result<Vec<Appended>, StorageError> {
                self.batches.fetch_add(1, Ordering::SeqCst);
                let append = *self.append.lock().expect("no panic");
                match append {
                    Append::AtOnce => self.store.append(batch).await,
                    Append::After(time) => {
                        let (store, batch) = (Arc::clone(&self.store), batch.to_vec());
                        let writing = tokio::spawn(async move {
                            tokio::time::sleep(time).await;
                            store.append(&batch).await
                        });
                        writing.await.expect("the task that writes does not panic")
                    }
                    Append::Never => std::future::pending().await,
                }
            }

            async fn head(&self, channel: ChannelId) -> Result<Option<RoomHead>, StorageError> {
                Self::pass(&self.hung_heads).await;
                self.store.head(channel).await
            }

            async fn page(&self, query: &MessageQuery) -> Result<Option<History>, StorageError> {
                Self::pass(&self.hung_readings).await;
                self.store.page(query).await
            }

            async fn changes(&self, query: &ChangeQuery) -> Result<Changes, ChatError> {
                Self::pass(&self.hung_readings).await;
                self.store.changes(query).await
            }

            $(async fn $name(&self $(, $argument: $type)*) -> $answer {
                self.store.$name($($argument),*).await
            })+
        }
    };
}

slow! {
    fn create_channel(step: &Step, channel: &NewChannel) -> Result<Channel, ChatError>;
    fn find_channel(id: ChannelId) -> Result<Option<Channel>, StorageError>;
    fn channels(query: &ChannelQuery) -> Result<Page<Channel>, StorageError>;
    fn amend_channel(step: &Step, change: &ChannelChange) -> Result<Channel, ChatError>;
    fn find_message(id: MessageId) -> Result<Option<Message>, StorageError>;
    fn edit(step: &Step, edit: &Edit) -> Result<Message, ChatError>;
    fn remove(step: &Step, removal: &Removal) -> Result<Message, ChatError>;
    fn mark_read(account: AccountId, channel: ChannelId, seq: Seq) -> Result<Unread, ChatError>;
    fn unread(account: AccountId) -> Result<Vec<Unread>, StorageError>;
    fn written(query: &WrittenQuery) -> Result<Vec<Written>, StorageError>;
    fn messages_at(channel: ChannelId, places: &[Seq]) -> Result<Vec<Message>, StorageError>;
    fn rename_author(renaming: &AuthorRenaming) -> Result<Vec<Message>, StorageError>;
    fn purge(channel: ChannelId, before: Timestamp, limit: u32) -> Result<u64, StorageError>;
    fn channels_with_retention() -> Result<Vec<Channel>, StorageError>;
}

/// A channel over such a store, written one message at a time.
async fn slow_channel() -> (Arc<SlowChat>, Chat, ChannelId) {
    let store = Arc::new(SlowChat::default());
    let limits = LimitsConfig::uniform(Quota::per(1_000_000, Unit::Second));
    let limits = Limits::in_process(Arc::new(SystemClock), limits);
    let append = AppendConfig { batch: 1, ..AppendConfig::default() };
    let chat = Chat::builder(store.clone()).limits(limits).append(append).build();
    let draft = ChannelDraft::new(Scope::Global, "lobby", "Lobby");
    let channel = chat.open_channel(&Actor::operator(), draft).await.expect("a channel").id;
    (store, chat, channel)
}

async fn post(chat: &Chat, channel: ChannelId, body: &str) -> Result<Posted, ChatError> {
    let draft = Draft::new(channel, body).with_client_id(body);
    chat.post(&Actor::player("Mira"), draft).await
}

fn is_given_up(posted: &Result<Posted, ChatError>) -> bool {
    posted.as_ref().is_err_and(|error| error.class() == Class::Unavailable)
}

async fn history(chat: &Chat, channel: ChannelId) -> Result<Vec<String>, ChatError> {
    let query = MessageQuery { channel, position: Position::Newest, limit: Limit::default() };
    let history = chat.history(&Actor::player("Mira"), &query).await?;
    Ok(history.page.items.iter().filter_map(|message| message.text().map(str::to_owned)).collect())
}

async fn texts(chat: &Chat, channel: ChannelId) -> Vec<String> {
    history(chat, channel).await.expect("the history")
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_is_not_answered_is_given_up_and_the_lane_goes_on() {
    let (store, chat, channel) = slow_channel().await;
    let start = Instant::now();

    store.set(Append::Never);
    let hung = post(&chat, channel, "hung").await;
    store.set(Append::AtOnce);
    let next = post(&chat, channel, "next").await;

    assert!(is_given_up(&hung), "{hung:?}");
    assert_eq!(start.elapsed(), AppendConfig::default().patience);
    assert_eq!(next.expect("the lane goes on").message.seq, Seq::new(1));
}

#[tokio::test(start_paused = true)]
async fn who_waits_too_long_behind_others_is_told_and_not_written() {
    let (store, chat, channel) = slow_channel().await;
    let start = Instant::now();
    store.set(Append::Never);

    let later = async {
        tokio::time::sleep(10 * SECOND).await;
        let posted = post(&chat, channel, "later").await;
        (posted, start.elapsed())
    };
    let mends = async {
        tokio::time::sleep(14 * SECOND).await;
        store.set(Append::AtOnce);
    };
    let (hung, behind, (later, later_at), ()) =
        tokio::join!(post(&chat, channel, "hung"), post(&chat, channel, "behind"), later, mends);

    assert!(is_given_up(&hung) && is_given_up(&behind), "{hung:?}, {behind:?}");
    assert!(later.is_ok() && later_at == 15 * SECOND, "{later:?} after {later_at:?}");
    assert_eq!(store.batches.load(Ordering::SeqCst), 2, "what has waited too long is not tried");
    assert_eq!(texts(&chat, channel).await, ["later"]);
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_longer_than_twice_for_a_store_that_never_answers() {
    let (store, chat, channel) = slow_channel().await;
    let (start, patience) = (Instant::now(), AppendConfig::default().patience);
    store.set(Append::Never);

    let posts = (0..40).map(|n| {
        let chat = chat.clone();
        tokio::spawn(async move {
            tokio::time::sleep(SECOND * n).await;
            let (began, posted) = (Instant::now(), post(&chat, channel, &format!("{n}")).await);
            (began.elapsed(), posted)
        })
    });
    for post in posts.collect::<Vec<_>>() {
        let (waited, posted) = post.await.expect("no panic");
        assert!(is_given_up(&posted) && waited <= 2 * patience, "{posted:?} after {waited:?}");
    }
    assert!(start.elapsed() > 3 * patience, "several were tried, one after the other");
}

#[tokio::test(start_paused = true)]
async fn what_is_written_after_it_was_given_up_is_heard_without_another_post() {
    let (store, chat, channel) = slow_channel().await;
    let mut live = chat.listen(&Actor::player("Lu"), channel, None).await.expect("a listener");
    assert!(matches!(live.next().await, Ok(LiveEvent::Live)));
    let start = Instant::now();

    store.set(Append::After(20 * SECOND));
    let hung = post(&chat, channel, "late").await;
    let heard = live.next().await;

    assert!(is_given_up(&hung), "{hung:?}");
    assert!(matches!(&heard, Ok(LiveEvent::Posted(event)) if event.message.text() == Some("late")), "{heard:?}");
    assert!(start.elapsed() <= 28 * SECOND, "heard after {:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_repeat_of_what_was_given_up_is_one_message() {
    for (written_after, repeated_after) in [(20, 5), (20, 1), (16, 4)] {
        let (store, chat, channel) = slow_channel().await;
        store.set(Append::After(SECOND * written_after));
        let hung = post(&chat, channel, "hello").await;
        assert!(is_given_up(&hung), "{hung:?}");

        // In the first case while the first attempt is still under way.
        store.set(Append::AtOnce);
        tokio::time::sleep(SECOND * (repeated_after - 1)).await;
        let again = post(&chat, channel, "hello").await.expect("the repeat");
        tokio::time::sleep(30 * SECOND).await;

        let once_more = post(&chat, channel, "hello").await.expect("another repeat");
        assert_eq!((once_more.fresh, once_more.message.id), (false, again.message.id));
        assert_eq!(texts(&chat, channel).await, ["hello"], "{written_after} {repeated_after}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_look_at_a_silent_room_that_hangs_is_given_up_and_the_next_one_finds_what_came() {
    let (store, chat, channel) = slow_channel().await;
    let mut live = chat.listen(&Actor::player("Lu"), channel, None).await.expect("a listener");
    assert!(matches!(live.next().await, Ok(LiveEvent::Live)));
    let start = Instant::now();
    // Past the bus, as from a node whose bus is away.
    store.store.append(&[NewMessage { channel, ..NewMessage::sample("unheard") }]).await.expect("a message");

    store.hung_heads.store(1, Ordering::SeqCst);
    let late = live.next().await;
    let heard = live.next().await;

    assert!(late.as_ref().is_err_and(|error| error.class() == Class::Unavailable), "{late:?}");
    assert!(matches!(&heard, Ok(LiveEvent::Posted(event)) if event.message.text() == Some("unheard")), "{heard:?}");
    assert_eq!(start.elapsed(), 15 * SECOND, "a silence, a reading that was given up, and a silence");
}

#[tokio::test(start_paused = true)]
async fn a_page_that_hangs_is_given_up_and_holds_up_nobody_for_longer() {
    let (store, chat, channel) = slow_channel().await;
    post(&chat, channel, "one").await.expect("a message");
    let is_away = |error: &ChatError| error.class() == Class::Unavailable;

    // Before there is a page in memory, and with one that has to be brought up to date.
    for missed in ["two", "three"] {
        let missed = NewMessage { channel, ..NewMessage::sample(missed) };
        store.store.append(&[missed]).await.expect("a message past the bus");
        tokio::time::sleep(SECOND).await;
        let start = Instant::now();
        store.hung_readings.store(1, Ordering::SeqCst);
        let position = async {
            let mira = Actor::player("Mira");
            chat.position(&mira, channel).await.map(|_| start.elapsed())
        };
        let behind = async { history(&chat, channel).await.map(|_| start.elapsed()) };
        let later = async {
            tokio::time::sleep(4 * SECOND).await;
            (history(&chat, channel).await, start.elapsed())
        };

        let (hung, position, behind, (later, later_at)) =
            tokio::join!(history(&chat, channel), position, behind, later);

        assert!(hung.as_ref().is_err_and(is_away), "{hung:?}");
        // Whoever came at the same time as the first may get the turn at its very end.
        for waited in [position, behind] {
            assert!(waited.as_ref().map_or_else(is_away, |waited| *waited == 10 * SECOND), "{waited:?}");
        }
        assert!(later.is_ok() && later_at == 10 * SECOND, "{later:?} after {later_at:?}");
    }
    assert_eq!(texts(&chat, channel).await, ["three", "two", "one"]);
}
