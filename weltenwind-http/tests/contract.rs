//! What holds for every call, whatever it is about.

mod fixture;

use std::{convert::Infallible, net::SocketAddr};

use axum::{Router, body::Body, extract::ConnectInfo, routing::get};
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use serde_json::json;
use tower::{ServiceExt as _, service_fn};
use weltenwind_core::{ClientAddress, CorrelationId};
use weltenwind_http::{HttpConfig, HttpHost};

use self::fixture::{Server, id};

/// A server beside whose routes other services stand.
async fn with_neighbours(config: HttpConfig) -> Server {
    let address = service_fn(|request: Request<Body>| async move {
        let address = request.extensions().get::<ClientAddress>().expect("an address").0;
        Ok::<_, Infallible>(Response::new(Body::from(address.to_string())))
    });
    let panic = service_fn(|request: Request<Body>| async move {
        assert!(request.uri().query().is_some(), "the password is swordfish");
        Ok::<_, Infallible>(Response::new(Body::empty()))
    });
    let stuck = service_fn(|_: Request<Body>| std::future::pending::<Result<Response<Body>, Infallible>>());
    let bare = service_fn(|_: Request<Body>| async {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = http::StatusCode::UPGRADE_REQUIRED;
        Ok::<_, Infallible>(response)
    });
    Server::built(config, |host| {
        host.mount("/address", address).mount("/panic", panic).mount("/stuck", stuck).mount("/realtime/v1", bare)
    })
    .await
}

fn behind_a_proxy() -> HttpConfig {
    HttpConfig { trusted_proxies: vec!["10.0.0.0/8".parse().expect("a network")], ..HttpConfig::default() }
}

fn from(address: &str) -> ConnectInfo<SocketAddr> {
    ConnectInfo(SocketAddr::new(address.parse().expect("an address"), 4711))
}

#[tokio::test]
async fn a_request_id_is_believed_from_a_trusted_proxy_alone() {
    let server = Server::with(behind_a_proxy()).await;
    let ask = |peer: &str, id: &str| server.get("worlds").extension(from(peer)).with("x-request-id", id);

    assert_eq!(ask("10.0.0.1", "edge-2026.11_23").await.header("x-request-id"), "edge-2026.11_23");
    for (peer, id) in [("203.0.113.7", "edge-2026.11_23"), ("10.0.0.1", "short"), ("10.0.0.1", "with space in it")] {
        let reply = ask(peer, id).await;
        let minted: uuid::Uuid = reply.header("x-request-id").parse().unwrap();
        assert_eq!(minted.get_version_num(), 7, "{peer} {id}");
    }
    let embedded = server.get("worlds").extension(CorrelationId::accept("from-outside").unwrap()).await;
    assert_eq!(embedded.header("x-request-id"), "from-outside");
}

#[tokio::test]
async fn the_caller_s_address_is_told_to_every_service() {
    let server = with_neighbours(behind_a_proxy()).await;

    for (peer, forwarded, address) in [
        ("203.0.113.7", "198.51.100.1", "203.0.113.7"),
        ("10.0.0.1", "192.0.2.66, 198.51.100.1, 10.1.1.1", "198.51.100.1"),
        ("::ffff:10.0.0.1", "198.51.100.1", "198.51.100.1"),
    ] {
        let reply = server.get("/address").extension(from(peer)).with("x-forwarded-for", forwarded).await;
        assert_eq!(reply.expect(200).body, address, "{peer} for {forwarded}");
    }
}

#[tokio::test]
async fn every_answer_has_its_security_headers_and_no_other_site_may_read_it() {
    let server = with_neighbours(HttpConfig::default()).await;

    for path in ["/", "/api/v1/worlds", "/nowhere", "/address", "/panic", "/assets/main.js"] {
        let reply = server.get(path).with("origin", "https://evil.example").await;
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
            ("access-control-allow-origin", ""),
            ("strict-transport-security", ""),
        ] {
            assert_eq!(reply.header(name), value, "{path}");
        }
        let page = path == "/";
        assert_eq!(reply.header("content-security-policy").contains("script-src 'self'"), page, "{path}");
        assert!(!reply.header("x-request-id").is_empty(), "{path}");
    }
}

