//! Messages.

mod fixture;

use std::time::Duration;

use serde_json::{Value, json};
use weltenwind_core::{Scope, access::Role};

use self::fixture::{Person, Town, id};

fn seqs(page: &Value) -> Vec<i64> {
    page["items"].as_array().expect("a list").iter().map(|message| message["seq"].as_i64().expect("a number")).collect()
}

#[tokio::test]
async fn a_message_is_posted_and_found() {
    let town = Town::start().await;
    let first = town.server.say(&town.ylva, &town.lobby, "anybody?").await;
    let wish = json!({ "body": "  well\r\nmet ", "clientId": "a1", "replyTo": first["id"] });

    let posted = town.server.post(town.messages()).by(&town.mira).json(wish.clone()).await.expect(201);
    let repeated = town.server.post(town.messages()).by(&town.mira).json(wish).await.expect(200);

    let message = posted.json();
    assert_eq!(repeated.json(), message);
    assert_eq!(posted.header("location"), format!("/api/v1/messages/{}", id(&message)));
    assert_eq!(town.server.get(posted.header("location")).await.expect(200).json(), message);
    assert_eq!((&message["seq"], &message["body"]), (&json!(2), &json!("well\nmet")));
    assert_eq!(message["author"], json!({ "id": town.mira.id, "displayName": "Mira" }));
    assert_eq!((&message["clientId"], &message["replyTo"]), (&json!("a1"), &first["id"]));
    assert_eq!(message["flags"], json!([]));
}

