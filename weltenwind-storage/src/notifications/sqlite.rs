//! What accounts are told, in SQLite.

use async_trait::async_trait;
use sqlx::{SqliteConnection, query, query_as, query_scalar};
use uuid::Uuid;
use weltenwind_core::{
    AccountId, AnnouncementId, NotificationId, StorageError, Timestamp,
    accounts::Topic,
    notifications::{
        FeedMark, FeedPage, FeedState, NewNotification, NotificationError, NotificationQuery, NotificationStore,
        Spread, Told,
    },
};

use super::{
    rows::{ANNOUNCEMENT, NotificationRow, StateRow, page},
    sql,
    steps::{Listeners, Steps, TellPage},
};
use crate::{
    error::{Abort, failed},
    rows::{Instant, LAST},
    sqlite::{
        Class::{Background, Interactive},
        SqliteDatabase,
    },
};

/// Keeps what accounts are told in a SQLite file.
#[derive(Debug, Clone)]
pub struct SqliteNotificationStore {
    db: SqliteDatabase,
}

impl SqliteNotificationStore {
    /// Keeps it in `db`.
    pub const fn new(db: SqliteDatabase) -> Self {
        Self { db }
    }
}

/// Accounts that are told in one transaction: some milliseconds, since everybody else who writes waits for it.
const AUDIENCE_PAGE: i64 = 250;
/// An instant that nothing told reaches.
const END: Timestamp = Timestamp::constant(253_402_207_200, 0);

sql::feeds!("x'00000000000000000000000000000000'", "instr");

