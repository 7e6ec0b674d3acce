//! A client that puts its frames together byte by byte: nothing stands between a test and the wire.

use std::io;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::Pipe;

pub(crate) const TEXT: u8 = 1;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;
/// The bit of a message's last frame.
pub(crate) const FIN: u8 = 0x80;

/// A socket behind its handshake.
#[derive(Debug)]
pub(crate) struct Raw<S> {
    pub(crate) stream: S,
    /// What was read and is no whole frame yet.
    buffer: Vec<u8>,
    /// Bytes that are read at once.
    pub(crate) sip: usize,
}

/// A frame as it came: its first byte, and what it carries.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) head: u8,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    pub(crate) const fn opcode(&self) -> u8 {
        self.head & 0x0f
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.payload).expect("a server sends text")
    }
}

/// Puts a frame together as a client does. A mask of zeros leaves the payload readable, and is as good as any other.
pub(crate) fn masked(head: u8, mask: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![head];
    let length = payload.len();
    match length {
        0..126 => frame.push(0x80 | u8::try_from(length).expect("less than 126")),
        126..0x1_0000 => {
            frame.push(0x80 | 0x7e);
            frame.extend(u16::try_from(length).expect("less than 64 KiB").to_be_bytes());
        }
        _ => {
            frame.push(0x80 | 0x7f);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    frame.extend(mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

impl<S: Pipe> Raw<S> {
    /// Opens a socket with a bearer token; answers the status if that is refused, and nothing if nobody answers.
    pub(crate) async fn open(mut stream: S, token: &str) -> Result<Self, Option<u16>> {
        let request = format!(
            "GET /realtime/v1 HTTP/1.1\r\nhost: wind.test\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             sec-websocket-protocol: weltenwind.v1\r\nauthorization: Bearer {token}\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.map_err(|_| None)?;
        let mut socket = Self { stream, buffer: Vec::new(), sip: 4096 };
        let head = loop {
            if let Some(end) = socket.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break socket.buffer.drain(..end + 4).collect::<Vec<_>>();
            }
            if !socket.fill().await {
                return Err(None);
            }
        };
        match head.get(9..12).and_then(|status| std::str::from_utf8(status).ok()?.parse().ok()) {
            Some(101) => Ok(socket),
            status => Err(status),
        }
    }

    /// Reads a little more; answers whether there was something.
    async fn fill(&mut self) -> bool {
        let mut part = [0; 4096];
        let sip = self.sip.min(part.len());
        match self.stream.read(&mut part[..sip]).await {
            Ok(0) | Err(_) => false,
            Ok(length) => {
                self.buffer.extend_from_slice(&part[..length]);
                true
            }
        }
    }

    /// Reads the next frame; none once the other side has gone. Dropping the future loses nothing.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.take_frame() {
                return Some(frame);
            }
            if !self.fill().await {
                return None;
            }
        }
    }

    fn take_frame(&mut self) -> Option<Frame> {
        let [head, length, ..] = *self.buffer.as_slice() else { return None };
        let (start, length) = match length {
            126 => (4, u16::from_be_bytes(self.buffer.get(2..4)?.try_into().ok()?).into()),
            127 => (10, u64::from_be_bytes(self.buffer.get(2..10)?.try_into().ok()?)),
            _ => (2, length.into()),
        };
        let end = start + usize::try_from(length).expect("a frame fits into memory");
        let payload = self.buffer.get(start..end)?.to_vec();
        self.buffer.drain(..end);
        Some(Frame { head, payload })
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    pub(crate) async fn send_text(&mut self, text: &str) -> io::Result<()> {
        self.send(&masked(FIN | TEXT, [0; 4], text.as_bytes())).await
    }
}
