//! Who is in a room, as sockets are told.

mod support;

use serde_json::{Value, json};
use support::{Client, Node, room};
use tokio::time::{Duration, Instant};
use weltenwind_core::accounts::SessionGrant;
use weltenwind_ws::RealtimeConfig;

/// A node that tells who is where.
async fn node() -> Node {
    let node = Node::start().await;
    let presence = node.town.services.presence.clone();
    tokio::spawn(async move { presence.run().await });
    node
}

/// Joins the room of everybody and answers who is there.
async fn join(client: &mut Client) -> Value {
    client.send(json!({ "t": "join", "id": 1, "room": "global" })).await;
    let joined = client.skip_to("joined").await;
    client.skip_to("live").await;
    joined["presence"].clone()
}

fn names(members: &Value) -> Vec<&str> {
    let members = members.as_array().expect("members are a list");
    let mut names: Vec<&str> = members.iter().filter_map(|member| member["displayName"].as_str()).collect();
    names.sort_unstable();
    names
}

async fn client(node: &Node, name: &str) -> (SessionGrant, Client) {
    let grant = node.guest(name).await;
    let mut client = node.connect(&grant).await;
    client.answers_pings = true;
    (grant, client)
}

#[tokio::test(start_paused = true)]
async fn whoever_joins_learns_who_is_there_and_the_others_learn_of_it() {
    let node = node().await;
    let (_, mut mira) = client(&node, "Mira").await;
    let (_, mut lu) = client(&node, "Lu").await;

    let first = join(&mut mira).await;
    assert_eq!((names(&first["members"]), &first["count"]), (vec!["Mira"], &json!(1)));
    let second = join(&mut lu).await;
    assert_eq!((names(&second["members"]), &second["count"]), (vec!["Lu", "Mira"], &json!(2)));

    let mut heard = mira.skip_to("presence").await;
    if names(&heard["join"]) == ["Mira"] {
        heard = mira.skip_to("presence").await;
    }
    assert_eq!((names(&heard["join"]), &heard["leave"], &heard["count"]), (vec!["Lu"], &json!([]), &json!(2)));
}

#[tokio::test(start_paused = true)]
async fn who_comes_back_within_five_seconds_never_left_and_who_does_not_has() {
    let node = node().await;
    let (_, mut mira) = client(&node, "Mira").await;
    join(&mut mira).await;
    let (grant, mut lu) = client(&node, "Lu").await;
    join(&mut lu).await;
    while names(&mira.skip_to("presence").await["join"]) != ["Lu"] {}

    drop(lu);
    tokio::time::sleep(Duration::from_secs(3)).await;
    let mut lu = node.connect(&grant).await;
    lu.answers_pings = true;
    assert_eq!(join(&mut lu).await["count"], 2);
    lu.send(json!({ "t": "presence", "id": 2, "room": "global", "state": "in a raid" })).await;
    assert_eq!(lu.skip_to("ok").await["id"], 2);
    let heard = mira.skip_to("presence").await;
    assert_eq!((&heard["leave"], &heard["join"][0]["state"]), (&json!([]), &json!("in a raid")), "no flicker");

    let left_at = Instant::now();
    lu.send(json!({ "t": "leave", "id": 3, "room": "global" })).await;
    let heard = mira.skip_to("presence").await;
    assert_eq!((&heard["leave"], &heard["count"]), (&json!([grant.account.id.to_string()]), &json!(1)));
    assert!(left_at.elapsed() >= Duration::from_secs(5));
}

