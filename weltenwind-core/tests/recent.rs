//! The newest messages in memory are what the store says, whatever happens to the channel and from where.

use std::{sync::Arc, time::Duration};

use proptest::{
    prelude::{Strategy, any, prop_oneof},
    test_runner::{Config, TestRunner},
};
use weltenwind_core::{
    Actor, Clock as _, ManualClock, Scope, Sources, Step,
    chat::{
        Body, Channel, ChannelAmendment, ChannelDraft, Chat, ChatStore, Draft, Edit, MemoryChatStore, Message,
        MessageQuery, NewMessage, Position, RemovalMode, Seq,
    },
    limits::{Limits, LimitsConfig, Quota, Unit},
};

/// What happens between two looks.
#[derive(Debug, Clone)]
enum Happening {
    /// Messages are posted here.
    Posted(u8),
    /// Messages are posted on another node, and the bus loses all of them.
    PostedUnheard(u8),
    /// A message is edited here, counted from the newest.
    Edited(u16),
    /// The same on another node, unheard.
    EditedUnheard(u16),
    /// A message is removed here.
    Removed(u16, bool),
    /// A page is read.
    Read(Place, u8),
}

/// Where a page begins, counted from the newest.
#[derive(Debug, Clone)]
enum Place {
    Newest,
    Before(u16),
    After(u16),
}

fn happenings() -> impl Strategy<Value = Vec<Happening>> {
    let place = prop_oneof![
        3 => proptest::strategy::Just(Place::Newest),
        3 => (0..1500_u16).prop_map(Place::Before),
        2 => (0..1500_u16).prop_map(Place::After),
    ];
    let happening = prop_oneof![
        2 => any::<u8>().prop_map(Happening::Posted),
        1 => any::<u8>().prop_map(Happening::PostedUnheard),
        2 => (0..400_u16).prop_map(Happening::Edited),
        1 => (0..400_u16).prop_map(Happening::EditedUnheard),
        1 => ((0..400_u16), any::<bool>()).prop_map(|(which, purge)| Happening::Removed(which, purge)),
        5 => (place, 1..=200_u8).prop_map(|(place, limit)| Happening::Read(place, limit)),
    ];
    proptest::collection::vec(happening, 1..60)
}

struct Room {
    chat: Chat,
    store: Arc<MemoryChatStore>,
    clock: Arc<ManualClock>,
    channel: Channel,
    said: u32,
}

impl Room {
    async fn open() -> Self {
        let (store, clock) = (Arc::new(MemoryChatStore::default()), Arc::new(ManualClock::default()));
        let sources = Sources { clock: clock.clone(), ..Sources::default() };
        // The clock stands still, so nothing of a quota ever comes back.
        let limits = Limits::in_process(clock.clone(), LimitsConfig::uniform(Quota::per(1_000_000, Unit::Second)));
        let chat = Chat::builder(store.clone()).sources(sources).limits(limits).build();
        let draft = ChannelDraft::new(Scope::Global, "lobby", "Lobby");
        let channel = chat.open_channel(&Actor::operator(), draft).await.expect("a channel");
        Self { chat, store, clock, channel, said: 0 }
    }

    fn text(&mut self) -> String {
        self.said += 1;
        format!("message {}", self.said)
    }

    async fn head(&self) -> Seq {
        let newest = self.stored(Position::Newest, 1).await;
        newest.0.first().map_or(Seq::ZERO, |message| message.seq)
    }

    async fn stored(&self, position: Position, limit: u16) -> (Vec<Message>, bool) {
        let page = self.store.page(&self.query(position, limit)).await.expect("a page").expect("a channel").page;
        (page.items, page.more)
    }

    async fn read(&self, position: Position, limit: u16) -> (Vec<Message>, bool) {
        let history = self.chat.history(&Actor::operator(), &self.query(position, limit)).await.expect("a page");
        let known = self.chat.position(&Actor::operator(), self.channel.id).await.expect("a position");
        assert_eq!(history.position, known);
        (history.page.items.iter().map(|message| Message::clone(message)).collect(), history.page.more)
    }

    fn query(&self, position: Position, limit: u16) -> MessageQuery {
        let limit = weltenwind_core::Limit::new(limit).expect("a limit");
        MessageQuery { channel: self.channel.id, position, limit }
    }

    /// The message so far from the newest, if there is one.
    async fn message_before_newest(&self, back: u16) -> Option<Message> {
        let before = Position::Before(Seq::new(self.head().await.get() + 1 - i64::from(back)));
        self.stored(before, 1).await.0.pop()
    }

