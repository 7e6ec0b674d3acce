//! Decisions held against the plainest reading of the rules, over random grants and questions.

#![allow(clippy::unwrap_used, reason = "clippy knows tests, and not the functions that they share")]

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use weltenwind_core::{
    Actor, ApiKeyId, Clock as _, CorrelationId, GrantId, GroupId, IdGenerator as _, KeyHolder, ManualClock, Scope,
    ScopeKind, SequentialIds, StorageError, Timestamp, WorldId,
    access::{
        AccessControlService as _, Grant, GrantStore as _, MemoryGrantStore, NewGrant, Permission, PermissionSet,
        Place, Role, RoleAccess, Sanction, SanctionKind, Sanctions,
    },
    accounts::DisplayName,
    worlds::{Visibility, World},
};

/// Who holds which role where, and until when.
type Grants = Vec<(usize, Role, Scope, Option<Timestamp>)>;

/// `SplitMix64`: the same numbers for the same seed, on every machine.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % sides as u64).expect("there are fewer sides")
    }

    fn pick<'i, T>(&mut self, items: &'i [T]) -> &'i T {
        &items[self.roll(items.len())]
    }
}

/// What there is: worlds of every visibility, with groups in them.
struct Map {
    places: Vec<Place>,
    scopes: Vec<Scope>,
    /// The world of each group.
    parents: BTreeMap<GroupId, WorldId>,
    open: Vec<WorldId>,
}

impl Map {
    fn drawn() -> Self {
        let mut map =
            Self { places: vec![Place::global()], scopes: vec![Scope::Global], parents: BTreeMap::new(), open: vec![] };
        let visibilities = [Visibility::Public, Visibility::Unlisted, Visibility::Private, Visibility::Private];
        for (n, visibility) in (1..).zip(visibilities) {
            let world = World { visibility, ..World::sample(n) };
            map.places.push(Place::world(&world));
            map.scopes.push(Scope::World(world.id));
            if visibility != Visibility::Private {
                map.open.push(world.id);
            }
            for m in 0..2 {
                let group = GroupId::new(uuid::Uuid::from_u128(u128::from(n) * 10 + m));
                map.places.push(Place::group(group, &world));
                map.scopes.push(Scope::Group(group));
                map.parents.insert(group, world.id);
            }
        }
        map
    }

    /// Whether `inner` is `outer` or lies in it.
    fn lies_in(&self, inner: Scope, outer: Scope) -> bool {
        match (inner, outer) {
            (_, Scope::Global) => true,
            (Scope::World(inner), Scope::World(outer)) => inner == outer,
            (Scope::Group(inner), Scope::Group(outer)) => inner == outer,
            (Scope::Group(inner), Scope::World(outer)) => self.parents[&inner] == outer,
            _ => false,
        }
    }

    fn is_open(&self, scope: Scope) -> bool {
        match scope {
            Scope::Global => true,
            Scope::World(id) => self.open.contains(&id),
            Scope::Group(_) => false,
        }
    }
}

/// Somebody who asks.
#[derive(Clone)]
enum Asker {
    Nobody,
    Player(usize),
    Key { scope: Scope, permissions: Vec<Permission> },
}

/// The rules, read without a cache, a mask or a short cut: sentence by sentence.
#[derive(Default)]
struct Rules {
    grants: Grants,
    sanctions: Vec<(usize, Sanction)>,
}

impl Rules {
    fn allow(
        &self,
        map: &Map,
        asker: &Asker,
        ceiling: Scope,
        permission: Permission,
        scope: Scope,
        now: Timestamp,
    ) -> bool {
        // A permission is asked for where it is legal.
        if permission.legal_in().iter().all(|kind| *kind != scope.kind()) {
            return false;
        }
        // Nothing is reached beyond the token.
        if !map.lies_in(scope, ceiling) {
            return false;
        }
        // What a sanction takes, nothing gives back.
        if let Asker::Player(player) = asker {
            for (sanctioned, sanction) in &self.sanctions {
                let holds = sanction.until.is_none_or(|end| end > now);
                let takes = match sanction.kind {
                    SanctionKind::Ban => true,
                    SanctionKind::Mute => permission == Permission::ChatPost,
                };
                if sanctioned == player && holds && takes && map.lies_in(scope, sanction.scope) {
                    return false;
                }
            }
        }
        // In an open place everybody looks, and every account takes part.
        let reads = permission == Permission::WorldRead || permission == Permission::ChatRead;
        if map.is_open(scope) && reads {
            return true;
        }
        match asker {
            Asker::Nobody => false,
            Asker::Key { permissions, .. } => permissions.contains(&permission),
            Asker::Player(player) => {
                if map.is_open(scope) && permission == Permission::ChatPost {
                    return true;
                }
                self.grants.iter().any(|(holder, role, held_in, end)| {
                    holder == player
                        && end.is_none_or(|end| end > now)
                        && map.lies_in(scope, *held_in)
                        && role.permissions().iter().any(|held| held == permission)
                })
            }
        }
    }
}

