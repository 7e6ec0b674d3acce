//! What becomes of a socket when its session, its device or its rights are lost.

mod support;

use std::{
    sync::{Arc, Mutex, atomic::Ordering},
    time::Duration,
};

use async_trait::async_trait;
use serde_json::json;
use support::{Client, Node, room};
use tokio::time::Instant;
use weltenwind_core::{
    AccountId, Actor, ChannelId, Clock as _, Scope, Step, StorageError, WorldId,
    access::{GrantDraft, Role, Sanction, SanctionKind, Sanctions},
    chat::{ChannelDraft, Draft},
    revocations::{Loss, Lost},
    worlds::{Visibility, WorldAmendment, WorldChange, WorldDraft, WorldRef, WorldStore as _},
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

/// A node that tells who is where.
async fn node_with_presence() -> Node {
    let node = Node::start().await;
    let presence = node.town.services.presence.clone();
    tokio::spawn(async move { presence.run().await });
    node
}

/// Reads on until somebody comes.
async fn meet(client: &mut Client, name: &str) {
    while client.skip_to("presence").await["join"][0]["displayName"] != name {}
}

/// A public world with a channel.
async fn open_world(node: &Node, name: &str) -> (WorldId, ChannelId) {
    let (services, operator) = (&node.town.services, Actor::operator());
    let world = services.worlds.create(&operator, WorldDraft::new(name).expect("a name")).await.expect("a world");
    let draft = ChannelDraft::new(Scope::World(world.id), "square", "Square");
    (world.id, services.chat.open_channel(&operator, draft).await.expect("a channel").id)
}

/// Joins a world's room and its channel.
async fn settle(client: &mut Client, world: WorldId, square: ChannelId) {
    for room in [format!("world:{world}"), room(square)] {
        client.send(json!({ "t": "join", "id": 1, "room": room })).await;
        client.skip_to("live").await;
    }
}

fn closing(world: WorldId) -> WorldChange {
    let amendment = WorldAmendment { visibility: Some(Visibility::Private), ..WorldAmendment::default() };
    WorldChange { id: world, expected: None, amendment, archive: false }
}

#[tokio::test(start_paused = true)]
async fn a_world_that_becomes_private_shows_strangers_out_at_once_and_members_stay() {
    let node = Node::start().await;
    let (world, square) = open_world(&node, "Mistral").await;
    let (member, stranger) = (node.guest("Mira").await, node.guest("Lu").await);
    node.town.services.worlds.join(&node.actor(&member).await, &WorldRef::Id(world)).await.unwrap();
    let (mut mira, mut lu) = (node.connect(&member).await, node.connect(&stranger).await);
    for client in [&mut mira, &mut lu] {
        settle(client, world, square).await;
    }
    let (start, keeper) = (Instant::now(), Actor::operator());

    node.town.services.worlds.amend(&keeper, &WorldRef::Id(world), None, closing(world).amendment).await.unwrap();
    let draft = Draft { client_id: Some("1".to_owned()), ..Draft::new(square, "among ourselves") };
    node.town.services.chat.post(&node.actor(&member).await, draft).await.unwrap();

    let mut left = [lu.skip_to("left").await, lu.skip_to("left").await];
    left.sort_by_key(|record| record["code"].to_string());
    assert_eq!(left[0], json!({ "t": "left", "room": room(square), "code": "channel-not-found" }));
    assert_eq!(left[1], json!({ "t": "left", "room": format!("world:{world}"), "code": "world-not-found" }));
    assert_eq!(mira.skip_to("msg").await["message"]["body"], "among ourselves");
    assert!(start.elapsed() < SECOND, "{:?}", start.elapsed());
    lu.send(json!({ "t": "leave", "id": 9, "room": room(square) })).await;
    lu.expect_err("not-joined").await;
    mira.send(json!({ "t": "leave", "id": 9, "room": room(square) })).await;
    assert_eq!(mira.skip_to("left").await["id"], 9, "nothing else was taken from a member");
}

#[tokio::test(start_paused = true)]
async fn a_world_that_another_node_closes_or_archives_is_lost_within_half_a_second() {
    let node = Node::start().await;
    let mut lu = node.connect(&node.guest("Lu").await).await;
    let archive = |world| WorldChange { archive: true, amendment: WorldAmendment::default(), ..closing(world) };
    for (name, change) in [("Mistral", closing as fn(_) -> _), ("Zephyr", archive)] {
        let (world, square) = open_world(&node, name).await;
        settle(&mut lu, world, square).await;
        let start = Instant::now();

        // Into the store alone: no call on this node, and no hint on the bus.
        node.town.worlds.amend(&Step::sample(node.town.clock.now()), &change(world)).await.unwrap();

        for _ in 0..2 {
            lu.skip_to("left").await;
        }
        assert!(start.elapsed() <= SECOND / 2 + SECOND / 10, "{name}: {:?}", start.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_elsewhere_is_not_held_up_by_a_world_that_closes() {
    let node = node_with_presence().await;
    let ((closing_world, square), (world, other)) =
        (open_world(&node, "Mistral").await, open_world(&node, "Zephyr").await);
    let (mut lu, mut mira) = (node.member("Lu", square).await, node.connect(&node.guest("Mira").await).await);
    for client in [&mut mira, &mut lu] {
        settle(client, world, other).await;
    }
    for client in [&mut mira, &mut lu] {
        meet(client, "Lu").await;
    }
    // Whoever looks now learns nothing, and is told nothing.
    node.town.clock.advance(2 * SECOND);
    node.town.chat.away.store(true, Ordering::SeqCst);
    let start = Instant::now();

    let private = closing(closing_world).amendment;
    node.town.services.worlds.amend(&Actor::operator(), &WorldRef::Id(closing_world), None, private).await.unwrap();
    let mut tarn = node.connect(&node.guest("Tarn").await).await;
    tarn.send(json!({ "t": "join", "id": 1, "room": format!("world:{world}") })).await;

    meet(&mut mira, "Tarn").await;
    assert!(start.elapsed() < SECOND / 2, "{:?}", start.elapsed());
    node.town.chat.away.store(false, Ordering::SeqCst);
    assert_eq!(lu.next().await.unwrap()["t"], "left", "who was there is told nothing before that");
    assert!(start.elapsed() >= SECOND, "the second look decided");
}

#[tokio::test(start_paused = true)]
async fn a_role_that_ends_by_itself_costs_its_rooms_when_it_ends() {
    let node = node_with_presence().await;
    let (first, second) = (node.guest("Mira").await, node.guest("Lu").await);
    let (world, den) = private_world(&node, &node.actor(&first).await).await;
    let life = 7 * SECOND;
    let give = async |account, expires_at| {
        let (role, scope) = (Role::WorldMember, Scope::World(world));
        let draft = GrantDraft { account, role, scope, reason: None, expires_at };
        node.town.services.grants.give(&Actor::operator(), draft).await.unwrap();
    };
    let end = node.town.clock.now() + life;
    give(second.account.id, Some(end)).await;
    let (mut mira, mut lu) = (node.connect(&first).await, node.connect(&second).await);
    for client in [&mut mira, &mut lu] {
        settle(client, world, den).await;
    }
    let start = Instant::now();

    // The one was given an end from the beginning, the other one gets it now.
    give(first.account.id, Some(end)).await;
    tokio::time::sleep(SECOND).await;
    node.town.clock.advance(life);

    for client in [&mut mira, &mut lu] {
        for _ in 0..2 {
            client.skip_to("left").await;
        }
    }
    assert!(start.elapsed() >= life && start.elapsed() < life + SECOND, "{:?}", start.elapsed());
}

/// A member of a private world whose role ends after `life`, in its channel and in the lobby; and one whose role stays.
async fn member_for(node: &Node, life: Duration) -> (Client, Actor, ChannelId, ChannelId) {
    let (keeper, grant) = (node.actor(&node.guest("Keeper").await).await, node.guest("Mira").await);
    let (world, den) = private_world(node, &keeper).await;
    let lobby = node.channel("lobby").await;
    let (role, scope) = (Role::WorldMember, Scope::World(world));
    let expires_at = Some(node.town.clock.now() + life);
    let draft = GrantDraft { account: grant.account.id, role, scope, reason: None, expires_at };
    node.town.services.grants.give(&Actor::operator(), draft).await.expect("a grant");
    let mut mira = node.connect(&grant).await;
    mira.answers_pings = true;
    for channel in [lobby, den] {
        mira.join(channel, None).await;
        mira.expect("live").await;
    }
    (mira, keeper, den, lobby)
}

/// Lets time pass on both clocks.
async fn pass(node: &Node, time: Duration) {
    node.town.clock.advance(time);
    tokio::time::sleep(time).await;
}

async fn say(node: &Node, speaker: &Actor, channel: ChannelId, body: &str) {
    node.town.services.chat.post(speaker, Draft::new(channel, body)).await.expect("a message");
}

#[tokio::test(start_paused = true)]
async fn a_role_that_ends_behind_a_look_that_failed_ends_at_its_instant_all_the_same() {
    let node = Node::start().await;
    let (mut mira, keeper, den, lobby) = member_for(&node, 30 * SECOND).await;
    pass(&node, 23 * SECOND).await;
    node.town.chat.away.store(true, Ordering::SeqCst);
    pass(&node, 4 * SECOND).await;
    node.town.chat.away.store(false, Ordering::SeqCst);
    say(&node, &keeper, den, "still a member").await;
    assert_eq!(mira.expect("msg").await["message"]["body"], "still a member");

    pass(&node, 3 * SECOND + SECOND / 10).await;
    say(&node, &keeper, den, "among ourselves").await;
    say(&node, &keeper, lobby, "for all").await;

    assert_eq!(mira.expect("left").await["room"], room(den));
    assert_eq!(mira.expect("msg").await["message"]["body"], "for all");
}

#[tokio::test(start_paused = true)]
async fn a_role_that_ends_while_the_store_is_away_ends_all_the_same() {
    let node = Node::start().await;
    let (mut mira, keeper, den, lobby) = member_for(&node, 7 * SECOND).await;
    pass(&node, 6 * SECOND).await;
    node.town.chat.away.store(true, Ordering::SeqCst);
    pass(&node, SECOND + SECOND / 2).await;

    node.town.chat.away.store(false, Ordering::SeqCst);
    say(&node, &keeper, den, "among ourselves").await;
    say(&node, &keeper, lobby, "for all").await;
    let start = Instant::now();

    assert_eq!(mira.expect("left").await["room"], room(den), "nothing was told since the look that failed");
    assert_eq!(mira.expect("msg").await["message"]["body"], "for all");
    assert!(start.elapsed() <= SECOND, "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_newer_token_that_reaches_less_has_effect_before_another_frame() {
    let node = node_with_presence().await;
    let grant = node.guest("Mira").await;
    let (world, square) = open_world(&node, "Mistral").await;
    let (mut mira, mut lu) = (node.connect(&grant).await, node.connect(&node.guest("Lu").await).await);
    mira.send(json!({ "t": "join", "id": 1, "room": "global" })).await;
    mira.skip_to("live").await;
    settle(&mut mira, world, square).await;
    tokio::time::sleep(SECOND).await;
    let narrowed = node.narrowed(&grant, Scope::World(world)).await;
    // No look decides anything for now.
    node.town.clock.advance(2 * SECOND);
    node.town.chat.away.store(true, Ordering::SeqCst);

    mira.send(json!({ "t": "refresh", "id": 2, "token": narrowed })).await;
    tokio::time::sleep(SECOND / 10).await;
    lu.send(json!({ "t": "join", "id": 1, "room": "global" })).await;
    meet(&mut lu, "Lu").await;
    node.town.chat.away.store(false, Ordering::SeqCst);

    assert_eq!(mira.skip_to("ok").await["id"], 2);
    let left = mira.next().await.unwrap();
    assert_eq!(left, json!({ "t": "left", "room": "global", "code": "permission-denied" }), "not that Lu came");
    mira.send(json!({ "t": "leave", "id": 3, "room": room(square) })).await;
    assert_eq!(mira.next().await.unwrap()["id"], 3);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_narrowed_to_what_was_lost_carries_no_socket() {
    let node = Node::start().await;
    let grant = node.guest("Mira").await;
    let actor = node.actor(&grant).await;
    let (world, den) = private_world(&node, &actor).await;
    let narrowed = node.narrowed(&grant, Scope::World(world)).await;
    let (mut narrow, mut wide) = (node.connect_with(&narrowed).await, node.connect(&grant).await);
    for client in [&mut narrow, &mut wide] {
        settle(client, world, den).await;
    }
    let start = Instant::now();

    node.town.services.worlds.leave(&actor, &WorldRef::Id(world)).await.unwrap();

    let bye = narrow.skip_to("bye").await;
    assert_eq!((&bye["code"], &bye["resume"], &bye["retryMaxMs"]), (&json!(4101), &json!(true), &json!(1000)));
    narrow.expect_close(4101).await;
    wide.skip_to("left").await;
    assert!(start.elapsed() < SECOND, "{:?}", start.elapsed());
}

/// Bans whoever is on the list.
#[derive(Debug, Default)]
struct Bans(Mutex<Vec<(AccountId, Scope)>>);

#[async_trait]
impl Sanctions for Bans {
    async fn of(&self, account: AccountId) -> Result<Arc<[Sanction]>, StorageError> {
        let bans = self.0.lock().expect("no poison");
        let ban = |scope| Sanction { kind: SanctionKind::Ban, scope, until: None };
        Ok(bans.iter().filter(|(banned, _)| *banned == account).map(|(_, scope)| ban(*scope)).collect())
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_banned_from_everything_is_sent_away_at_once() {
    let bans = Arc::new(Bans::default());
    let node = Node::sanctioning(bans.clone()).await;
    let (grant, lobby) = (node.guest("Mira").await, node.channel("lobby").await);
    let (mut mira, mut lu) = (node.connect(&grant).await, node.member("Lu", lobby).await);
    mira.join(lobby, None).await;
    mira.expect("live").await;
    let start = Instant::now();

    bans.0.lock().unwrap().push((grant.account.id, Scope::Global));
    let loss = Loss::of(grant.account.id, Lost::Rights(Scope::Global));
    node.town.accounts.log.append([loss], node.town.clock.now());
    node.town.services.revocations.announce().await;
    node.town.services.chat.post(&Actor::player("Keeper"), Draft::new(lobby, "gone?")).await.unwrap();

    let bye = mira.expect_bye(4202).await;
    assert_eq!((&bye["resume"], &bye["retryMaxMs"]), (&json!(false), &json!(0)));
    assert!(start.elapsed() < SECOND, "{:?}", start.elapsed());
    assert_eq!(lu.expect("msg").await["message"]["body"], "gone?");
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
