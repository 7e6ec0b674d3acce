//! The losses of the last minutes, in memory, and who is told of them.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use super::{
    model::{Ended, LoggedLoss, Loss, LossSeq, Lost},
    watch::{Standing, Told, Watcher},
};
use crate::{
    clock::Timestamp,
    ids::{AccountId, DeviceId, SessionId},
    scope::Scope,
};

/// How far the log was read when something was looked up: taken before the look, it tells later whether a loss has come
/// between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    position: LossSeq,
    trust: u64,
}

/// What a node knows.
#[derive(Debug)]
pub(super) struct Memory {
    /// The newest loss that is known.
    pub(super) position: LossSeq,
    /// Counts how often losses may have been missed: what was looked up before is not believed.
    trust: u64,
    sessions: HashMap<SessionId, Timestamp>,
    devices: HashMap<DeviceId, Timestamp>,
    accounts: HashMap<AccountId, Timestamp>,
    /// The newest loss of whatever kind of an account.
    touched: HashMap<AccountId, LossSeq>,
    /// The newest loss of a place, wherever it lies.
    narrowed: LossSeq,
    /// In the order in which they were learned, with when that was.
    recent: VecDeque<(Timestamp, LossSeq, Loss)>,
    watchers: BTreeMap<AccountId, Vec<Watcher>>,
    next_watcher: u64,
}

impl Memory {
    pub(super) fn at(position: LossSeq) -> Self {
        Self {
            position,
            trust: 0,
            sessions: HashMap::new(),
            devices: HashMap::new(),
            accounts: HashMap::new(),
            touched: HashMap::new(),
            narrowed: LossSeq::START,
            recent: VecDeque::new(),
            watchers: BTreeMap::new(),
            next_watcher: 0,
        }
    }

    /// Learns a loss at `now` and tells whom it concerns.
    pub(super) fn learn(&mut self, logged: &LoggedLoss, now: Timestamp) {
        let LoggedLoss { seq, at, loss } = *logged;
        if seq <= self.position {
            return;
        }
        if seq > self.position.next() {
            // What stood between is purged: this node was out of it for as long as losses are kept.
            self.distrust();
        }
        self.position = seq;
        match loss.lost {
            Lost::Session(session) => {
                self.sessions.entry(session).or_insert(at);
            }
            Lost::Device(device) => {
                self.devices.entry(device).or_insert(at);
            }
            Lost::Account => {
                if let Some(account) = loss.account {
                    self.accounts.entry(account).or_insert(at);
                }
            }
            Lost::Rights(_) | Lost::Name => {}
        }
        self.recent.push_back((now, seq, loss));
        let Some(account) = loss.account else {
            self.narrowed = seq;
            return self.tell_everybody(loss.lost.scope());
        };
        self.touched.insert(account, seq);
        for watcher in self.watchers.get(&account).into_iter().flatten() {
            tell(watcher, &loss, at);
        }
    }

    /// Believes nothing any more that was looked up before, and lets everybody look again.
    pub(super) fn distrust(&mut self) {
        self.trust += 1;
        self.tell_everybody(Scope::Global);
    }

    /// Tells everybody that less may be allowed in `scope`: who is there looks again.
    fn tell_everybody(&self, scope: Scope) {
        for watcher in self.watchers.values().flatten() {
            watcher.told.modify(|standing| standing.lose_in(scope));
        }
    }

    /// Forgets what was learned before `before`.
    pub(super) fn forget(&mut self, before: Timestamp) {
        while let Some((learned, seq, loss)) = self.recent.front().copied()
            && learned < before
        {
            self.recent.pop_front();
            match loss.lost {
                Lost::Session(session) => {
                    self.sessions.remove(&session);
                }
                Lost::Device(device) => {
                    self.devices.remove(&device);
                }
                Lost::Account => {
                    if let Some(account) = loss.account {
                        self.accounts.remove(&account);
                    }
                }
                Lost::Rights(_) | Lost::Name => {}
            }
            if let Some(account) = loss.account
                && self.touched.get(&account) == Some(&seq)
            {
                self.touched.remove(&account);
            }
        }
    }

    /// Returns how many losses are known.
    pub(super) fn len(&self) -> usize {
        self.recent.len()
    }

