//! What was missed, then what happens: without a gap or a repeat in between.

#![allow(clippy::unwrap_used, reason = "clippy knows tests, and not the functions that they share")]

mod support;

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use serde_json::{Value, json};
use support::{Client, Node, room};
use weltenwind_core::{
    AccountId, Actor, ChannelId, IdGenerator as _, Limit, MessageId, SystemIds,
    accounts::DisplayName,
    chat::{
        Author, Body, Change, ChatStore as _, Draft, MessageQuery, NewMessage, Position, RemovalMode, RoomPosition,
    },
};
use weltenwind_ws::RealtimeConfig;

/// Writes messages straight into the store, where nobody announces them.
async fn fill(node: &Node, channel: ChannelId, count: usize) {
    fill_with(node, channel, count, |n| format!("old {n}")).await;
}

async fn fill_with(node: &Node, channel: ChannelId, count: usize, text: impl Fn(usize) -> String) {
    let author = Author { id: AccountId::new(SystemIds.draw()), display_name: DisplayName::new("Old").unwrap() };
    let batch: Vec<NewMessage> = (0..count)
        .map(|n| NewMessage {
            id: MessageId::new(SystemIds.draw()),
            channel,
            author: author.clone(),
            body: Body::new(&text(n)).unwrap(),
            client_id: None,
            reply_to: None,
            sent_at: node.town.services.sources.clock.now(),
            pause: Duration::ZERO,
        })
        .collect();
    for batch in batch.chunks(256) {
        node.town.chat.append(batch).await.unwrap();
    }
}

/// As the store says it, which was filled past the service.
async fn position(node: &Node, channel: ChannelId) -> RoomPosition {
    let query = MessageQuery { channel, position: Position::Newest, limit: Limit::default() };
    node.town.chat.page(&query).await.unwrap().unwrap().position
}

/// Deletes the oldest messages, as retention does.
async fn purge(node: &Node, channel: ChannelId, count: u32) {
    let tomorrow = node.town.services.sources.clock.now() + Duration::from_hours(24);
    assert_eq!(node.town.chat.purge(channel, tomorrow, count).await.unwrap(), u64::from(count));
}

/// Reads `count` messages and asserts that they are exactly those behind `after`.
async fn expect_seqs(client: &mut Client, after: i64, count: i64) {
    for seq in after + 1..=after + count {
        let msg = client.skip_to("msg").await;
        assert_eq!(msg["seq"], seq, "neither lost nor doubled");
    }
}

#[tokio::test]
async fn a_join_without_a_cursor_replays_nothing() {
    let node = Node::start().await;
    let lobby = node.channel("lobby").await;
    fill(&node, lobby, 3).await;
    let mut mira = node.connect(&node.guest("Mira").await).await;

    let joined = mira.join(lobby, None).await;

    assert_eq!(joined["recovered"], false, "who names no position has nothing to recover");
    assert_eq!(mira.expect("live").await, json!({ "t": "live", "room": room(lobby) }));
}

#[tokio::test]
async fn a_cursor_replays_what_was_missed_and_then_what_happens() {
    let node = Node::start().await;
    let lobby = node.channel("lobby").await;
    let mut mira = node.member("Mira", lobby).await;
    mira.post(1, lobby, "before").await;
    let cursor = mira.skip_to("msg").await["cursor"].as_str().unwrap().to_owned();
    mira.send(json!({ "t": "leave", "id": 2, "room": room(lobby) })).await;
    mira.skip_to("left").await;
    fill(&node, lobby, 500).await;

    let joined = mira.join(lobby, Some(&cursor)).await;
    assert_eq!((&joined["recovered"], joined["cursor"].as_str()), (&json!(true), Some(cursor.as_str())));
    expect_seqs(&mut mira, 1, 500).await;
    mira.expect("live").await;
    mira.post(3, lobby, "after").await;

    assert_eq!(mira.skip_to("msg").await["seq"], 502);
    assert_eq!(node.metric("weltenwind_ws_replayed_total"), 500);
}

