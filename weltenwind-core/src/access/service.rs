//! The decision itself: roles from a table, grants from a store.

use std::{cmp::Reverse, fmt::Debug, sync::Arc};

use async_trait::async_trait;

use super::{
    cache::{Known, Memory},
    error::{AccessError, Denied},
    model::{Because, Decision, Explanation, Reason},
    permission::{Permission, PermissionSet},
    place::Place,
    role::Role,
    sanction::Sanctions,
    store::GrantStore,
};
use crate::{
    accounts::SecondFactorStore,
    actor::{Actor, Identity},
    clock::{Clock, Timestamp},
    error::{Classify as _, StorageError},
    ids::AccountId,
    refusals::{Attempt, Refusals},
    revocations::Revocations,
};

/// Answers whether an actor may do something in a place.
#[async_trait]
pub trait AccessControlService: Debug + Send + Sync + 'static {
    /// Decides, and says why. An error means that nothing was decided: the answer is then neither yes nor no.
    async fn decide(&self, actor: &Actor, permission: Permission, place: &Place) -> Result<Decision, StorageError>;

    /// Decides from the store, whatever is remembered, and says everything that the answer rests on.
    async fn explain(&self, actor: &Actor, permission: Permission, place: &Place) -> Result<Explanation, StorageError> {
        Ok(self.decide(actor, permission, place).await?.into())
    }

    /// Forgets what is known of an account, after its grants have changed on this node.
    fn forget(&self, account: AccountId);

    /// Passes if the actor may.
    ///
    /// # Errors
    ///
    /// [`AccessError::Denied`] if not.
    async fn require(&self, actor: &Actor, permission: Permission, place: &Place) -> Result<(), AccessError> {
        let decision = self.decide(actor, permission, place).await?;
        if decision.allowed {
            return Ok(());
        }
        let denied = Denied::from(decision);
        self.note_refusal(actor, &denied);
        Err(denied.into())
    }

    /// Notes that an actor wanted to do what it may not; notes nothing by default.
    fn note_refusal(&self, actor: &Actor, denied: &Denied) {
        let _ = (actor, denied);
    }

    /// Returns whether the actor may.
    async fn allows(&self, actor: &Actor, permission: Permission, place: &Place) -> Result<bool, StorageError> {
        Ok(self.decide(actor, permission, place).await?.allowed)
    }
}

/// What everybody may do in an open place.
const OPEN_TO_EVERYBODY: PermissionSet = PermissionSet::of(&[Permission::WorldRead, Permission::ChatRead]);
/// What every account may do in an open place.
const OPEN_TO_ACCOUNTS: PermissionSet = Role::WorldGuest.permissions();

/// [`AccessControlService`] by built-in roles and stored grants.
///
/// What an account may do in each scope is remembered for a second, and dropped as soon as one of its losses is known. A denial is
/// confirmed against the store, at most once a second for each account and scope, so a role that was just given works at once;
/// sensitive permissions are always decided from the store, and by no node that has not heard of losses for ten seconds. Nothing
/// costs more than one reading of the store, or two where sensitive permissions ask for a second factor.
#[derive(Debug)]
pub struct RoleAccess {
    grants: Arc<dyn GrantStore>,
    sanctions: Option<Arc<dyn Sanctions>>,
    factors: Option<Arc<dyn SecondFactorStore>>,
    clock: Arc<dyn Clock>,
    revocations: Revocations,
    refusals: Refusals,
    memory: Memory,
}

impl RoleAccess {
    /// Decides from the grants in a store.
    pub fn new(grants: Arc<dyn GrantStore>, clock: Arc<dyn Clock>) -> Self {
        let (revocations, refusals) = (Revocations::none(), Refusals::none());
        Self { grants, sanctions: None, factors: None, clock, revocations, refusals, memory: Memory::default() }
    }

    /// Notes who is refused a sensitive permission, for the audit log.
    #[must_use]
    pub fn noting(mut self, refusals: Refusals) -> Self {
        self.refusals = refusals;
        self
    }

