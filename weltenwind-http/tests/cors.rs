//! Pages of other origins: which of them may call, what they may send and read, and whose cookie is believed.

mod fixture;

use axum::body::Body;
use http::Method;
use serde_json::{Value, json};
use weltenwind_http::HttpConfig;

use self::fixture::{ORIGIN, Reply, Server};

const GAME: &str = "https://game.example";

async fn listing_the_game() -> Server {
    Server::with(HttpConfig { allowed_origins: vec![ORIGIN.to_owned(), GAME.to_owned()], ..HttpConfig::default() })
        .await
}

/// Everything that an answer says about pages of other origins.
fn said(reply: &Reply) -> Vec<&str> {
    let names = reply.headers.keys().map(http::HeaderName::as_str);
    names.filter(|name| name.starts_with("access-control-")).collect()
}

async fn preflight(server: &Server, path: &str, origin: &str) -> Reply {
    let ask = server.ask(Method::OPTIONS, path).with("origin", origin);
    ask.with("access-control-request-method", "PATCH").with("access-control-request-headers", "authorization").await
}

#[tokio::test]
async fn a_page_that_asks_beforehand_hears_what_it_may_send() {
    let server = listing_the_game().await;

    for path in ["worlds", "worlds/mistral", "worlds/mistral/members/me", "auth/guest"] {
        for origin in [GAME, ORIGIN, "HTTPS://game.example"] {
            let reply = preflight(&server, path, origin).await.expect(204);
            assert_eq!(reply.header("access-control-allow-origin"), origin, "{path}");
            assert_eq!(reply.header("access-control-allow-methods"), "GET, HEAD, POST, PUT, PATCH, DELETE", "{path}");
            let sent: Vec<&str> = reply.header("access-control-allow-headers").split(", ").collect();
            for name in ["authorization", "content-type", "if-match", "if-none-match", "idempotency-key", "traceparent"]
            {
                assert!(sent.contains(&name), "{path}: {name}");
            }
            assert_eq!(reply.header("access-control-max-age"), "7200");
            assert_eq!(reply.header("vary"), "origin");
            assert!(reply.body.is_empty(), "{path}");
        }
    }
    assert_eq!(preflight(&server, "nothing", GAME).await.expect(404).code(), "not-found");
}

#[tokio::test]
async fn a_page_that_is_not_listed_hears_no() {
    let server = listing_the_game().await;

    for origin in [
        "https://evil.example",
        "null",
        "http://game.example",
        "https://game.example:8443",
        "https://game.example.evil.test",
        "https://evil.test/https://game.example",
        "*",
        "",
    ] {
        let reply = preflight(&server, "worlds", origin).await.expect(403);
        assert_eq!((reply.code().as_str(), said(&reply).len()), ("origin-not-allowed", 0), "{origin}");
        let read = server.get("worlds").with("origin", origin).await.expect(200);
        assert_eq!((said(&read).len(), read.header("vary")), (0, "authorization, origin"), "{origin}");
    }
    let two = server.get("worlds").with("origin", GAME).with("origin", "https://evil.example").await.expect(200);
    assert!(said(&two).is_empty());
}

#[tokio::test]
async fn a_page_reads_every_answer_of_the_api_and_what_stands_beside_it() {
    let server = listing_the_game().await;
    let large = Body::from("x".repeat(70_000));

    for (reply, status) in [
        (server.get("worlds").with("origin", GAME).await, 200),
        (server.get("worlds/none").with("origin", GAME).await, 404),
        (server.get("nothing").with("origin", GAME).await, 404),
        (server.get("me").with("origin", GAME).await, 401),
        (server.delete("worlds").with("origin", GAME).await, 405),
        (server.post("auth/guest").with("origin", GAME).text("application/json", large).await, 413),
        (server.post("auth/guest").with("origin", GAME).json(json!({})).await, 201),
    ] {
        let reply = reply.expect(status);
        assert_eq!(reply.header("access-control-allow-origin"), GAME, "{status}");
        let exposed: Vec<&str> = reply.header("access-control-expose-headers").split(", ").collect();
        for name in [
            "etag",
            "link",
            "location",
            "ratelimit",
            "ratelimit-policy",
            "retry-after",
            "x-request-id",
            "idempotency-replayed",
        ] {
            assert!(exposed.contains(&name), "{name}");
        }
        assert!(reply.header("vary").contains("origin"), "{status}");
    }
}

