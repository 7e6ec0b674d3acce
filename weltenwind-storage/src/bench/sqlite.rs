//! Many rows at once in SQLite: in one transaction each.

use async_trait::async_trait;
use sqlx::{query, query_as, query_scalar};
use weltenwind_core::{
    AccountId, AnnouncementId, GrantId, StorageError, StoreHealth as _, Timestamp, WorldId,
    announcements::NewAnnouncement,
};

use super::{Audience, BulkStore, COUNT_FEEDS, TELL, TOLD, audience, count};
use crate::{
    error::{Abort, failed},
    rows::{Instant, ScopeColumns},
    sqlite::{Class::Background, SqliteDatabase},
};

#[derive(Debug)]
pub(super) struct SqliteBulkStore {
    db: SqliteDatabase,
}

impl SqliteBulkStore {
    pub(super) const fn new(db: SqliteDatabase) -> Self {
        Self { db }
    }
}

const OPEN_ACCOUNT: &str =
    "INSERT INTO accounts (id, kind, display_name, revision, created_at) VALUES ($1, 'guest', 'Guest', 1, $2)";

const GRANT: &str = "
    INSERT INTO grants (id, account_id, role, scope_kind, scope_id, created_at)
    VALUES ($1, $2, 'world_member', 'world', $3, $4)";

/// Takes as many numbers as there are announcements, and answers the last.
const COUNT: &str = "UPDATE announcement_epoch SET version = version + $1 WHERE id = 1 RETURNING version";

const ANNOUNCE: &str = "
    INSERT INTO announcements (number, id, scope_kind, scope_id, title, body, publish_at, revision, created_at, updated_at,
        dispatched_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, 2, $7, $7, $7)";

#[async_trait]
impl BulkStore for SqliteBulkStore {
    async fn admit(&self, world: WorldId, members: &[(AccountId, GrantId)], at: Timestamp) -> Result<(), StorageError> {
        let members = members.to_vec();
        self.db
            .write(Background, "admit members", move |tx| {
                Box::pin(async move {
                    for (account, grant) in members {
                        query(OPEN_ACCOUNT).bind(account.uuid()).bind(Instant(at)).execute(&mut *tx).await?;
                        let grant = query(GRANT).bind(grant.uuid()).bind(account.uuid()).bind(world.uuid());
                        grant.bind(Instant(at)).execute(&mut *tx).await?;
                    }
                    Ok::<_, Abort<StorageError>>(())
                })
            })
            .await
    }

    async fn announce(&self, news: &[NewAnnouncement]) -> Result<(), StorageError> {
        let news = news.to_vec();
        self.db
            .write(Background, "write announcements", move |tx| {
                Box::pin(async move {
                    let last: i64 = query_scalar(COUNT).bind(count(&news)).fetch_one(&mut *tx).await?;
                    for (number, new) in (last - count(&news) + 1..).zip(&news) {
                        let scope = ScopeColumns::from(new.audience.scope());
                        query(ANNOUNCE)
                            .bind(number)
                            .bind(new.id.uuid())
                            .bind(scope.scope_kind)
                            .bind(scope.scope_id)
                            .bind(new.title.as_str())
                            .bind(new.body.as_str())
                            .bind(Instant(new.publish_at))
                            .execute(&mut *tx)
                            .await?;
                    }
                    Ok::<_, Abort<StorageError>>(())
                })
            })
            .await
    }

    async fn tell(&self, world: WorldId, announcements: &[AnnouncementId]) -> Result<(), StorageError> {
        let announcements = announcements.to_vec();
        self.db
            .write(Background, "tell everybody", move |tx| {
                Box::pin(async move {
                    query(COUNT_FEEDS).bind(world.uuid()).bind(count(&announcements)).execute(&mut *tx).await?;
                    for (before, id) in (0_i64..).zip(announcements.iter().rev()) {
                        query(TELL).bind(world.uuid()).bind(id.uuid()).bind(before).execute(&mut *tx).await?;
                    }
                    Ok::<_, Abort<StorageError>>(())
                })
            })
            .await
    }

    /// SQLite does nothing by itself.
    async fn settle(&self) -> Result<(), StorageError> {
        Ok(())
    }

    async fn told(&self, world: WorldId, announcement: AnnouncementId) -> Result<Audience, StorageError> {
        let counted = query_as(TOLD).bind(world.uuid()).bind(announcement.uuid()).fetch_one(self.db.readers()).await;
        Ok(audience(counted.map_err(failed("count who was told"))?))
    }

    async fn close(&self) {
        self.db.close().await;
    }
}
