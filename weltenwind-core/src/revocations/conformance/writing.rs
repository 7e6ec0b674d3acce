use super::{Ports, loss, lost_session, world};
use crate::{
    access::{
        AccessError, NewGrant, Permission, PermissionSet, Role,
        keys::{ApiKeyName, NewApiKey},
    },
    accounts::{
        DisplayName, TokenHash,
        conformance::{account, at, id, open_guest, session, step, step_with_key},
    },
    ids::{ApiKeyId, DeviceId, GrantId, SessionId, WorldId},
    page::Revision,
    revocations::{LoggedLoss, Loss, LossSeq, Lost},
    scope::Scope,
    worlds::{Description, JoinPolicy, NewWorld, Slug, Visibility, WorldAmendment, WorldChange, WorldName},
};

/// Once: a second end ends nothing.
pub async fn a_session_that_ends_is_a_loss(ports: &Ports) {
    open_guest(&*ports.accounts, 1).await;
    open_guest(&*ports.accounts, 2).await;

    ports.end(5, 2).await;
    ports.end(6, 2).await;
    ports.end(7, 1).await;
    ports.end(8, 9).await;

    assert_eq!(ports.log().await, [loss(1, 5, 2, lost_session(2)), loss(2, 7, 1, lost_session(1))]);
}

/// A rule "all but this one" would also hit a session that is opened a moment later.
pub async fn sessions_that_end_together_are_a_loss_each(ports: &Ports) {
    open_guest(&*ports.accounts, 1).await;
    for n in 2..=250 {
        ports.sessions.open(&step(0), account(1), &session(n)).await.expect("the account exists");
    }
    ports.end(1, 3).await;

    let ended = ports.sessions.end_others(&step(5), account(1), Some(SessionId::new(id(2)))).await;
    let again = ports.sessions.end_others(&step(6), account(1), Some(SessionId::new(id(2)))).await;

    assert_eq!((ended.expect("the store works"), again.expect("the store works")), (248, 0));
    let log = ports.log().await;
    assert_eq!(log.iter().map(|logged| logged.seq.get()).collect::<Vec<_>>(), (1..=249).collect::<Vec<_>>());
    let mut lost: Vec<_> = log.iter().map(|logged| format!("{:?}", logged.loss.lost)).collect();
    lost.sort();
    let mut expected: Vec<_> = (1..=250).filter(|n| *n != 2).map(|n| format!("{:?}", lost_session(n))).collect();
    expected.sort();
    assert_eq!(lost, expected);
    let kept = ports.sessions.find(SessionId::new(id(2))).await.expect("the store works").expect("the session");
    assert_eq!(kept.session.ended_at, None);
}

/// Nobody has it any more.
pub async fn a_session_that_has_run_out_is_no_loss(ports: &Ports) {
    open_guest(&*ports.accounts, 1).await;

    let ended = ports.sessions.end_others(&step(3600), account(1), None).await.expect("the store works");

    assert_eq!((ended, ports.log().await), (0, vec![]));
}

/// Every session on it is meant.
pub async fn a_device_that_ends_is_one_loss(ports: &Ports) {
    open_guest(&*ports.accounts, 1).await;

    ports.devices.end(&step(5), account(1), DeviceId::new(id(1))).await.expect("it is its own");

    assert_eq!(ports.log().await, [loss(1, 5, 1, Lost::Device(DeviceId::new(id(1))))]);
}

/// With the scope in which it held.
pub async fn a_role_that_is_taken_is_a_loss(ports: &Ports) {
    open_guest(&*ports.accounts, 1).await;
    ports.give(1, 1, Role::WorldMember, world(7)).await;
    ports.give(2, 1, Role::Support, Scope::Global).await;

    ports.grants.revoke(&step(5), GrantId::new(id(1))).await.expect("it is held");
    ports.grants.revoke(&step(6), GrantId::new(id(2))).await.expect("it is held");

    let expected = [loss(1, 5, 1, Lost::Rights(world(7))), loss(2, 6, 1, Lost::Rights(Scope::Global))];
    assert_eq!(ports.log().await, expected);
}

/// However many roles that were.
pub async fn a_member_that_is_removed_loses_once(ports: &Ports) {
    open_guest(&*ports.accounts, 1).await;
    ports.give(1, 1, Role::WorldMember, world(7)).await;
    ports.give(2, 1, Role::WorldModerator, world(7)).await;
    ports.give(3, 1, Role::WorldMember, world(8)).await;

    ports.grants.revoke_all(&step(5), account(1), world(7)).await.expect("it is a member");

    assert_eq!(ports.log().await, [loss(1, 5, 1, Lost::Rights(world(7)))]);
}

/// Whoever counted on the later end looks again.
pub async fn a_role_that_ends_sooner_is_a_loss(ports: &Ports) {
    open_guest(&*ports.accounts, 1).await;
    let (grant, role, scope) = (GrantId::new(id(1)), Role::WorldMember, world(7));
    for (seconds, end) in [(1, None), (2, Some(600)), (3, Some(900)), (4, Some(899)), (5, Some(899)), (6, None)] {
        let expires_at = end.map(at);
        let given = NewGrant { id: grant, account: account(1), role, scope, reason: None, expires_at };
        ports.grants.grant(&step(seconds), &given).await.expect("the account exists");
    }

    let expected = [loss(1, 2, 1, Lost::Rights(scope)), loss(2, 4, 1, Lost::Rights(scope))];
    assert_eq!(ports.log().await, expected);
}

