//! The decision itself: roles from a table, grants from a store.

use std::{fmt::Debug, sync::Arc, time::Duration};

use async_trait::async_trait;
use moka::sync::Cache;

use super::{
    error::{AccessError, Denied},
    model::{Because, Decision, Grant},
    permission::Permission,
    place::Place,
    role::Role,
    store::GrantStore,
};
use crate::{
    actor::{Actor, Identity},
    clock::{Clock, Timestamp},
    error::StorageError,
    ids::AccountId,
    revocations::{Mark, Revocations},
};

/// Answers whether an actor may do something in a place.
#[async_trait]
pub trait AccessControlService: Debug + Send + Sync + 'static {
    /// Decides, and says why. An error means that nothing was decided: the answer is then neither yes nor no.
    async fn decide(&self, actor: &Actor, permission: Permission, place: &Place) -> Result<Decision, StorageError>;

    /// Forgets what is known of an account, after its grants have changed on this node.
    fn forget(&self, account: AccountId);

    /// Passes if the actor may.
    ///
    /// # Errors
    ///
    /// [`AccessError::Denied`] if not.
    async fn require(&self, actor: &Actor, permission: Permission, place: &Place) -> Result<(), AccessError> {
        let decision = self.decide(actor, permission, place).await?;
        if decision.allowed { Ok(()) } else { Err(Denied::from(decision).into()) }
    }

    /// Returns whether the actor may.
    async fn allows(&self, actor: &Actor, permission: Permission, place: &Place) -> Result<bool, StorageError> {
        Ok(self.decide(actor, permission, place).await?.allowed)
    }
}

/// For how long grants are believed: a lost role has no effect for longer than this, on any node.
const BELIEVED: Duration = Duration::from_secs(1);
/// Accounts whose grants are remembered; some 200 bytes each.
const REMEMBERED_ACCOUNTS: u64 = 100_000;

/// [`AccessControlService`] by built-in roles and stored grants.
///
/// Grants are believed for a second. A denial is confirmed against the store before it is answered, so a role that was
/// just given works at once; sensitive permissions are always decided from the store, and by no node that has not heard of
/// losses for ten seconds.
#[derive(Debug)]
pub struct RoleAccess {
    grants: Arc<dyn GrantStore>,
    clock: Arc<dyn Clock>,
    revocations: Revocations,
    known: Cache<AccountId, Known>,
}

#[derive(Debug, Clone)]
struct Known {
    grants: Arc<[Grant]>,
    read_at: Timestamp,
    /// How far losses were known before they were read.
    mark: Mark,
}

impl RoleAccess {
    /// Decides from the grants in a store.
    pub fn new(grants: Arc<dyn GrantStore>, clock: Arc<dyn Clock>) -> Self {
        Self { grants, clock, revocations: Revocations::none(), known: Cache::new(REMEMBERED_ACCOUNTS) }
    }

    /// Forgets what is remembered of an account as soon as one of its losses is known.
    #[must_use]
    pub fn minding(mut self, revocations: Revocations) -> Self {
        self.revocations = revocations;
        self
    }

    fn believed(&self, account: AccountId, now: Timestamp) -> Option<Arc<[Grant]>> {
        let known = self.known.get(&account)?;
        let age = now.as_microsecond() - known.read_at.as_microsecond();
        let limit = i64::try_from(BELIEVED.as_micros()).expect("a second fits");
        let is_good = (0..limit).contains(&age) && !self.revocations.touched_since(account, known.mark);
        is_good.then_some(known.grants)
    }

    async fn read(&self, account: AccountId, now: Timestamp) -> Result<Arc<[Grant]>, StorageError> {
        let mark = self.revocations.mark();
        let grants: Arc<[Grant]> = self.grants.of(account, now).await?.into();
        self.known.insert(account, Known { grants: Arc::clone(&grants), read_at: now, mark });
        Ok(grants)
    }
}

#[async_trait]
impl AccessControlService for RoleAccess {
    async fn decide(&self, actor: &Actor, permission: Permission, place: &Place) -> Result<Decision, StorageError> {
        let answer = |allowed, because| Ok(Decision { allowed, permission, scope: place.scope(), because });
        if actor.identity == Identity::Operator {
            return answer(true, Because::Operator);
        }
        if !permission.legal_in().contains(&place.scope().kind()) {
            return answer(false, Because::NotLegalHere);
        }
        if !place.lies_in(actor.ceiling) {
            return answer(false, Because::OutsideOfToken(actor.ceiling));
        }
        if place.is_open() && matches!(permission, Permission::WorldRead | Permission::ChatRead) {
            return answer(true, Because::OpenToEverybody);
        }
        let Some(account) = actor.account_id() else {
            return answer(false, Because::SignInRequired);
        };
        if place.is_open() && Role::WorldGuest.permissions().contains(permission) {
            return answer(true, Because::OpenToAccounts);
        }

        let now = self.clock.now();
        let believed = if permission.is_sensitive() {
            self.revocations.require_fresh().await?;
            None
        } else {
            self.believed(account, now)
        };
        if let Some(grant) = believed.as_deref().and_then(|grants| allowing(grants, permission, place, now)) {
            return answer(true, Because::Granted(grant.role, grant.scope));
        }
        match allowing(&self.read(account, now).await?, permission, place, now) {
            Some(grant) => answer(true, Because::Granted(grant.role, grant.scope)),
            None => answer(false, Because::NoGrant),
        }
    }

    fn forget(&self, account: AccountId) {
        self.known.invalidate(&account);
    }
}

