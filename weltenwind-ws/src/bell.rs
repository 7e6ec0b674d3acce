//! Wakes a connection when one of its rooms has something to tell.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    task::{Context, Poll},
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

    /// Waits until it has rung since it was heard last.
    pub(crate) async fn heard(&self) {
        std::future::poll_fn(|cx| self.poll_heard(cx)).await;
    }

    fn poll_heard(&self, cx: &Context<'_>) -> Poll<()> {
        if self.has_rung.swap(false, Ordering::AcqRel) {
            return Poll::Ready(());
        }
        self.waker.register(cx.waker());
        // It may have rung just before there was somebody to wake.
        if self.has_rung.swap(false, Ordering::AcqRel) { Poll::Ready(()) } else { Poll::Pending }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn it_is_heard_once_however_often_it_rings_and_never_missed() {
        let bell = Arc::new(Bell::default());
        assert!(bell.heard().now_or_never().is_none());
        bell.ring();
        bell.ring();

        assert!(bell.heard().now_or_never().is_some() && bell.heard().now_or_never().is_none());

        let waiting = tokio::spawn({
            let bell = Arc::clone(&bell);
            async move { bell.heard().await }
        });
        tokio::task::yield_now().await;
        bell.ring();
        waiting.await.unwrap();
    }
}
