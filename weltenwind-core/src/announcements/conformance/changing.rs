use super::{Ports, announcement_id, at, everything, is_stale, new, step_with_key, to_title, withdrawal};
use crate::{
    announcements::{
        Announcement, AnnouncementAmendment, AnnouncementChange, AnnouncementError, AnnouncementText, NewAnnouncement,
        Title,
    },
    page::Revision,
};

/// What is absent stays.
pub async fn an_announcement_changes_as_it_is_told(ports: &Ports) {
    let before = ports.make(&new(60)).await;
    let neighbour = ports.make(&new(61)).await;

    let after = ports.change(5, &to_title(60, "The wall")).await.expect("it exists");
    let expected = Announcement {
        title: Title::new("The wall").expect("a title"),
        revision: Revision::new(2),
        updated_at: at(5),
        ..before
    };
    assert_eq!(after, expected);

    let amendment = AnnouncementAmendment {
        title: None,
        body: Some(AnnouncementText::new("It stands.").expect("a text")),
        publish_at: Some(at(100)),
        expires_at: Some(Some(at(200))),
    };
    let all = AnnouncementChange { expected: Some(Revision::new(2)), amendment, ..to_title(60, "unused") };
    let after = ports.change(6, &all).await.expect("the revision is present");
    let expected = Announcement {
        body: AnnouncementText::new("It stands.").expect("a text"),
        publish_at: at(100),
        expires_at: Some(at(200)),
        revision: Revision::new(3),
        updated_at: at(6),
        ..expected
    };
    assert_eq!(after, expected);

    let forever = AnnouncementAmendment { expires_at: Some(None), ..AnnouncementAmendment::default() };
    let forever = AnnouncementChange { amendment: forever, ..to_title(60, "unused") };
    let after = ports.change(7, &forever).await.expect("it exists");
    assert_eq!((after.expires_at, after.publish_at), (None, at(100)));
    assert_eq!(ports.find(60).await, Some(after));
    assert_eq!(ports.find(61).await, Some(neighbour));
}

/// The second of two who edit has not seen what the first did.
pub async fn a_stale_announcement_is_not_changed(ports: &Ports) {
    ports.make(&new(1)).await;
    let seen = |change| AnnouncementChange { expected: Some(Revision::FIRST), ..change };
    let present = ports.change(5, &seen(to_title(1, "The wall"))).await.expect("the revision is present");

    for stale in [seen(to_title(1, "The moat")), seen(withdrawal(1))] {
        let refusal = ports.change(6, &stale).await;
        assert!(is_stale(&refusal, present.revision), "{refusal:?}");
    }
    assert_eq!(ports.find(1).await, Some(present));
}

/// Who was told was told then.
pub async fn what_is_published_is_not_published_at_another_time(ports: &Ports) {
    let before = ports.make(&new(60)).await;
    let later = AnnouncementAmendment { publish_at: Some(at(90)), ..AnnouncementAmendment::default() };
    let later = AnnouncementChange { amendment: later, ..to_title(60, "unused") };

    let refusal = ports.change(60, &later).await;

    assert!(matches!(refusal, Err(AnnouncementError::AlreadyPublished)), "{refusal:?}");
    assert_eq!(ports.find(60).await, Some(before));
    ports.change(60, &to_title(60, "The wall")).await.expect("the rest changes at any time");
    assert_eq!(ports.find(60).await.expect("it exists").publish_at, at(60));
}

/// Whichever of the two times is changed.
pub async fn an_announcement_does_not_expire_before_it_is_published(ports: &Ports) {
    let before = ports.make(&NewAnnouncement { expires_at: Some(at(200)), ..new(100) }).await;
    let earlier = AnnouncementAmendment { expires_at: Some(Some(at(100))), ..AnnouncementAmendment::default() };
    let later = AnnouncementAmendment { publish_at: Some(at(200)), ..AnnouncementAmendment::default() };

    for amendment in [earlier, later] {
        let refusal = ports.change(5, &AnnouncementChange { amendment, ..to_title(100, "unused") }).await;
        let Err(AnnouncementError::Invalid(invalid)) = refusal else { panic!("{refusal:?}") };
        assert_eq!(invalid.errors[0].pointer, "/expiresAt");
    }
    assert_eq!(ports.find(100).await, Some(before));
}

/// Nor is it withdrawn again.
pub async fn an_announcement_that_was_withdrawn_does_not_change(ports: &Ports) {
    ports.make(&new(1)).await;
    let gone = ports.change(5, &withdrawal(1)).await.expect("it exists");
    assert_eq!((gone.withdrawn_at, gone.revision), (Some(at(5)), Revision::new(2)));

    for change in [to_title(1, "The wall"), withdrawal(1), to_title(2, "never was")] {
        let refusal = ports.change(6, &change).await;
        assert!(matches!(refusal, Err(AnnouncementError::NotFound)), "{refusal:?}");
    }
    assert_eq!(ports.find(1).await, Some(gone));
}

/// The one that comes second must read first.
pub async fn two_announcement_changes_of_one_revision_at_once_let_one_pass(ports: &Ports) {
    ports.make(&new(1)).await;
    let to = |title| AnnouncementChange { expected: Some(Revision::FIRST), ..to_title(1, title) };
    let (one, other) = (to("The wall"), to("The moat"));

    let answers = tokio::join!(ports.change(5, &one), ports.change(5, &other));

    let (winner, loser) = if answers.0.is_ok() { answers } else { (answers.1, answers.0) };
    assert!(is_stale(&loser, Revision::new(2)), "{loser:?}");
    assert_eq!(ports.find(1).await, Some(winner.expect("one passes")));
}

/// A retry after a lost reply.
pub async fn a_repeated_effect_key_changes_an_announcement_once(ports: &Ports) {
    ports.make(&new(1)).await;
    let change = |title| to_title(1, title);
    let first = ports.announcements.amend(&step_with_key(5, 7), &change("The wall")).await.expect("it exists");

    let again = ports.announcements.amend(&step_with_key(6, 7), &change("The moat")).await.expect("it was done");

    assert_eq!(again, first);
    assert_eq!(ports.find(1).await, Some(first));
}

/// Step by step, and nothing else.
pub async fn what_was_withdrawn_long_ago_is_deleted(ports: &Ports) {
    for n in 1..=5 {
        ports.make(&new(n)).await;
    }
    for (n, seconds) in [(1, 10), (2, 11), (3, 12), (4, 20)] {
        ports.change(seconds, &withdrawal(n)).await.expect("it exists");
    }
    let purge = async |limit| ports.announcements.purge(at(20), limit).await.expect("the store works");

    assert_eq!((purge(2).await, purge(2).await, purge(2).await), (2, 1, 0));

    for (n, is_there) in [(1, false), (2, false), (3, false), (4, true), (5, true)] {
        assert_eq!(ports.find(n).await.is_some(), is_there, "{n}");
    }
    assert_eq!(ports.listed(&everything()).await, [5]);
    assert_eq!(ports.announcements.find(announcement_id(1)).await.expect("the store works"), None);
}
