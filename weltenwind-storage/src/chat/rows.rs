//! Rows of channels and messages, and what both adapters make of them.

use sqlx::{AssertSqlSafe, ColumnIndex, Decode, FromRow, Row, Type};
use uuid::Uuid;
use weltenwind_core::{
    AccountId, ChannelId, Limit, MessageId, Page, Revision,
    accounts::DisplayName,
    chat::{
        Author, Body, Change, ChangeQuery, Changes, Channel, ChannelChange, ChannelName, ChatError, ClientId, History,
        Message, MessageQuery, Position, RemovalMode, RoomHead, RoomPosition, Seq, Tombstone, Unread, Written,
    },
    worlds::Slug,
};

use super::sql;
use crate::{
    error::{BrokenRow, failed},
    rows::{Instant, RowName, ScopeColumns, all, one},
};

#[derive(Debug, sqlx::FromRow)]
pub(super) struct ChannelRow {
    id: Uuid,
    #[sqlx(flatten)]
    scope: ScopeColumns,
    slug: String,
    name: String,
    guests_may_post: bool,
    slowmode_seconds: i64,
    retention_days: Option<i64>,
    revision: i64,
    epoch: i64,
    created_at: Instant,
    archived_at: Option<Instant>,
}

impl TryFrom<ChannelRow> for Channel {
    type Error = BrokenRow;

    fn try_from(row: ChannelRow) -> Result<Self, BrokenRow> {
        let name = RowName::new("chat_channels", row.id);
        Ok(Self {
            id: ChannelId::new(row.id),
            scope: name.scope(&row.scope)?,
            slug: Slug::from_stored(row.slug),
            name: ChannelName::from_stored(row.name),
            guests_may_post: row.guests_may_post,
            slowmode_seconds: name.number("slowmode_seconds", row.slowmode_seconds)?,
            retention_days: row.retention_days.map(|days| name.number("retention_days", days)).transpose()?,
            revision: Revision::new(row.revision),
            epoch: name.number("epoch", row.epoch)?,
            created_at: row.created_at.0,
            archived_at: row.archived_at.map(|at| at.0),
        })
    }
}

/// Returns the channel as `change` makes it, but for the instant it is closed at.
pub(super) fn amended(channel: Channel, change: &ChannelChange) -> Result<Channel, ChatError> {
    if channel.archived_at.is_some() {
        return Err(ChatError::ChannelNotFound);
    }
    if change.expected.is_some_and(|expected| expected != channel.revision) {
        return Err(ChatError::Stale(channel.revision));
    }
    let amendment = change.amendment.clone();
    Ok(Channel {
        slug: amendment.slug.unwrap_or(channel.slug),
        name: amendment.name.unwrap_or(channel.name),
        guests_may_post: amendment.guests_may_post.unwrap_or(channel.guests_may_post),
        slowmode_seconds: amendment.slowmode_seconds.unwrap_or(channel.slowmode_seconds),
        retention_days: amendment.retention_days.unwrap_or(channel.retention_days),
        revision: channel.revision.next(),
        ..channel
    })
}

#[derive(Debug, sqlx::FromRow)]
pub(super) struct WrittenRow {
    channel_id: Uuid,
    seq: i64,
    change: i64,
}

impl From<WrittenRow> for Written {
    fn from(row: WrittenRow) -> Self {
        Self { channel: ChannelId::new(row.channel_id), seq: Seq::new(row.seq), change: Change::new(row.change) }
    }
}

/// Whatever selects the columns of `message_columns!`, in any order.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct MessageRow {
    channel_id: Uuid,
    seq: i64,
    change: i64,
    posted_change: i64,
    id: Uuid,
    author_id: Uuid,
    author_name: String,
    body: Option<String>,
    client_id: Option<String>,
    reply_to: Option<Uuid>,
    sent_at: Instant,
    edited_at: Option<Instant>,
    removed_by: Option<Uuid>,
    removal_reason: Option<String>,
    removed_at: Option<Instant>,
    removal_mode: Option<String>,
}

impl MessageRow {
    /// Takes the columns in the order of `message_columns!`, from the one at `first` on. A page's rows are read so: to look
    /// their columns up by name takes as long as to decode them.
    fn from_columns<'r, R>(row: &'r R, first: usize) -> sqlx::Result<Self>
    where
        R: Row,
        usize: ColumnIndex<R>,
        Uuid: Decode<'r, R::Database> + Type<R::Database>,
        i64: Decode<'r, R::Database> + Type<R::Database>,
        String: Decode<'r, R::Database> + Type<R::Database>,
        Instant: Decode<'r, R::Database> + Type<R::Database>,
    {
        Ok(Self {
            channel_id: row.try_get(first)?,
            seq: row.try_get(first + 1)?,
            change: row.try_get(first + 2)?,
            posted_change: row.try_get(first + 3)?,
            id: row.try_get(first + 4)?,
            author_id: row.try_get(first + 5)?,
            author_name: row.try_get(first + 6)?,
            body: row.try_get(first + 7)?,
            client_id: row.try_get(first + 8)?,
            reply_to: row.try_get(first + 9)?,
            sent_at: row.try_get(first + 10)?,
            edited_at: row.try_get(first + 11)?,
            removed_by: row.try_get(first + 12)?,
            removal_reason: row.try_get(first + 13)?,
            removed_at: row.try_get(first + 14)?,
            removal_mode: row.try_get(first + 15)?,
        })
    }
}

impl TryFrom<MessageRow> for Message {
    type Error = BrokenRow;

