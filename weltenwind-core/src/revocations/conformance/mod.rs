//! What every [`RevocationStore`] and the ports that write its log must do: plain functions, each named as the sentence it
//! proves.
//!
//! [`revocation_store_conformance!`](crate::revocation_store_conformance) makes a test of each.

mod reading;
mod writing;

use std::sync::Arc;

pub use self::{reading::*, writing::*};
use super::{
    model::{LoggedLoss, Loss, LossSeq, Lost},
    store::RevocationStore,
};
use crate::{
    access::{GrantStore, NewGrant, Role, keys::ApiKeyStore},
    accounts::{
        AccountStore, DeviceStore, SessionStore,
        conformance::{account, at, id, step},
    },
    ids::{GrantId, SessionId, WorldId},
    scope::Scope,
    worlds::WorldStore,
};

/// The port under test, and those that write its log, on one store.
#[derive(Debug, Clone)]
pub struct Ports {
    /// The log.
    pub revocations: Arc<dyn RevocationStore>,
    /// Accounts.
    pub accounts: Arc<dyn AccountStore>,
    /// Sessions.
    pub sessions: Arc<dyn SessionStore>,
    /// Devices.
    pub devices: Arc<dyn DeviceStore>,
    /// Grants.
    pub grants: Arc<dyn GrantStore>,
    /// API keys.
    pub api_keys: Arc<dyn ApiKeyStore>,
    /// Worlds.
    pub worlds: Arc<dyn WorldStore>,
}

/// Makes a test of every case of [`conformance`](crate::revocations::conformance).
///
/// The fixture is a future of a guard and of [`Ports`] on which nothing was done before; the guard is dropped after the
/// case. It runs on tokio with the features `macros` and `rt-multi-thread`.
///
/// ```ignore
/// mod mine {
///     weltenwind_core::revocation_store_conformance!(my_fixture());
/// }
/// ```
#[macro_export]
macro_rules! revocation_store_conformance {
    ($fixture:expr $(, ignore = $reason:literal)?) => {
        $crate::revocation_store_conformance! { @tests $fixture, [$(#[ignore = $reason])?],
            a_session_that_ends_is_a_loss
            sessions_that_end_together_are_a_loss_each
            a_session_that_has_run_out_is_no_loss
            a_device_that_ends_is_one_loss
            a_role_that_is_taken_is_a_loss
            a_member_that_is_removed_loses_once
            a_role_that_ends_sooner_is_a_loss
            a_key_that_is_deleted_is_a_loss
            a_world_that_closes_is_a_loss_of_whoever_is_there
            a_name_that_is_given_up_is_a_loss
            what_is_given_is_no_loss
            a_refused_step_loses_nothing
            a_repeated_effect_key_loses_once
            the_log_is_read_page_by_page
            the_log_is_found_by_time
            old_losses_are_purged_and_numbers_go_on
            whoever_follows_the_log_misses_nothing
        }
    };
    (@tests $fixture:expr, $attributes:tt, $($case:ident)+) => {
        $($crate::revocation_store_conformance! { @test $fixture, $attributes, $case })+
    };
    (@test $fixture:expr, [$($attribute:tt)*], $case:ident) => {
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        $($attribute)*
        async fn $case() {
            let (_guard, ports) = $fixture.await;
            $crate::revocations::conformance::$case(&ports).await;
        }
    };
}

impl Ports {
    async fn log(&self) -> Vec<LoggedLoss> {
        self.revocations.page(LossSeq::START, 1000).await.expect("the store works")
    }

    async fn end(&self, seconds: i64, n: u32) {
        self.sessions.end(&step(seconds), SessionId::new(id(n))).await.expect("the store works");
    }

    /// Gives account `n` a role by grant `grant`.
    async fn give(&self, grant: u32, n: u32, role: Role, scope: Scope) {
        let grant =
            NewGrant { id: GrantId::new(id(grant)), account: account(n), role, scope, reason: None, expires_at: None };
        self.grants.grant(&step(0), &grant).await.expect("the account exists");
    }

    async fn position_at(&self, seconds: i64) -> i64 {
        self.revocations.position_at(at(seconds)).await.expect("the store works").get()
    }
}

fn loss(seq: i64, seconds: i64, n: u32, lost: Lost) -> LoggedLoss {
    LoggedLoss { seq: LossSeq::new(seq), at: at(seconds), loss: Loss::of(account(n), lost) }
}

fn lost_session(n: u32) -> Lost {
    Lost::Session(SessionId::new(id(n)))
}

const fn world(n: u32) -> Scope {
    Scope::World(WorldId::new(id(n)))
}
