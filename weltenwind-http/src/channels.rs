//! `channels/…` and `worlds/{world}/channels`.

use axum::body::Body;
use serde::Deserialize;
use utoipa::{
    IntoParams, ToSchema,
    openapi::{ObjectBuilder, Schema, Type, schema::AnyOfBuilder},
};
use weltenwind_core::{
    ChannelId, Scope,
    chat::{ChannelAmendment, ChannelDraft, ChannelName, ChannelQuery, ChatError, Seq},
    wire::{ChannelBody, ListBody, UnreadBody},
    worlds::Slug,
};

use crate::{
    answer::{self, Answer, With as _},
    context::{self, Context},
    json::present,
    problem::{Stop, UnlessDenied as _},
    query::{LimitParam, Paging},
    reference::{IfMatch, InChannel, InWorld},
};

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListChannels {
    /// Where the channels belong.
    scope: Scope,
    /// Where the list goes on: `nextCursor` of the part before.
    cursor: Option<String>,
    /// How many items at most.
    #[param(value_type = u16, minimum = 1, maximum = 200, default = 50)]
    #[serde(default)]
    limit: LimitParam,
}

/// Lists the open channels of a scope.
///
/// Closed channels are left out.
#[utoipa::path(
    get,
    path = "/api/v1/channels",
    operation_id = "listChannels",
    tag = "channels",
    params(ListChannels),
    responses(
        (status = 200, description = "A part of the list.", body = ListBody<ChannelBody>),
        (status = 404, description = "world-not-found"),
    ),
    security((), ("bearer" = []))
)]
pub(crate) async fn list(cx: Context<ListChannels>) -> Answer {
    let ListChannels { scope, cursor, limit } = &cx.query;
    page(&cx, *scope, cursor.as_deref(), *limit).await
}

/// Lists the open channels of a world.
///
/// The same list as that of its scope, under a name that people can type.
#[utoipa::path(
    get,
    path = "/api/v1/worlds/{world}/channels",
    operation_id = "listWorldChannels",
    tag = "channels",
    params(InWorld, Paging),
    responses(
        (status = 200, description = "A part of the list.", body = ListBody<ChannelBody>),
        (status = 404, description = "world-not-found"),
    ),
    security((), ("bearer" = []))
)]
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

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct OpenChannel {
    /// Where it belongs.
    scope: Scope,
    /// Its short name, unique in its scope.
    #[schema(min_length = 2, max_length = 48, pattern = "^[a-z0-9]+(-[a-z0-9]+)*$")]
    slug: String,
    /// Its name.
    #[schema(min_length = 1, max_length = 64)]
    name: String,
    /// Whether accounts of kind guest may post.
    #[schema(default = true)]
    guests_may_post: Option<bool>,
    /// The pause between two messages of one author; 0 is none.
    #[schema(default = 0, minimum = 0, maximum = 21600)]
    slowmode_seconds: Option<u32>,
    /// After how many days messages are deleted; absent keeps them.
    #[schema(minimum = 1, maximum = 3650)]
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

/// Makes a channel.
///
/// Needs `chat.manage` in its scope.
#[utoipa::path(
    post,
    path = "/api/v1/channels",
    operation_id = "openChannel",
    tag = "channels",
    request_body(content = OpenChannel, example = json!({ "scope": "global", "slug": "lobby", "name": "Lobby", "slowmodeSeconds": 5 })),
    responses(
        (status = 201, description = "The channel.", body = ChannelBody),
        (status = 403, description = "permission-denied, two-factor-enrolment-required"),
        (status = 404, description = "world-not-found"),
        (status = 409, description = "slug-taken"),
    ),
    security(("bearer" = []))
)]
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

/// Answers a channel.
///
/// A channel that the caller may not read does not exist for it.
#[utoipa::path(
    get,
    path = "/api/v1/channels/{id}",
    operation_id = "getChannel",
    tag = "channels",
    params(InChannel),
    responses(
        (status = 200, description = "The channel.", body = ChannelBody),
        (status = 404, description = "channel-not-found"),
    ),
    security((), ("bearer" = []))
)]
pub(crate) async fn find(cx: Context) -> Answer {
    let channel = cx.services.chat.channel(cx.actor(), id(&cx)?).await?;
    Ok(answer::ok(&ChannelBody::from(&channel)).tagged(channel.revision))
}

