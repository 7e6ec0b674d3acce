//! The ports in memory, as far as sockets need them: nothing here waits unless a test says so, and tests may stop the clock of
//! tokio.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use weltenwind_core::{
    AccountId, AnnouncementId, ApiKeyId, ChannelId, CorrelationId, DeviceId, MailId, ManualClock, MessageId,
    NotificationId, Page, RandomSource, Revision, Scope, SequentialIds, ServiceConfig, Services, SessionId, Sources,
    Step, StorageError, StoreHealth, Stores, Timestamp, WorldId,
    access::{
        AccessError, MemoryGrantStore,
        keys::{ApiKey, ApiKeyQuery, ApiKeyStore, MemoryApiKeyStore, NewApiKey},
    },
    accounts::{
        Account, AccountError, AccountKind, AccountQuery, AccountStore, Bootstrap, Confirmation, Credentials, Device,
        DeviceName, DeviceQuery, DeviceStore, DisplayName, ExternalSignIn, KeyRotation, KeyStore, NewBootstrapToken,
        NewGuest, NewSession, NewTicket, PasswordChange, PasswordRecord, PreferenceStore, Preferences,
        PreferencesChange, Proof, RefreshToken, Registration, Removal as SecondFactorRemoval, RootKey, Rotation,
        SealedSecret, SecondFactor, SecondFactorStore, ServerKeys, Session, SessionEntry, SessionQuery, SessionStore,
        SignedIn, Ticket, TokenHash, Upgrade, Username,
    },
    announcements::{
        Announcement, AnnouncementChange, AnnouncementError, AnnouncementPage, AnnouncementQuery, AnnouncementStore,
        NewAnnouncement, Published,
    },
    chat::{
        Appended, AuthorRenaming, ChangeQuery, Changes, Channel, ChannelChange, ChannelQuery, ChatError, ChatStore,
        Edit, History, MemoryChatStore, Message, MessageQuery, NewChannel, NewMessage, Removal, RoomHead, Seq, Unread,
        Written, WrittenQuery,
    },
    idempotency::{Claim, Claimed, IdempotencyStore, NewClaim, Release, StoredAnswer},
    limits::{LimitsConfig, Quota, Unit},
    mail::{Begun, MailIntent, MailStore, NewMail, Queued, Settled},
    notifications::{
        FeedMark, FeedPage, FeedState, NewNotification, NotificationError, NotificationQuery, NotificationStore,
        Spread, Told,
    },
    outbox::{
        Claim as JobClaim, DeadJob, Job, JobId, JobKind, JobQuery, Lease, LiveJob, NewJob, OutboxStats, OutboxStore,
        Renewal, ScheduleRow, Settlement, Swept,
    },
    privacy::{AuditEntry, AuditQuery, Erasure, ErasureQuery, Holdings, NewErasure, PrivacyError, PrivacyStore},
    refusals::{RefusalStore, RefusedAttempt},
    revocations::{LoggedLoss, Loss, LossSeq, Lost, MemoryRevocationStore, RevocationStore},
    worlds::{NewWorld, Slug, World, WorldChange, WorldError, WorldQuery, WorldStore},
};

/// Services over stores in memory, and the handles to turn them with.
pub(crate) struct Town {
    pub(crate) services: Services,
    pub(crate) chat: Arc<FallibleChat>,
    pub(crate) accounts: Arc<MemoryAccounts>,
    pub(crate) grants: Arc<MemoryGrantStore>,
    pub(crate) worlds: Arc<MemoryWorlds>,
    pub(crate) clock: Arc<ManualClock>,
}

impl Town {
    pub(crate) async fn found() -> Self {
        // The clock stands still, so nothing of a quota ever comes back.
        Self::limited(LimitsConfig::uniform(Quota::per(1_000_000, Unit::Second))).await
    }

