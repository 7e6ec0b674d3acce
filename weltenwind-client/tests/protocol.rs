//! The socket against a server that does what a test tells it to: repeats, refusals, farewells.

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use support::{
    quick,
    script::{Peer, Script, channel, message, msg, room},
    soon,
};
use tokio::time::Instant;
use weltenwind_client::{Client, ClientError, Draft, Event, GapCause, Realtime, RealtimeOptions, Room};

/// A client's socket and the server's side of it, with the channel joined at position `c0`.
async fn joined(script: &mut Script) -> (Realtime, Peer) {
    joined_with(script, quick()).await
}

async fn joined_with(script: &mut Script, options: RealtimeOptions) -> (Realtime, Peer) {
    let client = script.guest().await;
    let (realtime, mut peer) = connected(script, &client, options).await;
    let handle = realtime.handle();
    let joining = tokio::spawn(async move { handle.join(Room::Channel(channel()), None).await });
    assert_eq!(peer.let_in("c0").await, Value::Null);
    soon(joining).await.expect("the task ends").expect("the room is joined");
    (realtime, peer)
}

async fn connected(script: &mut Script, client: &Client, options: RealtimeOptions) -> (Realtime, Peer) {
    let connecting = Realtime::connect_with(client, &options);
    let (realtime, mut peer) = tokio::join!(soon(connecting), script.accept());
    peer.welcome().await;
    (realtime.expect("a socket"), peer)
}

/// The next connection, with the channel joined; answers where the client went on from.
async fn reconnected(script: &mut Script) -> (Peer, Value) {
    let mut peer = script.accept().await;
    peer.welcome().await;
    let since = peer.let_in("c9").await;
    (peer, since)
}

/// What a program is told, in short: the numbers of messages, and the names of the rest.
async fn told(realtime: &mut Realtime, count: usize) -> Vec<String> {
    let mut told = Vec::new();
    for _ in 0..count {
        told.push(match soon(realtime.next()).await.expect("the socket stays open") {
            Event::Message { message, .. } => message.seq.to_string(),
            Event::Updated { message, .. } => format!("{}'", message.seq),
            Event::Live { .. } => "live".to_owned(),
            Event::Gap { cause, .. } => format!("gap {cause:?}"),
            Event::Left { code, .. } => format!("left {code}"),
            Event::Disconnected { .. } => "lost".to_owned(),
            Event::Reconnected => "back".to_owned(),
            Event::Closed { error } => format!("closed: {error}"),
            other => panic!("{other:?} is unexpected"),
        });
    }
    told
}

fn update(seq: i64, cursor: &str) -> Value {
    let mut message = message(seq);
    message["editedAt"] = "2026-01-01T00:00:01.000Z".into();
    json!({ "t": "update", "room": room(), "cursor": cursor, "message": message })
}

#[tokio::test]
async fn a_repeat_never_reaches_the_program() {
    let mut script = Script::start().await;
    let (mut realtime, mut peer) = joined(&mut script).await;

    peer.send_all([msg(1, "c1"), msg(2, "c2"), msg(2, "c2"), msg(1, "c1")]).await;
    drop(peer);
    let (mut peer, since) = reconnected(&mut script).await;
    peer.send_all([msg(1, "c1"), msg(2, "c2"), msg(3, "c3"), json!({ "t": "live", "room": room() })]).await;

    assert_eq!(since, "c2");
    assert_eq!(told(&mut realtime, 6).await, ["1", "2", "lost", "back", "3", "live"]);
}

#[tokio::test]
async fn a_message_that_was_edited_while_nobody_listened_is_news() {
    let mut script = Script::start().await;
    let (mut realtime, mut peer) = joined(&mut script).await;

    peer.send(msg(1, "c1")).await;
    assert_eq!(told(&mut realtime, 1).await, ["1"]);
    drop(peer);
    let (mut peer, _) = reconnected(&mut script).await;
    // The replay holds 2 in its newest state, behind 3.
    peer.send_all([msg(3, "c3"), update(2, "c4"), update(1, "c5"), update(2, "c6")]).await;

    assert_eq!(told(&mut realtime, 6).await, ["lost", "back", "3", "2", "1'", "2'"]);
}

