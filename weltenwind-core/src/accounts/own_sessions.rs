//! An account's sessions: seen, and ended one by one or all but one.

use serde_json::json;

use super::{
    devices::Device,
    error::AccountError,
    model::{Account, Session},
    service::Accounts,
};
use crate::{
    actor::{Actor, Identity},
    clock::Timestamp,
    ids::{AccountId, SessionId},
    limits::Policy,
    page::{Limit, Page},
    scope::Scope,
    security::{self, Event},
    step::AuditDraft,
};

/// A session with whose and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionEntry {
    /// The account.
    pub account: Account,
    /// The session.
    pub session: Session,
    /// The device it was opened on.
    pub device: Device,
}

/// Which of the sessions that hold to read, youngest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionQuery {
    /// Whose; everybody's if absent.
    pub account: Option<AccountId>,
    /// At which instant they hold.
    pub at: Timestamp,
    /// Only sessions behind this one.
    pub after: Option<SessionId>,
    /// How many.
    pub limit: Limit,
}

impl Accounts {
    /// Lists the actor's sessions that hold, youngest first. The operator sees anybody's, or everybody's.
    pub async fn sessions(
        &self,
        actor: &Actor,
        account: Option<AccountId>,
        after: Option<SessionId>,
        limit: Limit,
    ) -> Result<Page<SessionEntry>, AccountError> {
        let account = match &actor.identity {
            Identity::Operator => account,
            _ => Some(actor.oneself()?.account),
        };
        let query = SessionQuery { account, at: self.inner.sources.clock.now(), after, limit };
        Ok(self.inner.sessions.page(&query).await?)
    }

    /// Reads a session that holds, one's own or, for the operator, anybody's.
    ///
    /// # Errors
    ///
    /// [`AccountError::SessionNotFound`].
    pub async fn find_session(&self, actor: &Actor, id: SessionId) -> Result<(Account, Session), AccountError> {
        let own = match &actor.identity {
            Identity::Operator => None,
            _ => Some(actor.oneself()?.account),
        };
        let found = self.inner.sessions.find(id).await?.ok_or(AccountError::SessionNotFound)?;
        let may_know = own.is_none_or(|own| own == found.account.id);
        if may_know && found.session.holds_at(self.inner.sources.clock.now()) {
            Ok((found.account, found.session))
        } else {
            Err(AccountError::SessionNotFound)
        }
    }

    /// Ends a session and its sockets, here at once and everywhere within a second: one's own or, for the operator,
    /// anybody's.
    ///
    /// # Errors
    ///
    /// [`AccountError::SessionNotFound`]; unavailable if this node cannot read what was lost.
    pub async fn end_session(&self, actor: &Actor, id: SessionId) -> Result<(), AccountError> {
        self.inner.limits.charge(actor, Policy::Write).await?;
        self.inner.revocations.require_fresh().await?;
        let (account, _) = self.find_session(actor, id).await?;
        let audit = AuditDraft::new("session.end", Scope::Global).with(json!({ "account": account.id }));
        self.inner.end_session(&actor.step(self.inner.sources.clock.now(), audit), id).await?;
        security::note(Event::SessionsRevoked, actor, Some(account.id), reason_of(actor));
        Ok(())
    }

    /// Ends every session of the actor but the one it acts on, and returns how many it were.
    ///
    /// # Errors
    ///
    /// Unavailable if this node cannot read what was lost.
    pub async fn end_other_sessions(&self, actor: &Actor) -> Result<u64, AccountError> {
        let account = actor.oneself()?.account;
        let kept = actor.session.ok_or(AccountError::SignInRequired)?;
        self.end_sessions(actor, account, Some(kept)).await
    }

    /// Ends every session of an account, and returns how many it were. For the operator alone.
    pub async fn end_sessions_of(&self, actor: &Actor, account: AccountId) -> Result<u64, AccountError> {
        if actor.identity != Identity::Operator {
            return Err(AccountError::SignInRequired);
        }
        self.end_sessions(actor, account, None).await
    }

    async fn end_sessions(
        &self,
        actor: &Actor,
        account: AccountId,
        kept: Option<SessionId>,
    ) -> Result<u64, AccountError> {
        let inner = &self.inner;
        inner.limits.charge(actor, Policy::Write).await?;
        inner.revocations.require_fresh().await?;
        let audit = AuditDraft::new("session.end-others", Scope::Global).with(json!({ "account": account }));
        let ended = inner.sessions.end_others(&actor.step(inner.sources.clock.now(), audit), account, kept).await?;
        if ended > 0 {
            security::note(Event::SessionsRevoked, actor, Some(account), reason_of(actor));
        }
        inner.revocations.announce().await;
        Ok(ended)
    }
}

/// Says on whose wish sessions end.
fn reason_of(actor: &Actor) -> &'static str {
    if actor.identity == Identity::Operator { "by-an-operator" } else { "by-their-owner" }
}
