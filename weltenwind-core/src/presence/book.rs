//! All rooms of one node, and whom it takes for alive. It reads no clock and waits for nothing: time and news are handed in,
//! and what is to be done is taken out.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;

use super::{
    config::PresenceConfig,
    model::{Beat, Flush, PresenceEvent, PresenceNews, RoomChange, Shard, SocketId, Typing},
    room::PresenceRoom,
};
use crate::{
    ids::{AccountId, NodeId},
    room::Room,
};

/// How often a node gives a sign of life.
pub(super) const BEAT: Duration = Duration::from_secs(2);
/// How long a lease stands after a beat: one beat may fail.
pub(super) const LEASE: Duration = Duration::from_secs(5);
/// How long a node without a lease is waited for: where the leases were lost and not the nodes, each has given another sign of
/// life by then. Together with the lease and the time to the next beat, a dead node's members are gone within 10 seconds.
const GRACE: Duration = BEAT;

#[derive(Debug)]
pub(super) struct Book {
    config: PresenceConfig,
    pub(super) node: NodeId,
    /// Of the last flush.
    pub(super) sequence: u64,
    pub(super) rooms: BTreeMap<Room, PresenceRoom>,
    /// Who has no socket any more, in the order in which they leave.
    leaving: VecDeque<(Instant, Room, AccountId)>,
    peers: BTreeMap<NodeId, Peer>,
    /// Nodes that are neither alive nor known to be dead; a beat that was given since has told nothing of them.
    strangers: BTreeSet<NodeId>,
    /// Dead nodes that this one never knew alive, and since when it knows that they are.
    dead: BTreeMap<NodeId, Instant>,
    buried: Vec<NodeId>,
    next_beat: Option<Instant>,
    /// Whether this node has a lease, as far as it knows.
    pub(super) is_registered: bool,
    /// Whether the store did not answer the last time.
    pub(super) is_away: bool,
    /// When the store answered again after it had failed or was emptied.
    lost_until: Option<Instant>,
    typing: BTreeMap<(Room, AccountId), Instant>,
}

#[derive(Debug)]
struct Peer {
    /// The sequence of its last flush that was heard or is known to have been.
    heard: u64,
    missing_since: Option<Instant>,
    doubt: Doubt,
}

/// Whether it is believed that members of a node are gone of whom the store knows nothing any more: a store that was emptied
/// knows nothing either, but then the node's lease is gone, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doubt {
    None,
    /// Members were missing; the next beat tells whether the lease stands.
    Raised,
    /// It did stand.
    Settled,
}

impl Book {
    pub(super) fn new(node: NodeId, config: PresenceConfig) -> Self {
        Self {
            config,
            node,
            sequence: 0,
            rooms: BTreeMap::new(),
            leaving: VecDeque::new(),
            peers: BTreeMap::new(),
            strangers: BTreeSet::new(),
            dead: BTreeMap::new(),
            buried: Vec::new(),
            next_beat: None,
            is_registered: false,
            is_away: false,
            lost_until: None,
            typing: BTreeMap::new(),
        }
    }

    pub(super) fn room(&mut self, room: Room) -> &mut PresenceRoom {
        self.rooms.entry(room).or_insert_with(|| PresenceRoom::new(room))
    }

    pub(super) fn leave(&mut self, room: Room, socket: SocketId, now: Instant) {
        let until = now + Duration::from_secs(self.config.leave_seconds);
        if let Some(account) = self.rooms.get_mut(&room).and_then(|book| book.leave(socket, until)) {
            self.leaving.push_back((until, room, account));
        }
    }

    /// Returns how long a member's typing is not told again.
    const fn typing_pause(&self) -> Duration {
        Duration::from_secs(self.config.typing_seconds)
    }

    /// Returns whether others are to be told, who may have been a moment ago.
    pub(super) fn types(&mut self, room: Room, account: AccountId, now: Instant) -> bool {
        let pause = self.typing_pause();
        let is_fresh = |at: &Instant| *at + pause <= now;
        let may = self.typing.get(&(room, account)).is_none_or(is_fresh);
        if may {
            self.typing.insert((room, account), now);
        }
        may
    }

