use super::{account, append, at, history, limit, message, open, page, post, refusal, step, step_with_key};
use crate::{
    chat::{
        ChangeQuery, ChannelAmendment, ChannelChange, ChannelName, ChannelQuery, ChatError, ChatStore, MessageQuery,
        NewChannel, Position, Refusal, RoomPosition, Seq,
    },
    ids::{GroupId, WorldId},
    page::Revision,
    scope::Scope,
    worlds::Slug,
};

pub(super) fn change(n: u32) -> ChannelChange {
    ChannelChange {
        id: NewChannel::sample(n).id,
        expected: None,
        amendment: ChannelAmendment::default(),
        archive: false,
    }
}

pub(super) fn closing(n: u32) -> ChannelChange {
    ChannelChange { archive: true, ..change(n) }
}

fn slug(text: &str) -> Slug {
    Slug::new(text).expect("a slug")
}

/// An adapter that drops or mistakes a column is found here.
pub async fn a_new_channel_reads_back_as_it_was_made(store: &dyn ChatStore) {
    let new = NewChannel {
        scope: Scope::World(WorldId::new(account(5).uuid())),
        name: ChannelName::new("Zur Börse 🪙").expect("a name"),
        guests_may_post: false,
        slowmode_seconds: 21_600,
        retention_days: Some(3650),
        epoch: u32::MAX,
        ..NewChannel::sample(1)
    };

    let made = store.create_channel(&step(0), &new).await.expect("the channel is new");

    assert_eq!((made.id, made.scope, &made.slug, &made.name), (new.id, new.scope, &new.slug, &new.name));
    assert_eq!((made.guests_may_post, made.slowmode_seconds, made.retention_days), (false, 21_600, Some(3650)));
    assert_eq!(
        (made.revision, made.epoch, made.created_at, made.archived_at),
        (Revision::FIRST, u32::MAX, at(0), None)
    );
    assert_eq!(store.find_channel(new.id).await.expect("the store works"), Some(made));
    let empty = page(store, 1, Position::Newest, limit(1)).await;
    assert!(empty.page.items.is_empty() && !empty.page.more);
    assert_eq!((empty.position.epoch, empty.position.change.get()), (u32::MAX, 0), "counters begin at zero");
}

/// Every method has an answer for a channel that was never made.
pub async fn what_does_not_exist_is_told(store: &dyn ChatStore) {
    let channel = NewChannel::sample(1).id;
    let since = RoomPosition { epoch: 7, change: super::super::Change::ZERO };
    let query = MessageQuery { channel, position: Position::Newest, limit: limit(1) };

    assert_eq!(store.find_channel(channel).await.expect("the store works"), None);
    assert_eq!(store.page(&query).await.expect("the store works"), None);
    let changes = store.changes(&ChangeQuery { channel, since, limit: limit(1) }).await;
    assert!(matches!(changes, Err(ChatError::ChannelNotFound)), "{changes:?}");
    let amended = store.amend_channel(&step(0), &change(1)).await;
    assert!(matches!(amended, Err(ChatError::ChannelNotFound)), "{amended:?}");
    let marked = store.mark_read(account(1), channel, Seq::new(1)).await;
    assert!(matches!(marked, Err(ChatError::ChannelNotFound)), "{marked:?}");
    assert_eq!(store.find_message(message(1, 1).id).await.expect("the store works"), None);
    assert_eq!(store.unread(account(1)).await.expect("the store works"), []);
    assert_eq!(store.purge(channel, at(0), 10).await.expect("the store works"), 0);
}

/// A world and a group with the same identifier are two scopes.
pub async fn an_open_channel_holds_its_slug_in_its_scope(store: &dyn ChatStore) {
    let id = account(5).uuid();
    let scopes = [
        Scope::Global,
        Scope::World(WorldId::new(id)),
        Scope::Group(GroupId::new(id)),
        Scope::World(WorldId::new(account(6).uuid())),
    ];
    for (n, scope) in (1..).zip(scopes) {
        let new = NewChannel { scope, slug: slug("lobby"), ..NewChannel::sample(n) };
        store.create_channel(&step(0), &new).await.expect("the slug is free in this scope");
    }

    for (n, scope) in (11..).zip(scopes) {
        let new = NewChannel { scope, slug: slug("lobby"), ..NewChannel::sample(n) };
        let refused = store.create_channel(&step(0), &new).await;
        assert!(matches!(&refused, Err(ChatError::SlugTaken(taken)) if *taken == new.slug), "{refused:?}");
        assert_eq!(store.find_channel(new.id).await.expect("the store works"), None);
    }
}

