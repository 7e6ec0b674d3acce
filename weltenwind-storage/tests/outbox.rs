//! The suite of the outbox, on both databases.
#![cfg(all(feature = "sqlite", feature = "postgres"))]
#![allow(clippy::unwrap_used, reason = "clippy knows tests, and not the functions that they share")]

mod fixture;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, SqliteConnection};
use weltenwind_core::outbox::conformance::{Passing, Ports};

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
    use super::{fixture, ports};

    weltenwind_core::outbox_store_conformance!(
        async { ports(fixture::postgres().await) },
        ignore = "needs WW_TEST_POSTGRES_URL"
    );
}
