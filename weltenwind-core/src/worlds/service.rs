//! The rules of worlds and membership.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::json;

use super::{
    error::WorldError,
    model::{JoinPolicy, NewWorld, World, WorldAmendment, WorldChange, WorldDraft, WorldQuery, WorldRef},
    slug::Slug,
    store::WorldStore,
};
use crate::{
    access::{
        AccessControlService, Denied, GrantStore, Member, MemberPosition, MemberQuery, NewGrant, Pass, Permission,
        Place, Places, Role, Standing, WhyDenied,
    },
    accounts::AccountKind,
    actor::{Actor, Identity},
    error::StorageError,
    ids::{AccountId, GrantId, WorldId},
    limits::{Limits, Policy},
    page::{Limit, Page, Revision},
    remember::Remembered,
    revocations::Revocations,
    scope::Scope,
    services::Sources,
    step::AuditDraft,
};

/// A world that was asked for, and whether it was asked for under its present name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The world.
    pub world: World,
    /// False if a former slug was used: the present one is the address to send people to.
    pub canonical: bool,
}

/// Worlds and who belongs to them.
#[derive(Debug, Clone)]
pub struct Worlds {
    store: Arc<dyn WorldStore>,
    grants: Arc<dyn GrantStore>,
    access: Arc<dyn AccessControlService>,
    sources: Sources,
    limits: Limits,
    players_may_create: bool,
    revocations: Revocations,
    known: Arc<Remembered<WorldId, Option<Known>>>,
}

/// What is remembered of a world.
#[derive(Debug, Clone, Copy)]
struct Known {
    place: Place,
    is_archived: bool,
}

impl From<World> for Known {
    fn from(world: World) -> Self {
        Self { place: Place::world(&world), is_archived: world.archived_at.is_some() }
    }
}

/// Returns what is needed to look at a world: an archived one is there for staff alone.
const fn needed_to_look(is_archived: bool) -> Permission {
    if is_archived { Permission::WorldManage } else { Permission::WorldRead }
}

impl Worlds {
    /// Wires the rules to their ports.
    pub fn new(
        store: Arc<dyn WorldStore>,
        grants: Arc<dyn GrantStore>,
        access: Arc<dyn AccessControlService>,
        sources: Sources,
        limits: Limits,
        players_may_create: bool,
    ) -> Self {
        let revocations = Revocations::none();
        let known = Arc::new(Remembered::new(Arc::clone(&sources.clock), revocations.clone()));
        Self { store, grants, access, sources, limits, players_may_create, revocations, known }
    }

    /// Makes every loss known at once, and believes nothing of a world that is known to be open to fewer.
    #[must_use]
    pub fn announcing(mut self, revocations: Revocations) -> Self {
        self.known = Arc::new(Remembered::new(Arc::clone(&self.sources.clock), revocations.clone()));
        self.revocations = revocations;
        self
    }

    /// Makes a world; the account that makes it becomes its owner. Needs `world.create`, or to be a registered player where
    /// players may.
    pub async fn create(&self, actor: &Actor, draft: WorldDraft) -> Result<World, WorldError> {
        self.require_create(actor).await?;
        let policy = if self.may_create_as_player(actor) { Policy::Write } else { Policy::Admin };
        self.limits.charge(actor, policy).await?;
        let slug = match draft.slug {
            Some(slug) => slug,
            None => Slug::from_name(draft.name.as_str())?,
        };
        let id = WorldId::new(self.sources.ids.draw());
        let owner = actor.account_id().map(|account| (account, GrantId::new(self.sources.ids.draw())));
        let audit = AuditDraft::new("world.create", Scope::World(id)).with(json!({ "slug": slug.as_str() }));
        let step = actor.step(self.sources.clock.now(), audit);
        let WorldDraft { name, description, visibility, join_policy, .. } = draft;
        let world = NewWorld { id, slug, name, description, visibility, join_policy, owner };
        let world = self.store.create(&step, &world).await?;
        self.forget(actor.account_id());
        Ok(world)
    }

    /// Passes if the actor may make worlds.
    pub async fn require_create(&self, actor: &Actor) -> Result<(), WorldError> {
        if self.may_create_as_player(actor) {
            return Ok(());
        }
        Ok(self.access.require(actor, Permission::WorldCreate, &Place::global()).await?)
    }

    fn may_create_as_player(&self, actor: &Actor) -> bool {
        let is_player = actor.principal().is_some_and(|principal| principal.kind == AccountKind::Registered);
        self.players_may_create && is_player && actor.ceiling == Scope::Global
    }

