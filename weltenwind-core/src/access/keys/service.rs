//! The rules of API keys.

use std::{sync::Arc, time::Duration};

use base64ct::{Base64UrlUnpadded, Encoding as _};
use moka::sync::Cache;
use serde_json::json;

use super::{
    model::{ApiKey, ApiKeyDraft, ApiKeyQuery, NewApiKey},
    store::ApiKeyStore,
};
use crate::{
    access::{
        AccessControlService, AccessError, Denied, GrantStore, Permission, Place, Places, WhyDenied, grants::managed,
        standing::Standing,
    },
    accounts::{AccountError, DisplayName, TokenHash},
    actor::{Actor, CorrelationId, Identity, KeyHolder},
    clock::Timestamp,
    error::{StorageError, chain},
    ids::{AccountId, ApiKeyId},
    limits::{Limits, Policy},
    page::Page,
    revocations::{Mark, Revocations},
    scope::{Scope, ScopeKind},
    secret::Secret,
    services::Sources,
    step::{AuditDraft, Step},
    validation::Invalid,
};

/// What every key begins with, so that it is known for what it is wherever it turns up.
const PREFIX: &str = "wwk_";
/// For how long a key is believed: one that was deleted has no effect for longer than this, on any node.
const BELIEVED: Duration = Duration::from_secs(1);
/// Keys that are remembered; some 400 bytes each.
const REMEMBERED: u64 = 10_000;
/// How exactly it is told when a key was last used: finer would cost a write with every call.
const USE_STEP: Duration = Duration::from_mins(5);

/// A key that was just made, and the only time that it is shown.
#[derive(Debug, Clone)]
pub struct MadeKey {
    /// The key.
    pub key: ApiKey,
    /// What its bearer shows.
    pub secret: Secret<String>,
}

/// API keys, and who bears one.
#[derive(Debug, Clone)]
pub struct ApiKeys {
    store: Arc<dyn ApiKeyStore>,
    grants: Arc<dyn GrantStore>,
    places: Arc<dyn Places>,
    access: Arc<dyn AccessControlService>,
    sources: Sources,
    limits: Limits,
    revocations: Revocations,
    known: Cache<ApiKeyId, Known>,
}

#[derive(Debug, Clone)]
struct Known {
    key: Arc<ApiKey>,
    read_at: Timestamp,
    /// How far losses were known before it was read.
    mark: Mark,
}

impl ApiKeys {
    /// Wires the rules to their ports.
    pub fn new(
        store: Arc<dyn ApiKeyStore>,
        grants: Arc<dyn GrantStore>,
        places: Arc<dyn Places>,
        access: Arc<dyn AccessControlService>,
        sources: Sources,
        limits: Limits,
    ) -> Self {
        let (revocations, known) = (Revocations::none(), Cache::new(REMEMBERED));
        Self { store, grants, places, access, sources, limits, revocations, known }
    }

    /// Makes every loss known at once, and believes no key that is known to be lost.
    #[must_use]
    pub fn announcing(mut self, revocations: Revocations) -> Self {
        self.revocations = revocations;
        self
    }

    /// Makes a key. Needs `access.manage` in its scope, and there everything that stands on its list.
    ///
    /// # Errors
    ///
    /// [`AccessError::Denied`] names the first permission that the caller does not hold; [`AccessError::Invalid`] if the list
    /// is empty or names what is not legal in the scope or below, or the scope does not exist.
    pub async fn make(&self, actor: &Actor, draft: ApiKeyDraft) -> Result<MadeKey, AccessError> {
        let place = managed(actor, draft.scope, &*self.places, &*self.access).await?;
        let now = self.sources.clock.now();
        let standing = Standing::of(actor, &place.unwrap_or(Place::global()), &*self.grants, now).await?;
        if let Some(permission) =
            draft.permissions.iter().find(|permission| !standing.permissions.contains(*permission))
        {
            let denied = Denied { permission: Permission::AccessManage, scope: draft.scope, why: WhyDenied::Missing };
            self.access.note_refusal(actor, &denied);
            return Err(Denied { permission, ..denied }.into());
        }
        self.limits.charge(actor, Policy::Admin).await?;
        check(&draft, place.is_some(), now)?;
        let ApiKeyDraft { name, scope, permissions, expires_at } = draft;
        let id = ApiKeyId::new(self.sources.ids.draw());
        let secret = self.draw(id);
        let audit = AuditDraft::new("api_key.make", scope)
            .with(json!({ "name": name.as_str(), "permissions": names(permissions) }));
        // What answers a secret has no repeat: the second answer could not show it.
        let step = Step { effect_key: None, ..actor.step(now, audit) };
        let hash = TokenHash::of(secret.expose());
        let key = NewApiKey { id, hash, name, scope, permissions, rank: standing.rank, expires_at };
        Ok(MadeKey { key: self.store.create(&step, &key).await?, secret })
    }

