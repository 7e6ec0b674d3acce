//! What clients say and hear: on `/realtime/v1`, and to socket.io, which is measured beside it.

use std::{borrow::Cow, io::Write as _};

use memchr::memmem;

use super::frames;
use crate::failure::Failure;

/// Which protocol a server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    Weltenwind,
    /// Engine.IO 4 and Socket.IO 5 over a WebSocket, as `benches/socketio-rooms` uses them.
    SocketIo,
}

/// What a record from the server means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard<'r> {
    /// A message of the room.
    Message {
        seq: u64,
        stamp: Stamp,
        in_its_room: bool,
    },
    /// A message was taken, and got a number.
    Accepted {
        id: usize,
        seq: u64,
    },
    /// Something was taken that gets no number.
    Taken {
        id: usize,
    },
    /// Somebody writes.
    Typing {
        user: &'r [u8],
        in_its_room: bool,
    },
    /// Who is there has changed; the record has what they say of themselves.
    Presence {
        version: u64,
        record: &'r [u8],
        in_its_room: bool,
    },
    /// The room was joined, at a position if the server names one; presence counts on from a version.
    Joined {
        cursor: Option<String>,
        version: u64,
    },
    /// What happened before was heard.
    Live,
    /// This must be answered before anything else happens.
    Ask(&'static [u8]),
    /// The room may be joined now.
    MayJoin,
    Refused(&'r [u8]),
    Other,
}

/// When and by whom a message was sent; every message says so of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    /// Microseconds since the bench's clock began.
    pub(super) micros: u64,
    pub(super) publisher: usize,
}

/// How the server writes the beginning of a record.
const KIND: &[u8] = br#"{"t":""#;
/// Bytes of every message's text.
const TEXT: usize = 256;

impl Stamp {
    const MARK: &[u8] = b"sent-at-";

    /// Appends a text of 256 bytes that begins with the stamp.
    pub(super) fn push_text(self, out: &mut Vec<u8>) {
        let end = out.len() + TEXT;
        let Self { micros, publisher } = self;
        write!(out, "sent-at-{micros:016}-{publisher:04} ").expect("a Vec takes everything");
        out.resize(end, b'x');
    }

    /// Appends it as what somebody says of themselves.
    pub(super) fn push_state(self, out: &mut Vec<u8>) {
        let Self { micros, publisher } = self;
        write!(out, "sent-at-{micros:016}-{publisher:04}").expect("a Vec takes everything");
    }

    /// Finds every stamp in a record.
    pub(super) fn all(record: &[u8]) -> impl Iterator<Item = Self> {
        memmem::find_iter(record, Self::MARK).filter_map(|at| Self::find(&record[at..]))
    }

    /// Finds the first stamp: to parse each record would measure the parser.
    fn find(record: &[u8]) -> Option<Self> {
        let at = memmem::find(record, Self::MARK)? + Self::MARK.len();
        let micros = digits(record.get(at..at + 16)?)?;
        let publisher = digits(record.get(at + 17..at + 21)?)?;
        Some(Self { micros, publisher: usize::try_from(publisher).ok()? })
    }
}

/// Reads the number that begins the bytes.
fn digits(bytes: &[u8]) -> Option<u64> {
    let count = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let number = |number: u64, digit: &u8| number.checked_mul(10)?.checked_add(u64::from(digit - b'0'));
    (count > 0).then(|| bytes[..count].iter().try_fold(0, number))?
}

/// Reads the number of the first member of that name: `"seq":`.
fn member(record: &[u8], name: &[u8]) -> Option<u64> {
    digits(&record[memmem::find(record, name)? + name.len()..])
}

/// Reads the text of the first member of that name, which holds no quotes: `"user":"`.
pub(super) fn text<'r>(record: &'r [u8], name: &[u8]) -> Option<&'r [u8]> {
    let value = &record[memmem::find(record, name)? + name.len()..];
    Some(&value[..memchr::memchr(b'"', value)?])
}

