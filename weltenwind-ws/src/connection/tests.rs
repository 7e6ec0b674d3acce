//! A connection over a narrow pipe.

#[expect(dead_code, reason = "other tests need more of it")]
#[path = "../../tests/support/stores.rs"]
mod stores;

use std::{
    collections::BTreeMap,
    io::{self, IoSlice},
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    task::Waker,
};

use futures_util::{FutureExt as _, SinkExt as _, StreamExt as _, task::AtomicWaker};
use prometheus::Registry;
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf},
    task::JoinHandle,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, protocol::Role},
};
use weltenwind_core::{
    Actor, AllowedOrigins, ChannelId, Scope, Services,
    accounts::{DeviceDraft, DisplayName, SessionGrant},
    chat::{ChannelDraft, Draft},
};

use super::*;
use crate::{config::RealtimeConfig, frame, metrics::Metrics};

struct Visit {
    host: Arc<Host>,
    client: WebSocketStream<DuplexStream>,
    connection: JoinHandle<()>,
}

fn request() -> CorrelationId {
    CorrelationId::accept("handshake-1").unwrap()
}

/// A node, and somebody who passes its handshake.
async fn receive() -> (Arc<Host>, Services, SessionGrant, Visitor) {
    let services = stores::Town::found().await.services;
    let metrics = Metrics::register(&Registry::new()).unwrap();
    let host = Host::new(services.clone(), AllowedOrigins::default(), RealtimeConfig::default(), metrics);
    let name = DisplayName::new("Mira").unwrap();
    let anonymous = Actor::anonymous(request());
    let grant = services.accounts.open_guest(&anonymous, Some(name), DeviceDraft::default()).await.unwrap();
    let sign_in = SignIn::by_token(&services, grant.access_token.expose(), request()).await.unwrap();
    let losses = sign_in.watch(&services.revocations);
    let (permit, began_at) = (host.limits.admit(None).unwrap(), Instant::now());
    let visitor = Visitor { sign_in, losses, correlation_id: request(), permit, began_at };
    (host, services, grant, visitor)
}