    /// Services that let things be done as often as `limits` says.
    pub(crate) async fn limited(limits: LimitsConfig) -> Self {
        let (chat, accounts) = (Arc::new(FallibleChat::default()), Arc::new(MemoryAccounts::default()));
        let grants = Arc::new(MemoryGrantStore::logging(Arc::clone(&accounts.log)));
        let clock = Arc::new(ManualClock::default());
        let sources = Sources {
            clock: clock.clone(),
            ids: Arc::new(SequentialIds::default()),
            random: Arc::new(CountingRandom::default()),
        };
        let worlds = Arc::new(MemoryWorlds::logging(&accounts.log));
        let stores = stores(chat.clone(), &accounts, grants.clone(), worlds.clone());
        let config = ServiceConfig { limits, ..ServiceConfig::default() };
        let services = Services::start(stores, config, sources).await.expect("services start");
        Self { services, chat, accounts, grants, worlds, clock }
    }
}

/// Puts every port together.
pub(crate) fn stores(
    chat: Arc<dyn ChatStore>,
    accounts: &Arc<MemoryAccounts>,
    grants: Arc<MemoryGrantStore>,
    worlds: Arc<MemoryWorlds>,
) -> Stores {
    Stores {
        accounts: accounts.clone(),
        sessions: accounts.clone(),
        devices: accounts.clone(),
        keys: accounts.clone(),
        factors: accounts.clone(),
        preferences: accounts.clone(),
        grants,
        api_keys: accounts.clone(),
        worlds,
        chat,
        idempotency: accounts.clone(),
        revocations: accounts.clone(),
        privacy: accounts.clone(),
        outbox: accounts.clone(),
        announcements: accounts.clone(),
        notifications: accounts.clone(),
        mail: accounts.clone(),
        refusals: accounts.clone(),
        health: accounts.clone(),
    }
}

/// The same bytes in every run, and never the same twice.
#[derive(Debug, Default)]
pub(crate) struct CountingRandom(AtomicU64);

impl RandomSource for CountingRandom {
    fn fill(&self, buffer: &mut [u8]) {
        let n = self.0.fetch_add(1, Ordering::SeqCst).to_le_bytes();
        for (at, byte) in buffer.iter_mut().enumerate() {
            *byte = n[at % n.len()];
        }
    }
}

/// Guests, their sessions and tickets.
#[derive(Debug, Default)]
pub(crate) struct MemoryAccounts {
    state: Mutex<State>,
    pub(crate) log: Arc<MemoryRevocationStore>,
    /// Whether the store is away.
    pub(crate) away: AtomicBool,
    /// What the first node brought.
    keys: OnceLock<ServerKeys>,
    api_keys: OnceLock<MemoryApiKeyStore>,
    /// How often an API key was looked up.
    pub(crate) keys_read: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    signed_in: HashMap<SessionId, SignedIn>,
    refresh: HashMap<TokenHash, RefreshToken>,
    tickets: HashMap<TokenHash, Ticket>,
    dispatched: HashSet<(AccountId, NotificationId)>,
}

impl MemoryAccounts {
    fn api_keys(&self) -> &MemoryApiKeyStore {
        self.api_keys.get_or_init(|| MemoryApiKeyStore::logging(Arc::clone(&self.log)))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panics while it holds the lock")
    }
}

impl MemoryAccounts {
    /// Ends a session, once, and logs what is lost.
    fn end_one(&self, signed_in: &mut SignedIn, step: &Step, lost: Lost) {
        if signed_in.session.ended_at.replace(step.at).is_none() {
            self.log.append([Loss::of(signed_in.account.id, lost)], step.at);
        }
    }
}

fn not_needed(attempted: &'static str) -> StorageError {
    StorageError::permanent(attempted, "sockets do not need this")
}

/// Implements a port of which sockets need only a part.
macro_rules! port {
    ($port:ident for $store:ident {$($needed:tt)*} refuses {$(fn $name:ident($($argument:ty),*) -> $answer:ty;)*}) => {
        #[async_trait]
        impl $port for $store {
            $($needed)*

            $(async fn $name(&self $(, _: $argument)*) -> $answer {
                Err(not_needed(stringify!($name)).into())
            })*
        }
    };
}

