//! What an open session answers: fresh tokens, who bears them, tickets for sockets, and its end.

use std::time::Duration;

use serde_json::json;

use super::{
    error::AccountError,
    model::{Account, NewTicket, Rotation, TokenHash, token_text},
    service::{Accounts, SessionGrant},
    token::AccessToken,
};
use crate::{
    actor::{Actor, CorrelationId, Principal},
    ids::SessionId,
    limits::Policy,
    scope::Scope,
    secret::Secret,
    security::{self, Event},
    step::AuditDraft,
};

/// How long a ticket for a socket holds.
const TICKET_LIFE: Duration = Duration::from_secs(30);
/// How long a replaced refresh token still answers its successor: two tabs, or an answer that was lost.
const REFRESH_GRACE: Duration = Duration::from_secs(10);

impl Accounts {
    /// Answers a fresh access token and the successor of a refresh token.
    ///
    /// A token that was replaced before answers its successor again within ten seconds, or as long as the successor was
    /// never used: the answer got lost, or two tabs asked at once.
    ///
    /// # Errors
    ///
    /// [`AccountError::RefreshTokenReused`] for any other second use, which ends the session;
    /// [`AccountError::RefreshTokenInvalid`].
    pub async fn refresh(&self, actor: &Actor, refresh_token: &str) -> Result<SessionGrant, AccountError> {
        let inner = &self.inner;
        inner.limits.charge(actor, Policy::Auth).await?;
        let now = inner.sources.clock.now();
        let hash = TokenHash::of(refresh_token);
        // Two refreshes at once: the slower one finds the token used and answers the faster one's successor.
        for _ in 0..3 {
            let presented = inner.sessions.find_refresh(&hash).await?.ok_or(AccountError::RefreshTokenInvalid)?;
            let signed_in = inner.sessions.find(presented.session).await?.ok_or(AccountError::RefreshTokenInvalid)?;
            let session = &signed_in.session;
            if !session.holds_at(now) {
                return Err(AccountError::RefreshTokenInvalid);
            }
            if presented.generation < session.generation {
                let successor_unused = presented.generation + 1 == session.generation;
                let just_used = presented.used_at.is_some_and(|used_at| now < used_at + REFRESH_GRACE);
                if successor_unused || just_used {
                    let successor = inner.issued_refresh_token(session.id, presented.generation + 1).await?;
                    let successor = successor.ok_or(AccountError::RefreshTokenInvalid)?;
                    return inner.grant(signed_in, successor, now);
                }
                let audit = AuditDraft::new("session.end", Scope::Global)
                    .because("a refresh token was used again")
                    .with(json!({ "account": signed_in.account.id, "session": session.id }));
                inner.end_session(&actor.step(now, audit), session.id).await?;
                let account = Some(signed_in.account.id);
                security::note(Event::RefreshReused, actor, account, "refresh-token-reused");
                return Err(AccountError::RefreshTokenReused);
            }
            let successor = inner.refresh_token(session.id, presented.generation + 1);
            let rotation = Rotation {
                session: session.id,
                from: presented.generation,
                successor: TokenHash::of(successor.expose()),
                idle_expires_at: now + inner.config.session_idle,
                device: (session.device, inner.seen(actor, now)),
            };
            let audit = AuditDraft::new("session.refresh", Scope::Global).with(json!({ "session": session.id }));
            if inner.sessions.rotate(&actor.step(now, audit), &rotation).await? {
                return inner.grant(signed_in, successor, now);
            }
        }
        Err(AccountError::RefreshTokenInvalid)
    }

    /// Answers who holds a refresh token, and leaves it as it is: for a page, which shows what its reader may see and changes
    /// nothing.
    ///
    /// # Errors
    ///
    /// [`AccountError::RefreshTokenInvalid`] also for one that was replaced, unless its successor was never used;
    /// [`AccountError::SessionEnded`], [`AccountError::DeviceRevoked`].
    pub async fn actor_of_refresh_token(
        &self,
        refresh_token: &str,
        correlation_id: CorrelationId,
    ) -> Result<Actor, AccountError> {
        let sessions = &self.inner.sessions;
        let presented = sessions.find_refresh(&TokenHash::of(refresh_token)).await?;
        let presented = presented.ok_or(AccountError::RefreshTokenInvalid)?;
        let signed_in = sessions.find(presented.session).await?.ok_or(AccountError::RefreshTokenInvalid)?;
        if presented.generation + 1 < signed_in.session.generation {
            return Err(AccountError::RefreshTokenInvalid);
        }
        self.actor_of_session(presented.session, correlation_id).await
    }

