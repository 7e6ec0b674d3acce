//! Announcements over HTTP: who is told what, when, and once.

#![allow(clippy::unwrap_used, reason = "clippy knows tests, and not the functions that they share")]

mod fixture;

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use weltenwind_core::{Scope, access::Role};

use self::fixture::{Person, Reply, Server, Town, id};

const KEY: &str = "a-key-of-sixteen-signs";

async fn publish(server: &Server, author: &Person, body: Value) -> Reply {
    server.post("announcements").by(author).with("idempotency-key", &server.fresh_key()).json(body).await
}

fn to_everybody(title: &str) -> Value {
    json!({ "title": title, "body": "Season 7 begins tonight.", "audience": { "kind": "global" } })
}

async fn titles(server: &Server, query: &str, reader: Option<&Person>) -> Vec<String> {
    let token = reader.map(|reader| format!("Bearer {}", reader.token));
    let list = server.get(format!("announcements{query}")).with_some("authorization", token.as_deref()).await;
    let list = list.expect(200).json();
    let items = list["items"].as_array().unwrap().iter();
    // But for the one that the town begins with.
    items
        .map(|item| item["title"].as_str().unwrap().to_owned())
        .filter(|title| title != "All worlds are open")
        .collect()
}

#[tokio::test]
async fn an_announcement_is_read_by_everybody_as_it_was_published() {
    let town = Town::start().await;
    let body = json!({
        "title": " The gates open at dusk ",
        "body": "Season 7\nbegins tonight.",
        "audience": { "kind": "global" },
        "expiresAt": "2026-01-02T00:00:00Z",
    });

    let made = publish(&town.server, &town.owner, body).await.expect(201);

    let path = made.header("location").to_owned();
    let mut shown = made.json();
    shown["id"] = "[id]".into();
    // Other crates that are built along decide whether objects keep their order.
    let mut settings = insta::Settings::clone_current();
    settings.set_sort_maps(true);
    let _sorted = settings.bind_to_scope();
    insta::assert_json_snapshot!(shown, @r#"
    {
      "audience": {
        "kind": "global"
      },
      "body": "Season 7\nbegins tonight.",
      "createdAt": "2026-01-01T00:00:00.000Z",
      "expiresAt": "2026-01-02T00:00:00.000Z",
      "id": "[id]",
      "publishAt": "2026-01-01T00:00:00.000Z",
      "title": "The gates open at dusk",
      "updatedAt": "2026-01-01T00:00:00.000Z"
    }
    "#);
    let read = town.server.get(&path).await.expect(200);
    assert_eq!((read.json(), read.header("etag")), (made.json(), "\"1\""));
    assert_eq!(titles(&town.server, "", None).await, ["The gates open at dusk"]);
    assert_eq!(titles(&town.server, "?scope=global&q=SEASON", Some(&town.mira)).await, ["The gates open at dusk"]);
}

#[tokio::test]
async fn publishing_needs_a_key_and_tells_once() {
    let town = Town::start().await;
    let server = &town.server;
    let ask = |key: Option<&'static str>, body: Value| {
        server.post("announcements").by(&town.owner).with_some("idempotency-key", key).json(body)
    };
    assert_eq!(ask(None, to_everybody("News")).await.expect(400).code(), "idempotency-key-required");
    let stranger = server.post("announcements").by(&town.mira).json(to_everybody("News")).await;
    assert_eq!(stranger.expect(403).code(), "permission-denied", "who may not is told that first");

    let first = ask(Some(KEY), to_everybody("News")).await.expect(201);
    let again = ask(Some(KEY), to_everybody("News")).await.expect(201);

    assert_eq!((again.json(), again.header("idempotency-replayed")), (first.json(), "true"));
    assert_eq!(titles(server, "", None).await, ["News"]);
}

#[tokio::test]
async fn a_repeated_dedupe_key_is_answered_the_first_announcement() {
    let town = Town::start().await;
    let with_key = |title: &str| {
        let mut body = to_everybody(title);
        body["dedupeKey"] = "season-7".into();
        body
    };
    let first = publish(&town.server, &town.owner, with_key("First")).await.expect(201).json();

    let again = publish(&town.server, &town.owner, with_key("Second")).await.expect(200);

    assert_eq!((again.json(), again.header("location")), (first, ""));
    assert_eq!(titles(&town.server, "", None).await, ["First"]);
}

