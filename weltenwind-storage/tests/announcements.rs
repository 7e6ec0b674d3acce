//! The suite of announcements, on both databases.
#![cfg(all(feature = "sqlite", feature = "postgres"))]

mod fixture;

use std::sync::Arc;

use weltenwind_core::{Stores, announcements::conformance::Ports};

fn ports(stores: &Stores) -> Ports {
    Ports { announcements: Arc::clone(&stores.announcements) }
}

mod sqlite {
    use super::{fixture, ports};

    weltenwind_core::announcement_store_conformance!(fixture::sqlite_with(ports));
}

mod postgres {
    use super::{fixture, ports};

    weltenwind_core::announcement_store_conformance!(
        fixture::postgres_with(ports),
        ignore = "needs WW_TEST_POSTGRES_URL"
    );
}

/// Two words that are frequent, and never in one announcement: a plan that trusts in their frequency looks at every text.
#[cfg(feature = "bench")]
#[tokio::test]
#[ignore = "needs WW_TEST_POSTGRES_URL"]
async fn a_search_on_postgres_reads_what_it_finds_and_not_the_list() {
    use std::time::Duration;

    use sqlx::{Connection as _, PgConnection, query, query_as};
    use weltenwind_core::{
        AnnouncementId, Limit, Scope, Timestamp,
        announcements::{
            AnnouncementQuery, AnnouncementSort, AnnouncementState, AnnouncementText, Audience, NewAnnouncement,
            Readers, Title,
        },
    };

    let fixture = fixture::postgres().await;
    let mut other = PgConnection::connect(&fixture.config.url).await.expect("the database");
    let at = |n: u32| Timestamp::from_second(1_767_225_600 + i64::from(n)).expect("the year 2026 is in range");
    let news: Vec<NewAnnouncement> = (0..4000)
        .map(|n| NewAnnouncement {
            id: AnnouncementId::new(uuid::Uuid::from_u128(u128::from(n) + 1)),
            audience: Audience::of(Scope::Global),
            title: Title::new(if n % 2 == 0 { "Lighthouse" } else { "Harbour" }).expect("a title"),
            body: AnnouncementText::new("It is open.").expect("a text"),
            dedupe_key: None,
            publish_at: at(n),
            expires_at: None,
        })
        .collect();
    let bulk = weltenwind_storage::bench::open(&fixture.config).await.expect("the database");
    bulk.announce(&news).await.expect("new announcements");
    bulk.settle().await.expect("the tables are there");
    let search = |text: &str| AnnouncementQuery {
        scope: Scope::Global,
        readers: Readers::Staff,
        state: AnnouncementState::Published,
        at: at(5000),
        text: Some(text.to_owned()),
        sort: AnnouncementSort::NewestFirst,
        after: None,
        limit: Limit::default(),
    };

    // Often enough for a plan that suits any words.
    for _ in 0..8 {
        let found = fixture.stores.announcements.page(&search("lighthouse open")).await.expect("the store works");
        assert_eq!(found.items.len(), Limit::default().get());
        let found = fixture.stores.announcements.page(&search("lighthouse harbour")).await.expect("the store works");
        assert_eq!(found.items, []);
    }

    // Postgres tells what a connection has read at the latest when it ends.
    fixture.stores.health.close().await;
    bulk.close().await;
    let (found, walked) = loop {
        query("SELECT pg_stat_clear_snapshot()").execute(&mut other).await.expect("the database");
        let (found, walked): (i64, i64) = query_as(
            "SELECT (SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = 'announcements_by_words'),
                (SELECT idx_tup_read FROM pg_stat_user_indexes WHERE indexrelname = 'announcements_by_time')
                    + (SELECT seq_tup_read FROM pg_stat_user_tables WHERE relname = 'announcements')",
        )
        .fetch_one(&mut other)
        .await
        .expect("the database counts");
        if found >= 16 {
            break (found, walked);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert!(walked == 0, "{walked} announcements were looked at beside {found} searches of the index");
}