    /// Ends the actor's session.
    pub async fn sign_out(&self, actor: &Actor) -> Result<(), AccountError> {
        actor.oneself()?;
        let session = actor.session.ok_or(AccountError::SignInRequired)?;
        self.inner.limits.charge(actor, Policy::Write).await?;
        let step = actor.step(self.inner.sources.clock.now(), AuditDraft::new("session.end", Scope::Global));
        self.inner.end_session(&step, session).await
    }

    /// Answers who bears an access token.
    ///
    /// The token itself is checked by the keys that this node knows, and its session, device and account against the losses that this node
    /// knows of. What else the store says of the session is believed for a minute, as long as losses are known within a
    /// second, and for a second otherwise.
    ///
    /// # Errors
    ///
    /// [`AccountError::TokenInvalid`], [`AccountError::TokenExpired`], [`AccountError::SessionEnded`],
    /// [`AccountError::DeviceRevoked`].
    pub async fn authenticate(&self, token: &str, correlation_id: CorrelationId) -> Result<Actor, AccountError> {
        let token = self.verify(token).await?;
        let mut actor = self.actor_of_session(token.session, correlation_id).await?;
        if actor.account_id() != Some(token.account) {
            return Err(AccountError::TokenInvalid);
        }
        actor.ceiling = token.scope;
        Ok(actor)
    }

    /// Checks an access token. The store is asked only for a key that is not known here, at most once a second.
    ///
    /// # Errors
    ///
    /// [`AccountError::TokenInvalid`], [`AccountError::TokenExpired`].
    pub async fn verify(&self, token: &str) -> Result<AccessToken, AccountError> {
        let (tokens, now) = (&self.inner.tokens, self.inner.sources.clock.now());
        match tokens.verify(token, now) {
            Err(AccountError::TokenInvalid) if tokens.names_unknown_key(token) => {
                self.look_for_keys(now).await?;
                tokens.verify(token, now)
            }
            verified => verified,
        }
    }

    /// Answers who bears a session, if it holds.
    ///
    /// # Errors
    ///
    /// [`AccountError::SessionEnded`], [`AccountError::DeviceRevoked`].
    pub async fn actor_of_session(&self, id: SessionId, correlation_id: CorrelationId) -> Result<Actor, AccountError> {
        let now = self.inner.sources.clock.now();
        let signed_in = self.inner.signed_in(id, now).await?.ok_or(AccountError::SessionEnded)?;
        let device = signed_in.session.device;
        self.inner.revocations.check(signed_in.account.id, id, device)?;
        if !signed_in.session.holds_at(now) {
            return Err(AccountError::SessionEnded);
        }
        let Account { id: account, kind, display_name, .. } = signed_in.account.clone();
        let mut actor = Actor::account(Principal { account, kind, display_name }, correlation_id);
        actor.session = Some(id);
        actor.device = Some(device);
        Ok(actor)
    }

    /// Issues a ticket with which a page at `origin` may open one socket within half a minute.
    pub async fn issue_ticket(&self, actor: &Actor, origin: &str) -> Result<(Secret<String>, Duration), AccountError> {
        actor.oneself()?;
        let session = actor.session.ok_or(AccountError::SignInRequired)?;
        let inner = &self.inner;
        inner.limits.charge(actor, Policy::Write).await?;
        let now = inner.sources.clock.now();
        let ticket = token_text("wwt_", &inner.random());
        let new = NewTicket {
            hash: TokenHash::of(ticket.expose()),
            session,
            origin: origin.to_owned(),
            expires_at: now + TICKET_LIFE,
        };
        inner.sessions.save_ticket(&new, now).await?;
        Ok((ticket, TICKET_LIFE))
    }

    /// Spends a ticket and answers who bears it.
    ///
    /// # Errors
    ///
    /// [`AccountError::TicketInvalid`] if it was spent, has ended, or was issued to another origin, which spends it too.
    pub async fn spend_ticket(
        &self,
        ticket: &str,
        origin: &str,
        correlation_id: CorrelationId,
    ) -> Result<Actor, AccountError> {
        let ticket =
            self.inner.sessions.spend_ticket(&TokenHash::of(ticket)).await?.ok_or(AccountError::TicketInvalid)?;
        if ticket.origin != origin || ticket.expires_at <= self.inner.sources.clock.now() {
            return Err(AccountError::TicketInvalid);
        }
        self.actor_of_session(ticket.session, correlation_id).await
    }
}
