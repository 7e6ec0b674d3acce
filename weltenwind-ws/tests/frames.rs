//! Frames byte by byte: what RFC 6455 lets a client send, and what becomes of a client that sends something else.
//!
//! A client that breaks the protocol hears `bye` and a close frame with code 4203; whatever keeps to it is answered.

#![allow(clippy::unwrap_used, reason = "clippy knows tests, and not the functions that they share")]

mod support;

use std::{collections::VecDeque, time::Duration};

use serde_json::{Value, json};
use support::{
    Node,
    raw::{CLOSE, FIN, Frame, PING, PONG, Raw, TEXT, masked},
    room,
};
use tokio::io::DuplexStream;
use weltenwind_core::{Actor, chat::Draft};
use weltenwind_ws::RealtimeConfig;

const CONTINUATION: u8 = 0;
const BINARY: u8 = 2;
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
/// A record that is read and refused, with letters of two, three and four bytes in it.
const ASKED: &str = r#"{"t":"join","id":7,"room":"ß€🌬"}"#;

/// A socket that was greeted.
struct Wire {
    node: Node,
    raw: Raw<DuplexStream>,
}

impl Wire {
    async fn open() -> Self {
        Self::with(RealtimeConfig::default()).await
    }

    async fn with(config: RealtimeConfig) -> Self {
        let node = Node::with(config).await;
        let grant = node.guest("Mira").await;
        let raw = Raw::open(node.pipe(None, 256 * 1024), grant.access_token.expose()).await.unwrap();
        let mut wire = Self { node, raw };
        assert_eq!(wire.record().await["t"], "welcome");
        wire
    }

    async fn send(&mut self, frames: &[Vec<u8>]) {
        self.raw.send(&frames.concat()).await.unwrap();
    }

    async fn frame(&mut self) -> Frame {
        self.raw.next().await.expect("a frame before the end")
    }

    async fn record(&mut self) -> Value {
        let frame = self.frame().await;
        assert_eq!(frame.head, FIN | TEXT, "{frame:?}");
        serde_json::from_str(frame.text()).unwrap()
    }

    /// Expects the answer to [`ASKED`].
    async fn expect_answer(&mut self) {
        let answer = self.record().await;
        assert_eq!(
            (&answer["t"], &answer["id"], &answer["code"]),
            (&json!("err"), &json!(7), &json!("record-unreadable"))
        );
    }

    async fn expect_close(&mut self, code: u16) {
        let frame = self.frame().await;
        assert_eq!(frame.head, FIN | CLOSE, "{frame:?}");
        assert_eq!(frame.payload[..2], code.to_be_bytes(), "{frame:?}");
    }

    /// Expects that the server leaves, and keeps nothing of the socket.
    async fn expect_end(&mut self) {
        assert_eq!(self.raw.next().await, None, "nothing comes behind a close frame");
        self.node.all_gone().await;
    }
}

/// Sends bytes that keep to the protocol and ask something.
async fn is_answered(frames: &[Vec<u8>]) {
    let mut wire = Wire::open().await;

    wire.send(frames).await;

    wire.expect_answer().await;
    wire.send(&[text(ASKED)]).await;
    wire.expect_answer().await;
}

/// Sends bytes that break the protocol.
async fn is_sent_away(what: &str, frames: &[Vec<u8>]) {
    let mut wire = Wire::open().await;

    wire.send(frames).await;

    let bye = wire.record().await;
    assert_eq!((&bye["t"], &bye["code"], &bye["resume"]), (&json!("bye"), &json!(4203), &json!(false)), "{what}");
    wire.expect_close(4203).await;
    wire.expect_end().await;
    assert_eq!(wire.node.metric_of("weltenwind_ws_closed_total", Some("4203")), 1, "{what}");
}

fn text(text: &str) -> Vec<u8> {
    masked(FIN | TEXT, MASK, text.as_bytes())
}

