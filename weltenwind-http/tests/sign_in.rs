//! Registered accounts: how one is made, and how its owner comes back.

#![allow(clippy::unwrap_used, reason = "a test ends where something unexpected is found")]

mod fixture;

use serde_json::json;

use self::fixture::{Person, Server};

const PASSWORD: &str = "correct horse battery";

#[tokio::test]
async fn who_registers_can_sign_in_again_from_anywhere() {
    let server = Server::start().await;
    let wish = json!({
        "username": "mira", "password": PASSWORD, "displayName": "Mira", "email": "mira@example.org", "device": { "name": "phone" },
    });

    let registered = server.post("auth/register").json(wish).await.expect(201);
    let back = server.post("auth/login").json(json!({ "username": "mira", "password": PASSWORD })).await.expect(200);

    assert_eq!(registered.json()["user"]["kind"], "registered");
    assert_eq!(back.json()["user"]["id"], registered.json()["user"]["id"]);
    assert_ne!(back.json()["sessionId"], registered.json()["sessionId"]);
    assert_eq!(back.header("cache-control"), "no-store");
    let me = server.get("users/me").by(&Person::of(&back)).await.expect(200).json();
    assert_eq!(
        (&me["username"], &me["displayName"], &me["email"]),
        (&json!("mira"), &json!("Mira"), &json!("mira@example.org"))
    );
    let profile = server.get(format!("users/{}", me["id"].as_str().unwrap())).await.expect(200).json();
    assert_eq!(profile.get("email"), None, "an address is nobody else's business");
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_name_are_refused_alike() {
    let server = Server::start().await;
    server.post("auth/register").json(json!({ "username": "mira", "password": PASSWORD })).await.expect(201);

    let mut details = Vec::new();
    for (username, password) in
        [("mira", "wrong horse battery"), ("nobody", PASSWORD), ("NO NAME", PASSWORD), ("mira", "")]
    {
        let refused =
            server.post("auth/login").json(json!({ "username": username, "password": password })).await.expect(401);
        assert_eq!(refused.code(), "invalid-credentials", "{username}");
        details.push(refused.problem()["detail"].clone());
    }

    assert!(details.iter().all(|detail| *detail == details[0]), "{details:?}");
}

#[tokio::test]
async fn a_username_is_one_person_s_alone() {
    let server = Server::start().await;
    let wish = json!({ "username": "mira", "password": PASSWORD });
    server.post("auth/register").json(wish.clone()).await.expect(201);

    assert_eq!(server.post("auth/register").json(wish).await.expect(409).code(), "username-taken");
}

#[tokio::test]
async fn a_registration_that_breaks_a_rule_is_told_which() {
    let server = Server::start().await;

    for (member, value) in [
        ("username", json!("M")),
        ("username", json!("Mira Tarn")),
        ("password", json!("short")),
        ("password", json!("password123")),
        ("displayName", json!("")),
        ("email", json!("nowhere")),
        ("email", json!("a b@example.org")),
        ("nickname", json!("Mira")),
    ] {
        let mut wish = json!({ "username": "mira", "password": PASSWORD });
        wish[member] = value.clone();
        let reply = server.post("auth/register").json(wish).await;
        assert_eq!(reply.flaw(), ("validation-failed".to_owned(), format!("/{member}")), "{value}");
    }

    let free = json!({ "username": "mira", "password": PASSWORD });
    server.post("auth/register").json(free).await.expect(201);
}

#[tokio::test]
async fn two_refreshes_of_one_token_at_once_get_the_same_successor() {
    let server = Server::start().await;
    let mira = server.guest("Mira").await;
    let trade = || async {
        Person::of(&server.post("auth/refresh").json(json!({ "refreshToken": mira.refresh_token })).await.expect(200))
    };

    let (one, two, three) = tokio::join!(trade(), trade(), trade());

    assert_eq!(one.refresh_token, two.refresh_token);
    assert_eq!(two.refresh_token, three.refresh_token);
    assert_ne!(one.refresh_token, mira.refresh_token);
    let next = server.post("auth/refresh").json(json!({ "refreshToken": one.refresh_token })).await;
    next.expect(200);
}
