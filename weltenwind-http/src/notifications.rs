//! `notifications/…`: what the own account is told.

use axum::body::Body;
use http::{HeaderValue, header};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use weltenwind_core::{
    Invalid, NotificationId,
    accounts::Topic,
    notifications::{FeedMark, FeedSearch, FeedState, NotificationError},
    wire::{FeedBody, UnreadCountBody},
};

use crate::{
    answer::{self, Answer, With as _},
    conditional,
    context::{Context, Nothing},
    problem::{Stop, UnlessDenied as _},
    query::LimitParam,
    reference::OfNotification,
};

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListNotifications {
    /// Only those that are not read.
    #[param(inline)]
    #[serde(default)]
    unread: Flag,
    /// Only those about this.
    #[param(inline)]
    topic: Option<AboutTopic>,
    /// Where the list goes on: `nextCursor` of the part before.
    cursor: Option<String>,
    /// How many items at most.
    #[param(value_type = u16, minimum = 1, maximum = 200, default = 50)]
    #[serde(default)]
    limit: LimitParam,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[schema(default = "false")]
#[serde(rename_all = "lowercase")]
enum Flag {
    #[default]
    False,
    True,
}

#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum AboutTopic {
    Announcement,
    Chat,
    Group,
    Invite,
    Moderation,
}

impl From<AboutTopic> for Topic {
    fn from(topic: AboutTopic) -> Self {
        match topic {
            AboutTopic::Announcement => Self::Announcement,
            AboutTopic::Chat => Self::Chat,
            AboutTopic::Group => Self::Group,
            AboutTopic::Invite => Self::Invite,
            AboutTopic::Moderation => Self::Moderation,
        }
    }
}

/// Lists what the own account was told, newest first.
///
/// Announcements to everybody are among it from their publication on. A topic that is switched off in the preferences is left out,
/// and so is what is older than 180 days. A reader that knows the state of the feed is answered 304 before anything else is read.
#[utoipa::path(
    get,
    path = "/api/v1/notifications",
    operation_id = "listNotifications",
    tag = "notifications",
    params(ListNotifications),
    responses(
        (status = 200, description = "A part of the list.", body = FeedBody),
    ),
    security(("bearer" = []))
)]
pub(crate) async fn list(cx: Context<ListNotifications>) -> Answer {
    let ListNotifications { unread, topic, cursor, limit } = &cx.query;
    let account = cx.actor().oneself().map_err(NotificationError::from)?.account;
    let list = format!("notifications of {account}?unread={unread:?}&topic={topic:?}");
    let after = cursor.as_deref().map(|cursor| cx.services.cursors.open(&list, cursor)).transpose()?;
    let notifications = &cx.services.notifications;
    if cx.headers.contains_key(header::IF_NONE_MATCH) {
        let tag = tag(&notifications.state(cx.actor()).await?);
        if conditional::is_known(&cx.headers, &tag) {
            return Ok(answer::not_modified().with(header::ETAG, tag));
        }
    }
    let search = FeedSearch { unread: *unread == Flag::True, topic: topic.map(Topic::from), after, limit: limit.0 };
    let feed = notifications.feed(cx.actor(), search).await?;
    let next = feed.page.next.map(|position| cx.services.cursors.seal(&list, &position));
    let link = next.as_deref().map(|cursor| cx.link("cursor", cursor));
    let body = FeedBody::of(&feed, next);
    Ok(answer::ok(&body).with(header::ETAG, tag(&feed.state)).with_next(link))
}

/// Names the state of a feed; the address says which part of it.
fn tag(state: &FeedState) -> HeaderValue {
    conditional::weak_tag(&state.bytes())
}

/// Counts what the own account has not read.
///
/// Up to 99: there are more if it is `capped`.
#[utoipa::path(
    get,
    path = "/api/v1/notifications/unread-count",
    operation_id = "countUnreadNotifications",
    tag = "notifications",
    responses(
        (status = 200, description = "How many.", body = UnreadCountBody),
    ),
    security(("bearer" = []))
)]
pub(crate) async fn count(cx: Context) -> Answer {
    let unread = cx.services.notifications.unread(cx.actor()).await?;
    Ok(answer::ok(&UnreadCountBody { count: unread.count, capped: unread.is_capped }))
}

/// Marks one as read.
///
/// One that is read stays as it is.
#[utoipa::path(
    post,
    path = "/api/v1/notifications/{id}/read",
    operation_id = "readNotification",
    tag = "notifications",
    params(OfNotification),
    responses(
        (status = 204, description = "It is read."),
        (status = 404, description = "notification-not-found"),
    ),
    security(("bearer" = []))
)]
pub(crate) async fn read(cx: Context, body: Body) -> Answer {
    cx.actor().oneself().map_err(NotificationError::from)?;
    let Nothing {} = cx.json_or_default(body).await?;
    cx.services.notifications.mark_read(cx.actor(), id(&cx)?).await?;
    Ok(answer::no_content())
}

/// How far the feed was seen.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ReadAll {
    /// The `upTo` of a list: what it showed is read, and nothing that came later.
    #[schema(pattern = "^[0-9]+\\.[0-9]+\\.[0-9]+$")]
    up_to: String,
}

/// Marks as read what was seen, and nothing that came later.
///
/// `upTo` comes with every list of notifications, and says in which state the feed was read.
#[utoipa::path(
    post,
    path = "/api/v1/notifications/read-all",
    operation_id = "readAllNotifications",
    tag = "notifications",
    request_body(content = ReadAll, example = json!({ "upTo": "12.7.1767225600000000" })),
    responses(
        (status = 204, description = "It is read."),
    ),
    security(("bearer" = []))
)]
pub(crate) async fn read_all(cx: Context, body: Body) -> Answer {
    let mark = cx.json(body).await.and_then(ReadAll::mark);
    let mark = mark.unless_denied(async { cx.actor().oneself().map_err(NotificationError::from) }).await?;
    cx.services.notifications.mark_all_read(cx.actor(), mark).await?;
    Ok(answer::no_content())
}

impl ReadAll {
    fn mark(self) -> Result<FeedMark, Stop> {
        let rule = "upTo must be that of a list of notifications";
        Ok(self.up_to.parse().map_err(|_| Invalid::at("/upTo", rule))?)
    }
}

/// Takes one out of the list, for good.
///
/// It does not come back, whoever tells it again.
#[utoipa::path(
    delete,
    path = "/api/v1/notifications/{id}",
    operation_id = "dismissNotification",
    tag = "notifications",
    params(OfNotification),
    responses(
        (status = 204, description = "It is gone."),
        (status = 404, description = "notification-not-found"),
    ),
    security(("bearer" = []))
)]
pub(crate) async fn dismiss(cx: Context) -> Answer {
    cx.actor().oneself().map_err(NotificationError::from)?;
    cx.services.notifications.dismiss(cx.actor(), id(&cx)?).await?;
    Ok(answer::no_content())
}

fn id<Q>(cx: &Context<Q>) -> Result<NotificationId, NotificationError> {
    cx.param("id").ok_or(NotificationError::NotFound)
}
