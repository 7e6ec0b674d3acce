//! What every [`GrantStore`] must do: plain functions, each named as the sentence it proves.
//!
//! [`grant_store_conformance!`](crate::grant_store_conformance) makes a test of each.

mod giving;
mod members;
mod owners;
mod reading;
mod taking;

use std::sync::Arc;

pub use self::{giving::*, members::*, owners::*, reading::*, taking::*};
use super::{
    error::AccessError,
    model::{Grant, NewGrant},
    role::Role,
    store::GrantStore,
};
use crate::{
    accounts::{
        AccountStore,
        conformance::{account, at, id, open_guest, step, step_with_key},
    },
    ids::{AccountId, GrantId, WorldId},
    page::Limit,
    scope::Scope,
};

/// The port under test, and its neighbour on the same store.
#[derive(Debug, Clone)]
pub struct Ports {
    /// Grants.
    pub grants: Arc<dyn GrantStore>,
    /// Accounts to grant to; none if the store accepts any.
    pub accounts: Option<Arc<dyn AccountStore>>,
}

/// Makes a test of every case of [`conformance`](crate::access::conformance).
///
/// The fixture is a future of a guard and of [`Ports`] on which nothing was done before; the guard is dropped after the
/// case. It runs on tokio with the features `macros` and `rt-multi-thread`.
///
/// ```
/// mod memory {
///     use std::sync::Arc;
///     use weltenwind_core::access::{MemoryGrantStore, conformance::Ports};
///
///     async fn fixture() -> ((), Ports) {
///         ((), Ports { grants: Arc::new(MemoryGrantStore::default()), accounts: None })
///     }
///
///     weltenwind_core::grant_store_conformance!(fixture());
/// }
/// ```
#[macro_export]
macro_rules! grant_store_conformance {
    ($fixture:expr $(, ignore = $reason:literal)?) => {
        $crate::grant_store_conformance! { @tests $fixture, [$(#[ignore = $reason])?],
            a_grant_reads_back_as_it_was_given
            what_is_finer_than_a_microsecond_is_cut_off
            the_same_role_again_keeps_the_grant_and_takes_the_newer_expiry_and_reason
            an_expired_grant_that_is_given_again_holds_again
            roles_and_scopes_are_held_each_on_its_own
            a_role_can_be_given_again_after_it_was_taken
            an_unknown_account_gets_no_role
            one_role_given_twice_at_once_is_held_once
            a_repeated_effect_key_gives_one_role
            one_effect_key_at_once_gives_one_role
            a_refused_step_leaves_its_effect_key_free
            a_grant_holds_until_its_end
            an_account_holds_its_own_grants
            grants_are_listed_in_order_of_their_ids_expired_ones_included
            a_list_of_grants_is_narrowed_by_account_and_scope
            a_list_of_grants_goes_on_behind_a_position
            a_taken_grant_is_answered_and_gone
            an_unknown_grant_is_not_taken
            a_grant_that_has_expired_can_be_taken
            two_revocations_of_one_grant_at_once_take_it_once
            who_is_removed_loses_every_role_in_exactly_the_scope
            who_holds_nothing_in_the_scope_is_no_member
            a_repeated_effect_key_takes_one_grant
            a_repeated_effect_key_removes_once
            the_last_owner_stays
            the_last_owner_is_not_removed
            an_owner_leaves_when_another_stays
            an_owner_for_a_time_is_nobody_to_leave_a_scope_to
            an_owner_for_a_time_may_leave
            the_last_lasting_owner_gets_no_end
            an_owner_gets_an_end_when_another_stays
            a_scope_may_be_owned_for_a_time_from_the_start
            owners_who_get_an_end_and_leave_at_once_leave_one
            owners_elsewhere_and_other_roles_do_not_count
            two_owners_who_leave_at_once_do_not_both_succeed
            owners_who_leave_and_are_removed_at_once_leave_one
            members_are_read_in_order_with_their_roles_highest_first
            expired_and_taken_roles_make_no_member
            members_hold_roles_in_exactly_the_world
            a_list_of_members_goes_on_behind_a_position
            a_page_of_members_shows_every_role_of_each
        }
    };
    (@tests $fixture:expr, $attributes:tt, $($case:ident)+) => {
        $($crate::grant_store_conformance! { @test $fixture, $attributes, $case })+
    };
    (@test $fixture:expr, [$($attribute:tt)*], $case:ident) => {
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        $($attribute)*
        async fn $case() {
            let (_guard, ports) = $fixture.await;
            $crate::access::conformance::$case(&ports).await;
        }
    };
}

const fn world(n: u32) -> Scope {
    Scope::World(WorldId::new(id(n)))
}

fn limit(n: u16) -> Limit {
    Limit::new(n).expect("1 to 200")
}

fn grant_id(n: u32) -> GrantId {
    GrantId::new(id(n))
}

/// Grant `n`, without reason and end.
fn new(n: u32, account: AccountId, role: Role, scope: Scope) -> NewGrant {
    NewGrant { id: grant_id(n), account, role, scope, reason: None, expires_at: None }
}

impl Ports {
    /// Makes account `n`, which members' lists call "Player".
    async fn account(&self, n: u32) -> AccountId {
        match &self.accounts {
            Some(accounts) => open_guest(&**accounts, n).await.account.id,
            None => account(n),
        }
    }

    /// Binds a role that can be bound.
    async fn grant(&self, new: &NewGrant) -> Grant {
        self.grants.grant(&step(0), new).await.expect("the account exists")
    }

    /// Makes account `n` an owner of a scope by grant `n`.
    async fn owner(&self, n: u32, role: Role, scope: Scope) -> Grant {
        let account = self.account(n).await;
        self.grant(&new(n, account, role, scope)).await
    }

    async fn revoke(&self, n: u32) -> Result<Grant, AccessError> {
        self.grants.revoke(&step(60), grant_id(n)).await
    }

    /// Reads what an account holds after a minute.
    async fn held(&self, account: AccountId) -> Vec<Grant> {
        let mut grants = self.grants.of(account, at(60)).await.expect("the store works");
        grants.sort_by_key(|grant| grant.id);
        grants
    }
}
