//! All services of an installation, wired to one set of stores.

use std::{fmt::Debug, sync::Arc};

use async_trait::async_trait;

use crate::{
    access::{
        AccessControlService, GrantStore, Grants, Places, RoleAccess,
        keys::{ApiKeyStore, ApiKeys},
    },
    accounts::{
        AccountError, AccountPorts, AccountStore, Accounts, AccountsConfig, DeviceStore, KeyStore, PreferenceStore,
        SecondFactorStore, SessionStore,
    },
    actor::{Actor, CorrelationId},
    announcements::{AnnouncementStore, Announcements},
    bus::{Bus, LocalBus},
    chat::{AppendConfig, Chat, ChatStore},
    clock::{Clock, SystemClock},
    cursor::CursorSealer,
    error::StorageError,
    idempotency::{Idempotency, IdempotencyStore},
    ids::{IdGenerator, SystemIds},
    limits::{Limits, LimitsConfig, MemoryRateLimiter, RateLimiter},
    mail::{Mail, MailStore, Post},
    notifications::{FanOut, LocalNotices, Notices, NotificationStore, Notifications},
    outbox::{Jobs, Outbox, OutboxStore, Worker, WorkerConfig},
    presence::{MemoryPresenceStore, Presence, PresenceConfig, PresenceStore},
    privacy::{Privacy, PrivacyParts, PrivacyStore},
    random::{RandomSource, SystemRandom},
    refusals::{RefusalStore, Refusals},
    revocations::{RevocationStore, Revocations},
    upkeep::{self, Retention},
    worlds::{WorldStore, Worlds},
};

/// Time, identity and randomness, as arguments.
#[derive(Debug, Clone)]
pub struct Sources {
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Draws identifiers.
    pub ids: Arc<dyn IdGenerator>,
    /// Fills secrets.
    pub random: Arc<dyn RandomSource>,
}

impl Default for Sources {
    /// The system's own.
    fn default() -> Self {
        Self { clock: Arc::new(SystemClock), ids: Arc::new(SystemIds), random: Arc::new(SystemRandom) }
    }
}

/// Tells whether a store can be used.
#[async_trait]
pub trait StoreHealth: Debug + Send + Sync + 'static {
    /// Reads something small, and checks that the schema is at least as new as this program expects: while nodes are
    /// replaced one by one, it may be newer.
    async fn check(&self) -> Result<(), StorageError>;

    /// Finishes what is under way and closes the store's connections.
    async fn close(&self);
}

/// Every port of one storage backend.
#[derive(Debug, Clone)]
pub struct Stores {
    /// Accounts.
    pub accounts: Arc<dyn AccountStore>,
    /// Sessions.
    pub sessions: Arc<dyn SessionStore>,
    /// Devices.
    pub devices: Arc<dyn DeviceStore>,
    /// Keys.
    pub keys: Arc<dyn KeyStore>,
    /// Second factors.
    pub factors: Arc<dyn SecondFactorStore>,
    /// Preferences.
    pub preferences: Arc<dyn PreferenceStore>,
    /// Grants.
    pub grants: Arc<dyn GrantStore>,
    /// API keys.
    pub api_keys: Arc<dyn ApiKeyStore>,
    /// Worlds.
    pub worlds: Arc<dyn WorldStore>,
    /// Chat.
    pub chat: Arc<dyn ChatStore>,
    /// Announcements.
    pub announcements: Arc<dyn AnnouncementStore>,
    /// What accounts are told.
    pub notifications: Arc<dyn NotificationStore>,
    /// Letters.
    pub mail: Arc<dyn MailStore>,
    /// Answers to requests under a key.
    pub idempotency: Arc<dyn IdempotencyStore>,
    /// The log of losses, which the steps of the others write.
    pub revocations: Arc<dyn RevocationStore>,
    /// What is held on accounts, and the ledger of erasures.
    pub privacy: Arc<dyn PrivacyStore>,
    /// Work that follows from steps, which the steps of the others write.
    pub outbox: Arc<dyn OutboxStore>,
    /// Refused attempts, for the audit log.
    pub refusals: Arc<dyn RefusalStore>,
    /// Health.
    pub health: Arc<dyn StoreHealth>,
}

impl Stores {
    /// The ports that accounts are kept by.
    fn of_accounts(&self) -> AccountPorts {
        AccountPorts {
            accounts: Arc::clone(&self.accounts),
            sessions: Arc::clone(&self.sessions),
            devices: Arc::clone(&self.devices),
            keys: Arc::clone(&self.keys),
            factors: Arc::clone(&self.factors),
            preferences: Arc::clone(&self.preferences),
        }
    }
}

