//! What the real server refuses over TCP, the socket's handshake included, is a problem in every case.

mod fixture;

use fixture::Store;
use reqwest::{Method, header::HeaderMap};
use serde_json::{Value, json};
use sqlx::{Connection as _, SqliteConnection};

/// A request: method, path, headers, and the status and code that it is refused with.
type Case<'c> = (Method, &'c str, &'c [(&'static str, &'c str)], u16, &'c str);

const UPGRADE: [(&str, &str); 5] = [
    ("connection", "upgrade"),
    ("upgrade", "websocket"),
    ("sec-websocket-version", "13"),
    ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ("sec-websocket-protocol", "weltenwind.v1"),
];

/// The headers of a handshake, with others instead of some; an empty value takes one away.
fn handshake<'c>(replace: &[(&'static str, &'c str)]) -> Vec<(&'static str, &'c str)> {
    let mut headers: Vec<(&str, &str)> =
        UPGRADE.into_iter().filter(|(name, _)| replace.iter().all(|(other, _)| other != name)).collect();
    headers.extend(replace.iter().filter(|(_, value)| !value.is_empty()));
    headers
}

#[tokio::test]
async fn every_refusal_over_the_wire_is_a_problem() {
    let store = Store::sqlite();
    let server = store.serve(&["--set", "realtime.max_connections_per_address=1"]);
    let guest = server.guest("Mira").await;
    let held = server.socket(&guest).await;
    let bearer = format!("Bearer {}", guest.token);
    let padding = "x".repeat(17 * 1024);
    let socket = |replace| handshake(replace);
    let (plain, no_key) = (handshake(&[("upgrade", "")]), socket(&[("sec-websocket-key", "")]));
    let no_protocol = socket(&[("sec-websocket-protocol", "other")]);
    let foreign = [("origin", "https://elsewhere.test")];
    let foreign = socket(&foreign);
    let too_many = [("authorization", bearer.as_str())];
    let too_many = socket(&too_many);
    let cases: &[Case<'_>] = &[
        (Method::GET, "/nowhere", &[], 404, "not-found"),
        (Method::GET, "/api/v1/worlds/none", &[], 404, "world-not-found"),
        (Method::DELETE, "/api/v1/worlds", &[], 405, "method-not-allowed"),
        (Method::TRACE, "/docs", &[], 405, "method-not-allowed"),
        (Method::GET, "/api/v1/worlds", &[("accept", "text/html")], 406, "not-acceptable"),
        (Method::POST, "/api/v1/auth/guest", &[("content-type", "text/plain")], 400, "malformed-request"),
        (Method::GET, "/api/v1/worlds", &[("x-padding", padding.as_str())], 431, "headers-too-large"),
        (Method::GET, "/api/v1/me", &[], 401, "unauthenticated"),
        (Method::POST, "/realtime/v1", &[], 405, "method-not-allowed"),
        (Method::GET, "/realtime/v1", &[], 426, "upgrade-required"),
        (Method::GET, "/realtime/v1", &plain, 426, "upgrade-required"),
        (Method::GET, "/realtime/v1", &no_key, 400, "malformed-request"),
        (Method::GET, "/realtime/v1", &no_protocol, 400, "malformed-request"),
        (Method::GET, "/realtime/v1", &foreign, 403, "origin-not-allowed"),
        (Method::GET, "/realtime/v1", &too_many, 429, "too-many-connections"),
    ];

    for (method, path, headers, status, code) in cases {
        let mut request = reqwest::Client::new().request(method.clone(), format!("{}{path}", server.url));
        for (name, value) in *headers {
            request = request.header(*name, *value);
        }
        is_problem(request.send().await.expect("an answer"), *status, code).await;
    }
    drop(held);
}

#[tokio::test]
async fn who_does_not_sign_in_gets_no_socket_and_a_problem() {
    let store = Store::sqlite();
    let server = store.serve(&[]);

    for (headers, code) in [
        (handshake(&[]), "unauthenticated"),
        (handshake(&[("authorization", "Bearer x")]), "token-invalid"),
        (
            handshake(&[("sec-websocket-protocol", "weltenwind.v1, ticket.x"), ("origin", &server.url)]),
            "ticket-invalid",
        ),
    ] {
        let mut request = reqwest::Client::new().get(format!("{}/realtime/v1", server.url));
        for (name, value) in headers {
            request = request.header(name, value);
        }
        is_problem(request.send().await.expect("an answer"), 401, code).await;
    }
}

async fn is_problem(response: reqwest::Response, status: u16, code: &str) {
    let (found, headers): (u16, HeaderMap) = (response.status().as_u16(), response.headers().clone());
    let header = |name: &str| headers.get(name).map_or("", |value| value.to_str().expect("a text")).to_owned();
    let problem: Value = response.json().await.expect("a body");
    assert_eq!((found, problem["code"].as_str()), (status, Some(code)), "{problem}");
    assert_eq!(header("content-type"), "application/problem+json", "{problem}");
    assert_eq!(problem["type"], format!("urn:weltenwind:problem:{code}"));
    assert_eq!(problem["status"], status, "{problem}");
    assert_eq!(problem["correlationId"], header("x-request-id"), "{problem}");
    assert_eq!(header("allow").is_empty(), status != 405, "{problem}");
    assert_eq!(header("retry-after").is_empty(), status != 429, "{problem}");
    assert_eq!(header("www-authenticate").is_empty(), status != 401, "{problem}");
    assert_eq!(header("upgrade").is_empty(), status != 426, "{problem}");
}

#[tokio::test]
async fn refused_attempts_stand_in_the_audit_log_and_a_flood_is_a_few_rows() {
    const FLOOD: i64 = 400;
    let store = Store::sqlite();
    let server = store.serve(&[]);
    let guest = server.guest("Mira").await;
    let wish = json!({ "userId": guest.id, "role": "owner", "scope": "global" });
    let mut database = SqliteConnection::connect(store.url()).await.expect("the store");
    let rows =
        "SELECT count(*) FROM audit_log WHERE action = 'permission.refused' AND actor = (SELECT id FROM accounts)";

    assert_eq!(server.post("/api/v1/access/grants", Some(&guest.token), &wish).await.0, 403);
    let deadline = std::time::Instant::now() + fixture::PATIENCE;
    while sqlx::query_scalar::<_, i64>(rows).fetch_one(&mut database).await.expect("the audit log") == 0 {
        assert!(std::time::Instant::now() < deadline, "it is written down");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    for _ in 1..FLOOD {
        assert_eq!(server.post("/api/v1/access/grants", Some(&guest.token), &wish).await.0, 403);
    }
    let (code, log) = server.stop();
    assert_eq!(code, Some(0), "{log}");

    let written: i64 = sqlx::query_scalar(rows).fetch_one(&mut database).await.expect("the audit log");
    // The flood may have seen one minute turn into the next.
    assert!((2..=4).contains(&written), "{written}");
    let counted = "SELECT sum(json_extract(details, '$.count')) FROM audit_log WHERE action = 'permission.refused'";
    assert_eq!(sqlx::query_scalar::<_, i64>(counted).fetch_one(&mut database).await.expect("the audit log"), FLOOD);
}
