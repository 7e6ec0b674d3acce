//! Records: one flat JSON object per line, read from clients and written to them.

use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use weltenwind_core::{
    Class, Classify, Code, CorrelationId, CursorSealer, Room, chain,
    chat::{Message, RoomCursor},
    wire::{ClientRecord, MessageBody, ProblemBody, ServerRecord},
};

/// A detail names what could not be read; more of it than this would only echo the client.
const MAX_DETAIL: usize = 200;

/// Why a socket refuses a record, or gives it up, by itself; everything else is refused by a service.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("the record cannot be read: {0}")]
    Unreadable(String),
    #[error("the room is joined already")]
    AlreadyJoined,
    #[error("the room is not joined")]
    NotJoined,
    #[error("a socket may join {0} rooms")]
    TooManyRooms(usize),
    #[error("the room does not exist")]
    RoomNotFound,
    #[error("messages are posted to rooms of channels")]
    NotAChannel,
    #[error("nobody is told who is in this room")]
    NoPresence,
    #[error("the access token is of another session")]
    ForeignToken,
    #[error("nobody has answered in time")]
    TooSlow,
}

impl Classify for Refusal {
    fn code(&self) -> Code {
        match self {
            Self::Unreadable(_) => Code::RecordUnreadable,
            Self::AlreadyJoined => Code::AlreadyJoined,
            Self::NotJoined => Code::NotJoined,
            Self::TooManyRooms(_) => Code::TooManyRooms,
            Self::RoomNotFound => Code::RoomNotFound,
            Self::NotAChannel | Self::NoPresence => Code::ValidationFailed,
            Self::ForeignToken => Code::TokenInvalid,
            Self::TooSlow => Code::TimedOut,
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        matches!(self, Self::TooSlow).then_some(Duration::from_secs(1))
    }
}

/// Any error that an `err` or `left` record tells of.
#[derive(Debug)]
pub(crate) struct Failure(Box<dyn Classify + Send + Sync>);

impl<E: Classify + Send + Sync + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(Box::new(error))
    }
}

impl Failure {
    pub(crate) fn code(&self) -> Code {
        self.0.code()
    }

    /// Returns whether the server could not decide: it is neither yes nor no.
    pub(crate) fn is_ours(&self) -> bool {
        matches!(self.0.class(), Class::Internal | Class::Unavailable)
    }

    /// Writes a failure of the server in full to the log; a refusal is none.
    pub(crate) fn log(&self, request: &CorrelationId) {
        let code = self.0.code();
        match self.0.class() {
            Class::Internal => {
                tracing::error!(correlation_id = %request, %code, error = chain(&*self.0), "a record failed");
            }
            Class::Unavailable => {
                tracing::warn!(correlation_id = %request, %code, error = chain(&*self.0), "a record failed");
            }
            // Its words may repeat the client's.
            _ => tracing::debug!(correlation_id = %request, %code, "a record is refused"),
        }
    }

    /// Makes the answer: a refusal in its own words, a failure of the server in neutral ones.
    pub(crate) fn record(&self, id: Option<i64>, request: &CorrelationId) -> ServerRecord {
        self.log(request);
        let problem = ProblemBody::of(&*self.0, request);
        ServerRecord::Err {
            id,
            code: problem.code,
            detail: problem.detail,
            correlation_id: problem.correlation_id,
            retry_after_ms: self.0.retry_after().map(milliseconds_up),
        }
    }
}

/// Whoever waits so long has waited long enough.
fn milliseconds_up(wait: Duration) -> u64 {
    u64::try_from(wait.as_micros().div_ceil(1000)).unwrap_or(u64::MAX)
}

/// Reads one line. A record of an unknown kind and an unknown member are refused, as in bodies over HTTP: whoever sends
/// `reply_to` instead of `replyTo` should learn of it.
///
/// # Errors
///
/// What is wrong, and the record's `id` if that much can be read.
pub(crate) fn read(line: &str) -> Result<ClientRecord, (Option<i64>, String)> {
    #[derive(Deserialize)]
    struct Identified {
        id: Option<i64>,
    }

    // Serde would take the members of a record from a list as well.
    if !line.starts_with('{') {
        return Err((None, "an object is expected".to_owned()));
    }
    serde_json::from_str(line).map_err(|error| {
        let id = serde_json::from_str::<Identified>(line).ok().and_then(|record| record.id);
        let mut detail = error.to_string();
        detail.truncate(detail.floor_char_boundary(MAX_DETAIL));
        (id, detail)
    })
}

