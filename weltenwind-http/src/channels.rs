//! `channels/…` and `worlds/{world}/channels`.

use axum::body::Body;
use serde::Deserialize;
use weltenwind_core::{
    ChannelId, Scope,
    chat::{ChannelAmendment, ChannelDraft, ChannelName, ChannelQuery, ChatError, Seq},
    wire::{ChannelBody, UnreadBody},
    worlds::Slug,
};

use crate::{
    answer::{self, Answer, With as _},
    context::{self, Context},
    json::present,
    problem::{Stop, UnlessDenied as _},
    query::{LimitParam, Paging},
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListChannels {
    scope: Scope,
    cursor: Option<String>,
    #[serde(default)]
    limit: LimitParam,
}

/// `GET /api/v1/channels?scope=`: the open channels of a scope.
pub(crate) async fn list(cx: Context<ListChannels>) -> Answer {
    let ListChannels { scope, cursor, limit } = &cx.query;
    page(&cx, *scope, cursor.as_deref(), *limit).await
}

/// `GET /api/v1/worlds/{world}/channels`: the open channels of a world.
pub(crate) async fn list_of_world(cx: Context<Paging>) -> Answer {
    let world = cx.world_id().await?;
    page(&cx, Scope::World(world), cx.query.cursor.as_deref(), cx.query.limit).await
}

async fn page<Q>(cx: &Context<Q>, scope: Scope, cursor: Option<&str>, limit: LimitParam) -> Answer {
    let list = format!("channels?scope={scope}");
    let after = cursor.map(|cursor| cx.services.cursors.open(&list, cursor)).transpose()?;
    let page = cx.services.chat.channels(cx.actor(), &ChannelQuery { scope, after, limit: limit.0 }).await?;
    let next = page.next(|channel| cx.services.cursors.seal(&list, &channel.id));
    Ok(cx.list(page.items.iter().map(ChannelBody::from), next))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct OpenChannel {
    scope: Scope,
    slug: String,
    name: String,
    guests_may_post: Option<bool>,
    slowmode_seconds: Option<u32>,
    retention_days: Option<u32>,
}

impl From<OpenChannel> for ChannelDraft {
    fn from(wish: OpenChannel) -> Self {
        Self {
            guests_may_post: wish.guests_may_post.unwrap_or(true),
            slowmode_seconds: wish.slowmode_seconds.unwrap_or_default(),
            retention_days: wish.retention_days,
            ..Self::new(wish.scope, &wish.slug, &wish.name)
        }
    }
}

/// `POST /api/v1/channels`: makes a channel.
pub(crate) async fn open(cx: Context, body: Body) -> Answer {
    let wish = cx.tree(body).await?;
    // The scope says whom to ask, also where another member is wrong.
    let scope = wish.text("scope").and_then(|scope| scope.parse().ok());
    let wish: OpenChannel = context::read(wish).unless_denied(may_open(&cx, scope)).await?;
    let channel = cx.services.chat.open_channel(cx.actor(), wish.into()).await?;
    let location = format!("/api/v1/channels/{}", channel.id);
    Ok(answer::created(&location, &ChannelBody::from(&channel)).tagged(channel.revision))
}

async fn may_open(cx: &Context, scope: Option<Scope>) -> Result<(), Stop> {
    match scope {
        Some(scope) => cx.services.chat.require_manage_scope(cx.actor(), scope).await?,
        None => drop(cx.services.accounts.me(cx.actor()).await?),
    }
    Ok(())
}

/// `GET /api/v1/channels/{id}`: one channel.
pub(crate) async fn find(cx: Context) -> Answer {
    let channel = cx.services.chat.channel(cx.actor(), id(&cx)?).await?;
    Ok(answer::ok(&ChannelBody::from(&channel)).tagged(channel.revision))
}

/// What is to change; what is absent stays, and only the retention can be null.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[expect(clippy::option_option, reason = "absent and null are two wishes")]
struct AmendChannel {
    #[serde(deserialize_with = "present")]
    slug: Option<String>,
    #[serde(deserialize_with = "present")]
    name: Option<String>,
    #[serde(deserialize_with = "present")]
    guests_may_post: Option<bool>,
    #[serde(deserialize_with = "present")]
    slowmode_seconds: Option<u32>,
    #[serde(deserialize_with = "present")]
    retention_days: Option<Option<u32>>,
}

impl AmendChannel {
    fn amendment(self) -> Result<ChannelAmendment, Stop> {
        Ok(ChannelAmendment {
            slug: self.slug.as_deref().map(Slug::new).transpose()?,
            name: self.name.as_deref().map(ChannelName::new).transpose()?,
            guests_may_post: self.guests_may_post,
            slowmode_seconds: self.slowmode_seconds,
            retention_days: self.retention_days,
        })
    }
}

/// `PATCH /api/v1/channels/{id}`: changes a channel in the state that If-Match names.
pub(crate) async fn amend(cx: Context, body: Body) -> Answer {
    let (chat, id) = (&cx.services.chat, id(&cx)?);
    let amendment = cx.json(body).await.and_then(AmendChannel::amendment);
    let wish = amendment.and_then(|amendment| Ok((cx.if_match()?, amendment)));
    let (expected, amendment) = wish.unless_denied(chat.require_manage(cx.actor(), id)).await?;
    let channel = chat.amend_channel(cx.actor(), id, Some(expected), amendment).await?;
    Ok(answer::ok(&ChannelBody::from(&channel)).tagged(channel.revision))
}

/// `DELETE /api/v1/channels/{id}`: closes a channel in the state that If-Match names.
pub(crate) async fn close(cx: Context) -> Answer {
    let (chat, id) = (&cx.services.chat, id(&cx)?);
    let expected = cx.if_match().unless_denied(chat.require_manage(cx.actor(), id)).await?;
    chat.close_channel(cx.actor(), id, Some(expected)).await?;
    Ok(answer::no_content())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MarkRead {
    seq: i64,
}

/// `PUT /api/v1/channels/{id}/read`: notes how far the caller has read.
pub(crate) async fn mark_read(cx: Context, body: Body) -> Answer {
    let (chat, id) = (&cx.services.chat, id(&cx)?);
    let MarkRead { seq } = cx.json(body).await.unless_denied(may_mark(&cx, id)).await?;
    let unread = chat.mark_read(cx.actor(), id, Seq::new(seq)).await?;
    Ok(answer::ok(&UnreadBody::from(&unread)))
}

async fn may_mark(cx: &Context, id: ChannelId) -> Result<(), Stop> {
    cx.services.chat.channel(cx.actor(), id).await?;
    cx.services.accounts.me(cx.actor()).await?;
    Ok(())
}

/// Returns the channel of the path.
pub(crate) fn id<Q>(cx: &Context<Q>) -> Result<ChannelId, ChatError> {
    cx.param("id").ok_or(ChatError::ChannelNotFound)
}
