//! What decisions cost the store, and what is forgotten when.

#![allow(clippy::unwrap_used, reason = "clippy knows tests, and not the functions that they share")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use weltenwind_core::{
    AccountId, Actor, Clock as _, GrantId, IdGenerator as _, ManualClock, Page, Scope, SequentialIds, Step,
    StorageError, Timestamp,
    access::{
        AccessControlService as _, AccessError, Because, Grant, GrantQuery, GrantStore, Member, MemberQuery,
        MemoryGrantStore, NewGrant, Permission, Place, Role, RoleAccess,
    },
    worlds::{Visibility, World},
};

/// Counts how often an account's grants are read.
#[derive(Debug, Default)]
struct Counting {
    grants: MemoryGrantStore,
    reads: AtomicU64,
}

#[async_trait]
impl GrantStore for Counting {
    async fn of(&self, account: AccountId, at: Timestamp) -> Result<Vec<Grant>, StorageError> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        self.grants.of(account, at).await
    }

    async fn find(&self, id: GrantId) -> Result<Option<Grant>, StorageError> {
        self.grants.find(id).await
    }

    async fn page(&self, query: &GrantQuery) -> Result<Page<Grant>, StorageError> {
        self.grants.page(query).await
    }

    async fn grant(&self, step: &Step, grant: &NewGrant) -> Result<Grant, AccessError> {
        self.grants.grant(step, grant).await
    }

    async fn revoke(&self, step: &Step, grant: GrantId) -> Result<Grant, AccessError> {
        self.grants.revoke(step, grant).await
    }

    async fn revoke_all(&self, step: &Step, account: AccountId, scope: Scope) -> Result<(), AccessError> {
        self.grants.revoke_all(step, account, scope).await
    }

    async fn members(&self, query: &MemberQuery) -> Result<Page<Member>, StorageError> {
        self.grants.members(query).await
    }
}

struct Town {
    access: RoleAccess,
    store: Arc<Counting>,
    clock: Arc<ManualClock>,
    ids: SequentialIds,
    mira: Actor,
}

impl Town {
    fn new() -> Self {
        let (store, clock) = (Arc::new(Counting::default()), Arc::new(ManualClock::default()));
        let access = RoleAccess::new(store.clone(), clock.clone());
        Self { access, store, clock, ids: SequentialIds::default(), mira: Actor::player("Mira") }
    }

    async fn give(&self, role: Role, scope: Scope, expires_at: Option<Timestamp>) -> Grant {
        let account = self.mira.account_id().unwrap();
        let grant = NewGrant { id: GrantId::new(self.ids.draw()), account, role, scope, reason: None, expires_at };
        self.store.grant(&Step::sample(self.clock.now()), &grant).await.unwrap()
    }

    async fn take(&self, grant: &Grant) {
        self.store.revoke(&Step::sample(self.clock.now()), grant.id).await.unwrap();
    }

    /// Asks, and answers what it rests on and how often the store was read for it.
    async fn ask(&self, permission: Permission, place: &Place) -> (Because, u64) {
        let before = self.store.reads.load(Ordering::SeqCst);
        let decision = self.access.decide(&self.mira, permission, place).await.unwrap();
        (decision.because, self.store.reads.load(Ordering::SeqCst) - before)
    }
}

fn private(n: u32) -> (Scope, Place) {
    let world = World { visibility: Visibility::Private, ..World::sample(n) };
    (Scope::World(world.id), Place::world(&world))
}

#[tokio::test]
async fn a_hit_costs_no_reading_and_a_miss_one() {
    let town = Town::new();
    let (scope, here) = private(1);
    town.give(Role::WorldMember, scope, None).await;
    let member = Because::Granted(Role::WorldMember, scope);

    assert_eq!(town.ask(Permission::ChatPost, &here).await, (member.clone(), 1));
    for permission in [Permission::ChatPost, Permission::ChatRead, Permission::WorldRead] {
        assert_eq!(town.ask(permission, &here).await, (member.clone(), 0), "{permission}");
    }
    town.clock.advance(Duration::from_secs(1));
    assert_eq!(town.ask(Permission::ChatPost, &here).await, (member, 1), "a second later");
}

#[tokio::test]
async fn a_denial_is_confirmed_at_most_once_a_second_for_each_scope() {
    let town = Town::new();
    let ((_, here), (_, there)) = (private(1), private(2));

    assert_eq!(town.ask(Permission::ChatPost, &here).await, (Because::NoGrant, 1));
    for _ in 0..100 {
        assert_eq!(town.ask(Permission::ChatPost, &here).await, (Because::NoGrant, 0));
        assert_eq!(town.ask(Permission::ChatRead, &here).await, (Because::NoGrant, 0));
    }
    assert_eq!(town.ask(Permission::ChatPost, &there).await, (Because::NoGrant, 1), "another scope");
    town.clock.advance(Duration::from_millis(999));
    assert_eq!(town.ask(Permission::ChatPost, &there).await, (Because::NoGrant, 0));
    town.clock.advance(Duration::from_millis(1));
    assert_eq!(town.ask(Permission::ChatPost, &here).await, (Because::NoGrant, 1));
}

#[tokio::test]
async fn a_sensitive_permission_is_read_each_time() {
    let town = Town::new();
    let (scope, here) = private(1);
    town.give(Role::WorldModerator, scope, None).await;

    for _ in 0..3 {
        assert_eq!(town.ask(Permission::ChatModerate, &here).await, (Because::Granted(Role::WorldModerator, scope), 1));
    }
}

#[tokio::test]
async fn what_is_forgotten_is_read_again_and_its_denials_with_it() {
    let town = Town::new();
    let (scope, here) = private(1);
    let account = town.mira.account_id().unwrap();
    assert_eq!(town.ask(Permission::ChatPost, &here).await, (Because::NoGrant, 1));

    let grant = town.give(Role::WorldMember, scope, None).await;
    town.access.forget(account);
    assert_eq!(town.ask(Permission::ChatPost, &here).await, (Because::Granted(Role::WorldMember, scope), 1));

    town.take(&grant).await;
    assert!(town.ask(Permission::ChatPost, &here).await.0.allows(), "nobody has told this node yet");
    town.access.forget(account);
    assert_eq!(town.ask(Permission::ChatPost, &here).await, (Because::NoGrant, 1));
}

#[tokio::test]
async fn a_role_ends_at_its_instant_though_it_is_remembered() {
    let town = Town::new();
    let (scope, here) = private(1);
    let end = town.clock.now() + Duration::from_millis(500);
    town.give(Role::WorldModerator, scope, Some(end)).await;
    town.give(Role::WorldMember, scope, None).await;
    assert_eq!(town.ask(Permission::ChatPost, &here).await.0, Because::Granted(Role::WorldModerator, scope));

    town.clock.advance(Duration::from_millis(500));

    assert_eq!(town.ask(Permission::ChatPost, &here).await.0, Because::Granted(Role::WorldMember, scope));
}

#[tokio::test]
async fn a_clock_that_is_set_back_keeps_nothing_alive() {
    let town = Town::new();
    let (scope, here) = private(1);
    let grant = town.give(Role::WorldMember, scope, None).await;
    town.clock.advance(Duration::from_mins(1));
    assert!(town.ask(Permission::ChatPost, &here).await.0.allows());

    town.take(&grant).await;
    town.clock.set(town.clock.now() - Duration::from_secs(30));

    assert_eq!(town.ask(Permission::ChatPost, &here).await, (Because::NoGrant, 1));
}