#[tokio::test]
async fn the_cursor_of_the_history_serves_a_join() {
    let node = Node::start().await;
    let lobby = node.channel("lobby").await;
    fill(&node, lobby, 2).await;
    let cursor = node.town.services.cursors.seal_room(lobby, position(&node, lobby).await);
    fill(&node, lobby, 1).await;
    let mut mira = node.connect(&node.guest("Mira").await).await;

    mira.join(lobby, Some(&cursor)).await;

    assert_eq!(mira.expect("msg").await["seq"], 3);
    mira.expect("live").await;
}

#[tokio::test]
async fn a_replay_shows_each_message_once_and_in_its_newest_state() {
    let node = Node::start().await;
    let lobby = node.channel("lobby").await;
    let (chat, author) = (&node.town.services.chat, Actor::player("Lu"));
    let seen = chat.post(&author, Draft::new(lobby, "seen")).await.unwrap().message;
    let cursor = node.town.services.cursors.seal_room(lobby, position(&node, lobby).await);
    let missed = chat.post(&author, Draft::new(lobby, "mised")).await.unwrap().message;
    chat.edit(&author, missed.id, "missed").await.unwrap();
    chat.remove(&author, seen.id, RemovalMode::Mask, None).await.unwrap();
    let mut mira = node.connect(&node.guest("Mira").await).await;

    mira.join(lobby, Some(&cursor)).await;

    assert_eq!(mira.expect("msg").await["message"]["body"], "missed");
    let removed = mira.expect("update").await;
    assert_eq!((&removed["message"]["seq"], &removed["message"]["body"]), (&json!(1), &Value::Null));
    mira.expect("live").await;
}

