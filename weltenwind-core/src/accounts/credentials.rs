//! What changes how an account is proven: another password, and a guest who registers. Both end every session and open one.

use serde_json::json;

use super::{
    error::AccountError,
    model::{Email, TokenHash, Username},
    password::{Password, PasswordRecord},
    service::{Accounts, Inner, SessionGrant},
};
use crate::{
    actor::Actor,
    clock::Timestamp,
    ids::{AccountId, DeviceId, SessionId},
    limits::Policy,
    refusals::Attempt,
    scope::Scope,
    secret::Secret,
    security::{self, Event},
    step::AuditDraft,
};

/// A session to be written that takes the place of another one, on the same device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NextSession {
    /// The session that is replaced; it must hold.
    pub replaces: SessionId,
    /// The session.
    pub id: SessionId,
    /// The device of both.
    pub device: DeviceId,
    /// The hash of its first refresh token.
    pub refresh: TokenHash,
    /// When it ends if it is not refreshed.
    pub idle_expires_at: Timestamp,
    /// When it ends in any case.
    pub expires_at: Timestamp,
}

/// Another password to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PasswordChange {
    /// Whose.
    pub account: AccountId,
    /// The record that the old password was checked against.
    pub checked: PasswordRecord,
    /// The new password, hashed.
    pub password: PasswordRecord,
    /// The session that stays.
    pub session: NextSession,
}

/// A guest who becomes a registered account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upgrade {
    /// The guest's account, which keeps its id.
    pub account: AccountId,
    /// The name to sign in with.
    pub username: Username,
    /// Where mail reaches its owner.
    pub email: Option<Email>,
    /// The hashed password.
    pub password: PasswordRecord,
    /// The session that stays.
    pub session: NextSession,
}

impl Accounts {
    /// Gives the actor another password, ends all its sessions with their sockets, and answers a new one.
    ///
    /// # Errors
    ///
    /// [`AccountError::InvalidCredentials`] if `current` is not the present password, also because another change was
    /// faster; unavailable if this node cannot read what was lost.
    pub async fn change_password(
        &self,
        actor: &Actor,
        current: &str,
        new: Password,
    ) -> Result<SessionGrant, AccountError> {
        let inner = &self.inner;
        let (account, session, device) = acting(actor)?;
        inner.limits.charge(actor, Policy::Auth).await?;
        inner.limits.check(actor, Policy::FailedSignIn).await?;
        inner.limits.charge(actor, Policy::SignIn).await?;
        inner.revocations.require_fresh().await?;
        let checked = inner.accounts.password(account).await?;
        // A guest has none; the work is the same.
        let record = match &checked {
            Some(checked) => checked.clone(),
            None => inner.decoy().await?,
        };
        let matches = inner.hasher.verify(Password::presented(current), record).await?;
        let Some(checked) = checked.filter(|_| matches) else {
            security::note(Event::PasswordCheckFailed, actor, Some(account), "invalid-credentials");
            self.note_wrong_credentials(actor, Attempt::PasswordChange, None);
            inner.limits.charge(actor, Policy::FailedSignIn).await?;
            return Err(AccountError::InvalidCredentials);
        };
        let password = inner.hasher.hash(new).await?;
        let now = inner.sources.clock.now();
        let (session, refresh) = inner.next_session(session, device, now);
        let audit = AuditDraft::new("account.password", Scope::Global).with(json!({ "session": session.id }));
        let change = PasswordChange { account, checked, password, session };
        let signed_in = inner.accounts.change_password(&actor.step(now, audit), &change).await?;
        security::note(Event::PasswordChanged, actor, Some(account), "changed");
        inner.revocations.announce().await;
        inner.grant(signed_in, refresh, now)
    }

    /// Makes a registered account of a guest. The account keeps its id, its name and what it has written; its sessions end
    /// with their sockets, and a new one is answered.
    ///
    /// # Errors
    ///
    /// [`AccountError::AlreadyRegistered`] if it is no guest's, also because another call was faster;
    /// [`AccountError::UsernameTaken`]; unavailable if this node cannot read what was lost.
    pub async fn upgrade(
        &self,
        actor: &Actor,
        username: Username,
        password: Password,
        email: Option<Email>,
    ) -> Result<SessionGrant, AccountError> {
        let inner = &self.inner;
        let (account, session, device) = acting(actor)?;
        if actor.principal().is_some_and(|principal| !principal.kind.is_guest()) {
            return Err(AccountError::AlreadyRegistered);
        }
        inner.limits.charge(actor, Policy::Auth).await?;
        inner.revocations.require_fresh().await?;
        let password = inner.hasher.hash(password).await?;
        let now = inner.sources.clock.now();
        let (session, refresh) = inner.next_session(session, device, now);
        let audit = AuditDraft::new("account.upgrade", Scope::Global).with(json!({ "session": session.id }));
        let upgrade = Upgrade { account, username, email, password, session };
        let signed_in = inner.accounts.upgrade(&actor.step(now, audit), &upgrade).await?;
        inner.revocations.announce().await;
        inner.grant(signed_in, refresh, now)
    }
}

/// Returns whose session is acted on, and where.
pub(super) fn acting(actor: &Actor) -> Result<(AccountId, SessionId, DeviceId), AccountError> {
    let account = actor.oneself()?.account;
    let (session, device) = actor.session.zip(actor.device).ok_or(AccountError::SignInRequired)?;
    Ok((account, session, device))
}

impl Inner {
    /// Makes the session that takes the place of another one, with its refresh token.
    pub(super) fn next_session(
        &self,
        replaces: SessionId,
        device: DeviceId,
        now: Timestamp,
    ) -> (NextSession, Secret<String>) {
        let id = SessionId::new(self.sources.ids.draw());
        let refresh = self.refresh_token(id, 0);
        let session = NextSession {
            replaces,
            id,
            device,
            refresh: TokenHash::of(refresh.expose()),
            idle_expires_at: now + self.config.session_idle,
            expires_at: now + self.config.session_life,
        };
        (session, refresh)
    }
}
