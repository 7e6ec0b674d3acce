//! What the examples are made of.

use std::str::FromStr;

use weltenwind_core::{
    ParseIdError, Timestamp,
    wire::{MessageAuthor, MessageBody, Transcript, TranscriptLine, TranscriptNames, WireTime},
};

pub(super) const ACCOUNT: &str = "01998b2e-7c00-7a11-8f3e-5d2a9c1b0e01";
pub(super) const CHANNEL: &str = "01998b2e-7c00-7a17-8f3e-5d2a9c1b0e07";
const MESSAGE: &str = "01998b2e-7c00-7a18-8f3e-5d2a9c1b0e08";
pub(super) const CURSOR: &str = "AQAAAAAAAAABAAAAAAAAACqX3bH5c0kQ";

/// The names in the conversations of the documents.
const CAST: [(&str, &str); 16] = [
    ("conn", "01998b2e-7c00-7a1a-8f3e-5d2a9c1b0e0a"),
    ("node", "wind-1"),
    ("now", "2026-01-01T12:00:00.000Z"),
    ("channel", CHANNEL),
    ("mira", ACCOUNT),
    ("lu", "01998b2e-7c00-7a11-8f3e-5d2a9c1b0e0b"),
    ("message", "01998b2e-7c00-7a18-8f3e-5d2a9c1b0e09"),
    ("notification", "01998b2e-7c00-7a1b-8f3e-5d2a9c1b0e0b"),
    ("answer", MESSAGE),
    ("start", "AQAAAAAAAAABAAAAAAAAACmX3bH5c0kQ"),
    ("first", CURSOR),
    ("second", "AQAAAAAAAAABAAAAAAAAACuX3bH5c0kQ"),
    ("third", "AQAAAAAAAAABAAAAAAAAACyX3bH5c0kQ"),
    ("other", "AQAAAAAAAAACAAAAAAAAACqX3bH5c0kQ"),
    ("token", "eyJhbGciOiJFZERTQSJ9…"),
    ("request", "01998b2e-7c00-7a1a-8f3e-5d2a9c1b0e0a.4"),
];

/// The conversations that documents show; tests hold them with a node and with the client.
pub(super) fn transcripts() -> Vec<Transcript> {
    let mut names = TranscriptNames::default();
    for (name, value) in CAST {
        names.set(name, value);
    }
    let mut transcripts = Transcript::all();
    for line in transcripts.iter_mut().flat_map(|transcript| &mut transcript.lines) {
        match line {
            TranscriptLine::Client(record) | TranscriptLine::Server(record) => *record = names.fill(record),
            TranscriptLine::Meanwhile(_) => {}
        }
    }
    transcripts
}

pub(super) fn id<T: FromStr<Err = ParseIdError>>(text: &str) -> T {
    text.parse().expect("a hyphenated UUID is an id")
}

pub(super) fn message() -> MessageBody {
    MessageBody {
        id: id(MESSAGE),
        channel_id: id(CHANNEL),
        seq: 42,
        author: MessageAuthor { id: id(ACCOUNT), display_name: "Mira".to_owned() },
        body: Some("well met".to_owned()),
        client_id: Some("a1".to_owned()),
        reply_to: None,
        sent_at: time(0),
        edited_at: None,
        flags: Vec::new(),
        tombstone: None,
    }
}

pub(super) fn time(seconds: i64) -> WireTime {
    WireTime(Timestamp::from_second(1_767_268_800 + seconds).expect("the year 2026 is in range"))
}
