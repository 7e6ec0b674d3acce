//! Wakes a connection when one of its rooms has something to tell.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    task::Context,
};

use futures_util::task::AtomicWaker;

/// Rung by rooms, heard by the one task that owns the connection. However often it rings, it is heard once.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    has_rung: AtomicBool,
    waker: AtomicWaker,
}

impl Bell {
    pub(crate) fn ring(&self) {
        // Who was rung for and has not heard it yet will look at everything anyway.
        if !self.has_rung.swap(true, Ordering::AcqRel) {
            self.waker.wake();
        }
    }

    /// Returns whether it has rung since it was heard last; the task is woken when it rings again.
    pub(crate) fn poll_heard(&self, cx: &Context<'_>) -> bool {
        self.waker.register(cx.waker());
        // Behind the registration, so that no ring falls between the two.
        self.has_rung.swap(false, Ordering::AcqRel)
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, task::Poll};

    use super::*;

    async fn heard(bell: &Bell) {
        std::future::poll_fn(|cx| if bell.poll_heard(cx) { Poll::Ready(()) } else { Poll::Pending }).await;
    }

    #[tokio::test]
    async fn it_is_heard_once_however_often_it_rings_and_never_missed() {
        let bell = Arc::new(Bell::default());
        let is_heard = || bell.poll_heard(&Context::from_waker(std::task::Waker::noop()));
        assert!(!is_heard());
        bell.ring();
        bell.ring();
        assert!(is_heard() && !is_heard());

        let waiting = tokio::spawn({
            let bell = Arc::clone(&bell);
            async move { heard(&bell).await }
        });
        tokio::task::yield_now().await;
        bell.ring();
        waiting.await.unwrap();
    }
}
