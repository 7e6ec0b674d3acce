//! Wakes a connection when one of its rooms has something to tell, or something is asked of all sockets.

use std::{
    sync::atomic::{AtomicU8, Ordering},
    task::Context,
};

use futures_util::task::AtomicWaker;

/// Rung by rooms, heard by the one task that owns the connection. However often it rings, it is heard once.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    /// What it has rung for.
    rung: AtomicU8,
    waker: AtomicWaker,
}

/// A room has something to tell, or there is a toast.
const NEWS: u8 = 1;
/// Something is asked of all sockets of the node.
const SUMMONS: u8 = 2;

/// What a bell has rung for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Heard(u8);

impl Heard {
    pub(crate) const fn is_news(self) -> bool {
        self.0 & NEWS != 0
    }

    pub(crate) const fn is_summons(self) -> bool {
        self.0 & SUMMONS != 0
    }
}

impl Bell {
    pub(crate) fn ring(&self) {
        self.ring_for(NEWS);
    }

    pub(crate) fn summon(&self) {
        self.ring_for(SUMMONS);
    }

    fn ring_for(&self, what: u8) {
        // Who was rung for and has not heard it yet will look at everything anyway.
        if self.rung.fetch_or(what, Ordering::AcqRel) == 0 {
            self.waker.wake();
        }
    }

    /// Returns what it has rung for since it was heard last; the task is woken when it rings again.
    pub(crate) fn poll_heard(&self, cx: &Context<'_>) -> Heard {
        self.waker.register(cx.waker());
        // Behind the registration, so that no ring falls between the two.
        Heard(self.rung.swap(0, Ordering::AcqRel))
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, task::Poll};

    use super::*;

    async fn heard(bell: &Bell) {
        std::future::poll_fn(|cx| if bell.poll_heard(cx).is_news() { Poll::Ready(()) } else { Poll::Pending }).await;
    }

    #[tokio::test]
    async fn it_is_heard_once_however_often_it_rings_and_never_missed() {
        let bell = Arc::new(Bell::default());
        let hear = || bell.poll_heard(&Context::from_waker(std::task::Waker::noop()));
        assert_eq!(hear(), Heard(0));
        bell.ring();
        bell.ring();
        assert!(hear().is_news() && hear() == Heard(0));
        bell.summon();
        assert!(hear().is_summons() && hear() == Heard(0));

        let waiting = tokio::spawn({
            let bell = Arc::clone(&bell);
            async move { heard(&bell).await }
        });
        tokio::task::yield_now().await;
        bell.ring();
        waiting.await.unwrap();
    }
}
