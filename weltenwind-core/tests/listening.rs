//! A listener on a bus that loses, doubles and reorders hears everything once and in order all the same.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use weltenwind_core::{
    Actor, Clock as _, Room, Scope, SystemClock,
    bus::{Bus, LocalBus, RoomEvent, Subscription},
    chat::{
        Change, ChannelDraft, Chat, ChatStore, Draft, GapCause, LiveEvent, MemoryChatStore, NewMessage, REPLAY_WINDOW,
        RoomPosition,
    },
    limits::{Limits, LimitsConfig, Quota, Unit},
};

/// Posters here write faster than people do.
fn unhurried() -> Limits {
    Limits::in_process(Arc::new(SystemClock), LimitsConfig::uniform(Quota::per(1_000_000, Unit::Second)))
}

/// Misbehaves by a fixed pattern that `seed` chooses.
#[derive(Debug)]
struct BadBus {
    inner: LocalBus,
    state: AtomicU64,
    held: Mutex<Vec<Arc<RoomEvent>>>,
}

impl BadBus {
    fn new(seed: u64) -> Self {
        Self { inner: LocalBus::default(), state: AtomicU64::new(seed * 2 + 1), held: Mutex::default() }
    }

    /// A small linear congruential generator (Knuth's MMIX constants): the pattern need not be good, only repeatable.
    fn draw(&self) -> u64 {
        let next = |state: u64| state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let update = self.state.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |state| Some(next(state)));
        update.expect("the update is total") >> 33
    }
}

#[async_trait]
impl Bus for BadBus {
    async fn publish(&self, event: Arc<RoomEvent>) {
        let (mut now, held) = {
            let mut held = self.held.lock().expect("no listener panics");
            match self.draw() % 5 {
                0 => (vec![], vec![]),
                1 => (vec![Arc::clone(&event), event], vec![]),
                2 => {
                    held.push(event);
                    (vec![], vec![])
                }
                _ => (vec![event], std::mem::take(&mut *held)),
            }
        };
        now.extend(held);
        for event in now {
            self.inner.publish(event).await;
        }
    }

    async fn subscribe(&self, room: Room) -> Subscription {
        self.inner.subscribe(room).await
    }
}

#[tokio::test(start_paused = true)]
async fn every_message_is_heard_once_and_in_order() {
    const POSTS: i64 = 300;
    for seed in 0..50 {
        let builder = Chat::builder(Arc::new(MemoryChatStore::default())).limits(unhurried());
        let chat = builder.bus(Arc::new(BadBus::new(seed))).build();
        let draft = ChannelDraft::new(Scope::Global, "lobby", "Lobby");
        let channel = chat.open_channel(&Actor::operator(), draft).await.expect("a channel").id;
        let mira = Actor::player("Mira");
        let mut live = chat.listen(&mira, channel, None).await.expect("a listener");
        let poster = tokio::spawn({
            let (chat, mira) = (chat.clone(), mira.clone());
            async move {
                for n in 0..POSTS {
                    chat.post(&mira, Draft::new(channel, format!("message {n}"))).await.expect("a message");
                }
            }
        });

        let mut heard = 0;
        while heard < POSTS {
            match live.next().await.expect("an event") {
                LiveEvent::Posted(event) => {
                    heard += 1;
                    assert_eq!(event.message.seq.get(), heard, "seed {seed}");
                }
                LiveEvent::Live => {}
                other => panic!("seed {seed}: nothing else happens: {other:?}"),
            }
        }
        poster.await.expect("everything is posted");
    }
}

/// Lets every second event overtake the one before it, as two nodes do that post in one room.
#[derive(Debug, Default)]
struct OvertakingBus {
    inner: LocalBus,
    held: Mutex<Option<Arc<RoomEvent>>>,
    published: Mutex<Vec<Arc<RoomEvent>>>,
}

#[async_trait]
impl Bus for OvertakingBus {
    async fn publish(&self, event: Arc<RoomEvent>) {
        self.published.lock().expect("no listener panics").push(Arc::clone(&event));
        let mut held = self.held.lock().expect("no listener panics");
        match held.take() {
            Some(first) => {
                self.inner.deliver(event);
                self.inner.deliver(first);
            }
            None => *held = Some(event),
        }
    }

    async fn subscribe(&self, room: Room) -> Subscription {
        self.inner.subscribe(room).await
    }
}

