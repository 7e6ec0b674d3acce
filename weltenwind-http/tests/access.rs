//! Roles, questions about rights, and API keys.

#![allow(clippy::unwrap_used, reason = "clippy knows tests, and not the functions that they share")]

#[path = "documents/calls.rs"]
mod calls;
mod fixture;

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use weltenwind_core::{
    Clock as _, Scope,
    access::Role,
    accounts::{AccessToken, TokenIssuer},
};

use self::{
    calls::{openapi, operations},
    fixture::{ORIGIN, Person, Server, Town, id},
};

const INVALID: &str = "validation-failed";

fn scope_of(world: &Value) -> Scope {
    Scope::World(id(world).parse().unwrap())
}

#[tokio::test]
async fn a_role_is_given_found_listed_and_taken() {
    let town = Town::start().await;
    let server = &town.server;
    let scope = format!("world:{}", id(&town.world));
    let body = json!({
        "userId": town.mira.id,
        "role": "world_moderator",
        "scope": scope,
        "expiresAt": "2027-01-31T18:00:00.000Z",
        "reason": "for the tournament",
    });

    let made = server.post("access/grants").by(&town.owner).json(body.clone()).await.expect(201);

    let grant = made.json();
    for (name, value) in body.as_object().unwrap() {
        assert_eq!(grant[name], *value, "{name}");
    }
    assert_eq!(grant["grantedBy"], town.owner.id);
    let location = made.header("location").to_owned();
    assert_eq!(location, format!("/api/v1/access/grants/{}", id(&grant)));
    assert_eq!(server.get(&location).by(&town.owner).await.expect(200).json(), grant);
    let listed = server.get(format!("access/grants?userId={}&scope={scope}", town.mira.id)).by(&town.owner).await;
    assert_eq!(listed.expect(200).json(), json!({ "items": [grant], "nextCursor": null }));
    let message = server.say(&town.ylva, &town.lobby, "off topic").await;
    let removal = json!({ "reason": "off topic", "mode": "mask" });
    let path = format!("messages/{}", id(&message));
    server.delete(&path).by(&town.mira).json(removal).await.expect(204);

    let longer = json!({ "userId": town.mira.id, "role": "world_moderator", "scope": scope });
    let again = server.post("access/grants").by(&town.owner).json(longer).await.expect(201).json();
    assert_eq!((id(&again), again.get("expiresAt")), (id(&grant), None), "the same grant, for good");

    server.delete(&location).by(&town.owner).await.expect(204);
    assert_eq!(server.get(&location).by(&town.owner).await.expect(404).code(), "grant-not-found");
    assert_eq!(server.delete(&location).by(&town.owner).await.expect(404).code(), "grant-not-found");
}

#[tokio::test]
async fn a_repeated_gift_under_one_key_is_one_gift() {
    let town = Town::start().await;
    let body = json!({ "userId": town.mira.id, "role": "support", "scope": "global" });
    let give = || {
        let ask = town.server.post("access/grants").by(&town.owner);
        ask.with("idempotency-key", "0123456789abcdef").json(body.clone())
    };

    let first = give().await.expect(201);
    let again = give().await.expect(201);

    assert_eq!((first.json(), again.header("idempotency-replayed")), (again.json(), "true"));
}

#[tokio::test]
async fn a_gift_that_breaks_a_rule_gives_nothing() {
    let town = Town::start().await;
    let server = &town.server;
    let mira = town.mira.id.as_str();
    let nowhere = "world:01998b2e-7c00-7a15-8f3e-5d2a9c1b0eff";
    let long = "x".repeat(501);
    let before = server.digest().await;

    for (body, status, code, pointer) in [
        (json!({}), 422, INVALID, "/userId"),
        (json!({ "userId": mira, "role": "king", "scope": "global" }), 422, INVALID, "/role"),
        (json!({ "userId": mira, "role": "admin", "scope": "everywhere" }), 422, INVALID, "/scope"),
        (json!({ "userId": mira, "role": "world_admin", "scope": "global" }), 422, INVALID, "/scope"),
        (json!({ "userId": mira, "role": "world_admin", "scope": nowhere }), 422, INVALID, "/scope"),
        (json!({ "userId": mira, "role": "admin", "scope": "global", "reason": long }), 422, INVALID, "/reason"),
        (
            json!({ "userId": mira, "role": "admin", "scope": "global", "expiresAt": "2025-12-31T23:59:59.999Z" }),
            422,
            INVALID,
            "/expiresAt",
        ),
        (json!({ "userId": mira, "role": "admin", "scope": "global", "by": "me" }), 422, INVALID, "/by"),
        (json!({ "userId": town.world["id"], "role": "admin", "scope": "global" }), 404, "account-not-found", "-"),
        (
            json!({ "userId": town.owner.id, "role": "owner", "scope": "global", "expiresAt": "2027-01-01T00:00:00Z" }),
            409,
            "last-owner",
            "-",
        ),
    ] {
        let reply = server.post("access/grants").by(&town.owner).json(body.clone()).await.expect(status);
        assert_eq!(reply.flaw(), (code.to_owned(), pointer.to_owned()), "{body}");
        let reply = server.post("access/grants").by(&town.mira).json(body.clone()).await;
        assert_eq!(reply.expect(403).code(), "permission-denied", "{body}");
    }

    assert_eq!(server.digest().await, before);
}

