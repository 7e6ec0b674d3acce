//! One socket's two directions: what rooms and answers have to say is written together, while the next frame is read.
//!
//! Tungstenite reads frames and answers control frames, over memory instead of a network: its bytes come from a buffer that
//! all sockets of a thread share, and go to a small one of the socket's own. It is kept only from the beginning of a message
//! to its end, so a silent socket has neither. What the server has to say does not pass through it: finished frames are handed
//! to the network as they are.

use std::{
    cell::RefCell,
    collections::VecDeque,
    fmt,
    io::{self, IoSlice, Read, Write},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use smallvec::SmallVec;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};
use tokio_tungstenite::tungstenite::{
    Error as WsError, Message, Utf8Bytes,
    protocol::{CloseFrame, Role, WebSocketConfig, WebSocketContext, frame::coding::CloseCode},
};
use weltenwind_core::{Timestamp, revocations::LossWatch};

use crate::{
    frame,
    metrics::Counted,
    outbox::Outbox,
    rooms::{Gathered, Rooms},
};

/// What bytes run through: a TCP stream, TLS over one, or a pipe in a test.
pub(crate) trait Link: AsyncRead + AsyncWrite + Unpin + Send {}

impl<L: AsyncRead + AsyncWrite + Unpin + Send> Link for L {}

/// Bytes that are read at once.
const READ_BYTES: usize = 16 * 1024;
/// What a socket keeps for a frame that has come in only in part; it grows with the frame.
const KEPT_BYTES: usize = 128;
/// Answers to pings that may wait for a client that does not read them.
const CONTROL_BYTES: usize = 64 * 1024;
/// After so many bytes other sockets have their turn.
const TURN_BYTES: usize = 256 * 1024;
/// Frames that are handed to the network at once.
const SLICES: usize = 64;
/// Frames for this client alone that are offered at once.
const FRONT: usize = 3;
/// How long a socket takes nothing of what waits for it until it counts as stalled.
const STALLED: Duration = Duration::from_secs(5);
/// Long enough to read two frames, short enough for who has left already.
const LINGER: Duration = Duration::from_secs(1);

thread_local! {
    static READ: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into());
}

/// A socket, and what is on its way to the client.
pub(crate) struct Wire<L> {
    link: L,
    /// What reads a message of which only a part has come in, or has read the last one.
    protocol: Option<Box<WebSocketContext>>,
    /// Bytes that a frame may have.
    frame_bytes: usize,
    /// What the protocol itself has to say: answers to pings, the close frame.
    control: Vec<u8>,
    /// Frames that are written next and in this order; the first may have been begun.
    front: VecDeque<Bytes>,
    /// Bytes of the first that are written.
    begun: usize,
    /// Frames that came in and were not taken yet.
    received: VecDeque<Result<Message, WsError>>,
    /// That the client takes nothing of what waits for it.
    stall: Option<Stall>,
}

/// A client that takes nothing.
#[derive(Debug)]
struct Stall {
    since: Instant,
    /// That it counts as stalled.
    counted: Option<Counted>,
}

impl<L> fmt::Debug for Wire<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire").field("stall", &self.stall).finish_non_exhaustive()
    }
}

/// What happened on a socket.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Turn {
    /// Something of the client's own was written, or everything that it was late for, or so much that others should have their
    /// turn.
    Written { is_much: bool },
    /// So many bytes came in.
    Read(usize),
    /// A room's next page is needed.
    PageWanted,
    /// The client takes nothing of what waits for it, and the connection would look for that too late.
    Stalled,
    /// The connection is gone.
    Lost,
}

/// What was written.
#[derive(Debug, Default)]
pub(crate) struct Written {
    pub(crate) records: u64,
    /// Records for this client alone, some of which may be on their way still.
    own: u64,
    pub(crate) replayed: u64,
    pub(crate) gaps: Vec<weltenwind_core::chat::GapCause>,
    /// When the oldest message in it was accepted that happened just now.
    pub(crate) oldest: Option<Timestamp>,
    /// Whether others should have their turn.
    is_much: bool,
    bytes: usize,
}

