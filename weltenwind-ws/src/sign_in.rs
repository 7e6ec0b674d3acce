//! On whose behalf a socket is open.

use std::{net::IpAddr, time::Duration};

use weltenwind_core::{
    AccountId, Actor, ApiKeyId, CorrelationId, DeviceId, Identity, Scope, Services, SessionId, Timestamp,
    access::keys::ApiKeys,
    accounts::{AccessToken, AccountError, Accounts},
    revocations::{LossWatch, Revocations},
};

/// How long an API key carries a socket at most before it is shown again.
const KEY_LIFE: Duration = Duration::from_hours(24);

/// Who opened a socket, and for how long what they have shown carries it.
#[derive(Debug, Clone)]
pub(crate) struct SignIn {
    /// The account, or an API key's own id.
    pub(crate) account: AccountId,
    bearer: Bearer,
    /// The address that the socket was opened from.
    pub(crate) address: Option<IpAddr>,
    /// How long the token still lives.
    pub(crate) life: Duration,
    /// When what was shown ends by itself and nothing newer can be shown: an API key's end.
    pub(crate) ends_at: Option<Timestamp>,
}

/// What was shown, to be looked at again before each request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bearer {
    /// A session on its device, and what may be reached at most.
    Session { session: SessionId, device: DeviceId, ceiling: Scope },
    /// An API key.
    Key(ApiKeyId),
}

impl SignIn {
    /// Signs in with an access token or an API key.
    pub(crate) async fn by_token(
        services: &Services,
        token: &str,
        request: CorrelationId,
    ) -> Result<Self, AccountError> {
        let actor = services.authenticate(token, request.clone()).await?;
        match &actor.identity {
            Identity::Key(holder) => Self::by_key(services, holder.key, request).await,
            _ => Ok(Self::of_token(&services.accounts.verify(token).await?, services)),
        }
    }

    async fn by_key(services: &Services, key: ApiKeyId, request: CorrelationId) -> Result<Self, AccountError> {
        let (_, expires_at) = services.api_keys.actor_of_key(key, request).await?;
        let now = services.sources.clock.now();
        let left = expires_at.map(|end| Duration::try_from(end.duration_since(now)).unwrap_or_default());
        let life = left.unwrap_or(KEY_LIFE).min(KEY_LIFE);
        let (account, bearer) = (AccountId::new(key.uuid()), Bearer::Key(key));
        Ok(Self { account, bearer, address: None, life, ends_at: expires_at })
    }

    /// Reads a sign-in off a verified token, whether or not its session still holds.
    fn of_token(token: &AccessToken, services: &Services) -> Self {
        let now = services.sources.clock.now();
        let life = Duration::try_from(token.expires_at.duration_since(now)).unwrap_or_default();
        let AccessToken { account, session, device, scope: ceiling, .. } = *token;
        Self { account, bearer: Bearer::Session { session, device, ceiling }, address: None, life, ends_at: None }
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
        let bearer = Bearer::Session { session, device, ceiling: actor.ceiling };
        Ok(Self { account, bearer, address: None, life, ends_at: None })
    }

    /// Returns the device that was signed in on; a key has none.
    pub(crate) const fn device(&self) -> Option<DeviceId> {
        match self.bearer {
            Bearer::Session { device, .. } => Some(device),
            Bearer::Key(_) => None,
        }
    }

    /// Returns the scope that the token is narrowed to. A key has its scope for good.
    pub(crate) fn narrowed_to(&self) -> Option<Scope> {
        match self.bearer {
            Bearer::Session { ceiling, .. } if ceiling != Scope::Global => Some(ceiling),
            _ => None,
        }
    }

    /// Returns whether something may lie beyond this sign-in that `before` reached.
    pub(crate) fn reaches_less_than(&self, before: &Self) -> bool {
        self.narrowed_to().is_some_and(|scope| before.narrowed_to() != Some(scope))
    }

    /// Watches for the loss of what was shown. That of a key is told as that of the account under its id.
    pub(crate) fn watch(&self, revocations: &Revocations) -> LossWatch {
        let (session, device) = match self.bearer {
            Bearer::Session { session, device, .. } => (session, device),
            Bearer::Key(key) => (SessionId::new(key.uuid()), DeviceId::new(key.uuid())),
        };
        revocations.watch(self.account, session, device)
    }

    /// Notes the address that the socket was opened from.
    pub(crate) const fn coming_from(mut self, address: Option<IpAddr>) -> Self {
        self.address = address;
        self
    }

    /// Signs in again, of a sign-in that still holds; none if the token is not of whoever opened the socket. That is seen before
    /// anything is looked up, because anybody can make up tokens.
    pub(crate) async fn again(
        &self,
        services: &Services,
        token: &str,
        request: CorrelationId,
    ) -> Result<Option<Self>, AccountError> {
        let newer = match (self.bearer, ApiKeys::is_key(token)) {
            (Bearer::Key(own), true) => {
                let key = ApiKeys::id_of(token).ok_or(AccountError::KeyInvalid)?;
                if key != own {
                    return Ok(None);
                }
                Self::by_token(services, token, request).await?
            }
            (Bearer::Session { session: own, .. }, false) => {
                let token = services.accounts.verify(token).await?;
                if token.account != self.account || token.session != own {
                    return Ok(None);
                }
                Self::of_token(&token, services)
            }
            _ => return Ok(None),
        };
        Ok(Some(newer.coming_from(self.address)))
    }

    /// Answers who asks now, if the session or key still holds. A key that does not is a session that has ended.
    pub(crate) async fn actor(&self, services: &Services, request: CorrelationId) -> Result<Actor, AccountError> {
        let mut actor = match self.bearer {
            Bearer::Session { session, ceiling, .. } => {
                let actor = services.accounts.actor_of_session(session, request).await?;
                Actor { ceiling, ..actor }
            }
            Bearer::Key(key) => match services.api_keys.actor_of_key(key, request).await {
                Ok((actor, _)) => actor,
                Err(AccountError::KeyInvalid) => return Err(AccountError::SessionEnded),
                Err(error) => return Err(error),
            },
        };
        actor.address = self.address;
        Ok(actor)
    }
}
