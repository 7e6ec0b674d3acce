//! What becomes of a socket when its session, its device or its rights are lost.

mod support;

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use serde_json::json;
use support::{Node, room};
use tokio::time::Instant;
use weltenwind_core::{
    Actor, ChannelId, Clock as _, Scope, WorldId,
    chat::{ChannelDraft, Draft},
    revocations::{Loss, Lost},
    worlds::{Visibility, WorldAmendment, WorldDraft, WorldRef},
};

const SECOND: Duration = Duration::from_secs(1);

/// A private world with a channel, and a member of it.
async fn private_world(node: &Node, member: &Actor) -> (WorldId, ChannelId) {
    let services = &node.town.services;
    let operator = Actor::operator();
    let world = services.worlds.create(&operator, WorldDraft::new("Mistral").expect("a name")).await.expect("a world");
    services.worlds.join(member, &WorldRef::Id(world.id)).await.expect("a member");
    let amendment = WorldAmendment { visibility: Some(Visibility::Private), ..WorldAmendment::default() };
    services.worlds.amend(&operator, &WorldRef::Id(world.id), None, amendment).await.expect("a private world");
    let draft = ChannelDraft::new(Scope::World(world.id), "den", "Den");
    (world.id, services.chat.open_channel(&operator, draft).await.expect("a channel").id)
}

#[tokio::test(start_paused = true)]
async fn a_session_that_ends_takes_its_sockets_along_at_once_and_no_others() {
    let node = Node::start().await;
    let (mira, lu) = (node.guest("Mira").await, node.guest("Lu").await);
    let (mut one, mut two, mut other) = (node.connect(&mira).await, node.connect(&mira).await, node.connect(&lu).await);
    let start = Instant::now();

    node.town.services.accounts.sign_out(&node.actor(&mira).await).await.unwrap();

    for socket in [&mut one, &mut two] {
        let bye = socket.expect_bye(4201).await;
        assert_eq!((&bye["resume"], &bye["retryMaxMs"]), (&json!(false), &json!(0)));
    }
    assert!(start.elapsed() < SECOND);
    other.send(json!({ "t": "leave", "id": 1, "room": "global" })).await;
    other.expect_err("not-joined").await;
    while node.metric_of("weltenwind_ws_closed_total", Some("4201")) < 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(node.metric("weltenwind_ws_revoke_seconds"), 2);
}

#[tokio::test(start_paused = true)]
async fn a_device_that_is_signed_out_hears_so() {
    let node = Node::start().await;
    let grant = node.guest("Mira").await;
    let mut mira = node.connect(&grant).await;
    let actor = node.actor(&grant).await;

    node.town.services.accounts.end_device(&actor, actor.device.unwrap()).await.unwrap();

    let bye = mira.expect_bye(4200).await;
    assert_eq!((&bye["reason"], &bye["resume"]), (&json!("the device was signed out"), &json!(false)));
}