#[tokio::test]
async fn a_gap_is_told_and_the_next_join_is_from_behind_it() {
    let mut script = Script::start().await;
    let (mut realtime, mut peer) = joined(&mut script).await;

    peer.send_all([
        msg(5, "c5"),
        json!({ "t": "gap", "room": room(), "cause": "epoch", "cursor": "n0" }),
        json!({ "t": "live", "room": room() }),
        msg(1, "n1"),
    ])
    .await;
    drop(peer);
    let (_peer, since) = reconnected(&mut script).await;

    assert_eq!(since, "n1");
    assert_eq!(told(&mut realtime, 6).await, ["5", "gap Epoch", "live", "1", "lost", "back"]);
}

#[tokio::test]
async fn a_position_that_the_server_forgot_is_a_gap_and_not_an_end() {
    let mut script = Script::start().await;
    let (mut realtime, peer) = joined(&mut script).await;

    drop(peer);
    let mut peer = script.accept().await;
    peer.welcome().await;
    let join = peer.expect("join").await;
    let refusal = json!({ "code": "cursor-invalid", "detail": "No.", "correlationId": "request-1" });
    peer.send(err(&join["id"], &refusal)).await;
    let since = peer.let_in("n7").await;

    assert_eq!((&join["since"], since), (&json!("c0"), Value::Null));
    assert_eq!(told(&mut realtime, 2).await, ["lost", "back"]);
    let Some(Event::Gap { cause: GapCause::Cursor, cursor, .. }) = soon(realtime.next()).await else { panic!("a gap") };
    assert_eq!(cursor.as_deref(), Some("n7"));
}

fn err(id: &Value, refusal: &Value) -> Value {
    let mut record = refusal.clone();
    record["t"] = "err".into();
    record["id"] = id.clone();
    record
}

#[tokio::test]
async fn a_room_that_cannot_be_read_for_the_moment_is_asked_for_again() {
    let mut script = Script::start().await;
    let (mut realtime, mut peer) = joined(&mut script).await;

    peer.send(json!({ "t": "left", "room": room(), "code": "unavailable" })).await;
    let since = peer.let_in("c0").await;
    peer.send(msg(1, "c1")).await;

    assert_eq!(since, "c0");
    assert_eq!(told(&mut realtime, 1).await, ["1"]);
}

#[tokio::test]
async fn a_joined_room_is_asked_for_again_whatever_the_server_fails_by_and_less_and_less_often() {
    let mut script = Script::start().await;
    let options = RealtimeOptions { longest_pause: Duration::from_secs(20), ..quick() };
    let (mut realtime, peer) = joined_with(&mut script, options).await;
    drop(peer);
    let mut peer = script.accept().await;
    peer.welcome().await;

    tokio::time::pause();
    let (mut pauses, mut refused_at) = (Vec::new(), None);
    for code in ["internal", "unavailable", "timed-out", "overloaded", "internal", "internal"] {
        let join = peer.expect("join").await;
        pauses.extend(refused_at.map(|at: Instant| at.elapsed()));
        refused_at = Some(Instant::now());
        peer.send(err(&join["id"], &json!({ "code": code, "detail": "No.", "correlationId": "request-1" }))).await;
    }
    assert_eq!(peer.let_in("c0").await, "c0");
    tokio::time::resume();
    peer.send(msg(1, "c1")).await;

    assert_eq!(told(&mut realtime, 3).await, ["lost", "back", "1"]);
    assert!(pauses.iter().all(|pause| (2..=20).contains(&pause.as_secs())), "{pauses:?}");
    assert!(pauses.iter().sum::<Duration>() > Duration::from_secs(11), "they grow: {pauses:?}");
}