port! {
    AccountStore for MemoryAccounts {
        async fn open_guest(&self, step: &Step, guest: &NewGuest) -> Result<SignedIn, AccountError> {
            let signed_in = SignedIn {
                account: Account {
                    id: guest.id,
                    kind: AccountKind::Guest,
                    username: None,
                    email: None,
                    display_name: guest.display_name.clone(),
                    revision: Revision::FIRST,
                    created_at: step.at,
                },
                session: Session {
                    id: guest.session.id,
                    account: guest.id,
                    device: guest.session.device.id,
                    generation: 0,
                    created_at: step.at,
                    idle_expires_at: guest.session.idle_expires_at,
                    expires_at: guest.session.expires_at,
                    ended_at: None,
                },
            };
            let mut state = self.state();
            let refresh = RefreshToken { session: guest.session.id, generation: 0, used_at: None };
            state.refresh.insert(guest.session.refresh, refresh);
            state.signed_in.insert(guest.session.id, signed_in.clone());
            Ok(signed_in)
        }

        async fn find(&self, id: AccountId) -> Result<Option<Account>, StorageError> {
            let state = self.state();
            Ok(state.signed_in.values().map(|signed_in| &signed_in.account).find(|account| account.id == id).cloned())
        }
    } refuses {
        fn register(&Step, &Registration) -> Result<SignedIn, AccountError>;
        fn sign_in_external(&Step, &ExternalSignIn) -> Result<SignedIn, AccountError>;
        fn credentials(&Username) -> Result<Option<Credentials>, StorageError>;
        fn password(AccountId) -> Result<Option<PasswordRecord>, StorageError>;
        fn change_password(&Step, &PasswordChange) -> Result<SignedIn, AccountError>;
        fn upgrade(&Step, &Upgrade) -> Result<SignedIn, AccountError>;
        fn page(&AccountQuery) -> Result<Page<Account>, StorageError>;
        fn issue_bootstrap(&Step, &NewBootstrapToken) -> Result<(), AccountError>;
        fn bootstrap(&Step, &Bootstrap) -> Result<SignedIn, AccountError>;
        fn rename(&Step, AccountId, &DisplayName) -> Result<Account, AccountError>;
    }
}

port! {
    SessionStore for MemoryAccounts {
        async fn find_all(&self, ids: &[SessionId]) -> Result<Vec<SignedIn>, StorageError> {
            if self.away.load(Ordering::SeqCst) {
                return Err(StorageError::transient("read sessions", "the store is away"));
            }
            let state = self.state();
            Ok(ids.iter().filter_map(|id| state.signed_in.get(id).cloned()).collect())
        }

        async fn find_refresh(&self, hash: &TokenHash) -> Result<Option<RefreshToken>, StorageError> {
            Ok(self.state().refresh.get(hash).cloned())
        }

        async fn rotate(&self, step: &Step, rotation: &Rotation) -> Result<bool, StorageError> {
            let mut state = self.state();
            let Some(signed_in) = state.signed_in.get_mut(&rotation.session) else { return Ok(false) };
            if signed_in.session.generation != rotation.from {
                return Ok(false);
            }
            signed_in.session.generation += 1;
            signed_in.session.idle_expires_at = rotation.idle_expires_at;
            for token in state.refresh.values_mut().filter(|token| token.session == rotation.session) {
                token.used_at.get_or_insert(step.at);
            }
            let successor = RefreshToken { session: rotation.session, generation: rotation.from + 1, used_at: None };
            state.refresh.insert(rotation.successor, successor);
            Ok(true)
        }

        async fn end(&self, step: &Step, id: SessionId) -> Result<(), StorageError> {
            let mut state = self.state();
            if let Some(signed_in) = state.signed_in.get_mut(&id) {
                self.end_one(signed_in, step, Lost::Session(id));
            }
            Ok(())
        }

        async fn save_ticket(&self, ticket: &NewTicket, _: Timestamp) -> Result<(), StorageError> {
            let NewTicket { hash, session, origin, expires_at } = ticket.clone();
            self.state().tickets.insert(hash, Ticket { session, origin, expires_at });
            Ok(())
        }

        async fn spend_ticket(&self, hash: &TokenHash) -> Result<Option<Ticket>, StorageError> {
            Ok(self.state().tickets.remove(hash))
        }
    } refuses {
        fn open(&Step, AccountId, &NewSession) -> Result<SignedIn, AccountError>;
        fn page(&SessionQuery) -> Result<Page<SessionEntry>, StorageError>;
        fn end_others(&Step, AccountId, Option<SessionId>) -> Result<u64, StorageError>;
    }
}

