//! Hints that there is news: what a host that keeps connections open listens to.

use std::fmt::Debug;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;

use crate::{ids::NotificationId, room::Room};

/// Hints that wait for a listener that is behind; who misses some has missed toasts, and nothing else.
const WAITING: usize = 1024;

/// There is something new for whoever is in a room: an account's own, a world, or everybody.
///
/// It says what, and not what it says: a host asks [`Notifications::dispatch`](super::Notifications::dispatch) to which accounts in
/// the room it may hand it over, which is answered once for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Notice {
    /// Where.
    pub room: Room,
    /// What.
    pub notification: NotificationId,
}

/// Carries notices to the hosts. A notice may be lost: what it is about is in the feed.
#[async_trait]
pub trait Notices: Debug + Send + Sync + 'static {
    /// Tells the listeners; waits for nobody.
    async fn publish(&self, notice: Notice);

    /// Listens from now on.
    fn subscribe(&self) -> broadcast::Receiver<Notice>;
}

/// Notices inside one process.
#[derive(Debug, Clone)]
pub struct LocalNotices {
    sender: broadcast::Sender<Notice>,
}

impl Default for LocalNotices {
    fn default() -> Self {
        Self { sender: broadcast::Sender::new(WAITING) }
    }
}

impl LocalNotices {
    /// Tells the listeners in this process.
    pub fn tell(&self, notice: Notice) {
        // Nobody listens: nobody is there to be told.
        let _ = self.sender.send(notice);
    }
}

#[async_trait]
impl Notices for LocalNotices {
    async fn publish(&self, notice: Notice) {
        self.tell(notice);
    }

    fn subscribe(&self) -> broadcast::Receiver<Notice> {
        self.sender.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_notice_reaches_who_listens_and_waits_for_nobody() {
        let notices = LocalNotices::default();
        let notice = |n| Notice { room: Room::Global, notification: NotificationId::new(uuid::Uuid::from_u128(n)) };
        notices.publish(notice(1)).await;
        let mut listener = notices.subscribe();

        notices.publish(notice(2)).await;

        assert_eq!(listener.try_recv(), Ok(notice(2)));
        for n in 0..2 * WAITING {
            notices.publish(notice(n as u128)).await;
        }
        assert!(matches!(listener.try_recv(), Err(broadcast::error::TryRecvError::Lagged(_))));
    }
}
