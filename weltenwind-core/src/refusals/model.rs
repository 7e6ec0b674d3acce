//! What was tried, by whom and how often.

use serde_json::json;

use crate::{
    access::Permission,
    actor::CorrelationId,
    clock::Timestamp,
    code::Code,
    ids::{AccountId, DeviceId, SessionId},
    scope::Scope,
    step::{AuditDraft, Outcome, Step},
};

/// What somebody tried to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Attempt {
    /// Something that needs a permission.
    Permission(Permission),
    /// To sign in.
    SignIn,
    /// To set another password.
    PasswordChange,
    /// To spend a one-time link for an owner.
    Bootstrap,
}

impl Attempt {
    /// Returns under which action it stands in the audit log.
    pub const fn action(self) -> &'static str {
        match self {
            Self::Permission(_) => "permission.refused",
            Self::SignIn => "session.open.refused",
            Self::PasswordChange => "account.password.refused",
            Self::Bootstrap => "account.bootstrap.refused",
        }
    }
}

/// A row of the audit log: one refused attempt, or what became of several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedAttempt {
    /// What was tried.
    pub attempt: Attempt,
    /// Why it was refused.
    pub code: Code,
    /// Where it was tried first.
    pub scope: Scope,
    /// Whose account was asked for, if it was not one's own and there is such a one.
    pub target: Option<AccountId>,
    /// Who tried, if that is known.
    pub actor: Option<AccountId>,
    /// The session of the first attempt.
    pub session: Option<SessionId>,
    /// The device of the first attempt.
    pub device: Option<DeviceId>,
    /// The request of the first attempt.
    pub correlation_id: CorrelationId,
    /// When the first one was.
    pub first_at: Timestamp,
    /// When the last one was.
    pub last_at: Timestamp,
    /// How many there were.
    pub count: u64,
    /// Whether it stands for many who tried the same, of whom only the first is named.
    pub others: bool,
}

impl RefusedAttempt {
    /// Returns what an adapter writes: the step, of which the audit row says who and what, and the outcome that names whom it
    /// was about.
    pub fn audited(&self) -> (Step, Outcome) {
        let mut details = json!({ "code": self.code.as_str(), "count": self.count, "until": self.last_at.to_string() });
        if let Attempt::Permission(permission) = self.attempt {
            details["permission"] = permission.as_str().into();
        }
        if self.others {
            details["others"] = true.into();
        }
        let step = Step {
            actor: self.actor,
            session: self.session,
            device: self.device,
            correlation_id: self.correlation_id.clone(),
            at: self.first_at,
            effect_key: None,
            audit: AuditDraft::new(self.attempt.action(), self.scope).with(details),
            jobs: Vec::new(),
            finishes: Vec::new(),
        };
        let outcome = self.target.map_or_else(|| Outcome::of(self.scope), Outcome::of);
        (step, outcome)
    }
}
