use super::{Ports, account, at, feed, news, notification_id, unread, world};
use crate::{
    accounts::Topic,
    announcements::Audience,
    notifications::{FeedMark, NewNotification, NotificationError, NotificationQuery},
    scope::Scope,
};

fn is_not_found(result: &Result<(), NotificationError>) -> bool {
    matches!(result, Err(NotificationError::NotFound))
}

/// Once, and it stays in the feed.
pub async fn a_notification_is_marked_as_read(ports: &Ports) {
    ports.guest(1).await;
    ports.tell(&[news(1, 11), news(1, 12)]).await;
    let before = ports.state(1, at(60)).await;

    ports.notifications.mark_read(account(1), notification_id(11), at(30)).await.expect("it is shown");
    let after = ports.state(1, at(60)).await;
    ports.notifications.mark_read(account(1), notification_id(11), at(40)).await.expect("it is shown");

    assert_eq!((ports.shown(&feed(1)).await, ports.shown(&unread(1)).await), (vec![12, 11], vec![12]));
    let page = ports.notifications.page(&feed(1)).await.expect("the store works");
    assert_eq!(page.items[1].read_at, Some(at(30)));
    assert_ne!(before, after);
    assert_eq!(ports.state(1, at(60)).await, after);
}

/// Reading costs nobody else anything.
pub async fn an_announcement_to_everybody_is_read_by_each_account_for_itself(ports: &Ports) {
    ports.guest(1).await;
    ports.guest(2).await;
    ports.announce(11, Audience::of(Scope::Global)).await;

    ports.notifications.mark_read(account(1), notification_id(11), at(30)).await.expect("it is shown");

    assert_eq!((ports.shown(&feed(1)).await, ports.shown(&unread(1)).await), (vec![11], vec![]));
    assert_eq!((ports.shown(&feed(2)).await, ports.shown(&unread(2)).await), (vec![11], vec![11]));
    let page = ports.notifications.page(&feed(1)).await.expect("the store works");
    assert_eq!((page.items[0].read_at, page.items[0].title.as_str()), (Some(at(30)), "Announcement 11"));
}

/// What is another's, what is to come, what is gone, and what never was.
pub async fn what_is_not_shown_is_neither_read_nor_dismissed(ports: &Ports) {
    ports.guest(1).await;
    ports.guest(2).await;
    ports.tell(&[news(2, 11), NewNotification { expires_at: Some(at(20)), ..news(1, 12) }]).await;
    ports.announce(60, Audience::of(Scope::Global)).await;
    ports.announce(13, Audience::of(world(1))).await;
    ports.announce(14, Audience::of(Scope::Global)).await;
    ports.withdraw(14).await;

    for n in [11, 12, 13, 14, 15, 60] {
        let (account, id) = (account(1), notification_id(n));
        let read = ports.notifications.mark_read(account, id, at(30)).await;
        let dismissed = ports.notifications.dismiss(account, id, at(30)).await;
        assert!(is_not_found(&read) && is_not_found(&dismissed), "{n}: {read:?} {dismissed:?}");
        assert_eq!(ports.dispatch(&[1], n, 30).await, [], "{n}");
    }
    assert_eq!(ports.state(1, at(59)).await.version, 1, "it was told once");
}

/// Whether it was told or announced, and whatever time it bears.
pub async fn what_was_seen_is_read_and_nothing_that_came_later(ports: &Ports) {
    ports.guest(1).await;
    ports.tell(&[news(1, 11), news(1, 12)]).await;
    ports.announce(13, Audience::of(Scope::Global)).await;
    ports.announce(100, Audience::of(Scope::Global)).await;
    let seen = ports.mark(1, at(60)).await;
    // What comes now was not seen, though it says that it is older, or was scheduled before.
    ports.tell(&[news(1, 10)]).await;
    ports.announce(9, Audience::of(Scope::Global)).await;
    // What was handed over meanwhile was seen all the same.
    assert_eq!(ports.dispatch(&[1], 13, 61).await, [account(1)]);

    ports.notifications.mark_all_read(account(1), seen, at(70)).await.expect("the store works");

    assert_eq!(ports.shown(&unread(1)).await, [100, 10, 9]);
    assert_eq!(ports.shown(&feed(1)).await, [100, 13, 12, 11, 10, 9]);
    let all = ports.mark(1, at(200)).await;
    ports.notifications.mark_all_read(account(1), all, at(200)).await.expect("the store works");
    assert_eq!(ports.shown(&unread(1)).await, [] as [u32; 0]);
}

