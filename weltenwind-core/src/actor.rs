//! Who does something: the first question of every service.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
};

use uuid::Uuid;

use crate::{
    access::PermissionSet,
    accounts::{AccountKind, DisplayName},
    clock::Timestamp,
    code::Code,
    error::Classify,
    ids::{AccountId, ApiKeyId, DeviceId, IdGenerator, SessionId},
    limits::Charges,
    scope::Scope,
    step::{AuditDraft, EffectKey, Step},
};

/// Names one request through every log line, problem, audit row and socket error.
///
/// ```
/// use weltenwind_core::CorrelationId;
///
/// assert!(CorrelationId::accept("req-2026.11.23_7").is_some());
/// assert!(CorrelationId::accept("short").is_none() && CorrelationId::accept("line\nbreak").is_none());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CorrelationId(String);

impl CorrelationId {
    /// Accepts an identifier from outside: `[A-Za-z0-9._-]{8,64}`.
    pub fn accept(text: &str) -> Option<Self> {
        let fits = (8..=64).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
        fits.then(|| Self(text.to_owned()))
    }

    /// Draws a fresh identifier.
    pub fn draw(ids: &dyn IdGenerator) -> Self {
        Self(ids.draw().as_hyphenated().to_string())
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CorrelationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The address that a request comes from, behind trusted proxies too; hosts hand it on as a request extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClientAddress(pub IpAddr);

impl ClientAddress {
    /// Returns what counts as one address: an IPv4 address itself, and the /64 around an IPv6 one, since whoever holds one
    /// address there usually holds all of them.
    ///
    /// ```
    /// use weltenwind_core::ClientAddress;
    ///
    /// let network = ClientAddress("2001:db8:0:1:ffff::2".parse().unwrap()).network();
    /// assert_eq!(network.to_string(), "2001:db8:0:1::");
    /// ```
    pub fn network(self) -> IpAddr {
        match self.0.to_canonical() {
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
            }
            address @ IpAddr::V4(_) => address,
        }
    }
}

/// A signed-in account, as far as rules need to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// The account.
    pub account: AccountId,
    /// Guest or registered.
    pub kind: AccountKind,
    /// The name that others see.
    pub display_name: DisplayName,
}

/// The API key of a game server or bot, as far as rules need to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyHolder {
    /// The key.
    pub key: ApiKeyId,
    /// The name under which it writes.
    pub name: DisplayName,
    /// Everything that it may do.
    pub permissions: PermissionSet,
    /// The rank of whoever made it, in its scope: it gives and takes only roles below.
    pub rank: u8,
}

/// What an actor is to the rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// Nobody is signed in.
    Anonymous,
    /// An account, with the rights that its grants give.
    Account(Principal),
    /// An API key, with the rights that stand on its list.
    Key(KeyHolder),
    /// Whoever holds the store: the local command line and the embedding program. May do everything.
    Operator,
}

/// Who asks, on which session and device, and for which request.
#[derive(Debug, Clone)]
pub struct Actor {
    /// What the actor is to the rules.
    pub identity: Identity,
    /// The session that was used to sign in.
    pub session: Option<SessionId>,
    /// The device that the session belongs to.
    pub device: Option<DeviceId>,
    /// The request.
    pub correlation_id: CorrelationId,
    /// What a narrowed token may reach at most; a ceiling, never a source of rights.
    pub ceiling: Scope,
    /// The key under which a repeat of this request has no second effect; of the steps that a request takes, one bears it.
    pub effect_key: Option<EffectKey>,
    /// The address that is called from; without one there are no limits per address.
    pub address: Option<IpAddr>,
    /// Where a host wants to find what was charged.
    pub charges: Option<Charges>,
}

impl Actor {
    /// Somebody who did not sign in.
    pub const fn anonymous(correlation_id: CorrelationId) -> Self {
        Self::with(Identity::Anonymous, correlation_id)
    }

    /// An account that an embedding program or a host has signed in.
    pub const fn account(principal: Principal, correlation_id: CorrelationId) -> Self {
        Self::with(Identity::Account(principal), correlation_id)
    }

    /// An API key, which reaches its scope and no further.
    pub const fn key(holder: KeyHolder, scope: Scope, correlation_id: CorrelationId) -> Self {
        let mut actor = Self::with(Identity::Key(holder), correlation_id);
        actor.ceiling = scope;
        actor
    }