#[tokio::test(start_paused = true)]
async fn who_was_too_slow_is_told_anew_who_is_there() {
    // Of so small a ring the newest 16 KiB are kept.
    let node = Node::with(RealtimeConfig { rings_bytes: 0, ..RealtimeConfig::default() }).await;
    let presence = node.town.services.presence.clone();
    tokio::spawn(async move { presence.run().await });
    let mut slow = node.connect_over(node.pipe(None, 4 * 1024), &node.guest("Slow").await).await;
    slow.answers_pings = true;
    join(&mut slow).await;
    let (_, mut quick) = client(&node, "Quick").await;
    join(&mut quick).await;
    let (_, mut lu) = client(&node, "Lu").await;
    join(&mut lu).await;

    let mut last = 0;
    for n in 0..200 {
        lu.send(json!({ "t": "presence", "id": n, "room": "global", "state": format!("{n:064}") })).await;
        let told = quick.skip_to("presence").await;
        assert!(told["whole"].is_null(), "{told}");
        last = told["version"].as_u64().unwrap();
    }

    let mut known = 0;
    let whole = loop {
        let told = slow.skip_to("presence").await;
        let version = told["version"].as_u64().unwrap();
        if told["whole"] == true {
            break told;
        }
        assert!(version <= known + 1, "a hole between {known} and {version}");
        known = known.max(version);
    };
    assert!(whole["version"].as_u64().unwrap() > known + 1, "it was too slow");
    assert_eq!((names(&whole["join"]), &whole["count"]), (vec!["Lu", "Quick", "Slow"], &json!(3)));
    let state = |members: &Value| {
        members.as_array().unwrap().iter().find_map(|member| member["state"].as_str().map(str::to_owned))
    };
    let mut version = whole["version"].as_u64().unwrap();
    let mut newest = state(&whole["join"]);
    while version < last {
        let told = slow.skip_to("presence").await;
        assert_eq!((&told["whole"], told["version"].as_u64()), (&Value::Null, Some(version + 1)), "it counts on");
        (version, newest) = (version + 1, state(&told["join"]));
    }
    assert_eq!(newest, Some(format!("{:064}", 199)));
}

#[tokio::test(start_paused = true)]
async fn several_sockets_of_one_account_are_one_member() {
    let node = node().await;
    let (grant, mut one) = client(&node, "Mira").await;
    join(&mut one).await;
    let mut other = node.connect(&grant).await;

    let presence = join(&mut other).await;
    assert_eq!((names(&presence["members"]), &presence["count"]), (vec!["Mira"], &json!(1)));

    drop(one);
    tokio::time::sleep(Duration::from_secs(10)).await;
    let (_, mut lu) = client(&node, "Lu").await;
    assert_eq!(join(&mut lu).await["count"], 2, "the other socket is still there");
}

#[tokio::test(start_paused = true)]
async fn who_is_writing_is_told_to_the_channel_and_not_kept() {
    let node = node().await;
    let lobby = node.channel("lobby").await;
    let mut mira = node.member("Mira", lobby).await;
    let mut lu = node.member("Lu", lobby).await;

    for id in 2..5 {
        lu.send(json!({ "t": "typing", "id": id, "room": room(lobby) })).await;
        assert_eq!(lu.skip_to("ok").await["id"], id);
    }
    let heard = mira.skip_to("typing").await;
    assert_eq!((&heard["room"], &heard["displayName"]), (&json!(room(lobby)), &json!("Lu")));
    lu.post(9, lobby, "well met").await;
    assert_eq!(mira.next().await.unwrap()["t"], "msg", "one in three seconds is enough");

    let mut late = node.member("Ola", lobby).await;
    lu.post(10, lobby, "again").await;
    assert_eq!(late.next().await.unwrap()["t"], "msg", "what has passed has passed");
}

#[tokio::test(start_paused = true)]
async fn presence_is_of_rooms_that_have_it_and_of_those_who_are_there() {
    let node = node().await;
    let lobby = node.channel("lobby").await;
    let mut mira = node.member("Mira", lobby).await;

    mira.send(json!({ "t": "presence", "id": 2, "room": "global", "state": "away" })).await;
    mira.expect_err("not-joined").await;
    mira.send(json!({ "t": "typing", "id": 3, "room": "global" })).await;
    mira.expect_err("not-joined").await;
    mira.send(json!({ "t": "presence", "id": 4, "room": room(lobby), "state": "away" })).await;
    mira.expect_err("validation-failed").await;
    mira.send(json!({ "t": "presence", "id": 5, "room": room(lobby), "state": "x".repeat(65) })).await;
    mira.expect_err("validation-failed").await;
    mira.send(json!({ "t": "foreground", "id": 6, "on": true })).await;
    assert_eq!(mira.expect("ok").await["id"], 6);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_ends_takes_its_place_along() {
    let node = node().await;
    let (_, mut mira) = client(&node, "Mira").await;
    join(&mut mira).await;
    let (grant, mut lu) = client(&node, "Lu").await;
    join(&mut lu).await;
    while names(&mira.skip_to("presence").await["join"]) != ["Lu"] {}

    let actor = node.actor(&grant).await;
    node.town.services.accounts.sign_out(&actor).await.unwrap();

    let heard = mira.skip_to("presence").await;
    assert_eq!((&heard["leave"], &heard["count"]), (&json!([grant.account.id.to_string()]), &json!(1)));
}
