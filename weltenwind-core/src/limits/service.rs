//! The question that services ask.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use super::{
    config::LimitsConfig,
    error::RateLimited,
    key::{Bucket, LimitKey},
    memory::MemoryRateLimiter,
    policy::{KeyKind, Policy},
    port::RateLimiter,
    quota::Verdict,
};
use crate::{
    actor::{Actor, Identity},
    clock::Clock,
    ids::AccountId,
};

/// Charges actors for what they do. Clones share everything.
#[derive(Debug, Clone)]
pub struct Limits {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    limiter: Arc<dyn RateLimiter>,
    config: LimitsConfig,
    refusals: [AtomicU64; Policy::ALL.len()],
}

/// How an actor stands with a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitState {
    /// The policy.
    pub policy: Policy,
    /// By whom the actor is counted.
    pub key: KeyKind,
    /// What is left.
    pub verdict: Verdict,
}

impl Limits {
    /// Decides by a limiter and a table of quotas.
    pub fn new(limiter: Arc<dyn RateLimiter>, config: LimitsConfig) -> Self {
        Self { inner: Arc::new(Inner { limiter, config, refusals: Default::default() }) }
    }

    /// Decides inside this process.
    pub fn in_process(clock: Arc<dyn Clock>, config: LimitsConfig) -> Self {
        Self::new(Arc::new(MemoryRateLimiter::new(clock)), config)
    }

    /// Charges the actor one call. The operator is never charged, and neither is somebody of whom nothing is known that the
    /// policy counts by: an embedding program that names no address has no limits per address.
    ///
    /// # Errors
    ///
    /// [`RateLimited`] if the quota is used up; then nothing was charged.
    pub async fn charge(&self, actor: &Actor, policy: Policy) -> Result<(), RateLimited> {
        self.take(actor, actor.id(), policy).await
    }

    /// Charges one call as if the actor were this account: for somebody who is about to sign in to it.
    ///
    /// # Errors
    ///
    /// [`RateLimited`] if the quota is used up; then nothing was charged.
    pub async fn charge_for(&self, actor: &Actor, account: AccountId, policy: Policy) -> Result<(), RateLimited> {
        self.take(actor, Some(account), policy).await
    }

    async fn take(&self, actor: &Actor, as_id: Option<AccountId>, policy: Policy) -> Result<(), RateLimited> {
        let Some(bucket) = self.bucket(actor, as_id, policy) else { return Ok(()) };
        let verdict = self.inner.limiter.take(&bucket).await;
        self.judge(actor, policy, verdict)
    }

    /// Charges one call to somebody else than who makes it: to the account that a password is presented for, say. The actor's
    /// host learns of it; the operator is never charged.
    ///
    /// # Errors
    ///
    /// [`RateLimited`] if the quota is used up; then nothing was charged.
    pub async fn charge_to(&self, actor: &Actor, policy: Policy, key: LimitKey) -> Result<(), RateLimited> {
        if actor.identity == Identity::Operator {
            return Ok(());
        }
        let bucket = Bucket { policy, key, quota: self.inner.config.quota(policy, key.kind()) };
        let verdict = self.inner.limiter.take(&bucket).await;
        self.judge(actor, policy, verdict)
    }

    /// Passes if the actor could be charged one call now, and charges nothing.
    ///
    /// # Errors
    ///
    /// [`RateLimited`] if the quota is used up.
    pub async fn check(&self, actor: &Actor, policy: Policy) -> Result<(), RateLimited> {
        let Some(bucket) = self.bucket(actor, actor.id(), policy) else { return Ok(()) };
        let verdict = self.inner.limiter.peek(&bucket).await;
        self.judge(actor, policy, verdict)
    }

    /// Tells how the actor stands with every policy that could be charged, and charges nothing.
    pub async fn state(&self, actor: &Actor) -> Vec<LimitState> {
        let mut states = Vec::new();
        for &policy in Policy::ALL {
            if let Some(bucket) = self.bucket(actor, actor.id(), policy) {
                let verdict = self.inner.limiter.peek(&bucket).await;
                states.push(LimitState { policy, key: bucket.key.kind(), verdict });
            }
        }
        states
    }

    /// Returns how often each policy has refused on this node.
    pub fn refusals(&self) -> impl Iterator<Item = (Policy, u64)> {
        Policy::ALL.iter().map(|policy| (*policy, self.inner.refusals[*policy as usize].load(Ordering::Relaxed)))
    }

    /// Returns how many decisions were made by what this node knew alone.
    pub fn fallbacks(&self) -> u64 {
        self.inner.limiter.fallbacks()
    }

    fn judge(&self, actor: &Actor, policy: Policy, verdict: Verdict) -> Result<(), RateLimited> {
        if let Some(charges) = &actor.charges {
            charges.note(policy, verdict);
        }
        let Some(retry_after) = verdict.retry_after else { return Ok(()) };
        self.inner.refusals[policy as usize].fetch_add(1, Ordering::Relaxed);
        Err(RateLimited { policy, retry_after })
    }

    fn bucket(&self, actor: &Actor, as_id: Option<AccountId>, policy: Policy) -> Option<Bucket> {
        if actor.identity == Identity::Operator {
            return None;
        }
        let key = policy.keyed_by().iter().find_map(|kind| key(actor, as_id, *kind))?;
        Some(Bucket { policy, key, quota: self.inner.config.quota(policy, key.kind()) })
    }
}