    /// A registered player whom the embedding program knows by name alone.
    ///
    /// The identity is derived from the name, so the same name is the same player in every run. For programs that keep
    /// accounts of their own there is [`Actor::account`].
    ///
    /// # Panics
    ///
    /// If `name` is no [`DisplayName`].
    pub fn player(name: &str) -> Self {
        use sha2::{Digest as _, Sha256};

        let display_name = DisplayName::new(name).expect("the embedding program names its players properly");
        let digest = Sha256::digest(format!("weltenwind player {display_name}"));
        let account = AccountId::new(
            uuid::Builder::from_custom_bytes(digest[..16].try_into().expect("16 of 32 bytes")).into_uuid(),
        );
        Self::account(Principal { account, kind: AccountKind::Registered, display_name }, Self::local_request())
    }

    /// Whoever holds the store.
    pub fn operator() -> Self {
        Self::with(Identity::Operator, Self::local_request())
    }

    const fn with(identity: Identity, correlation_id: CorrelationId) -> Self {
        Self {
            identity,
            session: None,
            device: None,
            correlation_id,
            ceiling: Scope::Global,
            effect_key: None,
            address: None,
            charges: None,
        }
    }

    fn local_request() -> CorrelationId {
        CorrelationId::draw(&crate::ids::SystemIds)
    }

    /// Returns the signed-in account, if there is one.
    pub const fn principal(&self) -> Option<&Principal> {
        match &self.identity {
            Identity::Account(principal) => Some(principal),
            Identity::Anonymous | Identity::Key(_) | Identity::Operator => None,
        }
    }

    /// Returns whether nobody is signed in.
    pub const fn is_anonymous(&self) -> bool {
        matches!(self.identity, Identity::Anonymous)
    }

    /// Returns the signed-in account's id, if there is one.
    pub fn account_id(&self) -> Option<AccountId> {
        self.principal().map(|principal| principal.account)
    }

    /// Returns under which id the actor writes and stands in the audit log: the account's, or a key's own.
    pub fn id(&self) -> Option<AccountId> {
        match &self.identity {
            Identity::Account(principal) => Some(principal.account),
            Identity::Key(holder) => Some(AccountId::new(holder.key.uuid())),
            Identity::Anonymous | Identity::Operator => None,
        }
    }

    /// Returns the name under which the actor writes, if it is somebody.
    pub const fn name(&self) -> Option<&DisplayName> {
        match &self.identity {
            Identity::Account(principal) => Some(&principal.display_name),
            Identity::Key(holder) => Some(&holder.name),
            Identity::Anonymous | Identity::Operator => None,
        }
    }

    /// Returns the signed-in account, for what is about the account itself: its name, its sessions, its inbox.
    ///
    /// # Errors
    ///
    /// [`NotOneself`] if nobody is signed in, if a key asks, and if the token was narrowed to a part of the system.
    pub const fn oneself(&self) -> Result<&Principal, NotOneself> {
        match (&self.identity, self.ceiling) {
            (Identity::Account(principal), Scope::Global) => Ok(principal),
            (Identity::Account(_), ceiling) => Err(NotOneself::Narrowed(ceiling)),
            (Identity::Key(_), _) => Err(NotOneself::Key),
            (Identity::Anonymous | Identity::Operator, _) => Err(NotOneself::SignInRequired),
        }
    }

    /// Opens a step of this actor; the service that calls this has already decided that it may happen.
    pub fn step(&self, at: Timestamp, audit: AuditDraft) -> Step {
        Step {
            actor: self.id(),
            session: self.session,
            device: self.device,
            correlation_id: self.correlation_id.clone(),
            at,
            effect_key: self.effect_key.clone(),
            audit,
            jobs: Vec::new(),
            finishes: Vec::new(),
        }
    }
}

/// Why an actor has no account of its own to speak of.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotOneself {
    /// Nobody is signed in.
    #[error("sign-in is required")]
    SignInRequired,
    /// An API key is no account.
    #[error("an API key is no account")]
    Key,
    /// The token reaches a part of the system, and the account is not in it.
    #[error("the token reaches no further than {0}")]
    Narrowed(Scope),
}

impl Classify for NotOneself {
    fn code(&self) -> Code {
        match self {
            Self::SignInRequired => Code::Unauthenticated,
            Self::Key => Code::AccountRequired,
            Self::Narrowed(_) => Code::PermissionDenied,
        }
    }
}

impl From<Uuid> for CorrelationId {
    fn from(uuid: Uuid) -> Self {
        Self(uuid.as_hyphenated().to_string())
    }
}
