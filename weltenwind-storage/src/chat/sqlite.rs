//! Channels and messages in SQLite.

use async_trait::async_trait;
use sqlx::{SqliteConnection, SqliteExecutor, query, query_as, query_scalar, types::Json};
use weltenwind_core::{
    AccountId, ChannelId, MessageId, Outcome, Page, Step, StorageError, Timestamp,
    accounts::DisplayName,
    chat::{
        Appended, AuthorRenaming, Change, ChangeQuery, Changes, Channel, ChannelChange, ChannelQuery, ChatError,
        ChatStore, Edit, History, Message, MessageQuery, NewChannel, NewMessage, Removal, RemovalMode, RoomHead, Seq,
        Unread, Written, WrittenQuery,
    },
};

use super::{
    append::sqlite::{append_in, append_paced_in, is_unpaced},
    rows::{self, ChannelRow, HeadRow, HistoryRow, MessageRow, UnreadRow, WrittenRow, numbers, takes_effect},
    sql,
};
use crate::{
    error::{
        Abort::{self, Refused},
        failed, violates_unique,
    },
    idempotency,
    rows::{FIRST, Instant, ScopeColumns, all, one},
    sqlite::{
        Class::{Background, Interactive},
        SqliteDatabase,
    },
    step::{self, Begun::Repeated},
};

/// Keeps channels and messages in a SQLite file.
#[derive(Debug, Clone)]
pub struct SqliteChatStore {
    db: SqliteDatabase,
}

impl SqliteChatStore {
    /// Keeps channels and messages in `db`.
    pub const fn new(db: SqliteDatabase) -> Self {
        Self { db }
    }
}

#[async_trait]
impl ChatStore for SqliteChatStore {
    async fn create_channel(&self, step: &Step, channel: &NewChannel) -> Result<Channel, ChatError> {
        let (step, channel) = (step.clone(), channel.clone());
        self.db
            .write(Interactive, "make a channel", move |tx| {
                Box::pin(async move { create_channel_in(tx, &step, &channel).await })
            })
            .await
    }

    async fn find_channel(&self, id: ChannelId) -> Result<Option<Channel>, StorageError> {
        find_channel_in(self.db.readers(), id).await.map_err(failed("find a channel"))
    }

    async fn channels(&self, query: &ChannelQuery) -> Result<Page<Channel>, StorageError> {
        let scope = ScopeColumns::from(query.scope);
        let rows: Vec<ChannelRow> = query_as(CHANNELS)
            .bind(scope.scope_kind)
            .bind(scope.scope_id)
            .bind(query.after.map(ChannelId::uuid))
            .bind(query.limit.with_probe())
            .fetch_all(self.db.readers())
            .await
            .map_err(failed("list channels"))?;
        Ok(Page::from_probe(all(rows).map_err(failed("list channels"))?, query.limit))
    }

    async fn amend_channel(&self, step: &Step, change: &ChannelChange) -> Result<Channel, ChatError> {
        let (step, change) = (step.clone(), change.clone());
        self.db
            .write(Interactive, "change a channel", move |tx| {
                Box::pin(async move { amend_channel_in(tx, &step, &change).await })
            })
            .await
    }

    async fn append(&self, batch: &[NewMessage]) -> Result<Vec<Appended>, StorageError> {
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        let batch = batch.to_vec();
        if !is_unpaced(&batch) {
            return self
                .db
                .write(Interactive, "append chat messages", move |tx| {
                    Box::pin(async move { Ok(append_paced_in(tx, &batch).await?) })
                })
                .await;
        }
        self.db
            .script(Interactive, "append chat messages", move |connection| {
                Box::pin(async move { Ok(append_in(connection, &batch).await?) })
            })
            .await
    }

    async fn page(&self, query: &MessageQuery) -> Result<Option<History>, StorageError> {
        let (statement, from) = rows::history_statement(query);
        let rows: Vec<HistoryRow> = query_as(statement)
            .bind(query.channel.uuid())
            .bind(from)
            .fetch_all(self.db.readers())
            .await
            .map_err(failed("read a channel's history"))?;
        rows::history(rows, query.limit).map_err(failed("read a channel's history"))
    }

