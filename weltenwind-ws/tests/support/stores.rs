//! The ports in memory, as far as sockets need them: nothing here waits, so tests may stop the clock of tokio.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use weltenwind_core::{
    AccountId, ManualClock, Page, RandomSource, Revision, SequentialIds, ServiceConfig, Services, SessionId, Sources,
    Step, StorageError, StoreHealth, Stores, Timestamp, WorldId,
    access::MemoryGrantStore,
    accounts::{
        Account, AccountError, AccountKind, AccountStore, Bootstrap, DisplayName, KeyStore, NewBootstrapToken,
        NewGuest, NewTicket, RefreshToken, Rotation, ServerKeys, Session, SessionStore, SignedIn, Ticket, TokenHash,
    },
    chat::MemoryChatStore,
    worlds::{NewWorld, Slug, World, WorldChange, WorldError, WorldQuery, WorldStore},
};

/// Services over stores in memory, and the handles to turn them with.
pub(crate) struct Town {
    pub(crate) services: Services,
    pub(crate) chat: Arc<MemoryChatStore>,
    pub(crate) accounts: Arc<MemoryAccounts>,
    pub(crate) clock: Arc<ManualClock>,
}

impl Town {
    pub(crate) async fn found() -> Self {
        let (chat, accounts) = (Arc::new(MemoryChatStore::default()), Arc::new(MemoryAccounts::default()));
        let clock = Arc::new(ManualClock::default());
        let sources = Sources {
            clock: clock.clone(),
            ids: Arc::new(SequentialIds::default()),
            random: Arc::new(CountingRandom::default()),
        };
        let stores = Stores {
            accounts: accounts.clone(),
            sessions: accounts.clone(),
            keys: accounts.clone(),
            grants: Arc::new(MemoryGrantStore::default()),
            worlds: Arc::new(MemoryWorlds::default()),
            chat: chat.clone(),
            health: accounts.clone(),
        };
        let services = Services::start(stores, ServiceConfig::default(), sources).await.expect("services start");
        Self { services, chat, accounts, clock }
    }
}

/// The same bytes in every run, and never the same twice.
#[derive(Debug, Default)]
struct CountingRandom(AtomicU64);

impl RandomSource for CountingRandom {
    fn fill(&self, buffer: &mut [u8]) {
        let n = self.0.fetch_add(1, Ordering::SeqCst).to_be_bytes();
        for (at, byte) in buffer.iter_mut().enumerate() {
            *byte = n[at % n.len()];
        }
    }
}

/// Guests, their sessions and tickets.
#[derive(Debug, Default)]
pub(crate) struct MemoryAccounts {
    state: Mutex<State>,
    /// Whether the store is away.
    pub(crate) away: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    signed_in: HashMap<SessionId, SignedIn>,
    refresh: HashMap<TokenHash, RefreshToken>,
    tickets: HashMap<TokenHash, Ticket>,
}

impl MemoryAccounts {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panics while it holds the lock")
    }
}

fn not_needed(attempted: &'static str) -> StorageError {
    StorageError::permanent(attempted, "sockets do not need this")
}

#[async_trait]
impl AccountStore for MemoryAccounts {
    async fn open_guest(&self, step: &Step, guest: &NewGuest) -> Result<SignedIn, AccountError> {
        let signed_in = SignedIn {
            account: Account {
                id: guest.id,
                kind: AccountKind::Guest,
                username: None,
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

    async fn issue_bootstrap(&self, _: &Step, _: &NewBootstrapToken) -> Result<(), AccountError> {
        Err(not_needed("keep a bootstrap token").into())
    }

    async fn bootstrap(&self, _: &Step, _: &Bootstrap) -> Result<SignedIn, AccountError> {
        Err(not_needed("spend a bootstrap token").into())
    }

    async fn find(&self, id: AccountId) -> Result<Option<Account>, StorageError> {
        let state = self.state();
        Ok(state.signed_in.values().map(|signed_in| &signed_in.account).find(|account| account.id == id).cloned())
    }

    async fn rename(&self, _: &Step, _: AccountId, _: &DisplayName) -> Result<Account, AccountError> {
        Err(not_needed("rename an account").into())
    }
}

#[async_trait]
impl SessionStore for MemoryAccounts {
    async fn find(&self, id: SessionId) -> Result<Option<SignedIn>, StorageError> {
        if self.away.load(Ordering::SeqCst) {
            return Err(StorageError::transient("read a session", "the store is away"));
        }
        Ok(self.state().signed_in.get(&id).cloned())
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
        if let Some(signed_in) = self.state().signed_in.get_mut(&id) {
            signed_in.session.ended_at.get_or_insert(step.at);
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
}

#[async_trait]
impl KeyStore for MemoryAccounts {
    async fn adopt(&self, fresh: &ServerKeys) -> Result<ServerKeys, StorageError> {
        Ok(fresh.clone())
    }
}

#[async_trait]
impl StoreHealth for MemoryAccounts {
    async fn check(&self) -> Result<(), StorageError> {
        Ok(())
    }

    async fn close(&self) {}
}

#[derive(Debug, Default)]
struct MemoryWorlds {
    worlds: Mutex<HashMap<WorldId, World>>,
}

#[async_trait]
impl WorldStore for MemoryWorlds {
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

    async fn page(&self, _: &WorldQuery) -> Result<Page<World>, StorageError> {
        Err(not_needed("list worlds"))
    }

    async fn amend(&self, step: &Step, change: &WorldChange) -> Result<World, WorldError> {
        let mut worlds = self.worlds.lock().expect("no poison");
        let world = worlds.get_mut(&change.id).ok_or(WorldError::NotFound)?;
        world.visibility = change.amendment.visibility.unwrap_or(world.visibility);
        world.archived_at = change.archive.then_some(step.at);
        world.revision = world.revision.next();
        Ok(world.clone())
    }

    async fn is_empty(&self) -> Result<bool, StorageError> {
        Ok(self.worlds.lock().expect("no poison").is_empty())
    }
}
