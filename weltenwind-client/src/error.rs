//! Why something failed, and what can be done about it.

use std::{error::Error, fmt, time::Duration};

use weltenwind_core::{
    Code, Room,
    wire::{ProblemBody, ProblemError},
};

/// Why a call or a socket failed.
///
/// Whatever the server has a name for is printed with that name, the correlation id: its log tells the rest.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The server answered no, over HTTP or on the socket.
    #[error(transparent)]
    Refused(#[from] Box<Refusal>),
    /// No answer came: the server may be away, and may or may not have done what was asked.
    #[error("no answer from the server (request {correlation_id})")]
    Unreachable {
        /// What the request was called. A server that trusts this client uses the same name.
        correlation_id: String,
        /// Whether the request may have reached the server.
        sent: bool,
        /// What went wrong below.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The answer is not what this client was written for.
    #[error("the server's answer cannot be read (request {correlation_id})")]
    Unreadable {
        /// The request, or the connection for a record of the socket.
        correlation_id: String,
        /// What does not fit.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The address is not that of a server.
    #[error("`{0}` is no address of a server: one like https://wind.example is expected")]
    BadAddress(String),
    /// The program gave settings that no connection can be made with.
    #[error("the HTTP client cannot be built")]
    Setup(#[source] Box<dyn Error + Send + Sync>),
    /// What was asked for needs a session.
    #[error("nobody is signed in")]
    NotSignedIn,
    /// The room is joined, or about to be.
    #[error("the room {0} is joined already")]
    AlreadyJoined(Room),
    /// Messages are posted to rooms of channels.
    #[error("the room {0} is no channel")]
    NotAChannel(Room),
    /// The connection is lost just now, and what was asked for is of no use later.
    #[error("there is no connection at the moment")]
    NotConnected,
    /// Too many messages wait for their acknowledgement; this one was not queued.
    #[error("{0} messages wait to be sent, and no more are taken")]
    QueueFull(usize),
    /// Nobody knows whether a message was stored: the server could not say so, however often it was asked, or the socket was
    /// closed for good before it did. Posted again under the same client id, the message is stored once.
    #[error("nobody knows whether the message {client_id} was stored")]
    OutcomeUnknown {
        /// What the message is called: the `client_id` of a [`Draft`](crate::Draft).
        client_id: String,
        /// What the server said last; none if the socket was closed instead.
        source: Option<Box<Refusal>>,
    },
    /// The server closed the socket for good.
    #[error("the server ended the connection: {reason} ({code}, connection {connection})")]
    Ended {
        /// The close code: 4200 to 4299.
        code: u16,
        /// Why.
        reason: String,
        /// Names the connection in the server's log.
        connection: String,
    },
    /// The connection broke, or the server is silent; it is opened again.
    #[error("the connection {connection} was lost: {reason}")]
    Lost {
        /// How it ended.
        reason: String,
        /// Names the connection in the server's log.
        connection: String,
    },
    /// The socket was closed on this side.
    #[error("the socket is closed")]
    Closed,
}

impl ClientError {
    /// Returns whether the same call may pass later. Not so [`ClientError::OutcomeUnknown`]: under another client id the message
    /// might be stored a second time.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Refused(refusal) => refusal.is_retryable(),
            Self::Unreachable { .. } | Self::NotConnected | Self::QueueFull(_) | Self::Lost { .. } => true,
            _ => false,
        }
    }

    /// Returns the code of the server's catalogue, if the server refused.
    pub fn code(&self) -> Option<&str> {
        self.refusal().map(|refusal| refusal.code.as_str())
    }

    /// Returns the server's refusal, if there is one.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused(refusal) | Self::OutcomeUnknown { source: Some(refusal), .. } => Some(refusal),
            _ => None,
        }
    }

    /// Returns what the request, or the connection, is called in the server's log.
    pub fn correlation_id(&self) -> Option<&str> {
        match self {
            Self::Refused(refusal) | Self::OutcomeUnknown { source: Some(refusal), .. } => {
                Some(&refusal.correlation_id)
            }
            Self::Unreachable { correlation_id, .. } | Self::Unreadable { correlation_id, .. } => Some(correlation_id),
            Self::Ended { connection, .. } | Self::Lost { connection, .. } => Some(connection),
            _ => None,
        }
    }

    /// Returns whether a socket that was open before is opened again after this. What the server refuses by name is final; a
    /// defect of its, and whatever something before it says, is not.
    pub(crate) fn spares_the_socket(&self) -> bool {
        match self {
            Self::Refused(refusal) => {
                refusal.is_retryable() || refusal.is_foreign() || refusal.status.is_some_and(|status| status >= 500)
            }
            Self::Unreadable { .. } => true,
            _ => self.is_retryable(),
        }
    }

    /// Returns whether another access token may help.
    pub(crate) fn is_stale_token(&self) -> bool {
        matches!(self.code(), Some("token-expired" | "token-invalid"))
    }
}

/// What the codes begin with that stand for a status without a problem body.
const FOREIGN: &str = "http-";

/// A refusal in the server's words, over HTTP (RFC 9457) or on the socket.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refusal {
    /// The code in the catalogue: what a program decides by.
    pub code: String,
    /// What is wrong this time: what a person reads.
    pub detail: String,
    /// The HTTP status, also for a refusal on the socket; none for a code that this client does not know.
    pub status: Option<u16>,
    /// Names the request in the server's log.
    pub correlation_id: String,
    /// How long to wait before the same request may pass.
    pub retry_after: Option<Duration>,
    /// Each member that breaks a rule.
    pub errors: Vec<ProblemError>,
}

