//! Who wants to hear of its own losses: a socket does.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::Notify;

use super::{known::Memory, model::Ended};
use crate::{
    clock::Timestamp,
    ids::{AccountId, DeviceId, SessionId},
};

/// How a sign-in stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Standing {
    /// Why it is over, and when that was decided.
    pub ended: Option<(Ended, Timestamp)>,
    /// Counts what the account may no longer do: whoever sees it grow looks up its rights anew.
    pub rights_lost: u64,
}

/// Tells one sign-in of its losses, as soon as this node knows them. Dropping it ends that.
#[derive(Debug)]
pub struct LossWatch {
    account: AccountId,
    id: u64,
    told: Arc<Told>,
    memory: Weak<std::sync::RwLock<Memory>>,
}

/// The other end of a [`LossWatch`].
#[derive(Debug)]
pub(super) struct Watcher {
    pub(super) id: u64,
    pub(super) session: SessionId,
    pub(super) device: DeviceId,
    pub(super) told: Arc<Told>,
}

/// What both ends share. Every socket has one, so it is small.
#[derive(Debug, Default)]
pub(super) struct Told {
    standing: Mutex<Standing>,
    changed: Notify,
}

impl Told {
    pub(super) fn new(standing: Standing) -> Self {
        Self { standing: Mutex::new(standing), changed: Notify::new() }
    }

    pub(super) fn modify(&self, modify: impl FnOnce(&mut Standing)) {
        modify(&mut self.lock());
        // One waits, and what is told while nobody waits is kept.
        self.changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LossWatch {
    pub(super) fn new(account: AccountId, id: u64, told: Arc<Told>, memory: &Arc<std::sync::RwLock<Memory>>) -> Self {
        Self { account, id, told, memory: Arc::downgrade(memory) }
    }

    /// Returns how the sign-in stands.
    pub fn standing(&self) -> Standing {
        *self.told.lock()
    }

    /// Waits until something is lost that was not heard of before. Dropping the future loses nothing.
    pub async fn changed(&mut self) -> Standing {
        self.told.changed.notified().await;
        self.standing()
    }
}

impl Drop for LossWatch {
    fn drop(&mut self) {
        if let Some(memory) = self.memory.upgrade() {
            super::known::write(&memory).forget_watcher(self.account, self.id);
        }
    }
}
