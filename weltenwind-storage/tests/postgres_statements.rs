//! Connections that are lent for one reading: nobody gets a dead one, or what another has left behind.
#![cfg(all(feature = "sqlite", feature = "postgres"))]

mod fixture;

use std::{sync::Arc, time::Duration};

use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;
use weltenwind_core::{
    Actor, ChannelId, Class, Classify as _, Limit, MessageId, Step, Timestamp,
    chat::{AppendConfig, Chat, ChatError, Draft, LiveEvent, MessageQuery, NewChannel, NewMessage, Position, Posted},
};

use self::fixture::{Fixture, postgres};

fn newest(channel: ChannelId) -> MessageQuery {
    MessageQuery { channel, position: Position::Newest, limit: Limit::default() }
}

/// A store that keeps one connection for readers, and a channel with a message.
async fn one_reader() -> (Fixture, ChannelId) {
    let fixture = postgres().await;
    assert!(fixture.config.max_connections < 10, "a fifth of them is one");
    let channel = NewChannel::sample(1);
    fixture.stores.chat.create_channel(&Step::sample(Timestamp::UNIX_EPOCH), &channel).await.expect("a channel");
    let message = NewMessage { channel: channel.id, ..NewMessage::sample("Hello") };
    fixture.stores.chat.append(&[message]).await.expect("a message");
    (fixture, channel.id)
}

async fn messages(fixture: &Fixture, channel: ChannelId) -> usize {
    let history = fixture.stores.chat.page(&newest(channel)).await.expect("the page is read");
    history.map_or(0, |history| history.page.items.len())
}

async fn end_every_connection(fixture: &Fixture) {
    let ended = fixture
        .count(
            "SELECT count(*) FROM (SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
             WHERE datname = current_database() AND pid <> pg_backend_pid()) ended",
        )
        .await;
    assert!(ended > 0, "there were connections");
}

#[tokio::test]
#[ignore = "needs WW_TEST_POSTGRES_URL"]
async fn a_connection_that_died_while_it_lay_idle_is_not_lent() {
    let (fixture, channel) = one_reader().await;
    assert_eq!(messages(&fixture, channel).await, 1);

    end_every_connection(&fixture).await;
    tokio::time::sleep(Duration::from_millis(300)).await;

    assert_eq!(messages(&fixture, channel).await, 1);
    assert!(fixture.stores.worlds.is_empty().await.expect("so is what is asked rarely"));
}

#[tokio::test]
#[ignore = "needs WW_TEST_POSTGRES_URL"]
async fn a_connection_that_died_a_moment_ago_fails_one_reading_for_now() {
    let (fixture, channel) = one_reader().await;
    assert_eq!(messages(&fixture, channel).await, 1);

    end_every_connection(&fixture).await;

    if let Err(error) = fixture.stores.chat.page(&newest(channel)).await {
        assert!(error.is_transient(), "{error:?}");
    }
    assert_eq!(messages(&fixture, channel).await, 1, "the next one has another connection");
}

#[tokio::test]
#[ignore = "needs WW_TEST_POSTGRES_URL"]
async fn whoever_reads_next_gets_nothing_of_a_reading_that_was_given_up() {
    let (fixture, channel) = one_reader().await;
    let mut other = PgConnection::connect(&fixture.config.url).await.expect("the database");
    let mut locking = other.begin().await.expect("a transaction");
    sqlx::query("LOCK TABLE chat_messages IN ACCESS EXCLUSIVE MODE").execute(&mut *locking).await.expect("the lock");

    let query = newest(channel);
    let given_up = tokio::time::timeout(Duration::from_millis(200), fixture.stores.chat.page(&query)).await;
    assert!(given_up.is_err(), "the reading waited for the lock");
    locking.rollback().await.expect("the lock is gone");

    let nowhere = fixture.stores.chat.page(&newest(NewChannel::sample(2).id)).await.expect("the page is read");
    assert!(nowhere.is_none(), "{nowhere:?}");
    assert_eq!(messages(&fixture, channel).await, 1);
}

/// A player's message, under a client id.
async fn post(chat: &Chat, channel: ChannelId, client_id: &str) -> Result<Posted, ChatError> {
    chat.post(&Actor::player("Mira"), Draft::new(channel, "well met").with_client_id(client_id)).await
}

