use super::{Ports, account, at, feed, id, news, notification_id, step, unread, world};
use crate::{
    access::Role,
    announcements::Audience,
    ids::AnnouncementId,
    notifications::{NotificationQuery, Spread},
    page::Limit,
    scope::Scope,
};

impl Ports {
    async fn spread_page(&self, n: u32, seconds: i64) -> Spread {
        self.notifications.spread(AnnouncementId::new(id(n)), at(seconds)).await.expect("the store works")
    }

    /// Spreads announcement `n` to its end, and answers to how many.
    async fn spread(&self, n: u32, seconds: i64) -> u64 {
        let mut told = 0;
        loop {
            match self.spread_page(n, seconds).await {
                Spread::More(page) => told += page,
                Spread::Done(page) => return told + page,
                other => panic!("it should be spread: {other:?}"),
            }
        }
    }

    async fn is_dispatched(&self, n: u32) -> bool {
        let found = self.announcements.find(AnnouncementId::new(id(n))).await.expect("the store works");
        found.is_some_and(|found| found.dispatched_at.is_some())
    }
}

/// By whatever role they are members, and nobody else.
pub async fn the_members_of_a_world_are_told(ports: &Ports) {
    for a in 1..=4 {
        ports.guest(a).await;
    }
    ports.join(1, 1, Role::WorldMember, world(1), 0).await;
    ports.join(1, 2, Role::WorldModerator, world(1), 0).await;
    ports.join(2, 3, Role::WorldOwner, world(1), 0).await;
    ports.join(3, 4, Role::WorldMember, world(2), 0).await;
    ports.announce(11, Audience::of(world(1))).await;
    let before = (ports.state(1, at(60)).await, ports.state(3, at(60)).await);

    assert_eq!(ports.spread(11, 20).await, 2);

    for (a, expected) in [(1, vec![11]), (2, vec![11]), (3, vec![]), (4, vec![])] {
        assert_eq!(ports.shown(&unread(a)).await, expected, "account {a}");
    }
    let page = ports.notifications.page(&feed(1)).await.expect("the store works");
    let shown = &page.items[0];
    assert_eq!((shown.title.as_str(), shown.created_at, shown.id), ("Announcement 11", at(11), notification_id(11)));
    assert!(ports.is_dispatched(11).await);
    assert_ne!(ports.state(1, at(60)).await, before.0);
    assert_eq!(ports.state(3, at(60)).await, before.1);
    assert_eq!(ports.spread(11, 30).await, 0, "everybody is told once");
}

/// In the scope of the role alone.
pub async fn those_who_hold_a_role_are_told(ports: &Ports) {
    for a in 1..=4 {
        ports.guest(a).await;
    }
    ports.join(1, 1, Role::Moderator, Scope::Global, 0).await;
    ports.join(2, 2, Role::Support, Scope::Global, 0).await;
    ports.join(3, 3, Role::WorldModerator, world(1), 0).await;
    ports.join(4, 4, Role::WorldMember, world(1), 0).await;
    ports.announce(11, Audience::role(Role::Moderator, Scope::Global).expect("a global role")).await;
    ports.announce(12, Audience::role(Role::WorldModerator, world(1)).expect("a role of a world")).await;

    assert_eq!((ports.spread(11, 20).await, ports.spread(12, 20).await), (1, 1));

    for (a, expected) in [(1, vec![11]), (2, vec![]), (3, vec![12]), (4, vec![])] {
        assert_eq!(ports.shown(&feed(a)).await, expected, "account {a}");
    }
}

/// Nor whoever has left before they were told.
pub async fn whoever_joins_after_the_publication_is_not_told(ports: &Ports) {
    for a in 1..=3 {
        ports.guest(a).await;
    }
    ports.join(1, 1, Role::WorldMember, world(1), 11).await;
    ports.join(2, 2, Role::WorldMember, world(1), 12).await;
    ports.join(3, 3, Role::WorldMember, world(1), 0).await;
    ports.announce(11, Audience::of(world(1))).await;
    ports.grants.revoke_all(&step(15), account(3), world(1)).await.expect("it is a member");

    assert_eq!(ports.spread(11, 20).await, 1);

    assert_eq!((ports.shown(&feed(1)).await, ports.shown(&feed(2)).await), (vec![11], vec![]));
}

