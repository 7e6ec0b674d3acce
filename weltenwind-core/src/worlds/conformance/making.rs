use super::{Ports, account, at, is_slug_taken, made, new, owned_by, slug, step, step_with_key, to_name, world_id};
use crate::{
    access::{AccessError, Role},
    clock::Timestamp,
    scope::Scope,
    step::Step,
    worlds::{Description, JoinPolicy, NewWorld, Visibility, WorldError, WorldName},
};

/// By its id and by its slug.
pub async fn a_new_world_reads_back_as_it_was_made(ports: &Ports) {
    let described = NewWorld {
        name: WorldName::new("Ünder \u{1F32C} %_'\"").expect("a name"),
        description: Description::new("First line\nsecond line").expect("a description"),
        visibility: Visibility::Private,
        join_policy: JoinPolicy::Invite,
        ..new(1)
    };
    for new in [described, NewWorld { visibility: Visibility::Unlisted, ..new(2) }, new(3)] {
        let world = ports.worlds.create(&step(7), &new).await.expect("the slug is free");

        assert_eq!(world, made(new.clone(), 7));
        assert_eq!(ports.worlds.find(new.id).await.expect("the store works").as_ref(), Some(&world));
        assert_eq!(ports.worlds.find_by_slug(&new.slug).await.expect("the store works"), Some(world));
    }
}

/// An answer and a later reading must not differ, whatever the database keeps.
pub async fn what_is_finer_than_a_microsecond_is_cut_off(ports: &Ports) {
    let instant = Timestamp::from_nanosecond(at(0).as_nanosecond() + 123_456_789).expect("an instant");
    let cut = Timestamp::from_microsecond(instant.as_microsecond()).expect("an instant");

    let world = ports.worlds.create(&Step::sample(instant), &new(1)).await.expect("the slug is free");
    assert_eq!((world.created_at, world.updated_at), (cut, cut));
    assert_eq!(ports.find(1).await, Some(world));

    let archived = super::WorldChange { archive: true, ..to_name(1, "Mistral") };
    let world = ports.worlds.amend(&Step::sample(instant), &archived).await.expect("the world exists");
    assert_eq!((world.updated_at, world.archived_at), (cut, Some(cut)));
    assert_eq!(ports.find(1).await, Some(world));
}

/// Links outlive what they lead to.
pub async fn what_does_not_exist_is_told(ports: &Ports) {
    ports.make(&new(1)).await;

    assert_eq!(ports.find(2).await, None);
    assert_eq!(ports.by_slug("world-2").await, None);
}

/// A world and who holds it are made together, so none is ever without.
pub async fn a_new_world_belongs_to_its_owner(ports: &Ports) {
    let mira = ports.account(1).await;
    ports.make(&NewWorld { owner: Some(owned_by(mira, 5)), ..new(1) }).await;

    let grants = ports.grants.of(mira, at(60)).await.expect("the store works");

    assert_eq!(grants.len(), 1);
    let grant = &grants[0];
    assert_eq!((grant.account, grant.id), owned_by(mira, 5));
    assert_eq!((grant.role, grant.scope), (Role::WorldOwner, Scope::World(world_id(1))));
    assert_eq!((grant.expires_at, grant.created_at), (None, at(0)));
}

/// Whoever holds the store needs no grant.
pub async fn a_world_of_the_operator_has_no_owner(ports: &Ports) {
    ports.make(&new(1)).await;

    let query = crate::access::GrantQuery::default();
    assert!(ports.grants.page(&query).await.expect("the store works").items.is_empty());
}

/// An account may be erased while it makes a world.
pub async fn an_owner_who_does_not_exist_gets_no_world(ports: &Ports) {
    let refusal = ports.worlds.create(&step(0), &NewWorld { owner: Some(owned_by(account(1), 5)), ..new(1) }).await;

    assert!(matches!(refusal, Err(WorldError::Access(AccessError::AccountNotFound))), "{refusal:?}");
    assert_eq!(ports.find(1).await, None);
    assert_eq!(ports.by_slug("world-1").await, None);
    ports.make(&NewWorld { slug: slug("world-1"), ..new(2) }).await;
}

/// An address leads to one world.
pub async fn a_slug_is_given_once(ports: &Ports) {
    let first = ports.make(&new(1)).await;

    let refusal = ports.worlds.create(&step(0), &NewWorld { slug: first.slug.clone(), ..new(2) }).await;

    assert!(is_slug_taken(&refusal, "world-1"), "{refusal:?}");
    assert_eq!(ports.by_slug("world-1").await, Some(first));
}

