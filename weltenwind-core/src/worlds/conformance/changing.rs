use super::{Ports, at, change, is_slug_taken, new, slug, step, step_with_key, to_name, to_slug, world_id};
use crate::{
    page::Revision,
    worlds::{
        Description, JoinPolicy, NewWorld, Visibility, World, WorldAmendment, WorldChange, WorldError, WorldName,
    },
};

/// What is absent stays.
pub async fn a_change_changes_what_it_names(ports: &Ports) {
    let before = ports.make(&new(1)).await;
    let neighbour = ports.make(&new(2)).await;

    let after = ports.change(&to_name(1, "Mistral")).await.expect("the world exists");

    let expected = World {
        name: WorldName::new("Mistral").expect("a name"),
        revision: before.revision.next(),
        updated_at: at(60),
        ..before
    };
    assert_eq!(after, expected);
    assert_eq!(ports.find(1).await, Some(after));
    assert_eq!(ports.find(2).await, Some(neighbour));
}

/// All at once, and archived with it.
pub async fn every_part_of_a_world_can_change(ports: &Ports) {
    let before = ports.make(&new(1)).await;
    let amendment = WorldAmendment {
        name: Some(WorldName::new("Mistral").expect("a name")),
        slug: Some(slug("mistral")),
        description: Some(Description::new("Windy").expect("a description")),
        visibility: Some(Visibility::Private),
        join_policy: Some(JoinPolicy::Invite),
    };

    let changed = WorldChange { archive: true, expected: Some(Revision::FIRST), ..change(1, amendment.clone()) };
    let after = ports.change(&changed).await.expect("the world exists");

    let expected = World {
        id: before.id,
        slug: slug("mistral"),
        name: amendment.name.expect("set above"),
        description: amendment.description.expect("set above"),
        visibility: Visibility::Private,
        join_policy: JoinPolicy::Invite,
        revision: Revision::new(2),
        created_at: at(0),
        updated_at: at(60),
        archived_at: Some(at(60)),
    };
    assert_eq!(after, expected);
    assert_eq!(ports.find(1).await, Some(after));
}

/// Two admins edit; the second has not seen what the first did.
pub async fn a_stale_change_is_refused_with_the_present_revision(ports: &Ports) {
    ports.make(&new(1)).await;
    let seen = Some(Revision::FIRST);
    let first = WorldChange { expected: seen, ..to_name(1, "Mistral") };
    let present = ports.change(&first).await.expect("the revision is present");

    for expected in [seen, Some(Revision::new(3))] {
        let stale = WorldChange { expected, ..to_slug(1, "sirocco") };
        let refusal = ports.change(&stale).await;
        assert!(matches!(refusal, Err(WorldError::Stale(revision)) if revision == present.revision), "{refusal:?}");
    }

    assert_eq!(ports.find(1).await, Some(present));
    assert_eq!(ports.by_slug("sirocco").await, None);
}

/// The operator's privilege.
pub async fn a_change_to_any_state_passes(ports: &Ports) {
    ports.make(&new(1)).await;
    for n in 2..=4 {
        let world = ports.change(&to_name(1, &format!("Mistral {n}"))).await.expect("the world exists");
        assert_eq!(world.revision, Revision::new(n));
    }
}

/// Nor does it take the slug.
pub async fn a_world_that_does_not_exist_is_not_changed(ports: &Ports) {
    let refusal = ports.change(&to_slug(1, "mistral")).await;

    assert!(matches!(refusal, Err(WorldError::NotFound)), "{refusal:?}");
    ports.make(&NewWorld { slug: slug("mistral"), ..new(2) }).await;
}