#[tokio::test]
async fn an_announcement_is_visible_in_its_time_without_anything_being_done() {
    let town = Town::start().await;
    let server = &town.server;
    let mut body = to_everybody("Later");
    body["publishAt"] = "2026-01-01T00:01:00Z".into();
    body["expiresAt"] = "2026-01-01T00:02:00Z".into();
    let made = publish(server, &town.owner, body).await.expect(201).json();
    let path = format!("announcements/{}", id(&made));
    let seen = async |by: &Person| server.get(&path).by(by).await.status.as_u16();

    assert_eq!((seen(&town.mira).await, seen(&town.owner).await), (404, 200), "whoever publishes sees what is to come");
    assert_eq!(titles(server, "", Some(&town.owner)).await, [] as [&str; 0]);
    assert_eq!(titles(server, "?state=scheduled", Some(&town.owner)).await, ["Later"]);
    assert_eq!(
        server.get("announcements?state=scheduled").by(&town.mira).await.expect(403).code(),
        "permission-denied"
    );
    assert_eq!(server.get("announcements?state=expired").await.expect(401).code(), "unauthenticated");
    server.clock.advance(Duration::from_mins(1));
    assert_eq!((seen(&town.mira).await, titles(server, "", None).await), (200, vec!["Later".to_owned()]));
    server.clock.advance(Duration::from_mins(1));
    assert_eq!((seen(&town.mira).await, titles(server, "", None).await), (404, vec![]));
    assert_eq!(titles(server, "?state=expired", Some(&town.owner)).await, ["Later"]);
}

#[tokio::test]
async fn an_announcement_is_changed_and_withdrawn_in_the_state_that_was_seen() {
    let town = Town::start().await;
    let server = &town.server;
    let path = format!("announcements/{}", id(&town.news));
    let amend = |state: &str, body: Value| server.patch(&path).by(&town.owner).with("if-match", state).json(body);

    let amended = amend("\"1\"", json!({ "title": "The gates stay shut", "expiresAt": "2026-01-03T00:00:00Z" })).await;
    assert_eq!(amended.expect(200).header("etag"), "\"2\"");
    let stale = amend("\"1\"", json!({ "title": "unseen" })).await.expect(412);
    assert_eq!(stale.json()["current"], "\"2\"");
    let forever = amend("\"2\"", json!({ "expiresAt": null })).await.expect(200).json();
    assert_eq!((&forever["title"], &forever["expiresAt"]), (&json!("The gates stay shut"), &Value::Null));
    let moved = amend("\"3\"", json!({ "publishAt": "2026-01-02T00:00:00Z" })).await;
    assert_eq!(moved.expect(409).code(), "announcement-published");
    assert_eq!(amend("\"3\"", json!({ "audience": { "kind": "global" } })).await.expect(422).flaw().1, "/audience");

    server.delete(&path).by(&town.owner).with("if-match", "\"3\"").await.expect(204);
    assert_eq!(server.get(&path).by(&town.owner).await.expect(404).code(), "announcement-not-found");
    let scope = format!("?scope=world:{}", id(&town.world));
    assert_eq!(titles(server, &scope, Some(&town.owner)).await, [] as [&str; 0]);
    assert_eq!(
        server.delete(&path).by(&town.owner).with("if-match", "\"4\"").await.expect(404).code(),
        "announcement-not-found"
    );
}

#[tokio::test]
async fn an_announcement_for_a_role_is_seen_by_those_who_hold_it_there() {
    let town = Town::start().await;
    let server = &town.server;
    let world = Scope::World(id(&town.world).parse().unwrap());
    server.grant(&town.mira, Role::WorldModerator, world).await;
    server.grant(&town.ylva, Role::WorldMember, world).await;
    let audience = json!({ "kind": "role", "role": "world_moderator", "worldId": id(&town.world) });
    let made = server.announce(&town.owner, audience, "For moderators").await;
    let (list, path) = (format!("?scope={world}"), format!("announcements/{}", id(&made)));

    for (reader, expected) in [(Some(&town.owner), 2), (Some(&town.mira), 2), (Some(&town.ylva), 1), (None, 1)] {
        assert_eq!(titles(server, &list, reader).await.len(), expected, "{reader:?}");
    }
    server.get(&path).by(&town.mira).await.expect(200);
    for reply in [server.get(&path).by(&town.ylva).await, server.get(&path).await] {
        assert_eq!(reply.expect(404).code(), "announcement-not-found");
    }
}