port! {
    DeviceStore for MemoryAccounts {
        async fn end(&self, step: &Step, account: AccountId, device: DeviceId) -> Result<(), AccountError> {
            let mut state = self.state();
            let here = |signed_in: &&mut SignedIn| {
                (signed_in.account.id, signed_in.session.device) == (account, device)
            };
            let signed_in = state.signed_in.values_mut().find(here).ok_or(AccountError::DeviceNotFound)?;
            self.end_one(signed_in, step, Lost::Device(device));
            Ok(())
        }
    } refuses {
        fn page(&DeviceQuery) -> Result<Page<Device>, StorageError>;
        fn find_known(AccountId, &TokenHash) -> Result<Option<DeviceId>, StorageError>;
        fn rename(&Step, AccountId, DeviceId, &DeviceName) -> Result<Device, AccountError>;
    }
}

port! {
    SecondFactorStore for MemoryAccounts {
    } refuses {
        fn find(AccountId) -> Result<Option<SecondFactor>, StorageError>;
        fn begin(&Step, AccountId, &SealedSecret) -> Result<(), AccountError>;
        fn confirm(&Step, &Confirmation) -> Result<SignedIn, AccountError>;
        fn open(&Step, AccountId, &NewSession, &Proof) -> Result<SignedIn, AccountError>;
        fn disable(&Step, &SecondFactorRemoval) -> Result<SignedIn, AccountError>;
        fn remove(&Step, AccountId) -> Result<u64, AccountError>;
    }
}

port! {
    PreferenceStore for MemoryAccounts {
    } refuses {
        fn find(AccountId) -> Result<Preferences, StorageError>;
        fn amend(&Step, &PreferencesChange) -> Result<Preferences, AccountError>;
    }
}

#[async_trait]
impl RevocationStore for MemoryAccounts {
    async fn page(&self, after: LossSeq, limit: u16) -> Result<Vec<LoggedLoss>, StorageError> {
        if self.away.load(Ordering::SeqCst) {
            return Err(StorageError::transient("read the log of losses", "the store is away"));
        }
        self.log.page(after, limit).await
    }

    async fn position_at(&self, at: Timestamp) -> Result<LossSeq, StorageError> {
        self.log.position_at(at).await
    }

    async fn purge(&self, before: Timestamp, limit: u32) -> Result<u64, StorageError> {
        self.log.purge(before, limit).await
    }
}

port! {
    KeyStore for MemoryAccounts {
        async fn adopt(&self, fresh: &ServerKeys) -> Result<ServerKeys, StorageError> {
            Ok(self.keys.get_or_init(|| fresh.clone()).clone())
        }
    }
    refuses {
        fn read() -> Result<ServerKeys, StorageError>;
        fn add_root(&Step, &RootKey) -> Result<(), StorageError>;
        fn rotate(&Step, &KeyRotation) -> Result<bool, StorageError>;
        fn drop_signing(&Step, &[String]) -> Result<u64, StorageError>;
    }
}

port! {
    RefusalStore for MemoryAccounts {
    } refuses {
        fn record(&[RefusedAttempt]) -> Result<(), StorageError>;
    }
}

#[async_trait]
impl StoreHealth for MemoryAccounts {
    async fn check(&self) -> Result<(), StorageError> {
        Ok(())
    }

    async fn close(&self) {}
}

port! {
    IdempotencyStore for MemoryAccounts {
    } refuses {
        fn claim(&NewClaim) -> Result<Claimed, StorageError>;
        fn complete(&Claim, &StoredAnswer) -> Result<bool, StorageError>;
        fn release(&Claim, Release) -> Result<(), StorageError>;
        fn purge(Timestamp, u32) -> Result<u64, StorageError>;
    }
}