    fn try_from(row: MessageRow) -> Result<Self, BrokenRow> {
        let name = RowName::new("chat_messages", row.id);
        let tombstone = match (row.removed_at, row.removal_mode, row.removal_reason) {
            (Some(at), Some(mode), Some(reason)) => Some(Tombstone {
                deleted_by: row.removed_by.map(AccountId::new),
                reason,
                deleted_at: at.0,
                mode: name.parse("removal_mode", &mode)?,
            }),
            (None, None, None) => None,
            _ => return Err(name.broken("removed_at")),
        };
        Ok(Self {
            id: MessageId::new(row.id),
            channel: ChannelId::new(row.channel_id),
            seq: Seq::new(row.seq),
            posted_change: Change::new(row.posted_change),
            change: Change::new(row.change),
            author: Author {
                id: AccountId::new(row.author_id),
                display_name: DisplayName::from_stored(row.author_name),
            },
            body: row.body.map(Body::from_stored),
            client_id: row.client_id.map(ClientId::from_stored),
            reply_to: row.reply_to.map(MessageId::new),
            sent_at: row.sent_at.0,
            edited_at: row.edited_at.map(|at| at.0),
            tombstone,
        })
    }
}

/// Returns whether a removal changes the message; any other second one answers the first.
pub(super) fn takes_effect(message: &Message, mode: RemovalMode) -> bool {
    match message.tombstone.as_ref().map(|tombstone| tombstone.mode) {
        None => true,
        Some(first) => first == RemovalMode::Mask && mode == RemovalMode::Purge,
    }
}

#[derive(Debug, sqlx::FromRow)]
pub(super) struct HeadRow {
    epoch: i64,
    last_change: i64,
    purged_change: i64,
}

impl TryFrom<HeadRow> for RoomHead {
    type Error = BrokenRow;

    fn try_from(row: HeadRow) -> Result<Self, BrokenRow> {
        let epoch = RowName::new("chat_channels", "of a head").number("epoch", row.epoch)?;
        let position = RoomPosition { epoch, change: Change::new(row.last_change) };
        Ok(Self { position, purged: Change::new(row.purged_change) })
    }
}

/// A channel's counters as of one instant, with one of the messages that were asked for; without any if there are none.
#[derive(Debug)]
pub(super) struct HistoryRow {
    head: HeadRow,
    message: Option<MessageRow>,
}

impl<'r, R> FromRow<'r, R> for HistoryRow
where
    R: Row,
    usize: ColumnIndex<R>,
    Uuid: Decode<'r, R::Database> + Type<R::Database>,
    i64: Decode<'r, R::Database> + Type<R::Database>,
    String: Decode<'r, R::Database> + Type<R::Database>,
    Instant: Decode<'r, R::Database> + Type<R::Database>,
{
    fn from_row(row: &'r R) -> sqlx::Result<Self> {
        const CHANNEL_COLUMNS: usize = 3;
        let seq: Option<i64> = row.try_get(CHANNEL_COLUMNS + 1)?;
        Ok(Self {
            head: HeadRow { epoch: row.try_get(0)?, last_change: row.try_get(1)?, purged_change: row.try_get(2)? },
            message: seq.map(|_| MessageRow::from_columns(row, CHANNEL_COLUMNS)).transpose()?,
        })
    }
}

/// Returns the statement that reads a page, and the number it starts from.
pub(super) fn history_statement(query: &MessageQuery) -> (AssertSqlSafe<String>, i64) {
    match query.position {
        Position::Newest => (sql::history_before(query.limit), i64::MAX),
        Position::Before(seq) => (sql::history_before(query.limit), seq.get()),
        Position::After(seq) => (sql::history_after(query.limit), seq.get()),
    }
}

/// Makes a page of history; none if the channel does not exist.
pub(super) fn history(rows: Vec<HistoryRow>, limit: Limit) -> sqlx::Result<Option<History>> {
    let page = page(rows, limit)?;
    Ok(page.map(|(page, RoomHead { position, .. })| History { page, position }))
}

/// Makes a page, and how far the channel was when it was read.
fn page(rows: Vec<HistoryRow>, limit: Limit) -> sqlx::Result<Option<(Page<Message>, RoomHead)>> {
    let (mut head, mut messages) = (None, Vec::with_capacity(rows.len()));
    for row in rows {
        head.get_or_insert(row.head);
        messages.extend(row.message);
    }
    let page = Page::from_probe(all(messages)?, limit);
    Ok(one(head)?.map(|head| (page, head)))
}

/// Makes a page of changes, if the reader can be told everything.
pub(super) fn changes(rows: Vec<HistoryRow>, query: &ChangeQuery) -> Result<Changes, ChatError> {
    let page = page(rows, query.limit).map_err(failed("read a channel's changes"))?;
    let (page, head) = page.ok_or(ChatError::ChannelNotFound)?;
    if query.since.gap_before(head).is_some() {
        return Err(ChatError::ReplayWindowExceeded);
    }
    // Behind a page that is not the last there may be changes up to the channel's last.
    let change = page.next(|message| message.change).unwrap_or(head.position.change);
    Ok(Changes { page, position: RoomPosition { change, ..head.position } })
}

#[derive(Debug, sqlx::FromRow)]
pub(super) struct UnreadRow {
    channel_id: Uuid,
    seq: i64,
    last_seq: i64,
}

impl From<UnreadRow> for Unread {
    fn from(row: UnreadRow) -> Self {
        Self { channel: ChannelId::new(row.channel_id), read: Seq::new(row.seq), last: Seq::new(row.last_seq) }
    }
}

/// Returns places as the databases count them.
pub(super) fn numbers(places: &[Seq]) -> Vec<i64> {
    places.iter().map(|place| place.get()).collect()
}
