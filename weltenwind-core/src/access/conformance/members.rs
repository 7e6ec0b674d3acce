use super::{Ports, account, at, id, limit, new, step, world};
use crate::{
    access::{Member, MemberQuery, NewGrant, Role},
    ids::{AccountId, WorldId},
    page::{Limit, Page},
    scope::Scope,
};

/// A world's page shows who runs it.
pub async fn members_are_read_in_order_with_their_roles_highest_first(ports: &Ports) {
    let (tarn, mira) = (ports.account(2).await, ports.account(1).await);
    ports.grants.grant(&step(10), &new(1, tarn, Role::WorldMember, world(1))).await.expect("an account");
    ports.grants.grant(&step(20), &new(2, mira, Role::WorldMember, world(1))).await.expect("an account");
    ports.grants.grant(&step(5), &new(3, mira, Role::WorldOwner, world(1))).await.expect("an account");
    ports.grants.grant(&step(30), &new(4, mira, Role::WorldModerator, world(1))).await.expect("an account");

    let Page { items, more } = members(ports, None, Limit::default()).await;

    let shown: Vec<_> = items.iter().map(|member| (member.account, member.roles.clone(), member.since)).collect();
    let expected = [
        (mira, vec![Role::WorldOwner, Role::WorldModerator, Role::WorldMember], at(5)),
        (tarn, vec![Role::WorldMember], at(10)),
    ];
    assert_eq!(shown, expected);
    assert!(items.iter().all(|member| member.display_name.as_str() == "Player"));
    assert!(!more);
}

/// The list is of those who may do something now.
pub async fn expired_and_taken_roles_make_no_member(ports: &Ports) {
    let (mira, tarn, lys) = (ports.account(1).await, ports.account(2).await, ports.account(3).await);
    ports.grant(&NewGrant { expires_at: Some(at(60)), ..new(1, mira, Role::WorldMember, world(1)) }).await;
    ports.grant(&NewGrant { expires_at: Some(at(60)), ..new(2, tarn, Role::WorldModerator, world(1)) }).await;
    ports.grants.grant(&step(30), &new(3, tarn, Role::WorldMember, world(1))).await.expect("an account");
    ports.grant(&new(4, lys, Role::WorldMember, world(1))).await;
    ports.revoke(4).await.expect("the grant exists");

    let Page { items, .. } = members(ports, None, Limit::default()).await;

    let shown: Vec<_> = items.iter().map(|member| (member.account, member.roles.clone(), member.since)).collect();
    assert_eq!(shown, [(tarn, vec![Role::WorldMember], at(30))]);
}

/// Staff of the installation are no members of every world.
pub async fn members_hold_roles_in_exactly_the_world(ports: &Ports) {
    let (mira, tarn, lys) = (ports.account(1).await, ports.account(2).await, ports.account(3).await);
    ports.grant(&new(1, mira, Role::Admin, Scope::Global)).await;
    ports.grant(&new(2, tarn, Role::WorldMember, world(2))).await;
    ports.grant(&new(3, lys, Role::WorldMember, world(1))).await;

    assert_eq!(accounts(&members(ports, None, Limit::default()).await), [lys]);
}

/// A position stays good while members come and go.
pub async fn a_list_of_members_goes_on_behind_a_position(ports: &Ports) {
    for n in 1..=5 {
        let member = ports.account(n).await;
        ports.grant(&new(n, member, Role::WorldMember, world(1))).await;
    }

    let first = members(ports, None, limit(2)).await;
    assert_eq!((accounts(&first), first.more), (vec![account(1), account(2)], true));
    ports.revoke(2).await.expect("the grant exists");
    let second = members(ports, Some(account(2)), limit(2)).await;
    assert_eq!((accounts(&second), second.more), (vec![account(3), account(4)], true));
    let third = members(ports, Some(account(4)), limit(2)).await;
    assert_eq!((accounts(&third), third.more), (vec![account(5)], false));
    assert!(!members(ports, Some(account(2)), limit(3)).await.more, "a full last page is the last");
}

/// The limit counts members, not roles.
pub async fn a_page_of_members_shows_every_role_of_each(ports: &Ports) {
    let roles = [Role::WorldOwner, Role::WorldAdmin, Role::WorldModerator, Role::WorldMember];
    for n in 1..=3 {
        let member = ports.account(n).await;
        for (i, role) in (0..).zip(roles) {
            ports.grant(&new(10 * n + i, member, role, world(1))).await;
        }
    }

    let page = members(ports, Some(account(1)), limit(1)).await;

    assert_eq!((accounts(&page), page.more), (vec![account(2)], true));
    assert_eq!(page.items[0].roles, roles);
}

/// Reads the members of world 1 as of one minute.
async fn members(ports: &Ports, after: Option<AccountId>, limit: Limit) -> Page<Member> {
    let query = MemberQuery { world: WorldId::new(id(1)), at: at(60), after, limit };
    ports.grants.members(&query).await.expect("the store works")
}

fn accounts(page: &Page<Member>) -> Vec<AccountId> {
    page.items.iter().map(|member| member.account).collect()
}
