//! How long a socket lasts, and why it ends.

mod support;

use std::{sync::atomic::Ordering, time::Duration};

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use support::{
    Node,
    raw::{FIN, TEXT, masked},
    room,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::Instant,
};
use tokio_tungstenite::tungstenite::Message;
use weltenwind_core::{
    Actor, CorrelationId,
    chat::Draft,
    limits::{LimitsConfig, Quota, Unit},
};
use weltenwind_ws::RealtimeConfig;

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_silent_client_is_asked_after_25_seconds_and_given_up_10_later() {
    let node = Node::start().await;
    let mut mira = node.connect(&node.guest("Mira").await).await;
    let start = Instant::now();

    assert_eq!(mira.expect("ping").await, json!({ "t": "ping" }));
    assert_eq!(start.elapsed().as_secs(), 25);
    let bye = mira.expect_bye(4002).await;

    assert_eq!(start.elapsed().as_secs(), 35);
    assert_eq!(bye["resume"], true);
    node.all_gone().await;
    assert_eq!(node.metric_of("weltenwind_ws_closed_total", Some("4002")), 1);
}

#[tokio::test(start_paused = true)]
async fn whatever_a_client_sends_is_a_sign_of_life() {
    let node = Node::start().await;
    let mut mira = node.connect(&node.guest("Mira").await).await;
    let start = Instant::now();

    for sign in [Message::text(r#"{"t":"pong"}"#), Message::Ping("".into()), Message::Pong("".into())] {
        mira.expect("ping").await;
        tokio::time::sleep(9 * SECOND).await;
        mira.socket.send(sign).await.unwrap();
    }
    mira.expect("ping").await;

    assert_eq!(start.elapsed().as_secs(), 4 * 25 + 3 * 9);
}

#[tokio::test(start_paused = true)]
async fn pings_of_the_protocol_are_answered() {
    let node = Node::start().await;
    let mut mira = node.connect(&node.guest("Mira").await).await;

    mira.socket.send(Message::Ping("there?".into())).await.unwrap();

    assert_eq!(mira.socket.next().await.unwrap().unwrap(), Message::Pong("there?".into()));
}

#[tokio::test(start_paused = true)]
async fn a_token_is_asked_for_at_80_percent_of_its_life_and_missed_25_seconds_after_its_end() {
    let node = Node::start().await;
    let mut mira = node.connect(&node.guest("Mira").await).await;
    mira.answers_pings = true;
    let start = Instant::now();

    mira.expect("refresh-needed").await;
    assert_eq!(start.elapsed().as_secs(), 240);
    let bye = mira.expect_bye(4100).await;

    assert_eq!(start.elapsed().as_secs(), 325);
    assert_eq!(bye["resume"], true);
}

#[tokio::test(start_paused = true)]
async fn a_newer_token_of_the_session_carries_the_socket_on() {
    let node = Node::start().await;
    let (mira_grant, lu) = (node.guest("Mira").await, node.guest("Lu").await);
    let mut mira = node.connect(&mira_grant).await;
    mira.answers_pings = true;
    let start = Instant::now();
    mira.expect("refresh-needed").await;
    node.town.clock.advance(240 * SECOND);

    mira.send(json!({ "t": "refresh", "id": 1, "token": lu.access_token.expose() })).await;
    assert_eq!(mira.expect_err("token-invalid").await["id"], 1);
    mira.send(json!({ "t": "refresh", "token": "noise" })).await;
    assert_eq!(mira.expect_err("token-invalid").await["id"], Value::Null);
    let request = CorrelationId::accept("refresh-1").unwrap();
    let accounts = &node.town.services.accounts;
    let newer = accounts.refresh(&Actor::anonymous(request), mira_grant.refresh_token.expose()).await.unwrap();
    mira.send(json!({ "t": "refresh", "id": 2, "token": newer.access_token.expose() })).await;
    assert_eq!(mira.expect("ok").await, json!({ "t": "ok", "id": 2 }));

    mira.expect("refresh-needed").await;
    assert_eq!(start.elapsed().as_secs(), 480);
}

#[tokio::test]
async fn newer_tokens_are_counted_as_changes_before_they_are_looked_at() {
    let quota = Quota::per(2, Unit::Hour);
    let limits = LimitsConfig { write: quota, ..LimitsConfig::uniform(Quota::per(1_000_000, Unit::Second)) };
    let node = Node::limited(limits).await;
    let grant = node.guest("Mira").await;
    let mut mira = node.connect(&grant).await;

    for id in 1..=2 {
        mira.send(json!({ "t": "refresh", "id": id, "token": "noise" })).await;
        assert_eq!(mira.expect_err("token-invalid").await["id"], id);
    }
    mira.send(json!({ "t": "refresh", "id": 3, "token": grant.access_token.expose() })).await;
    let refused = mira.expect_err("rate-limited").await;

    assert_eq!((&refused["id"], &refused["retryAfterMs"]), (&json!(3), &json!(30 * 60 * 1000)));
}

#[tokio::test(start_paused = true)]
async fn a_socket_of_a_session_that_ended_is_closed_at_the_next_look() {
    let node = Node::start().await;
    let grant = node.guest("Mira").await;
    let mut mira = node.connect(&grant).await;

    node.town.services.accounts.sign_out(&node.actor(&grant).await).await.unwrap();

    let bye = mira.skip_to("bye").await;
    assert_eq!((&bye["code"], &bye["resume"]), (&json!(4201), &json!(false)));
    mira.expect_close(4201).await;
}

#[tokio::test]
async fn a_session_that_ended_posts_nothing_more() {
    let node = Node::start().await;
    let lobby = node.channel("lobby").await;
    let grant = node.guest("Mira").await;
    let mut mira = node.connect(&grant).await;
    mira.join(lobby, None).await;
    mira.expect("live").await;

    node.town.services.accounts.sign_out(&node.actor(&grant).await).await.unwrap();
    mira.post(1, lobby, "too late").await;

    mira.expect_bye(4201).await;
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_for_long_closes_the_socket_for_a_while() {
    let node = Node::start().await;
    let lobby = node.channel("lobby").await;
    let mut mira = node.member("Mira", lobby).await;
    mira.answers_pings = true;
    let start = Instant::now();

    node.town.accounts.away.store(true, Ordering::SeqCst);
    node.town.clock.advance(2 * SECOND);
    mira.post(1, lobby, "hello?").await;
    assert_eq!(mira.expect_err("unavailable").await["retryAfterMs"], 1000);

    let bye = mira.expect_bye(4005).await;
    assert_eq!((start.elapsed().as_secs(), &bye["resume"]), (75, &json!(true)));
}

#[tokio::test(start_paused = true)]
async fn records_that_cannot_be_read_are_answered_and_twenty_in_a_minute_are_too_many() {
    let node = Node::start().await;
    let lobby = node.channel("lobby").await;
    let mut mira = node.member("Mira", lobby).await;

    for (line, id) in [
        ("no json", Value::Null),
        ("", Value::Null),
        (r#"{"t":"dance","id":3}"#, json!(3)),
        (r#"{"t":"presence","room":"global","state":{}}"#, Value::Null),
        (r#"{"t":"typing","room":"lobby"}"#, Value::Null),
        (r#"{"t":"foreground","on":"yes"}"#, Value::Null),
        (r#"{"t":"leave","id":5}"#, json!(5)),
        (r#"{"t":"leave","id":5,"room":"global","now":true}"#, json!(5)),
    ] {
        mira.send_text(line).await;
        assert_eq!(mira.expect_err("record-unreadable").await["id"], id, "{line}");
    }
    mira.socket.send(Message::binary("{}")).await.unwrap();
    assert_eq!(mira.expect_err("record-unreadable").await["id"], Value::Null);
    mira.send_text(&["x"; 10].join("\n")).await;
    for _ in 0..10 {
        mira.expect_err("record-unreadable").await;
    }
    mira.post(1, lobby, "the socket stays").await;
    mira.expect("ok").await;
    mira.expect("msg").await;
    mira.send_text("the twentieth\nthe one behind it").await;

    mira.expect_err("record-unreadable").await;
    assert_eq!(mira.expect_bye(4203).await["resume"], false);
}

#[tokio::test(start_paused = true)]
async fn a_frame_that_is_too_large_or_none_closes_the_socket() {
    let node = Node::with(RealtimeConfig { frame_bytes: 1000, ..RealtimeConfig::default() }).await;
    let grant = node.guest("Mira").await;

    let mut large = node.connect(&grant).await;
    large.send_text(&" ".repeat(1000)).await;
    large.expect_err("record-unreadable").await;
    large.send_text(&" ".repeat(1001)).await;
    large.expect_bye(4203).await;

    let mut broken = node.connect(&grant).await;
    broken.socket.get_mut().write_all(&[0xff; 16]).await.unwrap();
    broken.expect_bye(4203).await;

    let mut fragments = node.connect(&grant).await;
    let first = [&[0x01, 0xfe, 0x02, 0x58, 0, 0, 0, 0][..], &[b' '; 600]].concat();
    let second = [&[0x80, 0xfe, 0x02, 0x58, 0, 0, 0, 0][..], &[b' '; 600]].concat();
    fragments.socket.get_mut().write_all(&[first, second].concat()).await.unwrap();
    fragments.expect_bye(4203).await;
}

#[tokio::test]
async fn who_sends_too_much_over_a_network_still_learns_why_the_socket_is_closed() {
    let node = Node::start().await;
    let mut mira = node.connect_over(node.network().await, &node.guest("Mira").await).await;

    // The server stops in the middle of it, so the rest is never read.
    let _ = mira.socket.send(Message::text(" ".repeat(1024 * 1024))).await;

    mira.expect_bye(4203).await;
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_takes_nothing_is_closed_and_costs_no_more_than_a_frame() {
    let node = Node::start().await;
    let lobby = node.channel("lobby").await;
    let mut slow = node.connect_over(node.pipe(None, 4 * 1024), &node.guest("Slow").await).await;
    slow.join(lobby, None).await;
    slow.expect("live").await;
    let mut quick = node.member("Quick", lobby).await;
    quick.answers_pings = true;
    let before = node.metric_of("weltenwind_ws_records_total", Some("out"));

    for n in 0..5000 {
        node.town.services.chat.post(&Actor::player("Lu"), Draft::new(lobby, format!("{n}"))).await.unwrap();
        quick.expect("msg").await;
    }
    let fetched = node.metric_of("weltenwind_ws_records_total", Some("out")) - before - 5000;
    tokio::time::sleep(36 * SECOND).await;

    assert!(fetched < 400, "{fetched} records were fetched for somebody who does not read");
    assert_eq!(node.metric_of("weltenwind_ws_closed_total", Some("4001")), 1);
    assert_eq!(node.realtime.connections(), 1, "others are not harmed");
}

#[tokio::test(start_paused = true)]
async fn who_takes_nothing_for_five_seconds_counts_as_stalled_until_something_is_taken() {
    let node = Node::start().await;
    let lobby = node.channel("lobby").await;
    let mut slow = node.connect_over(node.pipe(None, 4 * 1024), &node.guest("Slow").await).await;
    slow.join(lobby, None).await;
    slow.expect("live").await;
    let stalled = || node.metric("weltenwind_ws_stalled_connections");
    for n in 0..100 {
        node.town.services.chat.post(&Actor::player("Lu"), Draft::new(lobby, format!("{n}"))).await.unwrap();
    }

    tokio::time::sleep(4 * SECOND).await;
    assert_eq!(stalled(), 0, "it may be about to");
    tokio::time::sleep(2 * SECOND).await;
    assert_eq!(stalled(), 1);
    for n in 0..100 {
        assert_eq!(slow.expect("msg").await["message"]["body"], n.to_string());
    }
    assert_eq!(stalled(), 0);

    for n in 0..100 {
        node.town.services.chat.post(&Actor::player("Lu"), Draft::new(lobby, format!("{n}"))).await.unwrap();
    }
    tokio::time::sleep(6 * SECOND).await;
    assert_eq!(stalled(), 1);
    drop(slow);
    node.all_gone().await;
    assert_eq!(stalled(), 0, "a socket that is gone is not stalled");
}

#[tokio::test(start_paused = true)]
async fn who_asks_without_reading_the_answers_is_not_heard_any_more() {
    let node = Node::start().await;
    let lobby = node.channel("lobby").await;
    let mut mira = node.connect_over(node.pipe(None, 4 * 1024), &node.guest("Mira").await).await;
    let asking = async {
        for id in 0..100_000 {
            mira.send(json!({ "t": "leave", "id": id, "room": room(lobby) })).await;
        }
    };

    assert!(tokio::time::timeout(SECOND, asking).await.is_err(), "the client is held up");

    let read = node.metric_of("weltenwind_ws_records_total", Some("in"));
    assert!(read < 1000, "{read} records were read");
}

#[tokio::test(start_paused = true)]
async fn of_requests_that_wait_no_more_is_read_than_two_frames() {
    const FRAME: usize = 64 * 1024;
    const PIPE: usize = 4 * 1024;
    let node = Node::start().await;
    let lobby = node.channel("lobby").await;
    let mut mira = node.connect_over(node.pipe(None, PIPE), &node.guest("Mira").await).await;
    node.town.clock.advance(2 * SECOND);
    node.town.chat.hang("find_channel", 1);
    mira.send(json!({ "t": "join", "id": 0, "room": room(lobby) })).await;
    tokio::time::sleep(SECOND / 10).await;
    let large = |id: usize, length: usize| {
        json!({ "t": "join", "id": id, "room": "global", "since": "x".repeat(length) }).to_string()
    };
    // Long records, and short ones in front of a long one: each frame is as long as it may be.
    let mixed = [1, 2, 3].map(|id| large(id, FRAME / 4)).join("\n");
    let frames: Vec<u8> = [mixed, large(4, FRAME - 80), large(5, FRAME - 80), large(6, FRAME - 80)]
        .iter()
        .flat_map(|text| masked(FIN | TEXT, [0; 4], text.as_bytes()))
        .collect();

    let mut taken = 0;
    let asking = async {
        while taken < frames.len() {
            taken += mira.socket.get_mut().write(&frames[taken..]).await.unwrap();
        }
    };
    assert!(tokio::time::timeout(SECOND, asking).await.is_err(), "the client is held up");

    assert!(taken <= 2 * FRAME + 2 * PIPE, "{taken} bytes were taken");
    // The rest is read once the requests are answered, in their order.
    let (mut reader, mut writer) = tokio::io::split(mira.socket.into_inner());
    let writing = async { writer.write_all(&frames[taken..]).await.unwrap() };
    let reading = async {
        let mut read = String::new();
        while !read.contains(r#""id":6"#) {
            let mut part = [0; 4096];
            let length = reader.read(&mut part).await.unwrap();
            assert!(length > 0, "{read}");
            read.push_str(&String::from_utf8_lossy(&part[..length]));
        }
        read
    };
    let (read, ()) = tokio::join!(reading, writing);
    let places: Vec<usize> = (0..7).map(|id| read.find(&format!(r#""id":{id}"#)).unwrap()).collect();
    assert!(places.is_sorted(), "{read}");
}

#[tokio::test]
async fn a_drain_answers_what_was_read_and_sends_everybody_away() {
    let node = Node::with(RealtimeConfig { reconnects_per_second: 1, ..RealtimeConfig::default() }).await;
    let lobby = node.channel("lobby").await;
    let (mut mira, mut lu) = (node.member("Mira", lobby).await, node.connect(&node.guest("Lu").await).await);
    let posts: Vec<String> = (0..100)
        .map(|n| {
            json!({ "t": "pub", "id": n, "room": room(lobby), "clientId": format!("c{n}"), "body": "hi" }).to_string()
        })
        .collect();
    mira.send_text(&posts.join("\n")).await;
    mira.expect("ok").await;
    let realtime = node.realtime.clone();
    let drain = tokio::spawn(async move { realtime.drain().await });

    let bye = lu.expect_bye(4000).await;
    let mut answered = 1;
    let mut last = mira.next().await.unwrap();
    while last["t"] != "bye" {
        answered += i32::from(last["t"] == "ok");
        last = mira.next().await.unwrap();
    }
    mira.expect_close(4000).await;

    assert_eq!(answered, 100);
    assert_eq!(
        bye,
        json!({
            "t": "bye", "code": 4000, "reason": "the server stops",
            "retryMinMs": 250, "retryMaxMs": 2000, "resume": true,
        })
    );
    assert_eq!(drain.await.unwrap(), 0);
    assert_eq!(node.realtime.connections(), 0);
    let (head, problem) = node
        .handshake(
            "GET /realtime/v1 HTTP/1.1\r\nHost: wind.test\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Protocol: weltenwind.v1\r\n\r\n",
        )
        .await;
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    assert_eq!(problem["code"], "unavailable");
}

#[tokio::test(start_paused = true)]
async fn a_drain_cuts_who_does_not_go() {
    let node = Node::with(RealtimeConfig { drain_seconds: 2, ..RealtimeConfig::default() }).await;
    let mut deaf = node.connect(&node.guest("Deaf").await).await;
    let start = Instant::now();

    // The close frame is never answered, because nobody reads it.
    let cut = node.realtime.drain().await;

    assert_eq!((cut, start.elapsed().as_secs(), node.realtime.connections()), (1, 2, 0));
    assert_eq!(node.metric_of("weltenwind_ws_closed_total", Some("cut")), 1);
    assert_eq!(deaf.expect("bye").await["code"], 4000);
}

#[tokio::test]
async fn a_client_that_vanishes_is_noticed() {
    let node = Node::start().await;
    let mira = node.connect(&node.guest("Mira").await).await;

    drop(mira);
    node.all_gone().await;

    assert_eq!(node.metric_of("weltenwind_ws_closed_total", Some("lost")), 1);
}
