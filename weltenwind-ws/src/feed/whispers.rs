//! What passes in a room: who comes and goes, who is writing.

use std::sync::{Arc, Weak};

use bytes::Bytes;
use tokio::task::AbortHandle;
use weltenwind_core::{
    Room,
    presence::{Member, Presence, PresenceEvent, Snapshot},
    wire::{MemberRecord, PresenceRecord, ServerRecord},
};

use super::{Feed, pages::FRAME_BYTES};
use crate::{
    frame::{self, FrameBuilder},
    records,
};

/// Tells a room what passes in it, until it is dropped.
#[derive(Debug)]
pub(super) struct Whispers {
    presence: Arc<Presence>,
    following: AbortHandle,
}

impl Drop for Whispers {
    fn drop(&mut self) {
        self.following.abort();
    }
}

impl Whispers {
    /// Makes the frame that tells who is in the room by now, in place of all that was told.
    pub(super) fn resumption(&self, room: Room) -> Bytes {
        let Snapshot { version, members, count, .. } = self.presence.snapshot(room);
        let join = members.iter().map(member).collect();
        let record = ServerRecord::Presence { room, version, whole: true, join, leave: Vec::new(), count };
        frame::of_record(&records::write(&record))
    }
}

/// Returns whether it is told who is in a room. In one's own there is nobody else, and a channel's readers are in its world.
pub(crate) const fn has_presence(room: Room) -> bool {
    matches!(room, Room::Global | Room::World(_) | Room::Group(_))
}

/// Tells a room what passes in it, as long as it is there.
pub(super) fn follow(presence: &Arc<Presence>, feed: &Arc<Feed>) {
    let (told, room) = (Arc::downgrade(feed), feed.room);
    // Before anybody is told who is there: what changes from then on is heard.
    let mut watch = presence.listen(room);
    let following = tokio::spawn(async move {
        loop {
            let mut next = Some(watch.next().await);
            // Who was told before reads that first, and who is about to say something says it: the busier the node, the more
            // share a frame.
            tokio::task::yield_now().await;
            let Some(feed) = Weak::upgrade(&told) else { return };
            // What has happened by now is one frame for everybody, and one write for each.
            let (mut frame, mut records) = (FrameBuilder::new(), 0);
            while let Some(event) = next {
                if let Some(record) = record(room, &event) {
                    frame.push(&records::write(&record));
                    records += 1;
                }
                next = if frame.len() < FRAME_BYTES { watch.next_ready() } else { None };
            }
            if records > 0 {
                feed.tell_in_passing(frame.finish(), records);
            }
        }
    });
    let whispers = Whispers { presence: Arc::clone(presence), following: following.abort_handle() };
    feed.whispers.get_or_init(|| Box::new(whispers));
}

fn record(room: Room, event: &PresenceEvent) -> Option<ServerRecord> {
    Some(match event {
        PresenceEvent::Changed(diff) if has_presence(room) => ServerRecord::Presence {
            room,
            version: diff.version,
            whole: false,
            join: diff.join.iter().map(member).collect(),
            leave: diff.leave.clone(),
            count: diff.count,
        },
        PresenceEvent::Changed(_) => return None,
        PresenceEvent::Typing(typing) => {
            ServerRecord::Typing { room, user: typing.account, display_name: typing.display_name.clone() }
        }
    })
}

pub(crate) fn snapshot(snapshot: &Snapshot) -> PresenceRecord {
    let Snapshot { version, members, count, .. } = snapshot;
    PresenceRecord { version: *version, members: members.iter().map(member).collect(), count: *count }
}

fn member(member: &Member) -> MemberRecord {
    let Member { account, display_name, state, .. } = member;
    MemberRecord { id: *account, display_name: display_name.clone(), state: state.clone() }
}
