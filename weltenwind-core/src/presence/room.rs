//! One room as one node sees it: its own sockets, the other nodes' members, and what was told of both.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use tokio::{sync::mpsc, time::Instant};

use super::model::{Member, PresenceDiff, PresenceEvent, RoomChange, Shard, Snapshot, SocketId};
use crate::{
    clock::Timestamp,
    ids::{AccountId, NodeId},
    room::Room,
};

/// Merges what is known of one room. It reads no clock and waits for nothing.
#[derive(Debug)]
pub(super) struct PresenceRoom {
    room: Room,
    sockets: BTreeMap<SocketId, AccountId>,
    local: BTreeMap<AccountId, Local>,
    remote: BTreeMap<NodeId, Remote>,
    /// Everybody who was told of, listed or not.
    shown: BTreeMap<AccountId, Member>,
    /// The number of the last change.
    version: u64,
    /// Whether members are told, and not only how many there are.
    is_listed: bool,
    /// Whether the other nodes' members were read.
    pub(super) is_read: bool,
    /// Accounts whose change the other nodes were not told of.
    unpublished: BTreeSet<AccountId>,
    /// Whether all local members are to be told, and not only changes.
    pub(super) republishes: bool,
    /// Accounts of which something changed since the last time it was settled.
    touched: BTreeSet<AccountId>,
    watchers: Vec<mpsc::UnboundedSender<PresenceEvent>>,
}

/// Somebody with a socket here, or with one a moment ago.
#[derive(Debug)]
struct Local {
    member: Member,
    sockets: usize,
    /// When they will have been away for long enough, if they have no socket.
    leaves_at: Option<Instant>,
}

#[derive(Debug, Default)]
struct Remote {
    version: u64,
    members: BTreeMap<AccountId, Member>,
}

impl PresenceRoom {
    pub(super) fn new(room: Room) -> Self {
        Self {
            room,
            sockets: BTreeMap::new(),
            local: BTreeMap::new(),
            remote: BTreeMap::new(),
            shown: BTreeMap::new(),
            version: 0,
            is_listed: true,
            is_read: false,
            unpublished: BTreeSet::new(),
            republishes: false,
            touched: BTreeSet::new(),
            watchers: Vec::new(),
        }
    }

    /// Lets a socket in. Whoever was about to leave stays.
    pub(super) fn enter(&mut self, socket: SocketId, account: AccountId, display_name: &str) {
        if self.sockets.insert(socket, account).is_some() {
            return;
        }
        let local = self.local.entry(account).or_insert_with(|| Local {
            member: Member { account, display_name: display_name.to_owned(), state: None, at: Timestamp::UNIX_EPOCH },
            sockets: 0,
            leaves_at: None,
        });
        local.sockets += 1;
        let is_new = local.sockets == 1 && local.leaves_at.take().is_none();
        if is_new || local.member.display_name != display_name {
            display_name.clone_into(&mut local.member.display_name);
            self.change(account);
        }
    }

    /// Lets a socket out, and answers who has none left; they count until `until`.
    pub(super) fn leave(&mut self, socket: SocketId, until: Instant) -> Option<AccountId> {
        let account = self.sockets.remove(&socket)?;
        let local = self.local.get_mut(&account)?;
        local.sockets -= 1;
        (local.sockets == 0).then(|| {
            local.leaves_at = Some(until);
            account
        })
    }

    /// Forgets somebody who has been away until now.
    pub(super) fn expire(&mut self, account: AccountId, now: Instant) {
        let is_over = |local: &Local| local.leaves_at.is_some_and(|at| at <= now);
        if self.local.get(&account).is_some_and(is_over) {
            self.local.remove(&account);
            self.change(account);
        }
    }

    /// Notes what somebody says of themselves; nothing if the socket is not in the room.
    pub(super) fn say(&mut self, socket: SocketId, state: Option<String>, at: Timestamp) -> bool {
        let Some(account) = self.sockets.get(&socket).copied() else { return false };
        let Some(local) = self.local.get_mut(&account) else { return false };
        (local.member.state, local.member.at) = (state, at);
        self.change(account);
        true
    }

    fn change(&mut self, account: AccountId) {
        self.unpublished.insert(account);
        self.touched.insert(account);
    }

    /// Takes what a node changed by its flush of that sequence.
    pub(super) fn hear(&mut self, node: NodeId, sequence: u64, change: &RoomChange) {
        let remote = self.remote.entry(node).or_default();
        if sequence <= remote.version {
            return;
        }
        remote.version = sequence;
        if change.whole {
            self.touched.extend(std::mem::take(&mut remote.members).into_keys());
        }
        for account in &change.gone {
            remote.members.remove(account);
            self.touched.insert(*account);
        }
        for member in &change.set {
            self.touched.insert(member.account);
            remote.members.insert(member.account, member.clone());
        }
    }