port! {
    PrivacyStore for MemoryAccounts {
    } refuses {
        fn holdings(AccountId) -> Result<Option<Holdings>, StorageError>;
        fn audit(&AuditQuery) -> Result<Vec<AuditEntry>, StorageError>;
        fn note(&Step, AccountId) -> Result<(), StorageError>;
        fn last_owner_of(AccountId) -> Result<Vec<Scope>, StorageError>;
        fn erase(&Step, &NewErasure) -> Result<Erasure, PrivacyError>;
        fn sweep(AccountId) -> Result<(), StorageError>;
        fn settle(AccountId, Timestamp) -> Result<(), StorageError>;
        fn erasures(&ErasureQuery) -> Result<Page<Erasure>, StorageError>;
        fn unsettled() -> Result<Vec<Erasure>, StorageError>;
        fn purge_marks(Timestamp) -> Result<u64, StorageError>;
    }
}

port! {
    AnnouncementStore for MemoryAccounts {
    } refuses {
        fn publish(&Step, &NewAnnouncement) -> Result<Published, AnnouncementError>;
        fn find(AnnouncementId) -> Result<Option<Announcement>, StorageError>;
        fn page(&AnnouncementQuery) -> Result<AnnouncementPage, StorageError>;
        fn amend(&Step, &AnnouncementChange) -> Result<Announcement, AnnouncementError>;
        fn purge(Timestamp, u32) -> Result<u64, StorageError>;
    }
}

#[async_trait]
impl ApiKeyStore for MemoryAccounts {
    async fn create(&self, step: &Step, key: &NewApiKey) -> Result<ApiKey, AccessError> {
        self.api_keys().create(step, key).await
    }

    async fn find(&self, id: ApiKeyId) -> Result<Option<ApiKey>, StorageError> {
        self.keys_read.fetch_add(1, Ordering::SeqCst);
        self.api_keys().find(id).await
    }

    async fn page(&self, query: &ApiKeyQuery) -> Result<Page<ApiKey>, StorageError> {
        self.api_keys().page(query).await
    }

    async fn delete(&self, step: &Step, id: ApiKeyId) -> Result<ApiKey, AccessError> {
        self.api_keys().delete(step, id).await
    }

    async fn used(&self, id: ApiKeyId, at: Timestamp) -> Result<(), StorageError> {
        self.api_keys().used(id, at).await
    }
}

port! {
    MailStore for MemoryAccounts {
    } refuses {
        fn queue(&Step, &NewMail) -> Result<Queued, StorageError>;
        fn find(MailId) -> Result<Option<MailIntent>, StorageError>;
        fn begin(MailId, Timestamp) -> Result<Begun, StorageError>;
        fn settle(&Settled, Timestamp) -> Result<(), StorageError>;
        fn purge(Timestamp, u32) -> Result<u64, StorageError>;
    }
}

port! {
    NotificationStore for MemoryAccounts {
        async fn dispatch(
            &self,
            accounts: &[AccountId],
            id: NotificationId,
            _: Timestamp,
        ) -> Result<Vec<AccountId>, StorageError> {
            let mut state = self.state();
            Ok(accounts.iter().copied().filter(|account| state.dispatched.insert((*account, id))).collect())
        }
    } refuses {
        fn state(AccountId, Timestamp, Timestamp) -> Result<FeedState, StorageError>;
        fn page(&NotificationQuery) -> Result<FeedPage, StorageError>;
        fn unread(AccountId, Timestamp, Timestamp, u32) -> Result<u32, StorageError>;
        fn tell(&[NewNotification]) -> Result<Vec<Told>, StorageError>;
        fn mark_read(AccountId, NotificationId, Timestamp) -> Result<(), NotificationError>;
        fn mark_all_read(AccountId, FeedMark, Timestamp) -> Result<(), StorageError>;
        fn dismiss(AccountId, NotificationId, Timestamp) -> Result<(), NotificationError>;
        fn spread(AnnouncementId, Timestamp) -> Result<Spread, StorageError>;
        fn purge(Timestamp, Timestamp, u32) -> Result<u64, StorageError>;
    }
}

