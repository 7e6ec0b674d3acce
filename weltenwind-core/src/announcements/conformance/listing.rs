use super::{Ports, announcement_id, at, everything, new, saying, search, to_title, withdrawal, world};
use crate::{
    access::Role,
    announcements::{AnnouncementQuery, AnnouncementSort, AnnouncementState, Audience, NewAnnouncement, Readers},
    page::Limit,
    scope::Scope,
};

/// By the time of publication, not of making.
pub async fn announcements_are_listed_newest_first(ports: &Ports) {
    for n in [2, 3, 1] {
        ports.make(&new(n)).await;
    }

    let page = ports.page(&everything()).await;

    assert_eq!(super::numbers(&page), [3, 2, 1]);
    assert_eq!((page.next, page.items[0].clone()), (None, ports.find(3).await.expect("it exists")));
}

/// Or the other way round.
pub async fn announcements_are_listed_oldest_first(ports: &Ports) {
    for n in [2, 3, 1] {
        ports.make(&new(n)).await;
    }

    let listed = ports.listed(&AnnouncementQuery { sort: AnnouncementSort::OldestFirst, ..everything() }).await;

    assert_eq!(listed, [1, 2, 3]);
}

/// Also when something was added meanwhile.
pub async fn a_list_of_announcements_goes_on_behind_a_position(ports: &Ports) {
    for n in [1, 2, 4, 5] {
        ports.make(&new(n)).await;
    }
    for (sort, first, rest) in
        [(AnnouncementSort::NewestFirst, [5, 4], vec![3, 2, 1]), (AnnouncementSort::OldestFirst, [1, 2], vec![3, 4, 5])]
    {
        let limit = Limit::new(2).expect("a limit");
        let page = ports.page(&AnnouncementQuery { sort, limit, ..everything() }).await;
        assert_eq!(super::numbers(&page), first);
        if ports.find(3).await.is_none() {
            ports.make(&new(3)).await;
        }

        let listed = ports.listed(&AnnouncementQuery { sort, after: page.next, ..everything() }).await;

        assert_eq!(listed, rest);
    }
}

/// One by one, without one twice.
pub async fn announcements_published_at_one_instant_are_all_listed(ports: &Ports) {
    for n in 1..=5 {
        ports.make(&NewAnnouncement { publish_at: at(1), ..new(n) }).await;
    }
    let mut query = AnnouncementQuery { limit: Limit::new(1).expect("a limit"), ..everything() };
    let mut listed = Vec::new();

    loop {
        let page = ports.page(&query).await;
        listed.extend(super::numbers(&page));
        query.after = page.next;
        if query.after.is_none() {
            break;
        }
    }

    assert_eq!(listed, [5, 4, 3, 2, 1]);
}

/// A world's news are no other world's.
pub async fn an_announcement_is_listed_where_it_belongs(ports: &Ports) {
    let to = |n, scope| NewAnnouncement { audience: Audience::of(scope), ..new(n) };
    for new in [new(1), to(2, world(1)), to(3, world(2))] {
        ports.make(&new).await;
    }

    for (scope, expected) in [(Scope::Global, vec![1]), (world(1), vec![2]), (world(2), vec![3]), (world(3), vec![])] {
        assert_eq!(ports.listed(&AnnouncementQuery { scope, ..everything() }).await, expected, "{scope}");
    }
}

/// And for staff.
pub async fn an_announcement_for_a_role_is_listed_for_those_who_hold_it(ports: &Ports) {
    let to = |n, role| {
        let audience = Audience::role(role, world(1)).expect("a role of a world");
        NewAnnouncement { audience, ..new(n) }
    };
    let everybody = NewAnnouncement { audience: Audience::of(world(1)), ..new(1) };
    for new in [everybody, to(2, Role::WorldModerator), to(3, Role::WorldMember)] {
        ports.make(&new).await;
    }

    for (readers, expected) in [
        (Readers::Holding(vec![]), vec![1]),
        (Readers::Holding(vec![Role::WorldMember]), vec![3, 1]),
        (Readers::Holding(vec![Role::WorldModerator, Role::WorldMember]), vec![3, 2, 1]),
        (Readers::Holding(vec![Role::WorldGuest, Role::Moderator]), vec![1]),
        (Readers::Staff, vec![3, 2, 1]),
    ] {
        let query = AnnouncementQuery { scope: world(1), readers: readers.clone(), ..everything() };
        assert_eq!(ports.listed(&query).await, expected, "{readers:?}");
    }
}

