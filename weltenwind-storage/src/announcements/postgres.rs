//! Announcements in Postgres.

use async_trait::async_trait;
use sqlx::{PgConnection, PgExecutor, query, query_as, query_scalar};
use weltenwind_core::{
    AnnouncementId, Outcome, Revision, Step, StorageError, Timestamp,
    announcements::{
        Announcement, AnnouncementChange, AnnouncementError, AnnouncementPage, AnnouncementQuery, AnnouncementSort,
        AnnouncementStore, NewAnnouncement, Published, Readers,
    },
};

use super::{
    rows::{AnnouncementRow, changed, held, page, start},
    sql,
};
use crate::{
    error::{
        Abort::{self, Refused},
        failed,
    },
    postgres::PgDatabase,
    rows::{FIRST, Instant, LAST, ScopeColumns, one},
    step::{self, Begun::Repeated},
};

/// Keeps announcements in Postgres.
#[derive(Debug, Clone)]
pub struct PgAnnouncementStore {
    db: PgDatabase,
}

impl PgAnnouncementStore {
    /// Keeps announcements in `db`.
    pub const fn new(db: PgDatabase) -> Self {
        Self { db }
    }

    async fn read(
        &self,
        query: &AnnouncementQuery,
        statement: &'static str,
        by_likeness: bool,
    ) -> sqlx::Result<AnnouncementPage> {
        let (at, id) = match query.sort {
            AnnouncementSort::NewestFirst => start(query, END, LAST)?,
            AnnouncementSort::OldestFirst => start(query, BEGINNING, FIRST)?,
        };
        let scope = ScopeColumns::from(query.scope);
        let statement = query_as::<_, AnnouncementRow>(statement)
            .bind(scope.scope_kind)
            .bind(scope.scope_id.unwrap_or(FIRST))
            .bind(query.readers == Readers::Staff)
            .bind(held(&query.readers))
            .bind(query.state.as_str())
            .bind(Instant(query.at))
            .bind(at)
            .bind(id)
            .bind(query.limit.with_probe());
        let rows = match &query.text {
            Some(text) => statement.bind(text.as_str()).fetch_all(self.db.pool()).await?,
            None => statement.fetch_all(self.db.pool()).await?,
        };
        page(rows, query, by_likeness)
    }
}

/// Instants that no announcement reaches, within what Postgres can keep.
const BEGINNING: Timestamp = Timestamp::UNIX_EPOCH;
const END: Timestamp = Timestamp::constant(253_402_207_200, 0);

sql::pages! {
    "'00000000-0000-0000-0000-000000000000'", "strpos",
    NEWEST_FIRST, OLDEST_FIRST: "";
}

/// What is found comes out of the index of words, wherever it belongs, and `OFFSET 0` keeps the rest apart. Otherwise Postgres walks
/// through the list and looks at each text where it thinks the words frequent: seconds, if they never stand together.
macro_rules! found {
    ($behind:literal, $order:literal, $found:literal) => {
        concat!(
            "SELECT ",
            sql::columns!(),
            " FROM (SELECT id FROM (SELECT * FROM announcements WHERE ",
            $found,
            " OFFSET 0) AS found",
            sql::listed!("'00000000-0000-0000-0000-000000000000'", "strpos", $behind),
            " ORDER BY publish_at ",
            $order,
            ", id ",
            $order,
            " LIMIT $9) AS part JOIN announcements USING (id) ORDER BY publish_at ",
            $order,
            ", id ",
            $order
        )
    };
}

macro_rules! has_words {
    ($behind:literal, $order:literal) => {
        found!(
            $behind,
            $order,
            "announcement_words(title, body) @@ (
                plainto_tsquery('pg_catalog.german', $10) || plainto_tsquery('pg_catalog.english', $10)
                    || plainto_tsquery('pg_catalog.simple', $10))"
        )
    };
}

const FOUND_NEWEST_FIRST: &str = has_words!("<", "DESC");
const FOUND_OLDEST_FIRST: &str = has_words!(">", "ASC");
const ALIKE_NEWEST_FIRST: &str = found!("<", "DESC", "$10 <% title");
const ALIKE_OLDEST_FIRST: &str = found!(">", "ASC", "$10 <% title");

/// Two changes of one announcement wait for each other.
const FIND_FOR_UPDATE: &str = concat!("SELECT ", sql::columns!(), " FROM announcements WHERE id = $1 FOR UPDATE");

#[async_trait]
impl AnnouncementStore for PgAnnouncementStore {
    async fn publish(&self, step: &Step, new: &NewAnnouncement) -> Result<Published, AnnouncementError> {
        self.db.write("publish an announcement", async |tx| publish_in(tx, step, new).await).await
    }

    async fn find(&self, id: AnnouncementId) -> Result<Option<Announcement>, StorageError> {
        find_in(self.db.pool(), id).await.map_err(failed("find an announcement"))
    }

