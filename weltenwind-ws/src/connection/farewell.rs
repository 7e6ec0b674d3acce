//! How a socket ends, and what a client is told of it.

use std::time::Duration;

use tokio_tungstenite::tungstenite::{Error as WsError, error::ProtocolError};
use weltenwind_core::{
    revocations::Ended,
    wire::{ServerRecord, close},
};

use super::Connection;
use crate::{host::Host, rooms::Rooms, wire::Link};

/// How a socket ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The server closes it, with a close code and its reason.
    Bye(u16, &'static str),
    /// The client closed it.
    Left,
    /// The connection broke.
    Lost,
    /// The server drains, and the socket did not close in time.
    Cut,
}

/// How long a client has to take its leave.
const CLOSE_GRACE: Duration = Duration::from_secs(5);

impl End {
    /// What becomes of a socket whose sign-in is over.
    pub(super) const fn of_ended(ended: Ended) -> Self {
        match ended {
            Ended::Session => Self::Bye(close::SESSION_ENDED, "the session has ended"),
            Ended::Device => Self::Bye(close::DEVICE_REVOKED, "the device was signed out"),
        }
    }

    /// What becomes of a socket of an account that is banned from everything.
    pub(super) const fn of_ban() -> Self {
        Self::Bye(close::BANNED, "the account is banned")
    }

    /// What becomes of a socket whose token holds nowhere any more.
    pub(super) const fn of_scope() -> Self {
        Self::Bye(close::SCOPE_CHANGED, "the access token holds nowhere any more")
    }

    /// What becomes of a socket whose frames cannot be read.
    pub(super) const fn of(error: &WsError) -> Self {
        match error {
            WsError::Capacity(_) => Self::Bye(close::PROTOCOL_VIOLATION, "a frame is too large"),
            WsError::Protocol(ProtocolError::ResetWithoutClosingHandshake) => Self::Lost,
            WsError::AttackAttempt => Self::Bye(close::PROTOCOL_VIOLATION, "pings whose answers are not read"),
            WsError::Protocol(_) | WsError::Utf8(_) => Self::Bye(close::PROTOCOL_VIOLATION, "a frame breaks RFC 6455"),
            _ => Self::Lost,
        }
    }

    /// Names the end in metrics and in the log.
    pub(super) fn label(self) -> String {
        match self {
            Self::Bye(code, _) => code.to_string(),
            Self::Left => "client".to_owned(),
            Self::Lost => "lost".to_owned(),
            Self::Cut => "cut".to_owned(),
        }
    }
}

impl<L: Link> Connection<L> {
    /// Says goodbye where there is somebody to hear it, unless all is cut meanwhile; answers how the socket has ended.
    pub(super) async fn finish(&mut self, end: End) -> End {
        // From here on nothing happens on this socket but its end.
        (self.request, self.check, self.page, self.rooms) = (None, None, None, Rooms::default());
        self.posts.clear();
        self.viewing = None;
        if self.is_suspect {
            // Nobody has looked what of it may still be told.
            self.withdraw();
        }
        let cut = self.host.cut.clone();
        tokio::select! {
            biased;
            () = cut.cancelled() => End::Cut,
            () = self.take_leave(end) => end,
        }
    }

    async fn take_leave(&mut self, end: End) {
        match end {
            End::Bye(code, reason) => {
                self.say(&bye(&self.host, code, reason));
                self.wire.close(&mut self.outbox, code, reason, CLOSE_GRACE).await;
            }
            End::Left => self.wire.answer_close(CLOSE_GRACE).await,
            End::Lost | End::Cut => {}
        }
    }
}

/// Makes a client's last record. Whoever may come back does so at random within a span, so that all do not at once.
fn bye(host: &Host, code: u16, reason: &str) -> ServerRecord {
    let window = host.reconnect_window.get().copied().unwrap_or_default();
    let window = u64::try_from(window.as_millis()).unwrap_or(u64::MAX);
    let (retry_min_ms, retry_max_ms) = match code {
        close::DRAIN => (250, window.max(1000)),
        close::OVERLOADED => (5000, 30_000),
        close::EXPIRED | close::SCOPE_CHANGED => (0, 1000),
        ..4100 => (500, 5000),
        _ => (0, 0),
    };
    ServerRecord::Bye { code, reason: reason.to_owned(), retry_min_ms, retry_max_ms, resume: code < 4200 }
}
