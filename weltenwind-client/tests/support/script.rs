//! A server that does what a test tells it to, for what a real one does too rarely.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use axum::{
    Json, Router,
    body::Body,
    extract::{Request, State},
    http::StatusCode,
    response::{IntoResponse as _, Response},
    routing::{any, post},
};
use futures_util::{SinkExt as _, StreamExt as _};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::mpsc};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message,
        handshake::derive_accept_key,
        protocol::{CloseFrame, Role},
    },
};
use weltenwind_client::{ChannelId, Client};

use super::soon;

/// The channel that scripts speak of.
pub(crate) const CHANNEL: &str = "018f0000-0000-7000-8000-00000000000c";

pub(crate) fn channel() -> ChannelId {
    CHANNEL.parse().expect("an id")
}

/// The server.
pub(crate) struct Script {
    url: String,
    peers: mpsc::UnboundedReceiver<Peer>,
    shared: Arc<Shared>,
}

struct Shared {
    peers: mpsc::UnboundedSender<Peer>,
    refreshes: AtomicU32,
    /// Renewals that are still to fail by a defect.
    failing_refreshes: AtomicU32,
    /// What calls are answered, one after the other: a status, `Retry-After` and a code.
    refusals: std::sync::Mutex<VecDeque<(u16, Option<String>, &'static str)>>,
    calls: AtomicU32,
    /// What handshakes are answered, one after the other: a status and a body.
    turned_away: std::sync::Mutex<VecDeque<(u16, String)>>,
    /// The idempotency key of each call.
    keys: std::sync::Mutex<Vec<Option<String>>>,
}

impl Script {
    pub(crate) async fn start() -> Self {
        let (sender, peers) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            peers: sender,
            refreshes: AtomicU32::new(0),
            failing_refreshes: AtomicU32::new(0),
            refusals: std::sync::Mutex::default(),
            calls: AtomicU32::new(0),
            turned_away: std::sync::Mutex::default(),
            keys: std::sync::Mutex::default(),
        });
        let router = Router::new()
            .route("/api/v1/auth/guest", post(|| async { Json(session(0)) }))
            .route("/api/v1/auth/refresh", post(refresh))
            .route("/api/v1/{*path}", any(call))
            .route("/realtime/v1", any(upgrade))
            .with_state(Arc::clone(&shared));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, peers, shared }
    }

    pub(crate) async fn guest(&self) -> Client {
        let client = Client::new(&self.url).expect("an address");
        client.guest("Mira").await.expect("a session");
        client
    }

    /// The next socket that a client opens.
    pub(crate) async fn accept(&mut self) -> Peer {
        soon(self.peers.recv()).await.expect("a socket")
    }

    pub(crate) fn refreshes(&self) -> u32 {
        self.shared.refreshes.load(Ordering::SeqCst)
    }

    /// Answers the next so many renewals with a defect.
    pub(crate) fn fail_refreshes(&self, failures: u32) {
        self.shared.failing_refreshes.store(failures, Ordering::SeqCst);
    }

    pub(crate) fn calls(&self) -> u32 {
        self.shared.calls.load(Ordering::SeqCst)
    }

    /// The idempotency key of each call.
    pub(crate) fn keys(&self) -> Vec<Option<String>> {
        self.shared.keys.lock().expect("the state is sound").clone()
    }

    /// Answers the next handshake with something before the server.
    pub(crate) fn turn_away(&self, status: u16) {
        let body = format!("<html><h1>Error {status}</h1>");
        self.shared.turned_away.lock().expect("the state is sound").push_back((status, body));
    }

    /// Refuses the next handshake.
    pub(crate) fn refuse_socket(&self, status: u16, code: &str) {
        let refusal = (status, problem(status, code).to_string());
        self.shared.turned_away.lock().expect("the state is sound").push_back(refusal);
    }

    /// How many handshakes are still to be refused.
    pub(crate) fn refusals_left(&self) -> usize {
        self.shared.turned_away.lock().expect("the state is sound").len()
    }

    /// Refuses the next call.
    pub(crate) fn refuse(&self, status: u16, retry_after: Option<u64>, code: &'static str) {
        self.refuse_until(status, retry_after.map(|seconds| seconds.to_string()), code);
    }

    /// Refuses the next call, with a `Retry-After` of whatever form.
    pub(crate) fn refuse_until(&self, status: u16, retry_after: Option<String>, code: &'static str) {
        self.shared.refusals.lock().expect("the state is sound").push_back((status, retry_after, code));
    }
}

fn session(generation: u32) -> Value {
    json!({
        "accessToken": format!("access-{generation}"),
        "tokenType": "Bearer",
        "expiresIn": 300,
        "refreshToken": format!("refresh-{generation}"),
        "sessionId": "018f0000-0000-7000-8000-00000000000a",
        "user": user(),
        "scope": "global",
    })
}

fn user() -> Value {
    json!({
        "id": "018f0000-0000-7000-8000-00000000000b",
        "kind": "guest",
        "displayName": "Mira",
        "createdAt": "2026-01-01T00:00:00.000Z",
    })
}

fn world() -> Value {
    json!({
        "id": "018f0000-0000-7000-8000-00000000000e",
        "slug": "mistral",
        "name": "Mistral",
        "description": "",
        "visibility": "public",
        "joinPolicy": "open",
        "createdAt": "2026-01-01T00:00:00.000Z",
        "updatedAt": "2026-01-01T00:00:00.000Z",
    })
}

