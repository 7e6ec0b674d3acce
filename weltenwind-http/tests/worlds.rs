//! Worlds and who belongs to them.

mod fixture;

use http::Method;
use serde_json::{Value, json};
use weltenwind_core::{Scope, access::Role};

use self::fixture::{Person, Server, id};

#[tokio::test]
async fn a_world_is_made_and_found() {
    let server = Server::start().await;
    let owner = server.owner().await;
    let wish = json!({ "name": " Über den Wolken ", "description": "Hoch\noben.", "visibility": "unlisted", "joinPolicy": "invite" });

    let made = server.post("worlds").by(&owner).json(wish).await.expect(201);

    let world = made.json();
    assert_eq!(world["slug"], "ueber-den-wolken");
    assert_eq!(world["name"], "Über den Wolken");
    assert_eq!((&world["visibility"], &world["joinPolicy"]), (&json!("unlisted"), &json!("invite")));
    assert_eq!(world["createdAt"], "2026-01-01T00:00:00.000Z");
    assert_eq!(made.header("location"), "/api/v1/worlds/ueber-den-wolken");
    assert_eq!(made.header("etag"), "\"1\"");
    for named in ["ueber-den-wolken", id(&world)] {
        let found = server.get(format!("worlds/{named}")).await.expect(200);
        assert_eq!(found.json(), world);
        assert_eq!((found.header("etag"), found.header("cache-control")), ("\"1\"", "public, no-cache"));
        assert_eq!(found.header("vary"), "authorization, origin");
    }
    let members = server.get("worlds/ueber-den-wolken/members").await.expect(200).json();
    assert_eq!(members["items"][0]["id"], owner.id);
    assert_eq!(members["items"][0]["roles"], json!(["world_owner"]));
}

