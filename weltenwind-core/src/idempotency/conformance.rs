//! What every [`IdempotencyStore`] must do: plain functions, each named as the sentence it proves.
//!
//! [`idempotency_store_conformance!`](crate::idempotency_store_conformance) makes a test of each.

use std::{sync::Arc, time::Duration};

use tokio::task::JoinSet;
use uuid::Uuid;

use super::{
    model::{Claim, Claimed, LEASE, NewClaim, RecordKey, Release, StoredAnswer},
    store::IdempotencyStore,
};
use crate::{
    accounts::{
        AccountStore,
        conformance::{at, guest, open_guest, step_with_key},
    },
    chat::{ChatStore, NewChannel, NewMessage, Removal, RemovalMode},
    clock::Timestamp,
    step::Step,
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

/// Who repeats while the first runs is told so, for as long as the lease lasts.
pub async fn a_fresh_key_is_claimed_once(ports: &Ports) {
    let new_one = new(1, 0);
    let claim = ports.claim(&new_one).await;

    assert_eq!(claim, Claim { key: new_one.key, holder: new_one.holder, since: at(0) });
    assert_eq!(ports.ask(&new(1, 0)).await, Claimed::Running);
    assert_eq!(ports.ask(&new(1, 59)).await, Claimed::Running);
}

/// Fifty copies of one request, which a client without patience may send.
pub async fn claims_at_once_let_one_pass(ports: &Ports) {
    let mut copies = JoinSet::new();
    for n in 0..50 {
        let ports = ports.clone();
        copies.spawn(async move { ports.ask(&NewClaim { holder: Uuid::from_u128(n), ..new(1, 0) }).await });
    }

    let answers = copies.join_all().await;

    let fresh = answers.iter().filter(|answer| matches!(answer, Claimed::Fresh(_))).count();
    let running = answers.iter().filter(|answer| matches!(answer, Claimed::Running)).count();
    assert_eq!((fresh, running), (1, 49));
}

/// One key says nothing of another.
pub async fn keys_are_claimed_each_on_its_own(ports: &Ports) {
    let first = ports.claim(&new(1, 0)).await;
    let second = ports.claim(&new(2, 0)).await;

    assert!(ports.complete(&first, &answer("first")).await);

    assert_eq!(ports.ask(&new(1, 1)).await, Claimed::Answered(answer("first")));
    assert_eq!(ports.ask(&new(2, 1)).await, Claimed::Running);
    assert!(ports.complete(&second, &answer("second")).await);
    assert_eq!(ports.ask(&new(2, 2)).await, Claimed::Answered(answer("second")));
}

/// However often, and long after the lease.
pub async fn an_answer_is_given_to_every_repeat(ports: &Ports) {
    let claim = ports.claim(&brief(1, 0)).await;
    assert!(ports.complete(&claim, &answer("made")).await);

    for seconds in [0, 1, 3600, DAY - 1] {
        assert_eq!(ports.ask(&new(1, seconds)).await, Claimed::Answered(answer("made")), "after {seconds} s");
    }
}

/// A refusal has neither address nor state, and bytes are bytes.
pub async fn an_answer_without_headers_reads_back_as_it_was(ports: &Ports) {
    let bare = StoredAnswer {
        status: 404,
        location: None,
        etag: None,
        content_type: None,
        resource: None,
        body: vec![0, 255, 10, 0],
    };
    let empty = StoredAnswer { status: 204, body: Vec::new(), ..bare.clone() };
    let (first, second) = (ports.claim(&new(1, 0)).await, ports.claim(&new(2, 0)).await);

    assert!(ports.complete(&first, &bare).await && ports.complete(&second, &empty).await);

    assert_eq!(ports.ask(&new(1, 1)).await, Claimed::Answered(bare));
    assert_eq!(ports.ask(&new(2, 1)).await, Claimed::Answered(empty));
}

/// While the first runs, after its lease, and once it is answered.
pub async fn another_request_under_the_same_key_is_told(ports: &Ports) {
    let other = |seconds| NewClaim { fingerprint: [9; 32], ..new(1, seconds) };
    ports.claim(&brief(1, 0)).await;
    assert_eq!(ports.ask(&other(1)).await, Claimed::OtherRequest);

    let claim = ports.claim(&new(1, 2)).await;
    assert_eq!(ports.ask(&other(3)).await, Claimed::OtherRequest);

    assert!(ports.complete(&claim, &answer("made")).await);
    assert_eq!(ports.ask(&other(4)).await, Claimed::OtherRequest);
    assert_eq!(ports.ask(&new(1, 5)).await, Claimed::Answered(answer("made")));
}

/// The node died: the next attempt is the same request, with the same effect key.
pub async fn a_claim_whose_lease_has_ended_is_taken_over_and_keeps_its_beginning(ports: &Ports) {
    let dead = ports.claim(&brief(1, 0)).await;

    let next = ports.claim(&new(1, 60)).await;

    assert_eq!((next.since, next.holder), (at(0), new(1, 60).holder));
    assert_eq!(next.effect_key(), dead.effect_key());
    assert_eq!(ports.ask(&new(1, 61)).await, Claimed::Running);
}

/// Two retries arrive together when the lease has ended.
pub async fn two_who_take_over_at_once_let_one_pass(ports: &Ports) {
    ports.claim(&brief(1, 0)).await;
    let (one, two) = (new(1, 60), NewClaim { holder: Uuid::from_u128(2), ..new(1, 60) });

    let answers = tokio::join!(ports.ask(&one), ports.ask(&two));

    let answers = [answers.0, answers.1];
    assert_eq!(answers.iter().filter(|answer| matches!(answer, Claimed::Fresh(_))).count(), 1, "{answers:?}");
    assert_eq!(answers.iter().filter(|answer| matches!(answer, Claimed::Running)).count(), 1, "{answers:?}");
}

/// An attempt that was held up for longer than its lease comes back.
pub async fn who_lost_its_claim_neither_answers_nor_releases(ports: &Ports) {
    let slow = ports.claim(&brief(1, 0)).await;
    let present = ports.claim(&new(1, 60)).await;

    assert!(!ports.complete(&slow, &answer("late")).await);
    ports.release(&slow, Release::Forgotten).await;
    ports.release(&slow, Release::Bound).await;

    assert_eq!(ports.ask(&new(1, 61)).await, Claimed::Running);
    assert!(ports.complete(&present, &answer("made")).await);
    assert_eq!(ports.ask(&new(1, 62)).await, Claimed::Answered(answer("made")));
}

/// What was answered stays answered.
pub async fn an_answer_is_kept_once(ports: &Ports) {
    let claim = ports.claim(&new(1, 0)).await;
    assert!(ports.complete(&claim, &answer("first")).await);

    assert!(!ports.complete(&claim, &answer("second")).await);
    ports.release(&claim, Release::Forgotten).await;
    ports.release(&claim, Release::Bound).await;

    assert_eq!(ports.ask(&new(1, 1)).await, Claimed::Answered(answer("first")));
}

/// Who was turned away at the door has done nothing.
pub async fn a_forgotten_claim_leaves_its_key_free_for_anything(ports: &Ports) {
    let claim = ports.claim(&new(1, 0)).await;
    ports.release(&claim, Release::Forgotten).await;

    let next = ports.claim(&NewClaim { fingerprint: [9; 32], ..new(1, 1) }).await;

    assert_eq!(next.since, at(1));
    assert_ne!(next.effect_key(), claim.effect_key());
}

/// A request that failed may have had its effect, so only the same one may be run under its effect key.
pub async fn a_bound_claim_leaves_its_key_free_for_the_same_request_alone(ports: &Ports) {
    let claim = ports.claim(&new(1, 0)).await;
    ports.release(&claim, Release::Bound).await;

    assert_eq!(ports.ask(&NewClaim { fingerprint: [9; 32], ..new(1, 1) }).await, Claimed::OtherRequest);
    let next = ports.claim(&new(1, 2)).await;

    assert_eq!(next.since, at(0));
    assert_eq!(next.effect_key(), claim.effect_key());
}

/// To the second, whatever the key stood for and whether or not it was purged.
pub async fn a_key_is_free_after_a_day(ports: &Ports) {
    let (answered, running) = (ports.claim(&new(1, 0)).await, ports.claim(&new(2, 0)).await);
    assert!(ports.complete(&answered, &answer("made")).await);
    assert_eq!(ports.ask(&new(1, DAY - 1)).await, Claimed::Answered(answer("made")));

    let other = ports.claim(&NewClaim { fingerprint: [9; 32], ..new(1, DAY) }).await;
    let again = ports.claim(&new(2, DAY)).await;

    assert_eq!((other.since, again.since), (at(DAY), at(DAY)));
    assert_ne!(other.effect_key(), answered.effect_key());
    assert!(!ports.complete(&running, &answer("late")).await);
    assert_eq!(ports.ask(&NewClaim { fingerprint: [9; 32], ..new(1, DAY + 1) }).await, Claimed::Running);
}

/// The beginning is read back from the store by whoever takes over, and must then be what it was at first.
pub async fn what_is_finer_than_a_microsecond_is_cut_off(ports: &Ports) {
    let fine = at(0) + Duration::from_nanos(1_234_567);
    let first = ports.claim(&NewClaim { at: fine, ..brief(1, 0) }).await;

    let next = ports.claim(&new(1, 60)).await;

    assert_eq!(first.since, at(0) + Duration::from_micros(1234));
    assert_eq!(next.since, first.since);
}

/// A moderator destroys a text; its author's retry shows the tombstone. What is only hidden stays in its author's answers.
pub async fn what_is_purged_is_purged_from_answers_too(ports: &Ports) {
    ports.chat.create_channel(&Step::sample(at(0)), &NewChannel::sample(1)).await.expect("the channel is new");
    let messages = [NewMessage::sample("well met"), NewMessage::sample("fare well")];
    ports.chat.append(&messages).await.expect("the messages are written");
    let shows = |n: usize| StoredAnswer { resource: Some(messages[n].id.uuid()), ..answer("a text") };
    for (key, n) in [(1, 0), (2, 0), (3, 1)] {
        let claim = ports.claim(&new(key, 0)).await;
        assert!(ports.complete(&claim, &shows(n)).await);
    }
    let remove = async |n: usize, mode| {
        let removal = Removal { message: messages[n].id, reason: "insult".to_owned(), mode };
        ports.chat.remove(&Step::sample(at(5)), &removal).await.expect("the message exists");
    };

    remove(0, RemovalMode::Mask).await;
    assert_eq!(ports.ask(&new(1, 9)).await, Claimed::Answered(shows(0)));
    remove(0, RemovalMode::Purge).await;

    assert_eq!(ports.claim(&new(1, 10)).await.since, at(0));
    assert_eq!(ports.claim(&new(2, 10)).await.since, at(0));
    assert_eq!(ports.ask(&new(3, 10)).await, Claimed::Answered(shows(1)));
}

/// What is purged is as if it had never been; what is not still counts.
pub async fn old_keys_and_effects_are_purged_and_young_ones_stay(ports: &Ports) {
    let old = ports.claim(&new(1, 0)).await;
    assert!(ports.complete(&old, &answer("old")).await);
    let young = ports.claim(&new(2, 10)).await;
    assert!(ports.complete(&young, &answer("young")).await);
    let (first, second) = (ports.effect(0, 1, 1).await, ports.effect(10, 2, 2).await);

    assert_eq!(ports.purge(at(10), 500).await, 2);
    assert_eq!(ports.purge(at(10), 500).await, 0);

    assert_eq!(ports.claim(&new(1, 20)).await.since, at(20));
    assert_eq!(ports.ask(&new(2, 20)).await, Claimed::Answered(answer("young")));
    assert_ne!(ports.effect(20, 1, 3).await, first);
    assert_eq!(ports.effect(20, 2, 4).await, second);
}

/// Short statements, the oldest first.
pub async fn a_purge_ends_at_its_limit(ports: &Ports) {
    for n in 1..=5 {
        ports.claim(&new(n, n.into())).await;
    }
    open_guest(&*ports.accounts, 1).await;

    assert_eq!(ports.purge(at(100), 2).await, 2);
    assert_eq!(ports.ask(&new(3, 30)).await, Claimed::Running);
    assert_eq!(ports.claim(&new(1, 30)).await.since, at(30));
    assert_eq!([ports.purge(at(20), 2).await, ports.purge(at(20), 2).await, ports.purge(at(20), 2).await], [2, 1, 0]);
}