    /// What has no announcement with its words is looked for among titles that are written nearly alike.
    async fn page(&self, query: &AnnouncementQuery) -> Result<AnnouncementPage, StorageError> {
        let newest_first = query.sort == AnnouncementSort::NewestFirst;
        let either = |newest, oldest| if newest_first { newest } else { oldest };
        let by_likeness = query.after.is_some_and(|after| after.by_likeness);
        let found = match (&query.text, by_likeness) {
            (None, _) => self.read(query, either(NEWEST_FIRST, OLDEST_FIRST), false).await,
            (Some(_), true) => self.read(query, either(ALIKE_NEWEST_FIRST, ALIKE_OLDEST_FIRST), true).await,
            (Some(_), false) => match self.read(query, either(FOUND_NEWEST_FIRST, FOUND_OLDEST_FIRST), false).await {
                Ok(page) if page.items.is_empty() && query.after.is_none() => {
                    self.read(query, either(ALIKE_NEWEST_FIRST, ALIKE_OLDEST_FIRST), true).await
                }
                found => found,
            },
        };
        found.map_err(failed("list announcements"))
    }

    async fn amend(&self, step: &Step, change: &AnnouncementChange) -> Result<Announcement, AnnouncementError> {
        self.db.write("change an announcement", async |tx| amend_in(tx, step, change).await).await
    }

    async fn purge(&self, before: Timestamp, limit: u32) -> Result<u64, StorageError> {
        let purged = query(sql::PURGE).bind(Instant(before)).bind(i64::from(limit)).execute(self.db.pool()).await;
        Ok(purged.map_err(failed("delete old announcements"))?.rows_affected())
    }
}

async fn find_in(executor: impl PgExecutor<'_>, id: AnnouncementId) -> sqlx::Result<Option<Announcement>> {
    one(query_as::<_, AnnouncementRow>(sql::FIND).bind(id.uuid()).fetch_optional(executor).await?)
}

async fn find_by_key_in(tx: &mut PgConnection, new: &NewAnnouncement) -> sqlx::Result<Option<Announcement>> {
    let Some(key) = &new.dedupe_key else { return Ok(None) };
    let scope = ScopeColumns::from(new.audience.scope());
    let row: Option<AnnouncementRow> = query_as(sql::FIND_BY_KEY)
        .bind(scope.scope_kind)
        .bind(scope.scope_id)
        .bind(key.as_str())
        .fetch_optional(tx)
        .await?;
    one(row)
}

async fn publish_in(
    tx: &mut PgConnection,
    step: &Step,
    new: &NewAnnouncement,
) -> Result<Published, Abort<AnnouncementError>> {
    if let Repeated(target) = step::begin(tx, step).await? {
        let announcement = target.found(find_in(tx, target.id()?).await?)?;
        return Ok(Published { announcement, is_new: true });
    }
    let made = match find_by_key_in(tx, new).await? {
        Some(_) => None,
        None => insert_in(tx, step, new).await?,
    };
    if let Some(announcement) = made {
        step::finish(tx, step, &Outcome::of(announcement.id)).await?;
        return Ok(Published { announcement, is_new: true });
    }
    let known = find_by_key_in(tx, new).await?.ok_or(sqlx::Error::RowNotFound)?;
    step::skip(tx, step).await?;
    Ok(Published { announcement: known, is_new: false })
}

async fn insert_in(tx: &mut PgConnection, step: &Step, new: &NewAnnouncement) -> sqlx::Result<Option<Announcement>> {
    let number: i64 = query_scalar(sql::COUNT).fetch_one(&mut *tx).await?;
    let scope = ScopeColumns::from(new.audience.scope());
    let row: Option<AnnouncementRow> = query_as(sql::INSERT)
        .bind(number)
        .bind(new.id.uuid())
        .bind(scope.scope_kind)
        .bind(scope.scope_id)
        .bind(new.audience.held_role().map(weltenwind_core::access::Role::as_str))
        .bind(new.title.as_str())
        .bind(new.body.as_str())
        .bind(new.dedupe_key.as_ref().map(weltenwind_core::DedupeKey::as_str))
        .bind(Instant(new.publish_at))
        .bind(new.expires_at.map(Instant))
        .bind(Revision::FIRST.get())
        .bind(Instant(step.at))
        .fetch_optional(tx)
        .await?;
    one(row)
}

async fn amend_in(
    tx: &mut PgConnection,
    step: &Step,
    change: &AnnouncementChange,
) -> Result<Announcement, Abort<AnnouncementError>> {
    if let Repeated(target) = step::begin(tx, step).await? {
        return Ok(target.found(find_in(tx, target.id()?).await?)?);
    }
    let row: Option<AnnouncementRow> =
        query_as(FIND_FOR_UPDATE).bind(change.id.uuid()).fetch_optional(&mut *tx).await?;
    let announcement = changed(one(row)?, change, step.at).map_err(Refused)?;
    let row: AnnouncementRow = query_as(sql::UPDATE)
        .bind(announcement.id.uuid())
        .bind(announcement.title.as_str())
        .bind(announcement.body.as_str())
        .bind(Instant(announcement.publish_at))
        .bind(announcement.expires_at.map(Instant))
        .bind(announcement.revision.get())
        .bind(Instant(announcement.updated_at))
        .bind(announcement.withdrawn_at.map(Instant))
        .fetch_one(&mut *tx)
        .await?;
    let _: i64 = query_scalar(sql::COUNT).fetch_one(&mut *tx).await?;
    step::finish(tx, step, &Outcome::of(announcement.id)).await?;
    Ok(row.try_into()?)
}