async fn refresh(State(shared): State<Arc<Shared>>) -> Response {
    let is_failing = |left: u32| left.checked_sub(1);
    if shared.failing_refreshes.fetch_update(Ordering::SeqCst, Ordering::SeqCst, is_failing).is_ok() {
        return (StatusCode::INTERNAL_SERVER_ERROR, Json(problem(500, "internal"))).into_response();
    }
    Json(session(shared.refreshes.fetch_add(1, Ordering::SeqCst) + 1)).into_response()
}

/// Every other call reads one's own account, or makes a world.
async fn call(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    shared.calls.fetch_add(1, Ordering::SeqCst);
    let key = request.headers().get("idempotency-key").map(|key| key.to_str().expect("a text").to_owned());
    shared.keys.lock().expect("the state is sound").push(key);
    let refusal = shared.refusals.lock().expect("the state is sound").pop_front();
    let Some((status, retry_after, code)) = refusal else {
        let answer = if request.uri().path().ends_with("/worlds") { world() } else { user() };
        return Json(answer).into_response();
    };
    let problem = problem(status, code);
    let mut response = Response::builder().status(status);
    if let Some(wait) = retry_after {
        response = response.header("retry-after", wait);
    }
    response.body(Body::from(problem.to_string())).expect("an answer")
}

fn problem(status: u16, code: &str) -> Value {
    json!({
        "type": "about:blank", "title": code, "status": status, "detail": "Not now.", "instance": "about:blank",
        "code": code, "correlationId": "request-1",
    })
}

async fn upgrade(State(shared): State<Arc<Shared>>, mut request: Request) -> Response {
    let turned_away = shared.turned_away.lock().expect("the state is sound").pop_front();
    if let Some((status, body)) = turned_away {
        return Response::builder().status(status).body(Body::from(body)).expect("an answer");
    }
    let text = |name: &str| request.headers()[name].to_str().expect("a text").to_owned();
    let (key, token) = (text("sec-websocket-key"), text("authorization"));
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let upgraded = TokioIo::new(upgrade.await.expect("an upgrade"));
        let socket = WebSocketStream::from_raw_socket(upgraded, Role::Server, None).await;
        let _ = shared.peers.send(Peer { socket, token, records: VecDeque::new() });
    });
    let response = Response::builder()
        .status(101)
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-accept", derive_accept_key(key.as_bytes()))
        .header("sec-websocket-protocol", "weltenwind.v1");
    response.body(Body::empty()).expect("an answer")
}

/// A client's socket, from the server's side.
pub(crate) struct Peer {
    socket: WebSocketStream<TokioIo<hyper::upgrade::Upgraded>>,
    /// The header that it was opened with.
    pub(crate) token: String,
    records: VecDeque<Value>,
}

impl Peer {
    pub(crate) async fn send(&mut self, record: Value) {
        self.socket.send(Message::text(record.to_string())).await.expect("the record is sent");
    }

    /// Sends several records in one frame.
    pub(crate) async fn send_all(&mut self, records: impl IntoIterator<Item = Value>) {
        let lines: Vec<String> = records.into_iter().map(|record| record.to_string()).collect();
        self.socket.send(Message::text(lines.join("\n"))).await.expect("the records are sent");
    }

    /// The next record; none once the socket is closed.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(record) = self.records.pop_front() {
                return Some(record);
            }
            match soon(self.socket.next()).await? {
                Ok(Message::Text(text)) => {
                    self.records
                        .extend(text.lines().map(|line| serde_json::from_str::<Value>(line).expect("a record")));
                }
                Ok(Message::Close(_)) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    /// The next record, which is of this type.
    pub(crate) async fn expect(&mut self, kind: &str) -> Value {
        let record = self.next().await.unwrap_or_else(|| panic!("a record `{kind}` is expected"));
        assert_eq!(record["t"], kind, "{record}");
        record
    }

    pub(crate) async fn welcome(&mut self) {
        let limits = json!({ "rooms": 8, "frameBytes": 65536, "replayWindow": 10000 });
        self.send(json!({
            "t": "welcome", "conn": "connection-1", "node": "node-1", "serverTime": "2026-01-01T00:00:00.000Z",
            "pingEverySeconds": 25, "tokenTtlSeconds": 300, "limits": limits,
        }))
        .await;
    }

    /// Lets the client in, at a position; answers where it wanted to go on from.
    pub(crate) async fn let_in(&mut self, cursor: &str) -> Value {
        let join = self.expect("join").await;
        let recovered = !join["since"].is_null();
        self.send(
            json!({ "t": "joined", "id": join["id"], "room": join["room"], "cursor": cursor, "recovered": recovered }),
        )
        .await;
        join["since"].clone()
    }

    pub(crate) async fn close(mut self, code: u16) {
        let frame = CloseFrame { code: code.into(), reason: "over".into() };
        self.socket.send(Message::Close(Some(frame))).await.expect("the frame is sent");
        while let Some(Ok(_)) = self.socket.next().await {}
    }
}

pub(crate) fn room() -> Value {
    format!("channel:{CHANNEL}").into()
}

/// A message as a server tells of it.
pub(crate) fn message(seq: i64) -> Value {
    json!({
        "id": "018f0000-0000-7000-8000-00000000000d", "channelId": CHANNEL, "seq": seq,
        "author": { "id": "018f0000-0000-7000-8000-00000000000b", "displayName": "Mira" },
        "body": seq.to_string(), "sentAt": "2026-01-01T00:00:00.000Z", "flags": [],
    })
}

pub(crate) fn msg(seq: i64, cursor: &str) -> Value {
    json!({ "t": "msg", "room": room(), "seq": seq, "cursor": cursor, "message": message(seq) })
}