/// Two devices, one of which is behind.
pub async fn an_older_mark_takes_nothing_back(ports: &Ports) {
    ports.guest(1).await;
    ports.announce(11, Audience::of(Scope::Global)).await;
    let old = ports.mark(1, at(20)).await;
    ports.announce(21, Audience::of(Scope::Global)).await;
    let new = ports.mark(1, at(30)).await;

    for mark in [new, old, FeedMark { version: 0, epoch: 0, at: 0 }] {
        ports.notifications.mark_all_read(account(1), mark, at(40)).await.expect("the store works");
    }

    assert_eq!(ports.shown(&unread(1)).await, [] as [u32; 0]);
    ports
        .notifications
        .mark_all_read(account(7), new, at(40))
        .await
        .expect("nobody is there, and nothing is to be done");
}

/// Nor is it told again under its key.
pub async fn what_was_dismissed_does_not_come_back(ports: &Ports) {
    ports.guest(1).await;
    ports.tell(&[news(1, 11), news(1, 12)]).await;
    ports.announce(13, Audience::of(Scope::Global)).await;
    for n in [11, 13] {
        ports.notifications.dismiss(account(1), notification_id(n), at(30)).await.expect("it is shown");
        let again = ports.notifications.dismiss(account(1), notification_id(n), at(31)).await;
        assert!(is_not_found(&again), "{again:?}");
    }

    ports.tell(&[news(1, 11)]).await;

    assert_eq!((ports.shown(&feed(1)).await, ports.shown(&unread(1)).await), (vec![12], vec![12]));
}

/// However many there are.
pub async fn unread_notifications_are_counted_up_to_a_cap(ports: &Ports) {
    ports.guest(1).await;
    let count = async |cap| ports.notifications.unread(account(1), at(3600), at(-60), cap).await.expect("it works");
    assert_eq!(count(10).await, 0);
    ports.tell(&(11..17).map(|n| news(1, n)).collect::<Vec<_>>()).await;
    for n in 21..=26 {
        ports.announce(n, Audience::of(Scope::Global)).await;
    }

    assert_eq!((count(5).await, count(10).await, count(12).await, count(100).await), (5, 10, 12, 12));

    ports.notifications.mark_read(account(1), notification_id(11), at(60)).await.expect("it is shown");
    ports.notifications.mark_read(account(1), notification_id(21), at(60)).await.expect("it is shown");
    assert_eq!(count(100).await, 10);
}

/// Whoever knows it need not read the feed.
pub async fn a_feeds_state_changes_with_what_it_shows_and_only_then(ports: &Ports) {
    ports.guest(1).await;
    ports.guest(2).await;
    let mut state = ports.state(1, at(3600)).await;
    let changed = async |before: &mut crate::notifications::FeedState| {
        let now = ports.state(1, at(3600)).await;
        std::mem::replace(before, now) != now
    };

    assert!(!changed(&mut state).await);
    ports.tell(&[news(2, 10)]).await;
    assert!(!changed(&mut state).await, "another account was told");
    ports.tell(&[news(1, 11)]).await;
    assert!(changed(&mut state).await, "something was told");
    ports.announce(12, Audience::of(Scope::Global)).await;
    assert!(changed(&mut state).await, "something was announced");
    ports.notifications.mark_read(account(1), notification_id(12), at(30)).await.expect("it is shown");
    assert!(changed(&mut state).await, "something was read");
    ports.notifications.dismiss(account(1), notification_id(12), at(30)).await.expect("it is shown");
    assert!(changed(&mut state).await, "something was dismissed");
    assert_eq!(ports.dispatch(&[1], 11, 30).await, [account(1)]);
    assert!(changed(&mut state).await, "something was handed over");
    let mark = ports.mark(1, at(3600)).await;
    ports.notifications.mark_all_read(account(1), mark, at(60)).await.expect("the store works");
    assert!(changed(&mut state).await, "everything was read");
    ports.withdraw(12).await;
    assert!(changed(&mut state).await, "something was withdrawn");
    assert!(!changed(&mut state).await);
}

