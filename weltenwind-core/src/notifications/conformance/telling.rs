use super::{Ports, account, announcement, at, feed, news, notification_id, step, unread, world};
use crate::{
    accounts::Topic,
    announcements::{Audience, NewAnnouncement},
    notifications::{NewNotification, Notification, NotificationQuery, Told},
    page::Limit,
    scope::Scope,
};

/// Newest first, and to nobody else.
pub async fn a_notification_reads_back_as_it_was_told(ports: &Ports) {
    ports.guest(1).await;
    ports.guest(2).await;
    let new = NewNotification { expires_at: Some(at(7200)), ..news(1, 11) };

    assert_eq!(ports.tell(&[new.clone(), news(1, 12), news(2, 13)]).await, [Told::New; 3]);

    assert_eq!(ports.shown(&feed(1)).await, [12, 11]);
    assert_eq!(ports.shown(&feed(2)).await, [13]);
    let page = ports.notifications.page(&feed(1)).await.expect("the store works");
    let expected = Notification {
        id: new.id,
        topic: new.topic,
        title: new.title,
        body: new.body,
        created_at: at(11),
        expires_at: Some(at(7200)),
        dispatched_at: None,
        read_at: None,
    };
    assert_eq!((page.items[1].clone(), page.next), (expected, None));
}

/// Whatever it is called; another account is told all the same.
pub async fn an_account_is_told_once_under_one_key(ports: &Ports) {
    ports.guest(1).await;
    ports.guest(2).await;
    let same = |a, n| NewNotification { dedupe_key: news(1, 11).dedupe_key, ..news(a, n) };
    ports.tell(&[news(1, 11)]).await;
    let before = ports.state(1, at(60)).await;

    assert_eq!(ports.tell(&[same(1, 12), same(2, 13), same(2, 14)]).await, [Told::Known, Told::New, Told::Known]);

    assert_eq!((ports.shown(&feed(1)).await, ports.shown(&feed(2)).await), (vec![11], vec![13]));
    assert_eq!(ports.state(1, at(60)).await, before);
}

/// From two nodes.
pub async fn one_key_at_once_tells_an_account_once(ports: &Ports) {
    ports.guest(1).await;
    let mut tasks = tokio::task::JoinSet::new();
    for n in 11..19 {
        let (store, new) =
            (ports.notifications.clone(), NewNotification { dedupe_key: news(1, 1).dedupe_key, ..news(1, n) });
        tasks.spawn(async move { store.tell(&[new]).await.expect("the store works")[0] });
    }

    let told = tasks.join_all().await;

    assert_eq!(told.iter().filter(|told| **told == Told::New).count(), 1, "{told:?}");
    assert_eq!(ports.shown(&feed(1)).await.len(), 1);
}

/// Nor are the others kept from it.
pub async fn whoever_is_not_there_is_not_told(ports: &Ports) {
    ports.guest(1).await;

    assert_eq!(ports.tell(&[news(7, 11), news(1, 12)]).await, [Told::Nobody, Told::New]);

    assert_eq!(ports.shown(&feed(1)).await, [12]);
}

/// Both that was told and what was announced.
pub async fn a_feed_goes_on_behind_a_position(ports: &Ports) {
    ports.guest(1).await;
    ports.tell(&[news(1, 11), news(1, 13), news(1, 15)]).await;
    for n in [12, 14] {
        ports.announce(n, Audience::of(Scope::Global)).await;
    }
    for limit in 1..=5 {
        let mut query = NotificationQuery { limit: Limit::new(limit).expect("a limit"), ..feed(1) };
        let mut shown = Vec::new();
        loop {
            shown.extend(ports.shown(&query).await);
            query.after = ports.notifications.page(&query).await.expect("the store works").next;
            if query.after.is_none() {
                break;
            }
        }
        assert_eq!(shown, [15, 14, 13, 12, 11], "{limit} at a time");
    }
}

/// Announcements are one, too.
pub async fn a_feed_shows_one_topic_if_asked(ports: &Ports) {
    ports.guest(1).await;
    ports.tell(&[news(1, 11), NewNotification { topic: Topic::Chat, ..news(1, 12) }]).await;
    ports.announce(13, Audience::of(Scope::Global)).await;

    for (topic, expected) in
        [(Topic::Invite, vec![11]), (Topic::Chat, vec![12]), (Topic::Announcement, vec![13]), (Topic::Group, vec![])]
    {
        assert_eq!(ports.shown(&NotificationQuery { topic: Some(topic), ..feed(1) }).await, expected, "{topic:?}");
        assert_eq!(ports.shown(&NotificationQuery { topic: Some(topic), ..unread(1) }).await, expected, "{topic:?}");
    }
}

