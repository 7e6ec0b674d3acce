//! An announcement that worker processes tell while they are killed: everybody is told once, and feeds count just that.
//!
//! The processes are this very program, started anew with orders.
#![cfg(all(unix, feature = "sqlite", feature = "postgres"))]
#![allow(clippy::unwrap_used, reason = "clippy knows tests, and not the functions that they share")]

mod fixture;
mod process;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use weltenwind_core::{
    AccountId, Actor, AnnouncementId, NotificationId, RandomSource as _, Scope, ServiceConfig, Services, Sources,
    StorageError, SystemRandom, Timestamp, WorldId,
    announcements::{AnnouncementDraft, Audience},
    notifications::{
        FeedMark, FeedPage, FeedState, NewNotification, NotificationError, NotificationQuery, NotificationStore,
        Spread, Told,
    },
    outbox::WorkerConfig,
    worlds::WorldDraft,
};
use weltenwind_storage::StorageConfig;

use self::{
    fixture::Fixture,
    process::{Process, until},
};

/// Some pages in either database.
const MEMBERS: i64 = 5000;
const MAKE_MEMBERS_SQLITE: &str = "
    WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 5000)
    INSERT INTO accounts (id, kind, display_name, revision, created_at)
    SELECT randomblob(16), 'guest', 'Member', 1, 0 FROM n;
    INSERT INTO grants (id, account_id, role, scope_kind, scope_id, created_at)
    SELECT randomblob(16), accounts.id, 'world_member', 'world', worlds.id, 0 FROM accounts, worlds";
const MAKE_MEMBERS_POSTGRES: &str = "
    INSERT INTO accounts (id, kind, display_name, revision, created_at)
    SELECT gen_random_uuid(), 'guest', 'Member', 1, 'epoch' FROM generate_series(1, 5000);
    INSERT INTO grants (id, account_id, role, scope_kind, scope_id, created_at)
    SELECT gen_random_uuid(), accounts.id, 'world_member', 'world', worlds.id, 'epoch' FROM accounts, worlds";

/// A page's rows are written, and its commit does not come.
const FOREVER_SQLITE: &str = "
    CREATE TRIGGER slow AFTER UPDATE OF told_through ON announcements BEGIN
        SELECT count(*) FROM (WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 100000000)
        SELECT n FROM n); END";
const FOREVER_POSTGRES: &str = "
    CREATE FUNCTION slow() RETURNS trigger AS 'BEGIN PERFORM pg_sleep(60); RETURN NEW; END' LANGUAGE plpgsql;
    CREATE TRIGGER slow AFTER UPDATE OF told_through ON announcements FOR EACH ROW EXECUTE FUNCTION slow()";

/// The same for a moment: whoever is killed is killed in the middle of something.
const SLOW_SQLITE: &str = "
    CREATE TRIGGER slow AFTER UPDATE OF told_through ON announcements BEGIN
        SELECT count(*) FROM (WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 60000)
        SELECT n FROM n); END";
const SLOW_POSTGRES: &str = "
    CREATE FUNCTION slow() RETURNS trigger AS 'BEGIN PERFORM pg_sleep(0.2); RETURN NEW; END' LANGUAGE plpgsql;
    CREATE TRIGGER slow AFTER UPDATE OF told_through ON announcements FOR EACH ROW EXECUTE FUNCTION slow()";

/// Where a process ends itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Seam {
    /// Before its first page.
    BeforeAnyPage,
    /// Behind the commit of its n-th page.
    BehindPage(u32),
    /// When everybody has been told, and the job is not done.
    BehindTheLast,
}