impl Dialect {
    /// The request that opens a socket; `user` is whom the token is of, for servers that do not look into tokens.
    pub(super) fn handshake(self, host: &str, token: &str, user: &str) -> Vec<u8> {
        let (path, more) = match self {
            Self::Weltenwind => {
                ("/realtime/v1", format!("sec-websocket-protocol: weltenwind.v1\r\nauthorization: Bearer {token}\r\n"))
            }
            Self::SocketIo => ("/socket.io/?EIO=4&transport=websocket", String::new()),
        };
        format!(
            "GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHdpbmQgaGFzIHR1cg==\r\nuser-agent: {user}\r\n\
             {more}\r\n"
        )
        .into_bytes()
    }

    /// Whether a client joins as soon as the socket is open.
    pub(super) const fn joins_at_once(self) -> bool {
        matches!(self, Self::Weltenwind)
    }

    /// Whether messages of one room keep one order when they are posted on two nodes.
    pub(super) const fn orders_across_nodes(self) -> bool {
        matches!(self, Self::Weltenwind)
    }

    /// Appends the frame that joins a room.
    pub(super) fn push_join(self, out: &mut Vec<u8>, room: &str, since: Option<&str>) {
        let record = match (self, since) {
            (Self::Weltenwind, None) => format!(r#"{{"t":"join","id":0,"room":"{room}"}}"#),
            (Self::Weltenwind, Some(since)) => format!(r#"{{"t":"join","id":0,"room":"{room}","since":"{since}"}}"#),
            (Self::SocketIo, _) => format!(r#"420["join","{room}"]"#),
        };
        frames::push_text(out, record.as_bytes());
    }

    /// Appends the frame that posts a text; `id` is above 0 and new.
    pub(super) fn push_post(self, out: &mut Vec<u8>, room: &str, id: usize, stamp: Stamp) {
        let mut record = Vec::with_capacity(512);
        match self {
            Self::Weltenwind => {
                write!(record, r#"{{"t":"pub","id":{id},"room":"{room}","clientId":"{id}","body":""#)
                    .expect("a Vec takes everything");
                stamp.push_text(&mut record);
                record.extend_from_slice(br#""}"#);
            }
            Self::SocketIo => {
                write!(record, r#"42{id}["pub","{room}",""#).expect("a Vec takes everything");
                stamp.push_text(&mut record);
                record.extend_from_slice(br#""]"#);
            }
        }
        frames::push_text(out, &record);
    }

    /// Appends the frame that says that somebody writes; Weltenwind's alone.
    pub(super) fn push_typing(out: &mut Vec<u8>, room: &str, id: usize) {
        frames::push_text(out, format!(r#"{{"t":"typing","id":{id},"room":"{room}"}}"#).as_bytes());
    }

    /// Appends the frame that says something new of somebody; Weltenwind's alone.
    pub(super) fn push_state(out: &mut Vec<u8>, room: &str, id: usize, stamp: Stamp) {
        let mut record = Vec::with_capacity(128);
        write!(record, r#"{{"t":"presence","id":{id},"room":"{room}","state":""#).expect("a Vec takes everything");
        stamp.push_state(&mut record);
        record.extend_from_slice(br#""}"#);
        frames::push_text(out, &record);
    }

    /// Writes a record as [`hear`](Self::hear) looks for it: its kind first, without spaces. Weltenwind writes it so; other
    /// servers may write the same in another way.
    pub(super) fn plain(self, record: &[u8]) -> Cow<'_, [u8]> {
        let members = match self {
            Self::Weltenwind => serde_json::from_slice::<serde_json::Map<_, _>>(record).ok(),
            Self::SocketIo => None,
        };
        // What is no record at all is told by who hears it.
        let Some(mut members) = members else { return Cow::Borrowed(record) };
        let Some(kind) = members.remove("t") else { return Cow::Borrowed(record) };
        let mut plain = format!(r#"{{"t":{kind}"#);
        for (name, value) in members {
            plain.extend([",", &serde_json::Value::from(name).to_string(), ":", &value.to_string()]);
        }
        plain.push('}');
        Cow::Owned(plain.into_bytes())
    }

    /// Understands a record that came to a member of `room`.
    pub(super) fn hear<'r>(self, record: &'r [u8], room: &memmem::Finder<'_>) -> Result<Heard<'r>, Failure> {
        let unreadable = || {
            let text = String::from_utf8_lossy(&record[..record.len().min(200)]).into_owned();
            Failure::failed(format!("a record is not readable: {text}"))
        };
        let message = || {
            let (seq, stamp) = (member(record, br#""seq":"#), Stamp::find(record));
            let (seq, stamp) = seq.zip(stamp).ok_or_else(unreadable)?;
            Ok(Heard::Message { seq, stamp, in_its_room: room.find(record).is_some() })
        };
        match self {
            Self::Weltenwind => {
                let kind = record.strip_prefix(KIND).ok_or_else(unreadable)?;
                let kind = &kind[..memchr::memchr(b'"', kind).ok_or_else(unreadable)?];
                match kind {
                    b"msg" => message(),
                    b"ok" => {
                        let id = member(record, br#""id":"#).and_then(|id| usize::try_from(id).ok());
                        let id = id.ok_or_else(unreadable)?;
                        Ok(match member(record, br#""seq":"#) {
                            Some(seq) => Heard::Accepted { id, seq },
                            None => Heard::Taken { id },
                        })
                    }
                    b"typing" => {
                        let user = text(record, br#""user":""#).ok_or_else(unreadable)?;
                        Ok(Heard::Typing { user, in_its_room: room.find(record).is_some() })
                    }
                    b"presence" => {
                        let version = member(record, br#""version":"#).ok_or_else(unreadable)?;
                        Ok(Heard::Presence { version, record, in_its_room: room.find(record).is_some() })
                    }
                    b"joined" => {
                        let joined: serde_json::Value = serde_json::from_slice(record).map_err(|_| unreadable())?;
                        let cursor = joined["cursor"].as_str().map(str::to_owned);
                        Ok(Heard::Joined { cursor, version: joined["presence"]["version"].as_u64().unwrap_or(0) })
                    }
                    b"live" => Ok(Heard::Live),
                    b"ping" => Ok(Heard::Ask(br#"{"t":"pong"}"#)),
                    b"err" | b"gap" | b"bye" | b"left" | b"update" | b"refresh-needed" => Ok(Heard::Refused(record)),
                    _ => Ok(Heard::Other),
                }
            }
            Self::SocketIo => match record {
                [b'0', ..] => Ok(Heard::Ask(b"40")),
                [b'2'] => Ok(Heard::Ask(b"3")),
                [b'4', b'0', ..] => Ok(Heard::MayJoin),
                [b'4', b'2', ..] => message(),
                [b'4', b'3', b'0', b'[', ..] => Ok(Heard::Live),
                [b'4', b'3', ack @ ..] => {
                    let id = digits(ack).and_then(|id| usize::try_from(id).ok());
                    let (id, seq) = id.zip(member(ack, b"[")).ok_or_else(unreadable)?;
                    Ok(Heard::Accepted { id, seq })
                }
                [b'4', b'1' | b'4', ..] | [b'1', ..] => Ok(Heard::Refused(record)),
                _ => Ok(Heard::Other),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use weltenwind_core::wire::ClientRecord;

    use super::*;

    const ROOM: &str = "channel:01998b2e-7c00-7a15-8f3e-5d2a9c1b0e05";
    const STAMP: Stamp = Stamp { micros: 1_234_567, publisher: 19 };

    fn text() -> String {
        let mut text = Vec::new();
        STAMP.push_text(&mut text);
        String::from_utf8(text).unwrap()
    }

    fn hear(dialect: Dialect, record: &str) -> Heard<'_> {
        dialect.hear(record.as_bytes(), &memmem::Finder::new(ROOM)).unwrap()
    }

    #[test]
    fn a_text_has_256_bytes_and_tells_when_it_was_sent() {
        assert_eq!(text().len(), TEXT);
        assert_eq!(Stamp::find(text().as_bytes()), Some(STAMP));
        assert_eq!(Stamp::find(b"sent-at-12"), None);
    }

    #[test]
    fn what_is_posted_is_a_record_of_the_protocol() {
        let mut frame = Vec::new();
        Dialect::Weltenwind.push_post(&mut frame, ROOM, 7, STAMP);

        let start = memchr::memchr(b'{', &frame).unwrap();
        let record: ClientRecord = serde_json::from_slice(&frame[start..]).unwrap();

        let ClientRecord::Pub { id, body, client_id, .. } = record else { panic!("{record:?}") };
        assert_eq!((id, client_id.as_str(), body), (7, "7", text()));
    }

    #[test]
    fn another_servers_way_to_write_is_understood() {
        let spaced = format!(
            "{{ \"seq\": 42, \"author\": {{ \"id\": \"a\" }},\n \"t\": \"msg\", \"room\": \"{ROOM}\", \"body\": \"{}\" }}",
            text()
        );

        let plain = Dialect::Weltenwind.plain(spaced.as_bytes());

        let message = Heard::Message { seq: 42, stamp: STAMP, in_its_room: true };
        assert_eq!(hear(Dialect::Weltenwind, std::str::from_utf8(&plain).unwrap()), message);
        assert_eq!(&*Dialect::Weltenwind.plain(br#"{"id":1, "t":"ok"}"#), br#"{"t":"ok","id":1}"#);
        assert_eq!(&*Dialect::Weltenwind.plain(b"no record"), b"no record");
    }

    #[test]
    fn what_is_of_the_moment_is_said_and_understood() {
        let (mut typing, mut state) = (Vec::new(), Vec::new());
        Dialect::push_typing(&mut typing, ROOM, 7);
        Dialect::push_state(&mut state, ROOM, 8, STAMP);
        let record = |frame: &[u8]| serde_json::from_slice(&frame[memchr::memchr(b'{', frame).unwrap()..]).unwrap();
        assert!(matches!(record(&typing), ClientRecord::Typing { id: Some(7), .. }));
        let ClientRecord::Presence { id: Some(8), state: Some(said), .. } = record(&state) else { panic!("{state:?}") };
        assert!(said.len() <= 64);

        let record = format!(r#"{{"t":"typing","room":"{ROOM}","user":"mira","displayName":"Mira"}}"#);
        assert_eq!(hear(Dialect::Weltenwind, &record), Heard::Typing { user: b"mira", in_its_room: true });
        let said = format!(r#"[{{"state":"{said}"}},{{"state":"{said}"}},{{"state":"away"}}]"#);
        let record = format!(r#"{{"t":"presence","room":"{ROOM}","version":9,"join":{said},"leave":[],"count":3}}"#);
        let heard = Heard::Presence { version: 9, record: record.as_bytes(), in_its_room: true };
        assert_eq!(hear(Dialect::Weltenwind, &record), heard);
        assert_eq!(Stamp::all(record.as_bytes()).collect::<Vec<_>>(), [STAMP; 2]);
        assert_eq!(hear(Dialect::Weltenwind, r#"{"t":"ok","id":7}"#), Heard::Taken { id: 7 });
    }

    #[test]
    fn messages_and_answers_are_understood() {
        let message = Heard::Message { seq: 42, stamp: STAMP, in_its_room: true };
        let record = format!(
            r#"{{"t":"msg","room":"{ROOM}","seq":42,"cursor":"c","message":{{"seq":42,"body":"{}"}}}}"#,
            text()
        );
        assert_eq!(hear(Dialect::Weltenwind, &record), message);
        let elsewhere = record.replace(ROOM, "channel:01998b2e-7c00-7a15-8f3e-000000000000");
        assert_eq!(hear(Dialect::Weltenwind, &elsewhere), Heard::Message { seq: 42, stamp: STAMP, in_its_room: false });
        let record = r#"{"t":"ok","id":7,"message":{"id":"01998b2e","seq":43}}"#;
        assert_eq!(hear(Dialect::Weltenwind, record), Heard::Accepted { id: 7, seq: 43 });
        let record = format!(r#"{{"t":"joined","id":0,"room":"{ROOM}","cursor":"abc","recovered":true}}"#);
        assert_eq!(hear(Dialect::Weltenwind, &record), Heard::Joined { cursor: Some("abc".to_owned()), version: 0 });
        assert!(matches!(hear(Dialect::Weltenwind, r#"{"t":"gap","room":"x"}"#), Heard::Refused(_)));

        let record = format!(r#"42["msg",{{"room":"{ROOM}","seq":42,"body":"{}"}}]"#, text());
        assert_eq!(hear(Dialect::SocketIo, &record), message);
        assert_eq!(hear(Dialect::SocketIo, "4312[43]"), Heard::Accepted { id: 12, seq: 43 });
        assert_eq!(hear(Dialect::SocketIo, "430[]"), Heard::Live);
        assert_eq!(hear(Dialect::SocketIo, "2"), Heard::Ask(b"3"));
        assert!(Dialect::Weltenwind.hear(b"???", &memmem::Finder::new(ROOM)).is_err());
    }
}