/// Returns the key of a kind of an actor, who counts as `as_id`, if there is one.
fn key(actor: &Actor, as_id: Option<AccountId>, kind: KeyKind) -> Option<LimitKey> {
    match kind {
        KeyKind::Account => as_id.map(LimitKey::Account),
        KeyKind::Issuer => as_id.map(LimitKey::Issuer),
        KeyKind::Device => actor.device.map(LimitKey::Device),
        KeyKind::Address => actor.address.map(LimitKey::of_address),
        KeyKind::AccountAddress => as_id.zip(actor.address).map(|(id, address)| LimitKey::of_account_at(id, address)),
        // A room is where somebody acts, and nothing that they are.
        KeyKind::Room => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        actor::CorrelationId,
        clock::ManualClock,
        limits::{Charges, Quota, Unit},
    };

    fn limits(quota: Quota) -> (Limits, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::default());
        (Limits::in_process(clock.clone(), LimitsConfig::uniform(quota)), clock)
    }

    fn visitor(address: &str) -> Actor {
        let address = Some(address.parse().unwrap());
        Actor { address, ..Actor::anonymous(CorrelationId::accept("a-request").unwrap()) }
    }

    #[tokio::test]
    async fn a_refusal_is_counted_and_says_when_to_come_back() {
        let (limits, clock) = limits(Quota::per(1, Unit::Minute));
        let mira = Actor::player("Mira");
        limits.charge(&mira, Policy::Chat).await.unwrap();
        clock.advance(Duration::from_secs(20));

        let refused = limits.charge(&mira, Policy::Chat).await.unwrap_err();

        assert_eq!(refused, RateLimited { policy: Policy::Chat, retry_after: Duration::from_secs(40) });
        let counted: Vec<_> = limits.refusals().filter(|(_, count)| *count > 0).collect();
        assert_eq!(counted, [(Policy::Chat, 1)]);
        limits.charge(&mira, Policy::Write).await.expect("another policy");
        limits.charge(&Actor::player("Lu"), Policy::Chat).await.expect("another player");
        clock.advance(Duration::from_secs(40));
        limits.charge(&mira, Policy::Chat).await.expect("the named time has passed");
    }

    #[tokio::test]
    async fn the_operator_is_never_charged() {
        let (limits, _) = limits(Quota::per(1, Unit::Day));
        let operator = Actor { address: visitor("192.0.2.1").address, ..Actor::operator() };

        for _ in 0..3 {
            for policy in Policy::ALL {
                limits.charge(&operator, *policy).await.expect("the operator may");
            }
        }

        assert!(limits.state(&operator).await.is_empty());
    }

    #[tokio::test]
    async fn visitors_are_counted_by_address_and_not_at_all_without_one() {
        let (limits, _) = limits(Quota::per(1, Unit::Day));
        limits.charge(&visitor("192.0.2.1"), Policy::Auth).await.unwrap();
        limits.charge(&visitor("2001:db8:0:1::1"), Policy::Auth).await.unwrap();

        for same in ["192.0.2.1", "::ffff:192.0.2.1", "2001:db8:0:1:ffff::2"] {
            assert!(limits.charge(&visitor(same), Policy::Auth).await.is_err(), "{same}");
        }
        for other in ["192.0.2.2", "2001:db8:0:2::1"] {
            assert!(limits.charge(&visitor(other), Policy::Auth).await.is_ok(), "{other}");
        }
        let unknown = Actor { address: None, ..visitor("192.0.2.1") };
        for _ in 0..3 {
            assert!(limits.charge(&unknown, Policy::Auth).await.is_ok());
        }
    }

    #[tokio::test]
    async fn readers_are_counted_by_account_once_they_are_signed_in() {
        let (limits, _) = limits(Quota::per(1, Unit::Day));
        let address = visitor("192.0.2.1").address;
        limits.charge(&visitor("192.0.2.1"), Policy::Read).await.unwrap();

        let signed_in = Actor { address, ..Actor::player("Mira") };

        limits.charge(&signed_in, Policy::Read).await.expect("a count of its own");
        assert!(limits.charge(&signed_in, Policy::Read).await.is_err());
    }

    #[tokio::test]
    async fn a_state_is_told_and_nothing_is_charged() {
        let (limits, _) = limits(Quota::per(2, Unit::Day));
        let mira = Actor { address: visitor("192.0.2.1").address, ..Actor::player("Mira") };
        limits.charge(&mira, Policy::Chat).await.unwrap();

        for _ in 0..3 {
            let states = limits.state(&mira).await;

            let left: Vec<_> = states.iter().map(|state| (state.policy, state.verdict.remaining)).collect();
            // A room's count is not the actor's.
            let own = Policy::ALL.iter().filter(|policy| **policy != Policy::ChatRoom);
            let expected = own.map(|policy| (*policy, if *policy == Policy::Chat { 1 } else { 2 }));
            assert_eq!(left, expected.collect::<Vec<_>>());
        }
        let anonymous: Vec<_> = limits.state(&visitor("192.0.2.7")).await.iter().map(|state| state.policy).collect();
        assert_eq!(anonymous, [Policy::Auth, Policy::FailedSignIn, Policy::Guest, Policy::Read]);
    }

    #[tokio::test]
    async fn a_host_learns_what_was_charged() {
        let (limits, _) = limits(Quota::per(2, Unit::Day));
        let charges = Charges::default();
        let mira = Actor { charges: Some(charges.clone()), ..Actor::player("Mira") };

        limits.charge(&mira, Policy::Write).await.unwrap();
        limits.charge(&mira, Policy::Chat).await.unwrap();
        limits.charge(&mira, Policy::Write).await.unwrap();

        let noted: Vec<_> = charges.all().iter().map(|(policy, verdict)| (*policy, verdict.remaining)).collect();
        assert_eq!(noted, [(Policy::Write, 0), (Policy::Chat, 1)]);
    }
}
