//! Sockets of game servers, opened with an API key.

#![allow(clippy::unwrap_used, reason = "clippy knows tests, and not the functions that they share")]

mod support;

use std::{sync::atomic::Ordering, time::Duration};

use serde_json::json;
use support::Node;
use tokio::time::Instant;
use weltenwind_core::{Actor, Clock as _, access::Permission, revocations::Loss};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_key_posts_under_its_own_name_what_it_lists() {
    let node = Node::start().await;
    let lobby = node.channel("lobby").await;
    let mut mira = node.member("Mira", lobby).await;
    let (made, mut arena) = node.key(&[Permission::ChatPost]).await;
    let (_, mut reader) = node.key(&[Permission::ChatRead]).await;
    for client in [&mut arena, &mut reader] {
        client.join(lobby, None).await;
        client.expect("live").await;
    }

    arena.post(1, lobby, "Round two begins.").await;

    assert_eq!(arena.skip_to("ok").await["message"]["author"]["displayName"], "arena server");
    let heard = mira.skip_to("msg").await;
    assert_eq!(heard["message"]["author"]["id"], made.key.id.to_string());
    reader.skip_to("msg").await;
    reader.post(1, lobby, "nor I").await;
    reader.expect_err("permission-denied").await;
}

#[tokio::test]
async fn a_key_that_was_deleted_posts_nothing_more() {
    let node = Node::start().await;
    let lobby = node.channel("lobby").await;
    let (made, mut arena) = node.key(&[Permission::ChatPost]).await;
    arena.join(lobby, None).await;
    arena.expect("live").await;

    node.town.services.api_keys.delete(&Actor::operator(), made.key.id).await.unwrap();
    arena.post(1, lobby, "too late").await;

    arena.expect_bye(4201).await;
}

#[tokio::test(start_paused = true)]
async fn a_socket_of_a_key_that_was_deleted_is_closed_at_once_and_no_other() {
    let node = Node::start().await;
    let (made, mut arena) = node.key(&[Permission::ChatPost]).await;
    let (_, mut other) = node.key(&[Permission::ChatPost]).await;
    let start = Instant::now();

    node.town.services.api_keys.delete(&Actor::operator(), made.key.id).await.unwrap();

    arena.expect_bye(4201).await;
    assert!(start.elapsed() < SECOND, "{:?}", start.elapsed());
    other.send(json!({ "t": "leave", "id": 1, "room": "global" })).await;
    other.expect_err("not-joined").await;
}

#[tokio::test(start_paused = true)]
async fn a_key_that_another_node_deletes_is_lost_within_half_a_second() {
    let node = Node::start().await;
    let (made, mut arena) = node.key(&[Permission::ChatPost]).await;
    let start = Instant::now();

    // Into the log alone: no call on this node, and no hint on the bus.
    node.town.accounts.log.append([Loss::of_key(made.key.id)], node.town.clock.now());

    arena.expect_bye(4201).await;
    assert!(start.elapsed() <= SECOND / 2 + SECOND / 10, "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_socket_is_closed_when_its_key_ends() {
    let node = Node::start().await;
    let (start, life) = (Instant::now(), 7 * SECOND);
    let (_, mut arena) = node.key_until(Some(node.town.clock.now() + life), &[Permission::ChatPost]).await;
    node.town.clock.advance(life);

    arena.skip_to("bye").await;
    arena.expect_close(4201).await;
    assert!(start.elapsed() >= life && start.elapsed() < life + SECOND, "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_socket_goes_on_under_its_own_key_and_no_other() {
    let node = Node::start().await;
    let (mine, mut arena) = node.key(&[Permission::ChatPost]).await;
    let (other, _) = node.key(&[Permission::ChatPost]).await;
    let mira = node.guest("Mira").await;

    arena.send(json!({ "t": "refresh", "id": 1, "token": mine.secret.expose() })).await;
    assert_eq!(arena.expect("ok").await["id"], 1);
    for token in [other.secret.expose(), mira.access_token.expose()] {
        arena.send(json!({ "t": "refresh", "id": 2, "token": token })).await;
        assert_eq!(arena.expect("err").await["code"], "token-invalid");
    }
    arena.send(json!({ "t": "refresh", "id": 3, "token": "wwk_x" })).await;
    assert_eq!(arena.expect("err").await["code"], "api-key-invalid");
}

#[tokio::test]
async fn no_key_is_looked_up_that_cannot_be_the_sockets_own() {
    let node = Node::start().await;
    let (mut mira, (mine, mut arena)) =
        (node.connect(&node.guest("Mira").await).await, node.key(&[Permission::ChatPost]).await);
    let (other, _) = node.key(&[Permission::ChatPost]).await;
    let never_made = format!("wwk_{}", "A".repeat(64));
    let looked_up = || node.town.accounts.keys_read.load(Ordering::SeqCst);
    // What is remembered of keys is too old to be believed.
    node.town.clock.advance(2 * SECOND);
    let before = looked_up();

    for token in [mine.secret.expose(), other.secret.expose(), &never_made] {
        mira.send(json!({ "t": "refresh", "id": 1, "token": token })).await;
        mira.expect_err("token-invalid").await;
    }
    assert_eq!(looked_up(), before, "a session goes on under no key");
    for token in [other.secret.expose(), &never_made] {
        arena.send(json!({ "t": "refresh", "id": 2, "token": token })).await;
        arena.expect_err("token-invalid").await;
    }

    assert_eq!(looked_up(), before + 1, "to see that its own key still holds");
}
