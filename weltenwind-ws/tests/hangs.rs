//! A store that does not answer: sockets go on, and nobody waits for ever.

#![allow(clippy::unwrap_used, reason = "clippy knows tests, and not the functions that they share")]

mod support;

use std::time::Duration;

use serde_json::json;
use support::{Client, Node, room};
use tokio::time::Instant;
use weltenwind_core::{
    Actor, ChannelId, Scope, WorldId,
    chat::{ChannelDraft, Draft},
    worlds::{Visibility, WorldAmendment, WorldDraft, WorldRef},
};

const SECOND: Duration = Duration::from_secs(1);

/// Lets what is remembered of channels grow too old to be believed.
fn forget(node: &Node) {
    node.town.clock.advance(2 * SECOND);
}

async fn say(node: &Node, channel: ChannelId, body: &str) {
    node.town.services.chat.post(&Actor::player("Keeper"), Draft::new(channel, body)).await.unwrap();
}

async fn expect_text(client: &mut Client, body: &str) {
    assert_eq!(client.expect("msg").await["message"]["body"], body);
}

/// A private world with a channel, and a member who is in it and in the lobby.
async fn member_of_a_den(node: &Node, lobby: ChannelId) -> (Client, Actor, WorldId, ChannelId) {
    let services = &node.town.services;
    let grant = node.guest("Mira").await;
    let (operator, actor) = (Actor::operator(), node.actor(&grant).await);
    let world = services.worlds.create(&operator, WorldDraft::new("Mistral").unwrap()).await.unwrap().id;
    services.worlds.join(&actor, &WorldRef::Id(world)).await.unwrap();
    let amendment = WorldAmendment { visibility: Some(Visibility::Private), ..WorldAmendment::default() };
    services.worlds.amend(&operator, &WorldRef::Id(world), None, amendment).await.unwrap();
    let den = services.chat.open_channel(&operator, ChannelDraft::new(Scope::World(world), "den", "Den")).await;
    let den = den.unwrap().id;
    let mut mira = node.connect(&grant).await;
    for channel in [den, lobby] {
        mira.join(channel, None).await;
        mira.expect("live").await;
    }
    (mira, actor, world, den)
}

#[tokio::test(start_paused = true)]
async fn a_request_that_hangs_is_given_up_and_answers_keep_their_order() {
    let node = Node::start().await;
    let lobby = node.channel("lobby").await;
    let mut mira = node.connect(&node.guest("Mira").await).await;
    let start = Instant::now();
    forget(&node);
    node.town.chat.hang("find_channel", 1);

    mira.send(json!({ "t": "join", "id": 1, "room": room(lobby) })).await;
    mira.send(json!({ "t": "leave", "id": 2, "room": "global" })).await;
    mira.send(json!({ "t": "join", "id": 3, "room": room(lobby) })).await;

    let given_up = mira.expect_err("timed-out").await;
    assert_eq!((&given_up["id"], &given_up["retryAfterMs"]), (&json!(1), &json!(1000)));
    assert_eq!(start.elapsed(), 10 * SECOND);
    assert_eq!(mira.expect_err("not-joined").await["id"], 2);
    assert_eq!(mira.expect("joined").await["id"], 3);
    mira.expect("live").await;
    say(&node, lobby, "well met").await;
    expect_text(&mut mira, "well met").await;
}

#[tokio::test(start_paused = true)]
async fn a_post_that_hangs_before_it_has_its_place_is_not_posted() {
    let node = Node::start().await;
    let lobby = node.channel("lobby").await;
    let mut mira = node.member("Mira", lobby).await;
    forget(&node);
    node.town.chat.hang("find_channel", 1);

    mira.post(1, lobby, "hung").await;
    mira.post(2, lobby, "next").await;

    assert_eq!(mira.expect_err("timed-out").await["id"], 1);
    let (ok, msg) = (mira.expect("ok").await, mira.expect("msg").await);
    assert_eq!((&ok["id"], &ok["message"]["seq"], &msg["message"]["body"]), (&json!(2), &json!(1), &json!("next")));
}

