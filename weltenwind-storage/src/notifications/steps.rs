//! The steps that both drivers take alike.

use sqlx::{query, query_as, query_scalar};
use uuid::Uuid;
use weltenwind_core::{
    AccountId, AnnouncementId, NotificationId, Timestamp,
    notifications::{FeedMark, NewNotification, NotificationError, Spread, Told},
};

use super::{rows::OwnRow, sql};
use crate::{
    error::{
        Abort::{self, Refused},
        BrokenRow,
    },
    rows::{FIRST, Instant, ScopeColumns},
};

/// What is known of an announcement that is being spread.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct Spreading {
    #[sqlx(flatten)]
    pub(super) scope: ScopeColumns,
    pub(super) role: Option<String>,
    publish_at: Instant,
    told_through: Option<Uuid>,
    is_withdrawn: bool,
    is_dispatched: bool,
}

/// The next page of an audience.
#[derive(Debug)]
pub(super) struct Listeners<'s> {
    pub(super) announcement: AnnouncementId,
    pub(super) of: &'s Spreading,
    pub(super) after: Uuid,
    pub(super) at: Timestamp,
}

impl Spreading {
    pub(super) fn published(&self) -> Instant {
        self.publish_at
    }
}

/// A thing that an account's feed shows, and what has become of it.
pub(super) struct Shown {
    is_read: bool,
    /// When it was published, if the account has no row of its own for it.
    public: Option<Instant>,
}

/// The steps of a connection inside a transaction.
pub(super) trait Steps {
    async fn tell(&mut self, new: &NewNotification) -> sqlx::Result<Told>;

    async fn mark_read(
        &mut self,
        account: AccountId,
        id: NotificationId,
        at: Timestamp,
    ) -> Result<(), Abort<NotificationError>>;

    async fn mark_all_read(&mut self, account: AccountId, mark: FeedMark, at: Timestamp) -> sqlx::Result<()>;

    async fn dismiss(
        &mut self,
        account: AccountId,
        id: NotificationId,
        at: Timestamp,
    ) -> Result<(), Abort<NotificationError>>;

    async fn dispatch(
        &mut self,
        accounts: &[AccountId],
        id: NotificationId,
        at: Timestamp,
    ) -> sqlx::Result<Vec<AccountId>>;

    async fn spread(&mut self, announcement: AnnouncementId, at: Timestamp) -> sqlx::Result<Spread>;

    async fn purge(&mut self, read_before: Timestamp, unread_before: Timestamp, limit: u32) -> sqlx::Result<u64>;

    /// Finds a thing that an account's feed shows.
    async fn shown(&mut self, account: AccountId, id: NotificationId, at: Timestamp) -> sqlx::Result<Option<Shown>>;

    /// Counts the feed's version up. The account is there, since its feed shows something.
    async fn bump(&mut self, account: AccountId) -> sqlx::Result<i64>;

    /// Gives what has no row of the account's own one.
    async fn adopt(&mut self, account: AccountId, id: NotificationId, shown: &Shown) -> sqlx::Result<()>;
}