/// What services need to know beside their stores.
#[derive(Debug, Clone, Default)]
pub struct ServiceConfig {
    /// Accounts and tokens.
    pub accounts: AccountsConfig,
    /// How messages are gathered into batches.
    pub append: AppendConfig,
    /// Whether every registered player may make a world.
    pub players_may_create_worlds: bool,
    /// Whether a role's sensitive permissions ask for a second factor.
    pub require_two_factor_for_staff: bool,
    /// How often things may be done.
    pub limits: LimitsConfig,
    /// How it is told who is where.
    pub presence: PresenceConfig,
}

/// What the nodes of an installation share beside their stores.
#[derive(Debug, Clone)]
pub struct Shared {
    /// Who speaks to whom.
    pub bus: Arc<dyn Bus>,
    /// Who counts calls.
    pub limiter: Arc<dyn RateLimiter>,
    /// Who is where.
    pub presence: Arc<dyn PresenceStore>,
    /// What hints at news for accounts.
    pub notices: Arc<dyn Notices>,
}

impl Shared {
    /// Nothing: a single node, which has all of it inside its process.
    pub fn nothing(clock: Arc<dyn Clock>) -> Self {
        Self {
            bus: Arc::new(LocalBus::default()),
            limiter: Arc::new(MemoryRateLimiter::new(clock)),
            presence: Arc::new(MemoryPresenceStore::default()),
            notices: Arc::new(LocalNotices::default()),
        }
    }
}

/// Every service; what a host needs.
#[derive(Debug, Clone)]
pub struct Services {
    /// Accounts and sessions.
    pub accounts: Accounts,
    /// Rights.
    pub access: Arc<dyn AccessControlService>,
    /// Roles, given and taken.
    pub grants: Grants,
    /// API keys of game servers.
    pub api_keys: ApiKeys,
    /// Worlds and members.
    pub worlds: Worlds,
    /// Channels and messages.
    pub chat: Chat,
    /// Announcements.
    pub announcements: Announcements,
    /// What accounts are told.
    pub notifications: Notifications,
    /// Letters; without a server to hand them to unless the program [gives it one](Mail::through).
    pub mail: Mail,
    /// Exports and erasures of accounts.
    pub privacy: Privacy,
    /// Requests under a key.
    pub idempotency: Idempotency,
    /// How often, for hosts that charge reads and tell callers what is left.
    pub limits: Limits,
    /// Who has lost what, as far as this node knows.
    pub revocations: Revocations,
    /// Who was refused what: [`Refusals::write_down`] is for the host to call every second.
    pub refusals: Refusals,
    /// Who is where: [`Presence::run`] is for the host to run as long as it serves.
    pub presence: Arc<Presence>,
    /// Work that follows from steps: whoever serves runs a [`Worker`](crate::outbox::Worker) on it.
    pub outbox: Outbox,
    /// Jobs as operators and admins see them.
    pub jobs: Jobs,
    /// Opaque positions.
    pub cursors: CursorSealer,
    /// Time, identity and randomness.
    pub sources: Sources,
    /// Whether the store can be used.
    pub health: Arc<dyn StoreHealth>,
    /// Who speaks to whom.
    pub bus: Arc<dyn Bus>,
}

impl Services {
    /// Wires services to stores, for a single node; a store without keys gets its keys here.
    pub async fn start(stores: Stores, config: ServiceConfig, sources: Sources) -> Result<Self, AccountError> {
        let shared = Shared::nothing(Arc::clone(&sources.clock));
        Self::start_shared(stores, shared, config, sources).await
    }