#[tokio::test]
async fn a_path_that_does_not_exist_is_a_problem() {
    let server = Server::start().await;

    let reply = server.get("/api/v1/nothing?secret=1").await.expect(404);

    insta::assert_json_snapshot!(reply.problem(), @r#"
    {
      "code": "not-found",
      "detail": "Nothing stands at this path.",
      "status": 404,
      "title": "Nothing is found here",
      "type": "urn:weltenwind:problem:not-found"
    }
    "#);
    for path in ["/api/v1/worlds/", "/api/v1", "/api/v2/worlds", "/.env", "/assets/../Cargo.toml", "/w/", "/%2e%2e/etc"]
    {
        assert_eq!(server.get(path).await.expect(404).code(), "not-found", "{path}");
    }
}

#[tokio::test]
async fn a_method_that_a_path_does_not_know_is_a_problem_that_names_the_others() {
    let server = Server::start().await;

    for (path, allowed) in [
        ("worlds", "GET,HEAD,POST"),
        ("worlds/mistral", "GET,HEAD,PATCH,DELETE"),
        ("worlds/mistral/members/me", "PUT,DELETE"),
        ("auth/guest", "POST"),
        ("me", "GET,HEAD,PATCH,DELETE"),
        ("/", "GET,HEAD"),
    ] {
        for method in [Method::OPTIONS, Method::TRACE, Method::from_bytes(b"BREW").unwrap()] {
            let reply = server.ask(method.clone(), path).await.expect(405);
            assert_eq!(
                (reply.code().as_str(), reply.header("allow")),
                ("method-not-allowed", allowed),
                "{method} {path}"
            );
        }
    }
    let preflight = server.ask(Method::OPTIONS, "worlds").with("access-control-request-method", "POST").await;
    assert_eq!(preflight.expect(405).header("access-control-allow-methods"), "");
}

#[tokio::test]
async fn head_answers_as_get_does_without_the_body() {
    let server = Server::start().await;
    let owner = server.owner().await;
    server.world(&owner, "mistral").await;

    for path in ["worlds", "worlds/mistral", "worlds/none", "/", "/assets/style.css"] {
        let (get, head) = (server.get(path).await, server.ask(Method::HEAD, path).await);
        assert_eq!(get.status, head.status, "{path}");
        assert!(head.body.is_empty());
        for name in ["etag", "content-type", "content-length", "cache-control", "vary"] {
            assert_eq!(get.header(name), head.header(name), "{path}: {name}");
        }
        assert_eq!(get.header("content-length"), get.body.len().to_string(), "{path}");
        let known = server.ask(Method::HEAD, path).with("if-none-match", get.header("etag")).await;
        assert_eq!(known.status, if path == "worlds/none" { 404 } else { 304 }, "{path}");
    }
}

#[tokio::test]
async fn every_read_has_a_tag_and_is_answered_304_to_who_knows_it() {
    let server = Server::start().await;
    let owner = server.owner().await;
    let world = server.world(&owner, "mistral").await;
    let lobby = server.channel(&owner, &world, "lobby").await;
    let message = server.say(&owner, &lobby, "hi").await;
    let channel = format!("channels/{}", id(&lobby));

    for (path, is_personal) in [
        ("worlds".to_owned(), false),
        ("worlds/mistral".to_owned(), false),
        ("worlds/mistral/members".to_owned(), false),
        ("worlds/mistral/channels".to_owned(), false),
        ("channels?scope=global".to_owned(), false),
        (channel.clone(), false),
        (format!("{channel}/messages"), false),
        (format!("messages/{}", id(&message)), false),
        (format!("users/{}", owner.id), false),
        ("users/me".to_owned(), true),
        ("me/unread".to_owned(), true),
    ] {
        for signed_in in [false, true] {
            let token = signed_in.then(|| format!("Bearer {}", owner.token));
            let ask = || server.get(&path).with_some("authorization", token.as_deref());
            if is_personal && !signed_in {
                assert_eq!(ask().await.expect(401).code(), "unauthenticated", "{path}");
                continue;
            }
            let fresh = ask().await.expect(200);
            let known = ask().with("if-none-match", fresh.header("etag")).await.expect(304);
            for reply in [&fresh, &known] {
                let keep = if signed_in { "private, no-cache" } else { "public, no-cache" };
                assert_eq!(
                    (reply.header("cache-control"), reply.header("vary")),
                    (keep, "authorization, origin"),
                    "{path}"
                );
                assert_eq!(reply.header("etag"), fresh.header("etag"), "{path}");
            }
            assert_eq!(fresh.header("content-type"), "application/json", "{path}");
            assert_eq!((known.body.len(), known.header("content-type")), (0, ""), "{path}");
        }
    }
}

#[tokio::test]
async fn a_caller_that_cannot_read_json_is_refused_before_anything_is_done() {
    let server = Server::start().await;

    let reply = server.post("auth/guest").with("accept", "text/html").json(json!({})).await;

    assert_eq!(reply.expect(406).code(), "not-acceptable");
    server.get("worlds").with("accept", "text/html, */*;q=0.1").await.expect(200);
}

#[tokio::test]
async fn a_body_that_is_no_json_is_refused_by_its_media_type() {
    let server = Server::start().await;

    for media_type in
        ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/json; charset=utf-16"]
    {
        let reply = server.post("auth/guest").text(media_type, "{}").await;
        assert_eq!(reply.expect(415).code(), "unsupported-media-type", "{media_type}");
    }
    let encoded = server.post("auth/guest").with("content-encoding", "gzip").json(json!({})).await;
    assert_eq!(encoded.expect(415).code(), "unsupported-media-type");
    let untyped = server.post("auth/guest").body(Body::from("{}")).await;
    assert_eq!(untyped.expect(415).code(), "unsupported-media-type");
    server.post("auth/guest").text("application/problem+json", "{}").await.expect(201);
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_with_and_without_a_length() {
    let server = Server::start().await;
    let fitting = format!(r#"{{"displayName": "Mira"{}}}"#, " ".repeat(64 * 1024 - 23));
    let large = format!(r#"{{"displayName": "Mira"{}}}"#, " ".repeat(64 * 1024));
    // A mapped body no longer knows its length, like one that arrives in chunks.
    let chunked = |text: &str| Body::new(Full::from(text.to_owned()).map_frame(|frame| frame));

    server.post("auth/guest").text("application/json", fitting.clone()).await.expect(201);
    server.post("auth/guest").text("application/json", chunked(&fitting)).await.expect(201);
    for body in [Body::from(large.clone()), chunked(&large)] {
        let reply = server.post("auth/guest").text("application/json", body).await;
        assert_eq!(reply.expect(413).code(), "payload-too-large");
    }
    let announced = server.post("auth/guest").with("content-length", "65537").json(json!({})).await;
    assert_eq!(announced.expect(413).code(), "payload-too-large");
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let server = Server::start().await;

    let reply = server.get("worlds").with("x-padding", &"x".repeat(17 * 1024)).await;

    assert_eq!(reply.expect(431).code(), "headers-too-large");
}

#[tokio::test]
async fn a_head_may_be_just_as_large_as_is_said() {
    let server = Server::start().await;
    // The path, and each field as it is written: name, value, and four characters between and behind them.
    let room = 16 * 1024 - "/api/v1/worlds".len() - "x-padding".len() - 4;

    server.get("worlds").with("x-padding", &"x".repeat(room)).await.expect(200);
    let reply = server.get("worlds").with("x-padding", &"x".repeat(room + 1)).await;

    assert_eq!(reply.expect(431).code(), "headers-too-large");
    let narrow =
        Server::with(HttpConfig { max_body_bytes: r#"{"displayName":"Mira"}"#.len(), ..HttpConfig::default() }).await;
    let body = |name: &str| json!({ "displayName": name });
    narrow.post("auth/guest").json(body("Mira")).await.expect(201);
    assert_eq!(narrow.post("auth/guest").json(body("Mira!")).await.expect(413).code(), "payload-too-large");
}

#[tokio::test]
async fn a_panic_is_told_without_its_words() {
    let server = with_neighbours(HttpConfig::default()).await;

    let reply = server.get("/panic").await.expect(500);

    insta::assert_json_snapshot!(reply.problem(), @r#"
    {
      "code": "internal",
      "detail": "The server failed; the correlation id names the failure in its log.",
      "status": 500,
      "title": "An internal error occurred",
      "type": "urn:weltenwind:problem:internal"
    }
    "#);
    server.get("/panic?fine").await.expect(200);
}

#[tokio::test]
async fn a_request_that_takes_too_long_is_told_so() {
    let server = with_neighbours(HttpConfig::default()).await;
    tokio::time::pause();

    let reply = server.get("/stuck").await.expect(503);

    assert_eq!(reply.code(), "timed-out");
}

/// What is asked, and the status and code that it is refused with.
type Refused<'s> = (&'static str, fixture::Ask<'s>, u16, &'static str);

#[tokio::test]
async fn whatever_is_no_success_is_a_problem() {
    let server = with_neighbours(HttpConfig::default()).await;
    let owner = server.owner().await;
    let guest = server.guest("Mira").await;
    let world = server.world(&owner, "mistral").await;
    let lobby = server.channel(&owner, &world, "lobby").await;
    let messages = format!("channels/{}/messages", id(&lobby));
    let (large, long) = (format!("\"{}\"", "x".repeat(64 * 1024)), "x".repeat(17 * 1024));
    let again = json!({ "name": "Mistral", "slug": "mistral" });
    let spent = server.services.accounts.issue_bootstrap(&weltenwind_core::Actor::operator()).await.expect("a token");
    let claim = json!({ "token": spent.token.expose(), "username": "keeper", "password": "correct horse battery" });
    server.post("auth/bootstrap").json(claim.clone()).await.expect(201);
    let slow = json!({ "scope": "global", "slug": "slow", "name": "Slow", "slowmodeSeconds": 60 });
    let slow = server.post("channels").by(&owner).json(slow).await.expect(201).json();
    let slow = format!("channels/{}/messages", id(&slow));
    server.grant(&guest, weltenwind_core::access::Role::Service, weltenwind_core::Scope::Global).await;
    server.post(&slow).by(&guest).json(json!({ "body": "one" })).await.expect(201);

    let refused: Vec<Refused<'_>> = vec![
        ("no JSON", server.post("auth/guest").text("application/json", "{"), 400, "malformed-request"),
        ("an unknown parameter", server.get("worlds?page=2"), 400, "malformed-request"),
        ("a foreign cursor", server.get("worlds?cursor=x"), 400, "cursor-invalid"),
        ("nobody", server.post("worlds").json(json!({ "name": "Bora" })), 401, "unauthenticated"),
        ("a bad token", server.get("worlds").bearing("x"), 401, "token-invalid"),
        ("a missing right", server.post("worlds").by(&guest).json(json!({ "name": "Bora" })), 403, "permission-denied"),
        ("a path", server.get("/nowhere"), 404, "not-found"),
        ("a page", server.get("/problems/nothing"), 404, "not-found"),
        ("a thing", server.get("worlds/none"), 404, "world-not-found"),
        ("a method", server.ask(Method::PUT, "worlds"), 405, "method-not-allowed"),
        ("a method of a page", server.ask(Method::POST, "/docs"), 405, "method-not-allowed"),
        ("another media type is wanted", server.get("worlds").with("accept", "text/html"), 406, "not-acceptable"),
        ("a taken slug", server.post("worlds").by(&owner).json(again), 409, "slug-taken"),
        ("a spent token", server.post("auth/bootstrap").json(claim), 410, "bootstrap-token-spent"),
        (
            "a stale state",
            server.delete("worlds/mistral").by(&owner).with("if-match", "\"9\""),
            412,
            "precondition-failed",
        ),
        ("a large body", server.post("auth/guest").text("application/json", large), 413, "payload-too-large"),
        (
            "another media type is sent",
            server.post("auth/guest").text("text/plain", "{}"),
            415,
            "unsupported-media-type",
        ),
        ("a broken rule", server.post(&messages).by(&owner).json(json!({ "body": "" })), 422, "validation-failed"),
        ("no upgrade", server.get("/realtime/v1"), 426, "upgrade-required"),
        ("no state", server.delete("worlds/mistral").by(&owner), 428, "precondition-required"),
        ("too soon", server.post(&slow).by(&guest).json(json!({ "body": "two" })), 429, "slow-mode"),
        ("a large head", server.get("worlds").with("x-padding", &long), 431, "headers-too-large"),
        ("a panic", server.get("/panic"), 500, "internal"),
        ("no end", server.get("/stuck"), 503, "timed-out"),
    ];
    for (what, ask, status, code) in refused {
        // Only what never ends needs the time to run ahead; a store would miss its own time.
        if status == 503 {
            tokio::time::pause();
        }
        let reply = ask.await.expect(status);

        assert_eq!(reply.code(), code, "{what}");
        assert_eq!(reply.header("allow").is_empty(), status != 405, "{what}");
        assert_eq!(reply.header("retry-after").is_empty(), status != 429, "{what}");
        assert_eq!(reply.header("x-content-type-options"), "nosniff", "{what}");
    }
}

#[tokio::test]
async fn a_mounted_service_that_says_nothing_gets_a_problem_too() {
    let server = with_neighbours(HttpConfig::default()).await;

    assert_eq!(server.get("/realtime/v1").await.expect(426).code(), "upgrade-required");
}

#[tokio::test]
async fn requests_are_counted_by_route_and_never_by_path() {
    let server = with_neighbours(HttpConfig::default()).await;
    server.get("worlds/mistral?q=1").await;
    server.get("worlds/bora").await;
    server.get("/some/secret/path").await;
    server.get("/panic").await;
    server.ask(Method::from_bytes(b"BREW").unwrap(), "worlds").await;

    let text = prometheus::TextEncoder::new().encode_to_string(&server.registry.gather()).unwrap();

    for line in [
        r#"weltenwind_http_requests_total{method="GET",route="/api/v1/worlds/{world}",status="400"} 1"#,
        r#"weltenwind_http_requests_total{method="GET",route="/api/v1/worlds/{world}",status="404"} 1"#,
        r#"weltenwind_http_requests_total{method="GET",route="unmatched",status="404"} 1"#,
        r#"weltenwind_http_requests_total{method="GET",route="/panic",status="500"} 1"#,
        r#"weltenwind_http_requests_total{method="other",route="/api/v1/worlds",status="405"} 1"#,
        r#"weltenwind_http_request_seconds_count{method="GET",route="/api/v1/worlds/{world}"} 2"#,
        "weltenwind_http_in_flight 0",
    ] {
        assert!(text.contains(line), "{line} is missing in\n{text}");
    }
    assert!(!text.contains("mistral") && !text.contains("secret"));
}

#[tokio::test]
async fn another_program_takes_the_community_behind_its_own_routes() {
    let server = Server::start().await;
    let host = HttpHost::new(server.services.clone(), HttpConfig::default(), &prometheus::Registry::new());
    let game: Router = Router::new().route("/score", get(|| async { "42" })).fallback_service(host.into_router());
    let ask = |path: &str| game.clone().oneshot(Request::builder().uri(path).body(Body::empty()).unwrap());

    assert_eq!(ask("/score").await.unwrap().status(), 200);
    assert_eq!(ask("/api/v1/worlds").await.unwrap().status(), 200);
    let missing = ask("/nowhere").await.unwrap();
    assert_eq!(
        (missing.status().as_u16(), &missing.headers()["content-type"]),
        (404, &"application/problem+json".parse().unwrap())
    );
}