    /// Takes what was read of the other nodes, in place of all that was known of them. From a node that is not believed nothing
    /// is taken away; answers which those are.
    pub(super) fn read(
        &mut self,
        shards: impl IntoIterator<Item = Shard>,
        is_believed: impl Fn(NodeId) -> bool,
    ) -> Vec<NodeId> {
        let before = std::mem::take(&mut self.remote);
        self.touched.extend(before.values().flat_map(|remote| remote.members.keys()));
        for Shard { node, version, members } in shards {
            self.touched.extend(members.iter().map(|member| member.account));
            let members = members.into_iter().map(|member| (member.account, member)).collect();
            self.remote.insert(node, Remote { version, members });
        }
        let mut doubted = Vec::new();
        for (node, known) in before {
            let read = self.remote.get(&node);
            let is_there = |account| read.is_some_and(|read| read.members.contains_key(account));
            if is_believed(node) || known.members.keys().all(is_there) {
                continue;
            }
            doubted.push(node);
            let remote = self.remote.entry(node).or_default();
            remote.version = remote.version.max(known.version);
            for (account, member) in known.members {
                remote.members.entry(account).or_insert(member);
            }
        }
        self.is_read = true;
        doubted
    }

    /// Forgets whom a node had.
    pub(super) fn forget(&mut self, node: NodeId) {
        if let Some(remote) = self.remote.remove(&node) {
            self.touched.extend(remote.members.into_keys());
        }
    }

    /// Returns whether something is to be told.
    pub(super) fn is_touched(&self) -> bool {
        !self.touched.is_empty()
    }

    /// Works out what changed for those who watch.
    ///
    /// With more than `most` members only their number is told, until there are a quarter less: whoever comes and goes at the
    /// bound does not turn the list on and off.
    pub(super) fn settle(&mut self, most: usize) -> Option<Arc<PresenceDiff>> {
        let (mut join, mut leave, before) = (Vec::new(), Vec::new(), self.shown.len());
        let listed_before: Vec<AccountId> =
            if self.is_listed { self.shown.keys().copied().collect() } else { Vec::new() };
        for account in std::mem::take(&mut self.touched) {
            match (self.merged(account), self.shown.get(&account)) {
                (Some(now), shown) => {
                    if shown.is_none_or(|shown| (&shown.state, &shown.display_name) != (&now.state, &now.display_name))
                    {
                        join.push(now.clone());
                    }
                    self.shown.insert(account, now);
                }
                (None, Some(_)) => {
                    self.shown.remove(&account);
                    leave.push(account);
                }
                (None, None) => {}
            }
        }
        let count = self.shown.len();
        if self.is_listed && count > most {
            self.is_listed = false;
            (join, leave) = (Vec::new(), listed_before);
        } else if !self.is_listed && count <= most / 4 * 3 {
            self.is_listed = true;
            (join, leave) = (self.shown.values().cloned().collect(), Vec::new());
        } else if !self.is_listed {
            (join, leave) = (Vec::new(), Vec::new());
        }
        if join.is_empty() && leave.is_empty() && count == before {
            return None;
        }
        self.version += 1;
        Some(Arc::new(PresenceDiff { room: self.room, version: self.version, join, leave, count }))
    }

    /// The newest that is known of somebody; of two of the same moment, what reads the same on every node.
    fn merged(&self, account: AccountId) -> Option<Member> {
        let local = self.local.get(&account).map(|local| &local.member);
        let remote = self.remote.values().filter_map(|remote| remote.members.get(&account));
        local.into_iter().chain(remote).max_by_key(|member| (member.at, &member.state, &member.display_name)).cloned()
    }

    /// What was told until now; whoever asks is part of it, though others may hear of them a moment later.
    pub(super) fn snapshot(&self, asking: Option<AccountId>) -> Snapshot {
        let oneself = asking.filter(|account| !self.shown.contains_key(account));
        let oneself = oneself.and_then(|account| self.merged(account));
        let count = self.shown.len() + usize::from(oneself.is_some());
        let members = if self.is_listed { self.shown.values().cloned().chain(oneself).collect() } else { Vec::new() };
        Snapshot { room: self.room, version: self.version, members, count }
    }

    /// Takes what the other nodes were not told of.
    pub(super) fn take_change(&mut self) -> Option<RoomChange> {
        let whole = std::mem::take(&mut self.republishes);
        let unpublished = std::mem::take(&mut self.unpublished);
        if !whole && unpublished.is_empty() {
            return None;
        }
        let mut change = RoomChange { room: self.room, whole, set: Vec::new(), gone: Vec::new() };
        if whole {
            change.set = self.local.values().map(|local| local.member.clone()).collect();
            return Some(change);
        }
        for account in unpublished {
            match self.local.get(&account) {
                Some(local) => change.set.push(local.member.clone()),
                None => change.gone.push(account),
            }
        }
        Some(change)
    }

    /// Returns whether other nodes are still to be told something.
    pub(super) fn is_unpublished(&self) -> bool {
        self.republishes || !self.unpublished.is_empty()
    }

    pub(super) fn is_of_use(&self) -> bool {
        let is_watched = self.watchers.iter().any(|watcher| !watcher.is_closed());
        !self.local.is_empty() || is_watched || self.is_unpublished()
    }

    /// Lets somebody watch. Whoever has gone is forgotten.
    pub(super) fn watch(&mut self, watcher: mpsc::UnboundedSender<PresenceEvent>) {
        self.watchers.retain(|watcher| !watcher.is_closed());
        self.watchers.push(watcher);
    }

    /// Tells those who watch; whoever has gone is forgotten.
    pub(super) fn tell(&mut self, event: &PresenceEvent) {
        self.watchers.retain(|watcher| watcher.send(event.clone()).is_ok());
    }
}