/// Whoever closes a channel may open another of the same name.
pub async fn a_closed_channel_gives_its_slug_free(store: &dyn ChatStore) {
    open(store, 1).await;
    store.amend_channel(&step(1), &closing(1)).await.expect("the channel is open");

    let heir = NewChannel { slug: NewChannel::sample(1).slug, ..NewChannel::sample(2) };
    store.create_channel(&step(2), &heir).await.expect("the slug is free");
    store.amend_channel(&step(3), &closing(2)).await.expect("two closed channels may have had one slug");
}

/// A list can be read page by page, whatever order the channels were made in.
pub async fn open_channels_are_listed_by_scope_in_order_of_their_ids(store: &dyn ChatStore) {
    for n in [3, 1, 5, 2, 4] {
        open(store, n).await;
    }
    let world = Scope::World(WorldId::new(account(5).uuid()));
    store
        .create_channel(&step(0), &NewChannel { scope: world, ..NewChannel::sample(6) })
        .await
        .expect("the channel is new");
    store.amend_channel(&step(1), &closing(4)).await.expect("the channel is open");
    let id = |n| NewChannel::sample(n).id;
    let list = |scope, after, n| async move {
        let page = store.channels(&ChannelQuery { scope, after, limit: limit(n) }).await.expect("the store works");
        (page.items.iter().map(|channel| channel.id).collect::<Vec<_>>(), page.more)
    };

    assert_eq!(list(Scope::Global, None, 2).await, (vec![id(1), id(2)], true));
    assert_eq!(list(Scope::Global, Some(id(2)), 2).await, (vec![id(3), id(5)], false));
    assert_eq!(list(Scope::Global, Some(id(5)), 2).await, (vec![], false));
    assert_eq!(list(world, None, 200).await, (vec![id(6)], false));
    assert_eq!(list(Scope::Group(GroupId::new(account(5).uuid())), None, 200).await, (vec![], false));
}

/// What is absent stays, and `Some(None)` is not absent.
pub async fn an_amendment_changes_what_it_names(store: &dyn ChatStore) {
    let new = NewChannel { retention_days: Some(30), ..NewChannel::sample(1) };
    let made = store.create_channel(&step(0), &new).await.expect("the channel is new");
    let amend = |amendment| async move {
        store.amend_channel(&step(1), &ChannelChange { amendment, ..change(1) }).await.expect("the channel is open")
    };

    let untouched = amend(ChannelAmendment::default()).await;
    assert_eq!(untouched, super::Channel { revision: Revision::new(2), ..made.clone() });

    let renamed = amend(ChannelAmendment {
        slug: Some(slug("tavern")),
        name: Some(ChannelName::new("Tavern").expect("a name")),
        guests_may_post: Some(false),
        slowmode_seconds: Some(10),
        retention_days: None,
    })
    .await;
    assert_eq!((renamed.slug.as_str(), renamed.name.as_str(), renamed.guests_may_post), ("tavern", "Tavern", false));
    assert_eq!((renamed.slowmode_seconds, renamed.retention_days, renamed.revision), (10, Some(30), Revision::new(3)));
    assert_eq!(
        (renamed.id, renamed.scope, renamed.epoch, renamed.created_at),
        (made.id, made.scope, made.epoch, made.created_at)
    );

    let keeping = amend(ChannelAmendment { retention_days: Some(None), ..ChannelAmendment::default() }).await;
    assert_eq!(keeping, super::Channel { retention_days: None, revision: Revision::new(4), ..renamed });
    assert_eq!(store.find_channel(new.id).await.expect("the store works"), Some(keeping));
}

/// Two moderators with one page open do not undo each other's work.
pub async fn a_stale_amendment_is_refused_with_the_present_revision(store: &dyn ChatStore) {
    let made = open(store, 1).await;
    let first = ChannelChange { expected: Some(made.revision), ..change(1) };
    let amended = store.amend_channel(&step(1), &first).await.expect("the revision is the present one");

    for expected in [made.revision, Revision::new(9)] {
        let refused = store.amend_channel(&step(2), &ChannelChange { expected: Some(expected), ..closing(1) }).await;
        assert!(matches!(refused, Err(ChatError::Stale(present)) if present == amended.revision), "{refused:?}");
    }
    assert_eq!(store.find_channel(made.id).await.expect("the store works"), Some(amended));
}

