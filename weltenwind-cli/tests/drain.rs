//! How the binary stops while somebody is in the middle of a request.

mod fixture;

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use fixture::{PATIENCE, Server, Store};

const BODY: &str = r#"{"displayName":"Mira"}"#;

/// Sends a request without the end of its body, and waits until it is being answered.
async fn begun(server: &Server) -> TcpStream {
    let mut stream = TcpStream::connect(server.address()).expect("the server listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time");
    let head = "POST /api/v1/auth/guest HTTP/1.1\r\nHost: x\r\nContent-Type: application/json";
    write!(stream, "{head}\r\nContent-Length: {}\r\n\r\n{}", BODY.len(), &BODY[..5]).expect("the request is sent");
    while server.metric("weltenwind_http_in_flight").await < 1.0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    stream
}

async fn readiness(server: &Server) -> Option<u16> {
    let response = reqwest::get(format!("{}/readyz", server.operations)).await.ok()?;
    Some(response.status().as_u16())
}

#[tokio::test]
async fn a_request_in_flight_is_answered_before_the_process_ends() {
    let store = Store::sqlite();
    let server = store.serve(&[]);
    assert_eq!(readiness(&server).await, Some(200));
    let mut stream = begun(&server).await;
    let idle = TcpStream::connect(server.address()).expect("the server listens");

    server.terminate();

    // First it tells balancers, then it takes nobody new, and what has begun goes on.
    while readiness(&server).await != Some(503) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    while TcpStream::connect(server.address()).is_ok() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(readiness(&server).await, Some(503), "it is told as long as something is under way");
    stream.write_all(&BODY.as_bytes()[5..]).expect("the rest is sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer, and the end of the connection");
    let (code, log) = server.stop();

    assert!(answer.starts_with("HTTP/1.1 201 Created\r\n") && answer.contains("accessToken"), "{answer}");
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("draining") && log.contains("stopped") && !log.contains("did not end in time"), "{log}");
    drop(idle);
}

#[tokio::test]
async fn a_request_that_does_not_end_is_not_waited_for_forever() {
    let store = Store::sqlite();
    let server = store.serve(&["--set", "http.drain_seconds=1"]);
    let mut stream = begun(&server).await;

    let (code, log) = server.stop();

    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("did not end in time") && log.contains("stopped"), "{log}");
    let mut answer = String::new();
    assert!(stream.read_to_string(&mut answer).is_err() || answer.is_empty(), "{answer}");
}

#[test]
fn a_stop_fits_into_half_a_minute_by_default() {
    let store = Store::sqlite();

    let printed = store.run(&["config", "print", "--json"]);

    let values: serde_json::Value = serde_json::from_slice(&printed.stdout).expect("JSON");
    let seconds = |key: &str| {
        let value = values.as_array().expect("a list").iter().find(|value| value["key"] == key).expect("a key");
        value["value"].as_u64().expect("seconds")
    };
    // One more for operators' questions.
    assert!(seconds("realtime.drain_seconds") + seconds("http.drain_seconds") < 30);
}