#[tokio::test]
async fn a_room_that_was_taken_away_is_told_and_not_joined_again() {
    let mut script = Script::start().await;
    let (mut realtime, mut peer) = joined(&mut script).await;

    peer.send(json!({ "t": "left", "room": room(), "code": "channel-not-found" })).await;
    assert_eq!(told(&mut realtime, 1).await, ["left channel-not-found"]);
    drop(peer);
    let mut peer = script.accept().await;
    peer.welcome().await;
    peer.send(json!({ "t": "ping" })).await;

    peer.expect("pong").await;
    assert_eq!(told(&mut realtime, 2).await, ["lost", "back"]);
}

#[tokio::test]
async fn posts_that_were_not_acknowledged_are_sent_again_under_their_names_and_in_order() {
    let mut script = Script::start().await;
    let (realtime, mut peer) = joined(&mut script).await;
    let posting = ["one", "two"].map(|body| {
        let handle = realtime.handle();
        tokio::spawn(async move { handle.publish(channel(), body).await })
    });
    let first = [peer.expect("pub").await, peer.expect("pub").await];

    drop(peer);
    let (mut peer, _) = reconnected(&mut script).await;
    let again = [peer.expect("pub").await, peer.expect("pub").await];
    for (seq, post) in (1..).zip(&again) {
        peer.send(json!({ "t": "ok", "id": post["id"], "message": message(seq) })).await;
    }

    let names =
        |posts: &[Value]| posts.iter().map(|post| (post["clientId"].clone(), post["body"].clone())).collect::<Vec<_>>();
    assert_eq!(names(&first), names(&again));
    let mut seqs = Vec::new();
    for posted in posting {
        seqs.push(soon(posted).await.unwrap().unwrap().seq);
    }
    seqs.sort_unstable();
    assert_eq!(seqs, [1, 2]);
}

#[tokio::test]
async fn a_full_queue_says_so() {
    let mut script = Script::start().await;
    let options = RealtimeOptions { pending_posts: 2, ..quick() };
    let (realtime, mut peer) = joined_with(&mut script, options).await;
    for body in ["one", "two"] {
        let handle = realtime.handle();
        tokio::spawn(async move { handle.publish(channel(), body).await });
        peer.expect("pub").await;
    }

    let error = soon(realtime.publish(channel(), "three")).await.unwrap_err();

    assert!(matches!(error, ClientError::QueueFull(2)) && error.is_retryable(), "{error}");
}

#[tokio::test]
async fn a_refused_post_is_refused_in_the_servers_words() {
    let mut script = Script::start().await;
    let (realtime, mut peer) = joined(&mut script).await;
    let handle = realtime.handle();
    let posting = tokio::spawn(async move { handle.publish(channel(), "again").await });

    let post = peer.expect("pub").await;
    let refusal =
        json!({ "code": "slow-mode", "detail": "Wait a moment.", "correlationId": "c.7", "retryAfterMs": 5000 });
    peer.send(err(&post["id"], &refusal)).await;

    let error = soon(posting).await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "slow-mode: Wait a moment (request c.7)");
    assert_eq!(error.refusal().unwrap().retry_after, Some(Duration::from_secs(5)));
    assert!(error.is_retryable());
}

/// A refusal after which the same may pass.
fn passing(code: &str) -> Value {
    json!({ "code": code, "detail": "Not now.", "correlationId": "c.7", "retryAfterMs": 5 })
}

#[tokio::test]
async fn a_post_that_may_be_stored_is_sent_again_under_its_name_and_before_what_was_said_later() {
    let mut script = Script::start().await;
    let (realtime, mut peer) = joined(&mut script).await;
    let post = |body: &'static str| {
        let handle = realtime.handle();
        tokio::spawn(async move { handle.publish(channel(), body).await })
    };
    let first = post("one");
    let sent = peer.expect("pub").await;
    // Behind the first of these it may be stored, and then a refusal that would come too soon after it says nothing.
    for code in ["timed-out", "slow-mode"] {
        let id = if code == "timed-out" { sent["id"].clone() } else { peer.expect("pub").await["id"].clone() };
        let mut refusal = passing(code);
        refusal["retryAfterMs"] = 200.into();
        peer.send_all([err(&id, &refusal), json!({ "t": "ping" })]).await;
        peer.expect("pong").await;
    }
    let second = post("two");

    let mut again = Vec::new();
    for seq in 1..=2 {
        let post = peer.expect("pub").await;
        // Nothing more is sent until this one is stored.
        peer.send(json!({ "t": "ping" })).await;
        peer.expect("pong").await;
        peer.send(json!({ "t": "ok", "id": post["id"], "message": message(seq) })).await;
        again.push(post);
    }

    assert_eq!((&again[0]["clientId"], &again[0]["body"]), (&sent["clientId"], &json!("one")));
    assert_eq!(again[1]["body"], "two", "it waits behind the one before it");
    assert_eq!(soon(first).await.unwrap().unwrap().seq, 1);
    assert_eq!(soon(second).await.unwrap().unwrap().seq, 2);
}

