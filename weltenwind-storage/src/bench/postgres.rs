//! Many rows at once in Postgres: a statement for a column of each.

use async_trait::async_trait;
use sqlx::{query, query_as, query_scalar};
use uuid::Uuid;
use weltenwind_core::{
    AccountId, AnnouncementId, GrantId, StorageError, StoreHealth as _, Timestamp, WorldId,
    announcements::NewAnnouncement,
};

use super::{Audience, BulkStore, COUNT_FEEDS, TELL, TOLD, audience, count};
use crate::{
    error::{Abort, failed},
    postgres::PgDatabase,
    rows::{Instant, ScopeColumns},
};

#[derive(Debug)]
pub(super) struct PgBulkStore {
    db: PgDatabase,
}

impl PgBulkStore {
    pub(super) const fn new(db: PgDatabase) -> Self {
        Self { db }
    }
}

const OPEN_ACCOUNTS: &str = "
    INSERT INTO accounts (id, kind, display_name, revision, created_at)
    SELECT id, 'guest', 'Guest', 1, $2 FROM UNNEST($1::UUID[]) AS a (id)";

const GRANT: &str = "
    INSERT INTO grants (id, account_id, role, scope_kind, scope_id, created_at)
    SELECT id, account, 'world_member', 'world', $3, $4 FROM UNNEST($1::UUID[], $2::UUID[]) AS g (id, account)";

/// Takes as many numbers as there are announcements, and answers the last.
const COUNT: &str = "UPDATE announcement_epoch SET version = version + $1 WHERE id = 1 RETURNING version";

const ANNOUNCE: &str = "
    INSERT INTO announcements (number, id, scope_kind, scope_id, title, body, publish_at, revision, created_at, updated_at,
        dispatched_at)
    SELECT $1 + n, id, scope_kind, scope_id, title, body, at, 2, at, at, at
    FROM UNNEST($2::UUID[], $3::TEXT[], $4::UUID[], $5::TEXT[], $6::TEXT[], $7::TIMESTAMPTZ[]) WITH ORDINALITY
        AS a (id, scope_kind, scope_id, title, body, at, n)";

#[async_trait]
impl BulkStore for PgBulkStore {
    async fn admit(&self, world: WorldId, members: &[(AccountId, GrantId)], at: Timestamp) -> Result<(), StorageError> {
        let accounts: Vec<Uuid> = members.iter().map(|(account, _)| account.uuid()).collect();
        let grants: Vec<Uuid> = members.iter().map(|(_, grant)| grant.uuid()).collect();
        self.db
            .write("admit members", async |tx| {
                query(OPEN_ACCOUNTS).bind(&accounts).bind(Instant(at)).execute(&mut *tx).await?;
                let grant = query(GRANT).bind(&grants).bind(&accounts).bind(world.uuid());
                grant.bind(Instant(at)).execute(&mut *tx).await?;
                Ok::<_, Abort<StorageError>>(())
            })
            .await
    }

    async fn announce(&self, news: &[NewAnnouncement]) -> Result<(), StorageError> {
        let scopes: Vec<ScopeColumns> = news.iter().map(|new| new.audience.scope().into()).collect();
        let (kinds, places): (Vec<_>, Vec<_>) =
            scopes.into_iter().map(|scope| (scope.scope_kind, scope.scope_id)).unzip();
        self.db
            .write("write announcements", async |tx| {
                let last: i64 = query_scalar(COUNT).bind(count(news)).fetch_one(&mut *tx).await?;
                query(ANNOUNCE)
                    .bind(last - count(news))
                    .bind(news.iter().map(|new| new.id.uuid()).collect::<Vec<_>>())
                    .bind(kinds)
                    .bind(places)
                    .bind(news.iter().map(|new| new.title.as_str()).collect::<Vec<_>>())
                    .bind(news.iter().map(|new| new.body.as_str()).collect::<Vec<_>>())
                    .bind(news.iter().map(|new| Instant(new.publish_at)).collect::<Vec<_>>())
                    .execute(&mut *tx)
                    .await?;
                Ok::<_, Abort<StorageError>>(())
            })
            .await
    }

    async fn tell(&self, world: WorldId, announcements: &[AnnouncementId]) -> Result<(), StorageError> {
        self.db
            .write("tell everybody", async |tx| {
                query(COUNT_FEEDS).bind(world.uuid()).bind(count(announcements)).execute(&mut *tx).await?;
                for (before, id) in (0_i64..).zip(announcements.iter().rev()) {
                    query(TELL).bind(world.uuid()).bind(id.uuid()).bind(before).execute(&mut *tx).await?;
                }
                Ok::<_, Abort<StorageError>>(())
            })
            .await
    }

    async fn settle(&self) -> Result<(), StorageError> {
        for statement in [
            "VACUUM (ANALYZE) accounts",
            "VACUUM (ANALYZE) grants",
            "VACUUM (ANALYZE) announcements",
            "VACUUM (ANALYZE) feeds",
            "VACUUM (ANALYZE) notifications",
        ] {
            query(statement).execute(self.db.pool()).await.map_err(failed("analyse the tables"))?;
        }
        Ok(())
    }

    async fn told(&self, world: WorldId, announcement: AnnouncementId) -> Result<Audience, StorageError> {
        let counted = query_as(TOLD).bind(world.uuid()).bind(announcement.uuid()).fetch_one(self.db.pool()).await;
        Ok(audience(counted.map_err(failed("count who was told"))?))
    }

    async fn close(&self) {
        self.db.close().await;
    }
}