    /// Reads a key. Needs `access.manage` in its scope.
    ///
    /// # Errors
    ///
    /// [`AccessError::KeyNotFound`], also where the caller may not manage.
    pub async fn find(&self, actor: &Actor, id: ApiKeyId) -> Result<ApiKey, AccessError> {
        if actor.identity == Identity::Anonymous {
            let (permission, scope) = (Permission::AccessManage, Scope::Global);
            return Err(Denied { permission, scope, why: WhyDenied::SignInRequired }.into());
        }
        let key = self.store.find(id).await?.ok_or(AccessError::KeyNotFound)?;
        match managed(actor, key.scope, &*self.places, &*self.access).await {
            Ok(_) => Ok(key),
            Err(AccessError::Denied(denied)) if denied.why != WhyDenied::SecondFactorMissing => {
                Err(AccessError::KeyNotFound)
            }
            Err(error) => Err(error),
        }
    }

    /// Lists keys, expired ones included. Needs `access.manage` in the query's scope; everywhere if it names none.
    pub async fn list(&self, actor: &Actor, query: &ApiKeyQuery) -> Result<Page<ApiKey>, AccessError> {
        managed(actor, query.scope.unwrap_or(Scope::Global), &*self.places, &*self.access).await?;
        Ok(self.store.page(query).await?)
    }

    /// Deletes a key: it holds no longer, on this node at once, and elsewhere as soon as that is known there. Needs `access.manage` in its scope.
    ///
    /// # Errors
    ///
    /// [`AccessError::KeyNotFound`], also where the caller may not manage.
    pub async fn delete(&self, actor: &Actor, id: ApiKeyId) -> Result<ApiKey, AccessError> {
        let key = self.find(actor, id).await?;
        self.limits.charge(actor, Policy::Admin).await?;
        let audit = AuditDraft::new("api_key.delete", key.scope).with(json!({ "name": key.name.as_str() }));
        let deleted = self.store.delete(&actor.step(self.sources.clock.now(), audit), id).await?;
        self.known.invalidate(&id);
        self.revocations.announce().await;
        Ok(deleted)
    }

    /// Returns whether a bearer token claims to be a key.
    pub fn is_key(token: &str) -> bool {
        token.starts_with(PREFIX)
    }

    /// Returns the key that a bearer token claims to be, whether or not there is such a one.
    pub fn id_of(token: &str) -> Option<ApiKeyId> {
        let mut bytes = [0; 48];
        let decoded = Base64UrlUnpadded::decode(token.strip_prefix(PREFIX)?, &mut bytes).ok()?;
        let id: [u8; 16] = decoded.get(..16)?.try_into().ok()?;
        (decoded.len() == 48).then(|| ApiKeyId::new(uuid::Uuid::from_bytes(id)))
    }

    /// Answers who bears a key. It is believed for a second, and no longer than until its loss is known.
    ///
    /// # Errors
    ///
    /// [`AccountError::KeyInvalid`] if it was never made, was deleted, or has expired.
    pub async fn authenticate(&self, token: &str, correlation_id: CorrelationId) -> Result<Actor, AccountError> {
        let id = Self::id_of(token).ok_or(AccountError::KeyInvalid)?;
        let key = self.holding(id).await?;
        if key.hash != TokenHash::of(token) {
            return Err(AccountError::KeyInvalid);
        }
        Ok(bearer(&key, correlation_id))
    }

    /// Answers who bears a key that was shown before, if it still holds, and when it ends by itself.
    ///
    /// # Errors
    ///
    /// [`AccountError::KeyInvalid`].
    pub async fn actor_of_key(
        &self,
        id: ApiKeyId,
        correlation_id: CorrelationId,
    ) -> Result<(Actor, Option<Timestamp>), AccountError> {
        let key = self.holding(id).await?;
        Ok((bearer(&key, correlation_id), key.expires_at))
    }