impl Visit {
    /// Opens a socket over a pipe that holds less than one frame.
    async fn begin() -> Self {
        let (host, _, _, visitor) = receive().await;
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

/// A client's end that takes nothing until it is open, and then whatever it is given, so many bytes at once. It says nothing.
struct Taker {
    at_once: usize,
    gate: Arc<Gate>,
    /// Sees how many bytes are taken.
    sees: Box<dyn FnMut(usize) + Send>,
}

#[derive(Default)]
struct Gate {
    is_open: AtomicBool,
    waker: AtomicWaker,
}

impl Gate {
    fn open(&self) {
        self.is_open.store(true, Ordering::SeqCst);
        self.waker.wake();
    }

    fn close(&self) {
        self.is_open.store(false, Ordering::SeqCst);
    }
}

impl AsyncRead for Taker {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

impl AsyncWrite for Taker {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.gate.waker.register(cx.waker());
        if !self.gate.is_open.load(Ordering::SeqCst) {
            return Poll::Pending;
        }
        let bytes = slices.iter().map(|slice| slice.len()).sum::<usize>().min(self.at_once);
        (self.sees)(bytes);
        Poll::Ready(Ok(bytes))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// What waits for a client that is in a room: some 800 KiB, less than a ring keeps.
const WAITING: usize = 700 * 1024;

/// A client's end that takes everything while the gate is open.
fn taker(gate: &Arc<Gate>) -> Taker {
    Taker { at_once: usize::MAX, gate: Arc::clone(gate), sees: Box::new(|_| {}) }
}

/// A text frame, under a mask of zeros.
fn masked(text: &str) -> Vec<u8> {
    [&[0x81, 0x80 | u8::try_from(text.len()).unwrap(), 0, 0, 0, 0], text.as_bytes()].concat()
}

async fn open_lobby(services: &Services) -> ChannelId {
    let draft = ChannelDraft::new(Scope::Global, "lobby", "Lobby");
    services.chat.open_channel(&Actor::operator(), draft).await.unwrap().id
}

/// Opens a socket to such a client, which joins a room, and has much posted there before it takes anything.
async fn much_to_take(
    at_once: usize,
    sees: impl FnOnce(&Services, &Actor) -> Box<dyn FnMut(usize) + Send>,
) -> (Arc<Host>, Arc<Gate>, JoinHandle<()>) {
    let (host, services, grant, visitor) = receive().await;
    let lobby = open_lobby(&services).await;
    let join = masked(&format!(r#"{{"t":"join","id":1,"room":"channel:{lobby}"}}"#));
    let actor = services.accounts.authenticate(grant.access_token.expose(), request()).await.unwrap();
    let gate = Arc::<Gate>::default();
    let taker = Taker { at_once, gate: Arc::clone(&gate), sees: sees(&services, &actor) };
    let connection = tokio::spawn(serve(Arc::clone(&host), taker, &join, visitor));
    while host.metrics.joins.get() == 0 {
        tokio::task::yield_now().await;
    }
    for _ in 0..400 {
        services.chat.post(&Actor::player("Lu"), Draft::new(lobby, "x".repeat(1_600))).await.unwrap();
    }
    (host, gate, connection)
}

#[tokio::test(start_paused = true)]
async fn a_socket_with_much_to_write_lets_others_have_their_turn_after_256_kib() {
    let (turn, by_turn) = (Arc::<AtomicU64>::default(), Arc::<Mutex<BTreeMap<u64, usize>>>::default());
    let (_host, gate, connection) = much_to_take(usize::MAX, |_, _| {
        let (turn, by_turn) = (Arc::clone(&turn), Arc::clone(&by_turn));
        Box::new(move |bytes| *by_turn.lock().unwrap().entry(turn.load(Ordering::SeqCst)).or_default() += bytes)
    })
    .await;
    let written = || by_turn.lock().unwrap().values().sum::<usize>();
    assert_eq!(written(), 0);

    gate.open();
    while written() < WAITING {
        turn.fetch_add(1, Ordering::SeqCst);
        tokio::task::yield_now().await;
    }

    let by_turn = by_turn.lock().unwrap();
    // The last piece may be a whole one.
    assert!(by_turn.values().all(|bytes| *bytes <= (256 + 64) * 1024), "{by_turn:?}");
    assert!(by_turn.values().any(|bytes| *bytes >= 256 * 1024), "{by_turn:?}");
    connection.abort();
}

#[tokio::test(start_paused = true)]
async fn what_is_lost_between_two_writes_of_a_turn_ends_what_the_room_says() {
    const AT_ONCE: usize = 10_000;
    let (writes, behind) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
    let (host, gate, connection) = much_to_take(AT_ONCE, |services, actor| {
        let (writes, behind) = (Arc::clone(&writes), Arc::clone(&behind));
        let (services, actor) = (services.clone(), actor.clone());
        Box::new(move |bytes| match writes.fetch_add(1, Ordering::SeqCst) {
            0..5 => {}
            // As another thread may do it while this one writes.
            5 => services.accounts.sign_out(&actor).now_or_never().expect("nothing waits").unwrap(),
            _ => drop(behind.fetch_add(bytes, Ordering::SeqCst)),
        })
    })
    .await;

    gate.open();
    connection.await.unwrap();

    assert_eq!(host.metrics.closed.with_label_values(&["4201"]).get(), 1);
    let behind = behind.load(Ordering::SeqCst);
    assert!(behind > 0 && behind < 4_000, "the frame that was begun and the farewell, and {behind} bytes were written");
}

/// How long a client that says nothing keeps a socket which it was asked on: the grace, and the time to say goodbye.
const GIVEN_UP: Duration = Duration::from_secs(10 + 5);

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_its_ping_late_is_given_up_when_it_stays_silent_behind_that() {
    let (host, _, _, visitor) = receive().await;
    let (gate, start) = (Arc::<Gate>::default(), Instant::now());
    gate.open();
    let connection = tokio::spawn(serve(Arc::clone(&host), taker(&gate), &[], visitor));

    tokio::time::sleep(Duration::from_secs(20)).await;
    gate.close();
    tokio::time::sleep(Duration::from_secs(8)).await;
    gate.open();
    connection.await.unwrap();

    assert_eq!(host.metrics.closed.with_label_values(&["4002"]).get(), 1);
    assert_eq!(start.elapsed(), Duration::from_secs(28) + GIVEN_UP);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_was_behind_in_a_room_is_asked_for_the_sign_of_life_that_is_due() {
    let (host, services, _, visitor) = receive().await;
    let lobby = open_lobby(&services).await;
    let join = masked(&format!(r#"{{"t":"join","id":1,"room":"channel:{lobby}"}}"#));
    let (gate, start) = (Arc::<Gate>::default(), Instant::now());
    gate.open();
    let connection = tokio::spawn(serve(Arc::clone(&host), taker(&gate), &join, visitor));

    tokio::time::sleep(Duration::from_secs(20)).await;
    gate.close();
    services.chat.post(&Actor::player("Lu"), Draft::new(lobby, "well met")).await.unwrap();
    tokio::time::sleep(Duration::from_secs(8)).await;
    gate.open();
    connection.await.unwrap();

    assert_eq!(host.metrics.closed.with_label_values(&["4002"]).get(), 1);
    assert_eq!(start.elapsed(), Duration::from_secs(28) + GIVEN_UP);
}

#[tokio::test]
async fn what_was_held_back_is_told_of_when_it_is_written() {
    let (_host, _, _, visitor) = receive().await;
    let gate = Arc::<Gate>::default();
    let mut wire = Wire::new(taker(&gate), &[], 64 * 1024);
    let (mut outbox, mut rooms, losses) = (Outbox::new(1024), Rooms::default(), visitor.losses);
    outbox.push("a ping".into());
    let mut turn = |wire: &mut Wire<Taker>| {
        let (outbox, rooms, losses) = (&mut outbox, &mut rooms, &losses);
        let saying = Saying { outbox, rooms, losses, is_writing: true, is_fetching: false, looks_at: Instant::now() };
        wire.poll_turn(&mut Context::from_waker(Waker::noop()), saying, false, |_| {})
    };
    assert!(matches!(turn(&mut wire), Poll::Ready(Turn::Written { .. })), "it is offered");
    assert!(turn(&mut wire).is_pending() && wire.is_stalled(), "and not taken");

    wire.hold();
    gate.open();

    assert!(matches!(turn(&mut wire), Poll::Ready(Turn::Written { .. })) && !wire.is_stalled());
    assert!(turn(&mut wire).is_pending(), "it is told once");
}

#[tokio::test]
async fn a_room_that_ends_while_it_is_joined_is_left_at_once() {
    let (host, services, _, visitor) = receive().await;
    let room = Room::Channel(open_lobby(&services).await);
    let mut connection = Connection::new(Arc::clone(&host), taker(&Arc::default()), &[], visitor);
    let attendance = host.feeds.attend(room, &connection.bell).await.unwrap();
    let (reader, _, recovered) = attendance.feed.reader(None).await.unwrap();
    attendance.feed.end(Code::ChannelNotFound);
    connection.hear(&Context::from_waker(Waker::noop()));

    connection.take_answer(Answer::Joined {
        id: 1,
        cursor: None,
        recovered,
        attendance,
        reader,
        present: None,
        until: None,
    });

    assert!(!connection.rooms.contains(room));
    let (said, _) = connection.outbox.take_frame().unwrap();
    let said = String::from_utf8(frame::text_of(&said).to_vec()).unwrap();
    let [joined, left] = said.lines().collect::<Vec<_>>()[..] else { panic!("{said}") };
    assert!(joined.contains(r#""t":"joined""#), "{joined}");
    assert_eq!(left, format!(r#"{{"t":"left","room":"{room}","code":"channel-not-found"}}"#));
}