impl Refusal {
    /// A refusal on the socket.
    pub(crate) fn of_record(code: String, detail: String, correlation_id: String, retry_after_ms: Option<u64>) -> Self {
        let status = Code::ALL.iter().find(|known| known.as_str() == code).map(|code| code.status());
        let retry_after = retry_after_ms.map(Duration::from_millis);
        Self { code, detail, status, correlation_id, retry_after, errors: Vec::new() }
    }

    /// An answer that is no success. What stands before the server, a proxy say, has no problem body.
    pub(crate) fn of_answer(status: u16, body: &[u8], correlation_id: String, retry_after: Option<Duration>) -> Self {
        match serde_json::from_slice::<ProblemBody>(body) {
            Ok(problem) => Self {
                code: problem.code,
                detail: problem.detail,
                status: Some(status),
                correlation_id: problem.correlation_id,
                retry_after: retry_after.or(problem.retry_after.map(Duration::from_secs)),
                errors: problem.errors,
            },
            Err(_) => Self {
                code: format!("{FOREIGN}{status}"),
                detail: "The answer has no problem body; something before the server may have given it.".to_owned(),
                status: Some(status),
                correlation_id,
                retry_after,
                errors: Vec::new(),
            },
        }
    }

    /// Returns whether the same request may pass later: it came too often, or too slowly, its first copy is still running, a
    /// part of the server is away, or something before the server cannot reach it.
    pub fn is_retryable(&self) -> bool {
        match self.status {
            Some(409) => self.code == Code::IdempotencyInProgress.as_str(),
            Some(500..) if self.is_foreign() => true,
            Some(status) => matches!(status, 408 | 429 | 502 | 503 | 504),
            None => self.retry_after.is_some(),
        }
    }
}

impl Refusal {
    /// Returns whether the answer is not the server's own.
    fn is_foreign(&self) -> bool {
        self.code.starts_with(FOREIGN)
    }

    /// Returns whether what was asked for may have been done all the same: the server failed, perhaps behind the effect.
    pub(crate) fn is_undecided(&self) -> bool {
        is_of_the_moment(&self.code) && self.code != Code::Overloaded.as_str()
    }
}

/// Returns whether a code says that the server cannot do something, and may in a moment.
pub(crate) fn is_of_the_moment(code: &str) -> bool {
    [Code::Internal, Code::Overloaded, Code::TimedOut, Code::Unavailable].iter().any(|known| known.as_str() == code)
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { code, detail, correlation_id, .. } = self;
        write!(f, "{code}: {} (request {correlation_id})", detail.trim_end_matches('.'))
    }
}

impl Error for Refusal {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_body_keeps_what_the_server_said() {
        let body = br#"{"type":"urn:weltenwind:problem:slow-mode","title":"t","status":429,"detail":"Wait a moment.",
            "instance":"urn:weltenwind:request:request-1","code":"slow-mode","correlationId":"request-1","retryAfter":5}"#;

        let refusal = Refusal::of_answer(429, body, "mine".to_owned(), None);

        assert_eq!(refusal.retry_after, Some(Duration::from_secs(5)));
        assert!(refusal.is_retryable());
        assert_eq!(ClientError::from(Box::new(refusal)).to_string(), "slow-mode: Wait a moment (request request-1)");
    }

    #[test]
    fn an_answer_without_a_problem_body_is_a_refusal_by_its_status() {
        let refusal = Refusal::of_answer(502, b"<html>Bad Gateway", "request-1".to_owned(), None);

        assert_eq!((refusal.code.as_str(), refusal.is_retryable()), ("http-502", true));
        for (status, is_retryable) in [(408, true), (409, false), (404, false), (500, true), (520, true), (530, true)] {
            assert_eq!(Refusal::of_answer(status, b"", String::new(), None).is_retryable(), is_retryable, "{status}");
        }
        assert_eq!(refusal.correlation_id, "request-1");
    }

    #[test]
    fn only_what_the_server_refuses_by_name_keeps_a_socket_closed() {
        let foreign = |status| Refusal::of_answer(status, b"<html>", String::new(), None);
        let named = |code: Code| Refusal::of_record(code.to_string(), String::new(), String::new(), None);
        let spares = |refusal: Refusal| ClientError::from(Box::new(refusal)).spares_the_socket();

        assert!([200, 301, 403, 404, 500, 520].into_iter().all(|status| spares(foreign(status))));
        assert!([Code::Internal, Code::Unavailable, Code::RateLimited].into_iter().all(|code| spares(named(code))));
        assert!(
            ![Code::SessionEnded, Code::OriginNotAllowed, Code::NotFound].into_iter().any(|code| spares(named(code)))
        );
    }

    #[test]
    fn a_code_from_the_socket_has_the_status_it_has_over_http() {
        let of = |code: &str, wait| Refusal::of_record(code.to_owned(), String::new(), String::new(), wait);

        assert_eq!(of("unavailable", Some(1000)).status, Some(503));
        assert!(of("unavailable", None).is_retryable() && !of("permission-denied", None).is_retryable());
        assert!(of("idempotency-in-progress", Some(1000)).is_retryable() && !of("slug-taken", None).is_retryable());
        assert!(of("not-known-yet", Some(1)).is_retryable() && !of("not-known-yet", None).is_retryable());
    }
}
