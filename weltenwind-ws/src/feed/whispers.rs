//! What passes in a room: who comes and goes, who is writing.

use std::sync::{Arc, Weak};

use weltenwind_core::{
    Room,
    presence::{Member, Presence, PresenceEvent, Snapshot},
    wire::{MemberRecord, PresenceRecord, ServerRecord},
};

use super::Feed;
use crate::records;

/// Returns whether it is told who is in a room. In one's own there is nobody else, and a channel's readers are in its world.
pub(crate) const fn has_presence(room: Room) -> bool {
    matches!(room, Room::Global | Room::World(_) | Room::Group(_))
}

/// Tells a room what passes in it, as long as it is there.
pub(super) fn follow(presence: &Arc<Presence>, feed: &Arc<Feed>) {
    let (presence, told, room) = (Arc::clone(presence), Arc::downgrade(feed), feed.room);
    let following = tokio::spawn(async move {
        let (_, mut watch) = presence.watch(room).await;
        loop {
            let event = watch.next().await;
            let Some(feed) = Weak::upgrade(&told) else { return };
            if let Some(record) = record(room, &event) {
                feed.tell_in_passing(&records::write(&record));
            }
        }
    });
    feed.whispers.get_or_init(|| following.abort_handle());
}

fn record(room: Room, event: &PresenceEvent) -> Option<ServerRecord> {
    Some(match event {
        PresenceEvent::Changed(diff) if has_presence(room) => ServerRecord::Presence {
            room,
            version: diff.version,
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