    /// Forgets what is remembered of an account as soon as one of its losses is known.
    #[must_use]
    pub fn minding(mut self, revocations: Revocations) -> Self {
        self.revocations = revocations;
        self
    }

    /// Asks for sanctions, too; without them nothing is taken from whom a role allows it.
    #[must_use]
    pub fn with_sanctions(mut self, sanctions: Arc<dyn Sanctions>) -> Self {
        self.sanctions = Some(sanctions);
        self
    }

    /// Allows sensitive permissions only to accounts with a second factor; without this no role asks for one.
    #[must_use]
    pub fn demanding_second_factors(mut self, factors: Arc<dyn SecondFactorStore>) -> Self {
        self.factors = Some(factors);
        self
    }

    /// Returns whether a permission asks for a second factor that an account does not have.
    async fn lacks_factor(&self, account: AccountId, permission: Permission) -> Result<bool, StorageError> {
        match &self.factors {
            Some(factors) if permission.is_sensitive() => {
                Ok(!factors.find(account).await?.is_some_and(|factor| factor.is_enabled()))
            }
            _ => Ok(false),
        }
    }

    /// Returns what is known of an account, if it can be believed.
    fn believed(&self, account: AccountId, now: Timestamp) -> Option<Arc<Known>> {
        self.memory.of(account, now).filter(|known| !self.revocations.touched_since(account, known.mark()))
    }

    async fn read(&self, account: AccountId, now: Timestamp) -> Result<Arc<Known>, StorageError> {
        let (reading, mark) = (self.memory.begin(), self.revocations.mark());
        let grants = self.grants.of(account, now).await?;
        Ok(self.memory.keep(reading, account, Known::of(&grants, now, mark)))
    }

    async fn sanctions_on(
        &self,
        account: AccountId,
        permission: Permission,
        place: &Place,
        now: Timestamp,
    ) -> Result<Vec<Because>, StorageError> {
        let Some(sanctions) = &self.sanctions else { return Ok(Vec::new()) };
        let sanctions = sanctions.of(account).await?;
        let denying = sanctions.iter().filter(|sanction| sanction.denies(permission, place, now));
        Ok(denying.map(|sanction| Because::Sanctioned(sanction.kind, sanction.scope)).collect())
    }
}

/// Decides what needs no store: everything about the operator, about keys, and about what a token or the place itself rules.
fn at_once(actor: &Actor, permission: Permission, place: &Place) -> Result<AccountId, Because> {
    let is_open = place.is_open() && OPEN_TO_EVERYBODY.contains(permission);
    if actor.identity == Identity::Operator {
        return Err(Because::Operator);
    }
    if !permission.legal_in().contains(&place.scope().kind()) {
        return Err(Because::NotLegalHere);
    }
    if !place.lies_in(actor.ceiling) {
        return Err(Because::OutsideOfToken(actor.ceiling));
    }
    match &actor.identity {
        Identity::Account(principal) => Ok(principal.account),
        Identity::Key(key) if key.permissions.contains(permission) => Err(Because::Listed),
        Identity::Key(_) | Identity::Anonymous if is_open => Err(Because::OpenToEverybody),
        Identity::Key(_) => Err(Because::NotListed),
        Identity::Anonymous | Identity::Operator => Err(Because::SignInRequired),
    }
}

/// Decides what every account may do in an open place.
fn as_guest(permission: Permission, place: &Place) -> Option<Because> {
    match place.is_open() {
        true if OPEN_TO_EVERYBODY.contains(permission) => Some(Because::OpenToEverybody),
        true if OPEN_TO_ACCOUNTS.contains(permission) => Some(Because::OpenToAccounts),
        _ => None,
    }
}

