use super::{Ports, at, grant_id, limit, new, world};
use crate::{
    access::{Grant, GrantQuery, NewGrant, Role},
    clock::Timestamp,
    page::{Limit, Page},
    scope::Scope,
};

/// The end is the first instant at which a grant no longer holds.
pub async fn a_grant_holds_until_its_end(ports: &Ports) {
    let mira = ports.account(1).await;
    let grant = ports.grant(&NewGrant { expires_at: Some(at(60)), ..new(1, mira, Role::Admin, Scope::Global) }).await;

    let just_before = Timestamp::from_microsecond(at(60).as_microsecond() - 1).expect("an instant");
    assert_eq!(ports.grants.of(mira, just_before).await.expect("the store works"), [grant]);
    assert!(ports.grants.of(mira, at(60)).await.expect("the store works").is_empty());
}

/// Nobody's rights leak to a neighbour.
pub async fn an_account_holds_its_own_grants(ports: &Ports) {
    let (mira, tarn, lys) = (ports.account(1).await, ports.account(2).await, ports.account(3).await);
    let admin = ports.grant(&new(1, mira, Role::Admin, Scope::Global)).await;
    let member = ports.grant(&new(2, tarn, Role::WorldMember, world(1))).await;

    assert_eq!(ports.held(mira).await, [admin]);
    assert_eq!(ports.held(tarn).await, [member]);
    assert!(ports.held(lys).await.is_empty());
}

/// Admins clean up what has lapsed.
pub async fn grants_are_listed_in_order_of_their_ids_expired_ones_included(ports: &Ports) {
    let (mira, tarn) = (ports.account(1).await, ports.account(2).await);
    let third = ports.grant(&new(3, mira, Role::Admin, Scope::Global)).await;
    let first = ports.grant(&NewGrant { expires_at: Some(at(-1)), ..new(1, mira, Role::WorldAdmin, world(1)) }).await;
    let second = ports.grant(&new(2, tarn, Role::WorldMember, world(2))).await;
    ports.grant(&new(4, tarn, Role::Support, Scope::Global)).await;
    ports.revoke(4).await.expect("the grant exists");

    let all = page(ports, &GrantQuery::default()).await;

    assert_eq!(all, Page { items: vec![first, second, third], more: false });
}

/// "What may they do?" and "who may do something here?"
pub async fn a_list_of_grants_is_narrowed_by_account_and_scope(ports: &Ports) {
    let (mira, tarn) = (ports.account(1).await, ports.account(2).await);
    ports.grant(&new(1, mira, Role::Admin, Scope::Global)).await;
    ports.grant(&new(2, mira, Role::WorldAdmin, world(1))).await;
    ports.grant(&new(3, tarn, Role::WorldMember, world(1))).await;
    ports.grant(&new(4, tarn, Role::WorldMember, world(2))).await;
    let listed = async |account, scope| {
        let grants = page(ports, &GrantQuery { account, scope, ..GrantQuery::default() }).await.items;
        grants.into_iter().map(|grant| grant.id).collect::<Vec<_>>()
    };

    assert_eq!(listed(Some(mira), None).await, [1, 2].map(grant_id));
    assert_eq!(listed(None, Some(world(1))).await, [2, 3].map(grant_id));
    assert_eq!(listed(None, Some(Scope::Global)).await, [1].map(grant_id));
    assert_eq!(listed(Some(tarn), Some(world(2))).await, [4].map(grant_id));
    assert_eq!(listed(Some(mira), Some(world(2))).await, []);
}

/// A position stays good while grants come and go.
pub async fn a_list_of_grants_goes_on_behind_a_position(ports: &Ports) {
    let mira = ports.account(1).await;
    for n in 1..=5 {
        ports.grant(&new(n, mira, Role::WorldMember, world(n))).await;
    }
    let behind = async |after: Option<u32>, limit: Limit| {
        let query = GrantQuery { account: Some(mira), after: after.map(grant_id), limit, ..GrantQuery::default() };
        let Page { items, more } = page(ports, &query).await;
        (items.into_iter().map(|grant| grant.id).collect::<Vec<_>>(), more)
    };

    assert_eq!(behind(None, limit(2)).await, (vec![grant_id(1), grant_id(2)], true));
    ports.revoke(2).await.expect("the grant exists");
    assert_eq!(behind(Some(2), limit(2)).await, (vec![grant_id(3), grant_id(4)], true));
    assert_eq!(behind(Some(4), limit(2)).await, (vec![grant_id(5)], false));
    assert_eq!(behind(Some(5), limit(2)).await, (vec![], false));
    assert!(!behind(Some(2), limit(3)).await.1, "a full last page is the last");
}

async fn page(ports: &Ports, query: &GrantQuery) -> Page<Grant> {
    ports.grants.page(query).await.expect("the store works")
}