/// What was told meanwhile comes with it.
pub async fn a_topic_that_is_off_is_hidden_until_it_is_on_again(ports: &Ports) {
    ports.guest(1).await;
    let switch = async |topics: &[(Topic, bool)]| ports.switch(1, topics).await;
    switch(&[(Topic::Invite, false), (Topic::Chat, false)]).await;
    ports.tell(&[news(1, 11), NewNotification { topic: Topic::Group, ..news(1, 12) }]).await;
    ports.announce(13, Audience::of(Scope::Global)).await;

    assert_eq!(ports.shown(&feed(1)).await, [13, 12]);
    let before = ports.state(1, at(60)).await;
    switch(&[(Topic::Announcement, false)]).await;
    assert_eq!(ports.shown(&unread(1)).await, [12]);
    assert_ne!(ports.state(1, at(60)).await, before);
    let counted = ports.notifications.unread(account(1), at(60), at(-60), 100).await.expect("the store works");
    assert_eq!(counted, 1);
    switch(&[(Topic::Announcement, true), (Topic::Invite, true)]).await;
    assert_eq!(ports.shown(&feed(1)).await, [13, 12, 11]);
}

/// Without a step in between.
pub async fn what_has_expired_is_not_shown(ports: &Ports) {
    ports.guest(1).await;
    ports.tell(&[NewNotification { expires_at: Some(at(100)), ..news(1, 11) }]).await;
    let until = NewAnnouncement { expires_at: Some(at(200)), ..announcement(12, Audience::of(Scope::Global)) };
    ports.announcements.publish(&step(0), &until).await.expect("the store works");

    for (seconds, expected) in [(99, vec![12, 11]), (100, vec![12]), (199, vec![12]), (200, vec![])] {
        let query = NotificationQuery { at: at(seconds), ..feed(1) };
        assert_eq!(ports.shown(&query).await, expected, "after {seconds} s");
    }
    assert_ne!(ports.state(1, at(99)).await, ports.state(1, at(100)).await);
    assert_eq!(ports.state(1, at(100)).await, ports.state(1, at(199)).await);
    assert_ne!(ports.state(1, at(199)).await, ports.state(1, at(200)).await);
}

/// From their publication on; those to a world or a role are in none before they are spread.
pub async fn announcements_to_everybody_are_in_every_feed_since_it_was_there(ports: &Ports) {
    let early = NewAnnouncement { publish_at: at(-1), ..announcement(10, Audience::of(Scope::Global)) };
    ports.announcements.publish(&step(-1), &early).await.expect("the store works");
    ports.guest(1).await;
    ports.guest(2).await;
    ports.announce(11, Audience::of(Scope::Global)).await;
    ports.announce(12, Audience::of(world(1))).await;
    ports.announce(60, Audience::of(Scope::Global)).await;

    for a in [1, 2] {
        assert_eq!(ports.shown(&NotificationQuery { at: at(59), ..feed(a) }).await, [11]);
        assert_eq!(ports.shown(&NotificationQuery { at: at(60), ..feed(a) }).await, [60, 11]);
        assert_eq!(ports.shown(&NotificationQuery { since: at(12), ..feed(a) }).await, [60]);
    }
    assert_ne!(ports.state(1, at(59)).await, ports.state(1, at(60)).await);
    let page = ports.notifications.page(&feed(1)).await.expect("the store works");
    assert_eq!((page.items[0].id, page.items[0].topic), (notification_id(60), Topic::Announcement));
    assert_eq!((page.items[0].title.as_str(), page.items[0].created_at), ("Announcement 60", at(60)));
}

/// Whether the account has done something with it or not.
pub async fn an_announcement_that_was_withdrawn_is_in_no_feed(ports: &Ports) {
    ports.guest(1).await;
    for n in 11..=13 {
        ports.announce(n, Audience::of(Scope::Global)).await;
    }
    ports.notifications.mark_read(account(1), notification_id(12), at(20)).await.expect("it is shown");
    let before = ports.state(1, at(60)).await;

    ports.withdraw(11).await;
    ports.withdraw(12).await;

    assert_eq!(ports.shown(&feed(1)).await, [13]);
    assert_ne!(ports.state(1, at(60)).await, before);
}