/// Writes a record as one line, without its end.
pub(crate) fn write(record: &ServerRecord) -> Bytes {
    serde_json::to_vec(record).expect("a record is plain data").into()
}

/// Writes what happened to a message, and how far whoever reads it was `told` by then. Nothing in it depends on who that is.
pub(crate) fn write_change(message: &Message, told: RoomCursor, is_news: bool, cursors: &CursorSealer) -> Bytes {
    let room = Room::Channel(message.channel);
    let cursor = cursors.seal_room(message.channel, told);
    let body = MessageBody::from(message);
    write(&if is_news {
        ServerRecord::Msg { room, seq: body.seq, cursor, message: body }
    } else {
        ServerRecord::Update { room, cursor, message: body }
    })
}

#[cfg(test)]
mod tests {
    use weltenwind_core::chat::{ChatError, Refusal as ChatRefusal};

    use super::*;

    fn request() -> CorrelationId {
        CorrelationId::accept("request-1").unwrap()
    }

    #[test]
    fn a_record_is_read_as_it_was_meant() {
        let record = read(r#"{"t":"join","id":1,"room":"global"}"#).unwrap();

        assert_eq!(record, ClientRecord::Join { id: 1, room: Room::Global, since: None });
        assert_eq!(read(r#"{"t":"pong"}"#).unwrap(), ClientRecord::Pong);
    }

    #[test]
    fn an_unreadable_record_keeps_its_id_where_that_can_be_read() {
        for (line, expected) in [
            ("", None),
            ("no json", None),
            ("[1]", None),
            (r#"["pong"]"#, None),
            (r#"{"t":"join","id":7}"#, Some(7)),
            (r#"{"t":"join","id":"7","room":"global"}"#, None),
            (r#"{"t":"join","id":7.5,"room":"global"}"#, None),
            (r#"{"t":"join","id":7,"room":"lobby"}"#, Some(7)),
            (r#"{"t":"join","id":7,"room":"global","cursor":"x"}"#, Some(7)),
            (r#"{"t":"pub","id":7,"room":"global","clientId":"a","body":"b","reply_to":null}"#, Some(7)),
            (r#"{"t":"dance","id":7}"#, Some(7)),
            (r#"{"t":"presence","id":7,"room":"global","state":{}}"#, Some(7)),
            (r#"{"t":"foreground","id":7}"#, Some(7)),
            (r#"{"id":7}"#, Some(7)),
            (r#"{"t":"join","id":7,"id":8,"room":"global"}"#, None),
        ] {
            assert_eq!(read(line).unwrap_err().0, expected, "{line}");
        }
    }

    #[test]
    fn a_detail_does_not_echo_a_whole_frame() {
        let line = format!(r#"{{"t":"{}"}}"#, "ß".repeat(10_000));

        let (_, detail) = read(&line).unwrap_err();

        assert!(detail.len() <= MAX_DETAIL);
    }

    #[test]
    fn a_refusal_speaks_in_its_own_words_and_a_failure_in_neutral_ones() {
        let refusal = Failure::from(ChatError::Refused(ChatRefusal::ReplyNotFound));
        let failure = Failure::from(weltenwind_core::StorageError::transient("append", "no route to db.internal"));

        insta::assert_json_snapshot!([refusal.record(Some(7), &request()), failure.record(None, &request())], @r#"
        [
          {
            "t": "err",
            "id": 7,
            "code": "reply-not-found",
            "detail": "The message replied to is not in this channel.",
            "correlationId": "request-1"
          },
          {
            "t": "err",
            "id": null,
            "code": "unavailable",
            "detail": "A part of the server is away; the same request may pass in a moment.",
            "correlationId": "request-1",
            "retryAfterMs": 1000
          }
        ]
        "#);
    }
}