fn control(opcode: u8, payload: &[u8]) -> Vec<u8> {
    masked(FIN | opcode, MASK, payload)
}

fn closing(code: u16, reason: &[u8]) -> Vec<u8> {
    control(CLOSE, &[&code.to_be_bytes(), reason].concat())
}

/// A text in as many frames as there are parts.
fn fragments<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Vec<Vec<u8>> {
    let parts: Vec<&[u8]> = parts.into_iter().collect();
    let head = |n| (if n + 1 == parts.len() { FIN } else { 0 }) | (if n == 0 { TEXT } else { CONTINUATION });
    parts.iter().enumerate().map(|(n, part)| masked(head(n), MASK, part)).collect()
}

/// A frame whose length is written in `bytes` bytes, whether or not it needs them.
fn with_length_of(bytes: usize, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u64).to_be_bytes();
    let marker = if bytes == 2 { 126 } else { 127 };
    [&[FIN | TEXT, 0x80 | marker], &length[8 - bytes..], &[0; 4], payload].concat()
}

#[tokio::test(start_paused = true)]
async fn a_text_may_come_in_fragments() {
    let asked = ASKED.as_bytes();

    is_answered(&fragments([&asked[..5], &asked[5..]])).await;
    is_answered(&fragments([&asked[..0], asked, &asked[..0]])).await;
    // Within letters of several bytes, too.
    is_answered(&fragments(asked.chunks(1))).await;
}

#[tokio::test(start_paused = true)]
async fn control_frames_come_between_fragments() {
    let mut wire = Wire::open().await;
    let mut frames = fragments(ASKED.as_bytes().chunks(9));
    frames.insert(1, control(PING, b"still there?"));
    frames.insert(3, control(PONG, b"by the way"));

    wire.send(&frames).await;

    let pong = wire.frame().await;
    assert_eq!((pong.head, pong.payload.as_slice()), (FIN | PONG, &b"still there?"[..]));
    wire.expect_answer().await;
}

#[tokio::test(start_paused = true)]
async fn a_ping_is_answered_with_what_it_carries() {
    let mut wire = Wire::open().await;

    for payload in [vec![], vec![0, 255, 254, 128], vec![b'x'; 125]] {
        wire.send(&[control(PING, &payload)]).await;
        assert_eq!(wire.frame().await, Frame { head: FIN | PONG, payload });
    }
}

#[tokio::test(start_paused = true)]
async fn a_pong_that_nobody_asked_for_is_ignored() {
    is_answered(&[control(PONG, b""), control(PONG, b"unasked"), text(ASKED)]).await;
}