#[tokio::test]
async fn what_waited_for_a_connection_waits_out_a_passing_refusal_and_nothing_overtakes_it() {
    let mut script = Script::start().await;
    let (mut realtime, peer) = joined(&mut script).await;
    drop(peer);
    assert_eq!(told(&mut realtime, 1).await, ["lost"]);
    let handle = realtime.handle();
    let post = |body: &'static str| {
        let handle = handle.clone();
        tokio::spawn(async move { handle.publish(channel(), body).await })
    };
    let mut posting = vec![post("one"), post("two")];
    let (mut peer, _) = reconnected(&mut script).await;

    let mut stored = Vec::new();
    let (mut refusals, mut seq) = (vec!["slow-mode", "rate-limited"], 0);
    while stored.len() < 3 {
        let sent = peer.expect("pub").await;
        peer.send(json!({ "t": "ping" })).await;
        peer.expect("pong").await;
        if let Some(code) = refusals.pop() {
            peer.send(err(&sent["id"], &passing(code))).await;
            continue;
        }
        if posting.len() == 2 {
            // What is said while others wait is said behind them.
            posting.push(post("three"));
        }
        seq += 1;
        peer.send(json!({ "t": "ok", "id": sent["id"], "message": message(seq) })).await;
        stored.push(sent["body"].clone());
    }
    for (seq, posted) in (1..).zip(posting) {
        assert_eq!(soon(posted).await.unwrap().unwrap().seq, seq);
    }

    assert_eq!(stored, ["one", "two", "three"]);
    // Who stands by hears at once that it came too soon, and whoever would have to wait for too long, too.
    let alone = post("alone");
    let sent = peer.expect("pub").await;
    peer.send(err(&sent["id"], &passing("rate-limited"))).await;
    assert_eq!(soon(alone).await.unwrap().unwrap_err().code(), Some("rate-limited"));
    drop(peer);
    assert_eq!(told(&mut realtime, 2).await, ["back", "lost"]);
    let late = post("late");
    let (mut peer, _) = reconnected(&mut script).await;
    let sent = peer.expect("pub").await;
    let mut refusal = passing("slow-mode");
    refusal["retryAfterMs"] = 120_001.into();
    peer.send(err(&sent["id"], &refusal)).await;
    assert!(matches!(soon(late).await.unwrap().unwrap_err(), ClientError::Refused(_)));
}

#[tokio::test]
async fn what_has_waited_goes_faster_the_longer_the_server_takes_all_of_it() {
    const WAITING: usize = 40;

    let mut script = Script::start().await;
    let (mut realtime, peer) = joined(&mut script).await;
    drop(peer);
    assert_eq!(told(&mut realtime, 1).await, ["lost"]);
    for n in 0..WAITING {
        let handle = realtime.handle();
        tokio::spawn(async move { handle.publish(channel(), n.to_string()).await });
    }
    let (mut peer, _) = reconnected(&mut script).await;

    for seq in 1..=32 {
        let sent = peer.expect("pub").await;
        peer.send_all([json!({ "t": "ok", "id": sent["id"], "message": message(seq) })]).await;
    }

    peer.expect("pub").await;
    peer.expect("pub").await;
    peer.send(json!({ "t": "ping" })).await;
    peer.expect("pong").await;
}

