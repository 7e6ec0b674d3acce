//! `channels/{id}/messages` and `messages/{id}`.

use axum::body::Body;
use serde::Deserialize;
use weltenwind_core::{
    ChannelId, Code, FieldError, MessageId,
    chat::{ChangeQuery, ChatError, Draft, History, Message, MessageQuery, Position, RemovalMode, Seq},
    wire::{HistoryBody, MessageBody},
};

use crate::{
    answer::{self, Answer, With as _},
    channels,
    context::Context,
    problem::{Refusal, UnlessDenied as _},
    query::LimitParam,
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListMessages {
    cursor: Option<String>,
    direction: Option<Direction>,
    since: Option<String>,
    #[serde(default)]
    limit: LimitParam,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Direction {
    #[default]
    Older,
    Newer,
}

/// `GET /api/v1/channels/{id}/messages`: a part of the history or, with `since`, what changed.
pub(crate) async fn list(cx: Context<ListMessages>) -> Answer {
    let channel = channels::id(&cx)?;
    let ListMessages { cursor, direction, since, .. } = &cx.query;
    match since {
        Some(since) if cursor.is_none() && direction.is_none() => changes(&cx, channel, since).await,
        Some(_) => {
            let detail = "since goes with neither cursor nor direction";
            let field = FieldError::new("since", Code::Malformed, detail);
            Err(Refusal::malformed(detail).naming([field]).into())
        }
        None => history(&cx, channel).await,
    }
}

async fn history(cx: &Context<ListMessages>, channel: ChannelId) -> Answer {
    let ListMessages { cursor, direction, limit, .. } = &cx.query;
    let direction = direction.unwrap_or_default();
    let list = format!("channels/{channel}/messages?direction={direction:?}");
    let from = cursor.as_deref().map(|cursor| cx.services.cursors.open::<Seq>(&list, cursor)).transpose()?;
    let position = match (direction, from) {
        (Direction::Older, None) => Position::Newest,
        (Direction::Older, Some(seq)) => Position::Before(seq),
        (Direction::Newer, from) => Position::After(from.unwrap_or(Seq::ZERO)),
    };
    let query = MessageQuery { channel, position, limit: limit.0 };
    let History { page, position } = cx.services.chat.history(cx.actor(), &query).await?;
    let next = page.next(|message| cx.services.cursors.seal(&list, &message.seq));
    let link = next.as_deref().map(|cursor| cx.link("cursor", cursor));
    let room_cursor = cx.services.cursors.seal_room(channel, position);
    Ok(answer::ok(&body(&page.items, next, room_cursor)).with_next(link))
}

/// Where more has changed than one page holds, `nextCursor` is the `roomCursor`: the next page is what changed since then.
async fn changes(cx: &Context<ListMessages>, channel: ChannelId, since: &str) -> Answer {
    let since = cx.services.cursors.open_room(channel, since)?;
    let query = ChangeQuery { channel, since, limit: cx.query.limit.0 };
    let changes = cx.services.chat.changes(cx.actor(), &query).await?;
    let room_cursor = cx.services.cursors.seal_room(channel, changes.position);
    let next = changes.page.more.then(|| room_cursor.clone());
    let link = next.as_deref().map(|cursor| cx.link("since", cursor));
    Ok(answer::ok(&body(&changes.page.items, next, room_cursor)).with_next(link))
}

fn body(messages: &[Message], next_cursor: Option<String>, room_cursor: String) -> HistoryBody {
    HistoryBody { items: messages.iter().map(MessageBody::from).collect(), next_cursor, room_cursor }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PostMessage {
    body: String,
    client_id: Option<String>,
    reply_to: Option<MessageId>,
}

/// `POST /api/v1/channels/{id}/messages`: posts a message as the caller; 200 if it was posted before.
pub(crate) async fn post(cx: Context, body: Body) -> Answer {
    let (chat, channel) = (&cx.services.chat, channels::id(&cx)?);
    let PostMessage { body, client_id, reply_to } =
        cx.json(body).await.unless_denied(chat.check_post(cx.actor(), channel)).await?;
    let posted = chat.post(cx.actor(), Draft { channel, body, client_id, reply_to }).await?;
    let body = MessageBody::from(&posted.message);
    if !posted.fresh {
        return Ok(answer::ok(&body));
    }
    Ok(answer::created(&format!("/api/v1/messages/{}", body.id), &body))
}

/// `GET /api/v1/messages/{id}`: one message.
pub(crate) async fn find(cx: Context) -> Answer {
    let message = cx.services.chat.message(cx.actor(), id(&cx)?).await?;
    Ok(answer::ok(&MessageBody::from(&message)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EditMessage {
    body: String,
}

/// `PATCH /api/v1/messages/{id}`: gives one's own message another text.
pub(crate) async fn edit(cx: Context, body: Body) -> Answer {
    let (chat, id) = (&cx.services.chat, id(&cx)?);
    let EditMessage { body } = cx.json(body).await.unless_denied(chat.check_edit(cx.actor(), id)).await?;
    let message = chat.edit(cx.actor(), id, &body).await?;
    Ok(answer::ok(&MessageBody::from(&message)))
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RemoveMessage {
    reason: Option<String>,
    mode: RemovalMode,
}

/// `DELETE /api/v1/messages/{id}`: removes a message; its place stays.
pub(crate) async fn remove(cx: Context, body: Body) -> Answer {
    let (chat, id) = (&cx.services.chat, id(&cx)?);
    let allowed = chat.check_remove(cx.actor(), id, RemovalMode::default());
    let RemoveMessage { reason, mode } = cx.json_or_default(body).await.unless_denied(allowed).await?;
    chat.remove(cx.actor(), id, mode, reason.as_deref()).await?;
    Ok(answer::no_content())
}

fn id(cx: &Context) -> Result<MessageId, ChatError> {
    cx.param("id").ok_or(ChatError::MessageNotFound)
}