/// From the instant of its publication to that of its end, and without a step in between.
pub async fn an_announcement_is_listed_in_its_time(ports: &Ports) {
    ports.make(&NewAnnouncement { expires_at: Some(at(200)), ..new(100) }).await;

    for (seconds, state) in [
        (99, AnnouncementState::Scheduled),
        (100, AnnouncementState::Published),
        (199, AnnouncementState::Published),
        (200, AnnouncementState::Expired),
    ] {
        for asked in [AnnouncementState::Scheduled, AnnouncementState::Published, AnnouncementState::Expired] {
            let query = AnnouncementQuery { at: at(seconds), state: asked, ..everything() };
            let expected: &[u32] = if asked == state { &[100] } else { &[] };
            assert_eq!(ports.listed(&query).await, expected, "{asked:?} after {seconds} s");
        }
    }
}

/// Nor found by its words.
pub async fn an_announcement_that_was_withdrawn_is_not_listed(ports: &Ports) {
    for n in 1..=2 {
        ports.make(&new(n)).await;
    }

    ports.change(5, &withdrawal(1)).await.expect("it exists");

    assert_eq!(ports.listed(&everything()).await, [2]);
    assert_eq!(ports.listed(&search("gates")).await, [2]);
}

/// In title or body, in any order and case.
pub async fn a_search_finds_what_has_all_of_its_words(ports: &Ports) {
    for new in [
        saying(1, "Sturmflut am Hafen", "Die Tore bleiben geschlossen."),
        saying(2, "Harbour festival", "Music, lanterns and the Sturmflut quartet."),
        saying(3, "Patch 1.7", "Fixes a crash in the harbour."),
    ] {
        ports.make(&new).await;
    }

    for (text, expected) in [
        ("sturmflut", vec![2, 1]),
        ("STURMFLUT hafen", vec![1]),
        ("harbour", vec![3, 2]),
        ("harbour lanterns", vec![2]),
        ("lanterns Harbour", vec![2]),
        ("Tore", vec![1]),
        ("1.7", vec![3]),
        ("nothing of the kind", vec![]),
    ] {
        assert_eq!(ports.listed(&search(text)).await, expected, "{text}");
    }
    let elsewhere = AnnouncementQuery { scope: world(1), ..search("sturmflut") };
    assert_eq!(ports.listed(&elsewhere).await, [] as [u32; 0]);
    let later = AnnouncementQuery { state: AnnouncementState::Scheduled, at: at(0), ..search("harbour") };
    assert_eq!(ports.listed(&later).await, [3, 2]);
}

/// And not what it said before.
pub async fn a_search_finds_what_an_announcement_says_now(ports: &Ports) {
    ports.make(&saying(1, "Lanterns", "Tonight.")).await;

    ports.change(5, &to_title(1, "Fireworks")).await.expect("it exists");

    assert_eq!(ports.listed(&search("fireworks")).await, [1]);
    assert_eq!(ports.listed(&search("lanterns")).await, [] as [u32; 0]);
    assert_eq!(ports.page(&search("tonight")).await.items[0].id, announcement_id(1));
}

/// Signs are no words.
pub async fn a_search_without_words_finds_nothing(ports: &Ports) {
    ports.make(&new(1)).await;

    for text in ["", " ", "!?", "\"", "-", "*", "💨"] {
        assert_eq!(ports.listed(&search(text)).await, [] as [u32; 0], "{text:?}");
    }
}

/// No sign is a command.
pub async fn a_search_takes_every_character_as_a_character(ports: &Ports) {
    ports.make(&saying(1, "Storm and flood", "Stay in.")).await;
    ports.make(&saying(2, "Storm", "Stay in.")).await;

    for text in ["storm -flood", "\"storm flood", "storm & flood", "(storm flood)", "storm:flood*", "'storm' 'flood'"] {
        assert_eq!(ports.listed(&search(text)).await, [1], "{text}");
    }
    for text in ["title:storm", "storm OR nothing", "storm | nothing", "NEAR(storm, 2)"] {
        let found = ports.listed(&search(text)).await;
        assert!(found.is_empty(), "{text}: {found:?}");
    }
    let found = ports.listed(&search("storm NOT flood")).await;
    assert!(!found.contains(&2), "{found:?}");
}

/// As every list does.
pub async fn a_search_goes_on_behind_a_position(ports: &Ports) {
    for n in 1..=5 {
        ports.make(&new(n)).await;
    }
    let limit = Limit::new(3).expect("a limit");
    let first = ports.page(&AnnouncementQuery { limit, ..search("gates") }).await;
    assert_eq!(super::numbers(&first), [5, 4, 3]);

    let second = ports.page(&AnnouncementQuery { limit, after: first.next, ..search("gates") }).await;

    assert_eq!((super::numbers(&second), second.next), (vec![2, 1], None));
}