#[tokio::test]
async fn a_post_of_which_nobody_ever_says_what_became_of_it_fails_with_these_words() {
    let mut script = Script::start().await;
    let (realtime, mut peer) = joined(&mut script).await;
    let handle = realtime.handle();
    let posting = tokio::spawn(async move { handle.publish(channel(), "anybody?").await });

    let mut names = Vec::new();
    for _ in 0..10 {
        let post = peer.expect("pub").await;
        names.push(post["clientId"].as_str().unwrap().to_owned());
        peer.send(err(&post["id"], &passing("unavailable"))).await;
    }

    let error = soon(posting).await.unwrap().unwrap_err();
    assert!(names.iter().all(|name| *name == names[0]), "{names:?}");
    assert_eq!(error.to_string(), format!("nobody knows whether the message {} was stored", names[0]));
    assert_eq!((error.code(), error.correlation_id(), error.is_retryable()), (Some("unavailable"), Some("c.7"), false));
}

#[tokio::test]
async fn a_post_that_was_lost_with_its_connection_and_is_refused_then_may_be_stored() {
    let mut script = Script::start().await;
    let (realtime, mut peer) = joined(&mut script).await;
    let handle = realtime.handle();
    let posting = tokio::spawn(async move { handle.publish(channel(), "farewell").await });
    peer.expect("pub").await;

    drop(peer);
    let (mut peer, _) = reconnected(&mut script).await;
    let post = peer.expect("pub").await;
    peer.send(err(&post["id"], &json!({ "code": "permission-denied", "detail": "No.", "correlationId": "c.8" }))).await;

    let error = soon(posting).await.unwrap().unwrap_err();
    assert!(matches!(&error, ClientError::OutcomeUnknown { client_id, .. } if post["clientId"] == client_id.as_str()));
    assert_eq!(error.code(), Some("permission-denied"));
}

#[tokio::test]
async fn a_post_that_is_under_way_when_the_socket_ends_may_be_stored_and_one_that_was_not_sent_is_not() {
    for is_ended_by_the_program in [false, true] {
        let mut script = Script::start().await;
        let (realtime, mut peer) = joined(&mut script).await;
        let (handle, draft) = (realtime.handle(), Draft::new(channel(), "farewell"));
        let client_id = draft.client_id.clone();
        let sent = tokio::spawn(async move { handle.publish_draft(draft).await });
        peer.expect("pub").await;
        // The room is asked for again after a while, and what is said there waits for that.
        peer.send_all([json!({ "t": "left", "room": room(), "code": "internal" }), json!({ "t": "ping" })]).await;
        peer.expect("pong").await;
        let handle = realtime.handle();
        let unsent = tokio::spawn(async move { handle.publish(channel(), "unheard").await });
        // This is answered behind it, so that it waits by then.
        realtime.presence(Room::Global).await.unwrap();

        if is_ended_by_the_program {
            drop(realtime);
        } else {
            peer.close(4202).await;
        }

        let error = soon(sent).await.unwrap().unwrap_err();
        assert!(
            matches!(&error, ClientError::OutcomeUnknown { client_id: named, source: None } if *named == client_id),
            "{error:?}"
        );
        assert!(!error.is_retryable() && error.code().is_none(), "{error:?}");
        assert!(matches!(soon(unsent).await.unwrap(), Err(ClientError::Closed)));
    }
}

#[tokio::test]
async fn what_is_only_overloaded_is_tried_again_and_refused_in_the_servers_words() {
    let mut script = Script::start().await;
    let (realtime, mut peer) = joined(&mut script).await;
    let handle = realtime.handle();
    let posting = tokio::spawn(async move { handle.publish(channel(), "crowded").await });

    for _ in 0..10 {
        let post = peer.expect("pub").await;
        peer.send(err(&post["id"], &passing("overloaded"))).await;
    }

    let error = soon(posting).await.unwrap().unwrap_err();
    assert!(matches!(error, ClientError::Refused(_)) && error.code() == Some("overloaded"), "{error:?}");
}