/// Sanctions that are told here.
#[derive(Debug, Default)]
struct Told(std::sync::Mutex<Vec<(weltenwind_core::AccountId, Sanction)>>);

#[async_trait::async_trait]
impl Sanctions for Told {
    async fn of(&self, account: weltenwind_core::AccountId) -> Result<Arc<[Sanction]>, StorageError> {
        let told = self.0.lock().unwrap();
        Ok(told.iter().filter(|(who, _)| *who == account).map(|(_, sanction)| sanction.clone()).collect())
    }
}

/// Both readings of the rules, side by side.
struct Trial {
    map: Map,
    dice: Dice,
    players: Vec<Actor>,
    clock: Arc<ManualClock>,
    store: Arc<MemoryGrantStore>,
    told: Arc<Told>,
    access: RoleAccess,
    rules: Rules,
    given: Vec<Grant>,
    ids: SequentialIds,
}

impl Trial {
    fn new(seed: u64) -> Self {
        let (clock, store) = (Arc::new(ManualClock::default()), Arc::new(MemoryGrantStore::default()));
        let told = Arc::new(Told::default());
        let access = RoleAccess::new(store.clone(), clock.clone()).with_sanctions(told.clone());
        let players = (0..8).map(|n| Actor::player(&format!("Player {n}"))).collect();
        Self {
            map: Map::drawn(),
            dice: Dice(seed),
            players,
            clock,
            store,
            told,
            access,
            rules: Rules::default(),
            given: vec![],
            ids: SequentialIds::default(),
        }
    }

    fn step(&self) -> weltenwind_core::Step {
        weltenwind_core::Step::sample(self.clock.now())
    }

    fn end(&mut self) -> Option<Timestamp> {
        (self.dice.roll(3) == 0).then(|| self.clock.now() + Duration::from_millis(1 + self.dice.roll(5000) as u64))
    }

    /// Gives a role, on this node or on another one that does not tell.
    async fn give(&mut self, told: bool) {
        let player = self.dice.roll(self.players.len());
        let account = self.players[player].account_id().unwrap();
        let scope = *self.dice.pick(&self.map.scopes);
        let roles: Vec<Role> = Role::ALL.iter().copied().filter(|role| role.scope_kind() == scope.kind()).collect();
        let role = *self.dice.pick(&roles);
        let expires_at = self.end();
        let id = GrantId::new(self.ids.draw());
        let new = NewGrant { id, account, role, scope, reason: None, expires_at };
        // The last owner gets no end: then nothing has changed.
        let Ok(grant) = self.store.grant(&self.step(), &new).await else { return };
        self.rules.grants.retain(|(holder, held, held_in, _)| (*holder, *held, *held_in) != (player, role, scope));
        self.rules.grants.push((player, role, scope, expires_at));
        self.given.retain(|known| known.id != grant.id);
        self.given.push(grant);
        if told {
            self.access.forget(account);
        }
    }

    async fn take(&mut self, told: bool) {
        if self.given.is_empty() {
            return;
        }
        let grant = self.given.swap_remove(self.dice.roll(self.given.len()));
        if self.store.revoke(&self.step(), grant.id).await.is_err() {
            self.given.push(grant);
            return;
        }
        let player = self.players.iter().position(|player| player.account_id() == Some(grant.account)).unwrap();
        self.rules
            .grants
            .retain(|(holder, role, scope, _)| (*holder, *role, *scope) != (player, grant.role, grant.scope));
        if told {
            self.access.forget(grant.account);
        }
    }

    fn sanction(&mut self) {
        let player = self.dice.roll(self.players.len());
        let kind = *self.dice.pick(&[SanctionKind::Mute, SanctionKind::Ban]);
        let sanction = Sanction { kind, scope: *self.dice.pick(&self.map.scopes), until: self.end() };
        if self.rules.sanctions.len() > 3 {
            self.rules.sanctions.clear();
            self.told.0.lock().unwrap().clear();
        }
        self.told.0.lock().unwrap().push((self.players[player].account_id().unwrap(), sanction.clone()));
        self.rules.sanctions.push((player, sanction));
    }

