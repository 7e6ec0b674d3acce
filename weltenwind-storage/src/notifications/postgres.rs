//! What accounts are told, in Postgres.

use async_trait::async_trait;
use sqlx::{PgConnection, query, query_as, query_scalar};
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
    postgres::PgDatabase,
    rows::{Instant, LAST},
};

/// Keeps what accounts are told in Postgres.
#[derive(Debug, Clone)]
pub struct PgNotificationStore {
    db: PgDatabase,
}

impl PgNotificationStore {
    /// Keeps it in `db`.
    pub const fn new(db: PgDatabase) -> Self {
        Self { db }
    }
}

/// Accounts that are told in one transaction: some ten milliseconds.
const AUDIENCE_PAGE: i64 = 2000;
/// An instant that nothing told reaches.
const END: Timestamp = Timestamp::constant(253_402_207_200, 0);

sql::feeds!("'00000000-0000-0000-0000-000000000000'", "strpos");

const BUMP_PAGE: &str = sql::bump_all!("= ANY ($1)");

const TELL_PAGE: &str = "
    INSERT INTO notifications (account_id, id, arrival, topic, created_at)
    SELECT account_id, $2, version, $3, $4 FROM feeds WHERE account_id = ANY ($1)
    ON CONFLICT (account_id, id) DO NOTHING";

impl TellPage for PgConnection {
    async fn tell_page(&mut self, listeners: &Listeners<'_>) -> sqlx::Result<Option<(Uuid, u64)>> {
        let is_somewhere = listeners.of.scope.scope_id.is_some();
        let audience = if is_somewhere { sql::audience_somewhere!() } else { sql::audience_everywhere!() };
        let accounts: Vec<Uuid> = query_scalar(audience)
            .bind(&listeners.of.scope.scope_kind)
            .bind(listeners.of.scope.scope_id)
            .bind(&listeners.of.role)
            .bind(listeners.of.published())
            .bind(Instant(listeners.at))
            .bind(listeners.after)
            .bind(AUDIENCE_PAGE)
            .fetch_all(&mut *self)
            .await?;
        let Some(last) = accounts.last().copied() else { return Ok(None) };
        query(BUMP_PAGE).bind(&accounts).execute(&mut *self).await?;
        let told = query(TELL_PAGE)
            .bind(&accounts)
            .bind(listeners.announcement.uuid())
            .bind(ANNOUNCEMENT)
            .bind(listeners.of.published())
            .execute(&mut *self)
            .await?;
        Ok(Some((last, told.rows_affected())))
    }
}

#[async_trait]
impl NotificationStore for PgNotificationStore {
    async fn state(&self, account: AccountId, at: Timestamp, since: Timestamp) -> Result<FeedState, StorageError> {
        let row: StateRow = query_as(sql::STATE)
            .bind(account.uuid())
            .bind(Instant(at))
            .fetch_one(self.db.pool())
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
            .fetch_all(self.db.pool())
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
            .fetch_one(self.db.pool())
            .await
            .map_err(failed("count what is unread"))?;
        Ok(u32::try_from(counted).unwrap_or(cap).min(cap))
    }

    async fn tell(&self, news: &[NewNotification]) -> Result<Vec<Told>, StorageError> {
        self.db
            .write("tell accounts", async |tx| {
                let mut told = vec![Told::Nobody; news.len()];
                // In one order for all transactions.
                let mut order: Vec<usize> = (0..news.len()).collect();
                order.sort_by_key(|n| news[*n].account);
                for n in order {
                    told[n] = Steps::tell(tx, &news[n]).await?;
                }
                Ok::<_, Abort<StorageError>>(told)
            })
            .await
    }

    async fn mark_read(&self, account: AccountId, id: NotificationId, at: Timestamp) -> Result<(), NotificationError> {
        self.db.write("mark a notification as read", async |tx| tx.mark_read(account, id, at).await).await
    }

    async fn mark_all_read(&self, account: AccountId, mark: FeedMark, at: Timestamp) -> Result<(), StorageError> {
        self.db
            .write("mark notifications as read", async |tx| {
                Ok::<_, Abort<StorageError>>(tx.mark_all_read(account, mark, at).await?)
            })
            .await
    }

    async fn dismiss(&self, account: AccountId, id: NotificationId, at: Timestamp) -> Result<(), NotificationError> {
        self.db.write("dismiss a notification", async |tx| tx.dismiss(account, id, at).await).await
    }

    async fn dispatch(
        &self,
        accounts: &[AccountId],
        id: NotificationId,
        at: Timestamp,
    ) -> Result<Vec<AccountId>, StorageError> {
        self.db
            .write("dispatch a notification", async |tx| {
                Ok::<_, Abort<StorageError>>(tx.dispatch(accounts, id, at).await?)
            })
            .await
    }

    async fn spread(&self, announcement: AnnouncementId, at: Timestamp) -> Result<Spread, StorageError> {
        self.db
            .write("tell an audience", async |tx| {
                Ok::<_, Abort<StorageError>>(Steps::spread(tx, announcement, at).await?)
            })
            .await
    }

    async fn purge(&self, read_before: Timestamp, unread_before: Timestamp, limit: u32) -> Result<u64, StorageError> {
        self.db
            .write("delete old notifications", async |tx| {
                Ok::<_, Abort<StorageError>>(Steps::purge(tx, read_before, unread_before, limit).await?)
            })
            .await
    }
}

/// Where a page begins: behind its position, or before everything.
fn start(query: &NotificationQuery) -> Instant {
    let at = query.after.and_then(|after| Timestamp::from_microsecond(after.at).ok());
    Instant(at.unwrap_or(END))
}
