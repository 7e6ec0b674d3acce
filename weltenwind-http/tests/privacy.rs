//! What is held on oneself: handed out, and erased.

mod fixture;

use std::time::Duration;

use serde_json::{Value, json};
use weltenwind_core::{Scope, access::Role};

use self::fixture::{Person, Server, id};

const PASSWORD: &str = "correct horse battery";

async fn registered(server: &Server, username: &str) -> Person {
    let body = json!({ "username": username, "password": PASSWORD, "email": "mira@example.org" });
    Person::of(&server.post("auth/register").json(body).await.expect(201))
}

/// A channel with something said by Mira.
async fn talk(server: &Server, mira: &Person) -> Value {
    let owner = server.owner().await;
    let world = server.world(&owner, "mistral").await;
    let lobby = server.channel(&owner, &world, "lobby").await;
    server.put("worlds/mistral/members/me").by(mira).await.expect(200);
    server.say(mira, &lobby, "well met").await;
    lobby
}

#[tokio::test]
async fn an_export_is_one_document_of_what_is_held() {
    let server = Server::start().await;
    let mira = registered(&server, "mira").await;
    let lobby = talk(&server, &mira).await;

    let reply = server.get("users/me/export").by(&mira).await.expect(200);
    let alias = server.get("me/export").by(&mira).await.expect(200);

    assert_eq!(reply.header("content-type"), "application/json");
    assert_eq!(reply.header("cache-control"), "private, no-cache");
    let export = reply.json();
    assert_eq!((&export["version"], &export["account"]["username"]), (&json!(1), &json!("mira")));
    assert_eq!(export["account"]["email"], "mira@example.org");
    assert_eq!(export["messages"][0]["body"], "well met");
    assert_eq!(export["messages"][0]["channelId"], lobby["id"]);
    assert_eq!(export["grants"][0]["role"], "world_member");
    assert_eq!(export["sessions"].as_array().map(Vec::len), Some(1));
    assert_eq!(alias.json(), export);
    server.get("users/me/export").await.expect(401);
}

#[tokio::test]
async fn who_has_an_export_is_told_so_until_something_changes() {
    let server = Server::start().await;
    let mira = registered(&server, "mira").await;
    let lobby = talk(&server, &mira).await;
    let ask = || server.get("users/me/export").by(&mira);
    let first = ask().await.expect(200);
    server.clock.advance(Duration::from_secs(10));

    let known = ask().with("if-none-match", first.header("etag")).await.expect(304);
    server.say(&mira, &lobby, "well met again").await;
    let changed = ask().with("if-none-match", first.header("etag")).await.expect(200);

    assert_eq!(known.header("etag"), first.header("etag"));
    assert!(first.header("etag").starts_with("W/\""));
    assert_ne!(changed.header("etag"), first.header("etag"));
    assert_eq!(changed.json()["messages"].as_array().map(Vec::len), Some(2));
}

#[tokio::test]
async fn an_erased_account_is_nobody() {
    let server = Server::start().await;
    let mira = registered(&server, "mira").await;
    let lobby = talk(&server, &mira).await;
    let history = format!("channels/{}/messages", id(&lobby));
    let before = server.get(&history).await.expect(200);
    assert_eq!(before.json()["items"][0]["author"]["displayName"], "mira");

    server.delete("users/me").by(&mira).await.expect(204);

    for call in [server.get("users/me"), server.delete("users/me"), server.get("users/me/export")] {
        assert_eq!(call.by(&mira).await.expect(401).code(), "session-ended");
    }
    assert_eq!(server.get(format!("users/{}", mira.id)).await.expect(404).code(), "account-not-found");
    let login = json!({ "username": "mira", "password": PASSWORD });
    assert_eq!(server.post("auth/login").json(login).await.expect(401).code(), "invalid-credentials");
    let refresh = json!({ "refreshToken": mira.refresh_token });
    assert_eq!(server.post("auth/refresh").json(refresh).await.expect(401).code(), "refresh-token-invalid");
    let after = server.get(&history).with("if-none-match", before.header("etag")).await.expect(200).json();
    assert_eq!(after["items"][0]["author"], json!({ "id": mira.id, "displayName": "Deleted account" }));
    assert_eq!(after["items"][0]["body"], "well met");
    let members = server.get("worlds/mistral/members").await.expect(200).json();
    assert!(members["items"].as_array().unwrap().iter().all(|member| member["id"] != json!(mira.id)), "{members}");
    registered(&server, "mira").await;
}

#[tokio::test]
async fn an_account_is_erased_after_a_recent_sign_in_and_a_guest_at_any_time() {
    let server = Server::start().await;
    let (mira, guest) = (registered(&server, "mira").await, server.guest("Lu").await);
    server.clock.advance(Duration::from_mins(16));
    let refresh = async |person: &Person| {
        let body = json!({ "refreshToken": person.refresh_token });
        Person::of(&server.post("auth/refresh").json(body).await.expect(200))
    };
    let (mira, guest) = (refresh(&mira).await, refresh(&guest).await);

    assert_eq!(server.delete("users/me").by(&mira).await.expect(403).code(), "recent-sign-in-required");
    server.delete("users/me").by(&guest).await.expect(204);
    let login = json!({ "username": "mira", "password": PASSWORD });
    let again = Person::of(&server.post("auth/login").json(login).await.expect(200));
    server.delete("users/me").by(&again).await.expect(204);
    server.delete("users/me").await.expect(401);
}

#[tokio::test]
async fn the_last_owner_hears_what_to_do_first() {
    let server = Server::start().await;
    let owner = server.owner().await;
    let world = server.world(&owner, "mistral").await;

    let refused = server.delete("users/me").by(&owner).await.expect(409);
    assert_eq!(refused.code(), "last-owner");
    let detail = refused.problem()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("global") && detail.contains(&format!("world:{}", id(&world))), "{detail}");
    server.get("users/me").by(&owner).await.expect(200);

    let heir = registered(&server, "heir").await;
    server.grant(&heir, Role::Owner, Scope::Global).await;
    server.grant(&heir, Role::WorldOwner, Scope::World(id(&world).parse().unwrap())).await;
    server.delete("users/me").by(&owner).await.expect(204);
    server.delete("users/me").by(&heir).await.expect(409);
}