/// Under the key's own id, once, and not what a refused deletion names.
pub async fn a_key_that_is_deleted_is_a_loss(ports: &Ports) {
    let key = ApiKeyId::new(id(5));
    let new = NewApiKey {
        id: key,
        hash: TokenHash::of("wwk_"),
        name: ApiKeyName::new("arena server").expect("a name"),
        scope: Scope::Global,
        permissions: PermissionSet::of(&[Permission::ChatPost]),
        rank: Role::Admin.rank(),
        expires_at: None,
    };
    ports.api_keys.create(&step(1), &new).await.expect("the store works");

    ports.api_keys.delete(&step_with_key(2, 1), key).await.expect("it is there");
    ports.api_keys.delete(&step_with_key(3, 1), key).await.expect("it is answered");
    ports.api_keys.delete(&step(4), key).await.expect_err("it is gone");

    assert_eq!(ports.log().await, [LoggedLoss { seq: LossSeq::new(1), at: at(2), loss: Loss::of_key(key) }]);
}

/// Only what it is open to: whoever may still come in has lost nothing.
pub async fn a_world_that_closes_is_a_loss_of_whoever_is_there(ports: &Ports) {
    let world = WorldId::new(id(7));
    let new = NewWorld {
        id: world,
        slug: Slug::new("mistral").expect("a slug"),
        name: WorldName::new("Mistral").expect("a name"),
        description: Description::new("").expect("a description"),
        visibility: Visibility::Public,
        join_policy: JoinPolicy::Open,
        owner: None,
    };
    ports.worlds.create(&step(1), &new).await.expect("the slug is free");
    let change = |visibility, archive| WorldChange {
        id: world,
        expected: None,
        amendment: WorldAmendment { visibility, ..WorldAmendment::default() },
        archive,
    };

    for (seconds, visibility, archive) in [
        (2, Some(Visibility::Unlisted), false),
        (3, Some(Visibility::Private), false),
        (4, Some(Visibility::Private), false),
        (5, None, false),
        (6, Some(Visibility::Public), false),
        (7, None, true),
        (8, None, true),
    ] {
        ports.worlds.amend(&step(seconds), &change(visibility, archive)).await.expect("the world exists");
    }
    let stale = WorldChange { expected: Some(Revision::FIRST), ..change(None, true) };
    ports.worlds.amend(&step(9), &stale).await.expect_err("it has changed");

    let closed = |seq, seconds| LoggedLoss {
        seq: LossSeq::new(seq),
        at: at(seconds),
        loss: Loss::in_place(Scope::World(world)),
    };
    assert_eq!(ports.log().await, [closed(1, 3), closed(2, 7)]);
}

/// Nodes that remember the old name read it anew.
pub async fn a_name_that_is_given_up_is_a_loss(ports: &Ports) {
    open_guest(&*ports.accounts, 1).await;

    let name = DisplayName::new("Tarn").expect("a name");
    ports.accounts.rename(&step(5), account(1), &name).await.expect("the account exists");

    assert_eq!(ports.log().await, [loss(1, 5, 1, Lost::Name)]);
}

/// Gains are looked up.
pub async fn what_is_given_is_no_loss(ports: &Ports) {
    open_guest(&*ports.accounts, 1).await;
    ports.give(1, 1, Role::WorldMember, world(7)).await;
    ports.sessions.open(&step(1), account(1), &session(2)).await.expect("the account exists");

    assert_eq!(ports.log().await, []);
}

/// The last owner stays, and keeps what an owner has.
pub async fn a_refused_step_loses_nothing(ports: &Ports) {
    open_guest(&*ports.accounts, 1).await;
    ports.give(1, 1, Role::WorldOwner, world(7)).await;

    let refused = ports.grants.revoke(&step(5), GrantId::new(id(1))).await;
    let foreign = ports.devices.end(&step(5), account(2), DeviceId::new(id(1))).await;

    assert!(matches!(refused, Err(AccessError::LastOwner)) && foreign.is_err());
    assert_eq!(ports.log().await, []);
    ports.end(6, 1).await;
    assert_eq!(ports.log().await[0].seq.get(), 1, "what was rolled back has taken no number");
}

/// The answer got lost.
pub async fn a_repeated_effect_key_loses_once(ports: &Ports) {
    open_guest(&*ports.accounts, 1).await;
    open_guest(&*ports.accounts, 2).await;

    for seconds in [5, 6] {
        ports.sessions.end(&step_with_key(seconds, 1), SessionId::new(id(1))).await.expect("it is answered");
        let ended = ports.sessions.end_others(&step_with_key(seconds, 2), account(2), None).await;
        assert_eq!(ended.expect("it is answered"), 1);
    }

    assert_eq!(ports.log().await, [loss(1, 5, 1, lost_session(1)), loss(2, 5, 2, lost_session(2))]);
}