/// Links and bookmarks stay good, however often a world is renamed.
pub async fn a_former_slug_leads_to_its_world(ports: &Ports) {
    ports.make(&new(1)).await;
    ports.change(&to_slug(1, "mistral")).await.expect("the slug is free");

    let world = ports.change(&to_slug(1, "sirocco")).await.expect("the slug is free");

    assert_eq!(world.slug, slug("sirocco"));
    for known in ["world-1", "mistral", "sirocco"] {
        assert_eq!(ports.by_slug(known).await.as_ref(), Some(&world), "{known}");
    }
}

/// Nobody inherits another world's visitors.
pub async fn a_former_slug_is_never_given_to_another_world(ports: &Ports) {
    ports.make(&new(1)).await;
    let renamed = ports.change(&to_slug(1, "mistral")).await.expect("the slug is free");
    ports.make(&new(2)).await;

    let made = ports.worlds.create(&step(0), &NewWorld { slug: slug("world-1"), ..new(3) }).await;
    let changed = ports.change(&to_slug(2, "world-1")).await;

    assert!(is_slug_taken(&made, "world-1"), "{made:?}");
    assert!(is_slug_taken(&changed, "world-1"), "{changed:?}");
    assert_eq!(ports.by_slug("world-1").await, Some(renamed));
}

/// A name that was a mistake is taken back.
pub async fn a_world_takes_its_own_former_slug_again(ports: &Ports) {
    ports.make(&new(1)).await;
    ports.change(&to_slug(1, "mistral")).await.expect("the slug is free");

    let back = ports.change(&to_slug(1, "world-1")).await.expect("the slug was its own");
    assert_eq!((back.slug.clone(), back.revision), (slug("world-1"), Revision::new(3)));
    assert_eq!(ports.by_slug("mistral").await, Some(back));

    let same = ports.change(&to_slug(1, "world-1")).await.expect("the slug is its own");
    assert_eq!(same.revision, Revision::new(4));
}

/// Nor do the other parts of the change take effect.
pub async fn a_refused_slug_leaves_the_world_as_it_was(ports: &Ports) {
    ports.make(&new(1)).await;
    let before = ports.make(&new(2)).await;
    let amendment = WorldAmendment { visibility: Some(Visibility::Private), ..to_slug(2, "world-1").amendment };

    let refusal = ports.change(&WorldChange { archive: true, ..change(2, amendment) }).await;

    assert!(is_slug_taken(&refusal, "world-1"), "{refusal:?}");
    assert_eq!(ports.find(2).await, Some(before));
}

/// Staff still reads it, and its address is not given to another.
pub async fn an_archived_world_is_found_and_keeps_its_slugs(ports: &Ports) {
    ports.make(&new(1)).await;

    let archived = WorldChange { archive: true, ..change(1, WorldAmendment::default()) };
    let world = ports.change(&archived).await.expect("the world exists");

    assert_eq!((world.archived_at, world.revision), (Some(at(60)), Revision::new(2)));
    assert_eq!(ports.find(1).await.as_ref(), Some(&world));
    assert_eq!(ports.by_slug("world-1").await, Some(world));
    let refusal = ports.worlds.create(&step(70), &NewWorld { slug: slug("world-1"), ..new(2) }).await;
    assert!(is_slug_taken(&refusal, "world-1"), "{refusal:?}");
}

/// When it ended is history.
pub async fn a_world_that_is_archived_again_keeps_its_first_end(ports: &Ports) {
    ports.make(&new(1)).await;
    let archived = WorldChange { archive: true, ..change(1, WorldAmendment::default()) };
    ports.worlds.amend(&step(60), &archived).await.expect("the world exists");

    let again = ports.worlds.amend(&step(90), &archived).await.expect("the world exists");
    let changed = ports.worlds.amend(&step(95), &to_name(1, "Mistral")).await.expect("the world exists");

    assert_eq!((again.archived_at, again.updated_at), (Some(at(60)), at(90)));
    assert_eq!(changed.archived_at, Some(at(60)));
}

