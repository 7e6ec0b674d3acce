use super::{Ports, at, id, new, step, world};
use crate::{
    access::{AccessError, NewGrant, Role},
    ids::GroupId,
    scope::Scope,
};

/// Every kind of scope with the role that owns it.
fn owned() -> [(Role, Scope); 3] {
    [(Role::Owner, Scope::Global), (Role::WorldOwner, world(1)), (Role::GroupOwner, Scope::Group(GroupId::new(id(1))))]
}

fn is_last_owner<T: std::fmt::Debug>(result: &Result<T, AccessError>) -> bool {
    matches!(result, Err(AccessError::LastOwner))
}

/// A scope without owner could never be governed again.
pub async fn the_last_owner_stays(ports: &Ports) {
    for (n, (role, scope)) in (1..).zip(owned()) {
        let owner = ports.owner(n, role, scope).await;

        let refusal = ports.revoke(n).await;

        assert!(is_last_owner(&refusal), "{scope}: {refusal:?}");
        assert_eq!(ports.held(owner.account).await, [owner]);
    }
}

/// Not by leaving either; and the roles beside it stay, too.
pub async fn the_last_owner_is_not_removed(ports: &Ports) {
    let owner = ports.owner(1, Role::WorldOwner, world(1)).await;
    let member = ports.grant(&new(2, owner.account, Role::WorldMember, world(1))).await;

    let refusal = ports.grants.revoke_all(&step(60), owner.account, world(1)).await;

    assert!(is_last_owner(&refusal), "{refusal:?}");
    assert_eq!(ports.held(owner.account).await, [owner, member]);
}

/// Owning is shared and handed over.
pub async fn an_owner_leaves_when_another_stays(ports: &Ports) {
    for (n, (role, scope)) in (1..).step_by(10).zip(owned()) {
        ports.owner(n, role, scope).await;
        let second = ports.owner(n + 1, role, scope).await;
        let third = ports.owner(n + 2, role, scope).await;

        ports.revoke(n).await.expect("two others stay");
        ports.grants.revoke_all(&step(60), second.account, scope).await.expect("another stays");

        let refusal = ports.revoke(n + 2).await;
        assert!(is_last_owner(&refusal), "{scope}: {refusal:?}");
        assert_eq!(ports.held(third.account).await, [third]);
    }
}

/// It would end without anybody doing anything.
pub async fn an_owner_for_a_time_is_nobody_to_leave_a_scope_to(ports: &Ports) {
    let owner = ports.owner(1, Role::WorldOwner, world(1)).await;
    let deputy = ports.account(2).await;
    ports.grant(&NewGrant { expires_at: Some(at(86_400)), ..new(2, deputy, Role::WorldOwner, world(1)) }).await;

    let left = ports.revoke(1).await;
    let removed = ports.grants.revoke_all(&step(60), owner.account, world(1)).await;

    assert!(is_last_owner(&left) && is_last_owner(&removed), "{left:?} {removed:?}");
    assert_eq!(ports.held(owner.account).await, [owner]);
}

/// The lasting owner stays, so nothing is lost.
pub async fn an_owner_for_a_time_may_leave(ports: &Ports) {
    ports.owner(1, Role::WorldOwner, world(1)).await;
    let deputy = ports.account(2).await;
    ports.grant(&NewGrant { expires_at: Some(at(86_400)), ..new(2, deputy, Role::WorldOwner, world(1)) }).await;

    ports.revoke(2).await.expect("the lasting owner stays");

    assert!(ports.held(deputy).await.is_empty());
}

/// An end is a way to leave, too: the clock would take what nobody may.
pub async fn the_last_lasting_owner_gets_no_end(ports: &Ports) {
    for (n, (role, scope)) in (1..).step_by(10).zip(owned()) {
        let owner = ports.owner(n, role, scope).await;
        let deputy = ports.account(n + 1).await;
        let until = |n, account| NewGrant { expires_at: Some(at(86_400)), ..new(n, account, role, scope) };
        ports.grant(&until(n + 1, deputy)).await;

        let refusal = ports.grants.grant(&step(60), &until(n + 2, owner.account)).await;

        assert!(is_last_owner(&refusal), "{scope}: {refusal:?}");
        assert_eq!(ports.held(owner.account).await, [owner]);
        ports.grants.grant(&step(60), &until(n + 3, deputy)).await.expect("a deputy's end may move");
    }
}

