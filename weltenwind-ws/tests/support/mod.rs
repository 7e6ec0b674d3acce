//! A node in memory and clients that speak to it: a real handshake over hyper, on a pipe instead of a network.

#![allow(dead_code, reason = "each test uses its part")]
#![allow(clippy::unwrap_used, reason = "clippy knows tests, and not the functions that they share")]

pub(crate) mod raw;
pub(crate) mod stores;

use std::{collections::VecDeque, net::IpAddr, sync::Arc};

use futures_util::{SinkExt as _, StreamExt as _};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use prometheus::{Registry, proto::MetricFamily};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream},
    net::{TcpListener, TcpStream},
};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message, client::IntoClientRequest as _},
};
use tower::Service as _;
use weltenwind_core::{
    Actor, AllowedOrigins, ChannelId, ClientAddress, Code, CorrelationId, Scope, Timestamp,
    access::{
        Permission, PermissionSet, RoleAccess, Sanctions,
        keys::{ApiKeyDraft, ApiKeyName, MadeKey},
    },
    accounts::{
        AccessToken, AccountsConfig, DeviceDraft, DisplayName, KeyStore as _, ServerKeys, SessionGrant, TokenIssuer,
    },
    chat::ChannelDraft,
    limits::LimitsConfig,
    wire::refusal,
};
use weltenwind_ws::{Realtime, RealtimeConfig};

use self::stores::Town;

pub(crate) const ORIGIN: &str = "https://wind.test";

/// One node.
pub(crate) struct Node {
    pub(crate) town: Town,
    pub(crate) realtime: Realtime,
    pub(crate) registry: Registry,
}

impl Node {
    pub(crate) async fn start() -> Self {
        Self::with(RealtimeConfig::default()).await
    }

    pub(crate) async fn with(config: RealtimeConfig) -> Self {
        Self::in_town(Town::found().await, &config)
    }

    /// A node whose players do things as often as `limits` says.
    pub(crate) async fn limited(limits: LimitsConfig) -> Self {
        Self::in_town(Town::limited(limits).await, &RealtimeConfig::default())
    }

    /// A node whose accounts are bound by sanctions.
    pub(crate) async fn sanctioning(sanctions: Arc<dyn Sanctions>) -> Self {
        let mut town = Town::found().await;
        let access = RoleAccess::new(town.grants.clone(), town.clock.clone());
        let access = access.minding(town.services.revocations.clone()).with_sanctions(sanctions);
        town.services.access = Arc::new(access);
        Self::in_town(town, &RealtimeConfig::default())
    }

    fn in_town(town: Town, config: &RealtimeConfig) -> Self {
        let registry = Registry::new();
        let config = RealtimeConfig { node: "node-1".to_owned(), ..config.clone() };
        let realtime = Realtime::new(town.services.clone(), AllowedOrigins::new([ORIGIN]), config, &registry).unwrap();
        Self { town, realtime, registry }
    }

    /// Signs a guest in.
    pub(crate) async fn guest(&self, name: &str) -> SessionGrant {
        let actor = Actor::anonymous(CorrelationId::accept("sign-in-1").unwrap());
        let name = DisplayName::new(name).unwrap();
        self.town.services.accounts.open_guest(&actor, Some(name), DeviceDraft::default()).await.unwrap()
    }

    /// Makes a token of a session that reaches no further than `scope`.
    pub(crate) async fn narrowed(&self, grant: &SessionGrant, scope: Scope) -> String {
        let services = &self.town.services;
        let own = services.accounts.verify(grant.access_token.expose()).await.unwrap();
        let keys = self.town.accounts.adopt(&ServerKeys { signing: vec![], roots: vec![] }).await.unwrap();
        let issuer = TokenIssuer::new(&AccountsConfig::default().issuer, &keys).unwrap();
        let token = AccessToken { scope, ..own };
        let (id, now) = (services.sources.ids.draw(), services.sources.clock.now());
        issuer.issue(&token, id, now).unwrap().expose().clone()
    }

    /// Answers the signed-in account as an actor.
    pub(crate) async fn actor(&self, grant: &SessionGrant) -> Actor {
        let request = CorrelationId::accept("a-request").unwrap();
        self.town.services.accounts.authenticate(grant.access_token.expose(), request).await.unwrap()
    }

    /// Opens a channel for everybody.
    pub(crate) async fn channel(&self, slug: &str) -> ChannelId {
        let draft = ChannelDraft::new(Scope::Global, slug, slug);
        self.town.services.chat.open_channel(&Actor::operator(), draft).await.unwrap().id
    }

    /// Opens a connection on which nothing was said yet.
    pub(crate) fn pipe(&self, address: Option<IpAddr>, bytes: usize) -> DuplexStream {
        let (client, server) = tokio::io::duplex(bytes);
        self.serve(address, server);
        client
    }

