//! Sockets of game servers, opened with an API key.

#![allow(clippy::unwrap_used, reason = "clippy knows tests, and not the functions that they share")]

mod support;

use std::time::Duration;

use serde_json::json;
use support::Node;
use weltenwind_core::{Actor, access::Permission};

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
async fn a_socket_of_a_key_that_was_deleted_is_closed_at_the_next_look() {
    let node = Node::start().await;
    let (made, mut arena) = node.key(&[Permission::ChatPost]).await;
    arena.answers_pings = true;

    node.town.services.api_keys.delete(&Actor::operator(), made.key.id).await.unwrap();
    node.town.clock.advance(Duration::from_secs(25));

    arena.expect_bye(4201).await;
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