#[tokio::test]
async fn nobody_gives_or_takes_above_their_own_rank() {
    let town = Town::start().await;
    let server = &town.server;
    let scope = scope_of(&town.world);
    server.grant(&town.mira, Role::WorldAdmin, scope).await;
    let give = async |by: &Person, role: &str, scope: &str| {
        let body = json!({ "userId": town.ylva.id, "role": role, "scope": scope });
        server.post("access/grants").by(by).json(body).await.status.as_u16()
    };

    assert_eq!(give(&town.mira, "world_moderator", &scope.to_string()).await, 201);
    assert_eq!(give(&town.mira, "world_admin", &scope.to_string()).await, 403);
    assert_eq!(give(&town.mira, "moderator", "global").await, 403);
    let listed = server.get(format!("access/grants?scope={scope}")).by(&town.mira).await.expect(200).json();
    let of_owner = listed["items"].as_array().unwrap().iter().find(|grant| grant["role"] == "world_owner").unwrap();
    let reply = server.delete(format!("access/grants/{}", id(of_owner))).by(&town.mira).await;
    assert_eq!(reply.expect(403).code(), "permission-denied");
    let path = format!("access/grants/{}", id(&town.grant));
    assert_eq!(server.delete(&path).by(&town.owner).await.expect(409).code(), "last-owner");
}

#[tokio::test]
async fn lists_of_grants_and_keys_are_walked_by_their_cursors() {
    let town = Town::start().await;
    let server = &town.server;
    for n in 0..4 {
        let person = server.guest(&format!("Guest {n}")).await;
        server.grant(&person, Role::Support, Scope::Global).await;
        server.key(&town.owner, "global", &["chat.post"]).await;
    }

    for (list, count) in [("access/grants?scope=global", 5), ("access/keys?scope=global", 5)] {
        let mut seen = Vec::new();
        let mut next = Some(format!("/api/v1/{list}&limit=2"));
        while let Some(path) = next {
            let reply = server.get(&path).by(&town.owner).await.expect(200);
            let body = reply.json();
            seen.extend(body["items"].as_array().unwrap().iter().map(|item| id(item).to_owned()));
            next = reply
                .header("link")
                .strip_suffix(">; rel=\"next\"")
                .map(|link| link.trim_start_matches('<').to_owned());
            assert_eq!(next.is_some(), body["nextCursor"].is_string());
        }
        assert_eq!(seen.len(), count, "{list}");
        assert!(seen.is_sorted() && seen.windows(2).all(|pair| pair[0] != pair[1]), "{list}");
        let cursor = server.get(format!("{list}&limit=1")).by(&town.owner).await.json()["nextCursor"].clone();
        let foreign = list.split('?').next().unwrap();
        let reply = server.get(format!("{foreign}?cursor={}", cursor.as_str().unwrap())).by(&town.owner).await;
        assert_eq!(reply.expect(400).code(), "cursor-invalid", "a cursor belongs to its filters");
    }
}