#[tokio::test]
async fn who_leaves_in_the_midst_of_a_replay_is_told_as_new_what_it_never_was_told() {
    let node = Node::start().await;
    let lobby = node.channel("lobby").await;
    let (chat, author) = (&node.town.services.chat, Actor::player("Lu"));
    // On one page of the store, and on several.
    for count in [5_i64, 450] {
        let cursor = node.town.services.cursors.seal_room(lobby, position(&node, lobby).await);
        let first = chat.post(&author, Draft::new(lobby, "frist")).await.unwrap().message;
        fill(&node, lobby, usize::try_from(count).unwrap()).await;
        chat.edit(&author, first.id, "first").await.unwrap();
        let mut mira = node.connect(&node.guest("Mira").await).await;
        mira.join(lobby, Some(&cursor)).await;
        expect_seqs(&mut mira, first.seq.get(), 2).await;
        let left_at = mira.expect("msg").await["cursor"].as_str().unwrap().to_owned();
        drop(mira);
        // Nothing of this was in the replay that was left.
        chat.edit(&author, first.id, "first of all").await.unwrap();
        let mut mira = node.connect(&node.guest("Mira").await).await;

        let joined = mira.join(lobby, Some(&left_at)).await;

        assert_eq!((&joined["recovered"], joined["cursor"].as_str()), (&json!(true), Some(left_at.as_str())));
        expect_seqs(&mut mira, first.seq.get() + 3, count - 3).await;
        let told = mira.expect("msg").await;
        assert_eq!((&told["seq"], &told["message"]["body"]), (&json!(first.seq.get()), &json!("first of all")));
        mira.expect("live").await;
        // From here on it knows everything, also when it comes back.
        let end = told["cursor"].as_str().unwrap();
        chat.edit(&author, first.id, "the first of all").await.unwrap();
        assert_eq!(mira.expect("update").await["message"]["seq"], first.seq.get());
        let mut again = node.connect(&node.guest("Mira").await).await;
        again.join(lobby, Some(end)).await;
        assert_eq!(again.expect("update").await["message"]["body"], "the first of all");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn joins_at_any_position_lose_and_double_nothing_while_others_post() {
    const POSTS: i64 = 2000;
    let node = Node::start().await;
    let lobby = node.channel("lobby").await;
    let epoch = position(&node, lobby).await.epoch;
    let chat = node.town.services.chat.clone();
    let posting = tokio::spawn(async move {
        let author = Actor::player("Lu");
        for n in 0..POSTS {
            chat.post(&author, Draft::new(lobby, format!("{n}"))).await.unwrap();
        }
    });

    let mut listening = Vec::new();
    let mut seed = 7_i64;
    for n in 0..40 {
        let mut client = node.connect(&node.guest(&format!("Reader {n}")).await).await;
        let head = position(&node, lobby).await.change.get();
        seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648;
        let from = seed % (head + 1);
        let since = node.town.services.cursors.seal_room(lobby, RoomPosition { epoch, change: Change::new(from) });
        client.join(lobby, Some(&since)).await;
        listening.push(tokio::spawn(async move {
            let mut lives = 0;
            let mut next = from + 1;
            while next <= POSTS || lives == 0 {
                let record = client.next().await.expect("the socket stays");
                match record["t"].as_str().unwrap() {
                    "msg" => {
                        assert_eq!(record["seq"], next, "neither lost nor doubled");
                        next += 1;
                    }
                    "live" => lives += 1,
                    other => panic!("{other}"),
                }
            }
            assert_eq!(lives, 1);
        }));
    }

    posting.await.unwrap();
    for listener in listening {
        listener.await.unwrap();
    }
    assert_eq!(node.metric("weltenwind_ws_gaps_total"), 0);
}

#[tokio::test]
async fn a_position_too_far_back_is_a_gap_before_any_message() {
    let node = Node::start().await;
    let lobby = node.channel("lobby").await;
    let start = position(&node, lobby).await;
    fill(&node, lobby, 10_001).await;
    let cursors = &node.town.services.cursors;
    let head = cursors.seal_room(lobby, position(&node, lobby).await);
    let mut mira = node.connect(&node.guest("Mira").await).await;

    let joined = mira.join(lobby, Some(&cursors.seal_room(lobby, start))).await;

    assert_eq!((&joined["recovered"], joined["cursor"].as_str()), (&json!(false), Some(head.as_str())));
    let gap = mira.expect("gap").await;
    assert_eq!(gap, json!({ "t": "gap", "room": room(lobby), "cause": "window", "cursor": head }));
    mira.expect("live").await;
    assert_eq!(node.metric("weltenwind_ws_gaps_total"), 1);
}

#[tokio::test]
async fn what_retention_deleted_is_a_gap_before_any_message_to_who_had_not_seen_it() {
    let node = Node::start().await;
    let lobby = node.channel("lobby").await;
    fill(&node, lobby, 9).await;
    purge(&node, lobby, 4).await;
    let (cursors, head) = (&node.town.services.cursors, position(&node, lobby).await);
    let since = |change| cursors.seal_room(lobby, RoomPosition { change: Change::new(change), ..head });
    let (mut away, mut knew) =
        (node.connect(&node.guest("Away").await).await, node.connect(&node.guest("Knew").await).await);

    let joined = away.join(lobby, Some(&since(3))).await;
    assert_eq!((&joined["recovered"], &joined["cursor"]), (&json!(false), &json!(since(9))));
    let gap = away.expect("gap").await;
    assert_eq!(gap, json!({ "t": "gap", "room": room(lobby), "cause": "window", "cursor": since(9) }));
    away.expect("live").await;

    assert_eq!(knew.join(lobby, Some(&since(4))).await["recovered"], true);
    expect_seqs(&mut knew, 4, 5).await;
    knew.expect("live").await;
    assert_eq!(node.metric("weltenwind_ws_gaps_total"), 1);
}

#[tokio::test(start_paused = true)]
async fn what_retention_deletes_in_the_middle_of_a_replay_is_a_gap_behind_what_was_told() {
    let node = Node::start().await;
    let lobby = node.channel("lobby").await;
    let start = node.town.services.cursors.seal_room(lobby, position(&node, lobby).await);
    fill(&node, lobby, 600).await;
    node.town.chat.changes_take.store(100, Ordering::SeqCst);
    let mut mira = node.connect(&node.guest("Mira").await).await;

    assert_eq!(mira.join(lobby, Some(&start)).await["recovered"], true);
    expect_seqs(&mut mira, 0, 1).await;
    purge(&node, lobby, 400).await;

    let mut told = 1;
    let gap = loop {
        let record = mira.next().await.unwrap();
        if record["t"] != "msg" {
            break record;
        }
        told += 1;
        assert_eq!(record["seq"], told);
    };
    assert!((100..400).contains(&told), "a page: {told}");
    let head = node.town.services.cursors.seal_room(lobby, position(&node, lobby).await);
    assert_eq!(gap, json!({ "t": "gap", "room": room(lobby), "cause": "window", "cursor": head }));
    mira.expect("live").await;
}

#[tokio::test(start_paused = true)]
async fn whoever_comes_back_from_one_place_at_once_reads_each_page_once() {
    const MESSAGES: usize = 1_000;
    const CLIENTS: u64 = 50;
    let node = Node::start().await;
    let lobby = node.channel("lobby").await;
    let start = node.town.services.cursors.seal_room(lobby, position(&node, lobby).await);
    fill(&node, lobby, MESSAGES).await;
    let chat = Arc::clone(&node.town.chat);
    chat.changes_take.store(5, Ordering::SeqCst);
    let mut clients = Vec::new();
    for n in 0..=CLIENTS {
        clients.push(node.connect(&node.guest(&format!("Reader {n}")).await).await);
    }
    let replayed = async |mut client: Client, start: String| {
        assert_eq!(client.join(lobby, Some(&start)).await["recovered"], true);
        expect_seqs(&mut client, 0, i64::try_from(MESSAGES).unwrap()).await;
        client.expect("live").await;
    };
    replayed(clients.pop().unwrap(), start.clone()).await;
    let pages = chat.changes_read.swap(0, Ordering::SeqCst);
    assert!(pages > 4, "one alone reads {pages}");

    futures_util::future::join_all(clients.into_iter().map(|client| replayed(client, start.clone()))).await;

    assert_eq!(chat.changes_read.load(Ordering::SeqCst), pages);
    assert_eq!(node.metric_of("weltenwind_ws_pages_total", Some("replay")), (CLIENTS + 1) * pages);
    assert_eq!(node.metric("weltenwind_ws_page_bytes"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_room_that_is_far_behind_begins_no_reading_that_it_gives_up() {
    const MISSED: usize = 1_000;
    let node = Node::start().await;
    let lobby = node.channel("lobby").await;
    let mut mira = node.member("Mira", lobby).await;
    let chat = Arc::clone(&node.town.chat);
    chat.changes_take.store(5, Ordering::SeqCst);

    fill(&node, lobby, MISSED).await;
    node.town.services.chat.post(&Actor::player("Lu"), Draft::new(lobby, "heard")).await.unwrap();

    expect_seqs(&mut mira, 0, i64::try_from(MISSED + 1).unwrap()).await;
    let (begun, read) = (chat.changes_begun.load(Ordering::SeqCst), chat.changes_read.load(Ordering::SeqCst));
    assert!(begun == read && read > 5, "{begun} were begun, {read} read to the end");
}

#[tokio::test(start_paused = true)]
async fn who_does_not_read_a_replay_of_the_longest_texts_holds_no_more_than_a_page_of_64_kib() {
    const MESSAGES: i64 = 300;
    const PAGE: u64 = 64 * 1024 + 2 * 10;
    let config = RealtimeConfig { send_buffer_bytes: 4 * 1024, ..RealtimeConfig::default() };
    let node = Node::with(config).await;
    let lobby = node.channel("lobby").await;
    let head = position(&node, lobby).await;
    let since = |change| {
        let at = RoomPosition { change: Change::new(change), ..head };
        node.town.services.cursors.seal_room(lobby, at)
    };
    // Four bytes each, the most that a character takes.
    fill_with(&node, lobby, usize::try_from(MESSAGES).unwrap(), |_| "\u{1F32C}".repeat(2000)).await;
    let mut slow = Vec::new();
    // Three from one place, and one from another.
    for from in [0, 0, 0, 1] {
        let guest = node.guest(&format!("Slow {}", slow.len())).await;
        let mut client = node.connect_over(node.pipe(None, 4 * 1024), &guest).await;
        client.answers_pings = true;
        client.join(lobby, Some(&since(from))).await;
        slow.push((from, client));
    }

    tokio::time::sleep(Duration::from_secs(1)).await;
    let bytes = node.metric("weltenwind_ws_page_bytes");
    assert!((PAGE..=2 * PAGE).contains(&bytes), "two pages, one of them shared, are {bytes} bytes");

    for (from, client) in &mut slow {
        expect_seqs(client, *from, MESSAGES - *from).await;
        client.skip_to("live").await;
    }
    assert_eq!(node.metric("weltenwind_ws_page_bytes"), 0);
    assert_eq!(node.metric("weltenwind_ws_gaps_total"), 0);
}

#[tokio::test]
async fn the_whole_window_is_replayed_in_bounded_frames() {
    let node = Node::start().await;
    let (lobby, other) = (node.channel("lobby").await, node.channel("other").await);
    let start = node.town.services.cursors.seal_room(lobby, position(&node, lobby).await);
    fill(&node, lobby, 10_000).await;
    let mut mira = node.member("Mira", other).await;

    let joined = mira.join(lobby, Some(&start)).await;
    assert_eq!(joined["recovered"], true);
    node.town.services.chat.post(&Actor::player("Lu"), Draft::new(other, "live")).await.unwrap();

    let (mut replayed, mut live_after) = (0, None);
    while replayed < 10_000 {
        let msg = mira.expect("msg").await;
        if msg["room"] == room(lobby) {
            replayed += 1;
            assert_eq!(msg["seq"], replayed);
        } else {
            live_after = Some(replayed);
        }
    }
    mira.expect("live").await;
    let live_after = live_after.expect("the other room was heard meanwhile");
    assert!(live_after < 9_000, "a replay does not hold up live rooms: {live_after}");
    assert!(mira.largest_frame <= 64 * 1024, "{}", mira.largest_frame);
}

#[tokio::test]
async fn a_position_of_another_life_or_of_the_future_is_a_gap() {
    let node = Node::start().await;
    let lobby = node.channel("lobby").await;
    fill(&node, lobby, 5).await;
    let head = position(&node, lobby).await;
    let foreign = RoomPosition { epoch: head.epoch.wrapping_add(1), ..head };
    let future = RoomPosition { change: Change::new(6), ..head };

    for since in [foreign, future] {
        let mut mira = node.connect(&node.guest("Mira").await).await;
        let joined = mira.join(lobby, Some(&node.town.services.cursors.seal_room(lobby, since))).await;
        assert_eq!(joined["recovered"], false);
        assert_eq!(mira.expect("gap").await["cause"], "epoch");
        mira.expect("live").await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_bus_lost_is_read_from_the_store() {
    let node = Node::start().await;
    let lobby = node.channel("lobby").await;
    let mut mira = node.member("Mira", lobby).await;

    // Nobody announces these.
    fill(&node, lobby, 3).await;

    expect_seqs(&mut mira, 0, 3).await;
}

#[tokio::test]
async fn a_reader_that_fell_behind_is_served_from_the_store() {
    let config = RealtimeConfig { send_buffer_bytes: 4 * 1024, ..RealtimeConfig::default() };
    let node = Node::with(config).await;
    let lobby = node.channel("lobby").await;
    // The pipe takes a few records, and the bus keeps 256 events: most of it is missed while nobody reads.
    let mut mira = node.connect_over(node.pipe(None, 4 * 1024), &node.guest("Mira").await).await;
    mira.join(lobby, None).await;
    mira.expect("live").await;
    for n in 0..1000 {
        node.town.services.chat.post(&Actor::player("Lu"), Draft::new(lobby, format!("{n}"))).await.unwrap();
    }

    expect_seqs(&mut mira, 0, 1000).await;

    assert_eq!(node.metric("weltenwind_ws_gaps_total"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_room_whose_store_is_away_is_late_and_loses_nothing() {
    let node = Node::start().await;
    let lobby = node.channel("lobby").await;
    let mut mira = node.member("Mira", lobby).await;
    mira.answers_pings = true;
    fill(&node, lobby, 3).await;
    let away = &node.town.chat.away;
    away.store(true, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(20)).await;
    mira.post(1, lobby, "hello?").await;
    assert_eq!(mira.expect_err("unavailable").await["retryAfterMs"], 1000);

    away.store(false, Ordering::SeqCst);

    expect_seqs(&mut mira, 0, 3).await;
    mira.post(1, lobby, "hello?").await;
    assert_eq!(mira.expect("ok").await["message"]["seq"], 4);
}
