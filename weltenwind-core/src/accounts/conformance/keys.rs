use super::{Ports, at, step, step_with_key};
use crate::{
    accounts::{KeyRotation, RootKey, ServerKeys, SigningKey},
    secret::Secret,
};

/// The first start needs no setup.
pub async fn an_installation_without_keys_adopts_fresh_ones(ports: &Ports) {
    let fresh = keys(1);

    assert_eq!(adopt(ports, &fresh).await, fresh);
}

/// Tokens and cursors outlive a restart.
pub async fn an_installation_with_keys_keeps_them(ports: &Ports) {
    let first = adopt(ports, &keys(1)).await;

    assert_eq!(adopt(ports, &keys(2)).await, first);
}

/// The first one signs.
pub async fn signing_keys_are_answered_youngest_first(ports: &Ports) {
    let mut fresh = keys(1);
    fresh.signing = vec![key(1, 100), key(2, 300), key(3, 200)];

    let adopted = adopt(ports, &fresh).await;

    assert_eq!(adopted.signing, [key(2, 300), key(3, 200), key(1, 100)]);
}

/// Each node would refuse the other's tokens.
pub async fn two_nodes_that_start_at_once_get_the_same_keys(ports: &Ports) {
    let (one, two, three) = (keys(1), keys(2), keys(3));

    let answers = tokio::join!(adopt(ports, &one), adopt(ports, &two), adopt(ports, &three));

    assert!([one, two, three].contains(&answers.0));
    assert_eq!(answers.1, answers.0);
    assert_eq!(answers.2, answers.0);
    assert_eq!(adopt(ports, &keys(4)).await, answers.0);
}

/// A node that runs learns of a key that another one made.
pub async fn a_further_root_key_is_answered_before_the_older_ones(ports: &Ports) {
    let fresh = keys(1);
    adopt(ports, &fresh).await;

    ports.keys.add_root(&step(200), &root(2, "two", 200)).await.expect("the store works");
    ports.keys.add_root(&step(100), &root(3, "three", 100)).await.expect("the store works");

    let read = ports.keys.read().await.expect("the store works");
    assert_eq!(read.roots, [root(2, "two", 200), root(3, "three", 100), fresh.roots[0].clone()]);
    assert_eq!(read.signing, fresh.signing);
    assert_eq!(adopt(ports, &keys(4)).await, read);
}

/// A rotation whose answer got lost is not done twice.
pub async fn a_root_key_is_added_once(ports: &Ports) {
    adopt(ports, &keys(1)).await;

    for n in [2, 3] {
        ports.keys.add_root(&step_with_key(200, 1), &root(n, "two", 200)).await.expect("the store works");
        ports.keys.add_root(&step(200), &root(n, "two", 200)).await.expect("the store works");
    }

    let roots = ports.keys.read().await.expect("the store works").roots;
    assert_eq!(roots[..roots.len() - 1], [root(2, "two", 200)]);
}

/// Two operators at once are one too many, but no harm.
pub async fn root_keys_that_are_added_at_once_are_all_kept(ports: &Ports) {
    adopt(ports, &keys(1)).await;
    let (one, two, step) = (root(2, "two", 200), root(3, "three", 300), step(300));

    let (first, second) = tokio::join!(ports.keys.add_root(&step, &one), ports.keys.add_root(&step, &two));

    first.and(second).expect("the store works");
    assert_eq!(ports.keys.read().await.expect("the store works").roots[..2], [two, one]);
}

/// No instant between two keys: either both are there, or none.
pub async fn a_rotation_adds_both_keys_and_drops_what_it_names(ports: &Ports) {
    let fresh = adopt(ports, &keys(1)).await;

    assert!(rotate(ports, 2, 1).await);
    let dropping = KeyRotation { dropped: vec!["key-1".to_owned(), "unknown".to_owned()], ..rotation(3, 2) };
    assert!(ports.keys.rotate(&step(300), &dropping).await.expect("the store works"));

    let read = ports.keys.read().await.expect("the store works");
    assert_eq!(read.signing, [key(3, 300), key(2, 200)]);
    assert_eq!(read.roots, [root(3, "root-3", 300), root(2, "root-2", 200), fresh.roots[0].clone()]);
}

/// Whoever read the keys before somebody else replaced them reads again.
pub async fn a_rotation_that_follows_another_key_changes_nothing(ports: &Ports) {
    adopt(ports, &keys(1)).await;
    assert!(rotate(ports, 2, 1).await);
    let before = ports.keys.read().await.expect("the store works");

    assert!(!rotate(ports, 3, 1).await);

    assert_eq!(ports.keys.read().await.expect("the store works"), before);
}

/// A rotation whose answer got lost is not done twice.
pub async fn a_repeated_effect_key_rotates_the_keys_once(ports: &Ports) {
    adopt(ports, &keys(1)).await;

    for n in [2, 3] {
        let done = ports.keys.rotate(&step_with_key(200, 1), &rotation(n, 1)).await;
        assert!(done.expect("the store works"));
    }

    assert_eq!(ports.keys.read().await.expect("the store works").signing, [key(2, 200), key(1, 0)]);
}

/// Two operators at once make one new key.
pub async fn of_rotations_at_once_one_passes(ports: &Ports) {
    adopt(ports, &keys(1)).await;

    let passed = tokio::join!(rotate(ports, 2, 1), rotate(ports, 3, 1), rotate(ports, 4, 1));

    let passed = [passed.0, passed.1, passed.2];
    assert_eq!(passed.iter().filter(|passed| **passed).count(), 1, "{passed:?}");
    let read = ports.keys.read().await.expect("the store works");
    assert_eq!((read.signing.len(), read.roots.len()), (2, 2));
}

/// An installation that cannot sign lets nobody in.
pub async fn the_youngest_signing_key_is_never_dropped(ports: &Ports) {
    adopt(ports, &keys(1)).await;
    assert!(rotate(ports, 2, 1).await);
    let all = ["key-1".to_owned(), "key-2".to_owned(), "root".to_owned()];

    assert_eq!(ports.keys.drop_signing(&step(900), &all).await.expect("the store works"), 1);
    assert_eq!(ports.keys.drop_signing(&step(900), &all).await.expect("the store works"), 0);

    let read = ports.keys.read().await.expect("the store works");
    assert_eq!(read.signing, [key(2, 200)]);
    assert_eq!(read.roots.len(), 2);
}

/// Rotation to key `n`, a hundred seconds for each, behind key `follows`.
fn rotation(n: u8, follows: u8) -> KeyRotation {
    let at = i64::from(n) * 100;
    KeyRotation {
        follows: format!("key-{follows}"),
        signing: key(n, at),
        root: root(n, &format!("root-{n}"), at),
        dropped: Vec::new(),
    }
}

async fn rotate(ports: &Ports, n: u8, follows: u8) -> bool {
    ports.keys.rotate(&step(i64::from(n) * 100), &rotation(n, follows)).await.expect("the store works")
}

fn keys(n: u8) -> ServerKeys {
    ServerKeys { signing: vec![key(n, 0)], roots: vec![root(n, RootKey::FOUNDING, 0)] }
}

fn root(n: u8, id: &str, seconds: i64) -> RootKey {
    RootKey { id: id.to_owned(), secret: Secret::new([n; 32]), created_at: at(seconds) }
}

fn key(n: u8, seconds: i64) -> SigningKey {
    SigningKey { id: format!("key-{n}"), pkcs8: Secret::new(vec![n; 83]), created_at: at(seconds) }
}

async fn adopt(ports: &Ports, fresh: &ServerKeys) -> ServerKeys {
    ports.keys.adopt(fresh).await.expect("the store works")
}
