//! Joining, leaving, posting, and who hears what.

#![allow(clippy::unwrap_used, reason = "clippy knows tests, and not the functions that they share")]

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use support::{Client, Node, room};
use tokio::time::Instant;
use weltenwind_core::{
    Actor, ChannelId, Classify as _, Code, Scope, WorldId,
    chat::{ChannelDraft, Draft, RemovalMode},
    limits::LimitsConfig,
    worlds::{Visibility, WorldAmendment, WorldDraft, WorldRef},
};
use weltenwind_ws::RealtimeConfig;

/// Reads so many `msg` records and answers their texts; whatever else comes is skipped.
async fn texts(client: &mut Client, count: usize) -> Vec<String> {
    let mut texts = Vec::with_capacity(count);
    while texts.len() < count {
        texts.push(client.skip_to("msg").await["message"]["body"].as_str().unwrap().to_owned());
    }
    texts
}

#[tokio::test]
async fn a_message_reaches_every_member_and_its_author_learns_that_it_is_kept() {
    let node = Node::start().await;
    let lobby = node.channel("lobby").await;
    let (mut mira, mut lu) = (node.member("Mira", lobby).await, node.member("Lu", lobby).await);

    mira.post(7, lobby, "well met").await;

    let ok = mira.expect("ok").await;
    assert_eq!(
        (&ok["id"], &ok["message"]["seq"], &ok["message"]["clientId"]),
        (&json!(7), &json!(1), &json!("post-7"))
    );
    let (own, heard) = (mira.expect("msg").await, lu.expect("msg").await);
    assert_eq!(own, heard, "a room's record is the same for everybody");
    assert_eq!((&heard["message"], &heard["seq"], &heard["room"]), (&ok["message"], &json!(1), &json!(room(lobby))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_hears_the_same_order() {
    let node = Node::start().await;
    let lobby = node.channel("lobby").await;
    let mut members = Vec::new();
    for name in ["Mira", "Lu", "Ada", "Kim"] {
        members.push(node.member(name, lobby).await);
    }

    let heard = members.into_iter().enumerate().map(|(n, mut member)| {
        tokio::spawn(async move {
            for post in 0..50 {
                member.post(post, lobby, &format!("{n}.{post}")).await;
            }
            texts(&mut member, 200).await
        })
    });
    let mut orders = Vec::new();
    for heard in heard.collect::<Vec<_>>() {
        orders.push(heard.await.unwrap());
    }

    assert!(orders.windows(2).all(|pair| pair[0] == pair[1]));
    for n in 0..4 {
        let own: Vec<_> = orders[0].iter().filter(|text| text.starts_with(&format!("{n}."))).cloned().collect();
        let sent: Vec<_> = (0..50).map(|post| format!("{n}.{post}")).collect();
        assert_eq!(own, sent, "the posts of one client keep their order");
    }
}

#[tokio::test]
async fn records_may_share_a_frame_in_both_directions() {
    let node = Node::start().await;
    let lobby = node.channel("lobby").await;
    let mut mira = node.member("Mira", lobby).await;
    let frames = mira.frames;
    let posts: Vec<String> = (0..100)
        .map(|n| {
            json!({ "t": "pub", "id": n, "room": room(lobby), "clientId": format!("c{n}"), "body": "hi" }).to_string()
        })
        .collect();

    mira.send_text(&posts.join("\n")).await;

    let mut answered = Vec::new();
    while answered.len() < 100 {
        let record = mira.next().await.unwrap();
        if record["t"] == "ok" {
            answered.push(record["id"].as_i64().unwrap());
        }
    }
    assert_eq!(answered, (0..100).collect::<Vec<_>>());
    let frames = mira.frames - frames;
    assert!(frames <= 200, "what waits is written together: {frames} frames");
}

#[tokio::test]
async fn of_many_posts_in_one_frame_slow_mode_lets_one_pass_and_knows_it_again() {
    let node = Node::start().await;
    let draft = ChannelDraft { slowmode_seconds: 300, ..ChannelDraft::new(Scope::Global, "slow", "Slow") };
    let slow = node.town.services.chat.open_channel(&Actor::operator(), draft).await.unwrap().id;
    let grant = node.guest("Mira").await;
    let mut mira = node.connect(&grant).await;
    let post = |n| json!({ "t": "pub", "id": n, "room": room(slow), "clientId": format!("c{n}"), "body": "hi" });
    mira.join(slow, None).await;
    mira.expect("live").await;

    mira.send_text(&(0..20).map(|n| post(n).to_string()).collect::<Vec<_>>().join("\n")).await;

    let stored = mira.skip_to("ok").await;
    let mut refused = Vec::new();
    while refused.len() < 19 {
        let err = mira.skip_to("err").await;
        assert_eq!((&err["code"], &err["retryAfterMs"]), (&json!("slow-mode"), &json!(301_000)), "{err}");
        refused.push(err["id"].as_i64().unwrap());
    }
    assert_eq!((&stored["id"], refused), (&json!(0), (1..20).collect()));

    // The connection is lost before the answer comes.
    drop(mira);
    let mut mira = node.connect(&grant).await;
    mira.join(slow, None).await;
    mira.expect("live").await;
    mira.send(post(0)).await;
    assert_eq!(mira.expect("ok").await, stored);
    mira.send(post(1)).await;
    mira.expect_err("slow-mode").await;
}

#[tokio::test]
async fn a_room_that_was_left_is_not_heard_any_more() {
    let node = Node::start().await;
    let (lobby, other) = (node.channel("lobby").await, node.channel("other").await);
    let mut mira = node.member("Mira", lobby).await;
    mira.join(other, None).await;
    mira.expect("live").await;

    mira.send(json!({ "t": "leave", "id": 2, "room": room(lobby) })).await;
    assert_eq!(mira.expect("left").await, json!({ "t": "left", "id": 2, "room": room(lobby) }));
    for (channel, body) in [(lobby, "unheard"), (other, "heard")] {
        node.town.services.chat.post(&Actor::player("Lu"), Draft::new(channel, body)).await.unwrap();
    }

    assert_eq!(texts(&mut mira, 1).await, ["heard"]);
    mira.join(lobby, None).await;
    mira.expect("live").await;
    node.town.services.chat.post(&Actor::player("Lu"), Draft::new(lobby, "again")).await.unwrap();
    assert_eq!(texts(&mut mira, 1).await, ["again"]);
}

#[tokio::test]
async fn what_cannot_be_done_is_refused_and_the_socket_stays() {
    let node = Node::start().await;
    let (lobby, other) = (node.channel("lobby").await, node.channel("other").await);
    let grant = node.guest("Mira").await;
    let mut mira = node.connect(&grant).await;
    mira.join(lobby, None).await;
    mira.expect("live").await;
    let cursor = node.town.services.cursors.seal("worlds", &1);
    let nowhere = "018f0000-0000-7000-8000-00000000000a";
    let post = |room: String, client_id: &str, body: &str| json!({ "t": "pub", "id": 1, "room": room, "clientId": client_id, "body": body });
    let mut reply = post(room(lobby), "c", "hi");
    reply["replyTo"] = nowhere.into();

    for (record, code) in [
        (json!({ "t": "join", "id": 1, "room": room(lobby) }), "already-joined"),
        (json!({ "t": "join", "id": 1, "room": format!("user:{}", grant.account.id) }), "already-joined"),
        (json!({ "t": "join", "id": 1, "room": format!("user:{nowhere}") }), "room-not-found"),
        (json!({ "t": "join", "id": 1, "room": format!("group:{nowhere}") }), "room-not-found"),
        (json!({ "t": "join", "id": 1, "room": format!("world:{nowhere}") }), "world-not-found"),
        (json!({ "t": "join", "id": 1, "room": format!("channel:{nowhere}") }), "channel-not-found"),
        (json!({ "t": "join", "id": 1, "room": room(other), "since": "noise" }), "cursor-invalid"),
        (json!({ "t": "join", "id": 1, "room": room(other), "since": cursor }), "cursor-invalid"),
        (json!({ "t": "join", "id": 1, "room": "global", "since": cursor }), "cursor-invalid"),
        (json!({ "t": "leave", "id": 1, "room": room(other) }), "not-joined"),
        (post(room(other), "c", "hi"), "not-joined"),
        (post("global".to_owned(), "c", "hi"), "not-joined"),
        (post(format!("user:{}", grant.account.id), "c", "hi"), "validation-failed"),
        (post(room(lobby), "c", " "), "validation-failed"),
        (post(room(lobby), "", "hi"), "validation-failed"),
        (reply, "reply-not-found"),
    ] {
        mira.send(record.clone()).await;
        let err = mira.expect_err(code).await;
        assert_eq!(err["id"], 1, "{record}");
        assert!(err["correlationId"].as_str().unwrap().len() > 8);
    }

    mira.post(2, lobby, "still here").await;
    mira.expect("ok").await;
}

#[tokio::test]
async fn a_cursor_belongs_to_its_channel() {
    let node = Node::start().await;
    let (lobby, other) = (node.channel("lobby").await, node.channel("other").await);
    let mut mira = node.connect(&node.guest("Mira").await).await;
    let joined = mira.join(lobby, None).await;
    mira.expect("live").await;

    mira.send(json!({ "t": "join", "id": 2, "room": room(other), "since": joined["cursor"] })).await;

    mira.expect_err("cursor-invalid").await;
}

#[tokio::test]
async fn a_repeat_under_the_same_client_id_answers_the_first_message() {
    let node = Node::start().await;
    let lobby = node.channel("lobby").await;
    let mut mira = node.member("Mira", lobby).await;
    mira.post(1, lobby, "well met").await;
    let first = mira.skip_to("ok").await;

    mira.post(1, lobby, "well met").await;
    let again = mira.skip_to("ok").await;
    mira.post(1, lobby, "another text").await;

    assert_eq!(again["message"], first["message"]);
    assert_eq!(mira.skip_to("err").await["code"], "client-id-reused");
}

#[tokio::test]
async fn edits_and_removals_reach_the_members() {
    let node = Node::start().await;
    let lobby = node.channel("lobby").await;
    let grant = node.guest("Mira").await;
    let (author, chat) = (node.actor(&grant).await, &node.town.services.chat);
    let message = chat.post(&author, Draft::new(lobby, "wel met")).await.unwrap().message;
    let mut lu = node.member("Lu", lobby).await;

    chat.edit(&author, message.id, "well met").await.unwrap();
    chat.remove(&Actor::operator(), message.id, RemovalMode::Mask, Some("off topic")).await.unwrap();

    let edited = lu.expect("update").await;
    assert_eq!((&edited["message"]["body"], &edited["message"]["seq"]), (&json!("well met"), &json!(1)));
    let removed = lu.expect("update").await;
    assert_eq!(
        (&removed["message"]["body"], &removed["message"]["tombstone"]["reason"]),
        (&Value::Null, &json!("off topic"))
    );
}

#[tokio::test]
async fn rooms_without_messages_are_joined_and_left_like_others() {
    let node = Node::start().await;
    let world =
        node.town.services.worlds.create(&Actor::operator(), WorldDraft::new("Mistral").unwrap()).await.unwrap();
    let grant = node.guest("Mira").await;
    let mut mira = node.connect(&grant).await;

    for name in ["global".to_owned(), format!("world:{}", world.id)] {
        mira.send(json!({ "t": "join", "id": 1, "room": name })).await;
        let members = json!([{ "id": grant.account.id.to_string(), "displayName": "Mira" }]);
        let presence = json!({ "version": 0, "members": members, "count": 1 });
        let joined = json!({ "t": "joined", "id": 1, "room": name, "recovered": false, "presence": presence });
        assert_eq!(mira.expect("joined").await, joined);
        assert_eq!(mira.expect("live").await["room"], name);
    }
    let own = format!("user:{}", grant.account.id);
    mira.send(json!({ "t": "leave", "id": 2, "room": own })).await;

    assert_eq!(mira.expect("left").await["room"], own, "one's own room is joined by itself");
}

#[tokio::test]
async fn a_socket_joins_so_many_rooms_and_no_more() {
    let node = Node::with(RealtimeConfig { max_rooms: 2, ..RealtimeConfig::default() }).await;
    let (one, two) = (node.channel("one").await, node.channel("two").await);
    let mut mira = node.member("Mira", one).await;
    mira.join(two, None).await;
    mira.expect("live").await;

    mira.send(json!({ "t": "join", "id": 3, "room": "global" })).await;
    mira.expect_err("too-many-rooms").await;
    mira.send(json!({ "t": "leave", "id": 4, "room": room(two) })).await;
    mira.expect("left").await;
    mira.send(json!({ "t": "join", "id": 5, "room": "global" })).await;

    mira.expect("joined").await;
}

async fn private_world(node: &Node, member: &Actor) -> (WorldId, ChannelId) {
    let services = &node.town.services;
    let operator = Actor::operator();
    let world = services.worlds.create(&operator, WorldDraft::new("Mistral").unwrap()).await.unwrap();
    services.worlds.join(member, &WorldRef::Id(world.id)).await.unwrap();
    let amendment = WorldAmendment { visibility: Some(Visibility::Private), ..WorldAmendment::default() };
    services.worlds.amend(&operator, &WorldRef::Id(world.id), None, amendment).await.unwrap();
    let draft = ChannelDraft::new(Scope::World(world.id), "den", "Den");
    (world.id, services.chat.open_channel(&operator, draft).await.unwrap().id)
}

#[tokio::test]
async fn a_private_world_is_there_for_its_members_alone() {
    let node = Node::start().await;
    let (mira, lu) = (node.guest("Mira").await, node.guest("Lu").await);
    let (world, den) = private_world(&node, &node.actor(&mira).await).await;
    let (mut mira, mut lu) = (node.connect(&mira).await, node.connect(&lu).await);

    mira.join(den, None).await;
    mira.expect("live").await;
    lu.send(json!({ "t": "join", "id": 1, "room": room(den) })).await;
    lu.expect_err("channel-not-found").await;
    lu.send(json!({ "t": "join", "id": 2, "room": format!("world:{world}") })).await;
    lu.expect_err("world-not-found").await;
}

#[tokio::test(start_paused = true)]
async fn who_loses_access_is_shown_out_at_the_next_look() {
    let node = Node::start().await;
    let grant = node.guest("Mira").await;
    let actor = node.actor(&grant).await;
    let (world, den) = private_world(&node, &actor).await;
    let mut mira = node.connect(&grant).await;
    mira.join(den, None).await;
    mira.expect("live").await;
    mira.send(json!({ "t": "join", "id": 2, "room": format!("world:{world}") })).await;
    mira.expect("joined").await;
    mira.expect("live").await;

    node.town.services.worlds.leave(&actor, &WorldRef::Id(world)).await.unwrap();

    let mut left = [mira.skip_to("left").await, mira.skip_to("left").await];
    left.sort_by_key(|record| record["code"].to_string());
    assert_eq!(left[0], json!({ "t": "left", "room": room(den), "code": "channel-not-found" }));
    assert_eq!(left[1], json!({ "t": "left", "room": format!("world:{world}"), "code": "world-not-found" }));
    mira.post(3, den, "anybody?").await;
    mira.expect_err("not-joined").await;
}

#[tokio::test(start_paused = true)]
async fn a_closed_channel_is_left() {
    let node = Node::start().await;
    let lobby = node.channel("lobby").await;
    let mut mira = node.member("Mira", lobby).await;
    let start = Instant::now();

    node.town.services.chat.close_channel(&Actor::operator(), lobby, None).await.unwrap();

    mira.post(2, lobby, "too late").await;
    mira.expect_err("channel-not-found").await;
    assert_eq!(mira.skip_to("left").await["code"], "channel-not-found");
    assert!(start.elapsed() <= Duration::from_secs(25), "{:?}", start.elapsed());
}

#[tokio::test]
async fn what_happens_is_counted() {
    let node = Node::start().await;
    let lobby = node.channel("lobby").await;
    let mut mira = node.member("Mira", lobby).await;
    mira.post(1, lobby, "well met").await;
    mira.expect("ok").await;
    mira.expect("msg").await;
    mira.send(json!({ "t": "leave", "id": 2, "room": room(lobby) })).await;
    mira.expect("left").await;

    assert_eq!(node.metric("weltenwind_ws_connections"), 1);
    assert_eq!(node.metric("weltenwind_ws_joins_total"), 1);
    assert_eq!(node.metric("weltenwind_ws_records_total"), 3 + 6);
    assert_eq!(node.metric("weltenwind_ws_deliver_seconds"), 1);
    mira.socket.close(None).await.unwrap();
    assert!(mira.next().await.is_none());
    node.all_gone().await;
    assert_eq!(node.metric_of("weltenwind_ws_closed_total", Some("client")), 1);
    assert_eq!(node.metric("weltenwind_ws_connections"), 0);
}

#[tokio::test]
async fn a_socket_posts_as_often_as_its_account_may_and_learns_when_it_may_again() {
    let node = Node::limited(LimitsConfig::default()).await;
    let lobby = node.channel("lobby").await;
    let grant = node.guest("Mira").await;
    let mut mira = node.connect(&grant).await;
    mira.join(lobby, None).await;
    mira.expect("live").await;
    for n in 0..21 {
        mira.post(n, lobby, &format!("message {n}")).await;
    }
    for _ in 0..20 {
        mira.skip_to("ok").await;
    }

    let refused = mira.skip_to("err").await;

    assert_eq!(
        (&refused["id"], &refused["code"], &refused["retryAfterMs"]),
        (&json!(20), &json!("rate-limited"), &json!(200))
    );
    // The quota is the account's and not the socket's, and no other door stands open.
    let actor = node.actor(&grant).await;
    let over_http = node.town.services.chat.post(&actor, Draft::new(lobby, "by another door")).await;
    assert_eq!(over_http.unwrap_err().code(), Code::RateLimited);
    let mut second = node.connect(&grant).await;
    second.join(lobby, None).await;
    second.expect("live").await;
    second.post(30, lobby, "from another socket").await;
    assert_eq!(second.expect("err").await["code"], "rate-limited");

    node.town.clock.advance(Duration::from_millis(200));
    mira.post(21, lobby, "in time").await;
    assert_eq!(mira.skip_to("ok").await["id"], 21);
}
