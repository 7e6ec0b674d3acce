//! Presence inside one process.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use tokio::{sync::broadcast, time::Instant};

use super::{
    model::{Beat, Flush, Member, PresenceNews, Shard, Typing},
    port::PresenceStore,
};
use crate::{
    error::StorageError,
    ids::{AccountId, NodeId},
    room::Room,
};

/// News that one listener may be behind.
const BACKLOG: usize = 1024;

/// [`PresenceStore`] in the memory of one process: for a single node, and the reference that other adapters are held against.
#[derive(Debug)]
pub struct MemoryPresenceStore {
    state: Mutex<State>,
    news: broadcast::Sender<PresenceNews>,
}

#[derive(Debug, Default)]
struct State {
    /// Registered nodes: the sequence of their last beat, and until when their lease stands.
    leases: BTreeMap<NodeId, (u64, Instant)>,
    rooms: HashMap<Room, BTreeMap<NodeId, Kept>>,
}

#[derive(Debug, Default)]
struct Kept {
    version: u64,
    members: BTreeMap<AccountId, Member>,
}

impl Default for MemoryPresenceStore {
    fn default() -> Self {
        Self { state: Mutex::default(), news: broadcast::Sender::new(BACKLOG) }
    }
}

impl MemoryPresenceStore {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells everybody, if there is somebody.
    fn say(&self, news: PresenceNews) {
        let _ = self.news.send(news);
    }
}

#[async_trait]
impl PresenceStore for MemoryPresenceStore {
    async fn beat(&self, node: NodeId, sequence: u64, lease: Duration, is_first: bool) -> Result<Beat, StorageError> {
        let (now, mut state) = (Instant::now(), self.state());
        let was_known = state.leases.get(&node).is_some_and(|(_, until)| *until > now);
        if was_known || is_first {
            state.leases.insert(node, (sequence, now + lease));
        }
        let (live, dead): (Vec<_>, Vec<_>) = state.leases.iter().partition(|(_, (_, until))| *until > now);
        Ok(Beat {
            was_known,
            live: live.into_iter().map(|(node, (sequence, _))| (*node, *sequence)).collect(),
            dead: dead.into_iter().map(|(node, _)| *node).collect(),
        })
    }

    async fn publish(&self, flush: &Flush) -> Result<(), StorageError> {
        let mut state = self.state();
        // Also whoever was buried meanwhile leaves nothing that nobody would bury again.
        state.leases.entry(flush.node).or_insert((flush.sequence, Instant::now()));
        for change in &flush.changes {
            let nodes = state.rooms.entry(change.room).or_default();
            let kept = nodes.entry(flush.node).or_default();
            kept.version = flush.sequence;
            if change.whole {
                kept.members.clear();
            }
            for account in &change.gone {
                kept.members.remove(account);
            }
            kept.members.extend(change.set.iter().map(|member| (member.account, member.clone())));
            if kept.members.is_empty() {
                nodes.remove(&flush.node);
            }
            if nodes.is_empty() {
                state.rooms.remove(&change.room);
            }
        }
        drop(state);
        self.say(PresenceNews::Flush(Arc::new(flush.clone())));
        Ok(())
    }

    async fn read(&self, rooms: &[Room]) -> Result<Vec<Vec<Shard>>, StorageError> {
        let state = self.state();
        let shard = |(node, kept): (&NodeId, &Kept)| Shard {
            node: *node,
            version: kept.version,
            members: kept.members.values().cloned().collect(),
        };
        let shards = |room: &Room| state.rooms.get(room).into_iter().flatten().map(shard).collect();
        Ok(rooms.iter().map(shards).collect())
    }

    async fn bury(&self, node: NodeId) -> Result<(), StorageError> {
        let mut state = self.state();
        state.leases.remove(&node);
        state.rooms.retain(|_, nodes| {
            nodes.remove(&node);
            !nodes.is_empty()
        });
        Ok(())
    }

    async fn tell(&self, typing: &Typing) {
        self.say(PresenceNews::Typing(Arc::new(typing.clone())));
    }

    fn listen(&self) -> broadcast::Receiver<PresenceNews> {
        self.news.subscribe()
    }
}