/// What the protocol reads from and writes to.
struct Pipe<'a> {
    input: &'a [u8],
    output: &'a mut Vec<u8>,
}

impl Read for Pipe<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.input.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.input.read(buffer)
    }
}

impl Write for Pipe<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.output.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<L: Link> Wire<L> {
    /// Takes a connection over behind its handshake; `read` came along with that.
    pub(crate) fn new(link: L, read: &[u8], frame_bytes: usize) -> Self {
        let mut wire = Self {
            link,
            protocol: None,
            frame_bytes,
            control: Vec::new(),
            front: VecDeque::new(),
            begun: 0,
            received: VecDeque::new(),
            stall: None,
        };
        wire.receive(read);
        wire
    }

    /// Takes the next frame that has come in.
    pub(crate) fn take_received(&mut self) -> Option<Result<Message, WsError>> {
        let received = self.received.pop_front();
        if self.received.is_empty() {
            // A silent socket keeps no queue.
            self.received = VecDeque::new();
        }
        received
    }

    pub(crate) fn has_received(&self) -> bool {
        !self.received.is_empty()
    }

    /// Returns whether something that was handed over is not written yet.
    pub(crate) fn is_behind(&self) -> bool {
        !self.front.is_empty()
    }

    /// Drops what has not begun to be written.
    pub(crate) fn withdraw(&mut self) {
        self.front.truncate(usize::from(self.begun > 0));
    }

    /// Returns whether the client does not take what waits for it.
    pub(crate) const fn is_stalled(&self) -> bool {
        self.stall.is_some()
    }

    /// Returns when the socket counts as stalled, unless it does already or the client takes something by then.
    pub(crate) fn stalls_at(&self) -> Option<Instant> {
        self.stall.as_ref().filter(|stall| stall.counted.is_none()).map(|stall| stall.since + STALLED)
    }

    /// Notes that the socket counts as stalled until the client takes something.
    pub(crate) fn count_stalled(&mut self, counted: Counted) {
        if let Some(stall) = &mut self.stall {
            stall.counted = Some(counted);
        }
    }

    /// Returns since when the client takes nothing of what waits for it.
    pub(crate) fn stalled_since(&self) -> Option<Instant> {
        self.stall.as_ref().map(|stall| stall.since)
    }

    /// Notes that for the moment nothing is offered to the client.
    pub(crate) fn hold(&mut self) {
        self.stall = None;
    }

    /// Writes what waits and what rooms tell meanwhile, and reads if asked to.
    pub(crate) fn poll_turn(
        &mut self,
        cx: &mut Context<'_>,
        saying: Saying<'_>,
        is_reading: bool,
        count: impl FnOnce(&Written),
    ) -> Poll<Turn> {
        let Saying { outbox, rooms, losses, is_writing, is_fetching, looks_at } = saying;
        if is_writing {
            // Only who was behind had something waiting here already.
            let was_behind = self.stall.is_some() || !self.front.is_empty();
            let mut written = Written::default();
            let write = self.poll_write(cx, outbox, Some((rooms, losses)), &mut written);
            if written.bytes > 0 {
                count(&written);
            }
            if let Poll::Ready(Err(_)) = write {
                return Poll::Ready(Turn::Lost);
            }
            let has_caught_up = was_behind && self.stall.is_none();
            if written.own > 0 || written.is_much || has_caught_up {
                return Poll::Ready(Turn::Written { is_much: written.is_much });
            }
            if self.stalls_at().is_some_and(|at| at < looks_at) {
                return Poll::Ready(Turn::Stalled);
            }
            if !is_fetching && rooms.wants_page() {
                return Poll::Ready(Turn::PageWanted);
            }
        }
        if is_reading {
            return self.poll_read(cx).map(|read| match read {
                Ok(bytes @ 1..) => Turn::Read(bytes),
                Ok(0) | Err(_) => Turn::Lost,
            });
        }
        Poll::Pending
    }

