use std::slice;

use super::{Ports, account, at, grant_id, id, new, step, step_with_key, world};
use crate::{
    access::{AccessError, Grant, NewGrant, Role},
    clock::Timestamp,
    ids::GroupId,
    scope::Scope,
    step::Step,
};

/// What is given is what decisions rest on.
pub async fn a_grant_reads_back_as_it_was_given(ports: &Ports) {
    let (mira, tarn) = (ports.account(1).await, ports.account(2).await);
    let group = Scope::Group(GroupId::new(id(9)));
    for (n, role, scope) in
        [(1, Role::Admin, Scope::Global), (2, Role::WorldModerator, world(1)), (3, Role::GroupMember, group)]
    {
        let given = NewGrant {
            reason: Some("they asked nicely".to_owned()),
            expires_at: Some(at(600)),
            ..new(n, mira, role, scope)
        };

        let grant =
            ports.grants.grant(&Step { actor: Some(tarn), ..step(7) }, &given).await.expect("the account exists");

        let expected = Grant {
            id: given.id,
            account: mira,
            role,
            scope,
            granted_by: Some(tarn),
            reason: given.reason,
            expires_at: given.expires_at,
            created_at: at(7),
        };
        assert_eq!(grant, expected);
        assert!(ports.held(mira).await.contains(&expected));
    }
    assert_eq!(ports.held(mira).await.len(), 3);
}

/// An answer and a later reading must not differ, whatever the database keeps.
pub async fn what_is_finer_than_a_microsecond_is_cut_off(ports: &Ports) {
    let mira = ports.account(1).await;
    let instant = Timestamp::from_nanosecond(at(600).as_nanosecond() + 123_456_789).expect("an instant");
    let given = NewGrant { expires_at: Some(instant), ..new(1, mira, Role::Admin, Scope::Global) };

    let grant = ports.grants.grant(&Step::sample(instant), &given).await.expect("the account exists");

    let cut = Timestamp::from_microsecond(instant.as_microsecond()).expect("an instant");
    assert_eq!((grant.created_at, grant.expires_at), (cut, Some(cut)));
    assert_eq!(ports.held(mira).await, [grant]);
}

/// Prolonging a role is giving it again; links to the grant stay good.
pub async fn the_same_role_again_keeps_the_grant_and_takes_the_newer_expiry_and_reason(ports: &Ports) {
    let mira = ports.account(1).await;
    for scope_and_role in [(Scope::Global, Role::Support), (world(1), Role::WorldAdmin)] {
        let (scope, role) = scope_and_role;
        let first = ports.grant(&new(1 + u32::from(role.rank()), mira, role, scope)).await;

        let newer = NewGrant {
            expires_at: Some(at(600)),
            reason: Some("for the event".to_owned()),
            ..new(2 + u32::from(role.rank()), mira, role, scope)
        };
        let second = ports.grants.grant(&step(30), &newer).await.expect("the account exists");
        assert_eq!(second, Grant { expires_at: newer.expires_at, reason: newer.reason, ..first.clone() });

        let third = ports.grants.grant(&step(40), &new(300, mira, role, scope)).await.expect("the account exists");
        assert_eq!(third, first, "without end and reason again");
        assert_eq!(ports.held(mira).await.iter().filter(|grant| grant.role == role).collect::<Vec<_>>(), [&first]);
    }
}

/// A lapsed moderator is appointed again.
pub async fn an_expired_grant_that_is_given_again_holds_again(ports: &Ports) {
    let mira = ports.account(1).await;
    let first =
        ports.grant(&NewGrant { expires_at: Some(at(10)), ..new(1, mira, Role::WorldModerator, world(1)) }).await;

    let again = ports.grants.grant(&step(20), &new(2, mira, Role::WorldModerator, world(1))).await.expect("an account");

    assert_eq!(again, Grant { expires_at: None, ..first });
    assert_eq!(ports.held(mira).await, [again]);
}

/// Nothing but account, role and scope together makes a grant the same.
pub async fn roles_and_scopes_are_held_each_on_its_own(ports: &Ports) {
    let (mira, tarn) = (ports.account(1).await, ports.account(2).await);

    let given = [
        ports.grant(&new(1, mira, Role::WorldMember, world(1))).await,
        ports.grant(&new(2, mira, Role::WorldAdmin, world(1))).await,
        ports.grant(&new(3, mira, Role::WorldMember, world(2))).await,
        ports.grant(&new(4, mira, Role::Support, Scope::Global)).await,
    ];
    let neighbour = ports.grant(&new(5, tarn, Role::WorldMember, world(1))).await;

    assert_eq!(ports.held(mira).await, given);
    assert_eq!(ports.held(tarn).await, [neighbour]);
}

