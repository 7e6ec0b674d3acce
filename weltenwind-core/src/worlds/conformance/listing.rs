use super::{Ports, change, id, name, new, owned_by, step, world_id};
use crate::{
    access::{NewGrant, Role},
    ids::{AccountId, GrantId},
    page::{Limit, Page},
    scope::Scope,
    worlds::{NewWorld, Visibility, WorldAmendment, WorldChange, WorldQuery, WorldSort},
};

/// The front page.
pub async fn worlds_are_listed_newest_first(ports: &Ports) {
    for n in [2, 1, 3] {
        ports.make(&new(n)).await;
    }

    let Page { items, more } = ports.worlds.page(&WorldQuery::default()).await.expect("the store works");

    assert_eq!(items.iter().map(|world| world.id).collect::<Vec<_>>(), [3, 2, 1].map(world_id));
    assert!(!more);
    assert_eq!(ports.find(3).await.as_ref(), items.first(), "whole worlds are listed");
}

/// The order for programs that mirror the list.
pub async fn worlds_are_listed_oldest_first(ports: &Ports) {
    for n in [2, 1, 3] {
        ports.make(&new(n)).await;
    }

    assert_eq!(listed(ports, &WorldQuery { sort: WorldSort::OldestFirst, ..WorldQuery::default() }).await, [1, 2, 3]);
}

/// A position stays good while worlds come and go.
pub async fn a_list_of_worlds_goes_on_behind_a_position(ports: &Ports) {
    for n in 1..=5 {
        ports.make(&new(n)).await;
    }
    let behind = async |sort, after: Option<u32>, limit| {
        let limit = Limit::new(limit).expect("1 to 200");
        let query = WorldQuery { sort, after: after.map(world_id), limit, ..WorldQuery::default() };
        let page = ports.worlds.page(&query).await.expect("the store works");
        (page.items.iter().map(|world| world.id).collect::<Vec<_>>(), page.more)
    };

    let newest = WorldSort::NewestFirst;
    assert_eq!(behind(newest, None, 2).await, ([5, 4].map(world_id).to_vec(), true));
    archive(ports, 4).await;
    ports.make(&new(6)).await;
    assert_eq!(behind(newest, Some(4), 2).await, ([3, 2].map(world_id).to_vec(), true));
    assert_eq!(behind(newest, Some(2), 2).await, ([1].map(world_id).to_vec(), false));
    assert_eq!(behind(newest, Some(1), 2).await, (vec![], false));

    let oldest = WorldSort::OldestFirst;
    assert_eq!(behind(oldest, Some(1), 2).await, ([2, 3].map(world_id).to_vec(), true));
    assert_eq!(
        behind(oldest, Some(3), 2).await,
        ([5, 6].map(world_id).to_vec(), false),
        "a full last page is the last"
    );
}

/// Unlisted means known by its address alone.
pub async fn strangers_see_public_worlds(ports: &Ports) {
    visible_and_hidden(ports).await;
    let stranger = ports.account(9).await;

    assert_eq!(listed(ports, &WorldQuery::default()).await, [1]);
    assert_eq!(listed(ports, &WorldQuery { member: Some(stranger), ..WorldQuery::default() }).await, [1]);
}

/// Any role in the world makes a member; one elsewhere or above does not.
pub async fn members_also_see_their_own_worlds(ports: &Ports) {
    visible_and_hidden(ports).await;
    let (mira, tarn) = (ports.account(1).await, ports.account(2).await);
    ports.make(&NewWorld { visibility: Visibility::Private, owner: Some(owned_by(tarn, 10)), ..new(4) }).await;
    grant(ports, 11, mira, Role::WorldMember, Scope::World(world_id(2))).await;
    grant(ports, 12, mira, Role::WorldModerator, Scope::World(world_id(3))).await;
    grant(ports, 13, mira, Role::WorldMember, Scope::World(world_id(3))).await;
    grant(ports, 14, tarn, Role::Support, Scope::Global).await;

    assert_eq!(listed(ports, &WorldQuery { member: Some(mira), ..WorldQuery::default() }).await, [3, 2, 1]);
    assert_eq!(listed(ports, &WorldQuery { member: Some(tarn), ..WorldQuery::default() }).await, [4, 1]);

    ports.grants.revoke(&step(60), GrantId::new(id(11))).await.expect("the grant exists");
    assert_eq!(listed(ports, &WorldQuery { member: Some(mira), ..WorldQuery::default() }).await, [3, 1]);
}

/// A narrowed token sees one world, if its bearer does.
pub async fn a_list_within_a_world_has_no_other(ports: &Ports) {
    visible_and_hidden(ports).await;
    let mira = ports.account(1).await;
    grant(ports, 11, mira, Role::WorldMember, Scope::World(world_id(3))).await;
    let within = |n| WorldQuery { member: Some(mira), within: Some(world_id(n)), ..WorldQuery::default() };

    assert_eq!(listed(ports, &within(1)).await, [1]);
    assert!(listed(ports, &within(2)).await.is_empty());
    assert_eq!(listed(ports, &within(3)).await, [3]);
    assert_eq!(listed(ports, &WorldQuery { everything: true, ..within(2) }).await, [2]);
}