    /// Writes until nothing waits, the client takes no more, or others should have their turn. Of rooms nothing is written
    /// once a loss is known: another thread may tell of one between two writes.
    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        outbox: &mut Outbox,
        rooms: Option<(&mut Rooms, &LossWatch)>,
        written: &mut Written,
    ) -> Poll<io::Result<()>> {
        let (mut rooms, losses) = rooms.unzip();
        let mut told = SmallVec::new();
        loop {
            // What is not offered yet stays where it is counted.
            if !self.control.is_empty() && self.front.len() < FRONT {
                self.front.push_back(std::mem::take(&mut self.control).into());
            }
            while self.front.len() < FRONT
                && let Some((frame, records)) = outbox.take_frame()
            {
                written.records += records;
                written.own += records;
                self.front.push_back(frame);
            }
            if let Some(rooms) = rooms.as_deref_mut()
                && outbox.is_empty()
            {
                rooms.gather(TURN_BYTES - written.bytes, &mut told);
            }
            let mut slices = [IoSlice::new(&[]); SLICES];
            let mut count = 0;
            let frames = self.front.iter().chain(told.iter().map(|told| &told.piece.frame));
            for (slice, frame) in slices.iter_mut().zip(frames) {
                *slice = IoSlice::new(if count == 0 { &frame[self.begun..] } else { frame });
                count += 1;
            }
            if count == 0 {
                // A silent socket keeps no queue.
                self.front = VecDeque::new();
                self.stall = None;
                // TLS may have taken more than the network did, and sends the rest when it is asked to; a stream without a
                // buffer has nothing to do.
                return match Pin::new(&mut self.link).poll_flush(cx) {
                    Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                    Poll::Ready(Ok(())) | Poll::Pending => Poll::Ready(Ok(())),
                };
            }
            if written.bytes > 0 && losses.is_some_and(LossWatch::has_changed) {
                // Whoever watches was woken by it, and looks at it before anything more is written.
                return Poll::Ready(Ok(()));
            }
            let length = match Pin::new(&mut self.link).poll_write_vectored(cx, &slices[..count]) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(length) => length?,
                Poll::Pending => {
                    self.stall.get_or_insert_with(|| Stall { since: Instant::now(), counted: None });
                    return Poll::Pending;
                }
            };
            self.stall = None;
            written.bytes += length;
            self.advance(length, rooms.as_deref_mut(), &mut told, written);
            if written.bytes >= TURN_BYTES {
                written.is_much = true;
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Notes that so many bytes of what waits are written.
    fn advance(&mut self, length: usize, rooms: Option<&mut Rooms>, told: &mut Gathered, written: &mut Written) {
        let mut left = self.begun + length;
        self.begun = 0;
        while let Some(frame) = self.front.front() {
            if left < frame.len() {
                self.begun = left;
                told.clear();
                return;
            }
            left -= frame.len();
            self.front.pop_front();
        }
        let Some(rooms) = rooms else { return };
        for told in told.drain(..) {
            if left == 0 {
                break;
            }
            let piece = &told.piece;
            rooms.pass(&told);
            written.records += piece.records;
            written.replayed += piece.replayed;
            written.gaps.extend(piece.gap);
            written.oldest = written.oldest.or(piece.accepted_at);
            if left < piece.frame.len() {
                // A frame that was begun is ended, whatever becomes of its room.
                self.begun = left;
                self.front.push_back(told.piece.frame);
                break;
            }
            left -= piece.frame.len();
        }
    }

    /// Reads what has come in; answers how many bytes.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        READ.with_borrow_mut(|buffer| {
            let mut buffer = ReadBuf::new(buffer);
            ready!(Pin::new(&mut self.link).poll_read(cx, &mut buffer))?;
            self.receive(buffer.filled());
            Poll::Ready(Ok(buffer.filled().len()))
        })
    }

    /// Takes what reads and writes the protocol's own frames; one that begins makes room for so many bytes.
    fn take_protocol(&mut self, kept: usize) -> Box<WebSocketContext> {
        self.protocol.take().unwrap_or_else(|| {
            let config = WebSocketConfig::default()
                .read_buffer_size(kept)
                .write_buffer_size(0)
                .max_message_size(Some(self.frame_bytes))
                .max_frame_size(Some(self.frame_bytes));
            Box::new(WebSocketContext::new(Role::Server, Some(config)))
        })
    }

    /// Takes bytes apart into frames.
    fn receive(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let is_whole = self.protocol.is_none() && frame::are_whole(bytes);
        let mut protocol = self.take_protocol(if is_whole { bytes.len() } else { KEPT_BYTES });
        let mut pipe = Pipe { input: bytes, output: &mut self.control };
        loop {
            match protocol.read(&mut pipe) {
                Ok(message) => self.received.push_back(Ok(message)),
                Err(WsError::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => {
                    self.received.push_back(Err(error));
                    break;
                }
            }
        }
        if !is_whole || !protocol.can_write() {
            self.protocol = Some(protocol);
        }
        if self.control.len() > CONTROL_BYTES {
            // Whoever pings without reading the answers is not owed them.
            self.control.clear();
            self.received.push_back(Err(WsError::AttackAttempt));
        }
    }

    /// Writes what waits, then the close frame, and waits for the client's own; all within `grace`. Rooms are not heard.
    ///
    /// Whoever closes a TCP stream with unread bytes in it resets it, and what was written last may never be read: so what
    /// still comes in is read and dropped. Behind a frame that breaks the protocol nothing can be read; then the client gets
    /// a moment.
    pub(crate) async fn close(&mut self, outbox: &mut Outbox, code: u16, reason: &'static str, grace: Duration) {
        let farewell = async {
            self.flush(outbox).await?;
            let frame = CloseFrame { code: CloseCode::from(code), reason: Utf8Bytes::from_static(reason) };
            let mut protocol = self.take_protocol(KEPT_BYTES);
            let mut pipe = Pipe { input: &[], output: &mut self.control };
            // What is written to memory cannot fail; a protocol that is over has nothing more to say.
            let _ = protocol.close(&mut pipe, Some(frame));
            self.protocol = Some(protocol);
            self.flush(outbox).await?;
            if !self.is_answered().await? {
                tokio::time::sleep(LINGER).await;
            }
            Ok::<_, io::Error>(())
        };
        match tokio::time::timeout(grace, farewell).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "a client left before it was told to"),
            Err(_) => tracing::debug!("a client did not take its leave"),
        }
    }

    /// Reads until the client's close frame, or until nothing can be read any more.
    async fn is_answered(&mut self) -> io::Result<bool> {
        loop {
            while let Some(received) = self.take_received() {
                match received {
                    Ok(Message::Close(_)) => return Ok(true),
                    Ok(_) => {}
                    Err(_) => return Ok(false),
                }
            }
            if std::future::poll_fn(|cx| self.poll_read(cx)).await? == 0 {
                return Ok(true);
            }
        }
    }

    /// Answers the client's close frame.
    pub(crate) async fn answer_close(&mut self, grace: Duration) {
        if let Some(protocol) = &mut self.protocol {
            let mut pipe = Pipe { input: &[], output: &mut self.control };
            // The answer lies ready; that the protocol is over behind it is no news.
            let _ = protocol.flush(&mut pipe);
        }
        self.withdraw();
        // Who has left does not need the answer.
        let _ = tokio::time::timeout(grace, self.flush(&mut Outbox::new(0))).await;
    }

    /// Writes everything that waits outside the rooms.
    async fn flush(&mut self, outbox: &mut Outbox) -> io::Result<()> {
        loop {
            let mut written = Written::default();
            std::future::poll_fn(|cx| self.poll_write(cx, outbox, None, &mut written)).await?;
            if !written.is_much {
                return std::future::poll_fn(|cx| Pin::new(&mut self.link).poll_flush(cx)).await;
            }
        }
    }
}

/// What may be said in a turn.
pub(crate) struct Saying<'a> {
    pub(crate) outbox: &'a mut Outbox,
    pub(crate) rooms: &'a mut Rooms,
    /// What may end or change what the rooms may say.
    pub(crate) losses: &'a LossWatch,
    /// Whether anything may be written at all.
    pub(crate) is_writing: bool,
    /// Whether a page is on its way already.
    pub(crate) is_fetching: bool,
    /// When the connection looks whether the socket is stalled.
    pub(crate) looks_at: Instant,
}