/// Who left may come back.
pub async fn a_role_can_be_given_again_after_it_was_taken(ports: &Ports) {
    let mira = ports.account(1).await;
    ports.grant(&new(1, mira, Role::WorldMember, world(1))).await;
    ports.revoke(1).await.expect("the grant exists");

    let again = ports.grant(&new(2, mira, Role::WorldMember, world(1))).await;

    assert_eq!(again.id, grant_id(2));
    assert_eq!(ports.held(mira).await, [again]);
}

/// An account may be erased while somebody appoints it. A store that keeps no accounts accepts any.
pub async fn an_unknown_account_gets_no_role(ports: &Ports) {
    let result = ports.grants.grant(&step(0), &new(1, account(7), Role::WorldMember, world(1))).await;

    if ports.accounts.is_some() {
        assert!(matches!(result, Err(AccessError::AccountNotFound)), "{result:?}");
        assert!(ports.held(account(7)).await.is_empty());
    } else {
        result.expect("any account is accepted");
    }
}

/// Two admins, one idea.
pub async fn one_role_given_twice_at_once_is_held_once(ports: &Ports) {
    let mira = ports.account(1).await;
    for (role, scope) in [(Role::WorldMember, world(1)), (Role::Support, Scope::Global)] {
        let n = 10 * u32::from(role.rank());
        let (one, two, three) =
            (new(n + 1, mira, role, scope), new(n + 2, mira, role, scope), new(n + 3, mira, role, scope));

        let (first, second, third) = (step(0), step(0), step(0));
        let answers = tokio::join!(
            ports.grants.grant(&first, &one),
            ports.grants.grant(&second, &two),
            ports.grants.grant(&third, &three)
        );

        let grant = answers.0.expect("the account exists");
        assert_eq!(answers.1.expect("the account exists").id, grant.id);
        assert_eq!(answers.2.expect("the account exists").id, grant.id);
        let held = ports.held(mira).await.into_iter().filter(|held| held.role == role);
        assert_eq!(held.map(|grant| grant.id).collect::<Vec<_>>(), [grant.id]);
    }
}

/// A repeat answers the grant, even if it was taken since, and does not give it back.
pub async fn a_repeated_effect_key_gives_one_role(ports: &Ports) {
    let mira = ports.account(1).await;
    let first = ports.grants.grant(&step_with_key(0, 1), &new(1, mira, Role::WorldMember, world(1))).await;
    let first = first.expect("the account exists");

    let again = ports.grants.grant(&step_with_key(5, 1), &new(2, mira, Role::WorldMember, world(2))).await;
    assert_eq!(again.expect("the repeat is answered"), first);
    assert_eq!(ports.held(mira).await, slice::from_ref(&first));

    ports.revoke(1).await.expect("the grant exists");
    let late = ports.grants.grant(&step_with_key(70, 1), &new(3, mira, Role::WorldMember, world(1))).await;
    assert_eq!(late.expect("the repeat is answered").id, first.id);
    assert!(ports.held(mira).await.is_empty());
}

/// A client that retries before the first answer, on another node.
pub async fn one_effect_key_at_once_gives_one_role(ports: &Ports) {
    let mira = ports.account(1).await;
    let (one, two, three) = (step_with_key(0, 1), step_with_key(0, 1), step_with_key(0, 1));
    let given = [1, 2, 3].map(|n| new(n, mira, Role::WorldMember, world(n)));

    let answers = tokio::join!(
        ports.grants.grant(&one, &given[0]),
        ports.grants.grant(&two, &given[1]),
        ports.grants.grant(&three, &given[2])
    );

    let winner = answers.0.expect("the step is answered");
    assert_eq!(answers.1.expect("the step is answered"), winner);
    assert_eq!(answers.2.expect("the step is answered"), winner);
    assert_eq!(ports.held(mira).await, [winner]);
}

/// A refusal has changed nothing, so the corrected request may bear the same key.
pub async fn a_refused_step_leaves_its_effect_key_free(ports: &Ports) {
    let refusal = ports.grants.revoke(&step_with_key(0, 1), grant_id(1)).await;
    assert!(matches!(refusal, Err(AccessError::GrantNotFound)), "{refusal:?}");
    let mira = ports.account(1).await;
    ports.grant(&new(1, mira, Role::WorldMember, world(1))).await;

    ports.grants.revoke(&step_with_key(1, 1), grant_id(1)).await.expect("the grant exists");

    assert!(ports.held(mira).await.is_empty());
}
