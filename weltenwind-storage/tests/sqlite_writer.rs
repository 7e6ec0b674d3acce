//! What the one writing task of SQLite promises, seen through the ports.
#![cfg(all(feature = "sqlite", feature = "postgres"))]
#![allow(clippy::unwrap_used, reason = "clippy knows tests, and not the functions that they share")]

mod fixture;

use std::{sync::Arc, time::Duration};

use futures_util::{FutureExt as _, future::join_all};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, SqliteConnection};
use uuid::Uuid;
use weltenwind_core::{
    Actor, Class, Classify as _, Step, Stores, Timestamp, WorldId,
    chat::{AppendConfig, Chat, Draft, NewChannel, NewMessage, Seq},
    worlds::{Description, JoinPolicy, NewWorld, Slug, Visibility, WorldAmendment, WorldChange, WorldError, WorldName},
};
use weltenwind_storage::{StorageConfig, open};

use self::fixture::{sqlite, sqlite_place};

fn step() -> Step {
    Step::sample(Timestamp::from_second(1_767_225_600).unwrap())
}

fn world(n: u128) -> NewWorld {
    NewWorld {
        id: WorldId::new(Uuid::from_u128(n)),
        slug: Slug::new(&format!("world-{n}")).unwrap(),
        name: WorldName::new("Mistral").unwrap(),
        description: Description::new("").unwrap(),
        visibility: Visibility::Public,
        join_policy: JoinPolicy::Open,
        owner: None,
    }
}

async fn make(stores: &Stores, n: u128) -> Result<(), WorldError> {
    stores.worlds.create(&step(), &world(n)).await.map(drop)
}

async fn has(stores: &Stores, n: u128) -> bool {
    stores.worlds.find(WorldId::new(Uuid::from_u128(n))).await.unwrap().is_some()
}

#[tokio::test]
async fn a_step_whose_caller_went_away_is_committed() {
    let fixture = sqlite().await;

    let mut abandoned = Box::pin(make(&fixture.stores, 1));
    assert!(abandoned.as_mut().now_or_never().is_none(), "one look queues the step and does not finish it");
    drop(abandoned);
    make(&fixture.stores, 2).await.unwrap();

    assert!(has(&fixture.stores, 1).await);
}

#[tokio::test]
async fn a_full_queue_refuses_what_can_be_repeated() {
    let (config, _place) = sqlite_place();
    let stores = open(&StorageConfig { write_queue: 2, ..config }).await.unwrap();

    let answers = join_all((1..=50).map(|n| make(&stores, n))).await;

    let mut refused = 0;
    for (n, answer) in (1..).zip(answers) {
        let made = answer.is_ok();
        if let Err(error) = answer {
            assert!(matches!(&error, WorldError::Storage(error) if error.is_transient()), "{error:?}");
            refused += 1;
            make(&stores, n).await.unwrap();
        }
        assert!(has(&stores, n).await, "{n} was {}", if made { "acknowledged" } else { "repeated" });
    }
    assert!(refused > 0);
}

#[tokio::test]
async fn closing_waits_for_what_is_queued_and_leaves_one_file() {
    let (config, _place) = sqlite_place();
    let stores = open(&config).await.unwrap();

    let makers = join_all((1..=20).map(|n| make(&stores, n)));
    let (made, ()) = tokio::join!(makers, stores.health.close());

    assert!(made.iter().all(Result::is_ok), "{made:?}");
    let path = config.url.trim_start_matches("sqlite://");
    let folder = std::path::Path::new(path).parent().unwrap();
    let files: Vec<_> = folder.read_dir().unwrap().map(|file| file.unwrap().file_name()).collect();
    assert_eq!(files, ["weltenwind.db"]);
    let late = make(&stores, 21).await.unwrap_err();
    assert!(matches!(&late, WorldError::Storage(error) if error.is_transient()), "{late:?}");
    let again = open(&config).await.unwrap();
    for n in 1..=20 {
        assert!(has(&again, n).await);
    }
    assert!(!has(&again, 21).await);
}