    async fn happens(&mut self, happening: Happening) {
        let step = Step::sample(ManualClock::default().now());
        match happening {
            Happening::Posted(count) => {
                for _ in 0..count {
                    let draft = Draft::new(self.channel.id, self.text());
                    self.chat.post(&Actor::player("Mira"), draft).await.expect("a post");
                }
            }
            Happening::PostedUnheard(count) => {
                let channel = self.channel.id;
                let batch: Vec<_> =
                    (0..count).map(|_| NewMessage { channel, ..NewMessage::sample(&self.text()) }).collect();
                if !batch.is_empty() {
                    self.store.append(&batch).await.expect("an append");
                }
                tokio::time::advance(Duration::from_millis(250)).await;
            }
            Happening::Edited(back) | Happening::EditedUnheard(back) => {
                let Some(message) =
                    self.message_before_newest(back).await.filter(|message| message.tombstone.is_none())
                else {
                    return;
                };
                let body = self.text();
                let mira = Actor::player("Mira");
                // Only an author's own: what was posted unheard has another one.
                if matches!(happening, Happening::Edited(_)) && mira.account_id() == Some(message.author.id) {
                    self.chat.edit(&mira, message.id, &body).await.expect("an edit");
                    return;
                }
                let edit = Edit { message: message.id, body: Body::new(&body).expect("a body") };
                self.store.edit(&step, &edit).await.expect("an edit");
                tokio::time::advance(Duration::from_millis(250)).await;
            }
            Happening::Removed(back, purge) => {
                let Some(message) = self.message_before_newest(back).await else { return };
                let mode = if purge { RemovalMode::Purge } else { RemovalMode::Mask };
                self.chat.remove(&Actor::operator(), message.id, mode, Some("spam")).await.expect("a removal");
            }
            Happening::Read(place, limit) => {
                let head = self.head().await.get();
                let position = match place {
                    Place::Newest => Position::Newest,
                    Place::Before(back) => Position::Before(Seq::new((head + 2 - i64::from(back)).max(0))),
                    Place::After(back) => Position::After(Seq::new((head + 2 - i64::from(back)).max(0))),
                };
                let limit = u16::from(limit);
                assert_eq!(self.read(position, limit).await, self.stored(position, limit).await, "{position:?}");
            }
        }
    }
}

#[test]
fn a_page_from_memory_is_the_page_of_the_store() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let mut runner = TestRunner::new(Config { cases: 200, failure_persistence: None, ..Config::default() });
    let outcome = runner.run(&happenings(), |happenings| {
        runtime.block_on(async {
            let mut room = Room::open().await;
            for happening in happenings {
                room.happens(happening).await;
            }
        });
        Ok(())
    });
    outcome.unwrap();
}

/// What another node posts unheard shows where a page comes from.
#[tokio::test(start_paused = true)]
async fn what_is_read_often_comes_from_memory_and_is_confirmed_four_times_a_second() {
    let mut room = Room::open().await;
    room.happens(Happening::Posted(200)).await;
    room.happens(Happening::Posted(200)).await;
    room.read(Position::Newest, 50).await;
    let unheard = NewMessage { channel: room.channel.id, ..NewMessage::sample("unheard") };
    room.store.append(&[unheard]).await.expect("an append");

    let in_memory = room.read(Position::Newest, 1).await.0;
    tokio::time::advance(Duration::from_millis(249)).await;
    let still = room.read(Position::Newest, 1).await.0;
    tokio::time::advance(Duration::from_millis(1)).await;
    let confirmed = room.read(Position::Newest, 1).await.0;

    assert_eq!((in_memory[0].seq, still[0].seq, confirmed[0].seq), (Seq::new(400), Seq::new(400), Seq::new(401)));
}

#[tokio::test(start_paused = true)]
async fn what_is_older_than_the_channel_keeps_is_left_to_the_store() {
    let mut room = Room::open().await;
    room.happens(Happening::Posted(10)).await;
    room.read(Position::Newest, 50).await;
    let days = Some(Some(1));
    let amendment = ChannelAmendment { retention_days: days, ..ChannelAmendment::default() };
    room.chat.amend_channel(&Actor::operator(), room.channel.id, Some(room.channel.revision), amendment).await.unwrap();
    let tomorrow = room.channel.created_at + Duration::from_hours(48);

    room.store.purge(room.channel.id, tomorrow, 5).await.expect("a purge");

    // Nobody tells of a purge: messages of an hour ago may stay in memory, those of the day before may not.
    assert_eq!(room.read(Position::Newest, 50).await.0.len(), 10);
    room.clock.advance(Duration::from_hours(25));
    assert_eq!(room.read(Position::Newest, 50).await.0.len(), 5);
}
