use super::{Ports, at, grant_id, new, step, step_with_key, world};
use crate::{
    access::{AccessError, NewGrant, Role},
    scope::Scope,
};

/// The answer tells whose rights have changed.
pub async fn a_taken_grant_is_answered_and_gone(ports: &Ports) {
    let mira = ports.account(1).await;
    let taken = ports.grant(&new(1, mira, Role::Admin, Scope::Global)).await;
    let kept = ports.grant(&new(2, mira, Role::WorldMember, world(1))).await;

    assert_eq!(ports.grants.find(taken.id).await.expect("the store works"), Some(taken.clone()));
    assert_eq!(ports.revoke(1).await.expect("the grant exists"), taken);

    assert_eq!(ports.held(mira).await, [kept]);
    assert_eq!(ports.grants.find(taken.id).await.expect("the store works"), None);
}

/// A second click finds nothing.
pub async fn an_unknown_grant_is_not_taken(ports: &Ports) {
    let mira = ports.account(1).await;
    ports.grant(&new(1, mira, Role::Admin, Scope::Global)).await;
    ports.revoke(1).await.expect("the grant exists");

    for n in [1, 7] {
        let refusal = ports.revoke(n).await;
        assert!(matches!(refusal, Err(AccessError::GrantNotFound)), "{refusal:?}");
    }
}

/// Lists show it until somebody does.
pub async fn a_grant_that_has_expired_can_be_taken(ports: &Ports) {
    let mira = ports.account(1).await;
    let grant = ports.grant(&NewGrant { expires_at: Some(at(10)), ..new(1, mira, Role::Admin, Scope::Global) }).await;

    assert_eq!(ports.revoke(1).await.expect("the grant exists"), grant);
}

/// One of two admins took it; the audit log must not name both.
pub async fn two_revocations_of_one_grant_at_once_take_it_once(ports: &Ports) {
    let mira = ports.account(1).await;
    ports.grant(&new(1, mira, Role::Admin, Scope::Global)).await;

    let (one, other) = tokio::join!(ports.revoke(1), ports.revoke(1));

    assert_eq!(usize::from(one.is_ok()) + usize::from(other.is_ok()), 1);
    let refusal = one.and(other).expect_err("one is refused");
    assert!(matches!(refusal, AccessError::GrantNotFound), "{refusal:?}");
}

/// Leaving a world leaves all of it, and nothing else.
pub async fn who_is_removed_loses_every_role_in_exactly_the_scope(ports: &Ports) {
    let (mira, tarn) = (ports.account(1).await, ports.account(2).await);
    ports.grant(&new(1, mira, Role::WorldMember, world(1))).await;
    ports.grant(&new(2, mira, Role::WorldModerator, world(1))).await;
    let elsewhere = ports.grant(&new(3, mira, Role::WorldMember, world(2))).await;
    let global = ports.grant(&new(4, mira, Role::Support, Scope::Global)).await;
    let neighbour = ports.grant(&new(5, tarn, Role::WorldMember, world(1))).await;

    ports.grants.revoke_all(&step(60), mira, world(1)).await.expect("they are a member");

    assert_eq!(ports.held(mira).await, [elsewhere, global.clone()]);
    assert_eq!(ports.held(tarn).await, [neighbour]);

    ports.grants.revoke_all(&step(61), mira, Scope::Global).await.expect("they hold a role");
    assert!(!ports.held(mira).await.contains(&global));
}

/// A second click finds nothing; and roles above do not make a member.
pub async fn who_holds_nothing_in_the_scope_is_no_member(ports: &Ports) {
    let mira = ports.account(1).await;
    ports.grant(&new(1, mira, Role::WorldMember, world(2))).await;
    ports.grant(&new(2, mira, Role::Admin, Scope::Global)).await;

    let refusal = ports.grants.revoke_all(&step(60), mira, world(1)).await;

    assert!(matches!(refusal, Err(AccessError::MemberNotFound)), "{refusal:?}");
    assert_eq!(ports.held(mira).await.len(), 2);
}

/// A repeat answers the grant that is gone, and does not find it missing.
pub async fn a_repeated_effect_key_takes_one_grant(ports: &Ports) {
    let mira = ports.account(1).await;
    let grant = ports.grant(&new(1, mira, Role::Admin, Scope::Global)).await;
    let kept = ports.grant(&new(2, mira, Role::WorldMember, world(1))).await;

    let first = ports.grants.revoke(&step_with_key(60, 1), grant.id).await.expect("the grant exists");
    let again = ports.grants.revoke(&step_with_key(61, 1), grant.id).await.expect("the repeat is answered");
    let other = ports.grants.revoke(&step_with_key(62, 1), grant_id(2)).await.expect("the repeat is answered");

    assert_eq!([first, again, other], [grant.clone(), grant.clone(), grant]);
    assert_eq!(ports.held(mira).await, [kept]);
}

/// Who left, came back and retries the leaving, stays.
pub async fn a_repeated_effect_key_removes_once(ports: &Ports) {
    let mira = ports.account(1).await;
    ports.grant(&new(1, mira, Role::WorldMember, world(1))).await;
    ports.grants.revoke_all(&step_with_key(60, 1), mira, world(1)).await.expect("they are a member");
    let back = ports.grant(&new(2, mira, Role::WorldMember, world(1))).await;

    ports.grants.revoke_all(&step_with_key(61, 1), mira, world(1)).await.expect("the repeat is answered");

    assert_eq!(ports.held(mira).await, [back]);
}
