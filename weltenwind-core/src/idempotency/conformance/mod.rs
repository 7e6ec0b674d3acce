//! What every [`IdempotencyStore`] must do: plain functions, each named as the sentence it proves.
//!
//! [`idempotency_store_conformance!`](crate::idempotency_store_conformance) makes a test of each.

mod claiming;
mod ending;

use std::{sync::Arc, time::Duration};

use uuid::Uuid;

pub use self::{claiming::*, ending::*};
use super::{
    model::{Claim, Claimed, LEASE, NewClaim, RecordKey, Release, StoredAnswer},
    store::IdempotencyStore,
};
use crate::{
    accounts::{
        AccountStore,
        conformance::{at, guest, step_with_key},
    },
    chat::ChatStore,
    clock::Timestamp,
    ids::AccountId,
};

/// The port under test, and a neighbour on the same store whose steps record effects.
#[derive(Debug, Clone)]
pub struct Ports {
    /// Answers.
    pub idempotency: Arc<dyn IdempotencyStore>,
    /// Accounts.
    pub accounts: Arc<dyn AccountStore>,
    /// Messages that answers show.
    pub chat: Arc<dyn ChatStore>,
}

/// Makes a test of every case of [`conformance`](crate::idempotency::conformance).
///
/// The fixture is a future of a guard and of [`Ports`] on which nothing was done before; the guard is dropped after the
/// case. It runs on tokio with the features `macros` and `rt-multi-thread`.
///
/// ```ignore
/// mod mine {
///     weltenwind_core::idempotency_store_conformance!(my_fixture());
/// }
/// mod remote {
///     weltenwind_core::idempotency_store_conformance!(my_server(), ignore = "needs a server");
/// }
/// ```
#[macro_export]
macro_rules! idempotency_store_conformance {
    ($fixture:expr $(, ignore = $reason:literal)?) => {
        $crate::idempotency_store_conformance! { @tests $fixture, [$(#[ignore = $reason])?],
            a_fresh_key_is_claimed_once
            claims_at_once_let_one_pass
            keys_are_claimed_each_on_its_own
            an_answer_is_given_to_every_repeat
            an_answer_without_headers_reads_back_as_it_was
            another_request_under_the_same_key_is_told
            a_claim_whose_lease_has_ended_is_taken_over_and_keeps_its_beginning
            two_who_take_over_at_once_let_one_pass
            who_lost_its_claim_neither_answers_nor_releases
            an_answer_is_kept_once
            a_forgotten_claim_leaves_its_key_free_for_anything
            a_bound_claim_leaves_its_key_free_for_the_same_request_alone
            a_key_is_free_after_a_day
            what_is_finer_than_a_microsecond_is_cut_off
            what_is_purged_is_purged_from_answers_too
            old_keys_and_effects_are_purged_and_young_ones_stay
            a_purge_ends_at_its_limit
        }
    };
    (@tests $fixture:expr, $attributes:tt, $($case:ident)+) => {
        $($crate::idempotency_store_conformance! { @test $fixture, $attributes, $case })+
    };
    (@test $fixture:expr, [$($attribute:tt)*], $case:ident) => {
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        $($attribute)*
        async fn $case() {
            let (_guard, ports) = $fixture.await;
            $crate::idempotency::conformance::$case(&ports).await;
        }
    };
}

const DAY: i64 = 86_400;

/// Request `n` under key `n`, at so many seconds.
fn new(n: u8, seconds: i64) -> NewClaim {
    NewClaim {
        key: RecordKey::new([n; 32]),
        account: AccountId::new(Uuid::from_u128(n.into())),
        fingerprint: [n; 32],
        holder: Uuid::from_u128(u128::from(n) << 64 | u128::from(seconds.unsigned_abs())),
        at: at(seconds),
        lease: LEASE,
    }
}

/// A claim that keeps nobody out.
fn brief(n: u8, seconds: i64) -> NewClaim {
    NewClaim { lease: Duration::ZERO, ..new(n, seconds) }
}

fn answer(text: &str) -> StoredAnswer {
    StoredAnswer {
        status: 201,
        location: Some("/api/v1/worlds/mistral".to_owned()),
        etag: Some("\"1\"".to_owned()),
        content_type: Some("application/json".to_owned()),
        resource: Some(Uuid::from_u128(7)),
        body: text.as_bytes().to_vec(),
    }
}

impl Ports {
    async fn ask(&self, new: &NewClaim) -> Claimed {
        self.idempotency.claim(new).await.expect("the store works")
    }

    async fn claim(&self, new: &NewClaim) -> Claim {
        match self.ask(new).await {
            Claimed::Fresh(claim) => claim,
            other => panic!("the key is not free: {other:?}"),
        }
    }

    async fn complete(&self, claim: &Claim, answer: &StoredAnswer) -> bool {
        self.idempotency.complete(claim, answer).await.expect("the store works")
    }

    async fn release(&self, claim: &Claim, release: Release) {
        self.idempotency.release(claim, release).await.expect("the store works");
    }

    async fn purge(&self, before: Timestamp, limit: u32) -> u64 {
        self.idempotency.purge(before, limit).await.expect("the store works")
    }

    /// Makes a guest under effect key `key` at so many seconds, or finds the one that was made; answers which.
    async fn effect(&self, seconds: i64, key: u8, n: u32) -> Uuid {
        let made = self.accounts.open_guest(&step_with_key(seconds, key), &guest(n)).await;
        made.expect("the guest is new").account.id.uuid()
    }
}