/// What was lent until an instant is gone at that instant.
pub async fn an_expired_grant_shows_no_world(ports: &Ports) {
    visible_and_hidden(ports).await;
    let mira = ports.account(1).await;
    let end = step(60).at;
    let lent = NewGrant {
        id: GrantId::new(id(11)),
        account: mira,
        role: Role::WorldMember,
        scope: Scope::World(world_id(3)),
        reason: None,
        expires_at: Some(end),
    };
    ports.grants.grant(&step(0), &lent).await.expect("the account exists");

    let before = WorldQuery { member: Some(mira), at: step(59).at, ..WorldQuery::default() };
    assert_eq!(listed(ports, &before).await, [3, 1]);
    assert_eq!(listed(ports, &WorldQuery { at: end, ..before }).await, [1]);
}

/// Whoever moderates needs to see what there is.
pub async fn staff_sees_every_world(ports: &Ports) {
    visible_and_hidden(ports).await;

    assert_eq!(listed(ports, &WorldQuery { everything: true, ..WorldQuery::default() }).await, [3, 2, 1]);
}

/// To nobody: neither members nor staff.
pub async fn archived_worlds_are_never_listed(ports: &Ports) {
    let mira = ports.account(1).await;
    ports.make(&NewWorld { owner: Some(owned_by(mira, 10)), ..new(1) }).await;
    ports.make(&new(2)).await;

    archive(ports, 1).await;

    assert_eq!(listed(ports, &WorldQuery { member: Some(mira), ..WorldQuery::default() }).await, [2]);
    assert_eq!(listed(ports, &WorldQuery { everything: true, ..WorldQuery::default() }).await, [2]);
}

/// Nor is it English alone that is searched.
pub async fn a_search_finds_names_whatever_their_case(ports: &Ports) {
    for (n, text) in [(1, "Mistral"), (2, "ÜBERFAHRT zum Meer"), (3, "Ёлка"), (4, "the mistral coast")] {
        ports.make(&NewWorld { name: name(text), ..new(n) }).await;
    }

    for (text, found) in [
        ("MISTRAL", vec![4, 1]),
        ("überfahrt", vec![2]),
        ("FAHRT ZUM", vec![2]),
        ("ёлк", vec![3]),
        ("tramontane", vec![]),
        ("", vec![4, 3, 2, 1]),
    ] {
        assert_eq!(search(ports, text).await, found, "{text:?}");
    }

    ports.change(&super::to_name(1, "Sirocco")).await.expect("the world exists");
    assert_eq!(search(ports, "mistral").await, [4], "a new name is searched, an old one is not");
    assert_eq!(search(ports, "sirocco").await, [1]);
}

/// A search is no pattern.
pub async fn a_search_takes_every_character_as_it_is(ports: &Ports) {
    for (n, text) in
        [(1, "100% wind"), (2, "100 winds"), (3, "snake_case"), (4, "snakeXcase"), (5, r"back\slash"), (6, "it's")]
    {
        ports.make(&NewWorld { name: name(text), ..new(n) }).await;
    }

    for (text, found) in [
        ("0% w", vec![1]),
        ("%", vec![1]),
        ("e_c", vec![3]),
        ("_", vec![3]),
        (r"\", vec![5]),
        (r"k\s", vec![5]),
        ("'", vec![6]),
    ] {
        assert_eq!(search(ports, text).await, found, "{text:?}");
    }
}

/// A member searches on the second page.
pub async fn filters_narrow_a_list_together(ports: &Ports) {
    let mira = ports.account(1).await;
    for n in 1..=6 {
        let visibility = if n % 2 == 0 { Visibility::Private } else { Visibility::Public };
        let owner = if n == 4 { Some(owned_by(mira, 10)) } else { None };
        let text = if n == 1 { "Sirocco" } else { "Mistral" };
        ports.make(&NewWorld { name: name(text), visibility, owner, ..new(n) }).await;
    }

    let query = WorldQuery {
        text: Some("mistral".to_owned()),
        member: Some(mira),
        after: Some(world_id(5)),
        ..WorldQuery::default()
    };

    assert_eq!(listed(ports, &query).await, [4, 3]);
}

/// Makes a public, an unlisted and a private world.
async fn visible_and_hidden(ports: &Ports) {
    for (n, visibility) in [(1, Visibility::Public), (2, Visibility::Unlisted), (3, Visibility::Private)] {
        ports.make(&NewWorld { visibility, ..new(n) }).await;
    }
}

async fn archive(ports: &Ports, n: u32) {
    let archived = WorldChange { archive: true, ..change(n, WorldAmendment::default()) };
    ports.change(&archived).await.expect("the world exists");
}

async fn grant(ports: &Ports, n: u32, account: AccountId, role: Role, scope: Scope) {
    let new = NewGrant { id: GrantId::new(id(n)), account, role, scope, reason: None, expires_at: None };
    ports.grants.grant(&step(0), &new).await.expect("the account exists");
}

async fn search(ports: &Ports, text: &str) -> Vec<u32> {
    listed(ports, &WorldQuery { text: Some(text.to_owned()), ..WorldQuery::default() }).await
}

/// Reads one page and answers the numbers of its worlds.
async fn listed(ports: &Ports, query: &WorldQuery) -> Vec<u32> {
    let page = ports.worlds.page(query).await.expect("the store works");
    let number = |id| (1..100).find(|n| world_id(*n) == id).expect("one of the case's worlds");
    page.items.iter().map(|world| number(world.id)).collect()
}