/// A channel may keep its own slug; another's is refused and nothing changes.
pub async fn an_amendment_to_a_taken_slug_is_refused(store: &dyn ChatStore) {
    let (made, other) = (open(store, 1).await, open(store, 2).await);
    let to = |slug: &Slug| ChannelAmendment { slug: Some(slug.clone()), ..ChannelAmendment::default() };

    let refused = store.amend_channel(&step(1), &ChannelChange { amendment: to(&other.slug), ..change(1) }).await;
    assert!(matches!(&refused, Err(ChatError::SlugTaken(taken)) if *taken == other.slug), "{refused:?}");
    assert_eq!(store.find_channel(made.id).await.expect("the store works"), Some(made.clone()));

    let own = ChannelChange { amendment: to(&made.slug), ..change(1) };
    store.amend_channel(&step(2), &own).await.expect("the slug is its own");
    store.amend_channel(&step(3), &closing(2)).await.expect("the channel is open");
    store
        .amend_channel(&step(4), &ChannelChange { amendment: to(&other.slug), ..change(1) })
        .await
        .expect("the slug is free again");
}

/// Closing is final, and says when.
pub async fn a_closed_channel_is_not_amended(store: &dyn ChatStore) {
    let made = open(store, 1).await;
    let closed = store.amend_channel(&step(5), &closing(1)).await.expect("the channel is open");

    assert_eq!(closed, super::Channel { archived_at: Some(at(5)), revision: Revision::new(2), ..made });
    for again in [closing(1), ChannelChange { expected: Some(Revision::FIRST), ..change(1) }] {
        let refused = store.amend_channel(&step(6), &again).await;
        assert!(matches!(refused, Err(ChatError::ChannelNotFound)), "{refused:?}");
    }
    assert_eq!(store.find_channel(closed.id).await.expect("the store works"), Some(closed));
}

/// Who may still read a closed channel is the service's affair; evidence stays.
pub async fn a_closed_channel_takes_no_message_and_keeps_its_history(store: &dyn ChatStore) {
    open(store, 1).await;
    let kept = post(store, &message(1, 1)).await;
    store.amend_channel(&step(1), &closing(1)).await.expect("the channel is open");

    assert_eq!(refusal(store, &message(1, 2)).await, Refusal::ChannelNotFound);
    assert_eq!(refusal(store, &message(1, 1)).await, Refusal::ChannelNotFound, "a repeat too");
    assert_eq!(history(store, 1).await, std::slice::from_ref(&kept));
    let removed = super::remove(store, &kept, super::RemovalMode::Purge).await;
    let since = RoomPosition { epoch: 7, change: kept.change };
    assert_eq!(super::changes(store, 1, since, limit(9)).await.page.items, [removed]);
}

/// The `ETag` of a channel does not change with every message.
pub async fn messages_do_not_count_a_channels_revision(store: &dyn ChatStore) {
    let made = open(store, 1).await;

    let posted = post(store, &message(1, 1)).await;
    super::edit(store, &posted, "another text").await;

    assert_eq!(store.find_channel(made.id).await.expect("the store works"), Some(made));
}

/// The worker that deletes old messages starts from this list.
pub async fn open_channels_with_retention_are_found(store: &dyn ChatStore) {
    let mut made = Vec::new();
    for (n, retention_days) in [(1, None), (2, Some(1)), (3, Some(30)), (4, Some(7))] {
        let new = NewChannel { retention_days, ..NewChannel::sample(n) };
        made.push(store.create_channel(&step(0), &new).await.expect("the channel is new"));
    }
    store.amend_channel(&step(1), &closing(3)).await.expect("the channel is open");

    let mut found = store.channels_with_retention().await.expect("the store works");

    found.sort_by_key(|channel| channel.id);
    assert_eq!(found, [made[1].clone(), made[3].clone()]);
}

/// A request repeated after a lost answer is answered with what the first one made, even if it draws a fresh
/// identifier.
pub async fn a_repeated_effect_key_has_no_second_effect(store: &dyn ChatStore) {
    let made = store.create_channel(&step_with_key(0, 1), &NewChannel::sample(1)).await.expect("the channel is new");
    let again = NewChannel { slug: made.slug.clone(), ..NewChannel::sample(2) };
    assert_eq!(store.create_channel(&step_with_key(9, 1), &again).await.expect("the repeat is known"), made);
    assert_eq!(store.find_channel(again.id).await.expect("the store works"), None);

    let once = ChannelChange { expected: Some(made.revision), ..change(1) };
    let amended = store.amend_channel(&step_with_key(1, 2), &once).await.expect("the revision is the present one");
    assert_eq!(store.amend_channel(&step_with_key(9, 2), &once).await.expect("the repeat is known"), amended);

    let refused = store.amend_channel(&step_with_key(2, 3), &once).await;
    assert!(matches!(refused, Err(ChatError::Stale(_))), "{refused:?}");
    let present = ChannelChange { expected: Some(amended.revision), ..change(1) };
    let passed = store.amend_channel(&step_with_key(3, 3), &present).await.expect("a refusal does not use the key up");
    assert_eq!(passed.revision, Revision::new(3));

    append(store, &[message(1, 1)]).await;
    assert_eq!(history(store, 1).await.len(), 1);
}