#[tokio::test]
async fn a_store_that_was_dropped_without_closing_is_whole() {
    let (config, _place) = sqlite_place();
    let stores = open(&config).await.unwrap();
    make(&stores, 1).await.unwrap();

    drop(stores);

    let again = open(&config).await.unwrap();
    assert!(has(&again, 1).await);
    make(&again, 2).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_programs_write_to_one_file() {
    let (config, _place) = sqlite_place();
    let (server, console) = (open(&config).await.unwrap(), open(&config).await.unwrap());

    let by_server = join_all((1..=30).map(|n| make(&server, n)));
    let by_console = join_all((31..=60).map(|n| make(&console, n)));
    let (by_server, by_console) = tokio::join!(by_server, by_console);

    assert!(by_server.iter().chain(&by_console).all(Result::is_ok));
    for n in 1..=60 {
        assert!(has(&server, n).await && has(&console, n).await);
    }
    let taken = server.worlds.create(&step(), &NewWorld { id: WorldId::new(Uuid::from_u128(99)), ..world(31) }).await;
    assert!(matches!(taken, Err(WorldError::SlugTaken(_))), "{taken:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_program_reads_before_it_writes_another_does_not_change_meanwhile() {
    let (config, _place) = sqlite_place();
    let (server, console) = (open(&config).await.unwrap(), open(&config).await.unwrap());
    make(&server, 1).await.unwrap();
    let change = WorldChange {
        id: WorldId::new(Uuid::from_u128(1)),
        expected: None,
        amendment: WorldAmendment::default(),
        archive: false,
    };
    let step = step();

    let by_server = join_all((0..50).map(|_| server.worlds.amend(&step, &change)));
    let by_console = join_all((0..50).map(|_| console.worlds.amend(&step, &change)));
    let (by_server, by_console) = tokio::join!(by_server, by_console);

    let mut revisions: Vec<i64> =
        by_server.into_iter().chain(by_console).map(|answer| answer.unwrap().revision.get()).collect();
    revisions.sort_unstable();
    assert_eq!(revisions, (2..=101).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_file_that_stays_locked_can_be_read_and_written_later() {
    let (config, _place) = sqlite_place();
    let stores = open(&StorageConfig { busy_timeout_ms: 50, ..config.clone() }).await.unwrap();
    make(&stores, 1).await.unwrap();
    let mut other = SqliteConnection::connect(&config.url).await.unwrap();
    other.execute("BEGIN IMMEDIATE").await.unwrap();

    let refusal = make(&stores, 2).await.unwrap_err();
    assert!(matches!(&refusal, WorldError::Storage(error) if error.is_transient()), "{refusal:?}");
    assert!(has(&stores, 1).await);

    other.execute("ROLLBACK").await.unwrap();
    make(&stores, 2).await.unwrap();
}

/// A batch that fails behind its first row, once with its transaction left open and once rolled back by SQLite itself.
#[tokio::test]
async fn a_batch_of_messages_that_fails_half_way_leaves_nothing_behind() {
    let (config, _place) = sqlite_place();
    let stores = open(&config).await.unwrap();
    let mut beside = SqliteConnection::connect(&config.url).await.unwrap();
    let (first, second) = (NewMessage::sample("well met"), NewMessage::sample("who is there"));
    let channel = stores.chat.create_channel(&step(), &NewChannel::sample(1)).await.unwrap();

    for (place, raised) in [
        ("BEFORE INSERT ON chat_messages WHEN NEW.seq = 2", "ABORT"),
        ("BEFORE INSERT ON chat_messages WHEN NEW.seq = 2", "FAIL"),
        ("BEFORE INSERT ON chat_messages WHEN NEW.seq = 2", "ROLLBACK"),
        ("BEFORE UPDATE ON chat_channels", "ABORT"),
        ("BEFORE UPDATE ON chat_channels", "ROLLBACK"),
    ] {
        let trigger = format!("CREATE TRIGGER stop {place} BEGIN SELECT RAISE({raised}, 'stopped'); END");
        beside.execute(AssertSqlSafe(trigger)).await.unwrap();
        let failure = stores.chat.append(&[first.clone(), second.clone()]).await.unwrap_err();
        beside.execute("DROP TRIGGER stop").await.unwrap();

        assert!(!failure.is_transient(), "{failure:?}");
        assert!(weltenwind_core::chain(&failure).contains("stopped"), "{failure:?}");
        for message in [&first, &second] {
            assert_eq!(stores.chat.find_message(message.id).await.unwrap(), None, "{place} {raised}");
        }
    }
    make(&stores, 1).await.unwrap();
    let appended = stores.chat.append(&[first, second]).await.unwrap();

    let numbers =
        appended.iter().map(|message| message.as_ref().map(|message| (message.seq.get(), message.change.get())));
    assert_eq!(numbers.collect::<Vec<_>>(), [Ok((1, 1)), Ok((2, 2))]);
    assert_eq!(stores.chat.find_channel(channel.id).await.unwrap(), Some(channel));
}

#[tokio::test]
async fn a_batch_of_messages_that_was_given_up_is_written_when_its_turn_comes() {
    let (config, _place) = sqlite_place();
    let stores = open(&config).await.unwrap();
    let channel = NewChannel::sample(1);
    stores.chat.create_channel(&step(), &channel).await.unwrap();
    let append = AppendConfig { patience: Duration::from_millis(200), ..AppendConfig::default() };
    let chat = Chat::builder(Arc::clone(&stores.chat)).append(append).build();
    let mira = Actor::player("Mira");
    let post = |body: &str| chat.post(&mira, Draft::new(channel.id, body).with_client_id(body));
    let mut other = SqliteConnection::connect(&config.url).await.unwrap();
    other.execute("BEGIN IMMEDIATE").await.unwrap();

    let given_up = post("late").await;
    assert!(given_up.as_ref().is_err_and(|error| error.class() == Class::Unavailable), "{given_up:?}");
    other.execute("ROLLBACK").await.unwrap();

    let next = loop {
        // The writer waits for the file a moment longer than it is locked.
        match post("next").await {
            Ok(posted) => break posted,
            Err(error) => assert_eq!(error.class(), Class::Unavailable, "{error:?}"),
        }
    };
    let again = post("late").await.unwrap();
    assert_eq!((again.message.seq, again.fresh), (Seq::new(1), false));
    assert_eq!(next.message.seq, Seq::new(2));
}
