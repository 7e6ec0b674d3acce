//! What is counted, and that nobody outside decides how much of it there is.

mod fixture;

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
};

use axum::body::Body;
use http::{Method, Request, Response, StatusCode};
use prometheus::proto::MetricType;
use serde_json::json;
use tower::service_fn;
use weltenwind_http::HttpConfig;

use self::fixture::Server;

/// A server with a mounted service that answers any status it is asked for.
async fn with_any_status() -> Server {
    let any = service_fn(|request: Request<Body>| async move {
        let status = request.uri().query().and_then(|status| status.parse().ok()).unwrap_or(200);
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::from_u16(status).expect("a status");
        Ok::<_, Infallible>(response)
    });
    Server::built(HttpConfig::default(), |host| host.mount("/any", any)).await
}

/// Every value of every label.
fn labels(server: &Server) -> BTreeMap<String, BTreeSet<String>> {
    let mut seen: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for family in server.registry.gather() {
        for metric in family.get_metric() {
            for label in metric.get_label() {
                seen.entry(label.name().to_owned()).or_default().insert(label.value().to_owned());
            }
        }
    }
    seen
}

fn series(server: &Server) -> usize {
    server.registry.gather().iter().map(|family| family.get_metric().len()).sum()
}

/// How many bodies were measured on a route, and their bytes together.
fn measured(server: &Server, name: &str, method: &str, route: &str) -> (u64, f64) {
    let families = server.registry.gather();
    let family = families.iter().find(|family| family.name() == name).expect("the metric");
    assert_eq!(family.get_field_type(), MetricType::HISTOGRAM);
    let wanted = family.get_metric().iter().find(|metric| {
        let is = |name, value| metric.get_label().iter().any(|label| label.name() == name && label.value() == value);
        is("method", method) && is("route", route)
    });
    wanted
        .map_or((0, 0.0), |metric| (metric.get_histogram().get_sample_count(), metric.get_histogram().get_sample_sum()))
}

async fn hostile(server: &Server, round: usize) {
    for n in 0..8 {
        let name = format!("evil-{round}-{n}");
        server.get(format!("/{name}")).await;
        server.get(format!("worlds/{name}")).await;
        server.get(format!("worlds/{name}/members?{name}=1")).await;
        server.get(format!("/w/{name}")).await;
        server.get(format!("/assets/{name}")).await;
        server.get(format!("/api/v1/{name}/{name}")).with("user-agent", &name).await;
        server.ask(Method::from_bytes(name.to_uppercase().as_bytes()).expect("a method"), "worlds").await;
        server.get(format!("/any?{}", 700 + 10 * round + n)).await;
        server
            .post("auth/guest")
            .with("content-type", &name)
            .with("origin", &name)
            .body(Body::from(name.clone()))
            .await;
        server.get("me").bearing(&name).await;
    }
}

#[tokio::test]
async fn no_caller_makes_a_label() {
    let server = with_any_status().await;
    hostile(&server, 0).await;
    let before = series(&server);

    for round in 1..4 {
        hostile(&server, round).await;
    }

    assert_eq!(series(&server), before, "each round has names of its own, and makes no series of its own");
    let labels = labels(&server);
    let methods: BTreeSet<&str> = labels["method"].iter().map(String::as_str).collect();
    assert!(methods.is_subset(&BTreeSet::from(["GET", "POST", "other"])), "{methods:?}");
    assert!(labels["status"].contains("other") && labels["status"].len() < 12, "{labels:?}");
    for (name, values) in &labels {
        assert!(["method", "route", "status"].contains(&name.as_str()), "{name}");
        assert!(!values.iter().any(|value| value.to_lowercase().contains("evil")), "{values:?}");
    }
}

#[tokio::test]
async fn bodies_are_measured_as_they_pass() {
    let server = Server::start().await;
    let body = json!({ "displayName": "Mira" }).to_string();
    let reply = server.post("auth/guest").text("application/json", body.clone()).await.expect(201);
    let refused = server.post("auth/guest").text("text/plain", body.clone()).await.expect(415);
    let head = server.ask(Method::HEAD, "worlds").await.expect(200);

    let size = |bytes: usize| f64::from(u32::try_from(bytes).expect("a few"));
    let (route, both) = ("/api/v1/auth/guest", size(reply.body.len()) + size(refused.body.len()));
    assert_eq!(measured(&server, "weltenwind_http_request_bytes", "POST", route), (2, 2.0 * size(body.len())));
    assert_eq!(measured(&server, "weltenwind_http_response_bytes", "POST", route), (2, both));
    assert_eq!(measured(&server, "weltenwind_http_response_bytes", "HEAD", "/api/v1/worlds"), (1, 0.0));
    assert!(head.body.is_empty());
    // What is refused by its announced length is not read.
    server.post("auth/guest").with("content-length", "65537").json(json!({})).await.expect(413);
    assert_eq!(measured(&server, "weltenwind_http_request_bytes", "POST", route), (3, 2.0 * size(body.len())));
}

#[tokio::test]
async fn how_many_reads_are_answered_304_can_be_told() {
    let server = Server::start().await;
    let tag = server.get("worlds").await.expect(200).header("etag").to_owned();
    for _ in 0..3 {
        server.get("worlds").with("if-none-match", &tag).await.expect(304);
    }

    let text = prometheus::TextEncoder::new().encode_to_string(&server.registry.gather()).expect("a text");

    for (status, count) in [(200, 1), (304, 3)] {
        let line = format!(
            "weltenwind_http_requests_total{{method=\"GET\",route=\"/api/v1/worlds\",status=\"{status}\"}} {count}"
        );
        assert!(text.contains(&line), "{line} is missing in\n{text}");
    }
    assert_eq!(measured(&server, "weltenwind_http_response_bytes", "GET", "/api/v1/worlds").0, 4);
    assert_eq!(measured(&server, "weltenwind_http_request_bytes", "GET", "/api/v1/worlds"), (4, 0.0));
}