const SEAMS: [Seam; 4] = [Seam::BeforeAnyPage, Seam::BehindPage(1), Seam::BehindPage(2), Seam::BehindTheLast];

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Orders {
    url: String,
    seam: Option<Seam>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child() {
    let Some(Orders { url, seam }) = process::orders() else { return };
    let config = StorageConfig { url, max_connections: 4, ..StorageConfig::default() };
    let mut stores = weltenwind_storage::open(&config).await.unwrap();
    stores.notifications = Arc::new(Seams { store: stores.notifications, seam, pages: AtomicU32::new(0) });
    let services = Services::start(stores, ServiceConfig::default(), Sources::default()).await.unwrap();
    let _worker = services.worker(WorkerConfig { poll_ms: 20, sweep_ms: 50, drain_seconds: 0 }).start();
    std::future::pending::<()>().await;
}

/// A store that ends the process where it was told to.
#[derive(Debug)]
struct Seams {
    store: Arc<dyn NotificationStore>,
    seam: Option<Seam>,
    pages: AtomicU32,
}

impl Seams {
    fn die_at(&self, seam: Seam) {
        if self.seam == Some(seam) {
            std::process::abort();
        }
    }
}

#[async_trait]
impl NotificationStore for Seams {
    async fn spread(&self, announcement: AnnouncementId, at: Timestamp) -> Result<Spread, StorageError> {
        self.die_at(Seam::BeforeAnyPage);
        let spread = self.store.spread(announcement, at).await?;
        match spread {
            Spread::More(_) => self.die_at(Seam::BehindPage(self.pages.fetch_add(1, Ordering::SeqCst) + 1)),
            Spread::Done(_) => self.die_at(Seam::BehindTheLast),
            Spread::Gone | Spread::NotBefore(_) => {}
        }
        Ok(spread)
    }

    async fn state(&self, account: AccountId, at: Timestamp, since: Timestamp) -> Result<FeedState, StorageError> {
        self.store.state(account, at, since).await
    }

    async fn page(&self, query: &NotificationQuery) -> Result<FeedPage, StorageError> {
        self.store.page(query).await
    }

    async fn unread(&self, account: AccountId, at: Timestamp, since: Timestamp, cap: u32) -> Result<u32, StorageError> {
        self.store.unread(account, at, since, cap).await
    }

    async fn tell(&self, news: &[NewNotification]) -> Result<Vec<Told>, StorageError> {
        self.store.tell(news).await
    }

    async fn mark_read(&self, account: AccountId, id: NotificationId, at: Timestamp) -> Result<(), NotificationError> {
        self.store.mark_read(account, id, at).await
    }

    async fn mark_all_read(&self, account: AccountId, mark: FeedMark, at: Timestamp) -> Result<(), StorageError> {
        self.store.mark_all_read(account, mark, at).await
    }

    async fn dismiss(&self, account: AccountId, id: NotificationId, at: Timestamp) -> Result<(), NotificationError> {
        self.store.dismiss(account, id, at).await
    }

    async fn dispatch(
        &self,
        accounts: &[AccountId],
        id: NotificationId,
        at: Timestamp,
    ) -> Result<Vec<AccountId>, StorageError> {
        self.store.dispatch(accounts, id, at).await
    }

    async fn purge(&self, read_before: Timestamp, before: Timestamp, limit: u32) -> Result<u64, StorageError> {
        self.store.purge(read_before, before, limit).await
    }
}

/// A world with some thousand members, and what was announced there.
struct Town {
    fixture: Fixture,
    services: Services,
    world: WorldId,
    announced: i64,
}

impl Town {
    async fn of(fixture: Fixture) -> Self {
        let services = Services::start(fixture.stores.clone(), ServiceConfig::default(), Sources::default());
        let services = services.await.unwrap();
        let world = services.worlds.create(&Actor::operator(), WorldDraft::new("Mistral").unwrap()).await.unwrap().id;
        let is_sqlite = fixture.config.url.starts_with("sqlite");
        fixture.execute(if is_sqlite { MAKE_MEMBERS_SQLITE } else { MAKE_MEMBERS_POSTGRES }).await;
        assert_eq!(fixture.count("SELECT count(*) FROM grants").await, MEMBERS);
        Self { fixture, services, world, announced: 0 }
    }

    fn is_sqlite(&self) -> bool {
        self.fixture.config.url.starts_with("sqlite")
    }

    fn process(&self, seam: Option<Seam>) -> Process {
        Process::start(&Orders { url: self.fixture.config.url.clone(), seam })
    }

    async fn announce(&mut self) {
        let audience = Audience::of(Scope::World(self.world));
        let draft = AnnouncementDraft::new(audience, "The gates are open", "Come in.").unwrap();
        self.services.announcements.publish(&Actor::operator(), draft).await.unwrap();
        self.announced += 1;
    }

    /// Nobody waits for half a minute: the leases of whoever was killed end now. Those of others do, too, and two tell at once.
    /// Answers how many there were.
    async fn leases_end(&self) -> u64 {
        self.fixture.execute("UPDATE outbox_jobs SET lease_until = created_at WHERE worker IS NOT NULL").await
    }

    async fn all_told(&self) {
        until("jobs are left", async || self.fixture.count("SELECT count(*) FROM outbox_jobs").await == 0).await;

        let counted = [
            ("dead jobs", "SELECT count(*) FROM outbox_dead", 0),
            ("announcements", "SELECT count(*) FROM announcements WHERE dispatched_at IS NOT NULL", self.announced),
            ("notifications", "SELECT count(*) FROM notifications", self.announced * MEMBERS),
            // Of one announcement an account has one row at most, so whoever has as many as there are has each.
            (
                "accounts that were told everything",
                "SELECT count(*) FROM (SELECT account_id FROM notifications GROUP BY account_id
                HAVING count(*) = (SELECT count(*) FROM announcements)) AS told",
                MEMBERS,
            ),
            (
                "feeds that have counted just that",
                "SELECT count(*) FROM feeds WHERE version = (SELECT count(*) FROM announcements)",
                MEMBERS,
            ),
            (
                "feeds in which every version brought something",
                "SELECT count(*) FROM (SELECT account_id FROM notifications GROUP BY account_id
                HAVING count(DISTINCT arrival) = count(*) AND min(arrival) = 1 AND max(arrival) = count(*)) AS counted",
                MEMBERS,
            ),
        ];
        for (what, query, expected) in counted {
            assert_eq!(self.fixture.count(query).await, expected, "{what}");
        }
    }
}