    async fn head(&self, channel: ChannelId) -> Result<Option<RoomHead>, StorageError> {
        let row: sqlx::Result<Option<HeadRow>> =
            query_as(sql::HEAD).bind(channel.uuid()).fetch_optional(self.db.readers()).await;
        row.and_then(one).map_err(failed("read how far a channel is"))
    }

    async fn changes(&self, query: &ChangeQuery) -> Result<Changes, ChatError> {
        let rows: Vec<HistoryRow> = query_as(sql::changes(query.limit))
            .bind(query.channel.uuid())
            .bind(query.since.change.get())
            .fetch_all(self.db.readers())
            .await
            .map_err(failed("read a channel's changes"))?;
        rows::changes(rows, query)
    }

    async fn find_message(&self, id: MessageId) -> Result<Option<Message>, StorageError> {
        find_message_in(self.db.readers(), id).await.map_err(failed("find a message"))
    }

    async fn edit(&self, step: &Step, edit: &Edit) -> Result<Message, ChatError> {
        let (step, edit) = (step.clone(), edit.clone());
        self.db
            .write(Interactive, "edit a message", move |tx| Box::pin(async move { edit_in(tx, &step, &edit).await }))
            .await
    }

    async fn remove(&self, step: &Step, removal: &Removal) -> Result<Message, ChatError> {
        let (step, removal) = (step.clone(), removal.clone());
        self.db
            .write(Interactive, "remove a message", move |tx| {
                Box::pin(async move { remove_in(tx, &step, &removal).await })
            })
            .await
    }

    async fn mark_read(&self, account: AccountId, channel: ChannelId, seq: Seq) -> Result<Unread, ChatError> {
        self.db
            .write(Interactive, "mark a channel as read", move |tx| {
                Box::pin(async move {
                    let row: Option<UnreadRow> = query_as(sql::MARK_READ)
                        .bind(account.uuid())
                        .bind(channel.uuid())
                        .bind(seq.max(Seq::ZERO).get())
                        .fetch_optional(tx)
                        .await?;
                    row.map(Unread::from).ok_or(Refused(ChatError::ChannelNotFound))
                })
            })
            .await
    }

    async fn unread(&self, account: AccountId) -> Result<Vec<Unread>, StorageError> {
        let rows: Vec<UnreadRow> = query_as(sql::UNREAD)
            .bind(account.uuid())
            .fetch_all(self.db.readers())
            .await
            .map_err(failed("list unread channels"))?;
        Ok(rows.into_iter().map(Unread::from).collect())
    }

    async fn written(&self, query: &WrittenQuery) -> Result<Vec<Written>, StorageError> {
        let (channel, seq) = query.after.map_or((FIRST, Seq::ZERO), |(channel, seq)| (channel.uuid(), seq));
        let rows: Vec<WrittenRow> = query_as(WRITTEN)
            .bind(query.author.uuid())
            .bind(query.besides.as_ref().map(DisplayName::as_str))
            .bind(channel)
            .bind(seq.get())
            .bind(i64::from(query.limit))
            .fetch_all(self.db.readers())
            .await
            .map_err(failed("find an author's messages"))?;
        Ok(rows.into_iter().map(Written::from).collect())
    }

    async fn messages_at(&self, channel: ChannelId, places: &[Seq]) -> Result<Vec<Message>, StorageError> {
        let rows: Vec<MessageRow> = query_as(MESSAGES_AT)
            .bind(channel.uuid())
            .bind(Json(numbers(places)))
            .fetch_all(self.db.readers())
            .await
            .map_err(failed("read an author's messages"))?;
        all(rows).map_err(failed("read an author's messages"))
    }

    async fn rename_author(&self, renaming: &AuthorRenaming) -> Result<Vec<Message>, StorageError> {
        let renaming = renaming.clone();
        self.db
            .write(Background, "rename an author", move |tx| {
                Box::pin(async move { Ok(rename_author_in(tx, &renaming).await?) })
            })
            .await
    }