#[async_trait]
impl AccessControlService for RoleAccess {
    async fn decide(&self, actor: &Actor, permission: Permission, place: &Place) -> Result<Decision, StorageError> {
        let decided = |because: Because, until| {
            Ok(Decision { allowed: because.allows(), permission, scope: place.scope(), because, until })
        };
        let answer = |because| decided(because, None);
        let account = match at_once(actor, permission, place) {
            Ok(account) => account,
            Err(because) => return answer(because),
        };
        if self.sanctions.is_some() {
            let now = self.clock.now();
            if let Some(because) = self.sanctions_on(account, permission, place, now).await?.pop() {
                return answer(because);
            }
        }
        if let Some(because) = as_guest(permission, place) {
            return answer(because);
        }

        let now = self.clock.now();
        let remembered = if permission.is_sensitive() {
            self.revocations.require_fresh().await?;
            None
        } else {
            self.believed(account, now)
        };
        if let Some(known) = remembered {
            if let Some(because) = known.allowing(permission, place) {
                return decided(because, known.until());
            }
            if self.memory.is_confirmed(account, place.scope(), &known, now) {
                return answer(Because::NoGrant);
            }
        }
        let known = self.read(account, now).await?;
        if let Some(because) = known.allowing(permission, place) {
            let because = match because {
                Because::Granted(role, scope) if self.lacks_factor(account, permission).await? => {
                    Because::SecondFactorMissing(role, scope)
                }
                because => because,
            };
            return decided(because, known.until());
        }
        self.memory.confirm(account, place.scope(), now);
        answer(Because::NoGrant)
    }

    async fn explain(&self, actor: &Actor, permission: Permission, place: &Place) -> Result<Explanation, StorageError> {
        let answer = |because: Vec<Reason>| {
            let allowed = because.iter().all(|reason| reason.because.allows());
            Ok(Explanation { allowed, permission, scope: place.scope(), because })
        };
        let now = self.clock.now();
        let mut denying = Vec::new();
        if let Identity::Account(principal) = &actor.identity {
            denying = self.sanctions_on(principal.account, permission, place, now).await?;
        }
        let account = match at_once(actor, permission, place) {
            Ok(account) => account,
            Err(because) if because.allows() => return answer(vec![because.into()]),
            Err(because) => {
                denying.insert(0, because);
                return answer(denying.into_iter().map(Reason::from).collect());
            }
        };
        if !denying.is_empty() {
            return answer(denying.into_iter().map(Reason::from).collect());
        }
        let mut grants = self.grants.of(account, now).await?;
        grants.retain(|grant| {
            grant.holds_at(now) && place.lies_in(grant.scope) && grant.role.permissions().contains(permission)
        });
        grants.sort_by_key(|grant| Reverse(grant.role.rank()));
        let lacks_factor = !grants.is_empty() && self.lacks_factor(account, permission).await?;
        let mut because: Vec<Reason> = as_guest(permission, place).into_iter().map(Reason::from).collect();
        because.extend(grants.into_iter().map(|grant| {
            let (role, scope) = (grant.role, grant.scope);
            let because =
                if lacks_factor { Because::SecondFactorMissing(role, scope) } else { Because::Granted(role, scope) };
            Reason { because, grant: Some(grant) }
        }));
        if because.is_empty() {
            because.push(Because::NoGrant.into());
        }
        answer(because)
    }

    fn forget(&self, account: AccountId) {
        self.memory.forget(account);
    }