/// Finds the grant that allows, the one with the highest rank if there are several.
fn allowing<'g>(grants: &'g [Grant], permission: Permission, place: &Place, now: Timestamp) -> Option<&'g Grant> {
    grants
        .iter()
        .filter(|grant| {
            grant.holds_at(now) && place.lies_in(grant.scope) && grant.role.permissions().contains(permission)
        })
        .max_by_key(|grant| grant.role.rank())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        access::{MemoryGrantStore, NewGrant},
        clock::ManualClock,
        ids::{GrantId, IdGenerator as _, SequentialIds, WorldId},
        scope::Scope,
        step::Step,
        worlds::{Visibility, World},
    };

    struct Town {
        access: RoleAccess,
        grants: Arc<MemoryGrantStore>,
        clock: Arc<ManualClock>,
        ids: SequentialIds,
    }

    impl Town {
        fn new() -> Self {
            let (grants, clock) = (Arc::new(MemoryGrantStore::default()), Arc::new(ManualClock::default()));
            let access = RoleAccess::new(grants.clone(), clock.clone());
            Self { access, grants, clock, ids: SequentialIds::default() }
        }

        async fn give(&self, actor: &Actor, role: Role, scope: Scope) -> Grant {
            let account = actor.account_id().expect("an account");
            let grant =
                NewGrant { id: GrantId::new(self.ids.draw()), account, role, scope, reason: None, expires_at: None };
            self.grants.grant(&Step::sample(self.clock.now()), &grant).await.expect("a grant")
        }

        async fn because(&self, actor: &Actor, permission: Permission, place: &Place) -> Because {
            self.access.decide(actor, permission, place).await.expect("a decision").because
        }
    }

    fn world(n: u32, visibility: Visibility) -> (WorldId, Place) {
        let world = World { visibility, ..World::sample(n) };
        (world.id, Place::world(&world))
    }

    #[tokio::test]
    async fn a_role_flows_down_and_never_up() {
        let town = Town::new();
        let (id, here) = world(1, Visibility::Private);
        let (_, elsewhere) = world(2, Visibility::Private);
        let mira = Actor::player("Mira");

        town.give(&mira, Role::WorldModerator, Scope::World(id)).await;

        let expected = Because::Granted(Role::WorldModerator, Scope::World(id));
        assert_eq!(town.because(&mira, Permission::ChatModerate, &here).await, expected);
        assert_eq!(town.because(&mira, Permission::ChatModerate, &elsewhere).await, Because::NoGrant);
        assert_eq!(town.because(&mira, Permission::ChatModerate, &Place::global()).await, Because::NoGrant);
    }

    #[tokio::test]
    async fn an_open_world_is_read_by_everybody_and_written_by_accounts() {
        let town = Town::new();
        let (_, open) = world(1, Visibility::Unlisted);
        let (_, closed) = world(2, Visibility::Private);
        let nobody = Actor::anonymous(uuid::Uuid::nil().into());

        assert_eq!(town.because(&nobody, Permission::ChatRead, &open).await, Because::OpenToEverybody);
        assert_eq!(town.because(&nobody, Permission::ChatPost, &open).await, Because::SignInRequired);
        assert_eq!(town.because(&Actor::player("Mira"), Permission::ChatPost, &open).await, Because::OpenToAccounts);
        assert_eq!(town.because(&nobody, Permission::ChatRead, &closed).await, Because::SignInRequired);
        assert_eq!(town.because(&Actor::player("Mira"), Permission::ChatRead, &closed).await, Because::NoGrant);
    }

    #[tokio::test]
    async fn a_token_s_scope_is_a_ceiling_and_gives_nothing() {
        let town = Town::new();
        let (id, here) = world(1, Visibility::Private);
        let mut admin = Actor::player("Mira");
        town.give(&admin, Role::Admin, Scope::Global).await;
        admin.ceiling = Scope::World(id);

        assert!(town.access.allows(&admin, Permission::ChatModerate, &here).await.expect("a decision"));
        let elsewhere = town.because(&admin, Permission::WorldCreate, &Place::global()).await;
        assert_eq!(elsewhere, Because::OutsideOfToken(Scope::World(id)));
    }

    #[tokio::test]
    async fn a_role_that_was_just_given_works_at_once_and_a_lost_one_ends_within_a_second() {
        let town = Town::new();
        let (id, here) = world(1, Visibility::Private);
        let mira = Actor::player("Mira");
        assert_eq!(town.because(&mira, Permission::ChatPost, &here).await, Because::NoGrant);

        let grant = town.give(&mira, Role::WorldMember, Scope::World(id)).await;
        assert!(town.access.allows(&mira, Permission::ChatPost, &here).await.expect("a decision"));

        town.grants.revoke(&Step::sample(town.clock.now()), grant.id).await.expect("a revocation");
        town.clock.advance(BELIEVED);
        assert_eq!(town.because(&mira, Permission::ChatPost, &here).await, Because::NoGrant);
    }

    #[tokio::test]
    async fn a_sensitive_permission_is_never_decided_from_memory() {
        let town = Town::new();
        let (id, here) = world(1, Visibility::Public);
        let mira = Actor::player("Mira");
        let grant = town.give(&mira, Role::WorldModerator, Scope::World(id)).await;
        assert!(town.access.allows(&mira, Permission::ChatModerate, &here).await.expect("a decision"));

        town.grants.revoke(&Step::sample(town.clock.now()), grant.id).await.expect("a revocation");

        assert_eq!(town.because(&mira, Permission::ChatModerate, &here).await, Because::NoGrant);
    }

    #[tokio::test]
    async fn a_permission_is_asked_for_only_where_it_is_legal() {
        let town = Town::new();
        let (_, here) = world(1, Visibility::Public);
        let mira = Actor::player("Mira");
        town.give(&mira, Role::Owner, Scope::Global).await;

        assert_eq!(town.because(&mira, Permission::WorldCreate, &here).await, Because::NotLegalHere);
    }
}
