//! The rules of keys.

use std::sync::Arc;

use super::{
    error::IdempotencyError,
    model::{Admission, Claim, Claimed, KEPT, KeyedRequest, LEASE, MAX_ANSWER, NewClaim, Release, StoredAnswer},
    store::IdempotencyStore,
};
use crate::{
    actor::Actor,
    limits::{Limits, Policy},
    services::Sources,
};

/// Rows that one statement of the retention job deletes: short enough not to hold up who writes.
const PURGE_SLICE: u32 = 500;

/// Requests under a key: run once, and answered alike within the day.
///
/// A host admits a request, runs it with the claim's [effect key](Claim::effect_key) in its [`Actor`](crate::Actor), and
/// settles the claim before it answers.
#[derive(Debug, Clone)]
pub struct Idempotency {
    store: Arc<dyn IdempotencyStore>,
    limits: Limits,
    sources: Sources,
}

impl Idempotency {
    /// Wires the rules to their port.
    pub fn new(store: Arc<dyn IdempotencyStore>, limits: Limits, sources: Sources) -> Self {
        Self { store, limits, sources }
    }

    /// Says whether a request is run or answered as before.
    ///
    /// # Errors
    ///
    /// [`IdempotencyError::InProgress`], [`IdempotencyError::KeyReused`].
    pub async fn admit(&self, request: &KeyedRequest<'_>) -> Result<Admission, IdempotencyError> {
        let claim = NewClaim {
            key: request.record_key(),
            account: request.account,
            fingerprint: request.fingerprint(),
            holder: self.sources.ids.draw(),
            at: self.sources.clock.now(),
            lease: LEASE,
        };
        match self.store.claim(&claim).await? {
            Claimed::Fresh(claim) => Ok(Admission::Run(claim)),
            Claimed::Answered(answer) => Ok(Admission::Repeat(answer)),
            Claimed::Running => Err(IdempotencyError::InProgress),
            Claimed::OtherRequest => Err(IdempotencyError::KeyReused),
        }
    }

    /// Keeps the answer of a request that was run, if it is one that a repeat should get.
    ///
    /// That is what was done, and what is refused whoever asks again. Who is turned away for the moment (401, 403, 429) may
    /// ask again under the same key, as may who was sent elsewhere, and whoever's request failed: it may have had its effect.
    ///
    /// A refusal of a request that was charged nothing is kept at the price of a write: otherwise whoever sends nonsense
    /// under ever new keys would fill the store. Without a write left, a repeat is refused anew.
    pub async fn settle(&self, actor: &Actor, claim: &Claim, answer: &StoredAnswer) -> Result<(), IdempotencyError> {
        match answer.status {
            401 | 403 | 429 | 300..=399 => self.store.release(claim, Release::Forgotten).await?,
            400..=499 if !self.is_paid(actor).await => self.store.release(claim, Release::Forgotten).await?,
            200..=299 | 400..=499 if answer.body.len() <= MAX_ANSWER => {
                if !self.store.complete(claim, answer).await? {
                    tracing::debug!("a claim was taken over before it was settled");
                }
            }
            _ => self.store.release(claim, Release::Bound).await?,
        }
        Ok(())
    }

    async fn is_paid(&self, actor: &Actor) -> bool {
        let is_charged = actor.charges.as_ref().is_some_and(|charges| !charges.all().is_empty());
        is_charged || self.limits.charge(actor, Policy::Write).await.is_ok()
    }

    /// Gives back the claim of a request that ended without an answer: it may have had its effect, and can be run again.
    pub async fn abandon(&self, claim: &Claim) -> Result<(), IdempotencyError> {
        Ok(self.store.release(claim, Release::Bound).await?)
    }

    /// Deletes what is older than a day, and answers how many rows.
    pub async fn enforce_retention(&self) -> Result<u64, IdempotencyError> {
        let before = self.sources.clock.now() - KEPT;
        let mut deleted = 0;
        loop {
            match self.store.purge(before, PURGE_SLICE).await? {
                0 => return Ok(deleted),
                slice => deleted += slice,
            }
        }
    }
}