port! {
    OutboxStore for MemoryAccounts {
    } refuses {
        fn enqueue(&[NewJob], &CorrelationId, Timestamp) -> Result<(), StorageError>;
        fn claim(&JobClaim, Timestamp) -> Result<Vec<Job>, StorageError>;
        fn renew(&[Renewal], Timestamp) -> Result<Vec<Lease>, StorageError>;
        fn settle(&[Settlement], Timestamp) -> Result<Vec<Lease>, StorageError>;
        fn sweep(u16, Timestamp) -> Result<Swept, StorageError>;
        fn now(Timestamp) -> Result<Timestamp, StorageError>;
        fn page(&JobQuery) -> Result<Page<LiveJob>, StorageError>;
        fn find(JobId) -> Result<Option<LiveJob>, StorageError>;
        fn blocker(JobId) -> Result<Option<LiveJob>, StorageError>;
        fn page_dead(&JobQuery) -> Result<Page<DeadJob>, StorageError>;
        fn find_dead(JobId) -> Result<Option<DeadJob>, StorageError>;
        fn replay(&Step, JobId) -> Result<Option<JobId>, StorageError>;
        fn purge_dead(Timestamp, u32) -> Result<u64, StorageError>;
        fn stats(Timestamp) -> Result<OutboxStats, StorageError>;
        fn schedules(&[String]) -> Result<Vec<ScheduleRow>, StorageError>;
        fn advance(Option<&ScheduleRow>, &ScheduleRow, Option<&NewJob>, &CorrelationId, Timestamp) -> Result<bool, StorageError>;
        fn hint(&[JobKind]) -> Result<(), StorageError>;
        fn hinted() -> Result<Vec<JobKind>, StorageError>;
    }
}

#[derive(Debug, Default)]
pub(crate) struct MemoryWorlds {
    worlds: Mutex<HashMap<WorldId, World>>,
    log: Arc<MemoryRevocationStore>,
}

impl MemoryWorlds {
    /// Keeps worlds, and logs losses in `log`.
    pub(crate) fn logging(log: &Arc<MemoryRevocationStore>) -> Self {
        Self { worlds: Mutex::default(), log: Arc::clone(log) }
    }
}

port! {
    WorldStore for MemoryWorlds {
        async fn create(&self, step: &Step, new: &NewWorld) -> Result<World, WorldError> {
            let world = World {
                id: new.id,
                slug: new.slug.clone(),
                name: new.name.clone(),
                description: new.description.clone(),
                visibility: new.visibility,
                join_policy: new.join_policy,
                revision: Revision::FIRST,
                created_at: step.at,
                updated_at: step.at,
                archived_at: None,
            };
            self.worlds.lock().expect("no poison").insert(new.id, world.clone());
            Ok(world)
        }

        async fn find(&self, id: WorldId) -> Result<Option<World>, StorageError> {
            Ok(self.worlds.lock().expect("no poison").get(&id).cloned())
        }

        async fn find_by_slug(&self, slug: &Slug) -> Result<Option<World>, StorageError> {
            Ok(self.worlds.lock().expect("no poison").values().find(|world| world.slug == *slug).cloned())
        }

        async fn amend(&self, step: &Step, change: &WorldChange) -> Result<World, WorldError> {
            let mut worlds = self.worlds.lock().expect("no poison");
            let world = worlds.get_mut(&change.id).ok_or(WorldError::NotFound)?;
            let before = world.clone();
            world.visibility = change.amendment.visibility.unwrap_or(world.visibility);
            world.archived_at = before.archived_at.or(change.archive.then_some(step.at));
            world.revision = world.revision.next();
            self.log.append(before.lost_by(world), step.at);
            Ok(world.clone())
        }
    } refuses {
        fn page(&WorldQuery) -> Result<Page<World>, StorageError>;
        fn is_empty() -> Result<bool, StorageError>;
    }
}

/// Chat in memory that can be away, or slow.
#[derive(Debug, Default)]
pub(crate) struct FallibleChat {
    store: Arc<MemoryChatStore>,
    /// Whether the store is away.
    pub(crate) away: AtomicBool,
    /// Who holds it makes every call wait.
    pub(crate) gate: tokio::sync::RwLock<()>,
    /// Calls of these names that are never answered, and how many of them.
    hung: Mutex<HashMap<&'static str, u32>>,
    /// How long a batch takes, whether or not somebody waits for it.
    pub(crate) append_takes: Mutex<Duration>,
    /// Milliseconds until what changed is read.
    pub(crate) changes_take: AtomicU64,
    /// How often it was begun.
    pub(crate) changes_begun: AtomicU64,
    /// How often it was done.
    pub(crate) changes_read: AtomicU64,
}