    /// Wires services to stores, and to what other nodes share.
    pub async fn start_shared(
        stores: Stores,
        shared: Shared,
        config: ServiceConfig,
        sources: Sources,
    ) -> Result<Self, AccountError> {
        let Shared { bus, limiter, presence, notices } = shared;
        let limits = Limits::new(limiter, config.limits);
        let (losses, clock) = (Arc::clone(&stores.revocations), Arc::clone(&sources.clock));
        let life = config.accounts.access_token_life;
        let revocations = Revocations::start(losses, Arc::clone(&bus), clock, life).await?;
        let ports = stores.of_accounts();
        let refusals = Refusals::new(stores.refusals, Arc::clone(&sources.clock));
        let access = RoleAccess::new(Arc::clone(&stores.grants), Arc::clone(&sources.clock));
        let access = access.minding(revocations.clone()).noting(refusals.clone());
        let factors = config.require_two_factor_for_staff.then_some(stores.factors);
        let access: Arc<dyn AccessControlService> = Arc::new(match factors {
            Some(factors) => access.demanding_second_factors(factors),
            None => access,
        });
        let worlds = Worlds::new(
            Arc::clone(&stores.worlds),
            Arc::clone(&stores.grants),
            Arc::clone(&access),
            sources.clone(),
            limits.clone(),
            config.players_may_create_worlds,
        )
        .announcing(revocations.clone());
        let places: Arc<dyn Places> = Arc::new(worlds.clone());
        let api_keys = ApiKeys::new(
            stores.api_keys,
            Arc::clone(&stores.grants),
            Arc::clone(&places),
            Arc::clone(&access),
            sources.clone(),
            limits.clone(),
        )
        .announcing(revocations.clone());
        let grants = Grants::new(
            Arc::clone(&stores.grants),
            Arc::clone(&places),
            Arc::clone(&access),
            sources.clone(),
            limits.clone(),
        )
        .announcing(revocations.clone());
        let mail = Mail::new(stores.mail, config.accounts.issuer.clone(), sources.clone());
        let accounts =
            Accounts::start(ports, revocations.clone(), config.accounts, sources.clone(), limits.clone()).await?;
        let accounts = accounts.noting(refusals.clone());
        let outbox = Outbox::new(stores.outbox, sources.clone());
        let (told, announced) = (stores.notifications, Arc::clone(&stores.announcements));
        let notifications = Notifications::new(told, announced, sources.clone(), limits.clone()).hinting(notices);
        let announcements = Announcements::new(
            stores.announcements,
            Arc::clone(&stores.grants),
            Arc::clone(&places),
            Arc::clone(&access),
            outbox.clone(),
            sources.clone(),
            limits.clone(),
        );
        let chat = Chat::builder(Arc::clone(&stores.chat))
            .places(places)
            .access(Arc::clone(&access))
            .bus(Arc::clone(&bus))
            .append(config.append)
            .minding(revocations.clone())
            .limits(limits.clone())
            .sources(sources.clone())
            .build();
        let privacy = Privacy::new(PrivacyParts {
            store: stores.privacy,
            accounts: accounts.clone(),
            chat: chat.clone(),
            revocations: revocations.clone(),
            sources: sources.clone(),
            limits: limits.clone(),
        });
        let jobs = Jobs::new(outbox.clone(), Arc::clone(&access), limits.clone());
        Ok(Self {
            cursors: accounts.cursor_sealer(),
            accounts,
            access,
            grants,
            api_keys,
            worlds,
            chat,
            announcements,
            notifications,
            mail,
            privacy,
            jobs,
            outbox,
            idempotency: Idempotency::new(stores.idempotency, limits.clone(), sources.clone()),
            limits,
            revocations,
            refusals,
            presence: Arc::new(Presence::new(presence, config.presence, sources.clone())),
            sources,
            health: stores.health,
            bus,
        })
    }

    /// A worker with everything that follows from what these services do, and what is due by itself. It runs once it is
    /// started; of an installation one process must, and any number may.
    pub fn worker(&self, config: WorkerConfig) -> Worker {
        let retention = Retention {
            accounts: self.accounts.clone(),
            chat: self.chat.clone(),
            idempotency: self.idempotency.clone(),
            announcements: self.announcements.clone(),
            notifications: self.notifications.clone(),
            mail: self.mail.clone(),
            privacy: self.privacy.clone(),
            revocations: self.revocations.clone(),
        };
        let post = Post { mail: self.mail.clone() };
        let fan_out = FanOut { notifications: self.notifications.clone(), outbox: self.outbox.clone() };
        Worker::new(self.outbox.clone(), config)
            .handling(Arc::new(retention))
            .handling(Arc::new(fan_out))
            .handling(Arc::new(post))
            .scheduled(upkeep::retention_schedule())
    }

    /// Answers who bears a token: the access token of a session, or an API key.
    ///
    /// # Errors
    ///
    /// [`AccountError::TokenInvalid`], [`AccountError::TokenExpired`], [`AccountError::SessionEnded`],
    /// [`AccountError::KeyInvalid`].
    pub async fn authenticate(&self, token: &str, correlation_id: CorrelationId) -> Result<Actor, AccountError> {
        if ApiKeys::is_key(token) {
            self.api_keys.authenticate(token, correlation_id).await
        } else {
            self.accounts.authenticate(token, correlation_id).await
        }
    }
}
