//! A connection over channels instead of a WebSocket.

#[expect(dead_code, reason = "other tests need more of it")]
#[path = "../../tests/support/stores.rs"]
mod stores;

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use futures_util::{Sink, SinkExt as _, Stream};
use prometheus::Registry;
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_tungstenite::tungstenite::{Error as WsError, Message};
use tokio_util::sync::PollSender;
use weltenwind_core::{
    Actor, AllowedOrigins,
    accounts::{DeviceDraft, DisplayName},
};

use super::*;
use crate::{config::RealtimeConfig, metrics::Metrics};

/// Two channels that are a socket.
struct Pipe {
    incoming: mpsc::Receiver<Message>,
    outgoing: PollSender<Message>,
}

impl Stream for Pipe {
    type Item = Result<Message, WsError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.incoming.poll_recv(cx).map(|message| message.map(Ok))
    }
}

impl Sink<Message> for Pipe {
    type Error = WsError;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), WsError>> {
        self.outgoing.poll_ready_unpin(cx).map_err(|_| WsError::ConnectionClosed)
    }

    fn start_send(mut self: Pin<&mut Self>, message: Message) -> Result<(), WsError> {
        self.outgoing.start_send_unpin(message).map_err(|_| WsError::ConnectionClosed)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), WsError>> {
        self.outgoing.poll_flush_unpin(cx).map_err(|_| WsError::ConnectionClosed)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), WsError>> {
        self.poll_flush(cx)
    }
}

struct Visit {
    host: Arc<Host>,
    to_server: mpsc::Sender<Message>,
    from_server: mpsc::Receiver<Message>,
    connection: JoinHandle<()>,
}

impl Visit {
    /// Opens a socket that holds one frame in each direction.
    async fn begin() -> Self {
        let services = stores::Town::found().await.services;
        let metrics = Metrics::register(&Registry::new()).unwrap();
        let host = Host::new(services.clone(), AllowedOrigins::default(), RealtimeConfig::default(), metrics);
        let correlation_id = CorrelationId::accept("handshake-1").unwrap();
        let anonymous = Actor::anonymous(correlation_id.clone());
        let name = DisplayName::new("Mira").unwrap();
        let grant = services.accounts.open_guest(&anonymous, Some(name), DeviceDraft::default()).await.unwrap();
        let token = grant.access_token.expose();
        let sign_in = SignIn::by_token(&services, token, correlation_id.clone()).await.unwrap();
        let losses = sign_in.watch(&services.revocations);
        let visitor = Visitor { sign_in, losses, correlation_id, permit: host.limits.admit(None).unwrap() };

        let ((to_server, incoming), (outgoing, from_server)) = (mpsc::channel(1), mpsc::channel(1));
        let pipe = Pipe { incoming, outgoing: PollSender::new(outgoing) };
        let connection = tokio::spawn(serve(Arc::clone(&host), pipe, visitor));
        Self { host, to_server, from_server, connection }
    }

    async fn says(&self, text: &'static str) {
        self.to_server.send(Message::text(text)).await.unwrap();
    }

    fn closed(&self, code: &str) -> u64 {
        self.host.metrics.closed.with_label_values(&[code]).get()
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_no_frame_is_given_up() {
    let visit = Visit::begin().await;
    let start = Instant::now();
    visit.says(r#"{"t":"leave","id":1,"room":"global"}"#).await;

    visit.connection.await.unwrap();

    assert_eq!(visit.host.metrics.closed.with_label_values(&["4001"]).get(), 1);
    assert_eq!(start.elapsed().as_secs(), 30 + 5, "the time to take a frame, and the time to say goodbye");
    assert_eq!((visit.host.limits.open(), visit.host.metrics.connections.get()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_farewell_is_a_record_and_then_a_close_frame() {
    let mut visit = Visit::begin().await;
    visit.host.drain.cancel();

    let mut frames = Vec::new();
    while let Some(frame) = visit.from_server.recv().await {
        frames.push(frame);
    }

    let [Message::Text(welcome), Message::Text(bye), Message::Close(Some(close))] = &frames[..] else {
        panic!("{frames:?}")
    };
    assert!(welcome.contains(r#""t":"welcome""#) && bye.contains(r#""t":"bye""#));
    assert_eq!(u16::from(close.code), 4000);
    assert_eq!(visit.closed("4000"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_ends_without_a_close_frame_is_a_lost_client() {
    let Visit { host, to_server, connection, .. } = Visit::begin().await;

    drop(to_server);
    connection.await.unwrap();

    assert_eq!(host.metrics.closed.with_label_values(&["lost"]).get(), 1);
}
