//! Who wants to hear of its own losses: a socket does.

use std::sync::{Arc, Weak};

use tokio::sync::watch;

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
    standing: watch::Receiver<Standing>,
    memory: Weak<std::sync::RwLock<Memory>>,
}

/// The other end of a [`LossWatch`].
#[derive(Debug)]
pub(super) struct Watcher {
    pub(super) id: u64,
    pub(super) session: SessionId,
    pub(super) device: DeviceId,
    pub(super) standing: watch::Sender<Standing>,
}

impl LossWatch {
    pub(super) fn new(
        account: AccountId,
        id: u64,
        standing: watch::Receiver<Standing>,
        memory: &Arc<std::sync::RwLock<Memory>>,
    ) -> Self {
        Self { account, id, standing, memory: Arc::downgrade(memory) }
    }

    /// Returns how the sign-in stands.
    pub fn standing(&self) -> Standing {
        *self.standing.borrow()
    }

    /// Waits until something is lost that was not heard of before. Dropping the future loses nothing.
    pub async fn changed(&mut self) -> Standing {
        if self.standing.changed().await.is_err() {
            // The node is going down; nothing more is told.
            std::future::pending::<()>().await;
        }
        *self.standing.borrow_and_update()
    }
}

impl Drop for LossWatch {
    fn drop(&mut self) {
        if let Some(memory) = self.memory.upgrade() {
            super::known::write(&memory).forget_watcher(self.account, self.id);
        }
    }
}