#[tokio::test(start_paused = true)]
async fn a_loss_that_another_node_logs_is_known_within_half_a_second() {
    let node = Node::start().await;
    let grant = node.guest("Mira").await;
    let mut mira = node.connect(&grant).await;
    let start = Instant::now();

    // Into the log alone: no call on this node, and no hint on the bus.
    let loss = Loss::of(grant.account.id, Lost::Session(grant.session));
    node.town.accounts.log.append([loss], node.town.clock.now());

    mira.expect_bye(4201).await;
    assert!(start.elapsed() <= SECOND / 2 + SECOND / 10, "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn nothing_is_written_to_a_session_that_is_known_to_have_ended() {
    const POSTS: usize = 200;
    let node = Node::start().await;
    let lobby = node.channel("lobby").await;
    let grant = node.guest("Slow").await;
    let mut slow = node.connect_over(node.pipe(None, 512), &grant).await;
    slow.join(lobby, None).await;
    slow.expect("live").await;
    let keeper = Actor::player("Keeper");
    for n in 0..POSTS {
        node.town.services.chat.post(&keeper, Draft::new(lobby, format!("{n}"))).await.unwrap();
    }
    // Whatever can be written into the pipe is written now.
    tokio::time::sleep(SECOND).await;

    node.town.services.accounts.sign_out(&node.actor(&grant).await).await.unwrap();

    let (mut heard, mut last) = (0, slow.next().await.unwrap());
    while last["t"] != "bye" {
        heard += 1;
        last = slow.next().await.unwrap();
    }
    assert_eq!(last["code"], 4201);
    assert!(heard < POSTS / 2, "only the frame that was on its way came: {heard} messages");
}

#[tokio::test(start_paused = true)]
async fn a_role_that_is_taken_costs_its_rooms_at_once_and_no_others() {
    let node = Node::start().await;
    let (grant, lobby) = (node.guest("Mira").await, node.channel("lobby").await);
    let actor = node.actor(&grant).await;
    let (world, den) = private_world(&node, &actor).await;
    let mut mira = node.connect(&grant).await;
    for channel in [den, lobby] {
        mira.join(channel, None).await;
        mira.expect("live").await;
    }
    let start = Instant::now();

    node.town.services.worlds.leave(&actor, &WorldRef::Id(world)).await.unwrap();
    node.town.services.chat.post(&Actor::player("Keeper"), Draft::new(lobby, "still here")).await.unwrap();

    let left = mira.expect("left").await;
    assert_eq!(left, json!({ "t": "left", "room": room(den), "code": "channel-not-found" }));
    assert!(start.elapsed() < SECOND);
    assert_eq!(mira.expect("msg").await["message"]["body"], "still here");
}

#[tokio::test(start_paused = true)]
async fn a_role_that_is_taken_while_a_room_is_joined_costs_that_room() {
    let node = Node::start().await;
    let grant = node.guest("Mira").await;
    let actor = node.actor(&grant).await;
    let (world, den) = private_world(&node, &actor).await;
    let mut mira = node.connect(&grant).await;
    // The join passes the door, and then waits for the store.
    node.town.services.chat.check_read(&actor, den).await.unwrap();
    let chat = Arc::clone(&node.town.chat);
    let gate = chat.gate.write().await;
    mira.send(json!({ "t": "join", "id": 1, "room": room(den) })).await;
    tokio::time::sleep(SECOND / 10).await;

    node.town.services.worlds.leave(&actor, &WorldRef::Id(world)).await.unwrap();
    drop(gate);

    let mut record = mira.next().await.unwrap();
    while record["t"] == "joined" || record["t"] == "live" {
        record = mira.next().await.unwrap();
    }
    let refused = record["t"] == "err" && record["code"] == "channel-not-found";
    let shown_out = record["t"] == "left" && record["code"] == "channel-not-found";
    assert!(refused || shown_out, "{record}");
    mira.post(2, den, "anybody?").await;
    mira.expect_err("not-joined").await;
}

#[tokio::test(start_paused = true)]
async fn while_nobody_knows_what_is_left_nothing_is_written() {
    let node = Node::start().await;
    let (grant, lobby) = (node.guest("Mira").await, node.channel("lobby").await);
    let actor = node.actor(&grant).await;
    let (world, den) = private_world(&node, &actor).await;
    let mut mira = node.connect(&grant).await;
    for channel in [den, lobby] {
        mira.join(channel, None).await;
        mira.expect("live").await;
    }
    let keeper = Actor::player("Keeper");
    let start = Instant::now();

    // What is remembered of channels must not answer for the store.
    node.town.clock.advance(2 * SECOND);
    node.town.chat.away.store(true, Ordering::SeqCst);
    node.town.services.worlds.leave(&actor, &WorldRef::Id(world)).await.unwrap();
    tokio::time::sleep(SECOND / 2).await;
    node.town.chat.away.store(false, Ordering::SeqCst);
    node.town.services.chat.post(&keeper, Draft::new(lobby, "back again")).await.unwrap();

    // Told as a person reads it: first that the room is gone, then what the other one says.
    assert_eq!(mira.expect("left").await["room"], room(den));
    assert_eq!(mira.expect("msg").await["message"]["body"], "back again");
    assert!(start.elapsed() >= SECOND, "the second look decided");
    mira.send(json!({ "t": "join", "id": 9, "room": room(den) })).await;
    mira.expect_err("channel-not-found").await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_cannot_read_what_is_lost_opens_no_sockets() {
    let node = Node::start().await;
    let grant = node.guest("Mira").await;
    node.town.accounts.away.store(true, Ordering::SeqCst);
    node.town.clock.advance(11 * SECOND);

    let request = format!(
        "GET /realtime/v1 HTTP/1.1\r\nHost: wind.test\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Protocol: weltenwind.v1\r\nAuthorization: Bearer {}\r\n\r\n",
        grant.access_token.expose()
    );
    let (head, problem) = node.handshake(&request).await;
    assert!(head.starts_with("HTTP/1.1 503 ") && head.contains("retry-after: 1"), "{head}");
    assert_eq!(problem["code"], "unavailable");

    node.town.accounts.away.store(false, Ordering::SeqCst);
    node.connect(&grant).await;
}

#[tokio::test(start_paused = true)]
async fn who_was_signed_out_between_the_ticket_and_the_socket_gets_none() {
    let node = Node::start().await;
    let grant = node.guest("Mira").await;
    let actor = node.actor(&grant).await;
    let accounts = &node.town.services.accounts;
    let (ticket, _) = accounts.issue_ticket(&actor, support::ORIGIN).await.unwrap();
    accounts.end_device(&actor, actor.device.unwrap()).await.unwrap();

    let request = format!(
        "GET /realtime/v1 HTTP/1.1\r\nHost: wind.test\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: {}\r\n\
         Sec-WebSocket-Protocol: weltenwind.v1, ticket.{}\r\n\r\n",
        support::ORIGIN,
        ticket.expose()
    );
    let (head, problem) = node.handshake(&request).await;

    assert!(head.starts_with("HTTP/1.1 401 "), "{head}");
    assert_eq!(problem["code"], "device-revoked");
}
