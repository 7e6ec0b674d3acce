//! One transaction of a store: who caused it, when, and what is to be written about it.

use serde_json::Value;

use crate::{
    actor::CorrelationId,
    clock::Timestamp,
    ids::{AccountId, DeviceId, SessionId},
    scope::Scope,
};

/// The context of a mutating call; every mutating port method takes one beside its command.
///
/// An adapter first asks whether the effect key has been seen: then it answers what was made the first time and changes
/// nothing. Otherwise it does its work, and writes the audit row and the effect key's result in the same transaction.
#[derive(Debug, Clone)]
pub struct Step {
    /// The account that acts; none for the operator and for sign-ins.
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
}

impl Step {
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
        }
    }
}

/// The hashed key of a request whose repeat must not have a second effect.
///
/// The host derives it from the caller, the method, the path and the key that the caller sent.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EffectKey([u8; 32]);

impl EffectKey {
    /// Wraps a SHA-256 digest.
    pub const fn new(digest: [u8; 32]) -> Self {
        Self(digest)
    }

    /// Returns the digest.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
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
}

impl Outcome {
    /// Names the thing that was made or changed.
    #[expect(clippy::needless_pass_by_value, reason = "ids are small, and a reference at every call says nothing")]
    pub fn of(target: impl ToString) -> Self {
        Self { target: target.to_string() }
    }
}