    pub(super) fn tell_typing(&mut self, typing: &Arc<Typing>) {
        if let Some(room) = self.rooms.get_mut(&typing.room) {
            room.tell(&PresenceEvent::Typing(Arc::clone(typing)));
        }
    }

    /// Takes what time has brought: those who are away for long enough, and nodes that nobody hears of any more.
    pub(super) fn pass(&mut self, now: Instant) {
        while self.leaving.front().is_some_and(|(at, ..)| *at <= now) {
            let Some((_, room, account)) = self.leaving.pop_front() else { break };
            if let Some(room) = self.rooms.get_mut(&room) {
                room.expire(account, now);
            }
        }
        self.rooms.retain(|_, room| room.is_of_use());
        let pause = self.typing_pause();
        self.typing.retain(|_, at| *at + pause > now);
    }

    pub(super) fn is_beat_due(&self, now: Instant) -> bool {
        self.next_beat.is_none_or(|at| at <= now)
    }

    /// Takes what a sign of life brought. Whoever was taken for dead goes on under the name `fresh` and tells all it has.
    pub(super) fn beaten(&mut self, beat: Beat, now: Instant, fresh: NodeId) {
        (self.next_beat, self.is_away) = (Some(now + BEAT), false);
        if self.is_registered && !beat.was_known {
            // The store was emptied, or this node stood still; the next turn begins a lease.
            (self.node, self.sequence, self.is_registered, self.next_beat) = (fresh, 0, false, None);
            self.lost_until = Some(now + LEASE);
            self.republish();
            return;
        }
        self.is_registered = true;
        let live: BTreeMap<NodeId, u64> = beat.live.into_iter().filter(|(node, _)| *node != self.node).collect();
        for (node, sequence) in &live {
            self.strangers.remove(node);
            let peer = self.peers.get_mut(node);
            let has_missed = peer.as_ref().is_none_or(|peer| peer.heard < *sequence);
            if let Some(peer) = peer {
                (peer.heard, peer.missing_since) = (peer.heard.max(*sequence), None);
                peer.doubt = if peer.doubt == Doubt::Raised { Doubt::Settled } else { Doubt::None };
            } else {
                self.peers.insert(*node, Peer { heard: *sequence, missing_since: None, doubt: Doubt::None });
            }
            if has_missed && *sequence > 0 {
                self.doubt();
            }
        }
        let grace = if self.lost_until.is_some_and(|until| now < until) { LEASE } else { GRACE };
        let mut gone = Vec::new();
        for (node, peer) in &mut self.peers {
            if !live.contains_key(node) && now >= *peer.missing_since.get_or_insert(now) + grace {
                gone.push(*node);
            }
        }
        for node in gone {
            self.peers.remove(&node);
            self.buried.push(node);
            self.rooms.values_mut().for_each(|room| room.forget(node));
        }
        // Others may still wait for one whom this node never knew: what it had is not taken from them.
        let dead = beat.dead.into_iter().filter(|node| !self.peers.contains_key(node));
        self.dead = dead.map(|node| (node, self.dead.get(&node).copied().unwrap_or(now))).collect();
        self.buried.extend(self.dead.iter().filter(|(_, since)| now >= **since + LEASE).map(|(node, _)| *node));
    }

    /// Notes that the store did not answer. What was known stays; whether it is still true is found out afterwards.
    /// Answers whether it did before.
    pub(super) fn failed(&mut self, now: Instant) -> bool {
        self.next_beat = Some(now + BEAT);
        self.lost_until = Some(now + BEAT + LEASE);
        !std::mem::replace(&mut self.is_away, true)
    }

    /// Returns whether the other nodes' members of a room are still to be read, and may be soon.
    pub(super) fn awaits(&self, room: Room) -> bool {
        !self.is_away && self.rooms.get(&room).is_some_and(|room| !room.is_read)
    }

