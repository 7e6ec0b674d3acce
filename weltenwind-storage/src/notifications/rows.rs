//! Notifications as rows.

use uuid::Uuid;
use weltenwind_core::{
    NotificationId,
    accounts::Topic,
    announcements::{AnnouncementText, Title},
    notifications::{FeedPage, FeedPosition, FeedState, Notification, NotificationQuery},
    privacy::HeldNotification,
};

use crate::{
    error::BrokenRow,
    rows::{Instant, RowName, all},
};

#[derive(Debug, sqlx::FromRow)]
pub(super) struct NotificationRow {
    id: Uuid,
    topic: String,
    title: String,
    body: String,
    created_at: Instant,
    expires_at: Option<Instant>,
    dispatched_at: Option<Instant>,
    read_at: Option<Instant>,
}

impl TryFrom<NotificationRow> for Notification {
    type Error = BrokenRow;

    fn try_from(row: NotificationRow) -> Result<Self, BrokenRow> {
        Ok(Self {
            id: NotificationId::new(row.id),
            topic: RowName::new("notifications", row.id).parse("topic", &row.topic)?,
            title: Title::from_stored(row.title),
            body: AnnouncementText::from_stored(row.body),
            created_at: row.created_at.0,
            expires_at: row.expires_at.map(|at| at.0),
            dispatched_at: row.dispatched_at.map(|at| at.0),
            read_at: row.read_at.map(|at| at.0),
        })
    }
}

/// A row as an export shows it.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct HeldNotificationRow {
    id: Uuid,
    topic: String,
    title: Option<String>,
    body: Option<String>,
    created_at: Instant,
    read_at: Option<Instant>,
    dismissed_at: Option<Instant>,
}

impl TryFrom<HeldNotificationRow> for HeldNotification {
    type Error = BrokenRow;

    fn try_from(row: HeldNotificationRow) -> Result<Self, BrokenRow> {
        Ok(Self {
            id: NotificationId::new(row.id),
            topic: RowName::new("notifications", row.id).parse("topic", &row.topic)?,
            title: row.title.map(Title::from_stored),
            body: row.body.map(AnnouncementText::from_stored),
            created_at: row.created_at.0,
            read_at: row.read_at.map(|at| at.0),
            dismissed_at: row.dismissed_at.map(|at| at.0),
        })
    }
}

#[derive(Debug, sqlx::FromRow)]
pub(super) struct StateRow {
    version: i64,
    epoch: i64,
    began: Option<Instant>,
    ended: Option<Instant>,
    ended_own: Option<Instant>,
    preferences: i64,
}

impl StateRow {
    pub(super) fn state(self, since: weltenwind_core::Timestamp) -> FeedState {
        let micros = |at: Option<Instant>| at.map_or(0, |at| at.0.as_microsecond());
        FeedState {
            version: self.version,
            epoch: self.epoch,
            began: micros(self.began),
            ended: micros(self.ended).max(micros(self.ended_own)),
            preferences: self.preferences,
            since: since.as_microsecond(),
        }
    }
}

/// What an account has made of something that it was told.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct OwnRow {
    pub(super) is_read: bool,
    pub(super) is_hidden: bool,
}

/// Makes a page of rows that were read with a probe.
pub(super) fn page(rows: Vec<NotificationRow>, query: &NotificationQuery) -> sqlx::Result<FeedPage> {
    let page = weltenwind_core::Page::from_probe(all::<Notification, _>(rows)?, query.limit);
    let next = page.next(|last| FeedPosition { at: last.created_at.as_microsecond(), id: last.id });
    Ok(FeedPage { items: page.items, next })
}

/// The topic of announcements.
pub(super) const ANNOUNCEMENT: &str = Topic::Announcement.as_str();
