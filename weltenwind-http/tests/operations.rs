//! What operators ask.

mod fixture;

use std::sync::Arc;

use async_trait::async_trait;
use axum::{Router, body::Body};
use http::Request;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;
use weltenwind_core::{StorageError, StoreHealth};
use weltenwind_http::{Readiness, operations};

use self::fixture::Server;

async fn ask(router: &Router, path: &str) -> (u16, String, String) {
    let request = Request::builder().uri(path).body(Body::empty()).expect("a request");
    let response = router.clone().oneshot(request).await.expect("an answer");
    let media_type = response.headers()["content-type"].to_str().expect("a text").to_owned();
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.expect("a body").to_bytes();
    (status, media_type, String::from_utf8(body.to_vec()).expect("a text"))
}

#[derive(Debug)]
enum Store {
    Broken,
    Stuck,
}

#[async_trait]
impl StoreHealth for Store {
    async fn check(&self) -> Result<(), StorageError> {
        match self {
            Self::Broken => Err(StorageError::permanent("read the schema", "secret: /var/lib/world.db")),
            Self::Stuck => std::future::pending().await,
        }
    }

    async fn close(&self) {}
}

fn operated(server: &Server, store: Option<Store>, readiness: &Readiness) -> Router {
    let mut services = server.services.clone();
    if let Some(store) = store {
        services.health = Arc::new(store);
    }
    operations(services, server.registry.clone(), readiness.clone())
}

#[tokio::test]
async fn a_healthy_process_is_alive_and_ready() {
    let server = Server::start().await;
    let router = operated(&server, None, &Readiness::default());

    assert_eq!(ask(&router, "/livez").await.0, 200);
    let (status, media_type, body) = ask(&router, "/readyz").await;

    assert_eq!((status, media_type.as_str()), (200, "application/json"));
    let checks = ["store", "losses", "jobs", "draining", "bus"].map(|name| json!({ "name": name, "status": "ok" }));
    assert_eq!(serde_json::from_str::<Value>(&body).unwrap(), json!({ "status": "ready", "checks": checks }));
}

#[tokio::test]
async fn a_process_that_is_about_to_stop_is_alive_and_not_ready() {
    let (server, readiness) = (Server::start().await, Readiness::default());
    let router = operated(&server, None, &readiness);

    readiness.drain();

    assert_eq!(ask(&router, "/livez").await.0, 200);
    let (status, media_type, body) = ask(&router, "/readyz").await;
    assert_eq!((status, media_type.as_str()), (503, "application/problem+json"));
    let problem: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((&problem["code"], &problem["errors"][0]["pointer"]), (&json!("unavailable"), &json!("draining")));
}

#[tokio::test]
async fn a_process_without_its_store_is_not_ready_and_says_no_more() {
    let server = Server::start().await;
    for (store, detail) in
        [(Store::Broken, "the store cannot be used"), (Store::Stuck, "the store took longer than two seconds")]
    {
        let router = operated(&server, Some(store), &Readiness::default());
        tokio::time::pause();

        let (status, _, body) = ask(&router, "/readyz").await;

        tokio::time::resume();
        assert_eq!(status, 503);
        let problem: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(problem["errors"], json!([{ "pointer": "store", "code": "unavailable", "detail": detail }]));
        assert!(!body.contains("secret"));
    }
}

#[tokio::test]
async fn metrics_are_told_in_prometheus_text() {
    let server = Server::start().await;
    server.get("worlds").await.expect(200);
    let router = operated(&server, None, &Readiness::default());

    let (status, media_type, body) = ask(&router, "/metrics").await;

    assert_eq!((status, media_type.as_str()), (200, "text/plain; version=0.0.4"));
    assert!(body.contains("# TYPE weltenwind_http_requests_total counter"));
    assert!(body.contains(r#"route="/api/v1/worlds",status="200"} 1"#), "{body}");
}

#[tokio::test]
async fn nothing_else_stands_on_the_operators_listener() {
    let server = Server::start().await;
    let router = operated(&server, None, &Readiness::default());

    for path in ["/", "/api/v1/worlds", "/worlds"] {
        let (status, media_type, _) = ask(&router, path).await;
        assert_eq!((status, media_type.as_str()), (404, "application/problem+json"), "{path}");
    }
}
