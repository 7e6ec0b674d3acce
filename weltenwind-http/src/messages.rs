//! `channels/{id}/messages` and `messages/{id}`.

use axum::body::Body;
use http::{HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use weltenwind_core::{
    ChannelId, Code, FieldError, MessageId,
    chat::{
        ChangeQuery, ChatError, Draft, History, Message, MessageQuery, Position, RemovalMode, RoomCursor, RoomPosition,
        Seq, SharedMessage,
    },
    wire::{HistoryBody, MessageBody},
};

use crate::{
    answer::{self, Answer, With as _},
    channels, conditional,
    context::Context,
    problem::{Refusal, UnlessDenied as _},
    query::LimitParam,
    reference::{InChannel, OfMessage},
};

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListMessages {
    /// Where the list goes on: `nextCursor` of the part before.
    cursor: Option<String>,
    /// Which way the history is read.
    #[param(inline)]
    direction: Option<Direction>,
    /// A position: `roomCursor` of a page or `cursor` of the socket. Goes with neither `cursor` nor `direction`.
    since: Option<String>,
    /// How many items at most.
    #[param(value_type = u16, minimum = 1, maximum = 200, default = 50)]
    #[serde(default)]
    limit: LimitParam,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(default = "older")]
enum Direction {
    #[default]
    Older,
    Newer,
}

/// Reads a part of the history or, with `since`, what changed.
///
/// History is newest first, with `direction=newer` oldest first. `since` answers what is new, edited or removed after a position,
/// each message once and in its newest state, oldest change first; more is there as long as `nextCursor` is not null, and goes
/// into `since` again. `roomCursor` is a `since` for a join of the socket too, so that history and live meet without a gap.
#[utoipa::path(
    get,
    path = "/api/v1/channels/{id}/messages",
    operation_id = "listMessages",
    tag = "messages",
    params(InChannel, ListMessages),
    responses(
        (status = 200, description = "The messages, and the position that the page is complete to.", body = HistoryBody),
        (status = 404, description = "channel-not-found"),
        (status = 410, description = "replay-window-exceeded"),
    ),
    security((), ("bearer" = []))
)]
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

/// A page is what its address says, as of the channel's position: so the position is its tag, and whoever has the page is
/// told so before it is read.
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
    if cx.headers.contains_key(header::IF_NONE_MATCH) {
        let tag = tag(cx.services.chat.position(cx.actor(), channel).await?);
        if conditional::is_known(&cx.headers, &tag) {
            return Ok(answer::not_modified().with(header::ETAG, tag));
        }
    }
    let History { page, position } = cx.services.chat.history(cx.actor(), &query).await?;
    let next = page.next(|message| cx.services.cursors.seal(&list, &message.seq));
    let link = next.as_deref().map(|cursor| cx.link("cursor", cursor));
    let room_cursor = cx.services.cursors.seal_room(channel, position);
    let body = write_page(&page.items, next.as_deref(), &room_cursor);
    Ok(answer::json(StatusCode::OK, body).with(header::ETAG, tag(position)).with_next(link))
}

/// Names the state of a channel in which a page was read, and the form in which this version writes it.
fn tag(position: RoomPosition) -> HeaderValue {
    let RoomPosition { epoch, change } = position;
    HeaderValue::from_str(&format!("W/\"1-{epoch:x}-{change}\"")).expect("numbers are visible")
}

/// Writes a [`HistoryBody`], its messages in the form that other readers of them share.
fn write_page(messages: &[SharedMessage], next_cursor: Option<&str>, room_cursor: &str) -> Vec<u8> {
    const USUAL: usize = 400;
    let mut body = Vec::with_capacity(messages.len() * USUAL + USUAL);
    body.extend_from_slice(b"{\"items\":[");
    for (n, message) in messages.iter().enumerate() {
        if n > 0 {
            body.push(b',');
        }
        message.append_to(&mut body, |message, body| write(&MessageBody::from(message), body));
    }
    body.extend_from_slice(b"],\"nextCursor\":");
    write(&next_cursor, &mut body);
    body.extend_from_slice(b",\"roomCursor\":");
    write(&room_cursor, &mut body);
    body.push(b'}');
    body
}

fn write(value: &impl Serialize, body: &mut Vec<u8>) {
    serde_json::to_writer(body, value).expect("bodies are plain data");
}

/// Where more has changed than one page holds, `nextCursor` is the `roomCursor`: the next page is what changed since then. What
/// was posted meanwhile and changed again stands on a later page, so the reader is whole only behind the last one.
async fn changes(cx: &Context<ListMessages>, channel: ChannelId, since: &str) -> Answer {
    let since = cx.services.cursors.open_room(channel, since)?;
    let query = ChangeQuery { channel, since: since.at, limit: cx.query.limit.0 };
    let changes = cx.services.chat.changes(cx.actor(), &query).await?;
    let whole = if changes.page.more { since.whole } else { changes.position.change };
    let room_cursor = cx.services.cursors.seal_room(channel, RoomCursor { at: changes.position, whole });
    let next = changes.page.more.then(|| room_cursor.clone());
    let link = next.as_deref().map(|cursor| cx.link("since", cursor));
    Ok(answer::ok(&body(&changes.page.items, next, room_cursor)).with_next(link))
}

