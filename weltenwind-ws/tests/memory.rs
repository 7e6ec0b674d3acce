//! What a socket costs: every byte that the program has allocated is counted.

mod support;

use peak_alloc::PeakAlloc;
use support::{Node, room};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use weltenwind_core::accounts::SessionGrant;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// Sends a text as a masked frame; a mask of zeros changes nothing.
async fn send(stream: &mut TcpStream, text: &str) {
    let length = u8::try_from(text.len()).expect("short texts are sent here");
    assert!(length < 126);
    let frame = [&[0x81, 0x80 | length, 0, 0, 0, 0], text.as_bytes()].concat();
    stream.write_all(&frame).await.expect("the socket is open");
}

/// Reads until this has come.
async fn read_to(stream: &mut TcpStream, text: &str) {
    let mut read = Vec::new();
    while !String::from_utf8_lossy(&read).contains(text) {
        let mut part = [0; 4096];
        let length = stream.read(&mut part).await.expect("the socket is open");
        assert!(length > 0, "{}", String::from_utf8_lossy(&read));
        read.extend_from_slice(&part[..length]);
    }
}

async fn open(node: &Node, grant: &SessionGrant) -> TcpStream {
    let mut stream = node.network().await;
    let token = grant.access_token.expose();
    let request = format!(
        "GET /realtime/v1 HTTP/1.1\r\nHost: wind.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Protocol: weltenwind.v1\r\nAuthorization: Bearer {token}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.expect("the server listens");
    read_to(&mut stream, r#""t":"welcome""#).await;
    stream
}

#[tokio::test]
async fn a_joined_socket_that_is_silent_takes_few_bytes() {
    const SOCKETS: usize = 200;
    let node = Node::start().await;
    let lobby = node.channel("lobby").await;
    let mut grants = Vec::new();
    for n in 0..=SOCKETS {
        grants.push(node.guest(&format!("guest-{n}")).await);
    }
    let mut sockets = Vec::with_capacity(grants.len());
    let mut before = 0;
    for (n, grant) in grants.iter().enumerate() {
        if n == 1 {
            // What the first socket brings about is there for all.
            before = ALLOCATOR.current_usage();
        }
        let mut stream = open(&node, grant).await;
        send(&mut stream, &format!(r#"{{"t":"join","id":1,"room":"{}"}}"#, room(lobby))).await;
        read_to(&mut stream, r#""t":"live""#).await;
        sockets.push(stream);
    }
    tokio::task::yield_now().await;

    let each = (ALLOCATOR.current_usage() - before) / SOCKETS;

    // The client's end of the connection is among them.
    assert!(each < 3 * 1024, "a socket takes {each} bytes");
}