#[tokio::test]
async fn no_cookie_crosses_origins() {
    let server = listing_the_game().await;

    let asked = preflight(&server, "auth/refresh", GAME).await.expect(204);
    let answered = server.post("auth/guest").with("origin", GAME).json(json!({})).await.expect(201);
    let page = server.get("/").with("origin", GAME).await.expect(200);

    for reply in [&asked, &answered] {
        assert_eq!(reply.header("access-control-allow-credentials"), "");
        assert_ne!(reply.header("access-control-allow-origin"), "*");
    }
    // A page could not even ask for a cookie.
    assert!(!asked.header("access-control-allow-headers").contains("csrf"));
    assert_eq!(answered.header("set-cookie"), "");
    assert!(said(&page).is_empty(), "pages are for nobody else");
}

#[tokio::test]
async fn by_default_the_machine_s_own_names_may_call_and_nobody_else() {
    let server = Server::start().await;

    for (origin, status) in [
        ("http://127.0.0.1:8080", 204),
        ("http://localhost:8080", 204),
        ("http://[::1]:8080", 204),
        ("http://localhost:3000", 403),
        (GAME, 403),
    ] {
        preflight(&server, "worlds", origin).await.expect(status);
    }
}

/// What a call in cookie mode is answered, by the rules as they are written.
fn expected(
    site: Option<&str>,
    origin: Option<&str>,
    csrf: Option<&str>,
    media_type: &str,
    has_cookie: bool,
) -> &'static str {
    let is_cookie_mode = csrf == Some("1");
    if is_cookie_mode && (!matches!(site, None | Some("same-origin")) || origin != Some(ORIGIN)) {
        return "origin-not-allowed";
    }
    if media_type != "application/json" {
        return "unsupported-media-type";
    }
    match (is_cookie_mode, has_cookie) {
        (true, true) => "signed in",
        (true, false) => "refresh-token-invalid",
        (false, true) => "csrf-header-required",
        (false, false) => "validation-failed",
    }
}

#[tokio::test]
async fn a_cookie_is_believed_under_every_condition_at_once_and_under_none_less() {
    let server = Server::start().await;
    let reply = server.post("auth/guest").by_page().json(json!({})).await.expect(201);
    let mut cookie = reply.header("set-cookie").split(';').next().expect("a pair").to_owned();
    let mut signed_in = 0;

    for site in [None, Some("same-origin"), Some("same-site"), Some("cross-site"), Some("none"), Some("Same-Origin")] {
        for origin in [None, Some(ORIGIN), Some("https://evil.example"), Some("null")] {
            for csrf in [None, Some("1"), Some("0"), Some("")] {
                for media_type in ["application/json", "text/plain", "application/x-www-form-urlencoded"] {
                    for has_cookie in [false, true] {
                        let ask = server.post("auth/refresh").with_some("sec-fetch-site", site);
                        let ask = ask.with_some("origin", origin).with_some("x-weltenwind-csrf", csrf);
                        let ask = ask.with_some("cookie", has_cookie.then_some(cookie.as_str()));
                        let reply = ask.text(media_type, "{}").await;

                        let at = format!("{site:?} {origin:?} {csrf:?} {media_type} cookie: {has_cookie}");
                        let expected = expected(site, origin, csrf, media_type, has_cookie);
                        if expected == "signed in" {
                            signed_in += 1;
                            let reply = reply.expect(200);
                            assert_eq!(reply.json()["refreshToken"], Value::Null, "{at}");
                            cookie = reply.header("set-cookie").split(';').next().expect("a pair").to_owned();
                            assert!(cookie.len() > 20, "{at}");
                        } else {
                            assert_eq!(reply.code(), expected, "{at}");
                        }
                    }
                }
            }
        }
    }
    assert_eq!(signed_in, 2);
}

#[tokio::test]
async fn every_call_that_sets_a_cookie_asks_for_the_own_origin() {
    let server = Server::start().await;

    for path in ["auth/guest", "auth/register", "auth/login", "auth/bootstrap", "auth/refresh", "auth/logout"] {
        for (origin, site) in [
            (Some("https://evil.example"), None),
            (Some(ORIGIN), Some("cross-site")),
            (Some(ORIGIN), Some("same-site")),
            (Some(ORIGIN), Some("none")),
            (None, Some("same-origin")),
        ] {
            let ask = server.post(path).with("x-weltenwind-csrf", "1");
            let reply = ask.with_some("origin", origin).with_some("sec-fetch-site", site).json(json!({})).await;
            assert_eq!(reply.expect(403).code(), "origin-not-allowed", "{path} {origin:?} {site:?}");
        }
    }
}
