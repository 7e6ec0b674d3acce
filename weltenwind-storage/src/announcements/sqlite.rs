//! Announcements in SQLite.

use async_trait::async_trait;
use sqlx::{SqliteConnection, SqliteExecutor, query, query_as, query_scalar};
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
    rows::{FIRST, Instant, LAST, ScopeColumns, one},
    sqlite::{
        Class::{Background, Interactive},
        SqliteDatabase,
    },
    step::{self, Begun::Repeated},
};

/// Keeps announcements in a SQLite file.
#[derive(Debug, Clone)]
pub struct SqliteAnnouncementStore {
    db: SqliteDatabase,
}

impl SqliteAnnouncementStore {
    /// Keeps announcements in `db`.
    pub const fn new(db: SqliteDatabase) -> Self {
        Self { db }
    }

    async fn read(&self, query: &AnnouncementQuery, statement: &'static str) -> sqlx::Result<AnnouncementPage> {
        let words = query.text.as_deref().map(words);
        if words.as_ref().is_some_and(String::is_empty) {
            return page(Vec::new(), query, false);
        }
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
        let rows = match words {
            Some(words) => statement.bind(words).fetch_all(self.db.readers()).await?,
            None => statement.fetch_all(self.db.readers()).await?,
        };
        page(rows, query, false)
    }
}

/// Instants that no announcement reaches.
const BEGINNING: Timestamp = Timestamp::UNIX_EPOCH;
const END: Timestamp = Timestamp::constant(253_402_207_200, 0);

sql::pages! {
    "x'00000000000000000000000000000000'", "instr",
    NEWEST_FIRST, OLDEST_FIRST: "";
    FOUND_NEWEST_FIRST, FOUND_OLDEST_FIRST:
        " AND number IN (SELECT rowid FROM announcements_words WHERE announcements_words MATCH $10)";
}

/// Writes a text as a query of the index: every word in quotes, since then no sign in it is a command, and as the beginning of
/// one. A text without words is empty.
fn words(text: &str) -> String {
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(|word| format!("\"{word}\"*")).collect::<Vec<_>>().join(" ")
}

#[async_trait]
impl AnnouncementStore for SqliteAnnouncementStore {
    async fn publish(&self, step: &Step, new: &NewAnnouncement) -> Result<Published, AnnouncementError> {
        let (step, new) = (step.clone(), new.clone());
        self.db
            .write(Interactive, "publish an announcement", move |tx| {
                Box::pin(async move { publish_in(tx, &step, &new).await })
            })
            .await
    }

    async fn find(&self, id: AnnouncementId) -> Result<Option<Announcement>, StorageError> {
        find_in(self.db.readers(), id).await.map_err(failed("find an announcement"))
    }

    async fn page(&self, query: &AnnouncementQuery) -> Result<AnnouncementPage, StorageError> {
        let statement = match (query.text.is_some(), query.sort) {
            (false, AnnouncementSort::NewestFirst) => NEWEST_FIRST,
            (false, AnnouncementSort::OldestFirst) => OLDEST_FIRST,
            (true, AnnouncementSort::NewestFirst) => FOUND_NEWEST_FIRST,
            (true, AnnouncementSort::OldestFirst) => FOUND_OLDEST_FIRST,
        };
        self.read(query, statement).await.map_err(failed("list announcements"))
    }

    async fn amend(&self, step: &Step, change: &AnnouncementChange) -> Result<Announcement, AnnouncementError> {
        let (step, change) = (step.clone(), change.clone());
        self.db
            .write(Interactive, "change an announcement", move |tx| {
                Box::pin(async move { amend_in(tx, &step, &change).await })
            })
            .await
    }

    async fn purge(&self, before: Timestamp, limit: u32) -> Result<u64, StorageError> {
        self.db
            .write(Background, "delete old announcements", move |tx| {
                Box::pin(async move {
                    let purged = query(sql::PURGE).bind(Instant(before)).bind(i64::from(limit)).execute(tx).await?;
                    Ok::<_, Abort<StorageError>>(purged.rows_affected())
                })
            })
            .await
    }
}

async fn find_in(executor: impl SqliteExecutor<'_>, id: AnnouncementId) -> sqlx::Result<Option<Announcement>> {
    one(query_as::<_, AnnouncementRow>(sql::FIND).bind(id.uuid()).fetch_optional(executor).await?)
}

async fn find_by_key_in(tx: &mut SqliteConnection, new: &NewAnnouncement) -> sqlx::Result<Option<Announcement>> {
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
    tx: &mut SqliteConnection,
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

async fn insert_in(
    tx: &mut SqliteConnection,
    step: &Step,
    new: &NewAnnouncement,
) -> sqlx::Result<Option<Announcement>> {
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
    tx: &mut SqliteConnection,
    step: &Step,
    change: &AnnouncementChange,
) -> Result<Announcement, Abort<AnnouncementError>> {
    if let Repeated(target) = step::begin(tx, step).await? {
        return Ok(target.found(find_in(tx, target.id()?).await?)?);
    }
    let present = find_in(&mut *tx, change.id).await?;
    let announcement = changed(present, change, step.at).map_err(Refused)?;
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