    /// Returns why a sign-in is over, and since when.
    pub(super) fn ended(&self, account: AccountId, session: SessionId, device: DeviceId) -> Option<(Ended, Timestamp)> {
        let device = self.devices.get(&device).map(|at| (Ended::Device, *at));
        let session = || self.sessions.get(&session).or_else(|| self.accounts.get(&account));
        device.or_else(|| session().map(|at| (Ended::Session, *at)))
    }

    /// Tells how far losses are known.
    pub(super) const fn mark(&self) -> Mark {
        Mark { position: self.position, trust: self.trust }
    }

    /// Returns whether an account may have lost something since `mark`.
    pub(super) fn touched_since(&self, account: AccountId, mark: Mark) -> bool {
        mark.trust != self.trust || self.touched.get(&account).is_some_and(|seq| *seq > mark.position)
    }

    /// Returns whether any place may be open to fewer since `mark`.
    pub(super) fn narrowed_since(&self, mark: Mark) -> bool {
        mark.trust != self.trust || self.narrowed > mark.position
    }

    /// Adds a watcher and answers its name and how its sign-in stands now.
    pub(super) fn add_watcher(&mut self, account: AccountId, session: SessionId, device: DeviceId) -> (u64, Arc<Told>) {
        let id = self.next_watcher;
        self.next_watcher += 1;
        let standing = Standing { ended: self.ended(account, session, device), ..Standing::default() };
        let told = Arc::new(Told::new(standing));
        let watchers = self.watchers.entry(account).or_default();
        // Most accounts have one socket.
        watchers.reserve_exact(usize::from(watchers.is_empty()));
        watchers.push(Watcher { id, session, device, told: Arc::clone(&told) });
        (id, told)
    }

    pub(super) fn forget_watcher(&mut self, account: AccountId, id: u64) {
        if let Some(watchers) = self.watchers.get_mut(&account) {
            watchers.retain(|watcher| watcher.id != id);
            if watchers.is_empty() {
                self.watchers.remove(&account);
            }
        }
    }

    #[cfg(test)]
    pub(super) fn watchers(&self) -> usize {
        self.watchers.values().map(Vec::len).sum()
    }
}

/// Tells a watcher of its account's loss, if it is one of its own.
fn tell(watcher: &Watcher, loss: &Loss, at: Timestamp) {
    let ended = match loss.lost {
        Lost::Session(session) if session == watcher.session => Some(Ended::Session),
        Lost::Device(device) if device == watcher.device => Some(Ended::Device),
        Lost::Account => Some(Ended::Session),
        Lost::Rights(_) => None,
        Lost::Session(_) | Lost::Device(_) | Lost::Name => return,
    };
    watcher.told.modify(|standing| match ended {
        Some(ended) => {
            standing.ended.get_or_insert((ended, at));
        }
        // What an account holds in one place may allow it something in another.
        None => standing.lose_in(Scope::Global),
    });
}

pub(super) fn read(memory: &RwLock<Memory>) -> RwLockReadGuard<'_, Memory> {
    memory.read().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn write(memory: &RwLock<Memory>) -> RwLockWriteGuard<'_, Memory> {
    memory.write().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use uuid::Uuid;

    use super::*;
    use crate::revocations::LossWatch;

    #[test]
    fn a_watch_that_is_dropped_leaves_nothing_behind() {
        let memory = Arc::new(RwLock::new(Memory::at(LossSeq::START)));
        let account = AccountId::new(Uuid::nil());
        let watch = |n| {
            let (session, device) = (SessionId::new(Uuid::from_u128(n)), DeviceId::new(Uuid::nil()));
            let (id, standing) = write(&memory).add_watcher(account, session, device);
            LossWatch::new(account, id, standing, &memory)
        };
        let (one, two) = (watch(1), watch(2));

        drop(one);
        assert_eq!(read(&memory).watchers(), 1);
        drop(two);
        assert!(read(&memory).watchers.is_empty());
    }

    #[test]
    fn a_loss_that_is_heard_twice_is_one() {
        let mut memory = Memory::at(LossSeq::START);
        let loss = Loss::of(AccountId::new(Uuid::nil()), Lost::Account);
        let logged = LoggedLoss { seq: LossSeq::new(1), at: Timestamp::UNIX_EPOCH, loss };

        memory.learn(&logged, Timestamp::UNIX_EPOCH);
        memory.learn(&logged, Timestamp::UNIX_EPOCH);

        assert_eq!((memory.len(), memory.position), (1, LossSeq::new(1)));
    }
}
