//! Who gets a socket and who does not.

#![allow(clippy::unwrap_used, reason = "clippy knows tests, and not the functions that they share")]

mod support;

use axum::body::Body;
use serde_json::Value;
use support::{Node, ORIGIN};
use tower::ServiceExt as _;
use weltenwind_core::{Actor, access::Permission, accounts::SessionGrant};
use weltenwind_ws::RealtimeConfig;

/// A handshake that passes, with `replace` instead of its headers of the same names; an empty value takes one away.
fn request(token: Option<&str>, replace: &[(&str, &str)]) -> String {
    let bearer = token.map(|token| format!("Bearer {token}")).unwrap_or_default();
    let mut headers = vec![
        ("Host", "wind.test"),
        ("Connection", "keep-alive, Upgrade"),
        ("Upgrade", "WebSocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("Sec-WebSocket-Protocol", "weltenwind.v1"),
        ("Authorization", &bearer),
    ];
    headers.retain(|(name, value)| !value.is_empty() && replace.iter().all(|(replaced, _)| replaced != name));
    headers.extend(replace.iter().filter(|(name, value)| !value.is_empty() && !name.starts_with(':')));
    let of =
        |name, default| replace.iter().find(|(replaced, _)| *replaced == name).map_or(default, |(_, value)| *value);
    let mut text =
        format!("{} {} {}\r\n", of(":method", "GET"), of(":path", "/realtime/v1"), of(":version", "HTTP/1.1"));
    for (name, value) in headers {
        text.extend([name, ": ", value, "\r\n"]);
    }
    text + "\r\n"
}

fn has_header(head: &str, line: &str) -> bool {
    head.lines().any(|header| header.eq_ignore_ascii_case(line))
}

#[tokio::test]
async fn a_handshake_is_answered_with_the_proof_and_the_one_subprotocol() {
    let node = Node::start().await;
    let mira = node.guest("Mira").await;
    let offer = [("Sec-WebSocket-Protocol", "other.v9, weltenwind.v1")];

    let (head, _) = node.handshake(&request(Some(mira.access_token.expose()), &offer)).await;

    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    // The example of RFC 6455, section 1.3.
    assert!(has_header(&head, "sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
    assert!(has_header(&head, "sec-websocket-protocol: weltenwind.v1"), "{head}");
}

/// Headers of a handshake, and the status and code that they are refused with.
type Case<'c> = (&'c [(&'c str, &'c str)], u16, &'c str);

#[tokio::test]
async fn what_is_no_handshake_is_refused_with_a_problem() {
    let node = Node::start().await;
    let mira = node.guest("Mira").await;
    let token = mira.access_token.expose().as_str();
    let other_session = format!("Bearer {token}x");
    let cases: &[Case<'_>] = &[
        (&[(":method", "POST")], 405, "method-not-allowed"),
        (&[("Upgrade", "")], 426, "upgrade-required"),
        (&[("Upgrade", "h2c")], 426, "upgrade-required"),
        (&[("Connection", "keep-alive")], 426, "upgrade-required"),
        (&[("Sec-WebSocket-Version", "8")], 426, "upgrade-required"),
        (&[("Sec-WebSocket-Version", "")], 426, "upgrade-required"),
        (&[("Sec-WebSocket-Key", "")], 400, "malformed-request"),
        (&[("Sec-WebSocket-Key", "short")], 400, "malformed-request"),
        (&[("Sec-WebSocket-Protocol", "")], 400, "malformed-request"),
        (&[("Sec-WebSocket-Protocol", "weltenwind.v2")], 400, "malformed-request"),
        (&[("Origin", "https://elsewhere.test")], 403, "origin-not-allowed"),
        (&[("Origin", "null")], 403, "origin-not-allowed"),
        (&[("Origin", "https://wind.test.elsewhere.test")], 403, "origin-not-allowed"),
        (&[("Authorization", "")], 401, "unauthenticated"),
        (&[("Authorization", ""), ("Origin", ORIGIN)], 401, "unauthenticated"),
        (&[("Authorization", "Basic bWlyYTpwYXNz")], 401, "unauthenticated"),
        (&[("Authorization", "Bearer x")], 401, "token-invalid"),
        (&[("Authorization", "Bearer wwk_x")], 401, "api-key-invalid"),
        (&[("Authorization", &other_session)], 401, "token-invalid"),
    ];

    for (replace, status, code) in cases {
        let (head, problem) = node.handshake(&request(Some(token), replace)).await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{replace:?}: {head}");
        assert!(has_header(&head, "content-type: application/problem+json"), "{head}");
        assert_eq!(problem["code"], *code, "{replace:?}");
        assert_eq!(problem["status"], *status);
        assert_eq!(problem["correlationId"], "handshake-1");
    }

    assert_eq!(node.metric("weltenwind_ws_refused_total"), cases.len() as u64);
    assert_eq!(node.realtime.connections(), 0);
}

#[tokio::test]
async fn a_refusal_says_what_to_do_instead() {
    let node = Node::start().await;

    let (upgrade, _) = node.handshake(&request(None, &[("Upgrade", "")])).await;
    let (method, _) = node.handshake(&request(None, &[(":method", "PUT")])).await;
    let (sign_in, _) = node.handshake(&request(None, &[])).await;

    assert!(has_header(&upgrade, "upgrade: websocket") && has_header(&upgrade, "sec-websocket-version: 13"));
    assert!(has_header(&method, "allow: GET"));
    assert!(has_header(&sign_in, "www-authenticate: Bearer"));
}

#[tokio::test]
async fn a_token_in_the_url_opens_nothing() {
    let node = Node::start().await;
    let mira = node.guest("Mira").await;
    let path = format!("/realtime/v1?access_token={0}&token={0}", mira.access_token.expose());

    let (_, problem) = node.handshake(&request(None, &[(":path", &path)])).await;

    assert_eq!(problem["code"], "unauthenticated");
}

#[tokio::test]
async fn an_expired_token_and_an_ended_session_open_nothing() {
    let node = Node::start().await;
    let (mira, lu) = (node.guest("Mira").await, node.guest("Lu").await);
    let lu_actor = node.actor(&lu).await;

    node.town.services.accounts.sign_out(&lu_actor).await.unwrap();
    let (_, ended) = node.handshake(&request(Some(lu.access_token.expose()), &[])).await;
    node.town.clock.advance(mira.expires_in * 2);
    let (_, expired) = node.handshake(&request(Some(mira.access_token.expose()), &[])).await;

    assert_eq!(ended["code"], "session-ended");
    assert_eq!(expired["code"], "token-expired");
}

#[tokio::test]
async fn a_device_that_was_signed_out_and_a_deleted_key_open_nothing() {
    let node = Node::start().await;
    let lu = node.guest("Lu").await;
    let lu_actor = node.actor(&lu).await;
    let (made, _arena) = node.key(&[Permission::ChatPost]).await;
    let services = &node.town.services;

    services.accounts.end_device(&lu_actor, lu_actor.device.unwrap()).await.unwrap();
    let (_, signed_out) = node.handshake(&request(Some(lu.access_token.expose()), &[])).await;
    services.api_keys.delete(&Actor::operator(), made.key.id).await.unwrap();
    let (_, deleted) = node.handshake(&request(Some(made.secret.expose()), &[])).await;

    assert_eq!(signed_out["code"], "device-revoked");
    assert_eq!(deleted["code"], "api-key-invalid");
}

async fn with_ticket(node: &Node, ticket: &str, origin: Option<&str>) -> (String, Value) {
    let offer = format!("weltenwind.v1, ticket.{ticket}");
    let mut headers = vec![("Sec-WebSocket-Protocol", offer.as_str())];
    headers.extend(origin.map(|origin| ("Origin", origin)));
    node.handshake(&request(None, &headers)).await
}

async fn ticket(node: &Node, grant: &SessionGrant) -> String {
    let actor = node.actor(grant).await;
    node.town.services.accounts.issue_ticket(&actor, ORIGIN).await.unwrap().0.expose().clone()
}

#[tokio::test]
async fn a_ticket_opens_one_socket_for_a_page_of_its_origin() {
    let node = Node::start().await;
    let mira = node.guest("Mira").await;
    let ticket = ticket(&node, &mira).await;

    let (head, _) = with_ticket(&node, &ticket, Some(ORIGIN)).await;
    let (_, again) = with_ticket(&node, &ticket, Some(ORIGIN)).await;

    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert!(has_header(&head, "sec-websocket-protocol: weltenwind.v1"), "the ticket is not echoed: {head}");
    assert_eq!(again["code"], "ticket-invalid");
}

#[tokio::test]
async fn a_ticket_needs_an_origin_and_a_foreign_one_does_not_spend_it() {
    let node = Node::start().await;
    let mira = node.guest("Mira").await;
    let ticket = ticket(&node, &mira).await;

    let (_, without) = with_ticket(&node, &ticket, None).await;
    let (_, foreign) = with_ticket(&node, &ticket, Some("https://elsewhere.test")).await;
    let (head, _) = with_ticket(&node, &ticket, Some(ORIGIN)).await;

    assert_eq!((&without["code"], &foreign["code"]), (&"origin-not-allowed".into(), &"origin-not-allowed".into()));
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
}

#[tokio::test]
async fn a_ticket_of_half_a_minute_ago_opens_nothing() {
    let node = Node::start().await;
    let mira = node.guest("Mira").await;
    let ticket = ticket(&node, &mira).await;
    node.town.clock.advance(std::time::Duration::from_secs(30));

    let (_, late) = with_ticket(&node, &ticket, Some(ORIGIN)).await;

    assert_eq!(late["code"], "ticket-invalid");
}

#[tokio::test]
async fn too_many_sockets_of_one_network_are_refused_until_one_closes() {
    let node = Node::with(RealtimeConfig { max_connections_per_address: 1, ..RealtimeConfig::default() }).await;
    let mira = node.guest("Mira").await;
    let token = mira.access_token.expose();
    let first = node.connect_over(node.pipe(Some("2001:db8::1".parse().unwrap()), 4096), &mira).await;

    let neighbour = Some("2001:db8::2".parse().unwrap());
    let (head, problem) = node.handshake_from(neighbour, &request(Some(token), &[])).await;
    let (elsewhere, _) = node.handshake_from(Some("192.0.2.1".parse().unwrap()), &request(Some(token), &[])).await;
    drop(first);
    node.all_gone().await;
    let (again, _) = node.handshake_from(neighbour, &request(Some(token), &[])).await;

    assert!(head.starts_with("HTTP/1.1 429 ") && has_header(&head, "retry-after: 10"), "{head}");
    assert_eq!(problem["code"], "too-many-connections");
    assert!(elsewhere.starts_with("HTTP/1.1 101 ") && again.starts_with("HTTP/1.1 101 "), "{again}");
}

#[tokio::test]
async fn too_many_sockets_in_all_are_refused_and_spend_no_ticket() {
    let node = Node::with(RealtimeConfig { max_connections: 1, ..RealtimeConfig::default() }).await;
    let mira = node.guest("Mira").await;
    let ticket = ticket(&node, &mira).await;
    let first = node.connect(&mira).await;

    let (_, refused) = with_ticket(&node, &ticket, Some(ORIGIN)).await;
    drop(first);
    node.all_gone().await;
    let (head, _) = with_ticket(&node, &ticket, Some(ORIGIN)).await;

    assert_eq!(refused["code"], "too-many-connections");
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
}

#[tokio::test]
async fn a_store_that_is_away_is_no_verdict() {
    let node = Node::start().await;
    let (mira, lu) = (node.guest("Mira").await, node.guest("Lu").await);
    // What the node remembers of the sessions that it has opened is believed no longer.
    node.town.clock.advance(std::time::Duration::from_secs(5));
    let (in_time, _) = node.handshake(&request(Some(lu.access_token.expose()), &[])).await;
    node.town.accounts.away.store(true, std::sync::atomic::Ordering::SeqCst);

    let (head, problem) = node.handshake(&request(Some(mira.access_token.expose()), &[])).await;

    assert!(in_time.starts_with("HTTP/1.1 101 "), "{in_time}");
    assert!(head.starts_with("HTTP/1.1 503 ") && has_header(&head, "retry-after: 1"), "{head}");
    assert_eq!(problem["code"], "unavailable");
}

#[tokio::test]
async fn the_host_is_mounted_as_a_route_of_axum() {
    let node = Node::start().await;
    let app = axum::Router::new().route_service("/realtime/v1", node.realtime.clone());

    let request = axum::http::Request::get("/realtime/v1").body(Body::empty()).unwrap();
    let response = app.oneshot(request).await.unwrap();

    assert_eq!(response.status(), 426);
}