#[tokio::test(start_paused = true)]
async fn events_that_overtook_each_other_are_sorted_without_the_store() {
    let bus = Arc::new(OvertakingBus::default());
    let chat = Chat::builder(Arc::new(MemoryChatStore::default())).bus(bus.clone()).build();
    let draft = ChannelDraft::new(Scope::Global, "lobby", "Lobby");
    let channel = chat.open_channel(&Actor::operator(), draft).await.expect("a channel").id;
    let mira = Actor::player("Mira");
    let mut live = chat.listen(&mira, channel, None).await.expect("a listener");
    assert!(matches!(live.next().await, Ok(LiveEvent::Live)));

    for n in 0..10 {
        chat.post(&mira, Draft::new(channel, format!("message {n}"))).await.expect("a message");
    }

    for n in 0..10 {
        let Ok(LiveEvent::Posted(event)) = live.next().await else { panic!("a message is expected") };
        let published = Arc::clone(&bus.published.lock().expect("no listener panics")[n]);
        assert!(Arc::ptr_eq(&event, &published), "the bus's own event {n}, encoded once for all listeners");
    }
}

async fn full_channel(messages: i64) -> (Chat, weltenwind_core::ChannelId, u32) {
    let (_, chat, channel, epoch) = full_store(messages).await;
    (chat, channel, epoch)
}

async fn full_store(messages: i64) -> (Arc<MemoryChatStore>, Chat, weltenwind_core::ChannelId, u32) {
    let store = Arc::new(MemoryChatStore::default());
    let chat = Chat::builder(store.clone()).build();
    let draft = ChannelDraft::new(Scope::Global, "lobby", "Lobby");
    let channel = chat.open_channel(&Actor::operator(), draft).await.expect("a channel");
    let ids = weltenwind_core::SequentialIds::default();
    let batch: Vec<NewMessage> = (0..messages)
        .map(|_| {
            let id = weltenwind_core::MessageId::new(weltenwind_core::IdGenerator::draw(&ids));
            let author = weltenwind_core::chat::Author {
                id: weltenwind_core::AccountId::new(id.uuid()),
                display_name: weltenwind_core::accounts::DisplayName::new("Mira").expect("a name"),
            };
            let body = weltenwind_core::chat::Body::new("hello").expect("a body");
            let sent_at = channel.created_at;
            NewMessage {
                id,
                channel: channel.id,
                author,
                body,
                client_id: None,
                reply_to: None,
                sent_at,
                pause: Duration::ZERO,
            }
        })
        .collect();
    store.append(&batch).await.expect("a full channel");
    (store, chat, channel.id, channel.epoch)
}

async fn first_event(chat: &Chat, channel: weltenwind_core::ChannelId, since: RoomPosition) -> (bool, LiveEvent) {
    let mut live = chat.listen(&Actor::player("Mira"), channel, Some(since)).await.expect("a listener");
    (live.is_recovered(), live.next().await.expect("an event"))
}

#[tokio::test]
async fn a_position_at_the_window_s_edge_is_replayed_and_one_behind_it_is_a_gap() {
    let (chat, channel, epoch) = full_channel(REPLAY_WINDOW + 1).await;

    let (recovered, event) = first_event(&chat, channel, RoomPosition { epoch, change: Change::new(1) }).await;
    assert!(recovered && matches!(event, LiveEvent::Posted(event) if event.message.seq.get() == 2));
    let (recovered, event) = first_event(&chat, channel, RoomPosition { epoch, change: Change::ZERO }).await;
    assert!(!recovered && matches!(event, LiveEvent::Gap(GapCause::Window)));
}

#[tokio::test]
async fn a_position_of_another_life_or_ahead_of_this_one_is_a_gap() {
    let (chat, channel, epoch) = full_channel(3).await;

    let other = RoomPosition { epoch: epoch.wrapping_add(1), change: Change::new(1) };
    let ahead = RoomPosition { epoch, change: Change::new(4) };
    for since in [other, ahead] {
        let (recovered, event) = first_event(&chat, channel, since).await;
        assert!(!recovered && matches!(event, LiveEvent::Gap(GapCause::Epoch)));
    }
}