/// What is to change; what is absent stays, and only the retention can be null.
#[derive(Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[expect(clippy::option_option, reason = "absent and null are two wishes")]
struct AmendChannel {
    /// Its short name, unique in its scope.
    #[schema(value_type = String, min_length = 2, max_length = 48, pattern = "^[a-z0-9]+(-[a-z0-9]+)*$")]
    #[serde(deserialize_with = "present")]
    slug: Option<String>,
    /// Its name.
    #[schema(value_type = String, min_length = 1, max_length = 64)]
    #[serde(deserialize_with = "present")]
    name: Option<String>,
    /// Whether accounts of kind guest may post.
    #[schema(value_type = bool)]
    #[serde(deserialize_with = "present")]
    guests_may_post: Option<bool>,
    /// The pause between two messages of one author; 0 is none.
    #[schema(value_type = u32, minimum = 0, maximum = 21600)]
    #[serde(deserialize_with = "present")]
    slowmode_seconds: Option<u32>,
    /// After how many days messages are deleted; null keeps them.
    #[schema(schema_with = days_or_null)]
    #[serde(deserialize_with = "present")]
    retention_days: Option<Option<u32>>,
}

/// Days, or null as a wish of its own.
fn days_or_null() -> Schema {
    let days = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(1)).maximum(Some(3650));
    let days_or_null = AnyOfBuilder::new().item(days).item(ObjectBuilder::new().schema_type(Type::Null));
    days_or_null.description(Some("After how many days messages are deleted; null keeps them.")).into()
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

/// Changes a channel in the state that If-Match names.
///
/// Needs `chat.manage`. What is absent stays.
#[utoipa::path(
    patch,
    path = "/api/v1/channels/{id}",
    operation_id = "amendChannel",
    tag = "channels",
    params(InChannel, IfMatch),
    request_body(content = AmendChannel, example = json!({ "name": "Tavern", "retentionDays": null })),
    responses(
        (status = 200, description = "The channel as it is now.", body = ChannelBody),
        (status = 403, description = "permission-denied, two-factor-enrolment-required"),
        (status = 404, description = "channel-not-found"),
        (status = 409, description = "slug-taken"),
    ),
    security(("bearer" = []))
)]
pub(crate) async fn amend(cx: Context, body: Body) -> Answer {
    cx.require_sign_in()?;
    let (chat, id) = (&cx.services.chat, id(&cx)?);
    let amendment = cx.json(body).await.and_then(AmendChannel::amendment);
    let wish = amendment.and_then(|amendment| Ok((cx.if_match()?, amendment)));
    let (expected, amendment) = wish.unless_denied(chat.require_manage(cx.actor(), id)).await?;
    let channel = chat.amend_channel(cx.actor(), id, Some(expected), amendment).await?;
    Ok(answer::ok(&ChannelBody::from(&channel)).tagged(channel.revision))
}

/// Closes a channel in the state that If-Match names.
///
/// Needs `chat.manage`.
#[utoipa::path(
    delete,
    path = "/api/v1/channels/{id}",
    operation_id = "closeChannel",
    tag = "channels",
    params(InChannel, IfMatch),
    responses(
        (status = 204, description = "The channel is closed."),
        (status = 403, description = "permission-denied, two-factor-enrolment-required"),
        (status = 404, description = "channel-not-found"),
    ),
    security(("bearer" = []))
)]
pub(crate) async fn close(cx: Context) -> Answer {
    cx.require_sign_in()?;
    let (chat, id) = (&cx.services.chat, id(&cx)?);
    let expected = cx.if_match().unless_denied(chat.require_manage(cx.actor(), id)).await?;
    chat.close_channel(cx.actor(), id, Some(expected)).await?;
    Ok(answer::no_content())
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct MarkRead {
    /// The number of the last message that was read; 0 is none.
    #[schema(minimum = 0)]
    seq: i64,
}

/// Notes how far the caller has read.
///
/// A mark only moves forward.
#[utoipa::path(
    put,
    path = "/api/v1/channels/{id}/read",
    operation_id = "markRead",
    tag = "channels",
    params(InChannel),
    request_body(content = MarkRead, example = json!({ "seq": 0 })),
    responses(
        (status = 200, description = "The mark, and what is left to read.", body = UnreadBody),
        (status = 404, description = "channel-not-found"),
    ),
    security(("bearer" = []))
)]
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
