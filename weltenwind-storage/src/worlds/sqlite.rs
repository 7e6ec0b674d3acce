//! Worlds in SQLite.

use async_trait::async_trait;
use sqlx::{SqliteConnection, SqliteExecutor, query, query_as, query_scalar};
use weltenwind_core::{
    AccountId, Outcome, Page, Revision, Step, StorageError, Timestamp, WorldId,
    access::AccessError,
    worlds::{NewWorld, Slug, World, WorldChange, WorldError, WorldQuery, WorldSort, WorldStore},
};

use super::{
    rows::{WorldRow, changed, folded, owner_grant},
    sql,
};
use crate::{
    access,
    error::{
        Abort::{self, Refused},
        failed, violates_foreign_key,
    },
    rows::{FIRST, Instant, LAST, all, containing, one},
    sqlite::{Class::Interactive, SqliteDatabase},
    step::{self, Begun::Repeated},
};

/// Keeps worlds in a SQLite file.
#[derive(Debug, Clone)]
pub struct SqliteWorldStore {
    db: SqliteDatabase,
}

impl SqliteWorldStore {
    /// Keeps worlds in `db`.
    pub const fn new(db: SqliteDatabase) -> Self {
        Self { db }
    }
}

#[async_trait]
impl WorldStore for SqliteWorldStore {
    async fn create(&self, step: &Step, world: &NewWorld) -> Result<World, WorldError> {
        let (step, world) = (step.clone(), world.clone());
        self.db
            .write(Interactive, "create a world", move |tx| Box::pin(async move { create_in(tx, &step, &world).await }))
            .await
    }

    async fn find(&self, id: WorldId) -> Result<Option<World>, StorageError> {
        find_in(self.db.readers(), id).await.map_err(failed("find a world"))
    }

    async fn find_by_slug(&self, slug: &Slug) -> Result<Option<World>, StorageError> {
        let row: Option<WorldRow> = query_as(sql::FIND_BY_SLUG)
            .bind(slug.as_str())
            .fetch_optional(self.db.readers())
            .await
            .map_err(failed("find a world by its slug"))?;
        one(row).map_err(failed("find a world by its slug"))
    }

    async fn page(&self, query: &WorldQuery) -> Result<Page<World>, StorageError> {
        let (statement, start) = match query.sort {
            WorldSort::NewestFirst => (sql::PAGE_NEWEST_FIRST, LAST),
            WorldSort::OldestFirst => (sql::PAGE_OLDEST_FIRST, FIRST),
        };
        let rows: Vec<WorldRow> = query_as(statement)
            .bind(query.everything)
            .bind(query.member.map(AccountId::uuid))
            .bind(query.text.as_deref().map(|text| containing(&folded(text))))
            .bind(query.after.map_or(start, WorldId::uuid))
            .bind(query.limit.with_probe())
            .bind(Instant(query.at))
            .bind(query.within.map(WorldId::uuid))
            .fetch_all(self.db.readers())
            .await
            .map_err(failed("list worlds"))?;
        Ok(Page::from_probe(all(rows).map_err(failed("list worlds"))?, query.limit))
    }

    async fn amend(&self, step: &Step, change: &WorldChange) -> Result<World, WorldError> {
        let (step, change) = (step.clone(), change.clone());
        self.db
            .write(Interactive, "change a world", move |tx| Box::pin(async move { amend_in(tx, &step, &change).await }))
            .await
    }

    async fn is_empty(&self) -> Result<bool, StorageError> {
        query_scalar(sql::IS_EMPTY).fetch_one(self.db.readers()).await.map_err(failed("look for worlds"))
    }
}

async fn find_in(executor: impl SqliteExecutor<'_>, id: WorldId) -> sqlx::Result<Option<World>> {
    one(query_as::<_, WorldRow>(sql::FIND).bind(id.uuid()).fetch_optional(executor).await?)
}

async fn create_in(tx: &mut SqliteConnection, step: &Step, world: &NewWorld) -> Result<World, Abort<WorldError>> {
    if let Repeated(target) = step::begin(tx, step).await? {
        return Ok(target.found(find_in(tx, target.id()?).await?)?);
    }
    let row: WorldRow = query_as(sql::INSERT)
        .bind(world.id.uuid())
        .bind(world.slug.as_str())
        .bind(world.name.as_str())
        .bind(folded(world.name.as_str()))
        .bind(world.description.as_str())
        .bind(world.visibility.as_str())
        .bind(world.join_policy.as_str())
        .bind(Revision::FIRST.get())
        .bind(Instant(step.at))
        .fetch_one(&mut *tx)
        .await?;
    take_slug_in(tx, &world.slug, world.id, step.at).await?;
    if let Some(grant) = owner_grant(world) {
        access::sqlite::insert_in(tx, step, &grant).await.map_err(|error| match error {
            error if violates_foreign_key(&error, "grants_account") => {
                Refused(WorldError::Access(AccessError::AccountNotFound))
            }
            error => error.into(),
        })?;
    }
    step::finish(tx, step, &Outcome::of(world.id)).await?;
    Ok(row.try_into()?)
}

async fn amend_in(tx: &mut SqliteConnection, step: &Step, change: &WorldChange) -> Result<World, Abort<WorldError>> {
    if let Repeated(target) = step::begin(tx, step).await? {
        return Ok(target.found(find_in(tx, target.id()?).await?)?);
    }
    let Some(present) = find_in(&mut *tx, change.id).await? else { return Err(Refused(WorldError::NotFound)) };
    if change.expected.is_some_and(|expected| expected != present.revision) {
        return Err(Refused(WorldError::Stale(present.revision)));
    }
    if let Some(slug) = &change.amendment.slug {
        take_slug_in(tx, slug, change.id, step.at).await?;
    }
    let world = changed(present.clone(), change, step.at);
    let row: WorldRow = query_as(sql::UPDATE)
        .bind(world.id.uuid())
        .bind(world.slug.as_str())
        .bind(world.name.as_str())
        .bind(folded(world.name.as_str()))
        .bind(world.description.as_str())
        .bind(world.visibility.as_str())
        .bind(world.join_policy.as_str())
        .bind(world.revision.get())
        .bind(Instant(world.updated_at))
        .bind(world.archived_at.map(Instant))
        .fetch_one(&mut *tx)
        .await?;
    step::finish(tx, step, &Outcome::of(world.id).losing(present.lost_by(&world))).await?;
    Ok(row.try_into()?)
}

async fn take_slug_in(
    tx: &mut SqliteConnection,
    slug: &Slug,
    world: WorldId,
    at: Timestamp,
) -> Result<(), Abort<WorldError>> {
    let taken =
        query(sql::TAKE_SLUG).bind(slug.as_str()).bind(world.uuid()).bind(Instant(at)).execute(&mut *tx).await?;
    if taken.rows_affected() == 1 { Ok(()) } else { Err(Refused(WorldError::SlugTaken(slug.clone()))) }
}