#[tokio::test]
async fn an_audience_that_does_not_fit_is_pointed_at() {
    let town = Town::start().await;
    let (world, group) = (id(&town.world), "01998b2e-7c00-7a16-8f3e-5d2a9c1b0e06");
    for (audience, pointer) in [
        (json!({ "kind": "world" }), "/audience/worldId"),
        (json!({ "kind": "group" }), "/audience/groupId"),
        (json!({ "kind": "role" }), "/audience/role"),
        (json!({ "kind": "role", "role": "world_member" }), "/audience/worldId"),
        (json!({ "kind": "role", "role": "moderator", "worldId": world }), "/audience/worldId"),
        (json!({ "kind": "global", "worldId": world }), "/audience/worldId"),
        (json!({ "kind": "world", "worldId": world, "groupId": group }), "/audience/groupId"),
        (json!({ "kind": "global", "role": "moderator" }), "/audience/role"),
        (json!({ "kind": "everybody" }), "/audience/kind"),
        (json!({ "kind": "global", "city": "x" }), "/audience/city"),
    ] {
        let body = json!({ "title": "News", "body": "Good ones.", "audience": audience });
        let refused = publish(&town.server, &town.owner, body).await.expect(422);
        assert_eq!(refused.flaw().1, pointer, "{audience}");
    }
    let to_group = json!({ "title": "News", "body": "Good ones.", "audience": { "kind": "group", "groupId": group } });
    assert_eq!(publish(&town.server, &town.owner, to_group).await.expect(404).code(), "group-not-found");
    for (member, value) in [
        ("expiresAt", "2025-12-31T00:00:00Z"),
        ("publishAt", "2028-01-01T00:00:00Z"),
        ("title", "two\nlines"),
        ("dedupeKey", "two words"),
    ] {
        let mut body = to_everybody("News");
        body[member] = value.into();
        assert_eq!(publish(&town.server, &town.owner, body).await.expect(422).flaw().1, format!("/{member}"));
    }
}

#[tokio::test]
async fn every_change_of_an_announcement_is_in_the_audit_log_and_refused_ones_too() {
    let town = Town::start().await;
    let server = &town.server;
    let path = format!("announcements/{}", id(&town.news));
    server.patch(&path).by(&town.owner).with("if-match", "\"1\"").json(json!({ "title": "Hush" })).await.expect(200);
    server.delete(&path).by(&town.owner).with("if-match", "\"2\"").await.expect(204);
    publish(server, &town.mira, to_everybody("Mine")).await.expect(403);
    server.services.refusals.close().await.expect("they are written down");

    let rows = server.digest().await;

    for action in ["announcement.publish", "announcement.amend", "announcement.withdraw"] {
        assert!(rows.contains(action), "{action}");
    }
    let refused = rows.lines().filter(|row| row.contains("announcement.publish") && row.contains("permission-denied"));
    assert_eq!(refused.count(), 1, "{rows}");
}

#[tokio::test]
async fn a_list_goes_on_where_it_ended_with_the_same_words_alone() {
    let town = Town::start().await;
    let server = &town.server;
    for n in 1..=3 {
        server.clock.advance(Duration::from_secs(1));
        server.announce(&town.owner, json!({ "kind": "global" }), &format!("News {n}")).await;
    }

    let first = server.get("announcements?limit=2&q=season").await.expect(200).json();
    let cursor = first["nextCursor"].as_str().unwrap().to_owned();

    assert_eq!(titles(server, &format!("?limit=2&q=season&cursor={cursor}"), None).await, ["News 1"]);
    for other in
        ["q=tonight", "q=season&sort=publishedAt", "q=season&scope=global&state=scheduled", "q=season&cursor=x"]
    {
        if other.ends_with("cursor=x") {
            assert_eq!(server.get(format!("announcements?{other}")).await.expect(400).code(), "cursor-invalid");
            continue;
        }
        let reply = server.ask(Method::GET, format!("announcements?{other}&cursor={cursor}")).by(&town.owner).await;
        assert_eq!(reply.expect(400).code(), "cursor-invalid", "{other}");
    }
}