    /// Opens a connection over TCP.
    pub(crate) async fn network(&self) -> TcpStream {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        self.serve(None, listener.accept().await.unwrap().0);
        client
    }

    /// Serves a connection that was made elsewhere.
    pub(crate) fn serve(&self, address: Option<IpAddr>, stream: impl Pipe) {
        let realtime = self.realtime.clone();
        let service = service_fn(move |mut request: hyper::Request<Incoming>| {
            request.extensions_mut().insert(CorrelationId::accept("handshake-1").unwrap());
            if let Some(address) = address {
                request.extensions_mut().insert(ClientAddress(address));
            }
            realtime.clone().call(request)
        });
        let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        tokio::spawn(connection.with_upgrades());
    }

    /// Sends a handshake and answers the head and body of the response.
    pub(crate) async fn handshake(&self, request: &str) -> (String, Value) {
        self.handshake_from(None, request).await
    }

    pub(crate) async fn handshake_from(&self, address: Option<IpAddr>, request: &str) -> (String, Value) {
        let mut pipe = self.pipe(address, 64 * 1024);
        pipe.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.windows(4).any(|window| window == b"\r\n\r\n") || answer.ends_with(b"\r\n\r\n") {
            let mut part = [0; 4096];
            let length = pipe.read(&mut part).await.unwrap();
            answer.extend_from_slice(&part[..length]);
            if length == 0 || answer.starts_with(b"HTTP/1.1 101") {
                break;
            }
        }
        // Behind a head that switches protocols the first frame may have come along.
        let answer = String::from_utf8_lossy(&answer);
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let body: Value = serde_json::from_str(body).unwrap_or_default();
        is_documented(&body, refusal::OF_HANDSHAKES);
        (head.to_owned(), body)
    }

    /// Opens a socket with a bearer token and reads its `welcome`.
    pub(crate) async fn connect(&self, grant: &SessionGrant) -> Client {
        self.connect_over(self.pipe(None, 256 * 1024), grant).await
    }

    pub(crate) async fn connect_over<S: Pipe>(&self, pipe: S, grant: &SessionGrant) -> Client<S> {
        Self::connect_bearing(pipe, grant.access_token.expose()).await
    }

    /// Opens a socket with a token and reads its `welcome`.
    pub(crate) async fn connect_with(&self, token: &str) -> Client {
        Self::connect_bearing(self.pipe(None, 256 * 1024), token).await
    }

    /// Makes an API key for everything, and opens a socket with it.
    pub(crate) async fn key(&self, permissions: &[Permission]) -> (MadeKey, Client) {
        self.key_until(None, permissions).await
    }

    /// Makes an API key for everything that ends by itself, and opens a socket with it.
    pub(crate) async fn key_until(&self, end: Option<Timestamp>, permissions: &[Permission]) -> (MadeKey, Client) {
        let draft = ApiKeyDraft {
            name: ApiKeyName::new("arena server").unwrap(),
            scope: Scope::Global,
            permissions: PermissionSet::of(permissions),
            expires_at: end,
        };
        let made = self.town.services.api_keys.make(&Actor::operator(), draft).await.unwrap();
        let client = self.connect_with(made.secret.expose()).await;
        (made, client)
    }

    async fn connect_bearing<S: Pipe>(pipe: S, token: &str) -> Client<S> {
        let mut request = "ws://wind.test/realtime/v1".into_client_request().unwrap();
        let bearer = format!("Bearer {token}");
        request.headers_mut().insert("authorization", bearer.parse().unwrap());
        request.headers_mut().insert("sec-websocket-protocol", "weltenwind.v1".parse().unwrap());
        let (socket, response) = client_async(request, pipe).await.unwrap();
        assert_eq!(response.headers()["sec-websocket-protocol"], "weltenwind.v1");
        let mut client = Client {
            socket,
            records: VecDeque::new(),
            frames: 0,
            largest_frame: 0,
            answers_pings: false,
            line: String::new(),
        };
        client.expect("welcome").await;
        client
    }

    /// Opens a socket and joins a channel without replay.
    pub(crate) async fn member(&self, name: &str, channel: ChannelId) -> Client {
        let mut client = self.connect(&self.guest(name).await).await;
        client.join(channel, None).await;
        client.expect("live").await;
        client
    }

    /// Reads a metric, summed over its labels; of a histogram, how often something was observed.
    pub(crate) fn metric(&self, name: &str) -> u64 {
        self.metric_of(name, None)
    }