    fn note_refusal(&self, actor: &Actor, denied: &Denied) {
        if denied.permission.is_sensitive() {
            self.refusals.note(actor, Attempt::Permission(denied.permission), denied.code(), denied.scope, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        access::{Grant, MemoryGrantStore, NewGrant, Sanction, SanctionKind},
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

        // As the services do that give roles on this node.
        let grant = town.give(&mira, Role::WorldMember, Scope::World(id)).await;
        town.access.forget(grant.account);
        assert!(town.access.allows(&mira, Permission::ChatPost, &here).await.expect("a decision"));

        town.grants.revoke(&Step::sample(town.clock.now()), grant.id).await.expect("a revocation");
        town.clock.advance(super::super::cache::BELIEVED);
        assert_eq!(town.because(&mira, Permission::ChatPost, &here).await, Because::NoGrant);
    }

    #[tokio::test]
    async fn a_role_given_on_another_node_works_at_once_unless_it_was_just_denied_and_then_within_a_second() {
        let town = Town::new();
        let ((id, here), (other, there)) = (world(1, Visibility::Private), world(2, Visibility::Private));
        let mira = Actor::player("Mira");
        assert_eq!(town.because(&mira, Permission::ChatPost, &here).await, Because::NoGrant);

        town.give(&mira, Role::WorldMember, Scope::World(id)).await;
        town.give(&mira, Role::WorldMember, Scope::World(other)).await;

        assert!(town.because(&mira, Permission::ChatPost, &there).await.allows());
        town.clock.advance(super::super::cache::BELIEVED);
        assert!(town.because(&mira, Permission::ChatPost, &here).await.allows());
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

    #[derive(Debug)]
    struct Muted(Sanction);

    #[async_trait]
    impl Sanctions for Muted {
        async fn of(&self, _: AccountId) -> Result<Arc<[Sanction]>, StorageError> {
            Ok([self.0.clone()].into())
        }
    }

    #[tokio::test]
    async fn what_a_sanction_takes_no_role_gives_until_it_ends() {
        let mut town = Town::new();
        let (id, here) = world(1, Visibility::Private);
        let (_, elsewhere) = world(2, Visibility::Public);
        let mira = Actor::player("Mira");
        town.give(&mira, Role::Owner, Scope::Global).await;
        let (scope, until) = (Scope::World(id), town.clock.now() + std::time::Duration::from_mins(10));
        town.access = town.access.with_sanctions(Arc::new(Muted(Sanction {
            kind: SanctionKind::Mute,
            scope,
            until: Some(until),
        })));

        let taken = Because::Sanctioned(SanctionKind::Mute, scope);
        assert_eq!(town.because(&mira, Permission::ChatPost, &here).await, taken);
        let why = town.access.explain(&mira, Permission::ChatPost, &here).await.expect("an explanation");
        assert_eq!((why.allowed, why.because), (false, vec![taken.into()]));
        assert!(town.because(&mira, Permission::ChatRead, &here).await.allows(), "it takes no more than that");
        assert!(town.because(&mira, Permission::ChatPost, &elsewhere).await.allows(), "and not elsewhere");
        town.clock.set(until);
        assert!(town.because(&mira, Permission::ChatPost, &here).await.allows());
    }

    #[tokio::test]
    async fn an_explanation_names_every_grant_or_everything_that_stands_against_it() {
        let town = Town::new();
        let (id, here) = world(1, Visibility::Private);
        let (_, elsewhere) = world(2, Visibility::Private);
        let mut mira = Actor::player("Mira");
        let low = town.give(&mira, Role::WorldModerator, Scope::World(id)).await;
        let high = town.give(&mira, Role::Admin, Scope::Global).await;
        let explain = async |actor: &Actor, place: &Place| {
            let why = town.access.explain(actor, Permission::ChatModerate, place).await.expect("an explanation");
            (why.allowed, why.because.into_iter().map(|reason| (reason.because, reason.grant)).collect::<Vec<_>>())
        };

        let by = |grant: &Grant| (Because::Granted(grant.role, grant.scope), Some(grant.clone()));
        assert_eq!(explain(&mira, &here).await, (true, vec![by(&high), by(&low)]));
        assert_eq!(explain(&Actor::player("Tarn"), &here).await, (false, vec![(Because::NoGrant, None)]));
        mira.ceiling = Scope::World(id);
        let outside = Because::OutsideOfToken(Scope::World(id));
        assert_eq!(explain(&mira, &elsewhere).await, (false, vec![(outside, None)]));
        assert_eq!(explain(&Actor::operator(), &here).await, (true, vec![(Because::Operator, None)]));
    }
}
