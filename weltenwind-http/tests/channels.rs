//! Channels.

mod fixture;

use serde_json::{Value, json};

use self::fixture::{Town, id};

#[tokio::test]
async fn a_channel_is_made_listed_and_found() {
    let Town { server, owner, world, lobby, .. } = Town::start().await;

    assert_eq!(lobby["scope"], format!("world:{}", id(&world)));
    assert_eq!((&lobby["guestsMayPost"], &lobby["slowmodeSeconds"]), (&json!(true), &json!(0)));
    let found = server.get(format!("channels/{}", id(&lobby))).await.expect(200);
    assert_eq!((found.json(), found.header("etag")), (lobby.clone(), "\"1\""));
    assert_eq!(found.header("cache-control"), "public, no-cache");
    let scope = format!("channels?scope=world:{}", id(&world));
    for list in ["worlds/mistral/channels", &format!("worlds/{}/channels", id(&world)), &scope] {
        assert_eq!(server.get(list).await.expect(200).json()["items"], json!([lobby]), "{list}");
    }
    let taken = json!({ "scope": lobby["scope"], "slug": "lobby", "name": "Again" });
    assert_eq!(server.post("channels").by(&owner).json(taken).await.expect(409).code(), "slug-taken");
}

#[tokio::test]
async fn a_list_of_channels_goes_on() {
    let Town { server, owner, world, lobby, .. } = Town::start().await;
    let trade = server.channel(&owner, &world, "trade").await;

    let first = server.get("worlds/mistral/channels?limit=1").await.expect(200);
    let link = first.header("link").strip_prefix('<').and_then(|link| link.strip_suffix(">; rel=\"next\"")).unwrap();
    let second = server.get(link).await.expect(200).json();

    assert_eq!(first.json()["items"], json!([lobby]));
    assert_eq!((&second["items"], &second["nextCursor"]), (&json!([trade]), &json!(null)));
    let cursor = first.json()["nextCursor"].as_str().unwrap().to_owned();
    let foreign = server.get(format!("channels?scope=global&cursor={cursor}")).await;
    assert_eq!(foreign.expect(400).code(), "cursor-invalid");
    for query in ["", "?scope=", "?scope=world", "?scope=world:mistral", "?scope=global&scope=global"] {
        let reply = server.get(format!("channels{query}")).await.expect(400);
        assert_eq!(reply.flaw(), ("malformed-request".to_owned(), "scope".to_owned()), "{query}");
    }
    let unknown = server.get("channels?scope=world:0197a4c0-0000-7000-8000-000000000001").await;
    assert_eq!(unknown.expect(404).code(), "world-not-found");
}

#[tokio::test]
async fn a_channel_that_breaks_a_rule_is_not_made() {
    let town = Town::start().await;
    let (server, before) = (&town.server, town.state().await);
    let scope = &town.lobby["scope"];

    for (wish, pointer) in [
        (json!({ "scope": scope, "slug": "trade" }), "/name"),
        (json!({ "scope": scope, "slug": "Trade", "name": "Trade" }), "/slug"),
        (json!({ "scope": scope, "slug": "trade", "name": "" }), "/name"),
        (json!({ "scope": scope, "slug": "trade", "name": "Trade", "slowmodeSeconds": 21601 }), "/slowmodeSeconds"),
        (json!({ "scope": scope, "slug": "trade", "name": "Trade", "slowmodeSeconds": -1 }), "/slowmodeSeconds"),
        (json!({ "scope": scope, "slug": "trade", "name": "Trade", "retentionDays": 0 }), "/retentionDays"),
        (json!({ "scope": scope, "slug": "trade", "name": "Trade", "topic": "x" }), "/topic"),
        (json!({ "scope": "mistral", "slug": "trade", "name": "Trade" }), "/scope"),
        (json!({ "slug": "trade", "name": "Trade" }), "/scope"),
    ] {
        let reply = server.post("channels").by(&town.owner).json(wish.clone()).await;
        assert_eq!(reply.flaw(), ("validation-failed".to_owned(), pointer.to_owned()), "{wish}");
        assert_eq!(server.post("channels").json(wish.clone()).await.expect(401).code(), "unauthenticated", "{wish}");
        if wish["scope"] == *scope {
            let denied = server.post("channels").by(&town.mira).json(wish.clone()).await;
            assert_eq!(denied.expect(403).code(), "permission-denied", "{wish}");
        }
    }

    assert_eq!(town.state().await, before);
}

#[tokio::test]
async fn a_channel_is_changed_in_the_state_that_was_seen() {
    let town = Town::start().await;
    let (server, before) = (&town.server, town.state().await);
    let amend = |tag: Option<&str>, body: Value| {
        server.patch(town.channel()).by(&town.owner).with_some("if-match", tag).json(body)
    };

    for (tag, body, status, code) in [
        (None, json!({ "name": "Hall" }), 428, "precondition-required"),
        (Some("*"), json!({ "name": "Hall" }), 428, "precondition-required"),
        (Some("\"9\""), json!({ "name": "Hall" }), 412, "precondition-failed"),
        (Some("\"1\""), json!({ "name": null }), 422, "validation-failed"),
        (Some("\"1\""), json!({ "retentionDays": 4000 }), 422, "validation-failed"),
        (Some("\"1\""), json!({ "scope": "global" }), 422, "validation-failed"),
    ] {
        let reply = amend(tag, body.clone()).await;
        assert_eq!((reply.code().as_str(), reply.status.as_u16()), (code, status), "{tag:?} {body}");
        let anonymous = server.patch(town.channel()).with_some("if-match", tag).json(body.clone()).await;
        assert_eq!(anonymous.expect(401).code(), "unauthenticated");
    }
    assert_eq!(town.state().await, before);

    let limited = amend(Some("\"1\""), json!({ "retentionDays": 30, "slug": "hall" })).await.expect(200);
    assert_eq!((&limited.json()["retentionDays"], limited.header("etag")), (&json!(30), "\"2\""));
    let kept = amend(Some("\"2\""), json!({ "retentionDays": null })).await.expect(200);
    assert_eq!((&kept.json()["retentionDays"], &kept.json()["slug"]), (&json!(null), &json!("hall")));
}

#[tokio::test]
async fn a_closed_channel_is_gone() {
    let town = Town::start().await;
    let server = &town.server;

    assert_eq!(server.delete(town.channel()).by(&town.owner).await.expect(428).code(), "precondition-required");
    assert_eq!(server.delete(town.channel()).by(&town.mira).await.expect(403).code(), "permission-denied");
    server.delete(town.channel()).by(&town.owner).with("if-match", "\"1\"").await.expect(204);

    assert_eq!(server.get(town.messages()).await.expect(404).code(), "channel-not-found");
    assert_eq!(server.get(town.channel()).await.expect(404).code(), "channel-not-found");
}
