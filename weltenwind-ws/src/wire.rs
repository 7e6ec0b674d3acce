//! One socket's two directions, polled together: a frame is written while the next one is read.

use std::{
    fmt,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_util::{Sink, SinkExt as _, Stream, StreamExt as _};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::{
    Error as WsError, Message, Utf8Bytes,
    protocol::{CloseFrame, frame::coding::CloseCode},
};
use weltenwind_core::Timestamp;

use crate::outbox::{Frame, Outbox};

/// A socket as the connection needs it: the WebSocket over a TCP stream, or channels in a test.
pub(crate) trait Socket:
    Stream<Item = Result<Message, WsError>> + Sink<Message, Error = WsError> + Unpin
{
}

impl<S> Socket for S where S: Stream<Item = Result<Message, WsError>> + Sink<Message, Error = WsError> + Unpin {}

/// A socket and the one frame that is on its way to the client.
pub(crate) struct Wire<S> {
    socket: S,
    writing: Option<Writing>,
    timeout: Duration,
}

impl<S> fmt::Debug for Wire<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire").field("writing", &self.writing).finish_non_exhaustive()
    }
}

/// Long enough to read two frames, short enough for who has left already.
const LINGER: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct Writing {
    /// Taken by the socket once it is ready.
    frame: Option<Frame>,
    give_up_at: Instant,
    oldest: Option<Timestamp>,
}

/// What happened on a socket.
#[derive(Debug)]
pub(crate) enum Turn {
    /// The frame is written; `oldest` is when its oldest fresh message was accepted.
    Written { oldest: Option<Timestamp> },
    /// A frame came in; none at the end.
    Read(Option<Result<Message, WsError>>),
    /// The connection is gone.
    Broken(WsError),
}

impl<S: Socket> Wire<S> {
    pub(crate) const fn new(socket: S, timeout: Duration) -> Self {
        Self { socket, writing: None, timeout }
    }

    /// Begins to write what waits and returns how many records that is, unless a frame is on its way.
    pub(crate) fn offer(&mut self, outbox: &mut Outbox) -> u64 {
        if self.is_writing() {
            return 0;
        }
        let Some(frame) = outbox.take_frame() else { return 0 };
        let (records, oldest) = (frame.records(), frame.oldest);
        let give_up_at = Instant::now() + self.timeout;
        self.writing = Some(Writing { frame: Some(frame), give_up_at, oldest });
        records
    }

    /// Takes a frame back that the socket has not begun to take.
    pub(crate) fn take_back(&mut self) -> Option<Frame> {
        self.writing.take_if(|writing| writing.frame.is_some())?.frame
    }

    pub(crate) const fn is_writing(&self) -> bool {
        self.writing.is_some()
    }

    /// Returns until when the client must have taken the frame.
    pub(crate) fn give_up_at(&self) -> Option<Instant> {
        self.writing.as_ref().map(|writing| writing.give_up_at)
    }

    /// Waits until the frame is written or, if `reading`, one comes in. Dropping the future loses nothing.
    pub(crate) async fn turn(&mut self, reading: bool) -> Turn {
        std::future::poll_fn(|cx| self.poll_turn(cx, reading)).await
    }

    fn poll_turn(&mut self, cx: &mut Context<'_>, reading: bool) -> Poll<Turn> {
        if let Some(writing) = &mut self.writing
            && let Poll::Ready(result) = poll_write(&mut self.socket, writing, cx)
        {
            let oldest = writing.oldest;
            self.writing = None;
            return Poll::Ready(match result {
                Ok(()) => Turn::Written { oldest },
                Err(error) => Turn::Broken(error),
            });
        }
        if reading {
            return self.socket.poll_next_unpin(cx).map(Turn::Read);
        }
        Poll::Pending
    }

    /// Writes what waits, then the close frame, and waits for the client's own; all within `grace`.
    ///
    /// Whoever closes a TCP stream with unread bytes in it resets it, and what was written last may never be read: so what
    /// still comes in is read and dropped. Behind a frame that breaks the protocol nothing can be read; then the client gets
    /// a moment.
    pub(crate) async fn close(&mut self, outbox: &mut Outbox, code: u16, reason: &'static str, grace: Duration) {
        let farewell = async {
            loop {
                self.offer(outbox);
                if !self.is_writing() {
                    break;
                }
                if let Turn::Broken(error) = self.turn(false).await {
                    return Err(error);
                }
            }
            let frame = CloseFrame { code: CloseCode::from(code), reason: Utf8Bytes::from_static(reason) };
            self.socket.send(Message::Close(Some(frame))).await?;
            let mut answered = false;
            while let Some(Ok(message)) = self.socket.next().await {
                answered |= message.is_close();
            }
            if !answered {
                tokio::time::sleep(LINGER).await;
            }
            Ok(())
        };
        match tokio::time::timeout(grace, farewell).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "a client left before it was told to"),
            Err(_) => tracing::debug!("a client did not take its leave"),
        }
    }

    /// Answers the client's close frame.
    pub(crate) async fn answer_close(&mut self, grace: Duration) {
        let answered = async { while let Some(Ok(_)) = self.socket.next().await {} };
        // Who has left does not need the answer.
        let _ = tokio::time::timeout(grace, answered).await;
    }
}

fn poll_write<S: Socket>(socket: &mut S, writing: &mut Writing, cx: &mut Context<'_>) -> Poll<Result<(), WsError>> {
    if writing.frame.is_some() {
        ready!(socket.poll_ready_unpin(cx))?;
        if let Some(frame) = writing.frame.take() {
            let text = Utf8Bytes::try_from(frame.into_text()).expect("records are JSON");
            socket.start_send_unpin(Message::Text(text))?;
        }
    }
    socket.poll_flush_unpin(cx)
}
