//! The suite of the outbox, on both databases.
#![cfg(all(feature = "sqlite", feature = "postgres"))]
#![allow(clippy::unwrap_used, reason = "clippy knows tests, and not the functions that they share")]

mod fixture;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, SqliteConnection};
use weltenwind_core::{
    Clock as _, Sources, Stores, SystemClock, WorkerId,
    outbox::{
        Claim, Class, JobId, JobKind, NewJob, Outbox,
        conformance::{Passing, Ports},
    },
};
use weltenwind_storage::StorageConfig;

use self::fixture::Fixture;

/// Moves what stands on the rows into the past.
#[derive(Debug)]
struct Rows {
    url: String,
}

#[async_trait]
impl Passing for Rows {
    async fn pass(&self, by: Duration) {
        let is_sqlite = self.url.starts_with("sqlite");
        let by =
            if is_sqlite { by.as_micros().to_string() } else { format!("INTERVAL '{} microseconds'", by.as_micros()) };
        for (table, columns) in [
            ("outbox_jobs", ["created_at", "run_at", "lease_until", "deadline_at"].as_slice()),
            ("outbox_dead", &["created_at", "died_at"]),
            ("outbox_schedules", &["next_at"]),
        ] {
            let columns: Vec<_> = columns.iter().map(|column| format!("{column} = {column} - {by}")).collect();
            let statement = AssertSqlSafe(format!("UPDATE {table} SET {}", columns.join(", ")));
            if is_sqlite {
                SqliteConnection::connect(&self.url).await.unwrap().execute(statement).await.unwrap();
            } else {
                PgConnection::connect(&self.url).await.unwrap().execute(statement).await.unwrap();
            }
        }
    }
}

fn ports(fixture: Fixture) -> (Fixture, Ports) {
    let ports = Ports {
        outbox: Arc::clone(&fixture.stores.outbox),
        worlds: Arc::clone(&fixture.stores.worlds),
        time: Arc::new(Rows { url: fixture.config.url.clone() }),
    };
    (fixture, ports)
}

mod sqlite {
    use super::{fixture, ports};

    weltenwind_core::outbox_store_conformance!(async { ports(fixture::sqlite().await) });
}

mod postgres {
    use super::{Behind, fixture, ports};

    weltenwind_core::outbox_store_conformance!(
        async { ports(fixture::postgres().await) },
        ignore = "needs WW_TEST_POSTGRES_URL"
    );

    #[tokio::test]
    #[ignore = "needs WW_TEST_POSTGRES_URL"]
    async fn a_claim_reads_a_few_rows_however_many_wait_under_one_key() {
        let fixture = fixture::postgres().await;
        let behind = Behind::of(&fixture).await;

        behind.claims_read_few_rows(&fixture).await;
    }
}

const WAITING: i64 = 100_000;

/// Workers of a kind of which a hundred thousand jobs wait behind one that a worker has.
struct Behind {
    stores: Stores,
}

impl Behind {
    async fn of(fixture: &Fixture) -> Self {
        fixture
            .execute(
                "INSERT INTO outbox_jobs (kind, payload, order_key, correlation_id, created_at, run_at)
                SELECT 'test.work', '0', 'key', 'conformance', now() - INTERVAL '1 hour', now() - INTERVAL '1 hour'
                FROM generate_series(0, 100000)",
            )
            .await;
        // One connection claims, so that what it has read is counted in the order of its claims.
        let config = StorageConfig { max_connections: 2, ..fixture.config.clone() };
        Self { stores: weltenwind_storage::open(&config).await.unwrap() }
    }

    async fn claim(&self, class: Class) -> Vec<u64> {
        let claim = Claim {
            kind: JobKind::named("test.work"),
            class,
            worker: WorkerId::new(uuid::Uuid::from_u128(1)),
            limit: 100,
            lease: Duration::from_mins(1),
            deadline: Duration::from_mins(5),
            max_crashes: 5,
        };
        let jobs = self.stores.outbox.claim(&claim, SystemClock.now()).await.unwrap();
        jobs.iter().map(|job| job.payload.as_u64().unwrap()).collect()
    }

    async fn claims_read_few_rows(&self, fixture: &Fixture) {
        const READ: &str = "SELECT (SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_user_tables WHERE relname = 'outbox_jobs')::BIGINT
            + (SELECT sum(idx_tup_read) FROM pg_stat_user_indexes WHERE relname = 'outbox_jobs')::BIGINT";
        assert_eq!(self.claim(Class::Sound).await, [0], "the first of the key");
        self.counted(fixture, READ).await;
        let before = fixture.count(READ).await;

        for n in 1..=10 {
            let outbox = Outbox::new(Arc::clone(&self.stores.outbox), Sources::default());
            outbox.enqueue(&[NewJob::new(JobKind::named("test.work"), n.into())]).await.unwrap();
            assert_eq!(self.claim(Class::Sound).await, [n]);
            assert!(self.claim(Class::Suspect).await.is_empty());
        }

        self.counted(fixture, READ).await;
        let read = fixture.count(READ).await - before;
        assert!((10..1000).contains(&read), "20 claims have read {read} of {WAITING} rows");
    }

    /// A connection tells what it has read once a second, behind a statement.
    async fn counted(&self, fixture: &Fixture, read: &'static str) {
        let mut last = -1;
        loop {
            tokio::time::sleep(Duration::from_millis(1100)).await;
            self.stores.outbox.find(JobId::new(1)).await.unwrap();
            let now = fixture.count(read).await;
            // The look itself reads a row or two.
            if now - last < 5 && last >= 0 {
                return;
            }
            last = now;
        }
    }
}