/// The one that comes second must read first.
pub async fn two_changes_of_one_revision_at_once_let_one_pass(ports: &Ports) {
    ports.make(&new(1)).await;
    let one = WorldChange { expected: Some(Revision::FIRST), ..to_name(1, "Mistral") };
    let other = WorldChange { expected: Some(Revision::FIRST), ..to_name(1, "Sirocco") };

    let answers = tokio::join!(ports.change(&one), ports.change(&other));

    let (winner, loser) = if answers.0.is_ok() { answers } else { (answers.1, answers.0) };
    assert!(matches!(loser, Err(WorldError::Stale(revision)) if revision == Revision::new(2)), "{loser:?}");
    assert_eq!(ports.find(1).await, Some(winner.expect("one passes")));
}

/// No revision is given to two states, and no part of a change is lost.
pub async fn changes_at_once_to_any_state_all_count(ports: &Ports) {
    ports.make(&new(1)).await;
    let private = change(1, WorldAmendment { visibility: Some(Visibility::Private), ..WorldAmendment::default() });
    let invite = change(1, WorldAmendment { join_policy: Some(JoinPolicy::Invite), ..WorldAmendment::default() });
    let (named, moved) = (to_name(1, "Mistral"), to_slug(1, "mistral"));

    let answers =
        tokio::join!(ports.change(&private), ports.change(&invite), ports.change(&named), ports.change(&moved));

    let answers = [answers.0, answers.1, answers.2, answers.3].map(|answer| answer.expect("the world exists"));
    let mut revisions = answers.map(|world| world.revision.get());
    revisions.sort_unstable();
    assert_eq!(revisions, [2, 3, 4, 5]);
    let world = ports.find(1).await.expect("the world");
    assert_eq!((world.visibility, world.join_policy), (Visibility::Private, JoinPolicy::Invite));
    assert_eq!((world.name.as_str(), world.slug.as_str()), ("Mistral", "mistral"));
}

/// The one way to a slug does not outrun the other.
pub async fn a_world_made_and_one_renamed_at_once_give_a_slug_to_one(ports: &Ports) {
    ports.make(&new(1)).await;
    let (wanted, renaming) = (NewWorld { slug: slug("mistral"), ..new(2) }, to_slug(1, "mistral"));

    let first = step(0);
    let answers = tokio::join!(ports.worlds.create(&first, &wanted), ports.change(&renaming));

    let (winner, loser) = if answers.0.is_ok() { answers } else { (answers.1, answers.0) };
    assert!(is_slug_taken(&loser, "mistral"), "{loser:?}");
    assert_eq!(ports.by_slug("mistral").await, Some(winner.expect("one passes")));
}

/// Although its expected revision is no longer the present one.
pub async fn a_repeated_effect_key_changes_once(ports: &Ports) {
    ports.make(&new(1)).await;
    let changed = WorldChange { expected: Some(Revision::FIRST), ..to_name(1, "Mistral") };
    let first = ports.worlds.amend(&step_with_key(60, 1), &changed).await.expect("the revision is present");

    let again = ports.worlds.amend(&step_with_key(65, 1), &changed).await.expect("the repeat is answered");

    assert_eq!(again, first);
    assert_eq!(ports.worlds.find(world_id(1)).await.expect("the store works"), Some(first));
}

/// A client that retries before the first answer, on another node.
pub async fn one_effect_key_at_once_changes_once(ports: &Ports) {
    ports.make(&new(1)).await;
    let changed = WorldChange { expected: Some(Revision::FIRST), ..to_name(1, "Mistral") };
    let (one, two, three) = (step_with_key(60, 1), step_with_key(60, 1), step_with_key(60, 1));

    let answers = tokio::join!(
        ports.worlds.amend(&one, &changed),
        ports.worlds.amend(&two, &changed),
        ports.worlds.amend(&three, &changed)
    );

    for answer in [answers.0, answers.1, answers.2] {
        assert_eq!(answer.expect("the step is answered").revision, Revision::new(2));
    }
}