    async fn purge(&self, channel: ChannelId, before: Timestamp, limit: u32) -> Result<u64, StorageError> {
        self.db
            .write(Background, "delete old messages", move |tx| {
                Box::pin(async move {
                    let deleted = query(sql::PURGE)
                        .bind(channel.uuid())
                        .bind(Instant(before))
                        .bind(i64::from(limit))
                        .execute(tx)
                        .await?;
                    Ok(deleted.rows_affected())
                })
            })
            .await
    }

    async fn channels_with_retention(&self) -> Result<Vec<Channel>, StorageError> {
        let rows: Vec<ChannelRow> = query_as(sql::CHANNELS_WITH_RETENTION)
            .fetch_all(self.db.readers())
            .await
            .map_err(failed("list channels with retention"))?;
        all(rows).map_err(failed("list channels with retention"))
    }
}

const CREATE_CHANNEL: &str = sql::create_channel!("scope_kind, COALESCE(scope_id, x''), slug");

const CHANNELS: &str = sql::channels!("COALESCE(scope_id, x'') = COALESCE($2, x'')");

const WRITTEN: &str = sql::written!("INDEXED BY chat_messages_client_id");

const MESSAGES_AT: &str = sql::messages_at!("IN (SELECT value FROM json_each($2))");

const NAMED_OTHERWISE: &str = sql::named_otherwise!("IN (SELECT value FROM json_each($2))");

const RENAME_AUTHOR: &str = sql::rename_author!("IN (SELECT value FROM json_each($2))");

async fn find_channel_in(executor: impl SqliteExecutor<'_>, id: ChannelId) -> sqlx::Result<Option<Channel>> {
    one(query_as::<_, ChannelRow>(sql::FIND_CHANNEL).bind(id.uuid()).fetch_optional(executor).await?)
}

async fn find_message_in(executor: impl SqliteExecutor<'_>, id: MessageId) -> sqlx::Result<Option<Message>> {
    one(query_as::<_, MessageRow>(sql::FIND_MESSAGE).bind(id.uuid()).fetch_optional(executor).await?)
}

async fn create_channel_in(
    tx: &mut SqliteConnection,
    step: &Step,
    new: &NewChannel,
) -> Result<Channel, Abort<ChatError>> {
    if let Repeated(target) = step::begin(tx, step).await? {
        return Ok(target.found(find_channel_in(tx, target.id()?).await?)?);
    }
    let ScopeColumns { scope_kind, scope_id } = new.scope.into();
    let row: Option<ChannelRow> = query_as(CREATE_CHANNEL)
        .bind(new.id.uuid())
        .bind(scope_kind)
        .bind(scope_id)
        .bind(new.slug.as_str())
        .bind(new.name.as_str())
        .bind(new.guests_may_post)
        .bind(i64::from(new.slowmode_seconds))
        .bind(new.retention_days.map(i64::from))
        .bind(i64::from(new.epoch))
        .bind(Instant(step.at))
        .fetch_optional(&mut *tx)
        .await?;
    let channel = one(row)?.ok_or_else(|| Refused(ChatError::SlugTaken(new.slug.clone())))?;
    step::finish(tx, step, &Outcome::of(new.id)).await?;
    Ok(channel)
}

async fn amend_channel_in(
    tx: &mut SqliteConnection,
    step: &Step,
    change: &ChannelChange,
) -> Result<Channel, Abort<ChatError>> {
    if let Repeated(target) = step::begin(tx, step).await? {
        return Ok(target.found(find_channel_in(tx, target.id()?).await?)?);
    }
    let channel = find_channel_in(&mut *tx, change.id).await?.ok_or(Refused(ChatError::ChannelNotFound))?;
    let channel = rows::amended(channel, change).map_err(Refused)?;
    let amended: sqlx::Result<ChannelRow> = query_as(sql::AMEND_CHANNEL)
        .bind(channel.id.uuid())
        .bind(channel.slug.as_str())
        .bind(channel.name.as_str())
        .bind(channel.guests_may_post)
        .bind(i64::from(channel.slowmode_seconds))
        .bind(channel.retention_days.map(i64::from))
        .bind(channel.revision.get())
        .bind(change.archive.then_some(Instant(step.at)))
        .fetch_one(&mut *tx)
        .await;
    let row = amended.map_err(|error| match error {
        error if violates_unique(&error, "chat_channels_open_slug") => Refused(ChatError::SlugTaken(channel.slug)),
        error => error.into(),
    })?;
    step::finish(tx, step, &Outcome::of(channel.id)).await?;
    Ok(row.try_into().map_err(sqlx::Error::from)?)
}