#[tokio::test]
async fn a_question_is_answered_with_what_the_answer_rests_on() {
    let town = Town::start().await;
    let server = &town.server;
    let secret = json!({ "name": "Secret", "visibility": "private" });
    let secret = server.post("worlds").by(&town.owner).json(secret).await.expect(201).json();
    let (open, closed) = (scope_of(&town.world), scope_of(&secret));
    server.grant(&town.mira, Role::WorldModerator, closed).await;
    let ask = async |by: &Person, question: &str| server.get(format!("access/check?{question}")).by(by).await;
    let reasons = |reply: &Value| {
        let because = reply["because"].as_array().unwrap().iter();
        because.map(|reason| reason["reason"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };

    let granted = ask(&town.mira, &format!("permission=chat.moderate&scope={closed}")).await.expect(200).json();
    assert_eq!(granted["allowed"], true);
    let because = &granted["because"][0];
    assert_eq!((&because["reason"], &because["role"]), (&json!("granted"), &json!("world_moderator")));
    assert_eq!(because["scope"], closed.to_string());
    assert!(because["grantId"].is_string() && because["detail"].is_string(), "{because}");

    let visiting = ask(&town.mira, &format!("permission=chat.post&scope={open}")).await.expect(200).json();
    assert_eq!((&visiting["allowed"], reasons(&visiting)), (&json!(true), vec!["open-to-accounts".to_owned()]));
    let no = ask(&town.mira, &format!("permission=chat.manage&scope={open}")).await.expect(200).json();
    assert_eq!((&no["allowed"], reasons(&no)), (&json!(false), vec!["no-grant".to_owned()]));
    let nonsense = ask(&town.mira, &format!("permission=world.create&scope={open}")).await.expect(200).json();
    assert_eq!(reasons(&nonsense), ["not-legal-here"]);

    let about = format!("permission=chat.moderate&scope={closed}&userId={}", town.mira.id);
    let told = ask(&town.owner, &about).await.expect(200).json();
    assert_eq!((&told["allowed"], reasons(&told)), (&json!(true), vec!["granted".to_owned()]));
    assert_eq!(ask(&town.ylva, &about).await.expect(403).code(), "permission-denied");
    assert_eq!(ask(&town.mira, &about).await.expect(200).json(), granted, "of oneself it is told to everybody");
    let unknown = format!("permission=chat.post&scope=global&userId={}", id(&town.world));
    assert_eq!(ask(&town.owner, &unknown).await.expect(404).code(), "account-not-found");
    let nowhere = "permission=chat.post&scope=world:01998b2e-7c00-7a15-8f3e-5d2a9c1b0eff";
    for question in [nowhere.to_owned(), format!("permission=chat.post&scope={closed}")] {
        assert_eq!(ask(&town.ylva, &question).await.expect(404).code(), "world-not-found", "a stranger learns nothing");
    }
    for bad in ["", "permission=chat.post", "permission=chat.all&scope=global", "permission=chat.post&scope=here"] {
        assert_eq!(ask(&town.owner, bad).await.expect(400).code(), "malformed-request", "{bad}");
    }
}

#[tokio::test]
async fn a_key_is_shown_once_and_works_until_it_is_deleted() {
    let town = Town::start().await;
    let server = &town.server;
    let scope = format!("world:{}", id(&town.world));
    let body = json!({ "name": "arena server", "scope": scope, "permissions": ["chat.read", "chat.post"] });

    let made = server.post("access/keys").by(&town.owner).json(body).await.expect(201);

    let mut key = made.json();
    let secret = key.as_object_mut().unwrap().remove("secret").unwrap();
    let secret = secret.as_str().unwrap();
    assert!(secret.starts_with("wwk_"), "{secret}");
    let location = made.header("location").to_owned();
    assert_eq!(server.get(&location).by(&town.owner).await.expect(200).json(), key, "without the secret");
    assert!(!String::from_utf8_lossy(&server.files()).contains(&secret[4..]), "kept hashed");

    let posted = server.post(town.messages()).bearing(secret).json(json!({ "body": "Round two begins." })).await;
    let message = posted.expect(201).json();
    assert_eq!(message["author"], json!({ "id": key["id"], "displayName": "arena server" }));
    let path = format!("messages/{}", id(&message));
    server.patch(&path).bearing(secret).json(json!({ "body": "Round three begins." })).await.expect(200);
    assert_eq!(server.get("me").bearing(secret).await.expect(403).code(), "account-required");
    let elsewhere = json!({ "name": "New" });
    assert_eq!(server.post("worlds").bearing(secret).json(elsewhere).await.expect(403).code(), "permission-denied");
    let used = server.get(&location).by(&town.owner).await.expect(200).json();
    assert_eq!(used["lastUsedAt"], "2026-01-01T00:00:00.000Z");

    server.delete(&location).by(&town.owner).await.expect(204);
    let reply = server.get(town.messages()).bearing(secret).await;
    assert_eq!(reply.expect(401).code(), "api-key-invalid");
    assert_eq!(server.delete(&location).by(&town.owner).await.expect(404).code(), "api-key-not-found");
}

#[tokio::test]
async fn the_secret_of_a_key_is_not_kept_for_repeats() {
    let town = Town::start().await;
    let body = json!({ "name": "arena server", "scope": "global", "permissions": ["chat.read"] });
    let make = || {
        let ask = town.server.post("access/keys").by(&town.owner);
        ask.with("idempotency-key", "0123456789abcdef").json(body.clone())
    };

    let (first, second) = (make().await.expect(201), make().await.expect(201));

    assert_eq!((first.header("idempotency-replayed"), second.header("idempotency-replayed")), ("", ""));
    assert_ne!(id(&first.json()), id(&second.json()));
}

#[tokio::test]
async fn a_key_that_asks_for_too_much_is_not_made() {
    let town = Town::start().await;
    let server = &town.server;
    let scope = scope_of(&town.world);
    server.grant(&town.mira, Role::WorldAdmin, scope).await;
    let before = server.digest().await;

    for (body, status, code, pointer) in [
        (json!({ "name": "x", "scope": scope }), 422, INVALID, "/permissions"),
        (json!({ "name": "x", "scope": scope, "permissions": [] }), 422, INVALID, "/permissions"),
        (json!({ "name": "x", "scope": scope, "permissions": ["chat.all"] }), 422, INVALID, "/permissions/0"),
        (json!({ "name": "", "scope": scope, "permissions": ["chat.read"] }), 422, INVALID, "/name"),
        (json!({ "name": "x".repeat(33), "scope": scope, "permissions": ["chat.read"] }), 422, INVALID, "/name"),
        (json!({ "name": "x", "scope": scope, "permissions": ["world.create"] }), 403, "permission-denied", "-"),
        (json!({ "name": "x", "scope": "global", "permissions": ["chat.read"] }), 403, "permission-denied", "-"),
    ] {
        let reply = server.post("access/keys").by(&town.mira).json(body.clone()).await.expect(status);
        assert_eq!(reply.flaw(), (code.to_owned(), pointer.to_owned()), "{body}");
    }

    assert_eq!(server.digest().await, before);
}

#[tokio::test]
async fn what_is_no_key_signs_nobody_in() {
    let town = Town::start().await;
    let ended =
        json!({ "name": "x", "scope": "global", "permissions": ["chat.read"], "expiresAt": "2026-01-01T00:01:00Z" });
    let ended = town.server.post("access/keys").by(&town.owner).json(ended).await.expect(201).json();
    let ended = ended["secret"].as_str().unwrap().to_owned();
    town.server.get("worlds").bearing(&ended).await.expect(200);
    town.server.clock.advance(Duration::from_mins(1));

    let genuine = town.key["secret"].as_str().unwrap();
    let forged = format!("{}AAAA", &genuine[..genuine.len() - 4]);
    for token in ["wwk_", "wwk_x", &forged, &ended] {
        let reply = town.server.get("worlds").bearing(token).await.expect(401);
        assert_eq!((reply.code().as_str(), reply.header("www-authenticate")), ("api-key-invalid", "Bearer"), "{token}");
    }
    town.server.get("worlds").bearing(genuine).await.expect(200);
}

/// A token of somebody's session that reaches no further than `scope`.
async fn narrowed(server: &Server, person: &Person, scope: Scope) -> String {
    let own = server.services.accounts.verify(&person.token).await.unwrap();
    let keys = server.stores.keys.read().await.unwrap();
    let issuer = TokenIssuer::new(ORIGIN, &keys).unwrap();
    let token = AccessToken { scope, ..own };
    issuer.issue(&token, uuid::Uuid::from_u128(7), server.clock.now()).unwrap().expose().clone()
}

/// What is asked for outside of a scope, and what it is answered.
async fn outside_is_out_of_reach(town: &Town, token: &str, inside: &Value, other: &Value) {
    let server = &town.server;
    let message = server.say(&town.owner, &town.lobby, "hi").await;
    let document = openapi(server).await;
    let mut asked = 0;
    for (template, method, operation) in operations(&document) {
        let call = operation["operationId"].as_str().unwrap();
        if operation["x-permission"][0] == "anyone" {
            continue;
        }
        for world in [&town.world, other] {
            let is_in_lobby = template.contains("{id}") && id(world) != id(&town.world);
            let path = calls::filled(town, template, id(&message)).replace("/mistral", &format!("/{}", id(world)));
            let query = match call {
                "listChannels" | "listGrants" | "listKeys" | "listAnnouncements" => {
                    format!("?scope=world:{}", id(world))
                }
                "checkAccess" => "?permission=chat.read&scope=global".to_owned(),
                _ => String::new(),
            };
            let method: Method = method.to_uppercase().parse().unwrap();
            let mut ask = server.ask(method, format!("{path}{query}")).bearing(token);
            ask = ask.with("if-match", "\"1\"").with("origin", ORIGIN);
            if calls::demands_key(operation) {
                ask = ask.with("idempotency-key", &server.fresh_key());
            }
            if let Some(example) = operation.pointer("/requestBody/content/application~1json/example") {
                let mut body = example.clone();
                if body.get("scope").is_some() {
                    body["scope"] = format!("world:{}", id(world)).into();
                }
                ask = ask.json(body);
            }
            let reply = ask.await;
            if call == "checkAccess" {
                let body = reply.expect(200).json();
                assert_eq!(
                    (&body["allowed"], &body["because"][0]["reason"]),
                    (&json!(false), &json!("outside-of-token"))
                );
                continue;
            }
            if is_in_lobby {
                continue;
            }
            // Marks of channels that are out of reach are left out.
            if call == "listUnread" && reply.status == 200 {
                assert_eq!(reply.json()["items"], json!([]));
                continue;
            }
            asked += 1;
            let refused = matches!(reply.status.as_u16(), 403 | 404);
            assert!(refused, "{call} at {path}{query}: {} {:?}", reply.status, reply.body);
        }
    }
    assert!(asked > 40, "only {asked} calls were made");
    let listed = server.get("worlds").bearing(token).await.expect(200).json();
    let ids: Vec<&str> = listed["items"].as_array().unwrap().iter().map(id).collect();
    assert_eq!(ids, [id(inside)]);
}

#[tokio::test]
async fn a_narrowed_token_reaches_its_world_and_nothing_else() {
    let town = Town::start().await;
    let server = &town.server;
    let private = |name: &str| json!({ "name": name, "visibility": "private" });
    let inside = server.post("worlds").by(&town.owner).json(private("Inside")).await.expect(201).json();
    let other = server.post("worlds").by(&town.owner).json(private("Other")).await.expect(201).json();
    let before = server.digest().await;
    let token = narrowed(server, &town.owner, scope_of(&inside)).await;

    outside_is_out_of_reach(&town, &token, &inside, &other).await;

    let messages = format!("channels/{}/messages", id(&town.lobby));
    assert_eq!(server.get(messages).by(&town.owner).await.expect(200).json()["items"].as_array().unwrap().len(), 1);
    server.get(format!("worlds/{}", id(&inside))).bearing(&token).await.expect(200);
    let change = json!({ "description": "Still in reach." });
    let path = format!("worlds/{}", id(&inside));
    server.patch(path).bearing(&token).with("if-match", "\"1\"").json(change).await.expect(200);
    assert_ne!(server.digest().await, before);
}

#[tokio::test]
async fn a_key_reaches_its_world_and_nothing_else() {
    let town = Town::start().await;
    let server = &town.server;
    let private = |name: &str| json!({ "name": name, "visibility": "private" });
    let inside = server.post("worlds").by(&town.owner).json(private("Inside")).await.expect(201).json();
    let other = server.post("worlds").by(&town.owner).json(private("Other")).await.expect(201).json();
    let all = ["access.manage", "world.read", "world.manage", "chat.manage", "chat.moderate", "chat.read", "chat.post"];
    let key = server.key(&town.owner, &scope_of(&inside).to_string(), &all).await;
    let token = key["secret"].as_str().unwrap();

    outside_is_out_of_reach(&town, token, &inside, &other).await;

    server.get(format!("worlds/{}", id(&inside))).bearing(token).await.expect(200);
    let channel = json!({ "scope": scope_of(&inside), "slug": "lobby", "name": "Lobby" });
    server.post("channels").bearing(token).json(channel).await.expect(201);
}

/// A page is asked for by its address alone: whoever bears a token sees no more there than everybody.
#[tokio::test]
async fn pages_are_guarded_as_their_calls_are() {
    let town = Town::start().await;
    let server = &town.server;
    let secret = json!({ "name": "Secret", "visibility": "private" });
    let secret = server.post("worlds").by(&town.owner).json(secret).await.expect(201).json();
    let slug = secret["slug"].as_str().unwrap();

    for path in [format!("/worlds/{slug}"), format!("/worlds/{slug}/chat"), format!("/w/{slug}")] {
        for token in [None, Some(format!("Bearer {}", town.mira.token))] {
            server.get(&path).with_some("authorization", token.as_deref()).await.expect(404);
        }
    }
    server.get("/worlds/mistral").await.expect(200);
}
