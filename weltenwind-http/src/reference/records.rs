//! One record of each kind, as examples.

use std::str::FromStr;

use weltenwind_core::{
    ChannelId, Code, ParseIdError, Room, Timestamp,
    wire::{
        ClientRecord, LimitsRecord, MemberRecord, MessageAuthor, MessageBody, PresenceRecord, ServerRecord, WireTime,
        close,
    },
};

pub(super) const ACCOUNT: &str = "01998b2e-7c00-7a11-8f3e-5d2a9c1b0e01";
pub(super) const CHANNEL: &str = "01998b2e-7c00-7a17-8f3e-5d2a9c1b0e07";
const MESSAGE: &str = "01998b2e-7c00-7a18-8f3e-5d2a9c1b0e08";
pub(super) const CURSOR: &str = "AQAAAAAAAAABAAAAAAAAACqX3bH5c0kQ";

/// What a client says.
pub(super) fn of_client() -> Vec<ClientRecord> {
    let room = room();
    vec![
        ClientRecord::Join { id: 1, room, since: Some(CURSOR.to_owned()) },
        ClientRecord::Leave { id: 2, room },
        ClientRecord::Pub { id: 3, room, client_id: "a1".to_owned(), body: "well met".to_owned(), reply_to: None },
        ClientRecord::Presence { id: Some(5), room: Room::Global, state: Some("in a raid".to_owned()) },
        ClientRecord::Typing { id: Some(6), room },
        ClientRecord::Foreground { id: Some(7), on: true },
        ClientRecord::Refresh { id: Some(4), token: "eyJhbGciOiJFZERTQSJ9…".to_owned() },
        ClientRecord::Pong,
    ]
}

/// What the server says.
pub(super) fn of_server() -> Vec<ServerRecord> {
    let (room, cursor) = (room(), CURSOR.to_owned());
    let edited = MessageBody { body: Some("well met, all".to_owned()), edited_at: Some(time(60)), ..message() };
    vec![
        ServerRecord::Welcome {
            conn: "01998b2e-7c00-7a1a-8f3e-5d2a9c1b0e0a".to_owned(),
            node: "wind-1".to_owned(),
            server_time: time(0),
            ping_every_seconds: 25,
            token_ttl_seconds: 300,
            limits: LimitsRecord { rooms: 128, frame_bytes: 65_536, replay_window: 10_000 },
        },
        ServerRecord::Joined { id: 1, room, cursor: Some(cursor.clone()), recovered: true, presence: None },
        ServerRecord::Joined {
            id: 8,
            room: Room::Global,
            cursor: None,
            recovered: false,
            presence: Some(PresenceRecord { version: 6, members: vec![member(None)], count: 1 }),
        },
        ServerRecord::Presence {
            room: Room::Global,
            version: 7,
            join: vec![member(Some("in a raid"))],
            leave: Vec::new(),
            count: 1,
        },
        ServerRecord::Typing { room, user: id(ACCOUNT), display_name: "Mira".to_owned() },
        ServerRecord::Msg { room, seq: 42, cursor: cursor.clone(), message: message() },
        ServerRecord::Update { room, cursor: cursor.clone(), message: edited },
        ServerRecord::Live { room },
        ServerRecord::Gap { room, cause: "window".to_owned(), cursor },
        ServerRecord::Ok { id: Some(3), message: Some(message()) },
        ServerRecord::Err {
            id: Some(3),
            code: Code::SlowMode.to_string(),
            detail: "The channel is in slow mode; the next message may be sent in 4 s.".to_owned(),
            correlation_id: "01998b2e-7c00-7a1a-8f3e-5d2a9c1b0e0a-3".to_owned(),
            retry_after_ms: Some(4000),
        },
        ServerRecord::Left { id: Some(2), room, code: None },
        ServerRecord::RefreshNeeded,
        ServerRecord::Ping,
        ServerRecord::Bye {
            code: close::DRAIN,
            reason: "the server drains".to_owned(),
            retry_min_ms: 500,
            retry_max_ms: 5000,
            resume: true,
        },
    ]
}

fn member(state: Option<&str>) -> MemberRecord {
    MemberRecord { id: id(ACCOUNT), display_name: "Mira".to_owned(), state: state.map(str::to_owned) }
}

fn room() -> Room {
    Room::Channel(id::<ChannelId>(CHANNEL))
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