    /// Finds a key that holds, and notes that it is used.
    async fn holding(&self, id: ApiKeyId) -> Result<Arc<ApiKey>, AccountError> {
        let now = self.sources.clock.now();
        let account = AccountId::new(id.uuid());
        let known = self.known.get(&id).filter(|known| {
            let is_fresh = known.read_at <= now && now < known.read_at + BELIEVED;
            is_fresh && !self.revocations.touched_since(account, known.mark)
        });
        let key = match known {
            Some(known) => known.key,
            None => self.read(id, now).await?.ok_or(AccountError::KeyInvalid)?,
        };
        if key.holds_at(now) { Ok(key) } else { Err(AccountError::KeyInvalid) }
    }

    async fn read(&self, id: ApiKeyId, now: Timestamp) -> Result<Option<Arc<ApiKey>>, StorageError> {
        // Before the look: a loss that comes meanwhile is then newer than what is found.
        let mark = self.revocations.mark();
        let Some(key) = self.store.find(id).await?.map(Arc::new) else { return Ok(None) };
        let step = step_of_use(now);
        if key.holds_at(now) && key.last_used_at.is_none_or(|last| last < step) {
            // A call is not refused because of a note about it.
            if let Err(error) = self.store.used(id, step).await {
                tracing::warn!(key = %id, error = chain(&error), "the use of a key is not noted");
            }
        }
        self.known.insert(id, Known { key: Arc::clone(&key), read_at: now, mark });
        Ok(Some(key))
    }

    /// Draws what the bearer will show: the key's id, so that it is found without a search, and 256 random bits.
    fn draw(&self, id: ApiKeyId) -> Secret<String> {
        let mut bytes = [0; 48];
        bytes[..16].copy_from_slice(id.uuid().as_bytes());
        self.sources.random.fill(&mut bytes[16..]);
        Secret::new(format!("{PREFIX}{}", Base64UrlUnpadded::encode_string(&bytes)))
    }
}

fn bearer(key: &ApiKey, correlation_id: CorrelationId) -> Actor {
    let name = DisplayName::from_stored(key.name.to_string());
    let holder = KeyHolder { key: key.id, name, permissions: key.permissions, rank: key.rank };
    Actor::key(holder, key.scope, correlation_id)
}

fn step_of_use(now: Timestamp) -> Timestamp {
    let step = i64::try_from(USE_STEP.as_secs()).expect("five minutes fit");
    let seconds = now.as_second();
    Timestamp::from_second(seconds - seconds.rem_euclid(step)).unwrap_or(now)
}

fn names(permissions: crate::access::PermissionSet) -> Vec<&'static str> {
    permissions.iter().map(Permission::as_str).collect()
}