#[tokio::test(start_paused = true)]
async fn frames_may_come_byte_by_byte_and_several_at_once() {
    let mut wire = Wire::open().await;

    for byte in fragments([&ASKED.as_bytes()[..10], &ASKED.as_bytes()[10..]]).concat() {
        wire.raw.send(&[byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    wire.expect_answer().await;
    wire.send(&[text(ASKED), control(PING, b"and"), text(ASKED)]).await;
    let (mut answers, mut pongs) = (0, 0);
    while answers < 2 || pongs < 1 {
        let frame = wire.frame().await;
        if frame.opcode() == PONG {
            pongs += 1;
        } else {
            answers += frame.text().lines().count();
        }
    }
    assert_eq!((answers, pongs), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_length_may_be_written_longer_than_it_has_to_be() {
    let asked = ASKED.as_bytes();

    is_answered(&[with_length_of(2, asked)]).await;
    is_answered(&[with_length_of(8, asked)]).await;
}

#[tokio::test(start_paused = true)]
async fn a_length_that_no_frame_has_ends_the_socket() {
    let of = |length: u64| [&[FIN | TEXT, 0x80 | 127], &length.to_be_bytes()[..], &[0; 4], b"text"].concat();

    is_sent_away("the top bit is set", &[of(1 << 63)]).await;
    is_sent_away("all bits are set", &[of(u64::MAX)]).await;
    is_sent_away("more than fits into memory", &[of(1 << 62)]).await;
}

#[tokio::test(start_paused = true)]
async fn a_frame_is_as_long_as_it_may_be_and_no_longer() {
    const MOST: usize = 4096;
    let config = || RealtimeConfig { frame_bytes: MOST, ..RealtimeConfig::default() };
    let padded = |length: usize| ASKED.to_owned() + &" ".repeat(length - ASKED.len());

    let mut wire = Wire::with(config()).await;
    wire.send(&[text(&padded(MOST))]).await;
    wire.expect_answer().await;
    wire.send(&fragments(padded(MOST).as_bytes().chunks(1000))).await;
    wire.expect_answer().await;

    for (what, frames) in [
        ("a frame", vec![text(&padded(MOST + 1))]),
        ("its fragments together", fragments(padded(MOST + 1).as_bytes().chunks(1000))),
        ("what it says it will be", vec![text(&padded(MOST + 1))[..20].to_vec()]),
    ] {
        let mut wire = Wire::with(config()).await;
        wire.send(&frames).await;
        let bye = wire.record().await;
        assert_eq!((&bye["code"], &bye["reason"]), (&json!(4203), &json!("a frame is too large")), "{what}");
        wire.expect_close(4203).await;
        wire.expect_end().await;
    }
}

#[tokio::test(start_paused = true)]
async fn every_frame_of_a_client_is_masked() {
    let bare = |opcode: u8, payload: &[u8]| [&[FIN | opcode, payload.len().try_into().unwrap()], payload].concat();

    is_sent_away("a text", &[bare(TEXT, ASKED.as_bytes())]).await;
    is_sent_away("a ping", &[bare(PING, b"ping")]).await;
    is_sent_away("behind a good one", &[control(PONG, b""), bare(TEXT, b"{}")]).await;
}

#[tokio::test(start_paused = true)]
async fn a_text_is_utf_8() {
    for (what, bytes) in [
        ("a lone continuation", &[0x80][..]),
        ("a letter that breaks off", &[b'a', 0xe2, 0x82]),
        ("an overlong slash", &[0xc0, 0xaf]),
        ("a surrogate", &[0xed, 0xa0, 0x80]),
        ("beyond the last letter", &[0xf4, 0x90, 0x80, 0x80]),
        ("no letter at all", &[0xff, 0xfe]),
    ] {
        is_sent_away(what, &[masked(FIN | TEXT, MASK, bytes)]).await;
    }
    is_sent_away("over fragments", &fragments([&b"a\xc3"[..], b"b"])).await;
}

#[tokio::test(start_paused = true)]
async fn bits_and_opcodes_that_mean_nothing_end_the_socket() {
    for bit in [0x40, 0x20, 0x10] {
        is_sent_away("a reserved bit", &[masked(FIN | bit | TEXT, MASK, ASKED.as_bytes())]).await;
    }
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        is_sent_away("a reserved opcode", &[masked(FIN | opcode, MASK, b"")]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn control_frames_are_short_and_whole() {
    for opcode in [PING, PONG, CLOSE] {
        is_sent_away("too long", &[control(opcode, &[b'x'; 126])]).await;
        is_sent_away("a fragment", &[masked(opcode, MASK, b"")]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn fragments_follow_one_another() {
    let begun = masked(TEXT, MASK, b"{");

    is_sent_away("nothing to go on with", &[masked(FIN, MASK, b"}")]).await;
    is_sent_away("nothing to go on with, and not the end", &[masked(CONTINUATION, MASK, b"}")]).await;
    is_sent_away("another text in between", &[begun.clone(), text("{}")]).await;
    is_sent_away("bytes in between", &[begun, masked(FIN | BINARY, MASK, b"{}")]).await;
}

#[tokio::test(start_paused = true)]
async fn bytes_are_no_records_and_an_empty_text_is_none() {
    for frame in [masked(FIN | BINARY, MASK, b"\x00\xff"), text(""), text(" \n ")] {
        let mut wire = Wire::open().await;

        wire.send(&[frame]).await;

        let refused = wire.record().await;
        assert_eq!((&refused["t"], &refused["id"]), (&json!("err"), &Value::Null), "{refused}");
        wire.send(&[text(ASKED)]).await;
        wire.expect_answer().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_close_frame_is_answered_and_what_comes_behind_it_is_not() {
    for (sent, answered) in [
        (control(CLOSE, b""), &b""[..]),
        (closing(1000, b""), &[3, 232]),
        (closing(1001, "bis später".as_bytes()), &[3, 233]),
        (closing(3000, b""), &[11, 184]),
        (closing(4999, &[b'x'; 123]), &[19, 135]),
    ] {
        let mut wire = Wire::open().await;

        wire.send(&[sent, text(ASKED), control(PING, b"one more"), closing(1000, b"")]).await;

        let close = wire.frame().await;
        assert_eq!(close.head, FIN | CLOSE);
        assert!(close.payload.starts_with(answered), "{close:?}");
        wire.expect_end().await;
        assert_eq!(wire.node.metric_of("weltenwind_ws_closed_total", Some("client")), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_close_frame_that_says_nothing_sound_ends_the_socket_all_the_same() {
    is_sent_away("half a code", &[control(CLOSE, &[3])]).await;
    is_sent_away("a reason that is no text", &[closing(1000, &[0xff, 0xfe])]).await;
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535] {
        let mut wire = Wire::open().await;

        wire.send(&[closing(code, b"")]).await;

        // A code that nobody may send is answered as what it is.
        wire.expect_close(1002).await;
        wire.expect_end().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_pong_goes_out_behind_the_frame_that_is_half_written_and_before_the_next_one() {
    const POSTS: usize = 40;
    let node = Node::start().await;
    let lobby = node.channel("lobby").await;
    let grant = node.guest("Mira").await;
    // Less than a frame fits into it, so one of them is half written as long as it is not read.
    let mut raw = Raw::open(node.pipe(None, 100), grant.access_token.expose()).await.unwrap();
    let join = json!({ "t": "join", "id": 1, "room": room(lobby) });
    raw.send_text(&join.to_string()).await.unwrap();
    let mut records = VecDeque::new();
    while records.back().is_none_or(|record: &Value| record["t"] != "live") {
        records.extend(raw.next().await.unwrap().text().lines().map(|line| serde_json::from_str(line).unwrap()));
    }
    for n in 0..POSTS {
        node.town.services.chat.post(&Actor::player("Lu"), Draft::new(lobby, format!("{n}"))).await.unwrap();
    }

    let (mut heard, mut pings, mut between) = (Vec::new(), 0_u8, 0);
    raw.send(&control(PING, &[pings])).await.unwrap();
    while heard.len() < POSTS {
        // Whatever fits into the pipe is written meanwhile, and the ping is read.
        tokio::time::sleep(Duration::from_millis(1)).await;
        let frame = raw.next().await.unwrap();
        if frame.head == FIN | PONG {
            assert_eq!(frame.payload, [pings]);
            (pings, between) = (pings + 1, 0);
            raw.send(&control(PING, &[pings])).await.unwrap();
            continue;
        }
        assert_eq!(frame.head, FIN | TEXT, "{frame:?}");
        between += 1;
        assert!(between <= 2, "a pong waits for no more than what was begun");
        for line in frame.text().lines() {
            let record: Value = serde_json::from_str(line).unwrap();
            assert_eq!(record["t"], "msg", "{record}");
            heard.push(record["message"]["body"].as_str().unwrap().to_owned());
        }
    }

    assert_eq!(heard, (0..POSTS).map(|n| n.to_string()).collect::<Vec<_>>());
    assert!(usize::from(pings) >= POSTS / 2, "{pings} pings were answered between {POSTS} frames");
}