#[tokio::test]
async fn a_wish_that_breaks_a_rule_makes_no_world() {
    let server = Server::start().await;
    let owner = server.owner().await;
    server.world(&owner, "mistral").await;
    let before = server.state(&owner).await;
    let invalid = "validation-failed";

    for (wish, code, pointer) in [
        (r"{}", invalid, "/name"),
        (r#"{"name": "x"}"#, invalid, "/name"),
        (r#"{"name": ["Mistral"]}"#, invalid, "/name"),
        (r#"{"name": "Mis\u0000tral"}"#, invalid, "/name"),
        (r#"{"name": "!!"}"#, invalid, "/slug"),
        (r#"{"name": "Admin", "slug": "admin"}"#, invalid, "/slug"),
        (r#"{"name": "Evil", "slug": "../evil"}"#, invalid, "/slug"),
        (r#"{"name": "Evil", "slug": "0197a4c0-0000-7000-8000-000000000001"}"#, invalid, "/slug"),
        (r#"{"name": "Föhn", "visibility": "secret"}"#, invalid, "/visibility"),
        (r#"{"name": "Föhn", "joinPolicy": true}"#, invalid, "/joinPolicy"),
        (r#"{"name": "Föhn", "description": "\u001b[2J"}"#, invalid, "/description"),
        (r#"{"name": "Föhn", "id": "0197a4c0-0000-7000-8000-000000000001"}"#, invalid, "/id"),
        (r#"{"name": "Föhn", "name": "Bora"}"#, "malformed-request", "-"),
        (r#"{"name": "\udfff"}"#, "malformed-request", "-"),
        (r#"{"name": "Mistral"}"#, "slug-taken", "-"),
    ] {
        let reply = server.post("worlds").by(&owner).text("application/json", wish).await;
        assert_eq!(reply.flaw(), (code.to_owned(), pointer.to_owned()), "{wish}");
    }

    assert_eq!(server.state(&owner).await, before);
}

#[tokio::test]
async fn who_may_not_make_worlds_hears_that_before_anything_else() {
    let server = Server::start().await;
    let guest = server.guest("Mira").await;

    for wish in [json!({ "name": "Mistral" }), json!({}), json!({ "name": 7 })] {
        assert_eq!(server.post("worlds").json(wish.clone()).await.expect(401).code(), "unauthenticated");
        assert_eq!(server.post("worlds").by(&guest).json(wish).await.expect(403).code(), "permission-denied");
    }
}

#[tokio::test]
async fn a_list_is_walked_by_its_cursors() {
    let server = Server::start().await;
    let owner = server.owner().await;
    for slug in ["alize", "bora", "calima", "diablo", "etesien"] {
        server.world(&owner, slug).await;
    }

    let mut seen = Vec::new();
    let mut next = Some("/api/v1/worlds?limit=2&sort=createdAt".to_owned());
    while let Some(path) = next {
        let reply = server.get(&path).await.expect(200);
        let body = reply.json();
        seen.extend(body["items"].as_array().unwrap().iter().map(|world| world["slug"].as_str().unwrap().to_owned()));
        next = reply.header("link").strip_suffix(">; rel=\"next\"").map(|link| link.trim_start_matches('<').to_owned());
        assert_eq!(next.is_some(), body["nextCursor"].is_string());
    }

    assert_eq!(seen, ["alize", "bora", "calima", "diablo", "etesien"]);
    let newest = server.get("worlds?limit=1").await.json();
    assert_eq!(newest["items"][0]["slug"], "etesien");
    let found = server.get("worlds?q=ALI").await.json();
    assert_eq!(found["items"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_query_that_cannot_be_read_is_refused_by_name() {
    let server = Server::start().await;
    let owner = server.owner().await;
    for slug in ["alize", "bora"] {
        server.world(&owner, slug).await;
    }
    let cursor = server.get("worlds?limit=1").await.json()["nextCursor"].as_str().unwrap().to_owned();
    let other = if cursor.ends_with('A') { "B" } else { "A" };
    let tampered = format!("{}{other}", &cursor[..cursor.len() - 1]);

    for (query, code, name) in [
        ("limit=0".to_owned(), "malformed-request", "limit"),
        ("limit=201".to_owned(), "malformed-request", "limit"),
        ("limit=ten".to_owned(), "malformed-request", "limit"),
        ("sort=name".to_owned(), "malformed-request", "sort"),
        ("offset=10".to_owned(), "malformed-request", "offset"),
        ("q=a&q=b".to_owned(), "malformed-request", "q"),
        ("q=%00".to_owned(), "malformed-request", "q"),
        ("cursor=abc".to_owned(), "cursor-invalid", "-"),
        (format!("cursor={tampered}"), "cursor-invalid", "-"),
        (format!("cursor={cursor}&sort=createdAt"), "cursor-invalid", "-"),
        (format!("cursor={cursor}&q=a"), "cursor-invalid", "-"),
    ] {
        let reply = server.get(format!("worlds?{query}")).await.expect(400);
        assert_eq!(reply.flaw(), (code.to_owned(), name.to_owned()), "{query}");
    }
    server.get(format!("worlds?cursor={cursor}")).await.expect(200);
    let foreign = server.get(format!("worlds/bora/members?cursor={cursor}")).await;
    assert_eq!(foreign.expect(400).code(), "cursor-invalid");
    assert_eq!(server.get("worlds/bora?fields=name").await.expect(400).code(), "malformed-request");
}

#[tokio::test]
async fn a_list_that_has_not_changed_need_not_be_sent_again() {
    let server = Server::start().await;
    let owner = server.owner().await;
    server.world(&owner, "mistral").await;
    let tag = server.get("worlds").await.header("etag").to_owned();
    assert!(tag.starts_with("W/\""), "{tag}");

    for known in [tag.clone(), format!("\"x\", {tag}"), tag.trim_start_matches("W/").to_owned(), "*".to_owned()] {
        let reply = server.get("worlds").with("if-none-match", &known).await.expect(304);
        assert!(reply.body.is_empty());
        assert_eq!((reply.header("etag"), reply.header("cache-control")), (tag.as_str(), "public, no-cache"));
        assert_eq!(reply.header("vary"), "authorization, origin");
    }

    server.world(&owner, "bora").await;
    server.get("worlds").with("if-none-match", &tag).await.expect(200);
}

#[tokio::test]
async fn a_world_is_changed_in_the_state_that_was_seen() {
    let server = Server::start().await;
    let owner = server.owner().await;
    server.world(&owner, "mistral").await;
    server.world(&owner, "bora").await;
    let before = server.state(&owner).await;
    let amend = |tag: Option<&str>, body: Value| {
        server.patch("worlds/mistral").by(&owner).with_some("if-match", tag).json(body)
    };

    for (tag, body, status, code) in [
        (None, json!({ "name": "Föhn" }), 428, "precondition-required"),
        (Some("*"), json!({ "name": "Föhn" }), 428, "precondition-required"),
        (Some("1"), json!({ "name": "Föhn" }), 400, "malformed-request"),
        (Some("\"1\", \"2\""), json!({ "name": "Föhn" }), 400, "malformed-request"),
        (Some("\"2\""), json!({ "name": "Föhn" }), 412, "precondition-failed"),
        (Some("W/\"1\""), json!({ "name": "Föhn" }), 412, "precondition-failed"),
        (Some("\"other\""), json!({ "name": "Föhn" }), 412, "precondition-failed"),
        (Some("\"1\""), json!({ "name": null }), 422, "validation-failed"),
        (Some("\"1\""), json!({ "owner": "me" }), 422, "validation-failed"),
        (Some("\"1\""), json!({ "slug": "bora" }), 409, "slug-taken"),
    ] {
        let reply = amend(tag, body.clone()).await;
        assert_eq!((reply.code().as_str(), reply.status.as_u16()), (code, status), "{tag:?} {body}");
        let current = reply.problem()["current"].clone();
        assert_eq!(current, if status == 412 { json!("\"1\"") } else { json!(null) }, "{tag:?}");
    }
    assert_eq!(server.state(&owner).await, before);

    let changed = amend(Some("\"1\""), json!({ "name": "Föhn" })).await.expect(200);
    assert_eq!((changed.json()["name"].clone(), changed.header("etag")), (json!("Föhn"), "\"2\""));
    server.get("worlds/mistral").with("if-none-match", "\"1\"").await.expect(200);
    server.get("worlds/mistral").with("if-none-match", "\"2\"").await.expect(304);
}

#[tokio::test]
async fn who_may_not_change_a_world_hears_that_before_anything_else() {
    let server = Server::start().await;
    let (owner, guest) = (server.owner().await, server.guest("Mira").await);
    server.world(&owner, "mistral").await;

    for body in [json!({ "name": "Föhn" }), json!({ "owner": "me" })] {
        let ask = || server.patch("worlds/mistral").json(body.clone());
        assert_eq!(ask().await.expect(401).code(), "unauthenticated");
        assert_eq!(ask().by(&guest).await.expect(403).code(), "permission-denied");
    }
    assert_eq!(server.delete("worlds/mistral").await.expect(401).code(), "unauthenticated");
    assert_eq!(server.delete("worlds/mistral").by(&guest).await.expect(403).code(), "permission-denied");
}

#[tokio::test]
async fn an_archived_world_is_gone_and_keeps_its_slug() {
    let server = Server::start().await;
    let (owner, guest) = (server.owner().await, server.guest("Mira").await);
    server.world(&owner, "mistral").await;

    let stale = server.delete("worlds/mistral").by(&owner).with("if-match", "\"7\"").await;
    assert_eq!(stale.expect(412).code(), "precondition-failed");
    let gone = server.delete("worlds/mistral").by(&owner).with("if-match", "\"1\"").await.expect(204);

    assert!(gone.body.is_empty());
    assert_eq!(server.get("worlds/mistral").by(&guest).await.expect(404).code(), "world-not-found");
    let again = server.post("worlds").by(&owner).json(json!({ "name": "Mistral" })).await;
    assert_eq!(again.expect(409).code(), "slug-taken");
}

#[tokio::test]
async fn a_former_slug_sends_every_call_to_the_present_one() {
    let server = Server::start().await;
    let owner = server.owner().await;
    let world = server.world(&owner, "mistral").await;
    for (from, tag, to) in [("mistral", "\"1\"", "bora"), ("bora", "\"2\"", "foehn")] {
        let body = json!({ "slug": to });
        server.patch(format!("worlds/{from}")).by(&owner).with("if-match", tag).json(body).await.expect(200);
    }
    let before = server.state(&owner).await;

    for (method, below) in [
        (Method::GET, ""),
        (Method::GET, "/members?limit=7"),
        (Method::GET, "/channels?limit=7&cursor=x%2F%2Fy"),
        (Method::PATCH, ""),
        (Method::DELETE, ""),
        (Method::PUT, "/members/me"),
        (Method::DELETE, "/members/me"),
        (Method::DELETE, "/members/0197a4c0-0000-7000-8000-000000000001"),
    ] {
        let ask = server.ask(method.clone(), format!("worlds/mistral{below}")).by(&owner).with("host", "evil.example");
        let reply = ask.await.expect(308);
        assert_eq!(reply.header("location"), format!("/api/v1/worlds/foehn{below}"), "{method}");
        assert!(reply.body.is_empty());
    }

    assert_eq!(server.state(&owner).await, before);
    server.get(format!("worlds/{}", id(&world))).await.expect(200);
    let taken = server.post("worlds").by(&owner).json(json!({ "name": "Mistral" })).await;
    assert_eq!(taken.expect(409).code(), "slug-taken");
}

#[tokio::test]
async fn a_private_world_does_not_exist_for_strangers() {
    let server = Server::start().await;
    let (owner, guest) = (server.owner().await, server.guest("Mira").await);
    let wish = json!({ "name": "Mistral", "visibility": "private" });
    let world = server.post("worlds").by(&owner).json(wish).await.json();
    let change = json!({ "slug": "bora" });
    server.patch("worlds/mistral").by(&owner).with("if-match", "\"1\"").json(change).await.expect(200);

    for named in ["mistral", "bora", id(&world), "never-was", "No Slug", "..%2f..", "me"] {
        let named = named.replace(' ', "%20");
        for (method, below) in [
            (Method::GET, ""),
            (Method::GET, "/members"),
            (Method::GET, "/channels"),
            (Method::PATCH, ""),
            (Method::DELETE, ""),
            (Method::PUT, "/members/me"),
            (Method::DELETE, "/members/me"),
        ] {
            let ask = server.ask(method.clone(), format!("worlds/{named}{below}")).by(&guest);
            let reply = if method == Method::PATCH { ask.json(json!({ "x": 1 })).await } else { ask.await };
            assert_eq!(reply.expect(404).code(), "world-not-found", "{method} {named}{below}");
        }
    }
    assert_eq!(server.get("worlds").by(&guest).await.json()["items"], json!([]));
    let listed = server.get("worlds").by(&owner).await.expect(200);
    assert_eq!(listed.json()["items"][0]["slug"], "bora");
    assert_eq!(listed.header("cache-control"), "private, no-cache");
}

async fn joined(server: &Server, slug: &str) -> Vec<String> {
    let members = server.get(format!("worlds/{slug}/members")).await.expect(200).json();
    members["items"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|member| member["displayName"].as_str().expect("a name").to_owned())
        .collect()
}

#[tokio::test]
async fn one_joins_an_open_world_once_and_leaves_it() {
    let server = Server::start().await;
    let (owner, mira) = (server.owner().await, server.guest("Mira").await);
    let world = server.world(&owner, "mistral").await;

    for _ in 0..2 {
        let reply = server.put("worlds/mistral/members/me").by(&mira).await.expect(200);
        assert_eq!(reply.json(), world);
    }
    assert!(joined(&server, "mistral").await.contains(&"Mira".to_owned()));
    server.delete("worlds/mistral/members/me").by(&mira).await.expect(204);

    assert_eq!(joined(&server, "mistral").await.len(), 1);
    let again = server.delete("worlds/mistral/members/me").by(&mira).await;
    assert_eq!(again.expect(404).code(), "member-not-found");
    let last = server.delete("worlds/mistral/members/me").by(&owner).await;
    assert_eq!(last.expect(409).code(), "last-owner");
    assert_eq!(server.put("worlds/mistral/members/me").await.expect(401).code(), "unauthenticated");
    let unknown = server.put("worlds/mistral/members/me").by(&mira).json(json!({ "role": "world_owner" })).await;
    assert_eq!(unknown.flaw(), ("validation-failed".to_owned(), "/role".to_owned()));
}

#[tokio::test]
async fn a_world_for_invited_people_cannot_be_joined() {
    let server = Server::start().await;
    let (owner, mira) = (server.owner().await, server.guest("Mira").await);
    server.post("worlds").by(&owner).json(json!({ "name": "Mistral", "joinPolicy": "invite" })).await.expect(201);

    let reply = server.put("worlds/mistral/members/me").by(&mira).await;

    assert_eq!(reply.expect(403).code(), "invite-required");
    assert_eq!(joined(&server, "mistral").await.len(), 1);
}

#[tokio::test]
async fn members_are_removed_by_whoever_stands_above() {
    let server = Server::start().await;
    let (owner, mira, ylva) = (server.owner().await, server.guest("Mira").await, server.guest("Ylva").await);
    let world = server.world(&owner, "mistral").await;
    let scope = Scope::World(id(&world).parse().unwrap());
    server.put("worlds/mistral/members/me").by(&ylva).await.expect(200);
    let remove = |by: &Person, who: &str| server.delete(format!("worlds/mistral/members/{who}")).by(by);

    assert_eq!(remove(&mira, &ylva.id).await.expect(403).code(), "permission-denied");
    server.grant(&mira, Role::WorldAdmin, scope).await;
    assert_eq!(remove(&mira, &owner.id).await.expect(403).code(), "permission-denied");
    remove(&mira, &ylva.id).await.expect(204);

    assert_eq!(remove(&mira, &ylva.id).await.expect(404).code(), "member-not-found");
    assert_eq!(remove(&mira, "nobody").await.expect(404).code(), "member-not-found");
    assert_eq!(joined(&server, "mistral").await.len(), 2);
}
