//! Bodies of announcements and notifications.

use serde::{Deserialize, Serialize};

use super::time::WireTime;
use crate::{
    access::Role,
    announcements::{Announcement, Audience, AudienceKind},
    ids::{AnnouncementId, GroupId, NotificationId, WorldId},
    notifications::{Feed, Notification},
    scope::Scope,
};

/// Whom an announcement is meant for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct AudienceBody {
    /// The kind.
    pub kind: AudienceKind,
    /// The world.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub world_id: Option<WorldId>,
    /// The role that one holds who belongs to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// The group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group_id: Option<GroupId>,
}

impl From<Audience> for AudienceBody {
    fn from(audience: Audience) -> Self {
        let (world_id, group_id) = match audience.scope() {
            Scope::Global => (None, None),
            Scope::World(id) => (Some(id), None),
            Scope::Group(id) => (None, Some(id)),
        };
        Self { kind: audience.kind(), world_id, role: audience.held_role(), group_id }
    }
}

/// An announcement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct AnnouncementBody {
    /// The announcement.
    pub id: AnnouncementId,
    /// What it is called.
    pub title: String,
    /// What it says.
    pub body: String,
    /// Whom it is meant for.
    pub audience: AudienceBody,
    /// From when on it is visible.
    pub publish_at: WireTime,
    /// From when on it is not any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<WireTime>,
    /// When it was made.
    pub created_at: WireTime,
    /// When it last changed.
    pub updated_at: WireTime,
    /// When everybody in the audience had been notified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dispatched_at: Option<WireTime>,
}

impl From<&Announcement> for AnnouncementBody {
    fn from(announcement: &Announcement) -> Self {
        Self {
            id: announcement.id,
            title: announcement.title.to_string(),
            body: announcement.body.to_string(),
            audience: announcement.audience.into(),
            publish_at: announcement.publish_at.into(),
            expires_at: announcement.expires_at.map(WireTime),
            created_at: announcement.created_at.into(),
            updated_at: announcement.updated_at.into(),
            dispatched_at: announcement.dispatched_at.map(WireTime),
        }
    }
}

/// Something that an account was told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct NotificationBody {
    /// The notification; where the topic is `announcement`, the announcement's id.
    pub id: NotificationId,
    /// What it is about: `announcement`, `chat`, `group`, `invite` or `moderation`.
    pub topic: String,
    /// What it is called.
    pub title: String,
    /// What it says.
    pub body: String,
    /// When it was told: for an announcement, when that was published.
    pub created_at: WireTime,
    /// From when on it is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<WireTime>,
    /// When it was first handed over without being asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dispatched_at: Option<WireTime>,
    /// When it was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_at: Option<WireTime>,
}

impl From<&Notification> for NotificationBody {
    fn from(notification: &Notification) -> Self {
        Self {
            id: notification.id,
            topic: notification.topic.as_str().to_owned(),
            title: notification.title.to_string(),
            body: notification.body.to_string(),
            created_at: notification.created_at.into(),
            expires_at: notification.expires_at.map(WireTime),
            dispatched_at: notification.dispatched_at.map(WireTime),
            read_at: notification.read_at.map(WireTime),
        }
    }
}

/// A part of what an account was told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct FeedBody {
    /// The notifications, newest first.
    pub items: Vec<NotificationBody>,
    /// What to ask for next; null at the end.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub next_cursor: Option<String>,
    /// How far the feed was seen with this: what marks all of it as read, and nothing that came later.
    pub up_to: String,
}

impl FeedBody {
    /// Shows a part of a feed, and where it goes on.
    pub fn of(feed: &Feed, next_cursor: Option<String>) -> Self {
        let items = feed.page.items.iter().map(NotificationBody::from).collect();
        Self { items, next_cursor, up_to: feed.mark.to_string() }
    }
}

/// How many notifications are not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct UnreadCountBody {
    /// So many, up to 99.
    pub count: u32,
    /// Whether there are more.
    pub capped: bool,
}