    /// Takes the dead nodes that are to be forgotten in the store.
    pub(super) fn take_buried(&mut self) -> Vec<NodeId> {
        self.buried.sort_unstable();
        self.buried.dedup();
        std::mem::take(&mut self.buried)
    }

    /// Takes what the other nodes were not told of; its sequence is used up, whether they hear of it or not.
    pub(super) fn take_flush(&mut self) -> Option<Flush> {
        if !self.is_registered {
            return None;
        }
        let changes: Vec<RoomChange> = self.rooms.values_mut().filter_map(PresenceRoom::take_change).collect();
        if changes.is_empty() {
            return None;
        }
        self.sequence += 1;
        Some(Flush { node: self.node, sequence: self.sequence, changes })
    }

    /// Notes that a flush may not have arrived: its rooms are told as a whole.
    pub(super) fn unpublish(&mut self, flush: &Flush) {
        for change in &flush.changes {
            self.room(change.room).republishes = true;
        }
    }

    fn republish(&mut self) {
        self.rooms.values_mut().for_each(|room| room.republishes = true);
    }

    /// Has every room read again.
    fn doubt(&mut self) {
        self.rooms.values_mut().for_each(|room| room.is_read = false);
    }

    /// Takes what was heard.
    pub(super) fn hear(&mut self, news: &PresenceNews) {
        match news {
            PresenceNews::Missed => self.doubt(),
            PresenceNews::Typing(typing) if typing.node == self.node => {}
            PresenceNews::Typing(typing) => self.tell_typing(typing),
            PresenceNews::Flush(flush) if flush.node == self.node => {}
            PresenceNews::Flush(flush) => {
                let Some(peer) = self.peers.get_mut(&flush.node) else {
                    // A sign of life will tell of it, and the rooms are read again.
                    self.next_beat = None;
                    return self.doubt();
                };
                let expected = peer.heard + 1;
                peer.heard = peer.heard.max(flush.sequence);
                if flush.sequence > expected {
                    self.doubt();
                }
                for change in &flush.changes {
                    if let Some(room) = self.rooms.get_mut(&change.room).filter(|room| room.is_read) {
                        room.hear(flush.node, flush.sequence, change);
                    }
                }
            }
        }
    }

    /// Returns the rooms of which this node does not know whom the others have there.
    pub(super) fn unread(&self) -> Vec<Room> {
        self.rooms.iter().filter(|(_, room)| !room.is_read).map(|(room, _)| *room).collect()
    }

    /// Takes what was read of a room.
    pub(super) fn read(&mut self, room: Room, shards: Vec<Shard>) {
        let Self { rooms, peers, strangers, next_beat, node: own, .. } = self;
        let Some(room) = rooms.get_mut(&room) else { return };
        let mut is_sure = true;
        let known = shards.into_iter().filter(|shard| {
            let is_known = peers.contains_key(&shard.node);
            if !is_known && shard.node != *own && strangers.insert(shard.node) {
                // Too young to be known, or dead already: a beat tells which.
                (*next_beat, is_sure) = (None, false);
            }
            is_known
        });
        let known: Vec<Shard> = known.collect();
        let is_believed = |node| peers.get(&node).is_none_or(|peer: &Peer| peer.doubt == Doubt::Settled);
        for node in room.read(known, is_believed) {
            // Of one whose lease is gone everything is kept until it is given up.
            if let Some(peer) = peers.get_mut(&node).filter(|peer| peer.missing_since.is_none()) {
                peer.doubt = Doubt::Raised;
                (*next_beat, is_sure) = (None, false);
            }
        }
        room.is_read = is_sure;
    }

    /// Works out what those who watch are to be told.
    pub(super) fn settle(&mut self) {
        let most = self.config.max_members;
        for room in self.rooms.values_mut().filter(|room| room.is_touched()) {
            if let Some(diff) = room.settle(most) {
                room.tell(&PresenceEvent::Changed(diff));
            }
        }
    }
}
