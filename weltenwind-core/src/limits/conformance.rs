//! What every [`RateLimiter`] must do: plain functions, each named as the sentence it proves.
//!
//! [`rate_limiter_conformance!`](crate::rate_limiter_conformance) makes a test of each.

use std::{sync::Arc, time::Duration};

use super::{
    key::{Bucket, LimitKey},
    policy::Policy,
    port::RateLimiter,
    quota::{Quota, Unit, Verdict},
};
use crate::{
    clock::ManualClock,
    ids::{AccountId, ChannelId, DeviceId},
    room::Room,
};

/// Makes a test of every case of [`conformance`](crate::limits::conformance).
///
/// The fixture is a future of a guard, which is dropped after the case, and of [`Limiters`] that nobody was charged by before.
/// Tests run on tokio with its features `macros`, `rt-multi-thread` and `time`.
///
/// ```
/// mod memory {
///     # use std::sync::Arc;
///     # use weltenwind_core::{ManualClock, limits::{MemoryRateLimiter, conformance::Limiters}};
///     weltenwind_core::rate_limiter_conformance!(async {
///         let clock = Arc::new(ManualClock::default());
///         ((), Limiters::one(Arc::new(MemoryRateLimiter::new(clock.clone())), clock))
///     });
/// }
/// ```
#[macro_export]
macro_rules! rate_limiter_conformance {
    ($fixture:expr $(, ignore = $reason:literal)?) => {
        $crate::rate_limiter_conformance! { @tests $fixture, [$(#[ignore = $reason])?],
            a_burst_passes_and_the_next_call_does_not
            a_refusal_takes_nothing
            after_the_named_wait_the_next_call_passes
            what_a_bucket_gets_back_is_its_burst_and_no_more
            a_state_is_told_and_nothing_is_taken
            policies_and_keys_are_counted_apart
            an_address_counts_whole_or_by_its_network
            nodes_share_one_quota
            calls_at_once_never_take_more_than_there_is
            a_bucket_is_bound_by_the_quota_it_is_asked_with
            the_longest_span_is_kept_exactly
        }
    };
    (@tests $fixture:expr, $attributes:tt, $($case:ident)+) => {
        $($crate::rate_limiter_conformance! { @test $fixture, $attributes, $case })+
    };
    (@test $fixture:expr, [$($attribute:tt)*], $case:ident) => {
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        $($attribute)*
        async fn $case() {
            let (_guard, limiters) = $fixture.await;
            $crate::limits::conformance::$case(&limiters).await;
        }
    };
}

/// The limiters of two nodes that share what they count, and how time passes for them.
#[derive(Debug, Clone)]
pub struct Limiters {
    /// One node's.
    pub here: Arc<dyn RateLimiter>,
    /// The other's.
    pub there: Arc<dyn RateLimiter>,
    /// The clock that both count by; none if they have one of their own, which cannot be moved.
    pub clock: Option<Arc<ManualClock>>,
}

impl Limiters {
    /// A limiter that knows no other process: both nodes are one.
    pub fn one(limiter: Arc<dyn RateLimiter>, clock: Arc<ManualClock>) -> Self {
        Self { here: Arc::clone(&limiter), there: limiter, clock: Some(clock) }
    }

    async fn pass(&self, time: Duration) {
        match &self.clock {
            Some(clock) => clock.advance(time),
            // A limiter's clock is another one than that which wakes us.
            None => tokio::time::sleep(time + Duration::from_millis(5)).await,
        }
    }
}

/// So few that none comes back while a case runs, on the slowest machine.
const FEW: Quota = Quota::per(1, Unit::Day).burst(5);
/// So many that waiting for one is no pain, and so slow that a burst of them takes a moment to come back.
const QUICK: Quota = Quota::per(5, Unit::Second).burst(2);

fn account(n: u128) -> LimitKey {
    LimitKey::Account(AccountId::new(uuid::Uuid::from_u128(n)))
}

fn bucket(n: u128, quota: Quota) -> Bucket {
    Bucket { policy: Policy::Chat, key: account(n), quota }
}

/// Takes everything that is left, and answers the refusal.
async fn empty(limiter: &dyn RateLimiter, bucket: &Bucket) -> Verdict {
    loop {
        let verdict = limiter.take(bucket).await;
        if !verdict.is_allowed() {
            return verdict;
        }
    }
}

/// People come in bursts, and robots do not get further by it.
pub async fn a_burst_passes_and_the_next_call_does_not(limiters: &Limiters) {
    let bucket = bucket(1, FEW);

    for remaining in (0..5).rev() {
        let verdict = limiters.here.take(&bucket).await;
        assert_eq!((verdict.is_allowed(), verdict.remaining, verdict.quota), (true, remaining, FEW));
        assert!(verdict.reset_after <= FEW.window());
    }

    let refused = limiters.here.take(&bucket).await;
    let day = Duration::from_hours(24);
    assert!(refused.retry_after.is_some_and(|wait| wait <= day && wait > day / 2), "{refused:?}");
    assert_eq!(refused.remaining, 0);
}

/// Who knocks in vain does not have to wait longer for it.
pub async fn a_refusal_takes_nothing(limiters: &Limiters) {
    let bucket = bucket(1, FEW);
    let first = empty(&*limiters.here, &bucket).await;

    let mut last = first;
    for _ in 0..20 {
        last = limiters.here.take(&bucket).await;
    }

    assert!(last.retry_after.is_some() && last.retry_after <= first.retry_after, "{first:?} and then {last:?}");
}

/// A client that waits as it is told gets through.
pub async fn after_the_named_wait_the_next_call_passes(limiters: &Limiters) {
    let bucket = bucket(1, QUICK);
    for _ in 0..3 {
        let wait = empty(&*limiters.here, &bucket).await.retry_after.expect("it is refused");
        assert!(wait <= Duration::from_millis(200), "{wait:?}");

        limiters.pass(wait).await;

        assert!(limiters.here.take(&bucket).await.is_allowed());
    }
}

/// Patience is not saved up.
pub async fn what_a_bucket_gets_back_is_its_burst_and_no_more(limiters: &Limiters) {
    let bucket = bucket(1, QUICK);
    empty(&*limiters.here, &bucket).await;

    limiters.pass(QUICK.window() * 5).await;

    let told = limiters.here.peek(&bucket).await;
    assert_eq!((told.remaining, told.reset_after, told.retry_after), (2, Duration::ZERO, None));
    assert_eq!(limiters.here.take(&bucket).await.remaining, 1);
}

/// One may look as often as one likes.
pub async fn a_state_is_told_and_nothing_is_taken(limiters: &Limiters) {
    let bucket = bucket(1, FEW);
    limiters.here.take(&bucket).await;

    for _ in 0..10 {
        let told = limiters.here.peek(&bucket).await;
        assert_eq!((told.is_allowed(), told.remaining), (true, 4));
    }

    empty(&*limiters.here, &bucket).await;
    let told = limiters.here.peek(&bucket).await;
    assert!(!told.is_allowed() && told.remaining == 0 && told.reset_after > Duration::from_hours(100), "{told:?}");
}

/// Nobody pays for another, and nobody's messages for their sign-ins.
pub async fn policies_and_keys_are_counted_apart(limiters: &Limiters) {
    let id = uuid::Uuid::from_u128(1);
    let keys = [
        account(1),
        account(2),
        LimitKey::Issuer(AccountId::new(id)),
        LimitKey::Device(DeviceId::new(id)),
        LimitKey::Room(Room::User(AccountId::new(id))),
        LimitKey::Room(Room::Channel(ChannelId::new(id))),
        LimitKey::Room(Room::Global),
        LimitKey::of_address([192, 0, 2, 1].into()),
    ];

    for policy in Policy::ALL {
        for key in keys {
            let bucket = Bucket { policy: *policy, key, quota: FEW };
            assert_eq!(limiters.here.take(&bucket).await.remaining, 4, "{bucket}");
        }
    }
}

/// Whoever has a network of addresses has one quota.
pub async fn an_address_counts_whole_or_by_its_network(limiters: &Limiters) {
    let left = async |address: &str| {
        let key = LimitKey::of_address(address.parse().expect("an address"));
        limiters.here.take(&Bucket { policy: Policy::Auth, key, quota: FEW }).await.remaining
    };

    assert_eq!(left("192.0.2.1").await, 4);
    assert_eq!(left("192.0.2.2").await, 4, "a neighbour is another");
    assert_eq!(left("::ffff:192.0.2.1").await, 3, "the same in another spelling");
    assert_eq!(left("2001:db8:0:1::1").await, 4);
    assert_eq!(left("2001:db8:0:1:ffff::2").await, 3, "the same network");
    assert_eq!(left("2001:db8:0:2::1").await, 4, "the next network");
}

/// Whoever goes from node to node gets no more than who stays.
pub async fn nodes_share_one_quota(limiters: &Limiters) {
    let bucket = bucket(1, FEW);

    let mut left = Vec::new();
    for n in 0..6 {
        let node = if n % 2 == 0 { &limiters.here } else { &limiters.there };
        let verdict = node.take(&bucket).await;
        left.push((verdict.is_allowed(), verdict.remaining));
    }

    assert_eq!(left, [(true, 4), (true, 3), (true, 2), (true, 1), (true, 0), (false, 0)]);
    assert!(!limiters.here.peek(&bucket).await.is_allowed() && !limiters.there.peek(&bucket).await.is_allowed());
}

/// A hundred calls at the same moment are a hundred calls.
pub async fn calls_at_once_never_take_more_than_there_is(limiters: &Limiters) {
    let bucket = bucket(1, Quota::per(1, Unit::Day).burst(10));
    let mut calls = tokio::task::JoinSet::new();
    for n in 0..100 {
        let node = Arc::clone(if n % 2 == 0 { &limiters.here } else { &limiters.there });
        calls.spawn(async move { node.take(&bucket).await.is_allowed() });
    }

    let passed = calls.join_all().await.into_iter().filter(|passed| *passed).count();

    assert_eq!(passed, 10);
}

/// An operator who changes a quota does not lock anybody out for as long as the old one would have.
pub async fn a_bucket_is_bound_by_the_quota_it_is_asked_with(limiters: &Limiters) {
    empty(&*limiters.here, &bucket(1, FEW)).await;

    let refused = limiters.here.take(&bucket(1, QUICK)).await;

    let wait = refused.retry_after.expect("what was taken is taken");
    assert!(wait <= Duration::from_millis(200), "{wait:?}");
    limiters.pass(wait).await;
    assert!(limiters.here.take(&bucket(1, QUICK)).await.is_allowed(), "the debt was cut when it was asked about");
}

/// A month in microseconds does not lose its last digits on the way.
pub async fn the_longest_span_is_kept_exactly(limiters: &Limiters) {
    let month = bucket(1, Quota::per(1, Unit::Day).burst(31));

    for remaining in (0..31).rev() {
        let verdict = limiters.here.take(&month).await;
        assert_eq!((verdict.is_allowed(), verdict.remaining), (true, remaining));
    }

    assert!(!limiters.here.take(&month).await.is_allowed());
}
