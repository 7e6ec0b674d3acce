//! The limiter inside one process.

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, RandomState},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;

use super::{
    key::{Bucket, LimitKey},
    policy::Policy,
    port::RateLimiter,
    quota::Verdict,
};
use crate::clock::Clock;

/// Locks, so that callers seldom meet: a power of two.
const SHARDS: usize = 32;
/// Buckets that are remembered in all, some 60 bytes each.
const DEFAULT_CAPACITY: usize = 131_072;
/// A shard with fewer buckets is not worth looking through because it grows.
const FEW: usize = 64;
/// How often a shard is looked through for buckets that are full again, in microseconds.
const SWEEP_EVERY: i64 = 60_000_000;

/// [`RateLimiter`] by the generic cell rate algorithm, in the memory of one process.
///
/// A bucket is one instant: when it is full again. One that is full is not kept, so idle callers cost nothing; buckets are
/// looked through as they grow in number and at least once a minute. Their number is bounded: where a flood of new callers
/// reaches the bound, half of a shard is forgotten, those first that would be full soonest, so whoever has used up a quota is
/// remembered longest.
///
/// It is no adapter of the crate `governor`, because that neither tells a state without charging nor bounds its keys.
///
/// ```
/// use std::sync::Arc;
/// use weltenwind_core::{Actor, SystemClock, limits::{Bucket, LimitKey, MemoryRateLimiter, Policy, Quota, RateLimiter, Unit}};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let limiter = MemoryRateLimiter::new(Arc::new(SystemClock));
/// let key = LimitKey::of_address("203.0.113.7".parse().unwrap());
/// let bucket = Bucket { policy: Policy::Guest, key, quota: Quota::per(2, Unit::Day) };
///
/// assert!(limiter.take(&bucket).await.is_allowed() && limiter.take(&bucket).await.is_allowed());
/// assert!(!limiter.take(&bucket).await.is_allowed());
/// # }
/// ```
#[derive(Debug)]
pub struct MemoryRateLimiter {
    clock: Arc<dyn Clock>,
    hasher: RandomState,
    shards: Box<[Mutex<Shard>]>,
    /// Buckets that one shard may keep.
    capacity: usize,
}

type Name = (Policy, LimitKey);

#[derive(Debug)]
struct Shard {
    /// When each bucket is full again, in microseconds.
    full_at: HashMap<Name, i64>,
    /// With so many buckets they are looked through.
    crowded: usize,
    sweep_at: i64,
}

impl MemoryRateLimiter {
    /// Starts with every bucket full.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self::with_capacity(clock, DEFAULT_CAPACITY)
    }

    /// Starts with every bucket full, and never remembers more than `buckets`, rounded up to a multiple of 32.
    pub fn with_capacity(clock: Arc<dyn Clock>, buckets: usize) -> Self {
        let capacity = buckets.div_ceil(SHARDS).max(2);
        let shard = || Shard { full_at: HashMap::new(), crowded: FEW.min(capacity), sweep_at: i64::MIN };
        let shards = (0..SHARDS).map(|_| Mutex::new(shard())).collect();
        Self { clock, hasher: RandomState::new(), shards, capacity }
    }

    /// Takes one call out of a bucket, as [`RateLimiter::take`] does, without waiting for anything.
    pub fn take_now(&self, bucket: &Bucket) -> Verdict {
        let now = self.clock.now().as_microsecond();
        let name = (bucket.policy, bucket.key);
        let mut shard = self.shard(&name);
        if now >= shard.sweep_at || shard.full_at.len() >= shard.crowded {
            shard.sweep(now, self.capacity);
        }
        if let Some(full_at) = shard.full_at.get_mut(&name) {
            let verdict = bucket.quota.take(debt(*full_at, now));
            // After a refusal too: a debt that was larger than the quota allows is cut by it.
            *full_at = now + reset(&verdict);
            return verdict;
        }
        let verdict = bucket.quota.take(0);
        shard.full_at.insert(name, now + reset(&verdict));
        verdict
    }

    /// Tells what a bucket holds, as [`RateLimiter::peek`] does, without waiting for anything.
    pub fn peek_now(&self, bucket: &Bucket) -> Verdict {
        let now = self.clock.now().as_microsecond();
        let name = (bucket.policy, bucket.key);
        let full_at = self.shard(&name).full_at.get(&name).copied();
        bucket.quota.peek(full_at.map_or(0, |full_at| debt(full_at, now)))
    }

    /// Returns how many buckets are remembered.
    pub fn remembered(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).full_at.len()).sum()
    }

    fn shard(&self, name: &Name) -> MutexGuard<'_, Shard> {
        let hash = self.hasher.hash_one(name);
        let at = usize::try_from(hash % SHARDS as u64).expect("there are few shards");
        lock(&self.shards[at])
    }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How long until a bucket is full again, in microseconds.
fn debt(full_at: i64, now: i64) -> u64 {
    u64::try_from(full_at - now).unwrap_or(0)
}

