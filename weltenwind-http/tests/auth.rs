//! Sign-in, tokens, cookies, and one's own account.

mod fixture;

use std::time::Duration;

use base64ct::{Base64UrlUnpadded, Encoding as _};
use serde_json::json;
use weltenwind_core::{
    Actor, Clock as _, Scope, SessionId,
    accounts::{AccessToken, TokenIssuer},
};
use weltenwind_http::HttpConfig;

use self::fixture::{ORIGIN, Person, Reply, Server};

#[tokio::test]
async fn a_guest_is_signed_in_by_a_name_alone() {
    let server = Server::start().await;

    let reply = server.post("auth/guest").json(json!({ "displayName": "  Mira " })).await.expect(201);

    let body = reply.json();
    assert_eq!(body["tokenType"], "Bearer");
    assert_eq!(body["expiresIn"], 300);
    assert_eq!(body["scope"], "global");
    assert_eq!(body["user"]["kind"], "guest");
    assert_eq!(body["user"]["displayName"], "Mira");
    assert_eq!(reply.header("location"), format!("/api/v1/users/{}", body["user"]["id"].as_str().unwrap()));
    assert_eq!(reply.header("cache-control"), "no-store");
    assert_eq!(reply.header("set-cookie"), "");
    let me = server.get("users/me").by(&Person::of(&reply)).await.expect(200);
    assert_eq!(me.json()["displayName"], "Mira");
}

#[tokio::test]
async fn a_guest_need_not_say_anything() {
    let server = Server::start().await;

    let body = server.post("auth/guest").json(json!({ "displayName": null })).await.expect(201).json();

    assert!(body["user"]["displayName"].as_str().unwrap().starts_with("Guest "));
}

