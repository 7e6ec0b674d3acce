//! The rules of giving and taking roles.

use std::sync::Arc;

use serde_json::json;

use super::{
    error::{AccessError, Denied, WhyDenied},
    model::{Explanation, Grant, GrantQuery, NewGrant},
    permission::Permission,
    place::{Place, Places},
    role::Role,
    service::AccessControlService,
    standing::Standing,
    store::GrantStore,
};
use crate::{
    actor::{Actor, Identity, Principal},
    clock::Timestamp,
    ids::{AccountId, GrantId},
    limits::{Limits, Policy},
    page::Page,
    revocations::Revocations,
    scope::Scope,
    services::Sources,
    step::AuditDraft,
    validation::{Invalid, one_line},
};

/// What a caller says of a role to be given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantDraft {
    /// Who gets the role.
    pub account: AccountId,
    /// The role.
    pub role: Role,
    /// Where it holds; of the role's kind.
    pub scope: Scope,
    /// Why: up to 500 characters.
    pub reason: Option<String>,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
}

/// Who holds which role where.
#[derive(Debug, Clone)]
pub struct Grants {
    store: Arc<dyn GrantStore>,
    places: Arc<dyn Places>,
    access: Arc<dyn AccessControlService>,
    sources: Sources,
    limits: Limits,
    revocations: Revocations,
}

impl Grants {
    /// Wires the rules to their ports.
    pub fn new(
        store: Arc<dyn GrantStore>,
        places: Arc<dyn Places>,
        access: Arc<dyn AccessControlService>,
        sources: Sources,
        limits: Limits,
    ) -> Self {
        Self { store, places, access, sources, limits, revocations: Revocations::none() }
    }

    /// Makes every loss known at once.
    #[must_use]
    pub fn announcing(mut self, revocations: Revocations) -> Self {
        self.revocations = revocations;
        self
    }

    /// Gives a role. Needs `access.manage` there, a rank above the role's, and everything that the role allows: nobody gives
    /// what they do not hold. Giving a role again moves its end and its reason.
    ///
    /// # Errors
    ///
    /// [`AccessError::Invalid`] if the scope is not of the role's kind, or does not exist; [`AccessError::AccountNotFound`];
    /// [`AccessError::LastOwner`] if the last lasting owner of a scope would get an end.
    pub async fn give(&self, actor: &Actor, draft: GrantDraft) -> Result<Grant, AccessError> {
        let place = self.managed(actor, draft.scope).await?;
        let now = self.sources.clock.now();
        self.require_above(actor, draft.role, &place.unwrap_or(Place::global())).await?;
        self.limits.charge(actor, Policy::Admin).await?;
        if place.is_none() {
            return Err(Invalid::at("/scope", format!("{} does not exist", draft.scope)).into());
        }
        if draft.role.scope_kind() != draft.scope.kind() {
            let rule = format!("{} is a role of a {} scope", draft.role, draft.role.scope_kind());
            return Err(Invalid::at("/scope", rule).into());
        }
        if draft.expires_at.is_some_and(|end| end <= now) {
            return Err(Invalid::at("/expiresAt", "expiresAt must lie ahead").into());
        }
        if let Some(reason) = &draft.reason {
            one_line("reason", reason, 1, 500).map_err(|detail| Invalid::at("/reason", detail))?;
        }
        let GrantDraft { account, role, scope, reason, expires_at } = draft;
        let mut audit = AuditDraft::new("grant.give", scope).with(json!({ "account": account, "role": role }));
        audit.reason.clone_from(&reason);
        let grant = NewGrant { id: GrantId::new(self.sources.ids.draw()), account, role, scope, reason, expires_at };
        let grant = self.store.grant(&actor.step(now, audit), &grant).await?;
        self.access.forget(account);
        if grant.expires_at.is_some() {
            // It may end sooner than it did.
            self.revocations.announce().await;
        }
        Ok(grant)
    }