    /// Reads a metric where a label has this value.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "every metric here counts something")]
    pub(crate) fn metric_of(&self, name: &str, label: Option<&str>) -> u64 {
        let families = self.registry.gather();
        let metrics = families.iter().filter(|family| family.name() == name).flat_map(MetricFamily::get_metric);
        metrics
            .filter(|metric| label.is_none_or(|label| metric.get_label().iter().any(|pair| pair.value() == label)))
            .map(|metric| {
                let counted = metric.get_counter().get_value() + metric.get_gauge().get_value();
                counted as u64 + metric.get_histogram().get_sample_count()
            })
            .sum()
    }

    /// Waits until every socket is gone.
    pub(crate) async fn all_gone(&self) {
        while self.realtime.connections() > 0 {
            tokio::task::yield_now().await;
        }
    }
}

/// What bytes run through.
pub(crate) trait Pipe: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Pipe for S {}

/// One client.
pub(crate) struct Client<S = DuplexStream> {
    pub(crate) socket: WebSocketStream<S>,
    records: VecDeque<String>,
    pub(crate) frames: usize,
    pub(crate) largest_frame: usize,
    /// Whether pings are answered and not shown.
    pub(crate) answers_pings: bool,
    /// The record that was read last, as it was sent.
    pub(crate) line: String,
}

impl<S: Pipe> Client<S> {
    pub(crate) async fn send(&mut self, record: Value) {
        self.send_text(&record.to_string()).await;
    }

    pub(crate) async fn send_text(&mut self, text: &str) {
        self.socket.send(Message::text(text)).await.unwrap();
    }

    /// Reads the next record; none once the socket is closed.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(line) = self.records.pop_front() {
                let record: Value = serde_json::from_str(&line).unwrap();
                if record["t"] == "err" || record["t"] == "left" {
                    is_documented(&record, refusal::OF_RECORDS);
                }
                if self.answers_pings && record["t"] == "ping" {
                    self.send_text(r#"{"t":"pong"}"#).await;
                    continue;
                }
                self.line = line;
                return Some(record);
            }
            match self.socket.next().await {
                Some(Ok(Message::Text(text))) => {
                    self.frames += 1;
                    self.largest_frame = self.largest_frame.max(text.len());
                    self.records.extend(text.lines().map(str::to_owned));
                }
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                Some(Ok(_)) => {}
            }
        }
    }

    /// Reads the next record, which must be of this type.
    pub(crate) async fn expect(&mut self, t: &str) -> Value {
        let record = self.next().await.expect("a record before the end");
        assert_eq!(record["t"], t, "{record}");
        record
    }

    /// Reads the next record, which must be of one of these types.
    pub(crate) async fn expect_any(&mut self, types: &[&str]) -> Value {
        let record = self.next().await.expect("a record before the end");
        assert!(types.iter().any(|t| record["t"] == *t), "{record}");
        record
    }

    /// Reads records until one of this type.
    pub(crate) async fn skip_to(&mut self, t: &str) -> Value {
        loop {
            let record = self.next().await.expect("a record before the end");
            if record["t"] == t {
                return record;
            }
        }
    }

    /// Reads the answer to a request that is refused.
    pub(crate) async fn expect_err(&mut self, code: &str) -> Value {
        let record = self.expect("err").await;
        assert_eq!(record["code"], code, "{record}");
        record
    }

    /// Reads `bye`, which must be next, and the close frame behind it.
    pub(crate) async fn expect_bye(&mut self, code: u16) -> Value {
        let bye = self.expect("bye").await;
        assert_eq!(bye["code"], code, "{bye}");
        self.expect_close(code).await;
        bye
    }

    pub(crate) async fn expect_close(&mut self, code: u16) {
        match self.socket.next().await {
            Some(Ok(Message::Close(Some(frame)))) => assert_eq!(u16::from(frame.code), code),
            other => panic!("a close frame is expected, not {other:?}"),
        }
        assert!(self.next().await.is_none(), "nothing comes behind a close frame");
    }

    /// Joins a channel and answers `joined`.
    pub(crate) async fn join(&mut self, channel: ChannelId, since: Option<&str>) -> Value {
        let mut join = json!({ "t": "join", "id": 1, "room": room(channel) });
        if let Some(since) = since {
            join["since"] = since.into();
        }
        self.send(join).await;
        self.expect("joined").await
    }

    /// Posts a message without waiting for the answer.
    pub(crate) async fn post(&mut self, id: i64, channel: ChannelId, body: &str) {
        let client_id = format!("post-{id}");
        self.send(json!({ "t": "pub", "id": id, "room": room(channel), "clientId": client_id, "body": body })).await;
    }
}

/// Whoever refuses does so with a code that the documents tell.
fn is_documented(refused: &Value, codes: &[Code]) {
    if let Some(code) = refused["code"].as_str() {
        assert!(codes.iter().any(|known| known.as_str() == code), "the documents do not tell of this: {refused}");
    }
}

pub(crate) fn room(channel: ChannelId) -> String {
    format!("channel:{channel}")
}
