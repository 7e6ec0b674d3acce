//! Many rows at once, for measurements: what services would take an hour to write, one commit each.
//!
//! The rows are those that the services would have written, and pass the same constraints; nothing is decided, audited or hinted at.
//! For stores that are thrown away.

#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;

use std::{fmt::Debug, sync::Arc};

use async_trait::async_trait;
use weltenwind_core::{
    AccountId, AnnouncementId, GrantId, StorageError, Timestamp, WorldId, announcements::NewAnnouncement,
};

use crate::{
    config::StorageConfig,
    open::{Backend, OpenError, backend},
};

/// Writes many rows at once, and counts them.
#[async_trait]
pub trait BulkStore: Debug + Send + Sync + 'static {
    /// Makes guests who are members of a world, each by a grant.
    async fn admit(&self, world: WorldId, members: &[(AccountId, GrantId)], at: Timestamp) -> Result<(), StorageError>;

    /// Makes announcements that were published at their time, and dispatched.
    async fn announce(&self, news: &[NewAnnouncement]) -> Result<(), StorageError>;

    /// Tells every member of a world of announcements, in their order. None was told of one before.
    async fn tell(&self, world: WorldId, announcements: &[AnnouncementId]) -> Result<(), StorageError>;

    /// Does what the database does by itself once it finds the time: afterwards it knows its tables.
    async fn settle(&self) -> Result<(), StorageError>;

    /// Counts who was told of an announcement to a world.
    async fn told(&self, world: WorldId, announcement: AnnouncementId) -> Result<Audience, StorageError>;

    /// Closes the connections.
    async fn close(&self);
}

/// Who was told of an announcement to a world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Audience {
    /// Members of the world.
    pub members: u64,
    /// Members who were told.
    pub told: u64,
    /// Rows that tell somebody, member or not.
    pub rows: u64,
}

/// Opens the store that the configuration names, and brings its schema up to date.
pub async fn open(config: &StorageConfig) -> Result<Arc<dyn BulkStore>, OpenError> {
    match backend(config)? {
        #[cfg(feature = "sqlite")]
        Backend::Sqlite => Ok(Arc::new(sqlite::SqliteBulkStore::new(crate::SqliteDatabase::open(config).await?))),
        #[cfg(feature = "postgres")]
        Backend::Postgres => Ok(Arc::new(postgres::PgBulkStore::new(crate::PgDatabase::open(config).await?))),
    }
}

/// Counts the feeds of a world's members up by `$2`.
const COUNT_FEEDS: &str = "
    INSERT INTO feeds (account_id, version)
    SELECT account_id, $2 FROM grants WHERE scope_kind = 'world' AND scope_id = $1 AND revoked_at IS NULL
    GROUP BY account_id ORDER BY account_id
    ON CONFLICT (account_id) DO UPDATE SET version = feeds.version + $2";

/// Tells the members of world `$1` of announcement `$2`, as what came `$3` versions before the feed's present one.
const TELL: &str = "
    INSERT INTO notifications (account_id, id, arrival, topic, created_at)
    SELECT f.account_id, a.id, f.version - $3, 'announcement', a.publish_at
    FROM announcements a, feeds f
    WHERE a.id = $2 AND f.account_id IN (
        SELECT account_id FROM grants WHERE scope_kind = 'world' AND scope_id = $1 AND revoked_at IS NULL
    )
    ORDER BY f.account_id";

/// The members of world `$1`; those of them who were told of `$2`; rows of `$2`.
const TOLD: &str = "
    WITH members AS (
        SELECT DISTINCT account_id FROM grants WHERE scope_kind = 'world' AND scope_id = $1 AND revoked_at IS NULL
    ), told AS (
        SELECT account_id FROM notifications WHERE id = $2
    )
    SELECT (SELECT count(*) FROM members),
        (SELECT count(*) FROM members WHERE account_id IN (SELECT account_id FROM told)),
        (SELECT count(*) FROM told)";

fn audience((members, told, rows): (i64, i64, i64)) -> Audience {
    let [members, told, rows] = [members, told, rows].map(i64::unsigned_abs);
    Audience { members, told, rows }
}

/// How many there are, as databases count.
fn count<T>(items: &[T]) -> i64 {
    i64::try_from(items.len()).unwrap_or(i64::MAX)
}