/// The owner's grant least of all.
pub async fn a_refused_world_leaves_nothing_behind(ports: &Ports) {
    let mira = ports.account(1).await;
    ports.make(&new(1)).await;

    let refused = NewWorld { slug: slug("world-1"), owner: Some(owned_by(mira, 5)), ..new(2) };
    assert!(ports.worlds.create(&step(0), &refused).await.is_err());

    assert_eq!(ports.find(2).await, None);
    assert!(ports.grants.of(mira, at(60)).await.expect("the store works").is_empty());
    ports.make(&NewWorld { slug: slug("another"), ..refused }).await;
}

/// The first visit to an installation is greeted by a setup page, the second is not.
pub async fn a_store_is_empty_until_a_world_was_made(ports: &Ports) {
    assert!(ports.worlds.is_empty().await.expect("the store works"));

    ports.make(&new(1)).await;
    assert!(!ports.worlds.is_empty().await.expect("the store works"));

    let archived = super::WorldChange { archive: true, ..to_name(1, "Mistral") };
    ports.change(&archived).await.expect("the world exists");
    assert!(!ports.worlds.is_empty().await.expect("the store works"), "an archived one was made, too");
}

/// Two players, one name.
pub async fn two_worlds_that_want_one_slug_at_once_give_it_to_one(ports: &Ports) {
    let (mira, tarn) = (ports.account(1).await, ports.account(2).await);
    let one = NewWorld { slug: slug("mistral"), owner: Some(owned_by(mira, 5)), ..new(1) };
    let other = NewWorld { slug: slug("mistral"), owner: Some(owned_by(tarn, 6)), ..new(2) };

    let (first, second) = (step(0), step(0));
    let answers = tokio::join!(ports.worlds.create(&first, &one), ports.worlds.create(&second, &other));

    let (winner, loser) = if answers.0.is_ok() { answers } else { (answers.1, answers.0) };
    assert!(is_slug_taken(&loser, "mistral"), "{loser:?}");
    assert_eq!(ports.by_slug("mistral").await, Some(winner.expect("one passes")));
    let held = ports.grants.of(mira, at(1)).await.expect("the store works").len()
        + ports.grants.of(tarn, at(1)).await.expect("the store works").len();
    assert_eq!(held, 1);
}

/// A player who retries after a lost reply makes one world. The repeat shows it as it is.
pub async fn a_repeated_effect_key_makes_one_world(ports: &Ports) {
    let first = ports.worlds.create(&step_with_key(0, 1), &new(1)).await.expect("the slug is free");

    let again = ports.worlds.create(&step_with_key(5, 1), &new(2)).await.expect("the repeat is answered");
    assert_eq!(again, first);
    assert_eq!(ports.find(2).await, None);

    let renamed = ports.change(&to_name(1, "Mistral")).await.expect("the world exists");
    let late = ports.worlds.create(&step_with_key(70, 1), &new(1)).await.expect("the repeat is answered");
    assert_eq!(late, renamed);
}

/// A client that retries before the first answer, on another node.
pub async fn one_effect_key_at_once_makes_one_world(ports: &Ports) {
    let (one, two, three) = (step_with_key(0, 1), step_with_key(0, 1), step_with_key(0, 1));
    let (first, second, third) = (new(1), new(2), new(3));

    let answers = tokio::join!(
        ports.worlds.create(&one, &first),
        ports.worlds.create(&two, &second),
        ports.worlds.create(&three, &third)
    );

    let winner = answers.0.expect("the step is answered");
    assert_eq!(answers.1.expect("the step is answered"), winner);
    assert_eq!(answers.2.expect("the step is answered"), winner);
    let made = [ports.find(1).await, ports.find(2).await, ports.find(3).await].into_iter().flatten();
    assert_eq!(made.collect::<Vec<_>>(), [winner]);
}

/// A refusal has changed nothing, so the corrected request may bear the same key.
pub async fn a_refused_step_leaves_its_effect_key_free(ports: &Ports) {
    ports.make(&new(1)).await;
    let taken = NewWorld { slug: slug("world-1"), ..new(2) };
    let refusal = ports.worlds.create(&step_with_key(0, 1), &taken).await;
    assert!(is_slug_taken(&refusal, "world-1"), "{refusal:?}");

    let world = ports.worlds.create(&step_with_key(1, 1), &new(2)).await.expect("the slug is free");

    assert_eq!(ports.find(2).await, Some(world));
}