#[tokio::test]
async fn what_retention_deleted_is_a_gap_to_who_had_not_seen_it() {
    let (store, chat, channel, epoch) = full_store(9).await;
    store.purge(channel, SystemClock.now() + Duration::from_hours(1), 4).await.expect("a purge");

    let (recovered, event) = first_event(&chat, channel, RoomPosition { epoch, change: Change::new(3) }).await;
    assert!(!recovered && matches!(event, LiveEvent::Gap(GapCause::Window)));
    let (recovered, event) = first_event(&chat, channel, RoomPosition { epoch, change: Change::new(4) }).await;
    assert!(recovered && matches!(event, LiveEvent::Posted(event) if event.message.seq.get() == 5));
}

#[tokio::test]
async fn what_retention_deletes_in_the_middle_of_a_replay_is_a_gap_and_what_was_told_before_is_none() {
    const MESSAGES: i64 = 500;
    let (store, chat, channel, epoch) = full_store(MESSAGES).await;
    let since = RoomPosition { epoch, change: Change::ZERO };
    let mira = Actor::player("Mira");
    let mut told_all = chat.listen(&mira, channel, Some(since)).await.expect("a listener");
    let mut told_half = chat.listen(&mira, channel, Some(since)).await.expect("a listener");
    // The first page has 200 messages.
    for live in [&mut told_all, &mut told_half] {
        assert!(live.is_recovered() && matches!(live.next().await.expect("an event"), LiveEvent::Posted(_)));
    }

    let tomorrow = SystemClock.now() + Duration::from_hours(24);
    store.purge(channel, tomorrow, 200).await.expect("a purge");
    for seq in 2..=MESSAGES {
        let event = told_all.next().await.expect("an event");
        assert!(matches!(event, LiveEvent::Posted(event) if event.message.seq.get() == seq));
    }
    assert!(matches!(told_all.next().await.expect("an event"), LiveEvent::Live));
    store.purge(channel, tomorrow, 1).await.expect("a purge");
    for seq in 2..=200 {
        let event = told_half.next().await.expect("an event");
        assert!(matches!(event, LiveEvent::Posted(event) if event.message.seq.get() == seq));
    }
    assert!(matches!(told_half.next().await.expect("an event"), LiveEvent::Gap(GapCause::Window)));
    assert_eq!(told_half.position().change.get(), MESSAGES);
    assert!(matches!(told_half.next().await.expect("an event"), LiveEvent::Live));
}

#[tokio::test]
async fn after_a_gap_the_listener_is_live_from_the_head() {
    let (chat, channel, epoch) = full_channel(3).await;
    let mira = Actor::player("Mira");
    let since = RoomPosition { epoch: epoch.wrapping_add(1), change: Change::new(1) };
    let mut live = chat.listen(&mira, channel, Some(since)).await.expect("a listener");

    assert!(matches!(live.next().await.expect("an event"), LiveEvent::Gap(_)));
    assert!(matches!(live.next().await.expect("an event"), LiveEvent::Live));
    chat.post(&mira, Draft::new(channel, "fresh")).await.expect("a message");
    assert!(matches!(live.next().await.expect("an event"), LiveEvent::Posted(event) if event.message.seq.get() == 4));
}

#[tokio::test]
async fn a_message_edited_during_a_long_replay_is_told_as_new() {
    const POSTS: i64 = 450;
    let chat = Chat::builder(Arc::new(MemoryChatStore::default())).limits(unhurried()).build();
    let draft = ChannelDraft::new(Scope::Global, "lobby", "Lobby");
    let channel = chat.open_channel(&Actor::operator(), draft).await.expect("a channel");
    let mira = Actor::player("Mira");
    let mut first = None;
    for n in 0..POSTS {
        let posted = chat.post(&mira, Draft::new(channel.id, format!("message {n}"))).await.expect("a message");
        first.get_or_insert(posted.message.id);
    }
    chat.edit(&mira, first.expect("a first message"), "edited").await.expect("an edit");

    let since = RoomPosition { epoch: channel.epoch, change: Change::ZERO };
    let mut live = chat.listen(&mira, channel.id, Some(since)).await.expect("a listener");
    let mut told = 0;
    loop {
        match live.next().await.expect("an event") {
            LiveEvent::Posted(_) => told += 1,
            LiveEvent::Live => break,
            other => panic!("the listener was never told of this message: {other:?}"),
        }
    }

    assert_eq!(told, POSTS);
}