/// To nobody who has read it already.
pub async fn a_notification_is_handed_over_once(ports: &Ports) {
    ports.guest(1).await;
    ports.guest(2).await;
    ports.tell(&[news(1, 11), news(1, 12)]).await;
    ports.announce(13, Audience::of(Scope::Global)).await;
    ports.notifications.mark_read(account(1), notification_id(12), at(20)).await.expect("it is shown");

    for (a, n, expected) in [(1, 11, true), (1, 12, false), (1, 13, true), (2, 13, true), (2, 11, false)] {
        let may = if expected { vec![account(a)] } else { Vec::new() };
        assert_eq!(ports.dispatch(&[a], n, 30).await, may, "{n} to {a}");
        assert_eq!(ports.dispatch(&[a], n, 30).await, [], "{n} to {a} again");
    }

    assert_eq!(ports.shown(&unread(1)).await, [13, 11]);
    let page = ports.notifications.page(&NotificationQuery { ..feed(1) }).await.expect("the store works");
    let dispatched: Vec<_> = page.items.iter().map(|item| item.dispatched_at).collect();
    assert_eq!(dispatched, [Some(at(30)), None, Some(at(30))]);
}

/// With one question, and to each by what it has made of it. Whoever may not is left as it was.
pub async fn a_notification_is_handed_over_to_all_who_may(ports: &Ports) {
    for n in 1..=8 {
        ports.guest(n).await;
    }
    // The ninth is nobody.
    ports.announce(13, Audience::of(Scope::Global)).await;
    ports.notifications.mark_read(account(2), notification_id(13), at(20)).await.expect("it is shown");
    ports.notifications.dismiss(account(3), notification_id(13), at(20)).await.expect("it is shown");
    let mark = ports.mark(4, at(20)).await;
    ports.notifications.mark_all_read(account(4), mark, at(20)).await.expect("the store works");
    ports.switch(5, &[(Topic::Announcement, false)]).await;
    assert_eq!(ports.dispatch(&[6], 13, 25).await, [account(6)]);
    ports.tell(&[news(7, 11)]).await;
    let mut before = Vec::new();
    for n in 1..=8 {
        before.push(ports.state(n, at(60)).await);
    }

    let mut may = [1, 7, 8].map(account);
    may.sort_unstable();
    assert_eq!(ports.dispatch(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 1], 13, 30).await, may);
    assert_eq!(ports.dispatch(&[], 11, 30).await, []);
    assert_eq!(ports.dispatch(&[8, 7], 11, 30).await, [account(7)], "it was told to one of them");

    for (n, before) in (1..=8).zip(before) {
        let changed = ports.state(n, at(60)).await != before;
        assert_eq!(changed, [1, 7, 8].contains(&n), "the feed of {n}");
    }
    let page = ports.notifications.page(&feed(8)).await.expect("the store works");
    assert_eq!((page.items[0].id, page.items[0].dispatched_at), (notification_id(13), Some(at(30))));
}

/// Two nodes on which the account is connected.
pub async fn of_two_that_hand_a_notification_over_at_once_one_may(ports: &Ports) {
    ports.guest(1).await;
    ports.tell(&[news(1, 11)]).await;
    ports.announce(12, Audience::of(Scope::Global)).await;
    for n in [11, 12] {
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let store = ports.notifications.clone();
            let (accounts, id) = ([account(1), account(2)], notification_id(n));
            tasks.spawn(async move { store.dispatch(&accounts, id, at(30)).await.expect("it works") });
        }
        let may = tasks.join_all().await.concat();
        assert_eq!(may, [account(1)], "{n}");
    }
}