#[tokio::test]
async fn a_post_that_breaks_a_rule_leaves_nothing_behind() {
    let town = Town::start().await;
    town.server.post(town.messages()).by(&town.mira).json(json!({ "body": "hi", "clientId": "a1" })).await.expect(201);
    let before = town.state().await;
    let (invalid, long) = ("validation-failed", "m".repeat(2001));

    for (wish, code, pointer) in [
        (r"{}".to_owned(), invalid, "/body"),
        (r#"{"body": ""}"#.to_owned(), invalid, "/body"),
        (r#"{"body": " \n\t "}"#.to_owned(), invalid, "/body"),
        (r#"{"body": "\u0000"}"#.to_owned(), invalid, "/body"),
        (r#"{"body": "a\u2028b"}"#.to_owned(), invalid, "/body"),
        (format!(r#"{{"body": "{long}"}}"#), invalid, "/body"),
        (r#"{"body": 7}"#.to_owned(), invalid, "/body"),
        (r#"{"body": "hi", "clientId": ""}"#.to_owned(), invalid, "/clientId"),
        (r#"{"body": "hi", "clientId": "a b"}"#.to_owned(), invalid, "/clientId"),
        (r#"{"body": "hi", "replyTo": "first"}"#.to_owned(), invalid, "/replyTo"),
        (r#"{"body": "hi", "seq": 1}"#.to_owned(), invalid, "/seq"),
        (r#"{"body": "hi", "replyTo": "0197a4c0-0000-7000-8000-000000000001"}"#.to_owned(), "reply-not-found", "-"),
        (r#"{"body": "other", "clientId": "a1"}"#.to_owned(), "client-id-reused", "-"),
        (r#"{"body": "\ud83c"}"#.to_owned(), "malformed-request", "-"),
        (r#"{"body": "hi", "body": "ho"}"#.to_owned(), "malformed-request", "-"),
        ("[".repeat(100), "malformed-request", "-"),
        (format!(r#"{{"body": "{}"}}"#, "m".repeat(64 * 1024)), "payload-too-large", "-"),
    ] {
        let reply = town.server.post(town.messages()).by(&town.mira).text("application/json", wish.clone()).await;
        assert_eq!(reply.flaw(), (code.to_owned(), pointer.to_owned()), "{wish:.80}");
    }

    assert_eq!(town.state().await, before);
}

#[tokio::test]
async fn who_may_not_post_hears_that_before_anything_else() {
    let town = Town::start().await;
    let server = &town.server;
    let wish = json!({ "scope": town.lobby["scope"], "slug": "staff", "name": "Staff", "guestsMayPost": false });
    let staff = server.post("channels").by(&town.owner).json(wish).await.expect(201).json();
    let path = format!("channels/{}/messages", id(&staff));

    for body in [json!({ "body": "hi" }), json!({ "body": "" }), json!({})] {
        assert_eq!(server.post(&path).json(body.clone()).await.expect(401).code(), "unauthenticated");
        assert_eq!(
            server.post(&path).by(&town.mira).json(body.clone()).await.expect(403).code(),
            "guests-may-not-post"
        );
        for nowhere in ["0197a4c0-0000-7000-8000-000000000001", "lobby"] {
            let reply = server.post(format!("channels/{nowhere}/messages")).by(&town.mira).json(body.clone()).await;
            assert_eq!(reply.expect(404).code(), "channel-not-found");
        }
    }
}

#[tokio::test]
async fn slow_mode_says_when_to_come_back() {
    let town = Town::start().await;
    let change = json!({ "slowmodeSeconds": 30 });
    town.server.patch(town.channel()).by(&town.owner).with("if-match", "\"1\"").json(change).await.expect(200);
    town.server.say(&town.mira, &town.lobby, "one").await;

    let reply = town.server.post(town.messages()).by(&town.mira).json(json!({ "body": "two" })).await.expect(429);

    insta::assert_json_snapshot!(reply.problem(), @r#"
    {
      "code": "slow-mode",
      "detail": "The channel is in slow mode; the next message may be sent in 31 s.",
      "retryAfter": 31,
      "status": 429,
      "title": "The channel is in slow mode",
      "type": "urn:weltenwind:problem:slow-mode"
    }
    "#);
    assert_eq!(reply.header("retry-after"), "31");
}

#[tokio::test]
async fn of_many_posts_at_once_slow_mode_lets_one_pass_and_knows_it_again() {
    let town = Town::start().await;
    let change = json!({ "slowmodeSeconds": 300 });
    town.server.patch(town.channel()).by(&town.owner).with("if-match", "\"1\"").json(change).await.expect(200);
    let post = |n: usize| {
        let wish = json!({ "body": format!("message {n}"), "clientId": format!("c{n}") });
        town.server.post(town.messages()).by(&town.mira).json(wish).into_future()
    };

    let replies = futures_util::future::join_all((0..8).map(post)).await;

    let passed: Vec<usize> = (0..8).filter(|n| replies[*n].status == 201).collect();
    assert_eq!(passed.len(), 1, "{passed:?}");
    for (n, reply) in replies.into_iter().enumerate().filter(|(n, _)| *n != passed[0]) {
        let reply = reply.expect(429);
        assert_eq!((reply.code().as_str(), reply.header("retry-after")), ("slow-mode", "301"));
        assert_eq!(post(n).await.expect(429).code(), "slow-mode");
    }
    let repeated = post(passed[0]).await.expect(200).json();
    assert_eq!((&repeated["seq"], &repeated["clientId"]), (&json!(1), &json!(format!("c{}", passed[0]))));
    assert_eq!(seqs(&town.history("").await), [1]);
}

#[tokio::test]
async fn history_is_walked_both_ways() {
    let town = Town::start().await;
    for n in 1..=5 {
        town.server.say(&town.mira, &town.lobby, &format!("message {n}")).await;
    }

    let newest = town.history("?limit=2").await;
    let older = town.history(&format!("?limit=2&cursor={}", newest["nextCursor"].as_str().unwrap())).await;
    let first = town.history("?limit=3&direction=newer").await;
    let cursor = first["nextCursor"].as_str().unwrap();
    let second = town.history(&format!("?limit=3&direction=newer&cursor={cursor}")).await;

    assert_eq!((seqs(&newest), seqs(&older)), (vec![5, 4], vec![3, 2]));
    assert_eq!((seqs(&first), seqs(&second)), (vec![1, 2, 3], vec![4, 5]));
    assert_eq!(second["nextCursor"], json!(null));
    let since = town.history(&format!("?since={}", second["roomCursor"].as_str().unwrap())).await;
    assert_eq!((seqs(&since), &since["nextCursor"]), (vec![], &json!(null)));
    let turned = town.server.get(format!("{}?cursor={cursor}", town.messages())).await;
    assert_eq!(turned.expect(400).code(), "cursor-invalid");
}

#[tokio::test]
async fn what_changed_is_told_once_and_in_its_newest_state() {
    let town = Town::start().await;
    let first = town.server.say(&town.mira, &town.lobby, "one").await;
    let position = town.history("").await["roomCursor"].as_str().unwrap().to_owned();
    let second = town.server.say(&town.mira, &town.lobby, "two").await;
    for body in ["uno", "eins"] {
        let edit = town.server.patch(format!("messages/{}", id(&first))).by(&town.mira);
        edit.json(json!({ "body": body })).await.expect(200);
    }
    town.server.delete(format!("messages/{}", id(&second))).by(&town.mira).await.expect(204);

    let part = town.server.get(format!("{}?limit=1&since={position}", town.messages())).await.expect(200);
    let link = part.header("link").strip_prefix('<').and_then(|link| link.strip_suffix(">; rel=\"next\"")).unwrap();
    let rest = town.server.get(link).await.expect(200).json();

    assert_eq!(part.json()["items"][0]["body"], "eins");
    assert_eq!(part.json()["nextCursor"], part.json()["roomCursor"]);
    assert_eq!((&rest["items"][0]["body"], seqs(&rest)), (&json!(null), vec![2]));
    assert_eq!(rest["nextCursor"], json!(null));
}

#[tokio::test]
async fn what_retention_deleted_is_told_to_who_had_not_seen_it() {
    let town = Town::start().await;
    let mut positions = vec![town.history("").await["roomCursor"].as_str().unwrap().to_owned()];
    for body in ["one", "two"] {
        town.server.say(&town.mira, &town.lobby, body).await;
        positions.push(town.history("").await["roomCursor"].as_str().unwrap().to_owned());
    }
    let keep_for_a_day = town.server.patch(town.channel()).by(&town.owner).with("if-match", "\"1\"");
    keep_for_a_day.json(json!({ "retentionDays": 1 })).await.expect(200);
    town.server.clock.advance(Duration::from_mins(4));
    town.server.say(&town.mira, &town.lobby, "three").await;
    town.server.clock.advance(Duration::from_hours(24) - Duration::from_mins(2));

    assert_eq!(town.server.services.chat.enforce_retention().await.unwrap(), 2);

    for position in &positions[..2] {
        let gone = town.server.get(format!("{}?since={position}", town.messages())).await;
        assert_eq!(gone.expect(410).code(), "replay-window-exceeded");
    }
    assert_eq!(seqs(&town.history(&format!("?since={}", positions[2])).await), [3]);
    assert_eq!(seqs(&town.history("").await), [3]);
}

#[tokio::test]
async fn a_place_in_history_that_is_none_is_refused() {
    let town = Town::start().await;
    let other = town.server.channel(&town.owner, &town.world, "trade").await;
    let elsewhere = town.server.get(format!("channels/{}/messages", id(&other))).await.json();
    let elsewhere = elsewhere["roomCursor"].as_str().unwrap();
    let here = town.history("").await["roomCursor"].as_str().unwrap().to_owned();

    for (query, code) in [
        ("direction=up".to_owned(), "malformed-request"),
        ("before=1".to_owned(), "malformed-request"),
        (format!("since={here}&direction=newer"), "malformed-request"),
        (format!("since={here}&cursor={here}"), "malformed-request"),
        (format!("since={elsewhere}"), "cursor-invalid"),
        (format!("cursor={here}"), "cursor-invalid"),
        ("since=abc".to_owned(), "cursor-invalid"),
    ] {
        let reply = town.server.get(format!("{}?{query}", town.messages())).await.expect(400);
        assert_eq!(reply.code(), code, "{query}");
    }
}

#[tokio::test]
async fn a_history_that_has_not_changed_need_not_be_sent_again() {
    let town = Town::start().await;
    town.server.say(&town.mira, &town.lobby, "one").await;
    let seen = town.server.get(town.messages()).await.expect(200);

    let again = || town.server.get(town.messages()).with("if-none-match", seen.header("etag"));

    again().await.expect(304);
    town.server.say(&town.mira, &town.lobby, "two").await;
    again().await.expect(200);
}

#[tokio::test]
async fn an_author_edits_for_a_quarter_of_an_hour() {
    let town = Town::start().await;
    let message = town.server.say(&town.mira, &town.lobby, "helo").await;
    let edit = |by: &Person, body: Value| town.server.patch(format!("messages/{}", id(&message))).by(by).json(body);

    let edited = edit(&town.mira, json!({ "body": "hello" })).await.expect(200).json();
    assert_eq!((&edited["body"], &edited["editedAt"]), (&json!("hello"), &json!("2026-01-01T00:00:00.000Z")));
    for body in [json!({ "body": "mine" }), json!({ "body": "" }), json!({})] {
        assert_eq!(edit(&town.ylva, body.clone()).await.expect(403).code(), "permission-denied");
        let anonymous = town.server.patch(format!("messages/{}", id(&message))).json(body).await;
        assert_eq!(anonymous.expect(401).code(), "unauthenticated");
    }
    assert_eq!(edit(&town.mira, json!({ "text": "x" })).await.flaw().1, "/text");
    town.server.clock.advance(Duration::from_mins(15));
    let late =
        Person::of(&town.server.post("auth/refresh").json(json!({ "refreshToken": town.mira.refresh_token })).await);
    assert_eq!(edit(&late, json!({ "body": "late" })).await.expect(403).code(), "edit-window-passed");
    assert_eq!(town.history("").await["items"][0]["body"], "hello");
}

#[tokio::test]
async fn a_removed_message_keeps_its_place() {
    let town = Town::start().await;
    let server = &town.server;
    let message = server.say(&town.mira, &town.lobby, "spam").await;
    let scope: Scope = town.lobby["scope"].as_str().unwrap().parse().unwrap();
    let remove = |by: &Person| server.delete(format!("messages/{}", id(&message))).by(by);
    let before = town.state().await;

    assert_eq!(server.delete(format!("messages/{}", id(&message))).await.expect(401).code(), "unauthenticated");
    assert_eq!(remove(&town.ylva).json(json!({ "why": 1 })).await.expect(403).code(), "permission-denied");
    assert_eq!(remove(&town.mira).json(json!({ "mode": "purge" })).await.expect(403).code(), "permission-denied");
    assert_eq!(town.state().await, before);
    server.grant(&town.ylva, Role::WorldModerator, scope).await;
    for (body, pointer) in [
        (json!({}), "/reason"),
        (json!({ "reason": "" }), "/reason"),
        (json!({ "reason": "a\nb" }), "/reason"),
        (json!({ "reason": "spam", "mode": "shred" }), "/mode"),
        (json!({ "reason": "spam", "why": 1 }), "/why"),
    ] {
        let reply = remove(&town.ylva).json(body.clone()).await;
        assert_eq!(reply.flaw(), ("validation-failed".to_owned(), pointer.to_owned()), "{body}");
    }
    assert_eq!(remove(&town.ylva).await.flaw().1, "/reason");
    assert_eq!(town.history("").await["items"][0]["body"], "spam");
    remove(&town.ylva).json(json!({ "reason": "spam", "mode": "purge" })).await.expect(204);

    let tombstone = town.history("").await["items"][0].clone();
    assert_eq!((&tombstone["body"], &tombstone["seq"]), (&json!(null), &json!(1)));
    assert_eq!(tombstone["tombstone"]["deletedBy"], town.ylva.id);
    assert_eq!(tombstone["tombstone"]["reason"], "spam");
    let edit = server.patch(format!("messages/{}", id(&message))).by(&town.mira).json(json!({ "body": "x" })).await;
    assert_eq!(edit.expect(409).code(), "message-removed");
}

#[tokio::test]
async fn a_message_that_does_not_exist_is_not_found() {
    let town = Town::start().await;

    for nowhere in ["0197a4c0-0000-7000-8000-000000000001", "first"] {
        let path = format!("messages/{nowhere}");
        assert_eq!(town.server.get(&path).await.expect(404).code(), "message-not-found");
        for reply in [
            town.server.patch(&path).by(&town.mira).json(json!({})).await,
            town.server.delete(&path).by(&town.mira).json(json!({ "why": 1 })).await,
        ] {
            assert_eq!(reply.expect(404).code(), "message-not-found");
        }
    }
}

#[tokio::test]
async fn what_was_read_is_noted() {
    let town = Town::start().await;
    let server = &town.server;
    for n in 1..=3 {
        server.say(&town.mira, &town.lobby, &format!("message {n}")).await;
    }
    let read = format!("{}/read", town.channel());

    let marked = server.put(&read).by(&town.ylva).json(json!({ "seq": 1 })).await.expect(200).json();

    let expected = json!({ "channelId": town.lobby["id"], "readSeq": 1, "lastSeq": 3, "unread": 2 });
    assert_eq!(marked, expected);
    for path in ["me/unread", "users/me/unread"] {
        let unread = server.get(path).by(&town.ylva).await.expect(200);
        assert_eq!(unread.json(), json!({ "items": [expected], "nextCursor": null }));
        assert_eq!(unread.header("cache-control"), "private, no-cache");
        assert_eq!(server.get(path).await.expect(401).code(), "unauthenticated");
    }
    for body in [json!({ "seq": -1 }), json!({ "seq": 1.5 }), json!({ "seq": "1" }), json!({ "seq": null }), json!({})]
    {
        let reply = server.put(&read).by(&town.ylva).json(body.clone()).await;
        assert_eq!(reply.flaw(), ("validation-failed".to_owned(), "/seq".to_owned()), "{body}");
        assert_eq!(server.put(&read).json(body).await.expect(401).code(), "unauthenticated");
    }
    assert_eq!(server.get("me/unread").by(&town.ylva).await.json()["items"], json!([expected]));
}

#[tokio::test]
async fn a_private_world_s_channel_does_not_exist_for_strangers() {
    let town = Town::start().await;
    let server = &town.server;
    let message = server.say(&town.mira, &town.lobby, "hi").await;
    let change = json!({ "visibility": "private" });
    server.patch("worlds/mistral").by(&town.owner).with("if-match", "\"1\"").json(change).await.expect(200);
    server.clock.advance(Duration::from_secs(1));

    for path in [town.channel(), town.messages()] {
        assert_eq!(server.get(&path).by(&town.mira).await.expect(404).code(), "channel-not-found");
    }
    let path = format!("messages/{}", id(&message));
    assert_eq!(server.get(path).by(&town.mira).await.expect(404).code(), "message-not-found");
    let post = server.post(town.messages()).by(&town.mira).json(json!({ "body": "" })).await;
    assert_eq!(post.expect(404).code(), "channel-not-found");
}
