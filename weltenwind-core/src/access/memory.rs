//! Grants in memory: the executable reading of [`GrantStore`].

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;

use super::{
    error::AccessError,
    model::{Grant, GrantQuery, Member, MemberQuery, NewGrant},
    store::GrantStore,
};
use crate::{
    accounts::DisplayName,
    clock::Timestamp,
    error::StorageError,
    ids::{AccountId, GrantId},
    page::Page,
    revocations::{Loss, Lost, MemoryRevocationStore},
    scope::Scope,
    step::{EffectKey, Step},
};

/// Keeps grants until the process ends; accepts any account, and calls every member "Player".
#[derive(Debug, Default)]
pub struct MemoryGrantStore {
    state: Mutex<State>,
    /// Where losses are logged, if anywhere.
    log: Option<Arc<MemoryRevocationStore>>,
}

#[derive(Debug, Default)]
struct State {
    grants: BTreeMap<GrantId, Grant>,
    /// The steps that have had their effect, with the grant that answers a repeat.
    effects: HashMap<EffectKey, Option<Grant>>,
}

impl State {
    fn effect_of(&self, step: &Step) -> Option<&Option<Grant>> {
        self.effects.get(step.effect_key.as_ref()?)
    }

    fn finish(&mut self, step: &Step, made: Option<&Grant>) {
        if let Some(key) = &step.effect_key {
            self.effects.insert(key.clone(), made.cloned());
        }
    }
}

impl MemoryGrantStore {
    /// Keeps grants, and logs losses in `log`.
    pub fn logging(log: Arc<MemoryRevocationStore>) -> Self {
        Self { log: Some(log), ..Self::default() }
    }

    /// Logs that an account has lost a role in a scope; under the lock of the grants, so that the log keeps their order.
    fn log(&self, account: AccountId, scope: Scope, step: &Step) {
        if let Some(log) = &self.log {
            log.append([Loss::of(account, Lost::Rights(scope))], step.at);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps of an instant what databases keep of it.
fn cut(instant: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(instant.as_microsecond()).expect("an instant in whole microseconds stays in range")
}

/// Returns whether taking `leaving` away would leave their scope without a lasting owner.
fn strands(grants: &BTreeMap<GrantId, Grant>, leaving: &[&Grant]) -> bool {
    leaving.iter().any(|gone| {
        let owns = |grant: &&Grant| grant.role == gone.role && grant.scope == gone.scope && grant.expires_at.is_none();
        gone.role.is_owner()
            && gone.expires_at.is_none()
            && !grants.values().filter(owns).any(|grant| leaving.iter().all(|gone| gone.id != grant.id))
    })
}

#[async_trait]
impl GrantStore for MemoryGrantStore {
    async fn of(&self, account: AccountId, at: Timestamp) -> Result<Vec<Grant>, StorageError> {
        let state = self.lock();
        Ok(state.grants.values().filter(|grant| grant.account == account && grant.holds_at(at)).cloned().collect())
    }

    async fn find(&self, id: GrantId) -> Result<Option<Grant>, StorageError> {
        Ok(self.lock().grants.get(&id).cloned())
    }

    async fn page(&self, query: &GrantQuery) -> Result<Page<Grant>, StorageError> {
        let state = self.lock();
        let wanted = state.grants.values().filter(|grant| {
            query.account.is_none_or(|account| grant.account == account)
                && query.scope.is_none_or(|scope| grant.scope == scope)
                && query.after.is_none_or(|after| grant.id > after)
        });
        Ok(Page::from_probe(wanted.take(query.limit.get() + 1).cloned().collect(), query.limit))
    }

    async fn grant(&self, step: &Step, new: &NewGrant) -> Result<Grant, AccessError> {
        let mut state = self.lock();
        if let Some(Some(made)) = state.effect_of(step) {
            return Ok(made.clone());
        }
        let held = |grant: &&Grant| (grant.account, grant.role, grant.scope) == (new.account, new.role, new.scope);
        let first = state.grants.values().find(held).cloned();
        if let Some(lasting) = first.as_ref().filter(|_| new.expires_at.is_some())
            && strands(&state.grants, &[lasting])
        {
            return Err(AccessError::LastOwner);
        }
        let before = first.clone();
        let grant = Grant {
            reason: new.reason.clone(),
            expires_at: new.expires_at.map(cut),
            ..first.unwrap_or_else(|| Grant {
                id: new.id,
                account: new.account,
                role: new.role,
                scope: new.scope,
                granted_by: step.actor,
                reason: None,
                expires_at: None,
                created_at: cut(step.at),
            })
        };
        state.grants.insert(grant.id, grant.clone());
        if before.is_some_and(|before| grant.ends_sooner_than(&before)) {
            self.log(grant.account, grant.scope, step);
        }
        state.finish(step, Some(&grant));
        Ok(grant)
    }

    async fn revoke(&self, step: &Step, id: GrantId) -> Result<Grant, AccessError> {
        let mut state = self.lock();
        if let Some(Some(taken)) = state.effect_of(step) {
            return Ok(taken.clone());
        }
        let grant = state.grants.get(&id).ok_or(AccessError::GrantNotFound)?;
        if strands(&state.grants, &[grant]) {
            return Err(AccessError::LastOwner);
        }
        let grant = state.grants.remove(&id).ok_or(AccessError::GrantNotFound)?;
        self.log(grant.account, grant.scope, step);
        state.finish(step, Some(&grant));
        Ok(grant)
    }

    async fn revoke_all(&self, step: &Step, account: AccountId, scope: Scope) -> Result<(), AccessError> {
        let mut state = self.lock();
        if state.effect_of(step).is_some() {
            return Ok(());
        }
        let leaving: Vec<&Grant> =
            state.grants.values().filter(|grant| grant.account == account && grant.scope == scope).collect();
        if leaving.is_empty() {
            return Err(AccessError::MemberNotFound);
        }
        if strands(&state.grants, &leaving) {
            return Err(AccessError::LastOwner);
        }
        state.grants.retain(|_, grant| grant.account != account || grant.scope != scope);
        self.log(account, scope, step);
        state.finish(step, None);
        Ok(())
    }

    async fn members(&self, query: &MemberQuery) -> Result<Page<Member>, StorageError> {
        let state = self.lock();
        let mut members: BTreeMap<AccountId, Member> = BTreeMap::new();
        let here = |grant: &&Grant| {
            grant.scope == Scope::World(query.world)
                && grant.holds_at(query.at)
                && query.after.is_none_or(|after| grant.account > after)
        };
        for grant in state.grants.values().filter(here) {
            let member = members.entry(grant.account).or_insert_with(|| Member {
                account: grant.account,
                display_name: DisplayName::from_stored("Player".to_owned()),
                roles: Vec::new(),
                since: grant.created_at,
            });
            member.roles.push(grant.role);
            member.roles.sort_by_key(|role| Reverse(role.rank()));
            member.since = member.since.min(grant.created_at);
        }
        Ok(Page::from_probe(members.into_values().take(query.limit.get() + 1).collect(), query.limit))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::access::{MemoryGrantStore, conformance::Ports};

    fn fixture() -> impl Future<Output = ((), Ports)> {
        std::future::ready(((), Ports { grants: Arc::new(MemoryGrantStore::default()), accounts: None }))
    }

    crate::grant_store_conformance!(fixture());
}