/// And an interruption after any page loses nobody.
pub async fn a_large_audience_is_told_page_by_page(ports: &Ports) {
    const MEMBERS: u32 = 600;
    for a in 1..=MEMBERS {
        ports.guest(a).await;
        ports.join(a, a, Role::WorldMember, world(1), 0).await;
    }
    ports.announce(2011, Audience::of(world(1))).await;

    let mut told = 0;
    let mut pages = 0;
    loop {
        let is_dispatched = ports.is_dispatched(2011).await;
        match ports.spread_page(2011, 3000).await {
            Spread::More(page) => (told, pages) = (told + page, pages + 1),
            end => {
                assert_eq!((end, is_dispatched), (Spread::Done(0), false));
                break;
            }
        }
    }

    assert_eq!(told, u64::from(MEMBERS));
    assert!(pages >= 1 && ports.is_dispatched(2011).await);
    for a in [1, 250, 251, MEMBERS] {
        assert_eq!(ports.shown(&feed(a)).await, [2011], "account {a}");
    }
}

/// Two workers that were given the same thing to do.
pub async fn pages_at_once_tell_everybody_once(ports: &Ports) {
    for a in 1..=20 {
        ports.guest(a).await;
        ports.join(a, a, Role::WorldMember, world(1), 0).await;
    }
    ports.announce(21, Audience::of(world(1))).await;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let ports = ports.clone();
        tasks.spawn(async move { ports.spread(21, 30).await });
    }

    let told: u64 = tasks.join_all().await.into_iter().sum();

    assert_eq!(told, 20);
    for a in 1..=20 {
        assert_eq!(ports.shown(&feed(a)).await, [21], "account {a}");
        assert_eq!(ports.state(a, at(60)).await.version, 1, "account {a} was told once");
    }
}

/// Also when it goes between two pages.
pub async fn an_announcement_is_spread_in_its_time_and_not_when_it_is_gone(ports: &Ports) {
    ports.guest(1).await;
    ports.join(1, 1, Role::WorldMember, world(1), 0).await;
    for n in [60, 61] {
        ports.announce(n, Audience::of(world(1))).await;
    }
    ports.withdraw(61).await;

    assert_eq!(ports.spread_page(60, 59).await, Spread::NotBefore(at(60)));
    assert_eq!(ports.spread_page(61, 70).await, Spread::Gone);
    assert_eq!(ports.spread_page(62, 70).await, Spread::Gone);
    assert_eq!(ports.shown(&feed(1)).await, [] as [u32; 0]);
    assert_eq!(ports.spread(60, 60).await, 1);
    ports.withdraw(60).await;
    assert_eq!(ports.shown(&feed(1)).await, [] as [u32; 0]);
}

/// It is merged when a feed is read.
pub async fn an_announcement_to_everybody_is_dispatched_without_a_row(ports: &Ports) {
    ports.guest(1).await;
    ports.announce(11, Audience::of(Scope::Global)).await;
    let before = ports.state(1, at(60)).await;

    assert_eq!(ports.spread_page(11, 20).await, Spread::Done(0));

    assert!(ports.is_dispatched(11).await);
    let after = ports.state(1, at(60)).await;
    assert_eq!((after.version, after == before), (before.version, false), "the feed shows when it was dispatched");
    assert_eq!(ports.shown(&unread(1)).await, [11]);
}

/// What was read before what was not, step by step.
pub async fn what_was_kept_long_enough_is_deleted(ports: &Ports) {
    ports.guest(1).await;
    ports.tell(&(11..=18).map(|n| news(1, n)).collect::<Vec<_>>()).await;
    for n in [12, 14, 16] {
        ports.notifications.mark_read(account(1), notification_id(n), at(30)).await.expect("it is shown");
    }
    let purge = async |limit| ports.notifications.purge(at(16), at(13), limit).await.expect("the store works");
    let before = ports.state(1, at(60)).await;

    assert_eq!((purge(2).await, purge(2).await, purge(2).await), (2, 1, 0));

    assert_eq!(ports.shown(&feed(1)).await, [18, 17, 16, 15, 13]);
    assert_ne!(ports.state(1, at(60)).await, before);
    let query = NotificationQuery { limit: Limit::MAX, ..unread(1) };
    assert_eq!(ports.shown(&query).await, [18, 17, 15, 13]);
}
