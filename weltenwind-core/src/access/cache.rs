//! What decisions remember of accounts: a mask for each scope in which one holds roles.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use quick_cache::{Weighter, sync::Cache};

use super::{
    model::{Because, Grant},
    permission::{Permission, PermissionSet},
    place::Place,
    role::Role,
};
use crate::{clock::Timestamp, ids::AccountId, revocations::Mark, scope::Scope};

/// For how long grants are believed: a lost role has no effect for longer than this, on any node.
pub(super) const BELIEVED: Duration = Duration::from_secs(1);
/// Bytes that what is remembered takes at most: some 170 000 accounts with five scopes each.
const CAPACITY: u64 = 48 << 20;
/// Accounts that are expected when the tables are laid out; they grow beyond.
const EXPECTED_ACCOUNTS: usize = 10_000;
/// Denials that are remembered, 64 bytes each.
const DENIALS: usize = 20_000;

/// What roles an account holds in one scope, and what they allow together.
#[derive(Debug, Clone, Copy)]
struct Mask {
    scope: Scope,
    /// One bit for each role, by its place in the table.
    roles: u16,
    permissions: PermissionSet,
}

/// What the store said of an account. Instants are microseconds: they are compared on every call.
#[derive(Debug)]
pub(super) struct Known {
    /// In order of their scopes.
    masks: Box<[Mask]>,
    read_at: i64,
    /// When the first of the grants ends, after which the masks are wrong.
    until: i64,
    /// How far losses were known before the store was read.
    mark: Mark,
}

impl Known {
    /// Gathers the grants that hold at `now`.
    pub(super) fn of(grants: &[Grant], now: Timestamp, mark: Mark) -> Self {
        let mut masks: Vec<Mask> = Vec::with_capacity(grants.len());
        let mut until = i64::MAX;
        for grant in grants.iter().filter(|grant| grant.holds_at(now)) {
            until = until.min(grant.expires_at.map_or(i64::MAX, Timestamp::as_microsecond));
            let at = masks.binary_search_by_key(&grant.scope, |mask| mask.scope).unwrap_or_else(|at| {
                masks.insert(at, Mask { scope: grant.scope, roles: 0, permissions: PermissionSet::EMPTY });
                at
            });
            let held = &mut masks[at];
            held.roles |= bit(grant.role);
            held.permissions = held.permissions.union(grant.role.permissions());
        }
        Self { masks: masks.into_boxed_slice(), read_at: now.as_microsecond(), until, mark }
    }

    /// Returns how far losses were known before the store was read.
    pub(super) const fn mark(&self) -> Mark {
        self.mark
    }

    /// Finds the role that allows `permission` in `place`, the one with the highest rank if there are several.
    pub(super) fn allowing(&self, permission: Permission, place: &Place) -> Option<Because> {
        let masks = place.scopes().filter_map(|scope| {
            let at = self.masks.binary_search_by_key(&scope, |mask| mask.scope).ok()?;
            Some(&self.masks[at]).filter(|mask| mask.permissions.contains(permission))
        });
        let allowing = masks.filter_map(|mask| {
            let held = Role::BY_RANK.iter().filter(|role| mask.roles & bit(**role) != 0);
            let highest = held.copied().find(|role| role.permissions().contains(permission))?;
            Some((highest, mask.scope))
        });
        allowing.max_by_key(|(role, _)| role.rank()).map(|(role, scope)| Because::Granted(role, scope))
    }

    /// Returns when the first of the grants ends.
    pub(super) fn until(&self) -> Option<Timestamp> {
        if self.until == i64::MAX { None } else { Timestamp::from_microsecond(self.until).ok() }
    }

    fn holds_at(&self, now: i64) -> bool {
        is_fresh(self.read_at, now) && now < self.until
    }
}

const fn bit(role: Role) -> u16 {
    const { assert!(Role::ALL.len() <= u16::BITS as usize, "a mask has a bit for every role") };
    1 << role as u16
}

/// A clock that was set back makes nothing younger than it is.
fn is_fresh(read_at: i64, now: i64) -> bool {
    u64::try_from(now - read_at).is_ok_and(|age| Duration::from_micros(age) < BELIEVED)
}

#[derive(Debug, Clone)]
struct Bytes;

