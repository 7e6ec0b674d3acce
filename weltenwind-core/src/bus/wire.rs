//! The form in which one node tells another of an event: a byte for the version, then JSON.
//!
//! Version 1 may gain members that an older node can do without; anything else takes another version. Nodes of both
//! versions run side by side during an upgrade, so a release reads a version before the next one writes it.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::model::RoomEvent;
use crate::{
    accounts::DisplayName,
    chat::{Author, Body, Change, ClientId, Message, RemovalMode, Seq, Tombstone},
    clock::Timestamp,
    ids::{AccountId, ChannelId, MessageId},
};

const VERSION: u8 = b'1';

/// Why bytes of another node are no event.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// There is nothing to read.
    #[error("the event is empty")]
    Empty,
    /// It is of a version that this program does not know.
    #[error("the event is of the unknown version {:?}", char::from(*.0))]
    UnknownVersion(u8),
    /// It is of a known version and cannot be read.
    #[error("the event cannot be read")]
    Unreadable(#[from] serde_json::Error),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct EventV1<'a> {
    epoch: u32,
    id: MessageId,
    channel: ChannelId,
    seq: Seq,
    posted_change: Change,
    change: Change,
    author: AccountId,
    #[serde(borrow)]
    author_name: Cow<'a, str>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    body: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    client_id: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reply_to: Option<MessageId>,
    sent_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    edited_at: Option<Timestamp>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    tombstone: Option<TombstoneV1<'a>>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct TombstoneV1<'a> {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    deleted_by: Option<AccountId>,
    #[serde(borrow)]
    reason: Cow<'a, str>,
    deleted_at: Timestamp,
    mode: RemovalMode,
}

pub(super) fn write(event: &RoomEvent, buffer: &mut Vec<u8>) {
    let Message {
        id,
        channel,
        seq,
        posted_change,
        change,
        author,
        body,
        client_id,
        reply_to,
        sent_at,
        edited_at,
        tombstone,
    } = &event.message;
    let written = EventV1 {
        epoch: event.epoch,
        id: *id,
        channel: *channel,
        seq: *seq,
        posted_change: *posted_change,
        change: *change,
        author: author.id,
        author_name: author.display_name.as_str().into(),
        body: body.as_ref().map(|body| body.as_str().into()),
        client_id: client_id.as_ref().map(|id| id.as_str().into()),
        reply_to: *reply_to,
        sent_at: *sent_at,
        edited_at: *edited_at,
        tombstone: tombstone.as_ref().map(|Tombstone { deleted_by, reason, deleted_at, mode }| TombstoneV1 {
            deleted_by: *deleted_by,
            reason: reason.as_str().into(),
            deleted_at: *deleted_at,
            mode: *mode,
        }),
    };
    buffer.push(VERSION);
    serde_json::to_writer(buffer, &written).expect("an event is plain data");
}

pub(super) fn read(bytes: &[u8]) -> Result<RoomEvent, WireError> {
    let (version, json) = bytes.split_first().ok_or(WireError::Empty)?;
    if *version != VERSION {
        return Err(WireError::UnknownVersion(*version));
    }
    let read: EventV1<'_> = serde_json::from_slice(json)?;
    let message = Message {
        id: read.id,
        channel: read.channel,
        seq: read.seq,
        posted_change: read.posted_change,
        change: read.change,
        author: Author { id: read.author, display_name: DisplayName::from_stored(read.author_name.into_owned()) },
        body: read.body.map(|body| Body::from_stored(body.into_owned())),
        client_id: read.client_id.map(|id| ClientId::from_stored(id.into_owned())),
        reply_to: read.reply_to,
        sent_at: read.sent_at,
        edited_at: read.edited_at,
        tombstone: read.tombstone.map(|TombstoneV1 { deleted_by, reason, deleted_at, mode }| Tombstone {
            deleted_by,
            reason: reason.into_owned(),
            deleted_at,
            mode,
        }),
    };
    Ok(RoomEvent::new(message, read.epoch))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What nodes of the first version write. A change here is a break between nodes: it takes another version.
    const V1: &str = "1{\"epoch\":7,\"id\":\"fb29a8d5-309d-8c35-b180-dbd78c63a455\",\
        \"channel\":\"0c4a0000-0000-7000-8000-000000000001\",\"seq\":3,\"postedChange\":3,\"change\":3,\
        \"author\":\"00000000-0000-0000-0000-000000000001\",\"authorName\":\"Mira\",\"body\":\"message 3\",\
        \"clientId\":\"message-3\",\"sentAt\":\"2026-01-01T00:00:00Z\"}";

    fn written(event: &RoomEvent) -> Vec<u8> {
        let mut bytes = Vec::new();
        event.write_wire(&mut bytes);
        bytes
    }

    #[test]
    fn the_first_version_stays_as_it_is() {
        let event = RoomEvent::sample(1, 3);

        assert_eq!(String::from_utf8(written(&event)).unwrap(), V1);
        let read = RoomEvent::from_wire(V1.as_bytes()).unwrap();
        assert_eq!((read.message, read.epoch), (event.message, 7));
    }

    #[test]
    fn every_member_is_carried() {
        let mut event = RoomEvent::sample(1, 3);
        event.message.body = Some(Body::from_stored("a \"quoted\"\nline 🌬".to_owned()));
        event.message.reply_to = Some(event.message.id);
        event.message.change = Change::new(9);
        event.message.edited_at = Some(Timestamp::from_microsecond(1_767_225_600_123_456).unwrap());
        event.message.tombstone = Some(Tombstone {
            deleted_by: Some(event.message.author.id),
            reason: "spam \\ scam".to_owned(),
            deleted_at: Timestamp::from_microsecond(1_767_225_601_000_001).unwrap(),
            mode: RemovalMode::Purge,
        });

        let read = RoomEvent::from_wire(&written(&event)).unwrap();

        assert_eq!(read.message, event.message);
    }

    #[test]
    fn a_member_of_a_later_release_is_passed_over() {
        let later = V1.replace("\"epoch\":7", "\"epoch\":7,\"mood\":{\"calm\":true}");

        assert_eq!(RoomEvent::from_wire(later.as_bytes()).unwrap().epoch, 7);
    }

    #[test]
    fn what_cannot_be_read_is_told_apart_from_what_is_not_known() {
        assert!(matches!(RoomEvent::from_wire(b""), Err(WireError::Empty)));
        assert!(matches!(RoomEvent::from_wire(b"2\x00\x01"), Err(WireError::UnknownVersion(b'2'))));
        assert!(matches!(RoomEvent::from_wire(b"1{\"epoch\":7}"), Err(WireError::Unreadable(_))));
    }
}
