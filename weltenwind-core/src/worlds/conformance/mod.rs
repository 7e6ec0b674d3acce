//! What every [`WorldStore`] must do: plain functions, each named as the sentence it proves.
//!
//! [`world_store_conformance!`](crate::world_store_conformance) makes a test of each.

mod changing;
mod listing;
mod making;

use std::sync::Arc;

pub use self::{changing::*, listing::*, making::*};
use super::{
    error::WorldError,
    model::{Description, JoinPolicy, NewWorld, Visibility, World, WorldAmendment, WorldChange, WorldName},
    slug::Slug,
    store::WorldStore,
};
use crate::{
    access::GrantStore,
    accounts::{
        AccountStore,
        conformance::{account, at, id, open_guest, step, step_with_key},
    },
    ids::{AccountId, GrantId, WorldId},
    page::Revision,
};

/// The port under test, and its neighbours on the same store.
#[derive(Debug, Clone)]
pub struct Ports {
    /// Worlds.
    pub worlds: Arc<dyn WorldStore>,
    /// Accounts that own worlds.
    pub accounts: Arc<dyn AccountStore>,
    /// The owners' grants.
    pub grants: Arc<dyn GrantStore>,
}

/// Makes a test of every case of [`conformance`](crate::worlds::conformance).
///
/// The fixture is a future of a guard and of [`Ports`] on which nothing was done before; the guard is dropped after the
/// case. It runs on tokio with the features `macros` and `rt-multi-thread`.
///
/// ```ignore
/// mod mine {
///     weltenwind_core::world_store_conformance!(my_fixture());
/// }
/// mod remote {
///     weltenwind_core::world_store_conformance!(my_server(), ignore = "needs a server");
/// }
/// ```
#[macro_export]
macro_rules! world_store_conformance {
    ($fixture:expr $(, ignore = $reason:literal)?) => {
        $crate::world_store_conformance! { @tests $fixture, [$(#[ignore = $reason])?],
            a_new_world_reads_back_as_it_was_made
            what_is_finer_than_a_microsecond_is_cut_off
            what_does_not_exist_is_told
            a_new_world_belongs_to_its_owner
            a_world_of_the_operator_has_no_owner
            an_owner_who_does_not_exist_gets_no_world
            a_slug_is_given_once
            a_refused_world_leaves_nothing_behind
            a_store_is_empty_until_a_world_was_made
            two_worlds_that_want_one_slug_at_once_give_it_to_one
            a_repeated_effect_key_makes_one_world
            one_effect_key_at_once_makes_one_world
            a_refused_step_leaves_its_effect_key_free
            a_change_changes_what_it_names
            every_part_of_a_world_can_change
            a_stale_change_is_refused_with_the_present_revision
            a_change_to_any_state_passes
            a_world_that_does_not_exist_is_not_changed
            a_former_slug_leads_to_its_world
            a_former_slug_is_never_given_to_another_world
            a_world_takes_its_own_former_slug_again
            a_refused_slug_leaves_the_world_as_it_was
            an_archived_world_is_found_and_keeps_its_slugs
            a_world_that_is_archived_again_keeps_its_first_end
            two_changes_of_one_revision_at_once_let_one_pass
            changes_at_once_to_any_state_all_count
            a_world_made_and_one_renamed_at_once_give_a_slug_to_one
            a_repeated_effect_key_changes_once
            one_effect_key_at_once_changes_once
            worlds_are_listed_newest_first
            worlds_are_listed_oldest_first
            a_list_of_worlds_goes_on_behind_a_position
            strangers_see_public_worlds
            members_also_see_their_own_worlds
            a_list_within_a_world_has_no_other
            an_expired_grant_shows_no_world
            staff_sees_every_world
            archived_worlds_are_never_listed
            a_search_finds_names_whatever_their_case
            a_search_takes_every_character_as_it_is
            filters_narrow_a_list_together
        }
    };
    (@tests $fixture:expr, $attributes:tt, $($case:ident)+) => {
        $($crate::world_store_conformance! { @test $fixture, $attributes, $case })+
    };
    (@test $fixture:expr, [$($attribute:tt)*], $case:ident) => {
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        $($attribute)*
        async fn $case() {
            let (_guard, ports) = $fixture.await;
            $crate::worlds::conformance::$case(&ports).await;
        }
    };
}

fn world_id(n: u32) -> WorldId {
    WorldId::new(id(n))
}

fn slug(text: &str) -> Slug {
    Slug::new(text).expect("a slug")
}

fn name(text: &str) -> WorldName {
    WorldName::new(text).expect("a name")
}

/// World `n`: "World n" under `world-n`, public, open, without owner.
pub(crate) fn new(n: u32) -> NewWorld {
    NewWorld {
        id: world_id(n),
        slug: slug(&format!("world-{n}")),
        name: name(&format!("World {n}")),
        description: Description::new("").expect("a description"),
        visibility: Visibility::Public,
        join_policy: JoinPolicy::Open,
        owner: None,
    }
}

/// The state that world `n` is made in after some seconds.
fn made(new: NewWorld, seconds: i64) -> World {
    World {
        id: new.id,
        slug: new.slug,
        name: new.name,
        description: new.description,
        visibility: new.visibility,
        join_policy: new.join_policy,
        revision: Revision::FIRST,
        created_at: at(seconds),
        updated_at: at(seconds),
        archived_at: None,
    }
}

/// A change to world `n` in any state.
pub(crate) fn change(n: u32, amendment: WorldAmendment) -> WorldChange {
    WorldChange { id: world_id(n), expected: None, amendment, archive: false }
}

/// A change of world `n`'s slug.
fn to_slug(n: u32, text: &str) -> WorldChange {
    change(n, WorldAmendment { slug: Some(slug(text)), ..WorldAmendment::default() })
}

/// A change of world `n`'s name.
fn to_name(n: u32, text: &str) -> WorldChange {
    change(n, WorldAmendment { name: Some(name(text)), ..WorldAmendment::default() })
}

fn is_slug_taken<T>(result: &Result<T, WorldError>, wanted: &str) -> bool {
    matches!(result, Err(WorldError::SlugTaken(slug)) if slug.as_str() == wanted)
}

impl Ports {
    /// Makes an account.
    async fn account(&self, n: u32) -> AccountId {
        open_guest(&*self.accounts, n).await.account.id
    }

    /// Makes a world that can be made.
    async fn make(&self, new: &NewWorld) -> World {
        self.worlds.create(&step(0), new).await.expect("the slug is free")
    }

    async fn change(&self, change: &WorldChange) -> Result<World, WorldError> {
        self.worlds.amend(&step(60), change).await
    }

    async fn find(&self, n: u32) -> Option<World> {
        self.worlds.find(world_id(n)).await.expect("the store works")
    }

    async fn by_slug(&self, text: &str) -> Option<World> {
        self.worlds.find_by_slug(&slug(text)).await.expect("the store works")
    }
}

/// The owner of a world, by grant `n`.
const fn owned_by(account: AccountId, n: u32) -> (AccountId, GrantId) {
    (account, GrantId::new(id(n)))
}