/// Wherever whoever tells an audience ends, the next one goes on.
async fn a_worker_that_ends_at_any_seam_leaves_nobody_out(mut town: Town) {
    for seam in SEAMS {
        town.announce().await;
        town.process(Some(seam)).ended().await;
        town.leases_end().await;
        let survivor = town.process(None);
        town.all_told().await;
        drop(survivor);
    }
}

/// The page's rows are written, and the commit has not come.
async fn a_worker_that_is_killed_in_the_middle_of_a_page_has_told_nobody(mut town: Town) {
    town.fixture.execute(if town.is_sqlite() { FOREVER_SQLITE } else { FOREVER_POSTGRES }).await;
    town.announce().await;
    let killed = town.process(None);
    let leased = "SELECT count(*) FROM outbox_jobs WHERE worker IS NOT NULL";
    until("somebody has the job", async || town.fixture.count(leased).await == 1).await;
    tokio::time::sleep(Duration::from_millis(700)).await;

    killed.signal("-KILL");
    drop(killed);
    if !town.is_sqlite() {
        // The server notices only when it has something to say.
        let ended = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
            WHERE datname = current_database() AND wait_event = 'PgSleep'";
        assert_eq!(town.fixture.count(ended).await, 1, "its page was under way");
    }
    assert_eq!(town.fixture.count("SELECT count(*) FROM notifications").await, 0);
    assert_eq!(town.fixture.count("SELECT count(*) FROM feeds").await, 0);
    until("the row is free", async || {
        let undo = if town.is_sqlite() { "DROP TRIGGER slow" } else { "DROP TRIGGER slow ON announcements" };
        tokio::time::timeout(Duration::from_secs(5), town.fixture.execute(undo)).await.is_ok()
    })
    .await;
    town.leases_end().await;
    let survivor = town.process(None);
    town.all_told().await;
    drop(survivor);
}

/// Three workers, of which one is killed every few hundred milliseconds while more and more is announced.
async fn whoever_is_killed_and_when_everybody_is_told_once(mut town: Town) {
    const WORKERS: usize = 3;
    const KILLS: u32 = 24;
    let mut interrupted = 0;
    town.fixture.execute(if town.is_sqlite() { SLOW_SQLITE } else { SLOW_POSTGRES }).await;
    let mut workers: Vec<_> = (0..WORKERS).map(|_| town.process(None)).collect();

    for n in 0..KILLS {
        if n % 2 == 0 {
            town.announce().await;
        }
        let mut draw = [0; 2];
        SystemRandom.fill(&mut draw);
        tokio::time::sleep(Duration::from_millis(100 + 2 * u64::from(draw[0]))).await;
        let killed = usize::from(draw[1]) % WORKERS;
        workers[killed].signal("-KILL");
        workers[killed] = town.process(None);
        interrupted += town.leases_end().await;
    }
    town.all_told().await;
    drop(workers);
    assert!(interrupted > 0, "nobody was killed at work");
}

mod sqlite {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_worker_that_ends_at_any_seam_leaves_nobody_out() {
        super::a_worker_that_ends_at_any_seam_leaves_nobody_out(Town::of(fixture::sqlite().await).await).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_worker_that_is_killed_in_the_middle_of_a_page_has_told_nobody() {
        let town = Town::of(fixture::sqlite().await).await;
        super::a_worker_that_is_killed_in_the_middle_of_a_page_has_told_nobody(town).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn whoever_is_killed_and_when_everybody_is_told_once() {
        super::whoever_is_killed_and_when_everybody_is_told_once(Town::of(fixture::sqlite().await).await).await;
    }
}

mod postgres {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "needs WW_TEST_POSTGRES_URL"]
    async fn a_worker_that_ends_at_any_seam_leaves_nobody_out() {
        super::a_worker_that_ends_at_any_seam_leaves_nobody_out(Town::of(fixture::postgres().await).await).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "needs WW_TEST_POSTGRES_URL"]
    async fn a_worker_that_is_killed_in_the_middle_of_a_page_has_told_nobody() {
        let town = Town::of(fixture::postgres().await).await;
        super::a_worker_that_is_killed_in_the_middle_of_a_page_has_told_nobody(town).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "needs WW_TEST_POSTGRES_URL"]
    async fn whoever_is_killed_and_when_everybody_is_told_once() {
        super::whoever_is_killed_and_when_everybody_is_told_once(Town::of(fixture::postgres().await).await).await;
    }
}