    /// Reads a grant. Needs `access.manage` in its scope.
    ///
    /// # Errors
    ///
    /// [`AccessError::GrantNotFound`], also where the caller may not manage.
    pub async fn find(&self, actor: &Actor, id: GrantId) -> Result<Grant, AccessError> {
        self.managed_grant(actor, id).await.map(|(grant, _)| grant)
    }

    /// Takes a role. Needs `access.manage` there, and to stand above the role as for giving it.
    ///
    /// # Errors
    ///
    /// [`AccessError::GrantNotFound`], also where the caller may not manage; [`AccessError::LastOwner`].
    pub async fn take(&self, actor: &Actor, id: GrantId) -> Result<Grant, AccessError> {
        let (grant, place) = self.managed_grant(actor, id).await?;
        self.require_above(actor, grant.role, &place).await?;
        self.limits.charge(actor, Policy::Admin).await?;
        let details = json!({ "account": grant.account, "role": grant.role });
        let audit = AuditDraft::new("grant.take", grant.scope).with(details);
        let taken = self.store.revoke(&actor.step(self.sources.clock.now(), audit), id).await?;
        self.access.forget(taken.account);
        self.revocations.announce().await;
        Ok(taken)
    }

    /// Lists grants, expired ones included. Needs `access.manage` in the query's scope; everywhere if it names none.
    pub async fn list(&self, actor: &Actor, query: &GrantQuery) -> Result<Page<Grant>, AccessError> {
        self.managed(actor, query.scope.unwrap_or(Scope::Global)).await?;
        Ok(self.store.page(query).await?)
    }

    /// Passes if the actor may give and take roles in a scope.
    pub async fn require_manage(&self, actor: &Actor, scope: Scope) -> Result<(), AccessError> {
        self.managed(actor, scope).await.map(|_| ())
    }

    /// Answers whether the actor may do something in a scope, with everything that the answer rests on.
    ///
    /// Of somebody else (`account`) it is told to whoever holds `access.manage` there; it is then about the account itself,
    /// not about one of its tokens.
    ///
    /// # Errors
    ///
    /// [`AccessError::Denied`] if nobody is signed in; [`AccessError::ScopeNotFound`], also where the caller may not look.
    pub async fn explain(
        &self,
        actor: &Actor,
        permission: Permission,
        scope: Scope,
        account: Option<Principal>,
    ) -> Result<Explanation, AccessError> {
        if actor.identity == Identity::Anonymous {
            return Err(Denied { permission, scope, why: WhyDenied::SignInRequired }.into());
        }
        let other = account.filter(|account| actor.account_id() != Some(account.account));
        let place = match other {
            Some(_) => self.managed(actor, scope).await?,
            None => self.seen(actor, scope).await?,
        };
        let place = place.ok_or(AccessError::ScopeNotFound)?;
        let other = other.map(|account| Actor::account(account, actor.correlation_id.clone()));
        Ok(self.access.explain(other.as_ref().unwrap_or(actor), permission, &place).await?)
    }

    /// Returns the place of a scope that the actor may look at.
    async fn seen(&self, actor: &Actor, scope: Scope) -> Result<Option<Place>, AccessError> {
        let Some(place) = self.places.place(scope).await? else { return Ok(None) };
        let is_known = place.is_open() || self.access.allows(actor, Permission::WorldRead, &place).await?;
        Ok(is_known.then_some(place))
    }

    /// Returns the place of a scope that the actor manages; none if nothing is there any more, for whoever manages everything.
    async fn managed(&self, actor: &Actor, scope: Scope) -> Result<Option<Place>, AccessError> {
        managed(actor, scope, &*self.places, &*self.access).await
    }

    /// Returns a grant in a scope that the actor manages; to others it does not exist.
    async fn managed_grant(&self, actor: &Actor, id: GrantId) -> Result<(Grant, Place), AccessError> {
        if actor.identity == Identity::Anonymous {
            let (permission, scope) = (Permission::AccessManage, Scope::Global);
            return Err(Denied { permission, scope, why: WhyDenied::SignInRequired }.into());
        }
        let grant = self.store.find(id).await?.ok_or(AccessError::GrantNotFound)?;
        match self.managed(actor, grant.scope).await {
            Ok(place) => Ok((grant, place.unwrap_or(Place::global()))),
            Err(AccessError::Denied(denied)) if denied.why != WhyDenied::SecondFactorMissing => {
                Err(AccessError::GrantNotFound)
            }
            Err(error) => Err(error),
        }
    }

