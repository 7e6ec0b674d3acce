//! A connection over a narrow pipe.

#[expect(dead_code, reason = "other tests need more of it")]
#[path = "../../tests/support/stores.rs"]
mod stores;

use futures_util::{SinkExt as _, StreamExt as _};
use prometheus::Registry;
use tokio::{io::DuplexStream, task::JoinHandle};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, protocol::Role},
};
use weltenwind_core::{
    Actor, AllowedOrigins,
    accounts::{DeviceDraft, DisplayName},
};

use super::*;
use crate::{config::RealtimeConfig, metrics::Metrics};

struct Visit {
    host: Arc<Host>,
    client: WebSocketStream<DuplexStream>,
    connection: JoinHandle<()>,
}

impl Visit {
    /// Opens a socket over a pipe that holds less than one frame.
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
        let (permit, began_at) = (host.limits.admit(None).unwrap(), Instant::now());
        let visitor = Visitor { sign_in, losses, correlation_id, permit, began_at };

        let (client, server) = tokio::io::duplex(64);
        let client = WebSocketStream::from_raw_socket(client, Role::Client, None).await;
        let connection = tokio::spawn(serve(Arc::clone(&host), server, &[], visitor));
        Self { host, client, connection }
    }

    fn closed(&self, code: &str) -> u64 {
        self.host.metrics.closed.with_label_values(&[code]).get()
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_no_frame_is_given_up() {
    let Visit { host, client, connection } = Visit::begin().await;
    let start = Instant::now();

    connection.await.unwrap();

    drop(client);
    assert_eq!(host.metrics.closed.with_label_values(&["4001"]).get(), 1);
    assert_eq!(start.elapsed().as_secs(), 30 + 5, "the time to take a frame, and the time to say goodbye");
    assert_eq!((host.limits.open(), host.metrics.connections.get()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_farewell_is_a_record_and_then_a_close_frame() {
    let mut visit = Visit::begin().await;
    visit.host.dismiss();

    let mut frames = Vec::new();
    while let Some(Ok(frame)) = visit.client.next().await {
        frames.push(frame);
    }

    let [Message::Text(text), Message::Close(Some(close))] = &frames[..] else { panic!("{frames:?}") };
    let [welcome, bye] = text.lines().collect::<Vec<_>>()[..] else { panic!("{text}") };
    assert!(welcome.contains(r#""t":"welcome""#) && bye.contains(r#""t":"bye""#));
    assert_eq!(u16::from(close.code), 4000);
    assert_eq!(visit.closed("4000"), 1);
}

#[tokio::test(start_paused = true)]
async fn who_pings_without_reading_the_answers_breaks_the_protocol() {
    let Visit { host, client, connection } = Visit::begin().await;
    let (mut sender, _unread) = client.split();

    // Every answer is as long as its ping, and the pipe holds less than one.
    while sender.send(Message::Ping(vec![0; 125].into())).await.is_ok() {}

    connection.await.unwrap();
    assert_eq!(host.metrics.closed.with_label_values(&["4203"]).get(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_ends_without_a_close_frame_is_a_lost_client() {
    let Visit { host, client, connection } = Visit::begin().await;

    drop(client);
    connection.await.unwrap();

    assert_eq!(host.metrics.closed.with_label_values(&["lost"]).get(), 1);
}