#[tokio::test(start_paused = true)]
async fn a_post_that_is_written_after_it_was_given_up_is_heard_by_all_and_repeated_it_is_one() {
    let node = Node::start().await;
    let lobby = node.channel("lobby").await;
    let (mut mira, mut lu) = (node.member("Mira", lobby).await, node.member("Lu", lobby).await);
    (mira.answers_pings, lu.answers_pings) = (true, true);
    let start = Instant::now();
    *node.town.chat.append_takes.lock().unwrap() = 20 * SECOND;

    mira.post(1, lobby, "late").await;
    let given_up = mira.expect_err("unavailable").await;
    assert_eq!((&given_up["id"], &given_up["retryAfterMs"]), (&json!(1), &json!(1000)));
    assert_eq!(start.elapsed(), 15 * SECOND);

    // Nobody posts any more, and nobody told of it.
    let heard = lu.expect("msg").await;
    assert!(start.elapsed() <= 28 * SECOND, "heard after {:?}", start.elapsed());
    assert_eq!(mira.skip_to("msg").await, heard);
    *node.town.chat.append_takes.lock().unwrap() = Duration::ZERO;
    mira.post(1, lobby, "late").await;
    assert_eq!(mira.skip_to("ok").await["message"], heard["message"]);
    mira.post(2, lobby, "next").await;
    assert_eq!(lu.skip_to("msg").await["seq"], 2, "the repeat is no other message");
}

#[tokio::test(start_paused = true)]
async fn who_comes_back_is_not_held_up_by_the_hung_reading_of_another() {
    let node = Node::start().await;
    let lobby = node.channel("lobby").await;
    let mut keeper = node.member("Keeper", lobby).await;
    say(&node, lobby, "before").await;
    let cursor = keeper.expect("msg").await["cursor"].clone();
    say(&node, lobby, "missed").await;
    let (mut mira, mut lu) =
        (node.connect(&node.guest("Mira").await).await, node.connect(&node.guest("Lu").await).await);
    // What was read of the room a moment ago is not believed any more.
    tokio::time::sleep(SECOND).await;
    let start = Instant::now();
    node.town.chat.hang("head", 1);

    let join = json!({ "t": "join", "id": 1, "room": room(lobby), "since": cursor });
    mira.send(join.clone()).await;
    tokio::time::sleep(SECOND / 10).await;
    lu.send(join).await;

    mira.expect_err("unavailable").await;
    assert_eq!(lu.expect("joined").await["recovered"], true);
    assert_eq!(start.elapsed(), 5 * SECOND);
    expect_text(&mut lu, "missed").await;
}

#[tokio::test(start_paused = true)]
async fn a_page_that_hangs_is_read_again_and_holds_nobody_up_who_shares_it() {
    let node = Node::start().await;
    let lobby = node.channel("lobby").await;
    let mut keeper = node.member("Keeper", lobby).await;
    say(&node, lobby, "before").await;
    let cursor = keeper.expect("msg").await["cursor"].as_str().unwrap().to_owned();
    drop(keeper);
    for n in 0..5 {
        say(&node, lobby, &format!("{n}")).await;
    }
    // The room is given up, so that only the store knows what was missed.
    tokio::time::sleep(40 * SECOND).await;
    let mut readers = vec![node.connect(&node.guest("Mira").await).await, node.connect(&node.guest("Lu").await).await];
    let start = Instant::now();
    node.town.chat.hang("changes", 1);

    for reader in &mut readers {
        assert_eq!(reader.join(lobby, Some(&cursor)).await["recovered"], true);
    }
    let mut late = Vec::new();
    for reader in &mut readers {
        for n in 0..5 {
            expect_text(reader, &format!("{n}")).await;
        }
        reader.expect("live").await;
        late.push(start.elapsed());
    }

    assert_eq!(late[0], 11 * SECOND, "given up after ten seconds, and asked for again after one");
    assert!(late[1] <= late[0]);
    assert!(node.metric_of("weltenwind_ws_pages_total", Some("replay")) >= 2);
}

