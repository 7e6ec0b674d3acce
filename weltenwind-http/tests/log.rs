//! What is logged of requests. Apart from other tests: which places log at all is remembered for the whole process.

mod fixture;

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
};

use axum::body::Body;
use http::{Request, Response};
use serde_json::{Value, json};
use tower::service_fn;
use weltenwind_http::HttpConfig;

use self::fixture::Server;

/// What is written to the log.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("nobody panicked").write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_request_is_one_line_in_the_log_without_what_is_nobody_s_business() {
    let panic = service_fn(|_: Request<Body>| async {
        assert!(std::env::args().next().is_none(), "the ship is sinking");
        Ok::<_, Infallible>(Response::new(Body::empty()))
    });
    let server = Server::built(HttpConfig::default(), |host| host.mount("/panic", panic)).await;
    let mira = server.guest("Mira").await;
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().json().with_writer(move || writer.clone()).finish();
    let guard = tracing::subscriber::set_default(subscriber);

    let renamed = server.patch("me?").by(&mira).json(json!({ "displayName": "Ylva" })).await.expect(200);
    server.get("worlds?q=swordfish").by(&mira).await.expect(200);
    server.get("/panic").with("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").await;

    drop(guard);
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let answered: Vec<&Value> = lines.iter().filter(|line| line["fields"]["message"] == "answered").collect();
    assert_eq!(answered.len(), 3, "{text}");
    let span = &answered[0]["span"];
    assert_eq!((&span["method"], &span["route"]), (&json!("PATCH"), &json!("/api/v1/me")));
    assert_eq!((&span["actor"], &span["id"]), (&json!(mira.id), &json!(renamed.header("x-request-id"))));
    assert_eq!((&answered[0]["level"], &answered[0]["fields"]["status"]), (&json!("INFO"), &json!(200)));
    assert_eq!((&answered[2]["level"], &answered[2]["fields"]["status"]), (&json!("ERROR"), &json!(500)));
    assert_eq!(answered[2]["span"]["trace"], "4bf92f3577b34da6a3ce929d0e0e4736");
    // Why it failed stands there too, for the operator.
    assert_eq!(lines.len(), 4, "{text}");
    for secret in [&mira.token, "Ylva", "q=swordfish"] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
}
