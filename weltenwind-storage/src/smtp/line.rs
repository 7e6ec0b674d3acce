//! A connection on which nothing that was said before TLS counts behind its beginning.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll, ready},
};

use lettre::transport::smtp::client::AsyncTokioStream;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// With this byte begins whoever begins TLS, and no command of SMTP.
const HANDSHAKE: u8 = 0x16;

/// A connection that is read by single bytes until TLS begins on it.
///
/// Whoever sits between may append answers to the one to `STARTTLS`, for commands that come later. Read ahead, they would be taken
/// for the server's; left where they are, they are no TLS, and its handshake fails. <https://nostarttls.secvuln.info>
#[derive(Debug)]
pub(super) struct Line {
    socket: TcpStream,
    is_plain: bool,
}

impl Line {
    pub(super) const fn new(socket: TcpStream) -> Self {
        Self { socket, is_plain: true }
    }
}

impl AsyncRead for Line {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.is_plain || buf.remaining() == 0 {
            return Pin::new(&mut self.socket).poll_read(cx, buf);
        }
        let mut byte = [0; 1];
        let mut one = ReadBuf::new(&mut byte);
        ready!(Pin::new(&mut self.socket).poll_read(cx, &mut one))?;
        buf.put_slice(one.filled());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Line {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if bytes.first() == Some(&HANDSHAKE) {
            self.is_plain = false;
        }
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

impl AsyncTokioStream for Line {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.socket.peer_addr()
    }
}
