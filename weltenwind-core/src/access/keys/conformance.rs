//! What every [`ApiKeyStore`] must do: plain functions, each named as the sentence it proves.
//!
//! [`api_key_store_conformance!`](crate::api_key_store_conformance) makes a test of each.

use super::{
    model::{ApiKey, ApiKeyName, ApiKeyQuery, NewApiKey},
    store::ApiKeyStore,
};
use crate::{
    access::{AccessError, Permission, PermissionSet},
    accounts::{
        TokenHash,
        conformance::{account, at, id, step, step_with_key},
    },
    clock::Timestamp,
    ids::{ApiKeyId, WorldId},
    page::Limit,
    scope::Scope,
    step::Step,
};

/// Makes a test of every case of [`conformance`](crate::access::keys::conformance).
///
/// The fixture is a future of a guard and of an `Arc<dyn ApiKeyStore>` on which nothing was done before; the guard is dropped
/// after the case. It runs on tokio with the features `macros` and `rt-multi-thread`.
///
/// ```
/// mod memory {
///     use std::sync::Arc;
///     use weltenwind_core::access::keys::{ApiKeyStore, MemoryApiKeyStore};
///
///     async fn fixture() -> ((), Arc<dyn ApiKeyStore>) {
///         ((), Arc::new(MemoryApiKeyStore::default()))
///     }
///
///     weltenwind_core::api_key_store_conformance!(fixture());
/// }
/// ```
#[macro_export]
macro_rules! api_key_store_conformance {
    ($fixture:expr $(, ignore = $reason:literal)?) => {
        $crate::api_key_store_conformance! { @tests $fixture, [$(#[ignore = $reason])?],
            a_key_reads_back_as_it_was_made
            an_instant_of_a_key_is_cut_to_microseconds
            an_unknown_key_is_told
            keys_are_listed_in_order_of_their_ids_expired_ones_included
            a_list_of_keys_is_narrowed_by_scope
            a_list_of_keys_goes_on_behind_a_position
            a_deleted_key_is_answered_and_gone
            an_unknown_key_is_not_deleted
            two_deletions_of_one_key_at_once_delete_it_once
            a_key_tells_when_it_was_last_used
            the_use_of_an_unknown_key_is_no_error
            a_repeated_effect_key_makes_one_key
            a_repeated_effect_key_deletes_one_key
            a_refused_deletion_leaves_its_effect_key_free
        }
    };
    (@tests $fixture:expr, $attributes:tt, $($case:ident)+) => {
        $($crate::api_key_store_conformance! { @test $fixture, $attributes, $case })+
    };
    (@test $fixture:expr, [$($attribute:tt)*], $case:ident) => {
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        $($attribute)*
        async fn $case() {
            let (_guard, store) = $fixture.await;
            $crate::access::keys::conformance::$case(&*store).await;
        }
    };
}

const fn key_id(n: u32) -> ApiKeyId {
    ApiKeyId::new(id(n))
}

const fn world(n: u32) -> Scope {
    Scope::World(WorldId::new(id(n)))
}

/// Key `n` for the whole installation, which reads.
fn new(n: u32) -> NewApiKey {
    NewApiKey {
        id: key_id(n),
        hash: TokenHash::of(&format!("key {n}")),
        name: ApiKeyName::new("arena server").expect("a name"),
        scope: Scope::Global,
        permissions: PermissionSet::of(&[Permission::WorldRead, Permission::ChatRead]),
        rank: 90,
        expires_at: None,
    }
}

async fn make(store: &dyn ApiKeyStore, new: &NewApiKey) -> ApiKey {
    store.create(&step(0), new).await.expect("the key is new")
}

async fn find(store: &dyn ApiKeyStore, n: u32) -> Option<ApiKey> {
    store.find(key_id(n)).await.expect("the store works")
}

async fn listed(store: &dyn ApiKeyStore, query: &ApiKeyQuery) -> Vec<ApiKeyId> {
    store.page(query).await.expect("the store works").items.iter().map(|key| key.id).collect()
}

fn is_unknown(result: &Result<ApiKey, AccessError>) -> bool {
    matches!(result, Err(AccessError::KeyNotFound))
}

/// What it may do rests on nothing else.
pub async fn a_key_reads_back_as_it_was_made(store: &dyn ApiKeyStore) {
    let mira = account(1);
    for (n, scope, permissions) in [
        (1, Scope::Global, PermissionSet::ALL),
        (2, world(1), PermissionSet::of(&[Permission::ChatPost])),
        (3, Scope::Group(crate::ids::GroupId::new(id(9))), PermissionSet::of(&[Permission::ChatRead])),
    ] {
        let given = NewApiKey { scope, permissions, expires_at: Some(at(600)), ..new(n) };

        let made = store.create(&Step { actor: Some(mira), ..step(7) }, &given).await.expect("the key is new");

        let expected = ApiKey {
            id: given.id,
            hash: given.hash,
            name: given.name,
            scope,
            permissions,
            rank: 90,
            created_by: Some(mira),
            created_at: at(7),
            expires_at: Some(at(600)),
            last_used_at: None,
        };
        assert_eq!(made, expected);
        assert_eq!(find(store, n).await, Some(expected));
    }
}

/// An answer and a later reading must not differ, whatever the database keeps.
pub async fn an_instant_of_a_key_is_cut_to_microseconds(store: &dyn ApiKeyStore) {
    let instant = Timestamp::from_nanosecond(at(600).as_nanosecond() + 123_456_789).expect("an instant");

    let made = store.create(&Step::sample(instant), &NewApiKey { expires_at: Some(instant), ..new(1) }).await;

    let cut = Timestamp::from_microsecond(instant.as_microsecond()).expect("an instant");
    let made = made.expect("the key is new");
    assert_eq!((made.created_at, made.expires_at), (cut, Some(cut)));
    assert_eq!(find(store, 1).await, Some(made));
}

/// Nobody signs in with what was never made.
pub async fn an_unknown_key_is_told(store: &dyn ApiKeyStore) {
    make(store, &new(1)).await;

    assert_eq!(find(store, 2).await, None);
}

/// Whoever looks after keys sees those that have ended, too.
pub async fn keys_are_listed_in_order_of_their_ids_expired_ones_included(store: &dyn ApiKeyStore) {
    for n in [2, 3, 1] {
        make(store, &NewApiKey { expires_at: (n == 2).then(|| at(1)), ..new(n) }).await;
    }

    assert_eq!(listed(store, &ApiKeyQuery::default()).await, [key_id(1), key_id(2), key_id(3)]);
}

/// Exactly the scope, not what lies below.
pub async fn a_list_of_keys_is_narrowed_by_scope(store: &dyn ApiKeyStore) {
    for (n, scope) in [(1, Scope::Global), (2, world(1)), (3, world(2)), (4, world(1))] {
        make(store, &NewApiKey { scope, ..new(n) }).await;
    }

    let of = |scope| ApiKeyQuery { scope: Some(scope), ..ApiKeyQuery::default() };
    assert_eq!(listed(store, &of(Scope::Global)).await, [key_id(1)]);
    assert_eq!(listed(store, &of(world(1))).await, [key_id(2), key_id(4)]);
    assert!(listed(store, &of(world(3))).await.is_empty());
}

/// A list is walked page by page.
pub async fn a_list_of_keys_goes_on_behind_a_position(store: &dyn ApiKeyStore) {
    for n in 1..=5 {
        make(store, &new(n)).await;
    }

    let mut query = ApiKeyQuery { limit: Limit::new(2).expect("1 to 200"), ..ApiKeyQuery::default() };
    let mut seen = Vec::new();
    loop {
        let page = store.page(&query).await.expect("the store works");
        seen.push(page.items.iter().map(|key| key.id).collect::<Vec<_>>());
        query.after = page.next(|key| key.id);
        if query.after.is_none() {
            break;
        }
    }

    assert_eq!(seen, [vec![key_id(1), key_id(2)], vec![key_id(3), key_id(4)], vec![key_id(5)]]);
}

/// It holds no longer.
pub async fn a_deleted_key_is_answered_and_gone(store: &dyn ApiKeyStore) {
    let (made, other) = (make(store, &new(1)).await, make(store, &new(2)).await);

    let deleted = store.delete(&step(60), key_id(1)).await.expect("the key is there");

    assert_eq!(deleted, made);
    assert_eq!((find(store, 1).await, find(store, 2).await), (None, Some(other)));
    assert_eq!(listed(store, &ApiKeyQuery::default()).await, [key_id(2)]);
}

/// Whoever deletes a key twice hears it.
pub async fn an_unknown_key_is_not_deleted(store: &dyn ApiKeyStore) {
    make(store, &new(1)).await;
    store.delete(&step(60), key_id(1)).await.expect("the key is there");

    for n in [1, 2] {
        let refusal = store.delete(&step(61), key_id(n)).await;
        assert!(is_unknown(&refusal), "{refusal:?}");
    }
}

/// One deletion, one audit row.
pub async fn two_deletions_of_one_key_at_once_delete_it_once(store: &dyn ApiKeyStore) {
    make(store, &new(1)).await;

    let (one, other) = (step(60), step(60));
    let answers = tokio::join!(store.delete(&one, key_id(1)), store.delete(&other, key_id(1)));

    assert_ne!(answers.0.is_ok(), answers.1.is_ok(), "{answers:?}");
    assert!(is_unknown(&answers.0) || is_unknown(&answers.1), "{answers:?}");
}

/// Two nodes may note it in any order.
pub async fn a_key_tells_when_it_was_last_used(store: &dyn ApiKeyStore) {
    make(store, &new(1)).await;

    for (used, last) in [(300, 300), (900, 900), (600, 900)] {
        store.used(key_id(1), at(used)).await.expect("the store works");
        assert_eq!(find(store, 1).await.and_then(|key| key.last_used_at), Some(at(last)));
    }
}

/// It may have been deleted meanwhile.
pub async fn the_use_of_an_unknown_key_is_no_error(store: &dyn ApiKeyStore) {
    store.used(key_id(1), at(300)).await.expect("the store works");

    assert_eq!(find(store, 1).await, None);
}

/// A lost answer is asked for again.
pub async fn a_repeated_effect_key_makes_one_key(store: &dyn ApiKeyStore) {
    let first = store.create(&step_with_key(0, 1), &new(1)).await.expect("the key is new");

    let again = store.create(&step_with_key(5, 1), &new(2)).await.expect("a repeat");

    assert_eq!(again, first);
    assert_eq!(listed(store, &ApiKeyQuery::default()).await, [key_id(1)]);
}

/// The same answer, though it is gone.
pub async fn a_repeated_effect_key_deletes_one_key(store: &dyn ApiKeyStore) {
    make(store, &new(1)).await;

    let first = store.delete(&step_with_key(60, 1), key_id(1)).await.expect("the key is there");
    let again = store.delete(&step_with_key(61, 1), key_id(1)).await.expect("a repeat");

    assert_eq!(again, first);
}

/// What had no effect is no repeat later.
pub async fn a_refused_deletion_leaves_its_effect_key_free(store: &dyn ApiKeyStore) {
    let refusal = store.delete(&step_with_key(60, 1), key_id(1)).await;
    assert!(is_unknown(&refusal), "{refusal:?}");
    make(store, &new(1)).await;

    store.delete(&step_with_key(61, 1), key_id(1)).await.expect("the key is there now");

    assert_eq!(find(store, 1).await, None);
}