    /// Draws a question, with the actor who asks it.
    fn question(&mut self) -> (Asker, Actor, Permission, Place) {
        let asker = match self.dice.roll(10) {
            0 => Asker::Nobody,
            1 => {
                let permissions =
                    Permission::ALL.iter().copied().filter(|_| self.dice.roll(2) == 0).collect::<Vec<_>>();
                Asker::Key { scope: *self.dice.pick(&self.map.scopes), permissions }
            }
            _ => Asker::Player(self.dice.roll(self.players.len())),
        };
        let request = CorrelationId::accept("question").unwrap();
        let mut actor = match &asker {
            Asker::Nobody => Actor::anonymous(request),
            Asker::Player(player) => self.players[*player].clone(),
            Asker::Key { scope, permissions } => {
                let permissions: PermissionSet = permissions.iter().copied().collect();
                let (key, name) = (ApiKeyId::new(self.ids.draw()), DisplayName::new("arena").unwrap());
                Actor::key(KeyHolder { key, name, permissions, rank: 1 }, *scope, request)
            }
        };
        if matches!(asker, Asker::Player(_)) && self.dice.roll(4) == 0 {
            actor.ceiling = *self.dice.pick(&self.map.scopes);
        }
        (asker, actor, *self.dice.pick(Permission::ALL), *self.dice.pick(&self.map.places))
    }

    fn allowed(&self, asker: &Asker, actor: &Actor, permission: Permission, place: &Place) -> bool {
        self.rules.allow(&self.map, asker, actor.ceiling, permission, place.scope(), self.clock.now())
    }
}

/// Every change is told to this node, so every answer is exact.
#[tokio::test]
async fn a_hundred_thousand_answers_are_those_of_the_plain_rules() {
    const SEED: u64 = 0x7765_6c74;
    let mut trial = Trial::new(SEED);
    let (mut questions, mut allowed, mut explained) = (0_u32, 0_u32, 0_u32);

    while questions < 120_000 {
        match trial.dice.roll(40) {
            0..=2 => trial.give(true).await,
            3..=5 => trial.take(true).await,
            6 => trial.sanction(),
            7 => trial.clock.advance(Duration::from_millis(trial.dice.roll(900) as u64)),
            _ => {
                questions += 1;
                let (asker, actor, permission, place) = trial.question();
                let expected = trial.allowed(&asker, &actor, permission, &place);
                let decision = trial.access.decide(&actor, permission, &place).await.unwrap();
                let at = format!("seed {SEED:#x}, question {questions}: {permission} in {}", place.scope());
                assert_eq!(decision.allowed, expected, "{at}: {:?}", decision.because);
                assert_eq!(decision.because.allows(), expected, "{at}");
                allowed += u32::from(expected);
                if questions % 8 == 0 {
                    explained += 1;
                    let explanation = trial.access.explain(&actor, permission, &place).await.unwrap();
                    assert_eq!(explanation.allowed, expected, "{at}: {:?}", explanation.because);
                    assert!(!explanation.because.is_empty(), "{at}");
                    assert!(explanation.because.iter().all(|reason| reason.because.allows() == expected), "{at}");
                }
            }
        }
    }

    // Neither answer is rare, so that agreeing means something.
    assert!(allowed > questions / 10 && allowed < questions * 9 / 10, "{allowed} of {questions} were allowed");
    assert!(explained > 10_000);
}

/// Other nodes change what this one remembers: an answer is at most a second old, and a sensitive one never.
#[tokio::test]
async fn an_answer_is_never_older_than_a_second_whoever_changes_the_grants() {
    const SEED: u64 = 0x7769_6e64;
    let mut trial = Trial::new(SEED);
    // What was true of each question, and when it last changed.
    let mut questions = 0_u32;
    let mut stale = 0_u32;
    let mut history: Vec<(Timestamp, Grants)> = vec![];

    while questions < 30_000 {
        match trial.dice.roll(20) {
            change @ (0 | 1) => {
                let before = (trial.clock.now(), trial.rules.grants.clone());
                if change == 0 {
                    trial.give(false).await;
                } else {
                    trial.take(false).await;
                }
                history.push(before);
            }
            2 | 3 => trial.clock.advance(Duration::from_millis(trial.dice.roll(400) as u64)),
            _ => {
                questions += 1;
                let (asker, actor, permission, place) = trial.question();
                let decision = trial.access.decide(&actor, permission, &place).await.unwrap();
                let now = trial.clock.now();
                history.retain(|(until, _)| *until > now - Duration::from_secs(1));
                let present = trial.allowed(&asker, &actor, permission, &place);
                if decision.allowed == present {
                    continue;
                }
                stale += 1;
                let at = format!("seed {SEED:#x}, question {questions}: {permission} in {}", place.scope());
                assert!(!permission.is_sensitive(), "{at} is sensitive and answered from memory");
                let was = history.iter().any(|(_, grants)| {
                    let rules = Rules { grants: grants.clone(), sanctions: vec![] };
                    rules.allow(&trial.map, &asker, actor.ceiling, permission, place.scope(), now) == decision.allowed
                });
                assert!(was, "{at}: {:?} was true of no state of the last second", decision.because);
            }
        }
    }

    assert!(stale > 0, "nothing was ever remembered");
}

#[test]
fn every_kind_of_scope_is_drawn() {
    let map = Map::drawn();

    for kind in [ScopeKind::Global, ScopeKind::World, ScopeKind::Group] {
        assert!(map.scopes.iter().any(|scope| scope.kind() == kind));
    }
}
