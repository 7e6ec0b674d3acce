//! On whose behalf a socket is open.

use std::{net::IpAddr, time::Duration};

use weltenwind_core::{
    AccountId, Actor, Clock, CorrelationId, DeviceId, Scope, SessionId,
    accounts::{AccessToken, AccountError, Accounts},
};

/// The session that opened a socket, and for how long its token carries it.
#[derive(Debug, Clone)]
pub(crate) struct SignIn {
    pub(crate) account: AccountId,
    pub(crate) session: SessionId,
    pub(crate) device: DeviceId,
    /// What may be reached at most.
    ceiling: Scope,
    /// The address that the socket was opened from.
    pub(crate) address: Option<IpAddr>,
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
        let AccessToken { account, session, device, scope: ceiling, .. } = *token;
        Self { account, session, device, ceiling, address: None, life }
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
        let (Some(account), Some(session), Some(device)) = (actor.account_id(), actor.session, actor.device) else {
            return Err(AccountError::TicketInvalid);
        };
        Ok(Self { account, session, device, ceiling: actor.ceiling, address: None, life })
    }

    /// Notes the address that the socket was opened from.
    pub(crate) const fn coming_from(mut self, address: Option<IpAddr>) -> Self {
        self.address = address;
        self
    }

    /// Answers who asks now, if the session still holds.
    pub(crate) async fn actor(&self, accounts: &Accounts, request: CorrelationId) -> Result<Actor, AccountError> {
        let mut actor = accounts.actor_of_session(self.session, request).await?;
        actor.ceiling = self.ceiling;
        actor.address = self.address;
        Ok(actor)
    }
}
