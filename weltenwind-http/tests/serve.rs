//! The accept loop, over real sockets.

mod fixture;

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use axum::body::Body;
use http::{Request, Response};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::Notify,
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;
use tower::service_fn;
use weltenwind_core::ClientAddress;
use weltenwind_http::{HttpConfig, serve};

use self::fixture::Server;

/// A server that listens.
struct Listening {
    address: SocketAddr,
    shutdown: CancellationToken,
    ended: JoinHandle<()>,
    /// Told when the slow service was entered, and awaited by it.
    entered: Arc<Notify>,
    release: Arc<Notify>,
    server: Server,
}

impl Listening {
    async fn start(config: HttpConfig) -> Self {
        let (entered, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let signals = (Arc::clone(&entered), Arc::clone(&release));
        let slow = service_fn(move |request: Request<Body>| {
            let (entered, release) = signals.clone();
            async move {
                entered.notify_one();
                release.notified().await;
                let address = request.extensions().get::<ClientAddress>().expect("an address").0;
                Ok::<_, Infallible>(Response::new(Body::from(format!("you are {address}"))))
            }
        });
        let server = Server::built(config.clone(), |host| host.mount("/slow", slow)).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("the network works");
        let address = listener.local_addr().expect("an address");
        let shutdown = CancellationToken::new();
        let (router, stop) = (server.router.clone(), shutdown.clone());
        let ended = tokio::spawn(async move { serve(listener, router, &config, stop).await });
        Self { address, shutdown, ended, entered, release, server }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("the network works")
    }

    async fn send(&self, text: &str) -> TcpStream {
        let mut stream = self.connect().await;
        stream.write_all(text.as_bytes()).await.expect("the network works");
        stream
    }
}

async fn rest(mut stream: TcpStream) -> String {
    let mut bytes = Vec::new();
    let read = stream.read_to_end(&mut bytes);
    tokio::time::timeout(Duration::from_secs(10), read).await.expect("the connection is closed").ok();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn impatient() -> HttpConfig {
    HttpConfig { header_timeout_seconds: 1, drain_seconds: 1, ..HttpConfig::default() }
}

#[tokio::test]
async fn a_request_is_answered_and_an_idle_connection_closed() {
    let server = Listening::start(impatient()).await;

    let answer = rest(server.send("GET /api/v1/worlds HTTP/1.1\r\nHost: x\r\n\r\n").await).await;

    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.ends_with(r#"{"items":[],"nextCursor":null}"#), "{answer}");
}

#[tokio::test]
async fn a_connection_is_used_again_after_an_answer_without_a_body() {
    let server = Listening::start(impatient()).await;
    let ask = |method: &str| format!("{method} /api/v1/worlds HTTP/1.1\r\nHost: x\r\nIf-None-Match: *\r\n\r\n");

    let answer =
        rest(server.send(&format!("{}{}GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n", ask("HEAD"), ask("GET"))).await)
            .await;

    assert_eq!(answer.matches("HTTP/1.1 304 Not Modified\r\n").count(), 2, "{answer}");
    assert!(!answer.contains("content-length: 0"), "{answer}");
    assert!(answer.contains("\r\n\r\nHTTP/1.1 404 Not Found\r\n"), "{answer}");
}

#[tokio::test]
async fn a_head_that_trickles_in_is_not_waited_for() {
    let server = Listening::start(impatient()).await;

    for beginning in
        ["", "G", "GET / HTTP/1.1\r\nHost: x\r\nX-", "PRI * HTTP/2.0\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]
    {
        let answer = rest(server.send(beginning).await).await;
        assert!(!answer.contains("200 OK"), "{beginning:?}: {answer}");
    }
}

#[tokio::test]
async fn a_head_beyond_all_bounds_is_refused() {
    let server = Listening::start(impatient()).await;

    let large = format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "x".repeat(20 * 1024));
    let answer = rest(server.send(&large).await).await;
    assert!(answer.starts_with("HTTP/1.1 431 ") && answer.contains("headers-too-large"), "{answer}");

    let huge = format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "x".repeat(200 * 1024));
    let mut stream = server.connect().await;
    // The server may close before it has read everything.
    let _ = stream.write_all(huge.as_bytes()).await;
    assert!(!rest(stream).await.contains("200 OK"));
}

#[tokio::test]
async fn a_request_names_its_host_once() {
    let server = Listening::start(impatient()).await;

    for head in ["GET / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n"] {
        let answer = rest(server.send(head).await).await;
        assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("malformed-request"), "{head:?}: {answer}");
    }
    let answer = rest(server.send("GET /api/v1/worlds HTTP/1.0\r\n\r\n").await).await;
    assert!(answer.starts_with("HTTP/1.0 200 "), "HTTP/1.0 knew no such field: {answer}");
}

/// Sends a body byte by byte until the server has heard enough, and answers what it said.
async fn dribble(server: &Listening, head: &str) -> String {
    let (mut read, mut write) = server.send(head).await.into_split();
    let drops = tokio::spawn(async move {
        while write.write_all(b" ").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    let mut answer = Vec::new();
    let told = tokio::time::timeout(Duration::from_secs(20), read.read_to_end(&mut answer)).await;
    drops.abort();
    told.expect("the connection is closed").ok();
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn a_body_that_trickles_in_is_not_waited_for() {
    let server = Listening::start(HttpConfig { request_timeout_seconds: 1, ..HttpConfig::default() }).await;
    let post = "POST /api/v1/auth/guest HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n";

    for length in ["Content-Length: 60000\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\nea60\r\n"] {
        let answer = dribble(&server, &format!("{post}{length}")).await;
        assert!(answer.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{answer}");
        assert!(answer.contains("connection: close") && answer.contains(r#""code":"body-too-slow""#), "{answer}");
    }

    // Nobody waits for the rest of it.
    let metrics = prometheus::TextEncoder::new().encode_to_string(&server.server.registry.gather()).unwrap();
    assert!(metrics.contains("weltenwind_http_in_flight 0"), "{metrics}");
    assert!(metrics.contains(r#"{method="POST",route="/api/v1/auth/guest",status="408"} 2"#), "{metrics}");
}

#[tokio::test]
async fn a_body_that_nobody_reads_holds_no_handler() {
    let server = Listening::start(HttpConfig { request_timeout_seconds: 1, ..HttpConfig::default() }).await;

    for (path, status) in [("/nowhere", "404"), ("/api/v1/worlds/mistral", "405")] {
        let head = format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n");
        let answer = dribble(&server, &head).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    }
}

#[tokio::test]
async fn a_handler_that_is_stuck_is_the_server_s_fault() {
    let server = Listening::start(HttpConfig { request_timeout_seconds: 1, ..HttpConfig::default() }).await;

    let stream =
        server.send("POST /slow HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}").await;

    let answer = rest(stream).await;
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains(r#""code":"timed-out""#), "{answer}");
}

#[tokio::test]
async fn what_is_no_http_is_answered_400() {
    let server = Listening::start(impatient()).await;

    let answer = rest(server.send("HELLO\r\n\r\n").await).await;

    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
}

#[tokio::test]
async fn http_2_is_spoken_without_asking() {
    let server = Listening::start(impatient()).await;
    let stream = hyper_util::rt::TokioIo::new(server.connect().await);
    let executor = hyper_util::rt::TokioExecutor::new();

    let (mut client, connection) = hyper::client::conn::http2::handshake(executor, stream).await.unwrap();
    tokio::spawn(connection);
    let request = Request::builder().uri("http://x/api/v1/worlds").body(Body::empty()).unwrap();
    let answer = client.send_request(request).await.unwrap();

    assert_eq!((answer.status().as_u16(), answer.version()), (200, http::Version::HTTP_2));
}

#[tokio::test]
async fn a_running_request_ends_before_the_server_does() {
    let server = Listening::start(HttpConfig::default()).await;
    let idle = server.send("GET /api/v1/worlds HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let stream = server.send("GET /slow HTTP/1.1\r\nHost: x\r\n\r\n").await;
    server.entered.notified().await;

    server.shutdown.cancel();
    let idle = rest(idle).await;
    assert!(idle.starts_with("HTTP/1.1 200 OK"), "{idle}");
    assert!(TcpStream::connect(server.address).await.is_err(), "no more connections");
    assert!(!server.ended.is_finished());
    server.release.notify_one();

    let answer = rest(stream).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("you are 127.0.0.1"), "{answer}");
    server.ended.await.unwrap();
}

#[tokio::test]
async fn a_request_that_does_not_end_is_cut_off() {
    let server = Listening::start(impatient()).await;
    let stream = server.send("GET /slow HTTP/1.1\r\nHost: x\r\n\r\n").await;
    server.entered.notified().await;

    server.shutdown.cancel();
    server.ended.await.unwrap();

    assert_eq!(rest(stream).await, "");
}