fn check(draft: &ApiKeyDraft, exists: bool, now: Timestamp) -> Result<(), Invalid> {
    if !exists {
        return Err(Invalid::at("/scope", format!("{} does not exist", draft.scope)));
    }
    if draft.permissions.iter().next().is_none() {
        return Err(Invalid::at("/permissions", "permissions must name at least one"));
    }
    let below: &[ScopeKind] = match draft.scope.kind() {
        ScopeKind::Global => &[ScopeKind::Global, ScopeKind::World, ScopeKind::Group],
        ScopeKind::World => &[ScopeKind::World, ScopeKind::Group],
        ScopeKind::Group => &[ScopeKind::Group],
    };
    let strange =
        draft.permissions.iter().find(|permission| !permission.legal_in().iter().any(|kind| below.contains(kind)));
    if let Some(permission) = strange {
        let rule = format!("{permission} cannot be asked for in a {} scope", draft.scope.kind());
        return Err(Invalid::at("/permissions", rule));
    }
    if draft.expires_at.is_some_and(|end| end <= now) {
        return Err(Invalid::at("/expiresAt", "expiresAt must lie ahead"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        access::{
            Grants, MemoryGrantStore, OpenPlaces, PermissionSet, Role, RoleAccess,
            keys::{ApiKeyName, MemoryApiKeyStore},
        },
        clock::{Clock as _, ManualClock},
        code::Code,
        error::Classify as _,
        ids::WorldId,
        limits::LimitsConfig,
    };

    struct Town {
        keys: ApiKeys,
        elsewhere: ApiKeys,
        grants: Grants,
        clock: Arc<ManualClock>,
    }

    impl Town {
        /// Two nodes over one store.
        fn new() -> Self {
            let clock = Arc::new(ManualClock::default());
            let sources = Sources { clock: clock.clone(), ..Sources::default() };
            let (store, roles) = (Arc::new(MemoryApiKeyStore::default()), Arc::new(MemoryGrantStore::default()));
            let access = Arc::new(RoleAccess::new(roles.clone(), clock.clone()));
            let limits = Limits::in_process(clock.clone(), LimitsConfig::default());
            let places = Arc::new(OpenPlaces);
            let node = || {
                let (store, roles, access) = (store.clone(), roles.clone(), access.clone());
                ApiKeys::new(store, roles, places.clone(), access, sources.clone(), limits.clone())
            };
            let (keys, elsewhere) = (node(), node());
            let grants = Grants::new(roles.clone(), places.clone(), access.clone(), sources.clone(), limits.clone());
            Self { keys, elsewhere, grants, clock }
        }

        async fn holder(&self, name: &str, role: Role, scope: Scope) -> Actor {
            let actor = Actor::player(name);
            let account = actor.account_id().expect("an account");
            let draft = crate::access::GrantDraft { account, role, scope, reason: None, expires_at: None };
            self.grants.give(&Actor::operator(), draft).await.expect("the operator may");
            actor
        }

        async fn make(&self) -> MadeKey {
            self.keys.make(&Actor::operator(), draft(Scope::Global, &[Permission::ChatPost])).await.expect("a key")
        }

        async fn who(&self, token: &str) -> Result<Actor, AccountError> {
            self.keys.authenticate(token, request()).await
        }
    }

    fn request() -> CorrelationId {
        CorrelationId::accept("request-1").expect("an id")
    }

    fn world() -> Scope {
        Scope::World(WorldId::new(uuid::Uuid::from_u128(1)))
    }

    fn draft(scope: Scope, permissions: &[Permission]) -> ApiKeyDraft {
        let name = ApiKeyName::new("arena server").expect("a name");
        ApiKeyDraft { name, scope, permissions: PermissionSet::of(permissions), expires_at: None }
    }

    #[tokio::test]
    async fn a_key_is_an_actor_of_its_own_with_its_list_inside_its_scope() {
        let town = Town::new();
        let admin = town.holder("Admin", Role::WorldAdmin, world()).await;

        let made = town.keys.make(&admin, draft(world(), &[Permission::ChatPost])).await.expect("an admin may");
        let actor = town.who(made.secret.expose()).await.expect("the key holds");

        assert!(made.secret.expose().starts_with("wwk_") && made.secret.expose().len() == 68);
        assert!(!format!("{made:?}").contains(made.secret.expose().as_str()));
        assert_eq!((actor.account_id(), actor.ceiling), (None, world()));
        assert_eq!(actor.id(), Some(AccountId::new(made.key.id.uuid())));
        assert!(matches!(&actor.identity, Identity::Key(holder)
            if holder.permissions == PermissionSet::of(&[Permission::ChatPost]) && holder.rank == Role::WorldAdmin.rank()));
        assert_eq!(made.key.created_by, admin.account_id());
    }

    #[tokio::test]
    async fn a_key_is_never_more_than_whoever_makes_it() {
        let town = Town::new();
        let admin = town.holder("Admin", Role::WorldAdmin, world()).await;
        let moderator = town.holder("Moderator", Role::WorldModerator, world()).await;

        for (actor, wish) in [
            (&admin, draft(Scope::Global, &[Permission::ChatPost])),
            (&admin, draft(world(), &[Permission::ChatPost, Permission::WorldCreate])),
            (&moderator, draft(world(), &[Permission::ChatPost])),
        ] {
            let refused = town.keys.make(actor, wish).await.expect_err("too much");
            assert_eq!(refused.code(), Code::PermissionDenied);
        }
        let manager = town.keys.make(&admin, draft(world(), &[Permission::AccessManage, Permission::ChatRead])).await;
        let manager = town.who(manager.expect("an admin may").secret.expose()).await.expect("the key holds");
        town.keys
            .make(&manager, draft(world(), &[Permission::ChatRead]))
            .await
            .expect("a key makes keys from its list");
        let refused = town.keys.make(&manager, draft(world(), &[Permission::ChatPost])).await.expect_err("not listed");
        assert_eq!(refused.code(), Code::PermissionDenied);
    }

    #[tokio::test]
    async fn a_wish_that_makes_no_sense_makes_no_key() {
        let town = Town::new();
        let ended = ApiKeyDraft { expires_at: Some(town.clock.now()), ..draft(world(), &[Permission::ChatRead]) };
        for (wish, pointer) in [
            (draft(world(), &[]), "/permissions"),
            (draft(world(), &[Permission::WorldCreate]), "/permissions"),
            (draft(Scope::Group(crate::ids::GroupId::new(uuid::Uuid::nil())), &[Permission::ChatRead]), "/scope"),
            (ended, "/expiresAt"),
        ] {
            let refused = town.keys.make(&Actor::operator(), wish).await.expect_err("no sense");
            assert_eq!(refused.fields()[0].pointer, pointer);
        }
        let none = town.keys.list(&Actor::operator(), &ApiKeyQuery::default()).await.expect("a list");
        assert_eq!(none.items, []);
    }

    #[tokio::test]
    async fn another_text_is_no_key() {
        let town = Town::new();
        let (mine, other) = (town.make().await, town.make().await);
        let (mine, other) = (mine.secret.expose(), other.secret.expose());

        town.who(mine).await.expect("the key holds");
        let crossed = format!("{}{}", &mine[..30], &other[30..]);
        let mut last = mine.clone();
        let end = if last.pop() == Some('A') { 'E' } else { 'A' };
        last.push(end);
        for text in ["", "wwk_", "wwk_AAAA", &mine[4..], &mine[..67], &format!("{mine}A"), &crossed, &last] {
            let refused = town.who(text).await.expect_err("no key");
            assert_eq!(refused.code(), Code::ApiKeyInvalid, "{text}");
        }
    }

    #[tokio::test]
    async fn a_deleted_key_holds_no_longer_here_at_once_and_elsewhere_within_a_second() {
        let town = Town::new();
        let made = town.make().await;
        let token = made.secret.expose();
        town.who(token).await.expect("the key holds");
        town.elsewhere.authenticate(token, request()).await.expect("the key holds");

        town.keys.delete(&Actor::operator(), made.key.id).await.expect("a deletion");

        assert!(matches!(town.who(token).await, Err(AccountError::KeyInvalid)));
        town.clock.advance(Duration::from_secs(1));
        assert!(matches!(town.elsewhere.authenticate(token, request()).await, Err(AccountError::KeyInvalid)));
        let again = town.keys.delete(&Actor::operator(), made.key.id).await.expect_err("it is gone");
        assert_eq!(again.code(), Code::ApiKeyNotFound);
    }

    #[tokio::test]
    async fn a_key_ends_at_its_instant_though_it_is_remembered() {
        let town = Town::new();
        let end = town.clock.now() + Duration::from_millis(500);
        let wish = ApiKeyDraft { expires_at: Some(end), ..draft(Scope::Global, &[Permission::ChatPost]) };
        let made = town.keys.make(&Actor::operator(), wish).await.expect("a key");
        town.who(made.secret.expose()).await.expect("the key holds");

        town.clock.set(end);

        assert!(matches!(town.who(made.secret.expose()).await, Err(AccountError::KeyInvalid)));
    }

    #[tokio::test]
    async fn the_last_use_is_told_in_steps_of_five_minutes() {
        let town = Town::new();
        let made = town.make().await;
        let last = async || town.keys.find(&Actor::operator(), made.key.id).await.expect("a key").last_used_at;
        let start = town.clock.now();
        assert_eq!(last().await, None);

        for (seconds, expected) in [(1, 0), (298, 0), (3, 300), (297, 300), (1, 600)] {
            town.clock.advance(Duration::from_secs(seconds));
            town.who(made.secret.expose()).await.expect("the key holds");
            assert_eq!(last().await, Some(start + Duration::from_secs(expected)));
        }
    }

    #[tokio::test]
    async fn who_may_not_manage_is_not_told_which_keys_there_are() {
        let town = Town::new();
        let made = town.make().await;
        let admin = town.holder("Admin", Role::WorldAdmin, world()).await;
        let nobody = Actor::anonymous(request());

        assert_eq!(town.keys.find(&admin, made.key.id).await.expect_err("another scope").code(), Code::ApiKeyNotFound);
        assert_eq!(
            town.keys.delete(&admin, made.key.id).await.expect_err("another scope").code(),
            Code::ApiKeyNotFound
        );
        assert_eq!(town.keys.find(&nobody, made.key.id).await.expect_err("nobody").code(), Code::Unauthenticated);
        let everywhere = town.keys.list(&admin, &ApiKeyQuery::default()).await.expect_err("everywhere");
        assert_eq!(everywhere.code(), Code::PermissionDenied);
        town.who(made.secret.expose()).await.expect("the key holds");
    }
}
