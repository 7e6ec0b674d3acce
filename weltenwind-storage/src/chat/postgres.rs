//! Channels and messages in Postgres.

use async_trait::async_trait;
use sqlx::{PgConnection, PgExecutor, query, query_as, query_scalar};
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
    append::postgres::append_in,
    rows::{self, ChannelRow, HeadRow, HistoryRow, MessageRow, UnreadRow, WrittenRow, numbers, takes_effect},
    sql,
};
use crate::{
    error::{
        Abort::{self, Refused},
        failed, violates_unique,
    },
    idempotency,
    postgres::PgDatabase,
    rows::{FIRST, Instant, ScopeColumns, all, one},
    step::{self, Begun::Repeated},
};

/// Keeps channels and messages in Postgres.
#[derive(Debug, Clone)]
pub struct PgChatStore {
    db: PgDatabase,
}

impl PgChatStore {
    /// Keeps channels and messages in `db`.
    pub const fn new(db: PgDatabase) -> Self {
        Self { db }
    }
}

#[async_trait]
impl ChatStore for PgChatStore {
    async fn create_channel(&self, step: &Step, channel: &NewChannel) -> Result<Channel, ChatError> {
        self.db.write("make a channel", async |tx| create_channel_in(tx, step, channel).await).await
    }

    async fn find_channel(&self, id: ChannelId) -> Result<Option<Channel>, StorageError> {
        find_channel_in(self.db.pool(), id).await.map_err(failed("find a channel"))
    }

    async fn channels(&self, query: &ChannelQuery) -> Result<Page<Channel>, StorageError> {
        let scope = ScopeColumns::from(query.scope);
        let rows: Vec<ChannelRow> = query_as(CHANNELS)
            .bind(scope.scope_kind)
            .bind(scope.scope_id)
            .bind(query.after.map(ChannelId::uuid))
            .bind(query.limit.with_probe())
            .fetch_all(self.db.pool())
            .await
            .map_err(failed("list channels"))?;
        Ok(Page::from_probe(all(rows).map_err(failed("list channels"))?, query.limit))
    }

    async fn amend_channel(&self, step: &Step, change: &ChannelChange) -> Result<Channel, ChatError> {
        self.db.write("change a channel", async |tx| amend_channel_in(tx, step, change).await).await
    }

    async fn append(&self, batch: &[NewMessage]) -> Result<Vec<Appended>, StorageError> {
        append_in(&self.db, batch).await.map_err(failed("append chat messages"))
    }

    async fn page(&self, query: &MessageQuery) -> Result<Option<History>, StorageError> {
        let (statement, from) = rows::history_statement(query);
        let reading = query_as(statement).bind(query.channel.uuid()).bind(from);
        let rows: Vec<HistoryRow> = self
            .db
            .readers()
            .run(async |connection| reading.fetch_all(connection).await)
            .await
            .map_err(failed("read a channel's history"))?;
        rows::history(rows, query.limit).map_err(failed("read a channel's history"))
    }

    async fn head(&self, channel: ChannelId) -> Result<Option<RoomHead>, StorageError> {
        let reading = query_as(sql::HEAD).bind(channel.uuid());
        let row: sqlx::Result<Option<HeadRow>> =
            self.db.readers().run(async |connection| reading.fetch_optional(connection).await).await;
        row.and_then(one).map_err(failed("read how far a channel is"))
    }

    async fn changes(&self, query: &ChangeQuery) -> Result<Changes, ChatError> {
        let reading = query_as(sql::changes(query.limit)).bind(query.channel.uuid()).bind(query.since.change.get());
        let rows: Vec<HistoryRow> = self
            .db
            .readers()
            .run(async |connection| reading.fetch_all(connection).await)
            .await
            .map_err(failed("read a channel's changes"))?;
        rows::changes(rows, query)
    }

    async fn find_message(&self, id: MessageId) -> Result<Option<Message>, StorageError> {
        find_message_in(self.db.pool(), id).await.map_err(failed("find a message"))
    }

