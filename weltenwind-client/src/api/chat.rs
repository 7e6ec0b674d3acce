//! Messages.

use reqwest::Method;
use serde::Serialize;
use weltenwind_core::{
    ChannelId, IdGenerator as _, MessageId, SystemIds,
    wire::{HistoryBody, MessageBody, UnreadBody},
};

use super::with_query;
use crate::{call::Call, client::Client, error::ClientError, retry::Repeat};

/// A message to be posted.
///
/// It has a name of its author's own, the client id, from the start: posted twice, by whatever way, it is one message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Draft {
    /// The channel.
    #[serde(skip)]
    pub channel: ChannelId,
    /// What it says: 1 to 2000 characters.
    pub body: String,
    /// What its author calls it: 1 to 64 visible ASCII characters.
    pub client_id: String,
    /// The message it replies to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<MessageId>,
}

impl Draft {
    /// A message under a fresh client id.
    pub fn new(channel: ChannelId, body: impl Into<String>) -> Self {
        Self { channel, body: body.into(), client_id: SystemIds.draw().to_string(), reply_to: None }
    }

    /// Makes it an answer to another message of the channel.
    #[must_use]
    pub const fn reply_to(mut self, message: MessageId) -> Self {
        self.reply_to = Some(message);
        self
    }
}

/// Which part of a channel's history to read.
///
/// Every page says with `room_cursor` how far it is complete. From there [`HistoryQuery::since`] and
/// [`Realtime::join`](crate::Realtime::join) go on without a gap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryQuery {
    direction: Option<&'static str>,
    since: Option<String>,
    cursor: Option<String>,
    limit: Option<u32>,
}

impl HistoryQuery {
    const fn with(direction: Option<&'static str>, since: Option<String>) -> Self {
        Self { direction, since, cursor: None, limit: None }
    }

    /// The newest messages, newest first.
    pub const fn older() -> Self {
        Self::with(Some("older"), None)
    }

    /// The oldest messages, oldest first.
    pub const fn newer() -> Self {
        Self::with(Some("newer"), None)
    }

    /// What changed after a position: each message once, in its newest state. Where there is more, the page's
    /// `next_cursor` is the next `since`.
    pub fn since(room_cursor: impl Into<String>) -> Self {
        Self::with(None, Some(room_cursor.into()))
    }

    /// Behind the page that had this `next_cursor`, in the same direction.
    #[must_use]
    pub fn behind(mut self, cursor: impl Into<String>) -> Self {
        self.cursor = Some(cursor.into());
        self
    }

    /// How many, 1 to 200; the server's default is 50.
    #[must_use]
    pub const fn limit(mut self, messages: u32) -> Self {
        self.limit = Some(messages);
        self
    }
}

/// How a message is removed; its place stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Removal {
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    mode: &'static str,
}

impl Removal {
    /// Removes one's own message.
    pub const fn own() -> Self {
        Self { reason: None, mode: "mask" }
    }

    /// Hides a message; moderators see it still.
    pub fn mask(reason: impl Into<String>) -> Self {
        Self { reason: Some(reason.into()), mode: "mask" }
    }

    /// Destroys what a message says.
    pub fn purge(reason: impl Into<String>) -> Self {
        Self { reason: Some(reason.into()), mode: "purge" }
    }
}

#[derive(Serialize)]
struct Edit<'a> {
    body: &'a str,
}

#[derive(Serialize)]
struct Mark {
    seq: i64,
}

impl Client {
    /// Reads a part of a channel's history.
    pub async fn history(&self, channel: ChannelId, query: &HistoryQuery) -> Result<HistoryBody, ClientError> {
        let parameters = [
            ("direction", query.direction.map(str::to_owned)),
            ("since", query.since.clone()),
            ("cursor", query.cursor.clone()),
            ("limit", query.limit.map(|limit| limit.to_string())),
        ];
        self.get(with_query(self.url(["channels", &channel.to_string(), "messages"]), parameters)).await
    }

    /// Posts a message. When this answers, the message is stored; a repeat of the same draft is no second message.
    pub async fn post(&self, draft: &Draft) -> Result<MessageBody, ClientError> {
        let url = self.url(["channels", &draft.channel.to_string(), "messages"]);
        self.send(Method::POST, url, Repeat::Harmless, draft).await
    }

    /// Reads one message.
    pub async fn message(&self, id: MessageId) -> Result<MessageBody, ClientError> {
        self.get(self.url(["messages", &id.to_string()])).await
    }

    /// Gives one's own message another text, within 15 minutes.
    pub async fn edit(&self, id: MessageId, body: &str) -> Result<MessageBody, ClientError> {
        // A repeat would be a second edit, at another time.
        self.send(Method::PATCH, self.url(["messages", &id.to_string()]), Repeat::Doubles, &Edit { body }).await
    }

    /// Removes a message.
    pub async fn remove(&self, id: MessageId, removal: &Removal) -> Result<(), ClientError> {
        let call = Call::new(Method::DELETE, self.url(["messages", &id.to_string()]), Repeat::Harmless);
        self.ask(&call.json(removal)?).await.map(drop)
    }

    /// Notes how far one has read a channel, and answers what is left.
    pub async fn mark_read(&self, channel: ChannelId, seq: i64) -> Result<UnreadBody, ClientError> {
        let url = self.url(["channels", &channel.to_string(), "read"]);
        self.send(Method::PUT, url, Repeat::Harmless, &Mark { seq }).await
    }
}