impl Weighter<AccountId, Arc<Known>> for Bytes {
    fn weight(&self, _: &AccountId, known: &Arc<Known>) -> u64 {
        // The entry with its place in the tables, and the masks.
        128 + size_of_val(&*known.masks) as u64
    }
}

/// What is remembered, in bounded memory.
#[derive(Debug)]
pub(super) struct Memory {
    known: Cache<AccountId, Arc<Known>, Bytes>,
    /// When a denial was last confirmed.
    denials: Cache<(AccountId, Scope), i64>,
    /// How often something was forgotten: what was read before that is not kept.
    forgotten: AtomicU64,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            known: Cache::with_weighter(EXPECTED_ACCOUNTS, CAPACITY, Bytes),
            denials: Cache::new(DENIALS),
            forgotten: AtomicU64::new(0),
        }
    }
}

/// A reading of the store that has begun.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading(u64);

impl Memory {
    /// Returns what is known of an account, if it can be believed.
    pub(super) fn of(&self, account: AccountId, now: Timestamp) -> Option<Arc<Known>> {
        self.known.get(&account).filter(|known| known.holds_at(now.as_microsecond()))
    }

    /// Begins to read; whatever is forgotten from here on is not in doubt afterwards.
    pub(super) fn begin(&self) -> Reading {
        Reading(self.forgotten.load(Ordering::SeqCst))
    }

    /// Remembers what was read, unless something was forgotten meanwhile.
    pub(super) fn keep(&self, reading: Reading, account: AccountId, known: Known) -> Arc<Known> {
        let known = Arc::new(known);
        self.known.insert(account, Arc::clone(&known));
        // Looked at behind the insertion: who forgets later finds the entry and takes it out.
        if self.forgotten.load(Ordering::SeqCst) != reading.0 {
            self.known.remove(&account);
        }
        known
    }

    /// Forgets an account. Its denials go with it: one counts only beside what it was read from.
    pub(super) fn forget(&self, account: AccountId) {
        self.forgotten.fetch_add(1, Ordering::SeqCst);
        self.known.remove(&account);
    }

    /// Remembers that a denial in `scope` was confirmed.
    pub(super) fn confirm(&self, account: AccountId, scope: Scope, now: Timestamp) {
        self.denials.insert((account, scope), now.as_microsecond());
    }

    /// Returns whether a denial in `scope` was confirmed within the last second, and `known` was read no earlier.
    pub(super) fn is_confirmed(&self, account: AccountId, scope: Scope, known: &Known, now: Timestamp) -> bool {
        let confirmed = self.denials.get(&(account, scope));
        confirmed.is_some_and(|at| is_fresh(at, now.as_microsecond()) && known.read_at >= at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ids::{GrantId, WorldId},
        revocations::Revocations,
    };

    fn account(n: u32) -> AccountId {
        AccountId::new(uuid::Uuid::from_u128(u128::from(n)))
    }

    /// Has accounts remembered with a role in so many worlds each.
    fn remember(memory: &Memory, accounts: u32, worlds: u32) {
        let now = Timestamp::UNIX_EPOCH;
        let grant = |n| Grant {
            id: GrantId::new(uuid::Uuid::nil()),
            account: account(0),
            role: Role::WorldMember,
            scope: Scope::World(WorldId::new(uuid::Uuid::from_u128(n))),
            granted_by: None,
            reason: None,
            expires_at: None,
            created_at: now,
        };
        let grants: Vec<Grant> = (0..u128::from(worlds)).map(grant).collect();
        let mark = Revocations::none().mark();
        for n in 0..accounts {
            memory.keep(memory.begin(), account(n), Known::of(&grants, now, mark));
        }
    }

    #[test]
    fn a_hundred_thousand_accounts_with_five_scopes_are_remembered_at_once() {
        let memory = Memory::default();

        remember(&memory, 100_000, 5);

        assert!((0..100_000).all(|n| memory.of(account(n), Timestamp::UNIX_EPOCH).is_some()));
        assert!(memory.known.weight() < 32 << 20, "{} bytes", memory.known.weight());
    }

    #[test]
    fn whoever_is_in_many_worlds_takes_no_more_memory_than_there_is() {
        let memory = Memory::default();

        remember(&memory, 10_000, 500);

        assert!(memory.known.weight() <= CAPACITY, "{} bytes", memory.known.weight());
        assert!(memory.known.len() > 1000);
    }
}