    async fn edit(&self, step: &Step, edit: &Edit) -> Result<Message, ChatError> {
        self.db.write("edit a message", async |tx| edit_in(tx, step, edit).await).await
    }

    async fn remove(&self, step: &Step, removal: &Removal) -> Result<Message, ChatError> {
        self.db.write("remove a message", async |tx| remove_in(tx, step, removal).await).await
    }

    async fn mark_read(&self, account: AccountId, channel: ChannelId, seq: Seq) -> Result<Unread, ChatError> {
        let row: Option<UnreadRow> = query_as(sql::MARK_READ)
            .bind(account.uuid())
            .bind(channel.uuid())
            .bind(seq.max(Seq::ZERO).get())
            .fetch_optional(self.db.pool())
            .await
            .map_err(failed("mark a channel as read"))?;
        row.map(Unread::from).ok_or(ChatError::ChannelNotFound)
    }

    async fn unread(&self, account: AccountId) -> Result<Vec<Unread>, StorageError> {
        let rows: Vec<UnreadRow> = query_as(sql::UNREAD)
            .bind(account.uuid())
            .fetch_all(self.db.pool())
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
            .fetch_all(self.db.pool())
            .await
            .map_err(failed("find an author's messages"))?;
        Ok(rows.into_iter().map(Written::from).collect())
    }

    async fn messages_at(&self, channel: ChannelId, places: &[Seq]) -> Result<Vec<Message>, StorageError> {
        let rows: Vec<MessageRow> = query_as(MESSAGES_AT)
            .bind(channel.uuid())
            .bind(numbers(places))
            .fetch_all(self.db.pool())
            .await
            .map_err(failed("read an author's messages"))?;
        all(rows).map_err(failed("read an author's messages"))
    }

    async fn rename_author(&self, renaming: &AuthorRenaming) -> Result<Vec<Message>, StorageError> {
        self.db.write("rename an author", async |tx| Ok(rename_author_in(tx, renaming).await?)).await
    }

    async fn purge(&self, channel: ChannelId, before: Timestamp, limit: u32) -> Result<u64, StorageError> {
        self.db.write("delete old messages", async |tx| Ok(purge_in(tx, channel, before, limit).await?)).await
    }

    async fn channels_with_retention(&self) -> Result<Vec<Channel>, StorageError> {
        let rows: Vec<ChannelRow> = query_as(sql::CHANNELS_WITH_RETENTION)
            .fetch_all(self.db.pool())
            .await
            .map_err(failed("list channels with retention"))?;
        all(rows).map_err(failed("list channels with retention"))
    }
}

const CREATE_CHANNEL: &str = sql::create_channel!("scope_kind, scope_id, slug");

/// Without a scope's id the kind says it all; the planner drops the clause that does not apply.
const CHANNELS: &str = sql::channels!("($2 IS NULL OR scope_id = $2)");

const LOCK_CHANNEL: &str =
    concat!("SELECT ", sql::channel_columns!(), " FROM chat_channels WHERE id = $1 FOR NO KEY UPDATE");

const LOCK_CHANNEL_OF: &str = "
    SELECT c.id FROM chat_messages m JOIN chat_channels c ON c.id = m.channel_id
    WHERE m.id = $1 FOR NO KEY UPDATE OF c";

const LOCK_MESSAGE: &str = concat!("SELECT ", sql::message_columns!(), " FROM chat_messages WHERE id = $1 FOR UPDATE");

const WRITTEN: &str = sql::written!("");

const MESSAGES_AT: &str = sql::messages_at!("= ANY($2)");

const NAMED_OTHERWISE: &str = sql::named_otherwise!("= ANY($2)");

const RENAME_AUTHOR: &str = sql::rename_author!("= ANY($2)");

async fn find_channel_in(executor: impl PgExecutor<'_>, id: ChannelId) -> sqlx::Result<Option<Channel>> {
    one(query_as::<_, ChannelRow>(sql::FIND_CHANNEL).bind(id.uuid()).fetch_optional(executor).await?)
}