#[tokio::test]
#[ignore = "needs WW_TEST_POSTGRES_URL"]
async fn a_batch_that_waits_for_a_lock_is_given_up_and_heard_when_it_is_written_after_all() {
    let (fixture, channel) = one_reader().await;
    let append = AppendConfig { patience: Duration::from_millis(300), ..AppendConfig::default() };
    let chat = Chat::builder(Arc::clone(&fixture.stores.chat)).append(append).build();
    let mut live = chat.listen(&Actor::player("Lu"), channel, None).await.expect("a listener");
    assert!(matches!(live.next().await, Ok(LiveEvent::Live)));
    let mut other = PgConnection::connect(&fixture.config.url).await.expect("the database");
    let mut locking = other.begin().await.expect("a transaction");
    sqlx::query("SELECT 1 FROM chat_channels FOR UPDATE").execute(&mut *locking).await.expect("the lock");

    // The repeat waits in line behind the first attempt.
    for attempt in 0..2 {
        let given_up = post(&chat, channel, "a1").await;
        assert!(given_up.as_ref().is_err_and(|error| error.class() == Class::Unavailable), "{attempt}: {given_up:?}");
    }
    assert_eq!(messages(&fixture, channel).await, 1);
    locking.rollback().await.expect("the lock is gone");

    let heard = live.next().await.expect("the listener looks at the head by itself");
    let LiveEvent::Posted(heard) = heard else { panic!("a message is heard, not {heard:?}") };
    let again = post(&chat, channel, "a1").await.expect("the lane goes on");
    assert_eq!((again.message.id, again.fresh), (heard.message.id, false));
    assert_eq!(messages(&fixture, channel).await, 2, "one that was there, and one that was posted three times");
}

/// Waits until so many connections of the store stand in line for a lock.
async fn waiting(fixture: &Fixture, count: i64) {
    let waiting = "SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock' AND state = 'active'";
    while fixture.count(waiting).await != count {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
#[ignore = "needs WW_TEST_POSTGRES_URL"]
async fn an_attempt_behind_locks_is_ended_by_the_server_too() {
    const MINUTE: Duration = Duration::from_mins(1);
    let (fixture, channel) = one_reader().await;
    let store = Arc::clone(&fixture.stores.chat);
    let append = |new: NewMessage| {
        let store = Arc::clone(&store);
        let new = NewMessage { channel, ..new };
        tokio::spawn(async move { store.append(&[new]).await })
    };
    let mut first = PgConnection::connect(&fixture.config.url).await.expect("the database");
    let mut second = PgConnection::connect(&fixture.config.url).await.expect("the database");
    let mut locking = first.begin().await.expect("a transaction");
    sqlx::query("SELECT 1 FROM chat_channels FOR UPDATE").execute(&mut *locking).await.expect("the lock");
    let repeat = append(NewMessage { id: MessageId::new(Uuid::from_u128(1)), ..NewMessage::sample("Twice") });
    waiting(&fixture, 1).await;

    // Stored while the first attempt waits, which then fails; the second one finds the lock taken by the next in line.
    let stored = "INSERT INTO chat_messages
        (channel_id, seq, change, posted_change, id, author_id, author_name, body, fingerprint, client_id, sent_at)
        SELECT channel_id, 2, 2, 2, gen_random_uuid(), author_id, author_name, body, fingerprint, 'Twice', sent_at
        FROM chat_messages";
    sqlx::query(stored).execute(&mut *locking).await.expect("a message");
    let counted = "UPDATE chat_channels SET last_seq = 2, last_change = 2";
    sqlx::query(counted).execute(&mut *locking).await.expect("the counters");
    let next_in_line = tokio::spawn(async move {
        let mut locking = second.begin().await.expect("a transaction");
        // Of a table, because these are given in the order in which they were asked for.
        sqlx::query("LOCK TABLE chat_channels IN EXCLUSIVE MODE").execute(&mut *locking).await.expect("the lock");
        std::future::pending::<()>().await;
    });
    waiting(&fixture, 2).await;
    locking.commit().await.expect("the message is stored");
    waiting(&fixture, 1).await;
    let given_up = repeat.await.expect("no panic").expect_err("the lock is not free");

    let told = weltenwind_core::chain(&given_up);
    assert!(given_up.is_transient() && told.contains("statement timeout"), "{told}");
    next_in_line.abort();
    let paced = NewMessage::sample("Paced");
    let paced = NewMessage { sent_at: paced.sent_at + MINUTE, pause: MINUTE, ..paced };
    let written =
        append(paced).await.expect("no panic").expect("the lock is free, and the connection as good as before");
    assert_eq!(written[0].as_ref().map(|message| message.seq.get()), Ok(3), "nothing was written before");
}