impl FallibleChat {
    fn store(&self) -> Result<&Arc<MemoryChatStore>, StorageError> {
        if self.away.load(Ordering::SeqCst) {
            return Err(StorageError::transient("reach the store", "it is away"));
        }
        Ok(&self.store)
    }

    /// Answers nothing to the next calls of this name.
    pub(crate) fn hang(&self, name: &'static str, calls: u32) {
        self.hung.lock().expect("no panic").insert(name, calls);
    }

    fn hangs(&self, name: &str) -> bool {
        let mut hung = self.hung.lock().expect("no panic");
        let Some(left) = hung.get_mut(name).filter(|left| **left > 0) else { return false };
        *left -= 1;
        true
    }

    async fn pass(&self, name: &str) -> Result<&Arc<MemoryChatStore>, StorageError> {
        if self.hangs(name) {
            std::future::pending::<()>().await;
        }
        let _open = self.gate.read().await;
        self.store()
    }
}

macro_rules! delegated {
    ($(fn $name:ident($($argument:ident: $type:ty),*) -> $answer:ty;)+) => {
        #[async_trait]
        impl ChatStore for FallibleChat {
            async fn append(&self, batch: &[NewMessage]) -> Result<Vec<Appended>, StorageError> {
                let store = self.pass("append").await?;
                let takes = *self.append_takes.lock().expect("no panic");
                if takes.is_zero() {
                    return store.append(batch).await;
                }
                let (store, batch) = (Arc::clone(store), batch.to_vec());
                let writing = tokio::spawn(async move {
                    tokio::time::sleep(takes).await;
                    store.append(&batch).await
                });
                writing.await.expect("the task that writes does not panic")
            }

            async fn changes(&self, query: &ChangeQuery) -> Result<Changes, ChatError> {
                let store = self.pass("changes").await?;
                self.changes_begun.fetch_add(1, Ordering::SeqCst);
                let delay = Duration::from_millis(self.changes_take.load(Ordering::SeqCst));
                if !delay.is_zero() {
                    tokio::time::sleep(delay).await;
                }
                self.changes_read.fetch_add(1, Ordering::SeqCst);
                store.changes(query).await
            }

            $(async fn $name(&self $(, $argument: $type)*) -> $answer {
                self.pass(stringify!($name)).await?.$name($($argument),*).await
            })+
        }
    };
}

delegated! {
    fn create_channel(step: &Step, channel: &NewChannel) -> Result<Channel, ChatError>;
    fn find_channel(id: ChannelId) -> Result<Option<Channel>, StorageError>;
    fn channels(query: &ChannelQuery) -> Result<Page<Channel>, StorageError>;
    fn amend_channel(step: &Step, change: &ChannelChange) -> Result<Channel, ChatError>;
    fn page(query: &MessageQuery) -> Result<Option<History>, StorageError>;
    fn head(channel: ChannelId) -> Result<Option<RoomHead>, StorageError>;
    fn find_message(id: MessageId) -> Result<Option<Message>, StorageError>;
    fn edit(step: &Step, edit: &Edit) -> Result<Message, ChatError>;
    fn remove(step: &Step, removal: &Removal) -> Result<Message, ChatError>;
    fn mark_read(account: AccountId, channel: ChannelId, seq: Seq) -> Result<Unread, ChatError>;
    fn unread(account: AccountId) -> Result<Vec<Unread>, StorageError>;
    fn written(query: &WrittenQuery) -> Result<Vec<Written>, StorageError>;
    fn messages_at(channel: ChannelId, places: &[Seq]) -> Result<Vec<Message>, StorageError>;
    fn rename_author(renaming: &AuthorRenaming) -> Result<Vec<Message>, StorageError>;
    fn purge(channel: ChannelId, before: Timestamp, limit: u32) -> Result<u64, StorageError>;
    fn channels_with_retention() -> Result<Vec<Channel>, StorageError>;
}