fn body(messages: &[Message], next_cursor: Option<String>, room_cursor: String) -> HistoryBody {
    HistoryBody { items: messages.iter().map(MessageBody::from).collect(), next_cursor, room_cursor }
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PostMessage {
    /// What the message says.
    #[schema(min_length = 1, max_length = 2000)]
    body: String,
    /// What the author calls it, so that a repeat is known.
    #[schema(pattern = "^[!-~]{1,64}$")]
    client_id: Option<String>,
    /// The message of the same channel that it replies to.
    reply_to: Option<MessageId>,
}

/// Posts a message as the caller.
///
/// The same `clientId` with the same body again answers the first message.
#[utoipa::path(
    post,
    path = "/api/v1/channels/{id}/messages",
    operation_id = "postMessage",
    tag = "messages",
    params(InChannel),
    request_body(content = PostMessage, example = json!({ "body": "well met", "clientId": "a1" })),
    responses(
        (status = 200, description = "The message was posted before.", body = MessageBody),
        (status = 201, description = "The message.", body = MessageBody),
        (status = 403, description = "permission-denied, guests-may-not-post"),
        (status = 404, description = "channel-not-found"),
        (status = 409, description = "client-id-reused"),
        (status = 422, description = "validation-failed, reply-not-found"),
        (status = 429, description = "rate-limited, slow-mode"),
    ),
    security(("bearer" = []))
)]
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

/// Answers a message.
///
/// A removed one is a tombstone: its `body` is null.
#[utoipa::path(
    get,
    path = "/api/v1/messages/{id}",
    operation_id = "getMessage",
    tag = "messages",
    params(OfMessage),
    responses(
        (status = 200, description = "The message.", body = MessageBody),
        (status = 404, description = "message-not-found"),
    ),
    security((), ("bearer" = []))
)]
pub(crate) async fn find(cx: Context) -> Answer {
    let message = cx.services.chat.message(cx.actor(), id(&cx)?).await?;
    Ok(answer::ok(&MessageBody::from(&message)))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct EditMessage {
    /// What the message says.
    #[schema(min_length = 1, max_length = 2000)]
    body: String,
}

/// Gives an own message another text.
///
/// That is possible for 15 minutes.
#[utoipa::path(
    patch,
    path = "/api/v1/messages/{id}",
    operation_id = "editMessage",
    tag = "messages",
    params(OfMessage),
    request_body(content = EditMessage, example = json!({ "body": "well met, all" })),
    responses(
        (status = 200, description = "The message as it is now.", body = MessageBody),
        (status = 403, description = "permission-denied, edit-window-passed"),
        (status = 404, description = "message-not-found"),
        (status = 409, description = "message-removed"),
    ),
    security(("bearer" = []))
)]
pub(crate) async fn edit(cx: Context, body: Body) -> Answer {
    let (chat, id) = (&cx.services.chat, id(&cx)?);
    let EditMessage { body } = cx.json(body).await.unless_denied(chat.check_edit(cx.actor(), id)).await?;
    let message = chat.edit(cx.actor(), id, &body).await?;
    Ok(answer::ok(&MessageBody::from(&message)))
}

#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
struct RemoveMessage {
    /// Why; required for messages of others.
    #[schema(min_length = 1, max_length = 500)]
    reason: Option<String>,
    /// What becomes of the text.
    mode: RemovalMode,
}

/// Removes a message; its place stays.
///
/// One's own is masked at will. Others, and every purge, need `chat.moderate` and a reason.
#[utoipa::path(
    delete,
    path = "/api/v1/messages/{id}",
    operation_id = "removeMessage",
    tag = "messages",
    params(OfMessage),
    request_body(content = Option<RemoveMessage>, example = json!({ "reason": "insult", "mode": "mask" })),
    responses(
        (status = 204, description = "The message is removed."),
        (status = 403, description = "permission-denied, two-factor-enrolment-required"),
        (status = 404, description = "message-not-found"),
    ),
    security(("bearer" = []))
)]
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

#[cfg(test)]
mod tests {
    use weltenwind_core::{
        Actor, Limit, Scope,
        chat::{ChannelDraft, Chat},
    };

    use super::*;

    #[tokio::test]
    async fn a_page_is_written_as_its_schema_says() {
        let (chat, mira) = (Chat::in_memory(), Actor::player("Mira"));
        let lobby =
            chat.open_channel(&Actor::operator(), ChannelDraft::new(Scope::Global, "lobby", "Lobby")).await.unwrap();
        for text in ["well met", "\"quoted\"", "wind \u{1f32c}"] {
            chat.post(&mira, Draft::new(lobby.id, text)).await.unwrap();
        }
        let query = MessageQuery { channel: lobby.id, position: Position::Newest, limit: Limit::default() };
        let messages = chat.history(&mira, &query).await.unwrap().page.items;
        let plain: Vec<Message> = messages.iter().map(|message| Message::clone(message)).collect();

        for next in [Some("a\"b"), None] {
            let written = write_page(&messages, next, "here");
            assert_eq!(written, serde_json::to_vec(&body(&plain, next.map(str::to_owned), "here".to_owned())).unwrap());
        }
        let empty = write_page(&[], None, "here");
        assert_eq!(empty, serde_json::to_vec(&body(&[], None, "here".to_owned())).unwrap());
    }
}