async fn edit_in(tx: &mut SqliteConnection, step: &Step, edit: &Edit) -> Result<Message, Abort<ChatError>> {
    if let Repeated(target) = step::begin(tx, step).await? {
        return find_message_in(tx, target.id()?).await?.ok_or(Refused(ChatError::MessageNotFound));
    }
    let message = find_message_in(&mut *tx, edit.message).await?.ok_or(Refused(ChatError::MessageNotFound))?;
    if message.tombstone.is_some() {
        return Err(Refused(ChatError::MessageRemoved));
    }
    let row: MessageRow = query_as(sql::EDIT)
        .bind(edit.message.uuid())
        .bind(next_change_in(tx, message.channel).await?.get())
        .bind(edit.body.as_str())
        .bind(Instant(step.at))
        .fetch_one(&mut *tx)
        .await?;
    step::finish(tx, step, &Outcome::of(edit.message)).await?;
    Ok(row.try_into().map_err(sqlx::Error::from)?)
}

async fn remove_in(tx: &mut SqliteConnection, step: &Step, removal: &Removal) -> Result<Message, Abort<ChatError>> {
    if let Repeated(target) = step::begin(tx, step).await? {
        return find_message_in(tx, target.id()?).await?.ok_or(Refused(ChatError::MessageNotFound));
    }
    let mut message = find_message_in(&mut *tx, removal.message).await?.ok_or(Refused(ChatError::MessageNotFound))?;
    if takes_effect(&message, removal.mode) {
        let row: MessageRow = query_as(sql::REMOVE)
            .bind(removal.message.uuid())
            .bind(next_change_in(tx, message.channel).await?.get())
            .bind(step.actor.map(AccountId::uuid))
            .bind(&removal.reason)
            .bind(Instant(step.at))
            .bind(removal.mode.as_str())
            .fetch_one(&mut *tx)
            .await?;
        message = row.try_into().map_err(sqlx::Error::from)?;
    }
    if removal.mode == RemovalMode::Purge {
        idempotency::sqlite::destroy_in(tx, removal.message.uuid()).await?;
    }
    step::finish(tx, step, &Outcome::of(removal.message)).await?;
    Ok(message)
}

async fn rename_author_in(tx: &mut SqliteConnection, renaming: &AuthorRenaming) -> sqlx::Result<Vec<Message>> {
    let AuthorRenaming { author, name, channel, places } = renaming;
    let places: Vec<i64> = query_scalar(NAMED_OTHERWISE)
        .bind(channel.uuid())
        .bind(Json(numbers(places)))
        .bind(author.uuid())
        .bind(name.as_str())
        .fetch_all(&mut *tx)
        .await?;
    let count = i64::try_from(places.len()).expect("places were in memory");
    if count == 0 {
        return Ok(Vec::new());
    }
    let before: i64 = query_scalar(sql::TAKE_CHANGES).bind(channel.uuid()).bind(count).fetch_one(&mut *tx).await?;
    let rows: Vec<MessageRow> = query_as(RENAME_AUTHOR)
        .bind(channel.uuid())
        .bind(Json(places))
        .bind(name.as_str())
        .bind(before)
        .fetch_all(tx)
        .await?;
    let mut renamed: Vec<Message> = all(rows)?;
    renamed.sort_by_key(|message| message.seq);
    Ok(renamed)
}

async fn next_change_in(tx: &mut SqliteConnection, channel: ChannelId) -> sqlx::Result<Change> {
    query_scalar(sql::NEXT_CHANGE).bind(channel.uuid()).fetch_one(tx).await.map(Change::new)
}
