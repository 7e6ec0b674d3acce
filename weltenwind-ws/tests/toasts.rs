//! What is new is shown where somebody looks, once.

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use support::{Client, Node};
use uuid::Uuid;
use weltenwind_core::{NotificationId, Room, accounts::SessionGrant, notifications::Notice};
use weltenwind_ws::RealtimeConfig;

async fn looking(node: &Node, grant: &SessionGrant, on: bool) -> Client {
    let mut client = node.connect(grant).await;
    client.send(json!({ "t": "foreground", "id": 1, "on": on })).await;
    assert_eq!(client.expect("ok").await["id"], 1);
    client
}

async fn tell(node: &Node, room: Room, number: u128) {
    let notification = NotificationId::new(Uuid::from_u128(number));
    node.town.services.notifications.notices().publish(Notice { room, notification }).await;
}

/// Asks for something and answers what came before the answer.
async fn heard(client: &mut Client) -> Vec<Value> {
    client.send(json!({ "t": "leave", "id": 99, "room": "global" })).await;
    let mut heard = Vec::new();
    loop {
        let record = client.next().await.expect("the socket is open");
        if record["t"] == "err" {
            return heard;
        }
        heard.push(record);
    }
}

#[tokio::test(start_paused = true)]
async fn a_toast_is_shown_on_the_socket_that_is_looked_at_and_on_no_other() {
    let node = Node::start().await;
    let grant = node.guest("Mira").await;
    let (mut earlier, mut hidden) = (looking(&node, &grant, true).await, looking(&node, &grant, false).await);
    let mut shown = looking(&node, &grant, true).await;
    let mut other = looking(&node, &node.guest("Lu").await, true).await;
    let own = Room::User(grant.account.id);

    tell(&node, own, 1).await;

    let id = Uuid::from_u128(1).to_string();
    let expected = json!({ "t": "notice", "room": own.to_string(), "kind": "notification", "id": id });
    assert_eq!(shown.next().await.unwrap(), expected);
    for client in [&mut earlier, &mut hidden, &mut other] {
        assert_eq!(heard(client).await, Vec::<Value>::new());
    }
}

#[tokio::test(start_paused = true)]
async fn a_toast_is_shown_once_however_often_it_is_told() {
    let node = Node::start().await;
    let grant = node.guest("Mira").await;
    let mut mira = looking(&node, &grant, true).await;
    let own = Room::User(grant.account.id);

    for number in [1, 1, 2, 1] {
        tell(&node, own, number).await;
    }

    let ids = [mira.expect("notice").await, mira.expect("notice").await].map(|notice| notice["id"].clone());
    assert_eq!(ids, [1, 2].map(|number| json!(Uuid::from_u128(number).to_string())));
    assert_eq!(heard(&mut mira).await, Vec::<Value>::new());
}

#[tokio::test(start_paused = true)]
async fn who_says_twice_that_somebody_looks_is_shown_a_toast_once_and_counts_as_looked_at_last() {
    let node = Node::start().await;
    let grant = node.guest("Mira").await;
    let (mut mira, mut later) = (looking(&node, &grant, true).await, looking(&node, &grant, true).await);
    mira.send(json!({ "t": "foreground", "id": 2, "on": true })).await;
    assert_eq!(mira.expect("ok").await["id"], 2);
    let own = Room::User(grant.account.id);

    tell(&node, own, 1).await;

    assert_eq!(mira.expect("notice").await["id"], json!(Uuid::from_u128(1).to_string()));
    assert_eq!((heard(&mut mira).await, heard(&mut later).await), (vec![], vec![]));
    mira.send(json!({ "t": "foreground", "id": 3, "on": false })).await;
    assert_eq!(mira.expect("ok").await["id"], 3);
    tell(&node, own, 2).await;
    assert_eq!(later.expect("notice").await["id"], json!(Uuid::from_u128(2).to_string()));
    assert_eq!(heard(&mut mira).await, Vec::<Value>::new(), "nobody looks there any more");
}

#[tokio::test(start_paused = true)]
async fn who_does_not_read_is_owed_a_few_toasts_and_is_shown_those_once_there_is_room() {
    const TOLD: u128 = 200;
    let node = Node::with(RealtimeConfig { send_buffer_bytes: 1024, ..RealtimeConfig::default() }).await;
    let grant = node.guest("Mira").await;
    let mut mira = node.connect_over(node.pipe(None, 512), &grant).await;
    mira.send(json!({ "t": "foreground", "id": 1, "on": true })).await;
    mira.expect("ok").await;
    let own = Room::User(grant.account.id);

    for number in 0..TOLD {
        tell(&node, own, number).await;
        // Each is handed over before the next one comes.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }

    let mut shown = Vec::new();
    while let Ok(record) = tokio::time::timeout(Duration::from_secs(1), mira.expect("notice")).await {
        shown.push(record["id"].clone());
    }
    // What is in the pipe, in the outbox and on its way, and sixteen more.
    assert!((17..=40).contains(&shown.len()), "{} toasts were kept for somebody who does not read", shown.len());
    let first: Vec<Value> = (0..shown.len()).map(|n| json!(Uuid::from_u128(n as u128).to_string())).collect();
    assert_eq!(shown, first, "of more than can be kept, the newest stay in the feed alone");
    tell(&node, own, TOLD).await;
    assert_eq!(mira.expect("notice").await["id"], json!(Uuid::from_u128(TOLD).to_string()));
}

#[tokio::test(start_paused = true)]
async fn what_concerns_everybody_is_shown_to_all_who_look() {
    let node = Node::start().await;
    let mut mira = looking(&node, &node.guest("Mira").await, true).await;
    let mut lu = looking(&node, &node.guest("Lu").await, true).await;

    tell(&node, Room::Global, 1).await;

    for client in [&mut mira, &mut lu] {
        let notice = client.expect("notice").await;
        assert_eq!((&notice["room"], &notice["kind"]), (&json!("global"), &json!("announcement")));
    }
}

#[tokio::test(start_paused = true)]
async fn who_looks_away_is_shown_nothing_and_what_was_not_shown_is_not_marked() {
    let node = Node::start().await;
    let grant = node.guest("Mira").await;
    let mut mira = looking(&node, &grant, true).await;
    mira.send(json!({ "t": "foreground", "id": 2, "on": false })).await;
    mira.expect("ok").await;

    tell(&node, Room::User(grant.account.id), 1).await;

    assert_eq!(heard(&mut mira).await, Vec::<Value>::new());
    let notification = NotificationId::new(Uuid::from_u128(1));
    let account = grant.account.id;
    assert_eq!(node.town.services.notifications.dispatch(&[account], notification).await.unwrap(), [account]);
}