fn reset(verdict: &Verdict) -> i64 {
    i64::try_from(verdict.reset_after.as_micros()).expect("a bucket is full again within a month")
}

impl Shard {
    /// Lets go of buckets that are full again and, if there is still no room, of the half that will be soonest.
    fn sweep(&mut self, now: i64, capacity: usize) {
        self.full_at.retain(|_, full_at| *full_at > now);
        if self.full_at.len() >= capacity {
            let mut instants: Vec<i64> = self.full_at.values().copied().collect();
            let middle = instants.len() / 2;
            let (_, &mut median, later) = instants.select_nth_unstable(middle);
            // Of those that are full at the very same instant only as many stay as there is room for.
            let later = later.iter().filter(|full_at| **full_at > median).count();
            let mut room = middle.saturating_sub(later);
            self.full_at.retain(|_, full_at| {
                let stays = *full_at > median || (*full_at == median && room > 0);
                room -= usize::from(*full_at == median && stays);
                stays
            });
        }
        let crowded = (self.full_at.len() * 2).clamp(FEW.min(capacity), capacity);
        if self.full_at.capacity() > crowded * 4 {
            self.full_at.shrink_to(crowded);
        }
        self.crowded = crowded;
        self.sweep_at = now.saturating_add(SWEEP_EVERY);
    }
}

#[async_trait]
impl RateLimiter for MemoryRateLimiter {
    async fn take(&self, bucket: &Bucket) -> Verdict {
        self.take_now(bucket)
    }

    async fn peek(&self, bucket: &Bucket) -> Verdict {
        self.peek_now(bucket)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        clock::{ManualClock, Timestamp},
        ids::AccountId,
        limits::{Quota, Unit},
    };

    fn bucket(n: u128, quota: Quota) -> Bucket {
        Bucket { policy: Policy::Chat, key: LimitKey::Account(AccountId::new(uuid::Uuid::from_u128(n))), quota }
    }

    fn limiter(buckets: usize) -> (MemoryRateLimiter, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::default());
        (MemoryRateLimiter::with_capacity(clock.clone(), buckets), clock)
    }

    #[test]
    fn a_flood_of_new_keys_does_not_take_the_memory_and_frees_nobody_who_is_refused() {
        const CAPACITY: usize = 1024;
        let (limiter, _) = limiter(CAPACITY);
        let quota = Quota::per(10, Unit::Minute);
        let greedy = bucket(0, quota);
        for _ in 0..10 {
            assert!(limiter.take_now(&greedy).is_allowed());
        }

        for n in 1..=20 * CAPACITY as u128 {
            limiter.take_now(&bucket(n, quota));
            assert!(n % 100 > 0 || limiter.remembered() <= CAPACITY, "{}", limiter.remembered());
        }

        assert!(!limiter.take_now(&greedy).is_allowed());
        assert!(limiter.remembered() > CAPACITY / 4, "no more than half is forgotten at once");
    }

    #[test]
    fn idle_keys_are_forgotten_by_whoever_comes_later() {
        let (limiter, clock) = limiter(1 << 17);
        let quota = Quota::per(60, Unit::Minute);
        for n in 0..10_000 {
            limiter.take_now(&bucket(n, quota));
        }
        assert_eq!(limiter.remembered(), 10_000);

        clock.advance(Duration::from_mins(2));
        for n in 0..1000 {
            limiter.take_now(&bucket(n, quota));
        }

        assert_eq!(limiter.remembered(), 1000);
        let kept: usize = limiter.shards.iter().map(|shard| lock(shard).full_at.capacity()).sum();
        assert!(kept < 10_000, "room for {kept} is kept");
    }

    #[test]
    fn a_clock_that_is_set_back_locks_nobody_out_for_longer_than_the_quota_says() {
        #[derive(Debug)]
        struct SetBack(std::sync::atomic::AtomicI64);
        impl Clock for SetBack {
            fn now(&self) -> Timestamp {
                Timestamp::from_second(self.0.load(std::sync::atomic::Ordering::SeqCst)).unwrap()
            }
        }
        let clock = Arc::new(SetBack(100_000.into()));
        let limiter = MemoryRateLimiter::new(clock.clone());
        let bucket = bucket(1, Quota::per(6, Unit::Minute));
        for _ in 0..6 {
            limiter.take_now(&bucket);
        }

        clock.0.store(10_000, std::sync::atomic::Ordering::SeqCst);

        assert_eq!(limiter.take_now(&bucket).retry_after, Some(Duration::from_secs(10)));
        clock.0.store(10_010, std::sync::atomic::Ordering::SeqCst);
        assert!(limiter.take_now(&bucket).is_allowed());
    }
}

#[cfg(test)]
mod suite {
    use super::*;
    use crate::{clock::ManualClock, limits::conformance::Limiters};

    crate::rate_limiter_conformance!(async {
        let clock = Arc::new(ManualClock::default());
        let limiter: Arc<dyn RateLimiter> = Arc::new(MemoryRateLimiter::new(clock.clone()));
        ((), Limiters::one(limiter, clock))
    });
}