/// Tells one page of an audience, in the database's own way.
pub(super) trait TellPage {
    /// Answers who was the last, and how many they were; nobody at the end.
    async fn tell_page(&mut self, listeners: &Listeners<'_>) -> sqlx::Result<Option<(Uuid, u64)>>;
}

/// `$lock` reads an announcement and keeps other pages of it waiting. `$of` says that an account is one of the list `$1`, which
/// `$list` makes of many; `$position` tells where a text stands in another.
macro_rules! steps {
    ($connection:ty, $lock:expr, $of:literal, $list:expr, $position:literal) => {
        impl Steps for $connection {
            async fn tell(&mut self, new: &NewNotification) -> sqlx::Result<Told> {
                let account = new.account.uuid();
                let is_known: bool = query_scalar(sql::IS_KNOWN)
                    .bind(account)
                    .bind(new.dedupe_key.as_str())
                    .fetch_one(&mut *self)
                    .await?;
                if is_known {
                    return Ok(Told::Known);
                }
                let version: Option<i64> = query_scalar(sql::BUMP).bind(account).fetch_optional(&mut *self).await?;
                let Some(version) = version else { return Ok(Told::Nobody) };
                let told = query(sql::TELL)
                    .bind(account)
                    .bind(new.id.uuid())
                    .bind(version)
                    .bind(new.topic.as_str())
                    .bind(new.dedupe_key.as_str())
                    .bind(new.title.as_str())
                    .bind(new.body.as_str())
                    .bind(Instant(new.at))
                    .bind(new.expires_at.map(Instant))
                    .execute(&mut *self)
                    .await?;
                Ok(if told.rows_affected() == 1 { Told::New } else { Told::Known })
            }

            async fn mark_read(
                &mut self,
                account: AccountId,
                id: NotificationId,
                at: Timestamp,
            ) -> Result<(), Abort<NotificationError>> {
                let shown = self.shown(account, id, at).await?.ok_or(Refused(NotificationError::NotFound))?;
                if shown.is_read {
                    return Ok(());
                }
                self.bump(account).await?;
                self.adopt(account, id, &shown).await?;
                let (account, id) = (account.uuid(), id.uuid());
                query(sql::MARK_READ).bind(account).bind(id).bind(Instant(at)).execute(&mut *self).await?;
                Ok(())
            }

            async fn mark_all_read(&mut self, account: AccountId, mark: FeedMark, at: Timestamp) -> sqlx::Result<()> {
                let account = account.uuid();
                let version: Option<i64> = query_scalar(sql::BUMP).bind(account).fetch_optional(&mut *self).await?;
                if version.is_none() {
                    return Ok(());
                }
                let until =
                    Timestamp::from_microsecond(mark.at).map_err(|_| BrokenRow::new("feeds", "read_until", account))?;
                query(sql::MARK_ARRIVED_READ)
                    .bind(account)
                    .bind(mark.version)
                    .bind(mark.epoch)
                    .bind(Instant(until))
                    .bind(Instant(at))
                    .execute(&mut *self)
                    .await?;
                query(sql::MARK_PUBLIC_READ)
                    .bind(account)
                    .bind(mark.epoch)
                    .bind(Instant(until))
                    .execute(&mut *self)
                    .await?;
                Ok(())
            }

            async fn dismiss(
                &mut self,
                account: AccountId,
                id: NotificationId,
                at: Timestamp,
            ) -> Result<(), Abort<NotificationError>> {
                let shown = self.shown(account, id, at).await?.ok_or(Refused(NotificationError::NotFound))?;
                self.bump(account).await?;
                self.adopt(account, id, &shown).await?;
                let (account, id) = (account.uuid(), id.uuid());
                let dismissed =
                    query(sql::DISMISS).bind(account).bind(id).bind(Instant(at)).execute(&mut *self).await?;
                // Another one was faster.
                if dismissed.rows_affected() == 1 { Ok(()) } else { Err(Refused(NotificationError::NotFound)) }
            }

            async fn dispatch(
                &mut self,
                accounts: &[AccountId],
                id: NotificationId,
                at: Timestamp,
            ) -> sqlx::Result<Vec<AccountId>> {
                let (accounts, id): (Vec<Uuid>, _) =
                    (accounts.iter().map(|account| account.uuid()).collect(), id.uuid());
                let may: Vec<Uuid> = query_scalar(sql::may_be_told!($of, $position))
                    .bind($list(&accounts))
                    .bind(id)
                    .bind(Instant(at))
                    .fetch_all(&mut *self)
                    .await?;
                if may.is_empty() {
                    return Ok(Vec::new());
                }
                query(sql::bump_all!($of)).bind($list(&may)).execute(&mut *self).await?;
                query(sql::adopt_all!($of)).bind($list(&may)).bind(id).execute(&mut *self).await?;
                let dispatched: Vec<Uuid> = query_scalar(sql::dispatch_all!($of))
                    .bind($list(&may))
                    .bind(id)
                    .bind(Instant(at))
                    .fetch_all(&mut *self)
                    .await?;
                Ok(dispatched.into_iter().map(AccountId::new).collect())
            }

            async fn spread(&mut self, announcement: AnnouncementId, at: Timestamp) -> sqlx::Result<Spread> {
                let row: Option<Spreading> =
                    query_as($lock).bind(announcement.uuid()).fetch_optional(&mut *self).await?;
                let Some(spreading) = row.filter(|row| !row.is_withdrawn) else { return Ok(Spread::Gone) };
                if spreading.is_dispatched {
                    return Ok(Spread::Done(0));
                }
                if spreading.publish_at.0 > at {
                    return Ok(Spread::NotBefore(spreading.publish_at.0));
                }
                let is_public = spreading.scope.scope_id.is_none() && spreading.role.is_none();
                if !is_public {
                    let after = spreading.told_through.unwrap_or(FIRST);
                    let listeners = Listeners { announcement, of: &spreading, after, at };
                    if let Some((last, told)) = self.tell_page(&listeners).await? {
                        query(sql::TOLD_THROUGH).bind(announcement.uuid()).bind(last).execute(&mut *self).await?;
                        return Ok(Spread::More(told));
                    }
                }
                query(sql::DISPATCHED).bind(announcement.uuid()).bind(Instant(at)).execute(&mut *self).await?;
                if is_public {
                    // The feed shows when it was dispatched.
                    let _: i64 = query_scalar(crate::announcements::COUNT).fetch_one(&mut *self).await?;
                }
                Ok(Spread::Done(0))
            }

            async fn purge(
                &mut self,
                read_before: Timestamp,
                unread_before: Timestamp,
                limit: u32,
            ) -> sqlx::Result<u64> {
                let bind = |statement| {
                    query(statement).bind(Instant(read_before)).bind(Instant(unread_before)).bind(i64::from(limit))
                };
                bind(sql::PURGED_FEEDS).execute(&mut *self).await?;
                Ok(bind(sql::PURGE).execute(&mut *self).await?.rows_affected())
            }

            async fn shown(
                &mut self,
                account: AccountId,
                id: NotificationId,
                at: Timestamp,
            ) -> sqlx::Result<Option<Shown>> {
                let (account, id) = (account.uuid(), id.uuid());
                let own: Option<OwnRow> =
                    query_as(sql::FIND_OWN).bind(account).bind(id).bind(Instant(at)).fetch_optional(&mut *self).await?;
                if let Some(own) = own {
                    let OwnRow { is_read, is_hidden } = own;
                    return Ok((!is_hidden).then_some(Shown { is_read, public: None }));
                }
                let public: Option<(Instant, bool)> = query_as(sql::FIND_PUBLIC)
                    .bind(account)
                    .bind(id)
                    .bind(Instant(at))
                    .fetch_optional(&mut *self)
                    .await?;
                Ok(public.map(|(at, is_read)| Shown { is_read, public: Some(at) }))
            }

            async fn bump(&mut self, account: AccountId) -> sqlx::Result<i64> {
                query_scalar(sql::BUMP).bind(account.uuid()).fetch_one(self).await
            }

            async fn adopt(&mut self, account: AccountId, id: NotificationId, shown: &Shown) -> sqlx::Result<()> {
                let Some(published) = shown.public else { return Ok(()) };
                query(sql::ADOPT)
                    .bind(account.uuid())
                    .bind(id.uuid())
                    .bind(published)
                    .bind(shown.is_read.then_some(published))
                    .execute(self)
                    .await?;
                Ok(())
            }
        }
    };
}

#[cfg(feature = "postgres")]
steps!(sqlx::PgConnection, concat!(sql::spreading!(), " FOR UPDATE"), "= ANY ($1)", <[Uuid]>::to_vec, "strpos");
#[cfg(feature = "sqlite")]
steps!(
    sqlx::SqliteConnection,
    sql::spreading!(),
    "IN (SELECT unhex(value) FROM json_each($1))",
    |accounts: &[Uuid]| sqlx::types::Json(accounts.iter().map(|id| id.simple().to_string()).collect::<Vec<_>>()),
    "instr"
);