/// Nobody else writes meanwhile, so the same page is found three times.
macro_rules! page_of {
    ($audience:expr) => {
        [
            concat!("SELECT max(account_id), count(*) FROM (", $audience, ") AS page"),
            concat!(
                "INSERT INTO feeds (account_id, version) SELECT account_id, 1 FROM (",
                $audience,
                ") AS page WHERE TRUE ON CONFLICT (account_id) DO UPDATE SET version = version + 1"
            ),
            concat!(
                "INSERT INTO notifications (account_id, id, arrival, topic, created_at)
                SELECT f.account_id, $8, f.version, $9, $4 FROM (",
                $audience,
                ") AS page JOIN feeds f ON f.account_id = page.account_id WHERE TRUE
                ON CONFLICT (account_id, id) DO NOTHING"
            ),
        ]
    };
}

const SOMEWHERE: [&str; 3] = page_of!(sql::audience_somewhere!());
const EVERYWHERE: [&str; 3] = page_of!(sql::audience_everywhere!());

impl TellPage for SqliteConnection {
    async fn tell_page(&mut self, listeners: &Listeners<'_>) -> sqlx::Result<Option<(Uuid, u64)>> {
        let Listeners { announcement, of, after, at } = listeners;
        let [find, bump, tell] = if of.scope.scope_id.is_some() { SOMEWHERE } else { EVERYWHERE };
        let (last, count): (Option<Uuid>, i64) = query_as(find)
            .bind(&of.scope.scope_kind)
            .bind(of.scope.scope_id)
            .bind(&of.role)
            .bind(of.published())
            .bind(Instant(*at))
            .bind(*after)
            .bind(AUDIENCE_PAGE)
            .fetch_one(&mut *self)
            .await?;
        let Some(last) = last.filter(|_| count > 0) else { return Ok(None) };
        let statements = [query(bump), query(tell)];
        let mut told = 0;
        for statement in statements {
            let done = statement
                .bind(&of.scope.scope_kind)
                .bind(of.scope.scope_id)
                .bind(&of.role)
                .bind(of.published())
                .bind(Instant(*at))
                .bind(*after)
                .bind(AUDIENCE_PAGE)
                .bind(announcement.uuid())
                .bind(ANNOUNCEMENT)
                .execute(&mut *self)
                .await?;
            told = done.rows_affected();
        }
        Ok(Some((last, told)))
    }
}

#[async_trait]
impl NotificationStore for SqliteNotificationStore {
    async fn state(&self, account: AccountId, at: Timestamp, since: Timestamp) -> Result<FeedState, StorageError> {
        let row: StateRow = query_as(sql::STATE)
            .bind(account.uuid())
            .bind(Instant(at))
            .fetch_one(self.db.readers())
            .await
            .map_err(failed("read the state of a feed"))?;
        Ok(row.state(since))
    }

    async fn page(&self, query: &NotificationQuery) -> Result<FeedPage, StorageError> {
        let rows: Vec<NotificationRow> = query_as(if query.unread { UNREAD } else { ALL })
            .bind(query.account.uuid())
            .bind(Instant(query.at))
            .bind(Instant(query.since))
            .bind(query.topic.map(Topic::as_str))
            .bind(start(query))
            .bind(query.after.map_or(LAST, |after| after.id.uuid()))
            .bind(query.limit.with_probe())
            .fetch_all(self.db.readers())
            .await
            .map_err(failed("read a feed"))?;
        page(rows, query).map_err(failed("read a feed"))
    }

    async fn unread(&self, account: AccountId, at: Timestamp, since: Timestamp, cap: u32) -> Result<u32, StorageError> {
        let counted: i64 = query_scalar(COUNT_UNREAD)
            .bind(account.uuid())
            .bind(Instant(at))
            .bind(Instant(since))
            .bind(None::<&str>)
            .bind(Instant(END))
            .bind(LAST)
            .bind(i64::from(cap))
            .fetch_one(self.db.readers())
            .await
            .map_err(failed("count what is unread"))?;
        Ok(u32::try_from(counted).unwrap_or(cap).min(cap))
    }

    async fn tell(&self, news: &[NewNotification]) -> Result<Vec<Told>, StorageError> {
        let news = news.to_vec();
        self.db
            .write(Interactive, "tell accounts", move |tx| {
                Box::pin(async move {
                    let mut told = Vec::with_capacity(news.len());
                    for new in &news {
                        told.push(Steps::tell(tx, new).await?);
                    }
                    Ok::<_, Abort<StorageError>>(told)
                })
            })
            .await
    }

    async fn mark_read(&self, account: AccountId, id: NotificationId, at: Timestamp) -> Result<(), NotificationError> {
        self.db
            .write(Interactive, "mark a notification as read", move |tx| {
                Box::pin(async move { tx.mark_read(account, id, at).await })
            })
            .await
    }

    async fn mark_all_read(&self, account: AccountId, mark: FeedMark, at: Timestamp) -> Result<(), StorageError> {
        self.db
            .write(Interactive, "mark notifications as read", move |tx| {
                Box::pin(async move { Ok::<_, Abort<StorageError>>(tx.mark_all_read(account, mark, at).await?) })
            })
            .await
    }

    async fn dismiss(&self, account: AccountId, id: NotificationId, at: Timestamp) -> Result<(), NotificationError> {
        self.db
            .write(Interactive, "dismiss a notification", move |tx| {
                Box::pin(async move { tx.dismiss(account, id, at).await })
            })
            .await
    }

    async fn dispatch(
        &self,
        accounts: &[AccountId],
        id: NotificationId,
        at: Timestamp,
    ) -> Result<Vec<AccountId>, StorageError> {
        let accounts = accounts.to_vec();
        self.db
            .write(Interactive, "dispatch a notification", move |tx| {
                Box::pin(async move { Ok::<_, Abort<StorageError>>(tx.dispatch(&accounts, id, at).await?) })
            })
            .await
    }

    async fn spread(&self, announcement: AnnouncementId, at: Timestamp) -> Result<Spread, StorageError> {
        self.db
            .write(Background, "tell an audience", move |tx| {
                Box::pin(async move { Ok::<_, Abort<StorageError>>(Steps::spread(tx, announcement, at).await?) })
            })
            .await
    }

    async fn purge(&self, read_before: Timestamp, unread_before: Timestamp, limit: u32) -> Result<u64, StorageError> {
        self.db
            .write(Background, "delete old notifications", move |tx| {
                Box::pin(async move {
                    Ok::<_, Abort<StorageError>>(Steps::purge(tx, read_before, unread_before, limit).await?)
                })
            })
            .await
    }
}

/// Where a page begins: behind its position, or before everything.
fn start(query: &NotificationQuery) -> Instant {
    let at = query.after.and_then(|after| Timestamp::from_microsecond(after.at).ok());
    Instant(at.unwrap_or(END))
}