    /// Finds a world for a reader. A private world is there for its members alone, an archived one for staff alone.
    ///
    /// # Errors
    ///
    /// [`WorldError::NotFound`], also where the reader may not know of it.
    pub async fn resolve(&self, actor: &Actor, reference: &WorldRef) -> Result<Resolved, WorldError> {
        let (world, canonical) = match reference {
            WorldRef::Id(id) => (self.store.find(*id).await?, true),
            WorldRef::Slug(slug) => {
                let world = self.store.find_by_slug(slug).await?;
                let canonical = world.as_ref().is_some_and(|world| world.slug == *slug);
                (world, canonical)
            }
        };
        let world = world.ok_or(WorldError::NotFound)?;
        let needed = needed_to_look(world.archived_at.is_some());
        if !self.access.allows(actor, needed, &Place::world(&world)).await? {
            return Err(WorldError::NotFound);
        }
        Ok(Resolved { world, canonical })
    }

    /// Passes if the actor may look at a world, as believed for a second, and no longer than until a loss is known.
    ///
    /// # Errors
    ///
    /// [`WorldError::NotFound`], also where the actor may not know of it.
    pub async fn check_read(&self, actor: &Actor, id: WorldId) -> Result<Pass, WorldError> {
        let read = async { Ok(self.store.find(id).await?.map(Known::from)) };
        let Known { place, is_archived } = self.known.get(id, read).await?.ok_or(WorldError::NotFound)?;
        let decision = self.access.decide(actor, needed_to_look(is_archived), &place).await?;
        decision.pass().ok_or(WorldError::NotFound)
    }

    /// Lists worlds: the public ones, and those the actor belongs to; all of them for the operator and for keys that may read
    /// every world. A narrowed token or key lists no world beyond its own.
    pub async fn list(&self, actor: &Actor, query: WorldQuery) -> Result<Page<World>, WorldError> {
        let within = match actor.ceiling {
            Scope::Global => None,
            Scope::World(id) => Some(id),
            // The world around a group is outside of it.
            Scope::Group(_) => return Ok(Page { items: Vec::new(), more: false }),
        };
        let everything = match &actor.identity {
            Identity::Operator => true,
            Identity::Key(key) => key.permissions.contains(Permission::WorldRead),
            Identity::Account(_) | Identity::Anonymous => false,
        };
        let (member, at) = (actor.account_id(), self.sources.clock.now());
        Ok(self.store.page(&WorldQuery { member, at, everything, within, ..query }).await?)
    }

    /// Changes a world that the caller has seen in state `expected`. Needs `world.manage`.
    pub async fn amend(
        &self,
        actor: &Actor,
        reference: &WorldRef,
        expected: Option<Revision>,
        amendment: WorldAmendment,
    ) -> Result<World, WorldError> {
        self.change(actor, reference, expected, amendment, false).await
    }

    /// Archives a world: it is gone for everybody but staff, and keeps its slug. Needs `world.manage`.
    pub async fn archive(
        &self,
        actor: &Actor,
        reference: &WorldRef,
        expected: Option<Revision>,
    ) -> Result<World, WorldError> {
        self.change(actor, reference, expected, WorldAmendment::default(), true).await
    }

    /// Passes if the actor may change a world.
    pub async fn require_manage(&self, actor: &Actor, reference: &WorldRef) -> Result<(), WorldError> {
        self.managed(actor, reference).await.map(|_| ())
    }

    async fn managed(&self, actor: &Actor, reference: &WorldRef) -> Result<World, WorldError> {
        require_sign_in(actor)?;
        let world = self.resolve(actor, reference).await?.world;
        self.access.require(actor, Permission::WorldManage, &Place::world(&world)).await?;
        Ok(world)
    }

    async fn change(
        &self,
        actor: &Actor,
        reference: &WorldRef,
        expected: Option<Revision>,
        amendment: WorldAmendment,
        archive: bool,
    ) -> Result<World, WorldError> {
        let world = self.managed(actor, reference).await?;
        self.limits.charge(actor, Policy::Admin).await?;
        let action = if archive { "world.archive" } else { "world.amend" };
        let step = actor.step(self.sources.clock.now(), AuditDraft::new(action, Scope::World(world.id)));
        let changed = self.store.amend(&step, &WorldChange { id: world.id, expected, amendment, archive }).await?;
        if world.lost_by(&changed).is_some() {
            self.revocations.announce().await;
        }
        Ok(changed)
    }

    /// Lists who holds a role in a world, for whoever may see the world.
    pub async fn members(
        &self,
        actor: &Actor,
        reference: &WorldRef,
        after: Option<MemberPosition>,
        limit: Limit,
    ) -> Result<Page<Member>, WorldError> {
        let world = self.resolve(actor, reference).await?.world;
        let query = MemberQuery { world: world.id, at: self.sources.clock.now(), after, limit };
        Ok(self.grants.members(&query).await?)
    }

