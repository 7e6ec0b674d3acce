//! Who wants to hear of its own losses: a socket does.

use std::{
    future::poll_fn,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll, Waker},
};

use super::{known::Memory, model::Ended};
use crate::{
    clock::Timestamp,
    ids::{AccountId, DeviceId, SessionId},
    scope::Scope,
};

/// How a sign-in stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Standing {
    /// Why it is over, and when that was decided.
    pub ended: Option<(Ended, Timestamp)>,
    /// Counts what the account may no longer do: whoever sees it grow looks up its rights anew.
    pub rights_lost: u64,
    /// Where that was since it was last heard of; [`Scope::Global`] if it was in more than one place, or may have effect
    /// anywhere.
    pub lost_in: Option<Scope>,
}

impl Standing {
    pub(super) fn lose_in(&mut self, scope: Scope) {
        self.rights_lost += 1;
        let known = self.lost_in.get_or_insert(scope);
        if *known != scope {
            *known = Scope::Global;
        }
    }
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
    news: Mutex<News>,
}

#[derive(Debug, Default)]
struct News {
    standing: Standing,
    /// Whether it was not heard yet.
    is_new: bool,
    /// Who waits for it.
    waker: Option<Waker>,
}

impl Told {
    pub(super) fn new(standing: Standing) -> Self {
        Self { news: Mutex::new(News { standing, ..News::default() }) }
    }

    pub(super) fn modify(&self, modify: impl FnOnce(&mut Standing)) {
        let waker = {
            let mut news = self.lock();
            modify(&mut news.standing);
            // What is told while nobody waits is kept.
            news.is_new = true;
            news.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, News> {
        self.news.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LossWatch {
    pub(super) fn new(account: AccountId, id: u64, told: Arc<Told>, memory: &Arc<std::sync::RwLock<Memory>>) -> Self {
        Self { account, id, told, memory: Arc::downgrade(memory) }
    }

    /// Returns how the sign-in stands.
    pub fn standing(&self) -> Standing {
        self.told.lock().standing
    }

    /// Returns whether something is lost that was not heard of before; it is heard with [`LossWatch::changed`].
    pub fn has_changed(&self) -> bool {
        self.told.lock().is_new
    }

    /// Waits until something is lost that was not heard of before. Dropping the future loses nothing.
    pub async fn changed(&mut self) -> Standing {
        poll_fn(|cx| self.poll_changed(cx)).await
    }

    /// Answers how the sign-in stands if something was lost that was not heard of before; otherwise the task is woken when
    /// that happens.
    pub fn poll_changed(&mut self, cx: &Context<'_>) -> Poll<Standing> {
        let mut news = self.told.lock();
        if std::mem::take(&mut news.is_new) {
            let standing = news.standing;
            news.standing.lost_in = None;
            return Poll::Ready(standing);
        }
        if !news.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            news.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

impl Drop for LossWatch {
    fn drop(&mut self) {
        if let Some(memory) = self.memory.upgrade() {
            super::known::write(&memory).forget_watcher(self.account, self.id);
        }
    }
}
