//! One transaction of a store: who caused it, when, and what is to be written about it.

use serde_json::Value;
use uuid::Uuid;

use crate::{
    actor::CorrelationId,
    clock::Timestamp,
    ids::{AccountId, DeviceId, SessionId},
    outbox::{Lease, NewJob},
    revocations::Loss,
    scope::Scope,
};

/// The context of a mutating call; every mutating port method takes one beside its command.
///
/// An adapter first asks whether the effect key has been seen: then it answers what was made the first time and changes
/// nothing. Otherwise it does its work, and writes the audit row and the effect key's result in the same transaction.
#[derive(Debug, Clone)]
pub struct Step {
    /// The account or API key that acts; none for the operator and for sign-ins.
    pub actor: Option<AccountId>,
    /// The session it acts on.
    pub session: Option<SessionId>,
    /// The device it acts from.
    pub device: Option<DeviceId>,
    /// The request.
    pub correlation_id: CorrelationId,
    /// When it happens.
    pub at: Timestamp,
    /// The key under which a repeat has no second effect.
    pub effect_key: Option<EffectKey>,
    /// What the audit log says of it.
    pub audit: AuditDraft,
    /// The work that follows from it, written in the same transaction. Adapters in memory have no outbox, and drop it.
    pub jobs: Vec<NewJob>,
    /// The jobs whose effect it is. They are finished in the same transaction, which fails if one of them is held by somebody
    /// else meanwhile: then there was no effect.
    pub finishes: Vec<Lease>,
}

impl Step {
    /// Adds work that follows from it; once the step is committed, [`Outbox::wake`](crate::outbox::Outbox::wake) tells the
    /// workers.
    #[must_use]
    pub fn with_jobs(mut self, jobs: impl IntoIterator<Item = NewJob>) -> Self {
        self.jobs.extend(jobs);
        self
    }

    /// A step for tests of adapters.
    #[cfg(any(test, feature = "conformance"))]
    pub fn sample(at: Timestamp) -> Self {
        Self {
            actor: None,
            session: None,
            device: None,
            correlation_id: CorrelationId::accept("conformance").expect("the text fits"),
            at,
            effect_key: None,
            audit: AuditDraft::new("test.step", Scope::Global),
            jobs: Vec::new(),
            finishes: Vec::new(),
        }
    }
}

/// The hashed key of a request whose repeat must not have a second effect.
///
/// The host derives it from the caller, the method, the path, the key that the caller sent, and when that key was first used.
/// It stands for one step: a request that takes a second one takes it under another key, or none.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EffectKey([u8; 32]);

impl EffectKey {
    /// Wraps bytes that no other request has.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Makes a key of a digest and of when the request was first made, which comes first: the store's index grows at its end.
    pub fn of(digest: [u8; 32], since: Timestamp) -> Self {
        let mut bytes = digest;
        bytes[..6].copy_from_slice(&since.as_millisecond().to_be_bytes()[2..]);
        Self(bytes)
    }

    /// Returns the bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Returns an identifier for what the step makes, the same for every repeat: where a step has no record of its own, a
    /// repeat is known by it.
    ///
    /// It is a UUID of version 7. That of a key made by [`EffectKey::of`] sorts by when the request was first made.
    pub fn id(&self) -> Uuid {
        let mut millis = [0; 8];
        millis[2..].copy_from_slice(&self.0[..6]);
        let rest = self.0[6..16].try_into().expect("10 of 32 bytes");
        uuid::Builder::from_unix_timestamp_millis(u64::from_be_bytes(millis), rest).into_uuid()
    }
}

/// What the audit log will say; facts known only inside the transaction come with the [`Outcome`].
#[derive(Debug, Clone, PartialEq)]
pub struct AuditDraft {
    /// `resource.verb`, for example `world.create`.
    pub action: &'static str,
    /// Where it happens.
    pub scope: Scope,
    /// Why, in the words of who acts.
    pub reason: Option<String>,
    /// What else is worth knowing; never a secret, never a message's text.
    pub details: Value,
}

impl AuditDraft {
    /// A draft without reason and details.
    pub const fn new(action: &'static str, scope: Scope) -> Self {
        Self { action, scope, reason: None, details: Value::Null }
    }

    /// Adds a reason.
    #[must_use]
    pub fn because(mut self, reason: impl Into<String>) -> Self {
        self.reason = Some(reason.into());
        self
    }

    /// Adds details.
    #[must_use]
    pub fn with(mut self, details: Value) -> Self {
        self.details = details;
        self
    }
}

/// What became known inside the transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The thing that was made or changed, as an identifier; it answers a repeat of the effect key.
    pub target: String,
    /// What was taken from whom; written into the log of losses, numbered as the last thing before the commit.
    pub losses: Vec<Loss>,
}

impl Outcome {
    /// Names the thing that was made or changed.
    #[expect(clippy::needless_pass_by_value, reason = "ids are small, and a reference at every call says nothing")]
    pub fn of(target: impl ToString) -> Self {
        Self { target: target.to_string(), losses: Vec::new() }
    }

    /// Adds what was taken.
    #[must_use]
    pub fn losing(mut self, losses: impl IntoIterator<Item = Loss>) -> Self {
        self.losses.extend(losses);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_of_a_key_is_of_version_seven_and_tells_when_the_request_was_made() {
        let since = Timestamp::from_millisecond(1_767_225_600_123).unwrap();
        let (key, other) = (EffectKey::of([255; 32], since), EffectKey::of([254; 32], since));

        assert_eq!((key.id().get_version_num(), key.id().get_variant()), (7, uuid::Variant::RFC4122));
        assert_eq!(key.id().get_timestamp().unwrap().to_unix(), (1_767_225_600, 123_000_000));
        assert!(key.id() == key.clone().id() && key.id() != other.id() && key != other);
    }
}
