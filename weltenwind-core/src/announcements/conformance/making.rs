use std::sync::Arc;

use tokio::task::JoinSet;

use super::{Ports, at, id, new, step, step_with_key, under, world};
use crate::{
    access::Role,
    announcements::{Announcement, Audience, NewAnnouncement, Published},
    page::Revision,
};

/// Every member of it, to the microsecond.
pub async fn an_announcement_reads_back_as_it_was_made(ports: &Ports) {
    let audience = Audience::role(Role::WorldModerator, world(7)).expect("a role of a world");
    let new = NewAnnouncement { audience, expires_at: Some(at(900)), ..under(60, "season-7") };

    let made = ports.announcements.publish(&step(5), &new).await.expect("the store works");

    assert!(made.is_new);
    let expected = Announcement {
        id: new.id,
        number: made.announcement.number,
        audience,
        title: new.title,
        body: new.body,
        dedupe_key: new.dedupe_key,
        publish_at: at(60),
        expires_at: Some(at(900)),
        revision: Revision::FIRST,
        created_at: at(5),
        updated_at: at(5),
        dispatched_at: None,
        withdrawn_at: None,
    };
    assert_eq!(made.announcement, expected);
    assert_eq!(ports.find(60).await, Some(expected));
}

/// Whenever they are published.
pub async fn numbers_grow_in_the_order_of_making(ports: &Ports) {
    let (late, early) = (ports.make(&new(90)).await, ports.make(&new(1)).await);

    assert!(late.number < early.number, "{late:?} {early:?}");
}

/// By nothing.
pub async fn an_announcement_that_does_not_exist_is_told(ports: &Ports) {
    assert_eq!(ports.find(1).await, None);
}

/// However it is worded, and also when it was withdrawn: who repeats must not tell twice.
pub async fn a_repeated_dedupe_key_answers_the_first_announcement(ports: &Ports) {
    let first = ports.make(&under(1, "gates")).await;

    let again = ports.announcements.publish(&step(9), &under(2, "gates")).await.expect("the store works");
    assert!(!again.is_new);
    assert_eq!(again.announcement, first);
    assert_eq!(ports.find(2).await, None);

    let gone = ports.change(10, &super::withdrawal(1)).await.expect("it exists");
    let again = ports.announcements.publish(&step(11), &under(3, "gates")).await.expect("the store works");
    assert_eq!((again.is_new, again.announcement), (false, gone));
}

/// Two worlds that begin a season on one day do not know of each other.
pub async fn a_dedupe_key_is_a_scopes_own(ports: &Ports) {
    let to = |n, scope| NewAnnouncement { audience: Audience::of(scope), ..under(n, "season-7") };
    for new in [under(1, "season-7"), to(2, world(1)), to(3, world(2)), new(4), new(5)] {
        let made = ports.announcements.publish(&step(0), &new).await.expect("the store works");
        assert!(made.is_new, "{new:?}");
    }
    let moderators = Audience::role(Role::WorldModerator, world(1)).expect("a role of a world");
    let again = NewAnnouncement { audience: moderators, ..under(6, "season-7") };
    assert!(!ports.announcements.publish(&step(0), &again).await.expect("the store works").is_new);
}

async fn all_at_once(ports: &Ports, news: impl Iterator<Item = NewAnnouncement>) -> Vec<Published> {
    let mut tasks = JoinSet::new();
    for new in news {
        let store = Arc::clone(&ports.announcements);
        tasks.spawn(async move { store.publish(&step(0), &new).await.expect("the store works") });
    }
    tasks.join_all().await
}

/// And the other one is answered it.
pub async fn one_dedupe_key_at_once_makes_one_announcement(ports: &Ports) {
    let made = all_at_once(ports, (1..=8).map(|n| under(n, "gates"))).await;

    assert_eq!(made.iter().filter(|made| made.is_new).count(), 1);
    assert!(made.iter().all(|other| other.announcement == made[0].announcement));
}

/// No number is given twice.
pub async fn announcements_at_once_are_all_made_under_numbers_of_their_own(ports: &Ports) {
    let made = all_at_once(ports, (1..=8).map(new)).await;

    let mut numbers: Vec<_> = made.iter().map(|made| made.announcement.number).collect();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), 8);
}

/// A retry after a lost reply.
pub async fn a_repeated_effect_key_makes_one_announcement(ports: &Ports) {
    let first = ports.announcements.publish(&step_with_key(0, 7), &new(1)).await.expect("the store works");

    let again = ports.announcements.publish(&step_with_key(9, 7), &new(2)).await.expect("the store works");

    assert_eq!(again, first);
    assert_eq!(ports.find(2).await, None);
    // A dedupe key that changes nothing leaves the effect key to the repeat, which then hears the same.
    ports.make(&under(3, "gates")).await;
    for _ in 0..2 {
        let known = ports.announcements.publish(&step_with_key(9, 8), &under(4, "gates")).await;
        let known = known.expect("the store works");
        assert_eq!((known.is_new, known.announcement.id.uuid()), (false, id(3)));
    }
}

/// From two nodes.
pub async fn one_effect_key_at_once_makes_one_announcement(ports: &Ports) {
    let (step, one, other) = (step_with_key(0, 7), new(1), new(2));

    let (one, other) =
        tokio::join!(ports.announcements.publish(&step, &one), ports.announcements.publish(&step, &other));

    assert_eq!(one.expect("the store works"), other.expect("the store works"));
    assert_eq!(ports.listed(&super::everything()).await.len(), 1);
}