    /// Makes the actor a member of an open world; joining twice is joining once.
    ///
    /// # Errors
    ///
    /// [`WorldError::InviteRequired`] where one is invited.
    pub async fn join(&self, actor: &Actor, reference: &WorldRef) -> Result<World, WorldError> {
        let account = signed_in(actor)?;
        let world = self.resolve(actor, reference).await?.world;
        self.access.require(actor, Permission::WorldRead, &Place::world(&world)).await?;
        self.limits.charge(actor, Policy::Write).await?;
        if self.holds_role(account, world.id).await? {
            return Ok(world);
        }
        if world.join_policy == JoinPolicy::Invite {
            return Err(WorldError::InviteRequired);
        }
        let scope = Scope::World(world.id);
        let grant = NewGrant {
            id: GrantId::new(self.sources.ids.draw()),
            account,
            role: Role::WorldMember,
            scope,
            reason: None,
            expires_at: None,
        };
        let step = actor.step(self.sources.clock.now(), AuditDraft::new("member.join", scope));
        self.grants.grant(&step, &grant).await?;
        self.access.forget(account);
        Ok(world)
    }

    /// Takes every role in a world from the actor.
    pub async fn leave(&self, actor: &Actor, reference: &WorldRef) -> Result<(), WorldError> {
        let account = signed_in(actor)?;
        let world = self.resolve(actor, reference).await?.world;
        self.limits.charge(actor, Policy::Write).await?;
        self.take_roles(actor, account, world.id, "member.leave").await
    }

    /// Takes every role in a world from another account. Needs `world.manage`, and a rank above each of the roles.
    pub async fn remove_member(
        &self,
        actor: &Actor,
        reference: &WorldRef,
        account: AccountId,
    ) -> Result<(), WorldError> {
        let world = self.managed(actor, reference).await?;
        let place = Place::world(&world);
        let at = self.sources.clock.now();
        let here = Scope::World(world.id);
        let standing = Standing::of(actor, &place, &*self.grants, at).await?;
        for grant in self.grants.of(account, at).await?.into_iter().filter(|grant| grant.scope == here) {
            // An owner makes owners, and does not remove them.
            if grant.role.rank() >= standing.rank {
                let denied = Denied { permission: Permission::WorldManage, scope: here, why: WhyDenied::Missing };
                self.access.note_refusal(actor, &denied);
                return Err(denied.into());
            }
        }
        self.limits.charge(actor, Policy::Admin).await?;
        self.take_roles(actor, account, world.id, "member.remove").await
    }

    /// Returns whether no world was ever made.
    pub async fn is_empty(&self) -> Result<bool, WorldError> {
        Ok(self.store.is_empty().await?)
    }

    async fn take_roles(
        &self,
        actor: &Actor,
        account: AccountId,
        world: WorldId,
        action: &'static str,
    ) -> Result<(), WorldError> {
        let scope = Scope::World(world);
        let audit = AuditDraft::new(action, scope).with(json!({ "account": account }));
        self.grants.revoke_all(&actor.step(self.sources.clock.now(), audit), account, scope).await?;
        self.access.forget(account);
        self.revocations.announce().await;
        Ok(())
    }

    async fn holds_role(&self, account: AccountId, world: WorldId) -> Result<bool, StorageError> {
        let grants = self.grants.of(account, self.sources.clock.now()).await?;
        Ok(grants.iter().any(|grant| grant.scope == Scope::World(world)))
    }

    fn forget(&self, account: Option<AccountId>) {
        if let Some(account) = account {
            self.access.forget(account);
        }
    }
}

fn signed_in(actor: &Actor) -> Result<AccountId, WorldError> {
    if matches!(actor.identity, Identity::Key(_)) {
        return Err(WorldError::AccountRequired);
    }
    actor.account_id().ok_or_else(sign_in_required)
}

/// Refuses whoever is not signed in, before anything is looked for: what exists is no answer to them.
fn require_sign_in(actor: &Actor) -> Result<(), WorldError> {
    if actor.is_anonymous() { Err(sign_in_required()) } else { Ok(()) }
}

fn sign_in_required() -> WorldError {
    Denied { permission: Permission::WorldRead, scope: Scope::Global, why: WhyDenied::SignInRequired }.into()
}

#[async_trait]
impl Places for Worlds {
    /// A world's place, from its stored row; archived worlds are nowhere, and groups are not kept yet.
    async fn place(&self, scope: Scope) -> Result<Option<Place>, StorageError> {
        match scope {
            Scope::Global => Ok(Some(Place::global())),
            Scope::World(id) => {
                let world = self.store.find(id).await?;
                Ok(world.filter(|world| world.archived_at.is_none()).map(|world| Place::world(&world)))
            }
            Scope::Group(_) => Ok(None),
        }
    }
}