    async fn require_above(&self, actor: &Actor, role: Role, place: &Place) -> Result<(), AccessError> {
        let standing = Standing::of(actor, place, &*self.store, self.sources.clock.now()).await?;
        let above = standing.require_above(role, Permission::AccessManage, place);
        Ok(above.inspect_err(|denied| self.access.note_refusal(actor, denied))?)
    }
}

/// Returns the place of a scope in which the actor holds `access.manage`, as [`Grants::managed`] does.
pub(super) async fn managed(
    actor: &Actor,
    scope: Scope,
    places: &dyn Places,
    access: &dyn AccessControlService,
) -> Result<Option<Place>, AccessError> {
    let place = places.place(scope).await?;
    match access.require(actor, Permission::AccessManage, &place.unwrap_or(Place::global())).await {
        Ok(()) => Ok(place),
        // Who may not manage is told the same of every scope, whether or not it is there.
        Err(AccessError::Denied(denied)) => Err(Denied { scope, ..denied }.into()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        access::{MemoryGrantStore, OpenPlaces, PermissionSet, RoleAccess},
        accounts::DisplayName,
        actor::{CorrelationId, KeyHolder},
        code::Code,
        error::Classify as _,
        ids::{ApiKeyId, WorldId},
        limits::LimitsConfig,
        step::Step,
    };

    fn grants() -> (Grants, Arc<MemoryGrantStore>) {
        let store = Arc::new(MemoryGrantStore::default());
        let sources = Sources::default();
        let access = Arc::new(RoleAccess::new(store.clone(), Arc::clone(&sources.clock)));
        let limits = Limits::in_process(Arc::clone(&sources.clock), LimitsConfig::default());
        (Grants::new(store.clone(), Arc::new(OpenPlaces), access, sources, limits), store)
    }

    fn draft(player: &Actor, role: Role, scope: Scope) -> GrantDraft {
        let account = player.account_id().expect("an account");
        GrantDraft { account, role, scope, reason: None, expires_at: None }
    }

    fn world() -> Scope {
        Scope::World(WorldId::new(uuid::Uuid::from_u128(1)))
    }

    #[tokio::test]
    async fn one_gives_only_roles_below_one_s_own() {
        let (grants, _) = grants();
        let (admin, player) = (Actor::player("Admin"), Actor::player("Player"));
        grants.give(&Actor::operator(), draft(&admin, Role::WorldAdmin, world())).await.expect("the operator may");

        grants.give(&admin, draft(&player, Role::WorldModerator, world())).await.expect("a moderator stands below");
        for (role, scope) in [(Role::WorldAdmin, world()), (Role::WorldOwner, world()), (Role::Admin, Scope::Global)] {
            let refused = grants.give(&admin, draft(&player, role, scope)).await.expect_err("not below");
            assert_eq!(refused.code(), Code::PermissionDenied, "{role}");
        }
    }

    #[tokio::test]
    async fn a_role_is_bound_in_a_scope_of_its_kind() {
        let (grants, _) = grants();
        let player = Actor::player("Player");

        let refused = grants.give(&Actor::operator(), draft(&player, Role::WorldAdmin, Scope::Global)).await;

        assert_eq!(refused.expect_err("another kind").code(), Code::ValidationFailed);
    }

    #[tokio::test]
    async fn one_takes_only_roles_below_one_s_own_and_the_last_owner_stays() {
        let (grants, store) = grants();
        let (owner, admin) = (Actor::player("Owner"), Actor::player("Admin"));
        let owning =
            grants.give(&Actor::operator(), draft(&owner, Role::Owner, Scope::Global)).await.expect("an owner");
        let running = grants.give(&owner, draft(&admin, Role::Admin, Scope::Global)).await.expect("an admin");

        let refused = grants.take(&admin, owning.id).await.expect_err("above");
        assert_eq!(refused.code(), Code::PermissionDenied);
        let refused = grants.take(&owner, owning.id).await.expect_err("the last");
        assert_eq!(refused.code(), Code::LastOwner);
        grants.take(&owner, running.id).await.expect("below");

        let held = store.of(admin.account_id().expect("an account"), Step::sample(owning.created_at).at).await;
        assert_eq!(held.expect("an answer"), []);
    }

    #[tokio::test]
    async fn a_scope_that_is_not_there_gets_no_role() {
        let (grants, _) = grants();
        let (owner, player) = (Actor::player("Owner"), Actor::player("Player"));
        grants.give(&Actor::operator(), draft(&owner, Role::Owner, Scope::Global)).await.expect("an owner");
        let nowhere = Scope::Group(crate::ids::GroupId::new(uuid::Uuid::from_u128(9)));

        for actor in [Actor::operator(), owner] {
            let refused = grants.give(&actor, draft(&player, Role::GroupMember, nowhere)).await;
            assert_eq!(refused.expect_err("nowhere").code(), Code::ValidationFailed);
        }
        let refused = grants.give(&player, draft(&player, Role::GroupMember, nowhere)).await.expect_err("no right");
        assert!(matches!(refused, AccessError::Denied(Denied { scope, .. }) if scope == nowhere), "{refused:?}");
    }

    #[tokio::test]
    async fn a_key_gives_what_is_on_its_list_and_stands_below_its_maker() {
        let (grants, _) = grants();
        let player = Actor::player("Player");
        let key = |permissions: &[Permission], rank| {
            let holder = KeyHolder {
                key: ApiKeyId::new(uuid::Uuid::from_u128(7)),
                name: DisplayName::new("arena server").expect("a name"),
                permissions: PermissionSet::of(permissions),
                rank,
            };
            Actor::key(holder, world(), CorrelationId::accept("request-1").expect("an id"))
        };
        let member = [Permission::AccessManage, Permission::WorldRead, Permission::ChatRead, Permission::ChatPost];
        let admin = key(&member, Role::WorldAdmin.rank());

        let given = grants.give(&admin, draft(&player, Role::WorldMember, world())).await.expect("all of it is listed");
        assert_eq!(given.granted_by, admin.id());
        for (actor, role, scope) in [
            (&admin, Role::WorldModerator, world()),
            (&admin, Role::Player, Scope::Global),
            (&key(&member, Role::WorldMember.rank()), Role::WorldMember, world()),
            (&key(Permission::ALL, Role::WorldOwner.rank()), Role::WorldOwner, world()),
            (&key(&member[1..], Role::WorldAdmin.rank()), Role::WorldMember, world()),
        ] {
            let refused = grants.give(actor, draft(&player, role, scope)).await.expect_err("too much");
            assert_eq!(refused.code(), Code::PermissionDenied, "{role}");
        }
    }

    #[tokio::test]
    async fn of_others_it_is_told_to_whoever_manages_and_of_oneself_to_everybody() {
        let (grants, _) = grants();
        let (admin, player) = (Actor::player("Admin"), Actor::player("Player"));
        grants.give(&Actor::operator(), draft(&admin, Role::WorldAdmin, world())).await.expect("an admin");
        let principal = |actor: &Actor| actor.principal().cloned();
        let ask = async |actor: &Actor, about| {
            grants.explain(actor, Permission::ChatManage, world(), about).await.map(|why| why.allowed)
        };

        assert!(ask(&admin, None).await.expect("about oneself"));
        assert!(!ask(&player, principal(&player)).await.expect("about oneself"));
        assert!(!ask(&admin, principal(&player)).await.expect("who manages is told"));
        assert_eq!(ask(&player, principal(&admin)).await.expect_err("others are not").code(), Code::PermissionDenied);
        let nobody = Actor::anonymous(CorrelationId::accept("request-1").expect("an id"));
        assert_eq!(ask(&nobody, None).await.expect_err("nobody").code(), Code::Unauthenticated);
    }
}