/// Owning is handed over for a day, and somebody stays.
pub async fn an_owner_gets_an_end_when_another_stays(ports: &Ports) {
    for (n, (role, scope)) in (1..).step_by(10).zip(owned()) {
        let owner = ports.owner(n, role, scope).await;
        ports.owner(n + 1, role, scope).await;

        let until = NewGrant { expires_at: Some(at(86_400)), ..new(n + 2, owner.account, role, scope) };
        let given = ports.grants.grant(&step(60), &until).await.expect("another stays");

        assert_eq!((given.id, given.expires_at), (owner.id, Some(at(86_400))));
        let refusal = ports.revoke(n + 1).await;
        assert!(is_last_owner(&refusal), "{scope}: {refusal:?}");
    }
}

/// Where nobody stays for good, nobody is stranded by an end.
pub async fn a_scope_may_be_owned_for_a_time_from_the_start(ports: &Ports) {
    let deputy = ports.account(1).await;
    let until = |n, end| NewGrant { expires_at: Some(at(end)), ..new(n, deputy, Role::WorldOwner, world(1)) };
    ports.grant(&until(1, 600)).await;

    let later = ports.grants.grant(&step(60), &until(2, 900)).await.expect("an end may move");

    assert_eq!((later.id, later.expires_at), (super::grant_id(1), Some(at(900))));
}

/// Each sees that the other stays, whichever way they go.
pub async fn owners_who_get_an_end_and_leave_at_once_leave_one(ports: &Ports) {
    let worlds = (2..=9).map(|n| (Role::WorldOwner, world(n)));
    for (n, (role, scope)) in (1..).step_by(10).zip(owned().into_iter().chain(worlds)) {
        let one = ports.owner(n, role, scope).await;
        let other = ports.owner(n + 1, role, scope).await;
        let until = |n, account| NewGrant { expires_at: Some(at(86_400)), ..new(n, account, role, scope) };

        let (first, ends) = (step(60), until(n + 2, one.account));
        let refusal = if n % 20 == 1 {
            let (second, also) = (step(60), until(n + 3, other.account));
            let answers = tokio::join!(ports.grants.grant(&first, &ends), ports.grants.grant(&second, &also));
            answers.0.and(answers.1)
        } else {
            let answers = tokio::join!(ports.grants.grant(&first, &ends), ports.revoke(n + 1));
            answers.0.and(answers.1)
        };

        assert!(is_last_owner(&refusal), "{scope}: {refusal:?}");
        let held = [ports.held(one.account).await, ports.held(other.account).await].concat();
        assert_eq!(held.iter().filter(|grant| grant.expires_at.is_none()).count(), 1, "{scope}");
    }
}

/// An admin cannot stand in for an owner, nor an owner of another world.
pub async fn owners_elsewhere_and_other_roles_do_not_count(ports: &Ports) {
    ports.owner(1, Role::WorldOwner, world(1)).await;
    ports.owner(2, Role::WorldOwner, world(2)).await;
    ports.owner(3, Role::Owner, Scope::Global).await;
    ports.owner(4, Role::WorldAdmin, world(1)).await;

    for n in [1, 2, 3] {
        let refusal = ports.revoke(n).await;
        assert!(is_last_owner(&refusal), "{refusal:?}");
    }
    ports.revoke(4).await.expect("an admin is no owner");
}

/// Each sees that the other stays.
pub async fn two_owners_who_leave_at_once_do_not_both_succeed(ports: &Ports) {
    let worlds = (2..=9).map(|n| (Role::WorldOwner, world(n)));
    for (n, (role, scope)) in (1..).step_by(10).zip(owned().into_iter().chain(worlds)) {
        let one = ports.owner(n, role, scope).await;
        let other = ports.owner(n + 1, role, scope).await;

        let answers = tokio::join!(ports.revoke(n), ports.revoke(n + 1));

        let refusal = answers.0.and(answers.1);
        assert!(is_last_owner(&refusal), "{scope}: {refusal:?}");
        let left = ports.held(one.account).await.len() + ports.held(other.account).await.len();
        assert_eq!(left, 1, "{scope}");
    }
}

/// All ways out at the same time.
pub async fn owners_who_leave_and_are_removed_at_once_leave_one(ports: &Ports) {
    let mut owners = Vec::new();
    for n in 1..=4 {
        owners.push(ports.owner(n, Role::WorldOwner, world(1)).await.account);
    }

    let (first, second) = (step(60), step(60));
    let answers = tokio::join!(
        ports.revoke(1),
        ports.revoke(2),
        ports.grants.revoke_all(&first, owners[2], world(1)),
        ports.grants.revoke_all(&second, owners[3], world(1))
    );

    let refused =
        [is_last_owner(&answers.0), is_last_owner(&answers.1), is_last_owner(&answers.2), is_last_owner(&answers.3)];
    assert_eq!(refused.iter().filter(|refused| **refused).count(), 1, "{answers:?}");
    let mut left = 0;
    for owner in owners {
        left += ports.held(owner).await.len();
    }
    assert_eq!(left, 1);
}
