//! The rules of notifications.

use std::{sync::Arc, time::Duration};

use super::{
    error::NotificationError,
    model::{Feed, FeedMark, FeedPosition, FeedState, NewNotification, NotificationQuery, Spread, Told, Unread},
    notices::{LocalNotices, Notice, Notices},
    store::NotificationStore,
};
use crate::{
    accounts::Topic,
    actor::Actor,
    announcements::AnnouncementStore,
    clock::Timestamp,
    ids::{AccountId, AnnouncementId, NotificationId},
    limits::{Limits, Policy},
    page::Limit,
    room::Room,
    services::Sources,
};

const DAY: Duration = Duration::from_hours(24);
/// How long a feed reaches back.
const SHOWN: Duration = Duration::from_hours(180 * 24);
/// How long what was read is kept.
const KEPT_READ: Duration = Duration::from_hours(90 * 24);
/// Rows that are deleted in one step.
const PURGED_AT_ONCE: u32 = 1000;
/// Nobody counts further.
const COUNTED: u32 = 99;

/// Which notifications somebody asks for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FeedSearch {
    /// Only those that are not read.
    pub unread: bool,
    /// Only those about this.
    pub topic: Option<Topic>,
    /// Only those behind this position.
    pub after: Option<FeedPosition>,
    /// How many.
    pub limit: Limit,
}

/// What accounts are told.
#[derive(Debug, Clone)]
pub struct Notifications {
    store: Arc<dyn NotificationStore>,
    announcements: Arc<dyn AnnouncementStore>,
    notices: Arc<dyn Notices>,
    sources: Sources,
    limits: Limits,
}

impl Notifications {
    /// Wires the rules to their ports; notices stay inside the process.
    pub fn new(
        store: Arc<dyn NotificationStore>,
        announcements: Arc<dyn AnnouncementStore>,
        sources: Sources,
        limits: Limits,
    ) -> Self {
        Self { store, announcements, notices: Arc::new(LocalNotices::default()), sources, limits }
    }

    /// Hints at news through these.
    #[must_use]
    pub fn hinting(mut self, notices: Arc<dyn Notices>) -> Self {
        self.notices = notices;
        self
    }

    /// Reads in which state the actor's feed is: whoever knows a page of it in this state need not read it.
    pub async fn state(&self, actor: &Actor) -> Result<FeedState, NotificationError> {
        let now = self.sources.clock.now();
        Ok(self.store.state(actor.oneself()?.account, now, since(now)).await?)
    }

    /// Reads a part of the actor's feed, newest first, of the last 180 days.
    pub async fn feed(&self, actor: &Actor, search: FeedSearch) -> Result<Feed, NotificationError> {
        let (account, at) = (actor.oneself()?.account, self.sources.clock.now());
        // Before the page: what comes between the two is shown, and not marked as read.
        let state = self.store.state(account, at, since(at)).await?;
        let FeedSearch { unread, topic, after, limit } = search;
        let query = NotificationQuery { account, unread, topic, at, since: since(at), after, limit };
        let page = self.store.page(&query).await?;
        let mark = FeedMark { version: state.version, epoch: state.epoch, at: at.as_microsecond() };
        Ok(Feed { page, state, mark })
    }

    /// Counts what the actor has not read, up to 99.
    pub async fn unread(&self, actor: &Actor) -> Result<Unread, NotificationError> {
        let (account, at) = (actor.oneself()?.account, self.sources.clock.now());
        let counted = self.store.unread(account, at, since(at), COUNTED + 1).await?;
        Ok(Unread { count: counted.min(COUNTED), is_capped: counted > COUNTED })
    }

    /// Marks one of the actor's notifications as read.
    ///
    /// # Errors
    ///
    /// [`NotificationError::NotFound`].
    pub async fn mark_read(&self, actor: &Actor, id: NotificationId) -> Result<(), NotificationError> {
        let account = self.charged(actor).await?;
        self.store.mark_read(account, id, self.sources.clock.now()).await
    }

    /// Marks as read what the actor has seen, and nothing that came later.
    pub async fn mark_all_read(&self, actor: &Actor, mark: FeedMark) -> Result<(), NotificationError> {
        let account = self.charged(actor).await?;
        let now = self.sources.clock.now();
        let mark = FeedMark { at: mark.at.min(now.as_microsecond()), ..mark };
        Ok(self.store.mark_all_read(account, mark, now).await?)
    }

    /// Takes one out of the actor's feed, for good.
    ///
    /// # Errors
    ///
    /// [`NotificationError::NotFound`].
    pub async fn dismiss(&self, actor: &Actor, id: NotificationId) -> Result<(), NotificationError> {
        let account = self.charged(actor).await?;
        self.store.dismiss(account, id, self.sources.clock.now()).await
    }

    /// Tells accounts something, each once under its key, and hints at it. For the other domains, which have decided that it
    /// may be told.
    pub async fn tell(&self, news: &[NewNotification]) -> Result<Vec<Told>, NotificationError> {
        let told = self.store.tell(news).await?;
        for new in news.iter().zip(&told).filter(|(_, told)| **told == Told::New).map(|(new, _)| new) {
            self.notices.publish(Notice { room: Room::User(new.account), notification: new.id }).await;
        }
        Ok(told)
    }

    /// Returns to which of these accounts, that have not asked for it, a host may hand a notification over. Each is answered once, so
    /// that a toast is shown on one device at most, and never twice; lost on the way, it is still in the feed.
    ///
    /// It is one step of the store: ask for some hundred accounts at once.
    pub async fn dispatch(
        &self,
        accounts: &[AccountId],
        id: NotificationId,
    ) -> Result<Vec<AccountId>, NotificationError> {
        Ok(self.store.dispatch(accounts, id, self.sources.clock.now()).await?)
    }

    /// Tells the next page of an announcement's audience, and hints at it once everybody has been told.
    pub async fn spread(&self, id: AnnouncementId) -> Result<Spread, NotificationError> {
        let spread = self.store.spread(id, self.sources.clock.now()).await?;
        if matches!(spread, Spread::Done(_))
            && let Some(announcement) = self.announcements.find(id).await?
        {
            let room = Room::from(announcement.audience.scope());
            self.notices.publish(Notice { room, notification: NotificationId::new(id.uuid()) }).await;
        }
        Ok(spread)
    }

    /// Returns what carries hints to hosts.
    pub const fn notices(&self) -> &Arc<dyn Notices> {
        &self.notices
    }

    /// Deletes what has been kept long enough, and answers how much that was: 90 days if it was read or dismissed, 180 otherwise.
    pub async fn enforce_retention(&self) -> Result<u64, NotificationError> {
        let now = self.sources.clock.now();
        let mut deleted = 0;
        loop {
            let batch = self.store.purge(now - KEPT_READ, since(now), PURGED_AT_ONCE).await?;
            deleted += batch;
            if batch < u64::from(PURGED_AT_ONCE) {
                return Ok(deleted);
            }
        }
    }

    async fn charged(&self, actor: &Actor) -> Result<AccountId, NotificationError> {
        let account = actor.oneself()?.account;
        self.limits.charge(actor, Policy::Notification).await?;
        Ok(account)
    }
}

/// From when on a feed is shown, as of the beginning of the day: within a day, it shows the same if nothing happens.
fn since(now: Timestamp) -> Timestamp {
    let day = i64::try_from(DAY.as_secs()).expect("a day fits");
    let midnight = now.as_second().div_euclid(day) * day;
    Timestamp::from_second(midnight).expect("the beginning of a day is in range") - SHOWN
}