#[tokio::test(start_paused = true)]
async fn a_look_at_rights_that_hangs_is_repeated() {
    let node = Node::start().await;
    let lobby = node.channel("lobby").await;
    let (mut mira, actor, world, den) = member_of_a_den(&node, lobby).await;
    let start = Instant::now();
    forget(&node);
    node.town.chat.hang("find_channel", 1);

    node.town.services.worlds.leave(&actor, &WorldRef::Id(world)).await.unwrap();
    tokio::time::sleep(SECOND / 10).await;
    say(&node, lobby, "still here").await;

    assert_eq!(mira.expect("left").await["room"], room(den));
    expect_text(&mut mira, "still here").await;
    assert_eq!(start.elapsed(), 11 * SECOND, "a look that is given up, and another one a second later");
}

#[tokio::test(start_paused = true)]
async fn a_socket_of_which_nobody_knows_for_long_what_it_may_hear_is_closed() {
    let node = Node::start().await;
    let lobby = node.channel("lobby").await;
    let (mut mira, actor, world, _) = member_of_a_den(&node, lobby).await;
    let start = Instant::now();
    forget(&node);
    node.town.chat.hang("find_channel", u32::MAX);

    node.town.services.worlds.leave(&actor, &WorldRef::Id(world)).await.unwrap();

    assert_eq!(mira.expect_bye(4005).await["resume"], true);
    assert_eq!(start.elapsed(), (3 * 10 + 2) * SECOND, "three looks, a second apart");
}

/// Sends so many requests that the server stops reading, if they hang.
async fn overwhelm(mira: &mut Client, lobby: ChannelId) {
    let joins: Vec<String> =
        (0..45).map(|id| json!({ "t": "join", "id": id, "room": room(lobby) }).to_string()).collect();
    mira.send_text(&joins.join("\n")).await;
}

/// Reads the answers to all of them, and whatever else comes.
async fn answered(mira: &mut Client, pings: usize) {
    let (mut answers, mut pinged) = (0, 0);
    while answers < 45 {
        let record = mira.next().await.unwrap();
        match record["t"].as_str().unwrap() {
            "err" | "joined" => answers += 1,
            "ping" => pinged += 1,
            "live" => {}
            _ => panic!("{record}"),
        }
    }
    assert_eq!(pinged, pings);
}

#[tokio::test(start_paused = true)]
async fn who_is_not_read_because_the_store_hangs_is_asked_for_a_sign_of_life_and_not_blamed() {
    let node = Node::start().await;
    let lobby = node.channel("lobby").await;
    let mut mira = node.connect(&node.guest("Mira").await).await;
    mira.answers_pings = true;
    forget(&node);
    let (gate, start) = (node.town.chat.gate.write().await, Instant::now());
    overwhelm(&mut mira, lobby).await;

    // Its sign of life lies unread for half a minute.
    for _ in 0..5 {
        mira.expect_err("timed-out").await;
    }
    assert_eq!(start.elapsed(), 50 * SECOND);
    drop(gate);
    while mira.expect_any(&["err", "joined", "live"]).await["id"] != 44 {}
    tokio::time::sleep(20 * SECOND).await;

    mira.send(json!({ "t": "leave", "id": 50, "room": "global" })).await;
    mira.expect_err("not-joined").await;
    assert!(start.elapsed() < 75 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn who_is_gone_while_the_store_hangs_is_given_up_when_it_is_read_again() {
    let node = Node::start().await;
    let lobby = node.channel("lobby").await;
    let mut mira = node.connect(&node.guest("Mira").await).await;
    forget(&node);
    let (gate, start) = (node.town.chat.gate.write().await, Instant::now());
    overwhelm(&mut mira, lobby).await;

    tokio::time::sleep(55 * SECOND).await;
    drop(gate);

    answered(&mut mira, 1).await;
    mira.expect_bye(4002).await;
    let gone = start.elapsed();
    assert!(gone > 55 * SECOND && gone <= 65 * SECOND, "after {gone:?}");
}
