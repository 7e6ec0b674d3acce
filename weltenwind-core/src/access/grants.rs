//! The rules of giving and taking roles.

use std::sync::Arc;

use serde_json::json;

use super::{
    error::{AccessError, Denied},
    model::{Grant, GrantQuery, NewGrant},
    permission::Permission,
    place::{Place, Places},
    role::Role,
    service::AccessControlService,
    store::GrantStore,
};
use crate::{
    actor::{Actor, Identity},
    clock::Timestamp,
    error::StorageError,
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

    /// Gives a role. Needs `access.manage` there, and a rank above the role's: nobody gives what they do not hold.
    ///
    /// # Errors
    ///
    /// [`AccessError::Invalid`] if the scope is not of the role's kind, or does not exist; [`AccessError::AccountNotFound`].
    pub async fn give(&self, actor: &Actor, draft: GrantDraft) -> Result<Grant, AccessError> {
        let place = self.managed(actor, draft.scope).await?;
        self.require_rank(actor, draft.role, &place).await?;
        self.limits.charge(actor, Policy::Admin).await?;
        if draft.role.scope_kind() != draft.scope.kind() {
            let rule = format!("{} is a role of a {} scope", draft.role, draft.role.scope_kind());
            return Err(Invalid::at("/scope", rule).into());
        }
        let now = self.sources.clock.now();
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
        Ok(grant)
    }

    /// Reads a grant. Needs `access.manage` in its scope.
    ///
    /// # Errors
    ///
    /// [`AccessError::GrantNotFound`].
    pub async fn find(&self, actor: &Actor, id: GrantId) -> Result<Grant, AccessError> {
        let grant = self.store.find(id).await?.ok_or(AccessError::GrantNotFound)?;
        self.managed(actor, grant.scope).await?;
        Ok(grant)
    }

    /// Takes a role. Needs `access.manage` there, and a rank above the role's.
    ///
    /// # Errors
    ///
    /// [`AccessError::GrantNotFound`], [`AccessError::LastOwner`].
    pub async fn take(&self, actor: &Actor, id: GrantId) -> Result<Grant, AccessError> {
        let grant = self.store.find(id).await?.ok_or(AccessError::GrantNotFound)?;
        let place = self.managed(actor, grant.scope).await?;
        self.require_rank(actor, grant.role, &place).await?;
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

    async fn managed(&self, actor: &Actor, scope: Scope) -> Result<Place, AccessError> {
        let place = match self.places.place(scope).await? {
            Some(place) => place,
            None if actor.identity == Identity::Operator => {
                return Err(Invalid::at("/scope", format!("{scope} does not exist")).into());
            }
            // Who may not look is not told what there is.
            None => Place::global(),
        };
        self.access.require(actor, Permission::AccessManage, &place).await?;
        Ok(place)
    }

    /// Passes if the actor holds a role of a higher rank in the place or above; owners may make owners.
    async fn require_rank(&self, actor: &Actor, role: Role, place: &Place) -> Result<(), AccessError> {
        let Some(account) = actor.account_id() else { return Ok(()) };
        let held = self.rank(account, place).await?;
        if held > role.rank() || (role.is_owner() && held == role.rank()) {
            return Ok(());
        }
        Err(Denied { permission: Permission::AccessManage, scope: place.scope(), anonymous: false }.into())
    }

    async fn rank(&self, account: AccountId, place: &Place) -> Result<u8, StorageError> {
        let grants = self.store.of(account, self.sources.clock.now()).await?;
        Ok(grants.iter().filter(|grant| place.lies_in(grant.scope)).map(|grant| grant.role.rank()).max().unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        access::{MemoryGrantStore, OpenPlaces, RoleAccess},
        code::Code,
        error::Classify as _,
        ids::WorldId,
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
}