#[tokio::test]
async fn a_program_that_takes_no_events_is_replayed_what_did_not_fit() {
    const SENT: i64 = 6000;

    let mut script = Script::start().await;
    let (mut realtime, mut peer) = joined_with(&mut script, RealtimeOptions { events: 1, ..quick() }).await;
    let handle = realtime.handle();
    let posting = tokio::spawn(async move { handle.publish(channel(), "answer me").await });
    let post = peer.expect("pub").await;

    for seq in 1..=SENT {
        peer.send(msg(seq, &format!("c{seq}"))).await;
    }
    peer.send(json!({ "t": "ok", "id": post["id"], "message": message(SENT + 1) })).await;
    soon(posting).await.unwrap().unwrap();

    let taking = tokio::spawn(async move { told(&mut realtime, usize::try_from(SENT).unwrap()).await });
    peer.expect("leave").await;
    let since = peer.let_in("ignored").await;
    let kept: i64 = since.as_str().unwrap().strip_prefix('c').unwrap().parse().unwrap();
    for seq in kept + 1..=SENT {
        peer.send(msg(seq, &format!("c{seq}"))).await;
    }

    assert!((4096..4200).contains(&kept), "{kept}");
    assert_eq!(soon(taking).await.unwrap(), (1..=SENT).map(|seq| seq.to_string()).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_socket_whose_token_expired_comes_back_with_another() {
    let mut script = Script::start().await;
    let (mut realtime, mut peer) = joined(&mut script).await;
    assert_eq!(peer.token, "Bearer access-0");

    peer.send(bye(4100, true)).await;
    peer.close(4100).await;
    let (peer, since) = reconnected(&mut script).await;

    assert_eq!((peer.token.as_str(), since, script.refreshes()), ("Bearer access-1", json!("c0"), 1));
    assert_eq!(told(&mut realtime, 2).await, ["lost", "back"]);
}

#[tokio::test]
async fn once_a_socket_was_open_only_what_the_server_refuses_by_name_is_the_end() {
    let mut script = Script::start().await;
    let (mut realtime, peer) = joined(&mut script).await;
    for status in [500, 520, 404, 200] {
        script.turn_away(status);
    }
    script.refuse_socket(500, "internal");

    drop(peer);
    let (peer, since) = reconnected(&mut script).await;

    assert_eq!((script.refusals_left(), since), (0, json!("c0")));
    assert_eq!(told(&mut realtime, 2).await, ["lost", "back"]);
    script.refuse_socket(403, "origin-not-allowed");
    drop(peer);
    let refused = "closed: origin-not-allowed: Not now (request request-1)";
    assert_eq!(told(&mut realtime, 2).await, ["lost", refused]);
}

#[tokio::test]
async fn at_first_a_defect_of_the_server_and_what_is_no_server_are_told_and_a_proxy_without_one_is_waited_at() {
    let mut script = Script::start().await;
    let client = script.guest().await;

    for (status, code) in [(500, "internal"), (404, "http-404")] {
        match code {
            "internal" => script.refuse_socket(status, code),
            _ => script.turn_away(status),
        }
        let error = soon(Realtime::connect_with(&client, &quick())).await.unwrap_err();
        assert_eq!(error.code(), Some(code));
    }
    for status in [500, 502, 520] {
        script.turn_away(status);
    }
    connected(&mut script, &client, quick()).await;

    assert_eq!(script.refusals_left(), 0);
}

#[tokio::test]
async fn a_token_that_could_not_be_renewed_at_first_is_renewed_before_the_next_attempt() {
    let mut script = Script::start().await;
    let (mut realtime, mut peer) = joined(&mut script).await;

    script.fail_refreshes(2);
    peer.send(bye(4101, true)).await;
    peer.close(4101).await;
    let (peer, _) = reconnected(&mut script).await;

    assert_eq!((peer.token.as_str(), script.refreshes()), ("Bearer access-1", 1));
    assert_eq!(told(&mut realtime, 2).await, ["lost", "back"]);
}

fn bye(code: u16, resume: bool) -> Value {
    json!({ "t": "bye", "code": code, "reason": "over", "retryMinMs": 10, "retryMaxMs": 20, "resume": resume })
}

#[tokio::test]
async fn a_socket_that_is_told_to_stop_stops() {
    let mut script = Script::start().await;
    let (mut realtime, peer) = joined(&mut script).await;
    let handle = realtime.handle();

    peer.close(4202).await;

    assert_eq!(
        told(&mut realtime, 1).await,
        ["closed: the server ended the connection: over (4202, connection connection-1)"]
    );
    assert!(soon(realtime.next()).await.is_none());
    assert!(matches!(handle.publish(channel(), "hello?").await, Err(ClientError::Closed)));
}

#[tokio::test]
async fn a_goodbye_without_resumption_is_told_as_a_gap() {
    let mut script = Script::start().await;
    let (mut realtime, mut peer) = joined(&mut script).await;

    peer.send(bye(4000, false)).await;
    peer.close(4000).await;
    let (_peer, since) = reconnected(&mut script).await;

    assert_eq!(since, Value::Null);
    assert_eq!(told(&mut realtime, 3).await, ["lost", "back", "gap Cursor"]);
}

#[tokio::test]
async fn pings_are_answered_and_a_newer_token_is_sent_when_it_is_asked_for() {
    let mut script = Script::start().await;
    let (_realtime, mut peer) = joined(&mut script).await;

    peer.send_all([json!({ "t": "refresh-needed" }), json!({ "t": "ping" })]).await;

    peer.expect("pong").await;
    let refresh = peer.expect("refresh").await;
    assert_eq!((refresh["token"].as_str(), script.refreshes()), (Some("access-1"), 1));
}

#[tokio::test]
async fn what_a_newer_server_adds_is_passed_over_and_what_does_not_fit_is_an_end() {
    let mut script = Script::start().await;
    let (mut realtime, mut peer) = joined(&mut script).await;

    let mut newer = msg(1, "c1");
    newer["mood"] = "cheerful".into();
    peer.send_all([json!({ "t": "weather", "room": "global", "count": 3 }), newer]).await;
    peer.send(json!({ "t": "msg", "room": room(), "seq": "two" })).await;

    assert_eq!(told(&mut realtime, 1).await, ["1"]);
    let Some(Event::Closed { error }) = soon(realtime.next()).await else { panic!("an end") };
    assert!(matches!(&error, ClientError::Unreadable { correlation_id, .. } if correlation_id == "connection-1"));
}

#[tokio::test]
async fn a_server_that_falls_silent_is_left() {
    let mut script = Script::start().await;
    let (mut realtime, _silent) = joined(&mut script).await;

    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(46)).await;
    tokio::time::resume();
    let (_peer, since) = reconnected(&mut script).await;

    assert_eq!(since, "c0");
    assert_eq!(told(&mut realtime, 2).await, ["lost", "back"]);
}

#[tokio::test]
async fn who_does_not_read_says_every_ten_seconds_that_it_is_there() {
    let mut script = Script::start().await;
    let (mut realtime, mut peer) = joined_with(&mut script, RealtimeOptions { events: 1, ..quick() }).await;
    peer.send_all((1..=3).map(|seq| msg(seq, &format!("c{seq}")))).await;

    tokio::time::pause();
    let begin = Instant::now();
    for _ in 0..4 {
        peer.expect("pong").await;
    }
    tokio::time::resume();

    assert!((39..=41).contains(&begin.elapsed().as_secs()), "{:?}", begin.elapsed());
    assert_eq!(told(&mut realtime, 3).await, ["1", "2", "3"]);
}

#[tokio::test]
async fn a_joined_room_is_awaited_over_a_lost_connection() {
    let mut script = Script::start().await;
    let client = script.guest().await;
    let (realtime, mut peer) = connected(&mut script, &client, quick()).await;
    let handle = realtime.handle();
    let joining = tokio::spawn(async move { handle.join(Room::Channel(channel()), Some("kept")).await });
    assert_eq!(peer.expect("join").await["since"], "kept");

    drop(peer);
    let (_peer, since) = reconnected(&mut script).await;

    assert_eq!(since, "kept");
    assert!(soon(joining).await.unwrap().unwrap().recovered);
}
