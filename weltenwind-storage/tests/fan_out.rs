//! Announcements that reach their audience through a worker: at once, in their time, and over a worker that ends in between.
#![cfg(all(feature = "sqlite", feature = "postgres"))]
#![allow(clippy::unwrap_used, reason = "clippy knows tests, and not the functions that they share")]

mod fixture;

use std::time::Duration;

use weltenwind_core::{
    AccountId, Actor, Clock as _, GrantId, IdGenerator as _, Scope, ServiceConfig, Services, Sources, SystemClock,
    SystemIds, WorldId,
    access::{NewGrant, Role},
    accounts::DeviceDraft,
    announcements::{Announcement, AnnouncementAmendment, AnnouncementDraft, Audience},
    limits::{LimitsConfig, Quota, Unit},
    notifications::{FeedSearch, Notice},
    outbox::WorkerConfig,
    worlds::WorldDraft,
};

use self::fixture::Fixture;

/// Long enough for a machine under load.
const PATIENCE: Duration = Duration::from_mins(1);

mod sqlite {
    use super::fixture;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_members_of_a_world_are_told_by_a_worker() {
        super::the_members_of_a_world_are_told_by_a_worker(&fixture::sqlite().await).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_is_scheduled_is_told_when_its_time_comes() {
        super::what_is_scheduled_is_told_when_its_time_comes(&fixture::sqlite().await).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_worker_that_ends_in_between_loses_nobody() {
        super::a_worker_that_ends_in_between_loses_nobody(&fixture::sqlite().await).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_was_withdrawn_in_time_is_told_to_nobody() {
        super::what_was_withdrawn_in_time_is_told_to_nobody(&fixture::sqlite().await).await;
    }
}

mod postgres {
    use super::fixture;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "needs WW_TEST_POSTGRES_URL"]
    async fn the_members_of_a_world_are_told_by_a_worker() {
        super::the_members_of_a_world_are_told_by_a_worker(&fixture::postgres().await).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "needs WW_TEST_POSTGRES_URL"]
    async fn what_is_scheduled_is_told_when_its_time_comes() {
        super::what_is_scheduled_is_told_when_its_time_comes(&fixture::postgres().await).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "needs WW_TEST_POSTGRES_URL"]
    async fn a_worker_that_ends_in_between_loses_nobody() {
        super::a_worker_that_ends_in_between_loses_nobody(&fixture::postgres().await).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "needs WW_TEST_POSTGRES_URL"]
    async fn what_was_withdrawn_in_time_is_told_to_nobody() {
        super::what_was_withdrawn_in_time_is_told_to_nobody(&fixture::postgres().await).await;
    }
}

struct Town {
    services: Services,
    world: WorldId,
    members: Vec<Actor>,
}

impl Town {
    async fn of(fixture: &Fixture, members: usize) -> Self {
        let limits = LimitsConfig::uniform(Quota::per(1_000_000, Unit::Second));
        let config = ServiceConfig { limits, ..ServiceConfig::default() };
        let services = Services::start(fixture.stores.clone(), config, Sources::default()).await.unwrap();
        let operator = Actor::operator();
        let world = services.worlds.create(&operator, WorldDraft::new("Mistral").unwrap()).await.unwrap().id;
        let mut actors = Vec::new();
        for _ in 0..members {
            let anonymous = Actor::anonymous(operator.correlation_id.clone());
            let session = services.accounts.open_guest(&anonymous, None, DeviceDraft::default()).await.unwrap();
            let actor = services.authenticate(session.access_token.expose(), operator.correlation_id.clone()).await;
            let actor = actor.unwrap();
            let (id, account) = (GrantId::new(SystemIds.draw()), actor.account_id().unwrap());
            let grant = NewGrant {
                id,
                account,
                role: Role::WorldMember,
                scope: Scope::World(world),
                reason: None,
                expires_at: None,
            };
            let audit = weltenwind_core::AuditDraft::new("test.grant", Scope::World(world));
            fixture.stores.grants.grant(&operator.step(SystemClock.now(), audit), &grant).await.unwrap();
            actors.push(actor);
        }
        Self { services, world, members: actors }
    }

    async fn publish(&self, at: Option<weltenwind_core::Timestamp>) -> Announcement {
        let audience = Audience::of(Scope::World(self.world));
        let draft = AnnouncementDraft::new(audience, "The gates are open", "Come in.").unwrap();
        let draft = AnnouncementDraft { publish_at: at, ..draft };
        self.services.announcements.publish(&Actor::operator(), draft).await.unwrap().announcement
    }

    /// How many members see one notification, and how many more than one.
    async fn told(&self) -> (usize, usize) {
        let (mut once, mut more) = (0, 0);
        for member in &self.members {
            match self.services.notifications.feed(member, FeedSearch::default()).await.unwrap().page.items.len() {
                0 => {}
                1 => once += 1,
                _ => more += 1,
            }
        }
        (once, more)
    }

    async fn dispatched(&self, announcement: &Announcement) -> Announcement {
        let until = tokio::time::Instant::now() + PATIENCE;
        loop {
            let found = self.services.announcements.find(&Actor::operator(), announcement.id).await.unwrap();
            if found.dispatched_at.is_some() {
                return found;
            }
            assert!(tokio::time::Instant::now() < until, "nobody tells the audience");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

async fn the_members_of_a_world_are_told_by_a_worker(fixture: &Fixture) {
    let town = Town::of(fixture, 12).await;
    let mut notices = town.services.notifications.notices().subscribe();
    let worker = town.services.worker(WorkerConfig::default()).start();

    let announcement = town.publish(None).await;
    town.dispatched(&announcement).await;

    assert_eq!(town.told().await, (12, 0));
    let notice = tokio::time::timeout(PATIENCE, notices.recv()).await.expect("a notice").expect("a notice");
    let room = Scope::World(town.world).into();
    let expected = Notice { room, notification: weltenwind_core::NotificationId::new(announcement.id.uuid()) };
    assert_eq!(notice, expected);
    let member: AccountId = town.members[0].account_id().unwrap();
    let dispatch = async || town.services.notifications.dispatch(&[member], notice.notification).await.unwrap();
    assert_eq!(dispatch().await, [member]);
    assert_eq!(dispatch().await, [], "once at most");
    worker.drain().await;
}

async fn what_is_scheduled_is_told_when_its_time_comes(fixture: &Fixture) {
    let town = Town::of(fixture, 3).await;
    let worker = town.services.worker(WorkerConfig { poll_ms: 50, ..WorkerConfig::default() }).start();
    let far = SystemClock.now() + Duration::from_hours(1);
    let near = SystemClock.now() + Duration::from_millis(1500);
    let (late, early) = (town.publish(Some(far)).await, town.publish(Some(near)).await);
    // What is put forward is told sooner, and what is put off is not told at its first time.
    let sooner = AnnouncementAmendment { publish_at: Some(near), ..AnnouncementAmendment::default() };
    let later = AnnouncementAmendment { publish_at: Some(far), ..AnnouncementAmendment::default() };
    let operator = Actor::operator();
    town.services.announcements.amend(&operator, late.id, None, sooner).await.unwrap();
    town.services.announcements.amend(&operator, early.id, None, later).await.unwrap();
    assert_eq!(town.told().await, (0, 0));

    let told = town.dispatched(&late).await;

    assert!(told.dispatched_at >= Some(told.publish_at) && SystemClock.now() >= near);
    assert_eq!(town.told().await, (3, 0));
    let put_off = town.services.announcements.find(&operator, early.id).await.unwrap();
    assert_eq!(put_off.dispatched_at, None);
    worker.drain().await;
}

async fn a_worker_that_ends_in_between_loses_nobody(fixture: &Fixture) {
    let town = Town::of(fixture, 40).await;
    let announcement = town.publish(None).await;
    // As somebody who has told a page, and died before the job was done.
    town.services.notifications.spread(announcement.id).await.unwrap();

    let workers: Vec<_> = (0..2).map(|_| town.services.worker(WorkerConfig::default()).start()).collect();
    town.dispatched(&announcement).await;

    assert_eq!(town.told().await, (40, 0));
    for worker in workers {
        worker.drain().await;
    }
}

async fn what_was_withdrawn_in_time_is_told_to_nobody(fixture: &Fixture) {
    let town = Town::of(fixture, 3).await;
    let gone = town.publish(None).await;
    town.services.announcements.withdraw(&Actor::operator(), gone.id, None).await.unwrap();
    let worker = town.services.worker(WorkerConfig::default()).start();
    let other = town.publish(None).await;

    town.dispatched(&other).await;
    worker.drain().await;

    assert_eq!(town.told().await, (3, 0));
    assert_eq!(fixture.count("SELECT count(*) FROM notifications").await, 3);
}
