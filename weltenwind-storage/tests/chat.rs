//! The suite of channels and messages, and random histories held against the store in memory, on both databases.
#![cfg(all(feature = "sqlite", feature = "postgres"))]

mod fixture;

use std::{
    fmt::Debug,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use proptest::{
    collection::vec,
    option,
    prelude::*,
    test_runner::{Config, TestRunner},
};
use uuid::Uuid;
use weltenwind_core::{
    AccountId, ChannelId, Limit, MessageId, Step, Stores, Timestamp,
    chat::{
        Author, Body, Change, ChangeQuery, ChannelAmendment, ChannelChange, ChatStore, ClientId, Edit, MemoryChatStore,
        MessageQuery, NewChannel, NewMessage, Position, Removal, RemovalMode, RoomPosition, Seq,
    },
};

fn port(stores: &Stores) -> Arc<dyn ChatStore> {
    Arc::clone(&stores.chat)
}

mod sqlite {
    use super::{fixture, port};

    weltenwind_core::chat_store_conformance!(fixture::sqlite_with(port));
}

mod postgres {
    use std::sync::Arc;

    use weltenwind_core::{Stores, chat::ChatStore};
    use weltenwind_storage::StorageConfig;

    use super::fixture::{self, Fixture};

    weltenwind_core::chat_store_conformance!(wide(), ignore = "needs WW_TEST_POSTGRES_URL");

    /// A store with four connections for batches: calls side by side meet in the database, as those of several nodes do.
    async fn wide() -> ((Fixture, Stores), Arc<dyn ChatStore>) {
        let fixture = fixture::postgres().await;
        let config = StorageConfig { max_connections: 20, ..fixture.config.clone() };
        let stores = weltenwind_storage::open(&config).await.expect("the store opens");
        let chat = Arc::clone(&stores.chat);
        ((fixture, stores), chat)
    }
}

#[test]
fn sqlite_answers_every_history_as_memory_does() {
    runtime().block_on(async {
        let (_guard, store) = fixture::sqlite_with(port).await;
        holds_to_the_model(store, 96).await;
    });
}

#[test]
#[ignore = "needs WW_TEST_POSTGRES_URL"]
fn postgres_answers_every_history_as_memory_does() {
    runtime().block_on(async {
        let (_guard, store) = fixture::postgres_with(port).await;
        holds_to_the_model(store, 48).await;
    });
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

/// Open channels of a case; one more is never made.
const CHANNELS: u32 = 3;
const AUTHORS: u128 = 3;

#[derive(Debug, Clone)]
enum Act {
    Append(Vec<Post>),
    Edit { message: u32, text: u8 },
    Remove { message: u32, mode: RemovalMode },
    Mark { account: u128, channel: u32, seq: i64 },
    Purge { channel: u32, before: i64, limit: u32 },
    Close { channel: u32 },
}

#[derive(Debug, Clone)]
struct Post {
    channel: u32,
    author: u128,
    client_id: Option<u8>,
    text: u8,
    /// A message by the number it was sent as, if it was sent by then: perhaps refused, or elsewhere, or in the same
    /// batch.
    reply_to: Option<u32>,
    second: i64,
    /// Seconds that the author is to pause.
    pause: u64,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let post = (
        0..=CHANNELS,
        0..AUTHORS,
        option::weighted(0.7, 0..4_u8),
        0..3_u8,
        option::weighted(0.2, 0..30_u32),
        0..60_i64,
        option::weighted(0.3, 1..30_u64).prop_map(Option::unwrap_or_default),
    )
        .prop_map(|(channel, author, client_id, text, reply_to, second, pause)| Post {
            channel,
            author,
            client_id,
            text,
            reply_to,
            second,
            pause,
        });
    let mode = prop_oneof![Just(RemovalMode::Mask), Just(RemovalMode::Purge)];
    let act = prop_oneof![
        8 => vec(post, 0..12).prop_map(Act::Append),
        3 => (0..30_u32, 3..6_u8).prop_map(|(message, text)| Act::Edit { message, text }),
        3 => (0..30_u32, mode).prop_map(|(message, mode)| Act::Remove { message, mode }),
        1 => (0..AUTHORS, 0..=CHANNELS, -1..20_i64)
            .prop_map(|(account, channel, seq)| Act::Mark { account, channel, seq }),
        1 => (0..=CHANNELS, 0..60_i64, 0..5_u32)
            .prop_map(|(channel, before, limit)| Act::Purge { channel, before, limit }),
        1 => (0..CHANNELS).prop_map(|channel| Act::Close { channel }),
    ];
    vec(act, 1..14)
}

async fn holds_to_the_model(store: Arc<dyn ChatStore>, cases: u32) {
    // Every case has identifiers of its own, so that all can use one database.
    let next_case = AtomicU32::new(1);
    let handle = tokio::runtime::Handle::current();
    let runs = tokio::task::spawn_blocking(move || {
        let config = Config { cases, failure_persistence: None, ..Config::default() };
        TestRunner::new(config).run(&acts(), |acts| {
            let case = Case(next_case.fetch_add(1, Ordering::Relaxed));
            handle.block_on(async {
                let expected = case.play(&MemoryChatStore::default(), &acts).await;
                let answered = case.play(&*store, &acts).await;
                for (n, (expected, answered)) in expected.iter().zip(&answered).enumerate() {
                    prop_assert_eq!(answered, expected, "answer {}", n);
                }
                prop_assert_eq!(answered.len(), expected.len());
                Ok(())
            })
        })
    });
    runs.await.expect("the runner does not panic").unwrap_or_else(|failure| panic!("{failure}"));
}

struct Case(u32);

impl Case {
    fn channel(&self, n: u32) -> NewChannel {
        NewChannel::sample(self.0 * 8 + n)
    }

    fn channel_id(&self, n: u32) -> ChannelId {
        self.channel(n).id
    }

    fn message_id(&self, n: u32) -> MessageId {
        MessageId::new(Uuid::from_u128(u128::from(self.0) << 64 | u128::from(n)))
    }

    fn account(&self, n: u128) -> AccountId {
        AccountId::new(Uuid::from_u128(u128::from(self.0) << 64 | n))
    }

    fn message(&self, n: u32, post: &Post) -> NewMessage {
        let sample = NewMessage::sample("well met");
        NewMessage {
            id: self.message_id(n),
            channel: self.channel_id(post.channel),
            author: Author { id: self.account(post.author), ..sample.author },
            body: text(post.text),
            client_id: post.client_id.map(|id| ClientId::new(&format!("c{id}")).expect("a client id")),
            reply_to: post.reply_to.map(|n| self.message_id(n)),
            sent_at: at(post.second),
            pause: Duration::from_secs(post.pause),
        }
    }

    /// Does what is to be done and answers everything that the store said, then everything that it holds.
    async fn play(&self, store: &dyn ChatStore, acts: &[Act]) -> Vec<String> {
        let mut said = Vec::new();
        for n in 0..CHANNELS {
            said.push(words(store.create_channel(&Step::sample(at(0)), &self.channel(n)).await));
        }
        let mut sent = 0;
        for (second, act) in (100..).zip(acts) {
            let step = Step { actor: Some(self.account(9)), ..Step::sample(at(second)) };
            said.push(match act {
                Act::Append(posts) => {
                    let batch: Vec<NewMessage> = (sent..).zip(posts).map(|(n, post)| self.message(n, post)).collect();
                    sent += u32::try_from(batch.len()).expect("a few");
                    words(store.append(&batch).await)
                }
                Act::Edit { message, text: new } => {
                    words(store.edit(&step, &Edit { message: self.message_id(*message), body: text(*new) }).await)
                }
                Act::Remove { message, mode } => {
                    let removal =
                        Removal { message: self.message_id(*message), reason: "spam".to_owned(), mode: *mode };
                    words(store.remove(&step, &removal).await)
                }
                Act::Mark { account, channel, seq } => {
                    words(store.mark_read(self.account(*account), self.channel_id(*channel), Seq::new(*seq)).await)
                }
                Act::Purge { channel, before, limit } => {
                    words(store.purge(self.channel_id(*channel), at(*before), *limit).await)
                }
                Act::Close { channel } => {
                    let amendment = ChannelAmendment::default();
                    let change =
                        ChannelChange { id: self.channel_id(*channel), expected: None, amendment, archive: true };
                    words(store.amend_channel(&step, &change).await)
                }
            });
        }
        for n in 0..=CHANNELS {
            self.read(store, self.channel_id(n), &mut said).await;
        }
        for account in 0..AUTHORS {
            said.push(words(store.unread(self.account(account)).await));
        }
        for n in 0..sent {
            said.push(words(store.find_message(self.message_id(n)).await));
        }
        said
    }

    async fn read(&self, store: &dyn ChatStore, channel: ChannelId, said: &mut Vec<String>) {
        let limit = Limit::new(3).expect("1 to 200");
        said.push(words(store.find_channel(channel).await));
        said.push(words(store.head(channel).await));
        let numbers = [0, 1, 2, 5, 9].map(Seq::new);
        let positions = numbers.into_iter().flat_map(|seq| [Position::Before(seq), Position::After(seq)]);
        for position in positions.chain([Position::Newest]) {
            said.push(words(store.page(&MessageQuery { channel, position, limit }).await));
        }
        for change in (-1..25).map(Change::new) {
            let since = RoomPosition { epoch: 7, change };
            said.push(words(store.changes(&ChangeQuery { channel, since, limit }).await));
        }
    }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_767_225_600 + second).expect("the year 2026 is in range")
}

fn text(n: u8) -> Body {
    Body::new(&"text ".repeat(usize::from(n) + 1)).expect("a text")
}

/// What a body says is hidden from `Debug`, but for its length; texts differ in that.
fn words<T: Debug, E: std::error::Error>(answer: Result<T, E>) -> String {
    match answer {
        Ok(answer) => format!("{answer:?}"),
        Err(error) => format!("refused: {}", weltenwind_core::chain(&error)),
    }
}
