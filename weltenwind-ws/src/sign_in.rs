//! On whose behalf a socket is open.

use std::time::Duration;

use weltenwind_core::{
    AccountId, Actor, Clock, CorrelationId, Scope, SessionId,
    accounts::{AccessToken, AccountError, Accounts},
};

/// The session that opened a socket, and for how long its token carries it.
#[derive(Debug, Clone)]
pub(crate) struct SignIn {
    pub(crate) account: AccountId,
    pub(crate) session: SessionId,
    /// What may be reached at most.
    ceiling: Scope,
    /// How long the token still lives.
    pub(crate) life: Duration,
}

impl SignIn {
    /// Signs in with an access token.
    pub(crate) async fn by_token(
        accounts: &Accounts,
        clock: &dyn Clock,
        token: &str,
        request: CorrelationId,
    ) -> Result<Self, AccountError> {
        accounts.authenticate(token, request).await?;
        Ok(Self::of_token(&accounts.verify(token)?, clock))
    }

    /// Reads a sign-in off a verified token, whether or not its session still holds.
    pub(crate) fn of_token(token: &AccessToken, clock: &dyn Clock) -> Self {
        let life = Duration::try_from(token.expires_at.duration_since(clock.now())).unwrap_or_default();
        Self { account: token.account, session: token.session, ceiling: token.scope, life }
    }

    /// Signs in with a ticket, which is spent by that. A ticket says nothing of a token, so the socket gets `life`.
    pub(crate) async fn by_ticket(
        accounts: &Accounts,
        ticket: &str,
        origin: &str,
        life: Duration,
        request: CorrelationId,
    ) -> Result<Self, AccountError> {
        let actor = accounts.spend_ticket(ticket, origin, request).await?;
        let (Some(account), Some(session)) = (actor.account_id(), actor.session) else {
            return Err(AccountError::TicketInvalid);
        };
        Ok(Self { account, session, ceiling: actor.ceiling, life })
    }

    /// Answers who asks now, if the session still holds.
    pub(crate) async fn actor(&self, accounts: &Accounts, request: CorrelationId) -> Result<Actor, AccountError> {
        let mut actor = accounts.actor_of_session(self.session, request).await?;
        actor.ceiling = self.ceiling;
        Ok(actor)
    }
}
