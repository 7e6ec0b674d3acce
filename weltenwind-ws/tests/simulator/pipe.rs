//! Pipes that can be cut, and that look at what a server writes into them.

use std::{
    fmt, io,
    pin::Pin,
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use futures_util::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

/// Cuts all ends of a pipe at once.
#[derive(Debug, Default)]
pub(crate) struct Scissors {
    ends: Mutex<Vec<Weak<End>>>,
}

#[derive(Debug, Default)]
struct End {
    is_cut: AtomicBool,
    waker: AtomicWaker,
}

impl Scissors {
    pub(crate) fn cut(&self) {
        for end in self.ends.lock().expect("no panic").drain(..).filter_map(|end| end.upgrade()) {
            end.is_cut.store(true, Ordering::SeqCst);
            end.waker.wake();
        }
    }

    fn end(&self) -> Arc<End> {
        let end = Arc::new(End::default());
        let mut ends = self.ends.lock().expect("no panic");
        ends.retain(|end| end.strong_count() > 0);
        ends.push(Arc::downgrade(&end));
        end
    }
}

/// One end of a pipe.
#[derive(Debug)]
pub(crate) struct Hose {
    inner: DuplexStream,
    end: Arc<End>,
    tap: Option<Tap>,
}

impl Hose {
    pub(crate) fn new(inner: DuplexStream, scissors: &Scissors, tap: Option<Tap>) -> Self {
        Self { inner, end: scissors.end(), tap }
    }

    fn check(&self, cx: &Context<'_>) -> io::Result<()> {
        self.end.waker.register(cx.waker());
        if self.end.is_cut.load(Ordering::SeqCst) { Err(io::ErrorKind::ConnectionReset.into()) } else { Ok(()) }
    }
}

impl AsyncRead for Hose {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.check(cx)?;
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Hose {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.check(cx)?;
        let written = Pin::new(&mut self.inner).poll_write(cx, bytes);
        if let (Poll::Ready(Ok(length)), Some(tap)) = (&written, &mut self.tap) {
            tap.see(&bytes[..*length]);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// What a client must not be told any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Secret {
    Nothing,
    /// Anything of any channel.
    Everything,
    /// Anything of one room.
    Room(String),
}

type Asked = Box<dyn Fn() -> Secret + Send>;
type Tells = Box<dyn Fn(String) + Send>;

/// Looks at frames as they are written: when one begins, it asks what its node knows by then that the client lost.
pub(crate) struct Tap {
    secret: Asked,
    tells: Tells,
    /// Whether the answer to the handshake is behind.
    is_open: bool,
    /// What was written of the frame at hand.
    frame: Vec<u8>,
    kept: Secret,
}

impl fmt::Debug for Tap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tap").field("kept", &self.kept).finish_non_exhaustive()
    }
}

impl Tap {
    /// `tells` hears of what was written and should not have been.
    pub(crate) fn new(secret: Asked, tells: Tells) -> Self {
        Self { secret, tells, is_open: false, frame: Vec::new(), kept: Secret::Nothing }
    }

    fn see(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.frame.is_empty() {
                self.kept = (self.secret)();
            }
            if !self.is_open {
                self.frame.extend_from_slice(bytes);
                let Some(end) = self.frame.windows(4).position(|window| window == b"\r\n\r\n") else { return };
                self.is_open = true;
                bytes = &bytes[bytes.len() - (self.frame.len() - end - 4)..];
                self.frame.clear();
                continue;
            }
            let missing = self.missing();
            let part = missing.min(bytes.len());
            self.frame.extend_from_slice(&bytes[..part]);
            bytes = &bytes[part..];
            if self.missing() == 0 {
                self.judge();
                self.frame.clear();
            }
        }
    }

    /// Returns how many bytes the frame lacks, as far as that is known.
    fn missing(&self) -> usize {
        let header = match self.frame.get(1) {
            None => return 2 - self.frame.len(),
            Some(126) => 4,
            Some(127) => 10,
            Some(_) => 2,
        };
        if self.frame.len() < header {
            return header - self.frame.len();
        }
        let length = match header {
            2 => u64::from(self.frame[1]),
            _ => self.frame[2..header].iter().fold(0, |length, byte| length << 8 | u64::from(*byte)),
        };
        header + usize::try_from(length).expect("a frame fits into memory") - self.frame.len()
    }

    fn judge(&self) {
        let of_rooms = match &self.kept {
            Secret::Nothing => return,
            Secret::Everything => "channel:".to_owned(),
            Secret::Room(room) => room.clone(),
        };
        crate::count("frames written after a loss was known");
        let text = String::from_utf8_lossy(&self.frame);
        let tells_of = |kind: &str| text.contains(&format!("{{\"t\":\"{kind}\",\"room\":\"{of_rooms}"));
        if ["msg", "update", "live", "gap"].into_iter().any(tells_of) {
            (self.tells)(format!("written after its loss was known ({:?}): {:.120}", self.kept, text));
        }
    }
}