async fn find_message_in(executor: impl PgExecutor<'_>, id: MessageId) -> sqlx::Result<Option<Message>> {
    one(query_as::<_, MessageRow>(sql::FIND_MESSAGE).bind(id.uuid()).fetch_optional(executor).await?)
}

async fn create_channel_in(tx: &mut PgConnection, step: &Step, new: &NewChannel) -> Result<Channel, Abort<ChatError>> {
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
    tx: &mut PgConnection,
    step: &Step,
    change: &ChannelChange,
) -> Result<Channel, Abort<ChatError>> {
    if let Repeated(target) = step::begin(tx, step).await? {
        return Ok(target.found(find_channel_in(tx, target.id()?).await?)?);
    }
    let row: Option<ChannelRow> = query_as(LOCK_CHANNEL).bind(change.id.uuid()).fetch_optional(&mut *tx).await?;
    let channel: Channel = one(row)?.ok_or(Refused(ChatError::ChannelNotFound))?;
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

async fn edit_in(tx: &mut PgConnection, step: &Step, edit: &Edit) -> Result<Message, Abort<ChatError>> {
    if let Repeated(target) = step::begin(tx, step).await? {
        return find_message_in(tx, target.id()?).await?.ok_or(Refused(ChatError::MessageNotFound));
    }
    let message = lock_message_in(tx, edit.message).await?;
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

async fn remove_in(tx: &mut PgConnection, step: &Step, removal: &Removal) -> Result<Message, Abort<ChatError>> {
    if let Repeated(target) = step::begin(tx, step).await? {
        return find_message_in(tx, target.id()?).await?.ok_or(Refused(ChatError::MessageNotFound));
    }
    let mut message = lock_message_in(tx, removal.message).await?;
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
        idempotency::postgres::destroy_in(tx, removal.message.uuid()).await?;
    }
    step::finish(tx, step, &Outcome::of(removal.message)).await?;
    Ok(message)
}

/// Locks a message behind its channel, as appending does, and reads it as it is then.
async fn lock_message_in(tx: &mut PgConnection, id: MessageId) -> Result<Message, Abort<ChatError>> {
    query(LOCK_CHANNEL_OF).bind(id.uuid()).execute(&mut *tx).await?;
    let row: Option<MessageRow> = query_as(LOCK_MESSAGE).bind(id.uuid()).fetch_optional(tx).await?;
    one(row)?.ok_or(Refused(ChatError::MessageNotFound))
}

async fn rename_author_in(tx: &mut PgConnection, renaming: &AuthorRenaming) -> sqlx::Result<Vec<Message>> {
    let AuthorRenaming { author, name, channel, places } = renaming;
    // Before the messages, as appending does.
    query(LOCK_CHANNEL).bind(channel.uuid()).execute(&mut *tx).await?;
    let places: Vec<i64> = query_scalar(NAMED_OTHERWISE)
        .bind(channel.uuid())
        .bind(numbers(places))
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
        .bind(places)
        .bind(name.as_str())
        .bind(before)
        .fetch_all(tx)
        .await?;
    let mut renamed: Vec<Message> = all(rows)?;
    renamed.sort_by_key(|message| message.seq);
    Ok(renamed)
}

async fn purge_in(tx: &mut PgConnection, channel: ChannelId, before: Timestamp, limit: u32) -> sqlx::Result<u64> {
    // Before the messages, as editing does: it is noted there what is gone.
    query(LOCK_CHANNEL).bind(channel.uuid()).execute(&mut *tx).await?;
    let deleted =
        query(sql::PURGE).bind(channel.uuid()).bind(Instant(before)).bind(i64::from(limit)).execute(tx).await?;
    Ok(deleted.rows_affected())
}

async fn next_change_in(tx: &mut PgConnection, channel: ChannelId) -> sqlx::Result<Change> {
    query_scalar(sql::NEXT_CHANGE).bind(channel.uuid()).fetch_one(tx).await.map(Change::new)
}