#[tokio::test]
async fn a_sign_in_that_breaks_a_rule_is_told_which() {
    let server = Server::start().await;
    let invalid = "validation-failed";
    for (body, code, pointer) in [
        (r#"{"displayName": ""}"#, invalid, "/displayName"),
        (r#"{"displayName": "\u0007"}"#, invalid, "/displayName"),
        (r#"{"displayName": "Mira\nMod"}"#, invalid, "/displayName"),
        (r#"{"displayName": "\u202emira"}"#, invalid, "/displayName"),
        (r#"{"displayName": "MMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMM"}"#, invalid, "/displayName"),
        (r#"{"displayName": 7}"#, invalid, "/displayName"),
        (r#"{"name": "Mira"}"#, invalid, "/name"),
        (r#"{"device": {"fingerprint": "short"}}"#, invalid, "/device/fingerprint"),
        (r#"{"device": {"name": ""}}"#, invalid, "/device/name"),
        (r#"{"device": {"os": "x"}}"#, invalid, "/device/os"),
        (r#"{"device": "phone"}"#, invalid, "/device"),
        (r#"["Mira"]"#, invalid, ""),
        (r#""Mira""#, invalid, ""),
        (r#"{"displayName": "Mira", "displayName": "Ylva"}"#, "malformed-request", "-"),
        (r#"{"displayName": "\ud800"}"#, "malformed-request", "-"),
        (r#"{"displayName": "Mira""#, "malformed-request", "-"),
        ("{'displayName': 'Mira'}", "malformed-request", "-"),
        ("", "malformed-request", "-"),
    ] {
        let reply = server.post("auth/guest").text("application/json", body).await;
        assert_eq!(reply.flaw(), (code.to_owned(), pointer.to_owned()), "{body}");
    }
    assert_eq!(server.post("auth/guest").text("text/plain", "{}").await.code(), "unsupported-media-type");
}

#[tokio::test]
async fn a_problem_names_the_member_and_the_rule() {
    let server = Server::start().await;

    let problem = server.post("auth/guest").json(json!({ "device": { "os": "x" } })).await.problem();

    insta::assert_json_snapshot!(problem, @r#"
    {
      "code": "validation-failed",
      "detail": "Os is not known here.",
      "errors": [
        {
          "code": "validation-failed",
          "detail": "os is not known here",
          "pointer": "/device/os"
        }
      ],
      "status": 422,
      "title": "The request breaks a rule",
      "type": "urn:weltenwind:problem:validation-failed"
    }
    "#);
}

#[tokio::test]
async fn a_bootstrap_token_makes_one_owner() {
    let server = Server::start().await;
    let token = server.services.accounts.issue_bootstrap(&Actor::operator()).await.unwrap().token;
    let body =
        |username: &str, password: &str| json!({ "token": token.expose(), "username": username, "password": password });

    let weak = server.post("auth/bootstrap").json(body("mira", "password123")).await;
    let first = server.post("auth/bootstrap").json(body("mira", "correct horse battery")).await;
    let second = server.post("auth/bootstrap").json(body("ylva", "correct horse battery")).await;

    assert_eq!(weak.flaw(), ("validation-failed".to_owned(), "/password".to_owned()));
    let owner = Person::of(&first.expect(201));
    server.post("worlds").by(&owner).json(json!({ "name": "Mistral" })).await.expect(201);
    assert_eq!(second.expect(410).code(), "bootstrap-token-spent");
}

#[tokio::test]
async fn a_bootstrap_token_that_is_old_or_invented_is_refused() {
    let server = Server::start().await;
    let token = server.services.accounts.issue_bootstrap(&Actor::operator()).await.unwrap().token;
    let body = |token: &str| json!({ "token": token, "username": "mira", "password": "correct horse battery" });

    let invented = server.post("auth/bootstrap").json(body("wwb_invented")).await;
    server.clock.advance(Duration::from_mins(15));
    let old = server.post("auth/bootstrap").json(body(token.expose())).await;

    assert_eq!(invented.expect(401).code(), "bootstrap-token-invalid");
    assert_eq!(old.expect(410).code(), "bootstrap-token-spent");
}

/// A token of this installation's keys that says something else.
async fn forged(server: &Server, issuer: &str, session: Option<SessionId>) -> String {
    let keys = server.stores.keys.read().await.expect("keys");
    let mira = server.guest("Mira").await;
    let known = server.services.accounts.verify(&mira.token).await.expect("a token");
    let token = AccessToken { session: session.unwrap_or(known.session), scope: Scope::Global, ..known };
    let now = server.clock.now();
    TokenIssuer::new(issuer, &keys)
        .expect("an issuer")
        .issue(&token, server.services.sources.ids.draw(), now)
        .expect("a token")
        .expose()
        .clone()
}

#[tokio::test]
async fn only_a_token_of_this_installation_holds() {
    let (server, other) = (Server::start().await, Server::start().await);
    let (mira, stranger) = (server.guest("Mira").await, other.guest("Mira").await);
    let [header, payload, signature] = mira.token.split('.').collect::<Vec<_>>()[..] else { panic!("three parts") };
    let none = Base64UrlUnpadded::encode_string(br#"{"alg":"none","typ":"at+jwt"}"#);
    let symmetric = Base64UrlUnpadded::encode_string(br#"{"alg":"HS256","typ":"at+jwt"}"#);
    let unknown_session = SessionId::new(server.services.sources.ids.draw());

    for (what, token, code) in [
        ("nothing", String::new(), "token-invalid"),
        ("noise", "abc".to_owned(), "token-invalid"),
        ("no signature", format!("{none}.{payload}."), "token-invalid"),
        ("another algorithm", format!("{symmetric}.{payload}.{signature}"), "token-invalid"),
        (
            "another signature",
            format!("{header}.{payload}.{}", signature.chars().rev().collect::<String>()),
            "token-invalid",
        ),
        ("another key", stranger.token.clone(), "token-invalid"),
        ("another audience", forged(&server, "https://elsewhere.example", None).await, "token-invalid"),
        ("an unknown session", forged(&server, "http://127.0.0.1:8080", Some(unknown_session)).await, "session-ended"),
        ("a refresh token", mira.refresh_token.clone(), "token-invalid"),
        ("a huge token", "a".repeat(9000), "token-invalid"),
    ] {
        let reply = server.get("users/me").bearing(&token).await;
        assert_eq!(reply.expect(401).code(), code, "{what}");
    }
    let basic = server.get("users/me").with("authorization", "Basic bWlyYTpzZWNyZXQ=").await;
    assert_eq!(basic.expect(401).code(), "token-invalid");
    assert_eq!(server.get("users/me").await.expect(401).code(), "unauthenticated");
    // A public answer is no reason to overlook a bad token.
    assert_eq!(server.get("worlds").bearing("abc").await.expect(401).code(), "token-invalid");
}

#[tokio::test]
async fn a_token_expires() {
    let server = Server::start().await;
    let mira = server.guest("Mira").await;
    server.get("users/me").by(&mira).await.expect(200);

    server.clock.advance(Duration::from_secs(331));

    assert_eq!(server.get("users/me").by(&mira).await.expect(401).code(), "token-expired");
}

#[tokio::test]
async fn a_refresh_token_is_traded_once() {
    let server = Server::start().await;
    let mira = server.guest("Mira").await;
    let trade = |token: &str| server.post("auth/refresh").json(json!({ "refreshToken": token }));

    let second = Person::of(&trade(&mira.refresh_token).await.expect(200));
    let lost_answer = Person::of(&trade(&mira.refresh_token).await.expect(200));
    let third = Person::of(&trade(&second.refresh_token).await.expect(200));
    server.clock.advance(Duration::from_secs(11));
    let reused = trade(&mira.refresh_token).await;

    assert_eq!(lost_answer.refresh_token, second.refresh_token);
    assert_eq!(reused.expect(401).code(), "refresh-token-reused");
    assert_eq!(trade(&third.refresh_token).await.expect(401).code(), "refresh-token-invalid");
    assert_eq!(server.get("users/me").by(&third).await.expect(401).code(), "session-ended");
}

#[tokio::test]
async fn a_refresh_needs_a_token() {
    let server = Server::start().await;

    let reply = server.post("auth/refresh").json(json!({})).await;

    assert_eq!(reply.flaw(), ("validation-failed".to_owned(), "/refreshToken".to_owned()));
    let invented = server.post("auth/refresh").json(json!({ "refreshToken": "wwr_invented" })).await;
    assert_eq!(invented.expect(401).code(), "refresh-token-invalid");
}

#[tokio::test]
async fn signing_out_ends_the_session() {
    let server = Server::start().await;
    let mira = server.guest("Mira").await;

    server.post("auth/logout").by(&mira).await.expect(204);

    assert_eq!(server.get("users/me").by(&mira).await.expect(401).code(), "session-ended");
    assert_eq!(server.post("auth/logout").await.expect(401).code(), "unauthenticated");
}

/// Signs a guest in as a page does, and answers the cookie's pair.
async fn page_guest(server: &Server) -> (Reply, String) {
    let reply = server.post("auth/guest").by_page().json(json!({})).await.expect(201);
    let cookie = reply.header("set-cookie").split(';').next().expect("a pair").to_owned();
    (reply, cookie)
}

#[tokio::test]
async fn a_page_gets_its_refresh_token_where_no_script_reads_it() {
    let server = Server::start().await;

    let (reply, cookie) = page_guest(&server).await;

    assert_eq!(reply.json()["refreshToken"], json!(null));
    let (pair, attributes) = reply.header("set-cookie").split_once("; ").unwrap();
    assert!(pair.starts_with("ww_refresh=wwr_"), "{pair}");
    assert_eq!(attributes, "Path=/; Max-Age=2592000; HttpOnly; SameSite=Strict");
    let refreshed = server.post("auth/refresh").by_page().with("cookie", &cookie).json(json!({})).await.expect(200);
    assert_eq!(refreshed.json()["refreshToken"], json!(null));
    assert!(refreshed.header("set-cookie").starts_with("ww_refresh=wwr_"));
    assert_ne!(refreshed.header("set-cookie").split(';').next().unwrap(), cookie);
}

#[tokio::test]
async fn over_tls_the_cookie_is_bound_to_the_host() {
    let public_url = "https://wind.example".to_owned();
    let server = Server::with(HttpConfig { public_url, ..HttpConfig::default() }).await;
    let guest =
        |origin| server.post("auth/guest").with("x-weltenwind-csrf", "1").with("origin", origin).json(json!({}));

    let reply = guest("https://wind.example").await.expect(201);

    let cookie = reply.header("set-cookie");
    assert!(cookie.starts_with("__Host-ww_refresh=wwr_") && cookie.ends_with("; Secure"), "{cookie}");
    assert_eq!(reply.header("strict-transport-security"), "max-age=31536000");
    assert_eq!(guest(ORIGIN).await.expect(403).code(), "origin-not-allowed");
}

#[tokio::test]
async fn the_cookie_works_for_own_scripts_alone() {
    let server = Server::start().await;
    let (_, cookie) = page_guest(&server).await;
    let refresh = || server.post("auth/refresh").with("cookie", &cookie);
    let page = || refresh().with("x-weltenwind-csrf", "1");

    let without_header = refresh().with("origin", ORIGIN).json(json!({})).await;
    let wrong_header = refresh().with("origin", ORIGIN).with("x-weltenwind-csrf", "0").json(json!({})).await;
    assert_eq!(without_header.expect(403).code(), "csrf-header-required");
    assert_eq!(wrong_header.expect(403).code(), "csrf-header-required");
    for (origin, site) in [
        (Some("https://evil.example"), None),
        (Some("null"), None),
        (None, None),
        (Some("http://127.0.0.1:8080.evil.example"), None),
        (Some(ORIGIN), Some("cross-site")),
        (Some(ORIGIN), Some("same-site")),
        (None, Some("same-origin")),
    ] {
        let ask = page().with_some("origin", origin).with_some("sec-fetch-site", site);
        assert_eq!(ask.json(json!({})).await.expect(403).code(), "origin-not-allowed", "{origin:?} {site:?}");
    }
    let form = page().with("origin", ORIGIN).text("application/x-www-form-urlencoded", "a=b").await;
    assert_eq!(form.expect(415).code(), "unsupported-media-type");
    // None of these has spent the token.
    page().with("origin", ORIGIN).json(json!({})).await.expect(200);
}

#[tokio::test]
async fn a_cookie_that_does_not_hold_is_taken_back() {
    let server = Server::start().await;
    let cleared = "ww_refresh=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict";

    let absent = server.post("auth/refresh").by_page().json(json!({})).await.expect(401);
    let invented = server.post("auth/refresh").by_page().with("cookie", "a=b; ww_refresh=wwr_x").json(json!({})).await;

    assert_eq!(absent.code(), "refresh-token-invalid");
    assert_eq!(absent.header("set-cookie"), cleared);
    assert_eq!(invented.expect(401).header("set-cookie"), cleared);
}

#[tokio::test]
async fn a_page_signs_out_by_its_token_or_its_cookie() {
    let server = Server::start().await;
    let ((by_token, _), (by_cookie, cookie)) = (page_guest(&server).await, page_guest(&server).await);

    let first = server.post("auth/logout").by_page().by(&Person::of(&by_token)).await.expect(204);
    let without_header = server.post("auth/logout").with("cookie", &cookie).await;
    let second = server.post("auth/logout").by_page().with("cookie", &cookie).await.expect(204);

    assert_eq!(without_header.expect(403).code(), "csrf-header-required");
    for (reply, session) in [(first, by_token), (second, by_cookie)] {
        assert!(reply.header("set-cookie").contains("Max-Age=0"));
        assert_eq!(server.get("users/me").by(&Person::of(&session)).await.code(), "session-ended");
    }
}

#[tokio::test]
async fn a_ticket_is_issued_to_a_page_of_an_allowed_origin() {
    let server = Server::start().await;
    let mira = server.guest("Mira").await;

    let reply = server.post("realtime/tickets").by(&mira).with("origin", ORIGIN).json(json!({})).await.expect(201);

    assert!(reply.json()["ticket"].as_str().unwrap().starts_with("wwt_"));
    assert_eq!(reply.json()["expiresIn"], 30);
    assert_eq!(reply.header("cache-control"), "no-store");
    for (origin, signed_in, code) in [
        (Some(ORIGIN), false, "unauthenticated"),
        (Some("https://evil.example"), true, "origin-not-allowed"),
        (None, true, "origin-not-allowed"),
    ] {
        let token = signed_in.then(|| format!("Bearer {}", mira.token));
        let ask = server.post("realtime/tickets").with_some("authorization", token.as_deref());
        assert_eq!(ask.with_some("origin", origin).await.code(), code, "{origin:?}");
    }
}

#[tokio::test]
async fn one_renames_oneself() {
    let server = Server::start().await;
    let mira = server.guest("Mira").await;
    let before = server.get("users/me").by(&mira).await.expect(200);

    let renamed = server.patch("me").by(&mira).json(json!({ "displayName": "Ylva" })).await.expect(200);

    assert_eq!(renamed.json()["displayName"], "Ylva");
    let after = server.get("me").by(&mira).await.expect(200);
    assert_eq!((before.header("etag"), after.header("etag")), ("\"1\"", "\"2\""));
    assert_eq!(renamed.header("etag"), after.header("etag"));
    assert_eq!(after.header("cache-control"), "private, no-cache");
    let profile = server.get(format!("users/{}", mira.id)).await.expect(200);
    assert_eq!(profile.json()["displayName"], "Ylva");
    assert_eq!(profile.json().get("username"), None);
}

#[tokio::test]
async fn a_rename_that_breaks_a_rule_changes_nothing() {
    let server = Server::start().await;
    let mira = server.guest("Mira").await;
    let before = server.get("me").by(&mira).await.json();

    for (body, pointer) in [
        (json!({}), "/displayName"),
        (json!({ "displayName": null }), "/displayName"),
        (json!({ "displayName": " " }), "/displayName"),
        (json!({ "displayName": "Ylva", "kind": "registered" }), "/kind"),
    ] {
        let reply = server.patch("users/me").by(&mira).json(body.clone()).await;
        assert_eq!(reply.flaw(), ("validation-failed".to_owned(), pointer.to_owned()), "{body}");
        // Who is not signed in hears that first.
        assert_eq!(server.patch("users/me").json(body).await.expect(401).code(), "unauthenticated");
    }

    assert_eq!(server.get("me").by(&mira).await.json(), before);
}

#[tokio::test]
async fn an_account_that_does_not_exist_is_not_found() {
    let server = Server::start().await;

    for id in ["0197a4c0-0000-7000-8000-000000000001", "nobody", "%ff", "ME"] {
        let code = server.get(format!("users/{id}")).await.expect(404).code();
        assert_eq!(code, if id == "%ff" { "not-found" } else { "account-not-found" }, "{id}");
    }
}
