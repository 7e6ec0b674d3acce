//! Grants in memory: the executable reading of [`GrantStore`].

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
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
    scope::Scope,
    step::Step,
};

/// Keeps grants until the process ends; accepts any account, and calls every member "Player".
#[derive(Debug, Default)]
pub struct MemoryGrantStore {
    grants: Mutex<BTreeMap<GrantId, Grant>>,
}

impl MemoryGrantStore {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<GrantId, Grant>> {
        self.grants.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
        let grants = self.lock();
        Ok(grants.values().filter(|grant| grant.account == account && grant.holds_at(at)).cloned().collect())
    }

    async fn page(&self, query: &GrantQuery) -> Result<Page<Grant>, StorageError> {
        let grants = self.lock();
        let wanted = grants.values().filter(|grant| {
            query.account.is_none_or(|account| grant.account == account)
                && query.scope.is_none_or(|scope| grant.scope == scope)
                && query.after.is_none_or(|after| grant.id > after)
        });
        Ok(Page::from_probe(wanted.take(query.limit.get() + 1).cloned().collect(), query.limit))
    }

    async fn grant(&self, step: &Step, new: &NewGrant) -> Result<Grant, AccessError> {
        let mut grants = self.lock();
        let held = grants
            .values_mut()
            .find(|grant| (grant.account, grant.role, grant.scope) == (new.account, new.role, new.scope));
        if let Some(grant) = held {
            grant.expires_at = new.expires_at;
            grant.reason.clone_from(&new.reason);
            return Ok(grant.clone());
        }
        let grant = Grant {
            id: new.id,
            account: new.account,
            role: new.role,
            scope: new.scope,
            granted_by: step.actor,
            reason: new.reason.clone(),
            expires_at: new.expires_at,
            created_at: step.at,
        };
        grants.insert(grant.id, grant.clone());
        Ok(grant)
    }

    async fn revoke(&self, _step: &Step, id: GrantId) -> Result<Grant, AccessError> {
        let mut grants = self.lock();
        let grant = grants.get(&id).ok_or(AccessError::GrantNotFound)?;
        if strands(&grants, &[grant]) {
            return Err(AccessError::LastOwner);
        }
        grants.remove(&id).ok_or(AccessError::GrantNotFound)
    }

    async fn revoke_all(&self, _step: &Step, account: AccountId, scope: Scope) -> Result<(), AccessError> {
        let mut grants = self.lock();
        let leaving: Vec<&Grant> =
            grants.values().filter(|grant| grant.account == account && grant.scope == scope).collect();
        if leaving.is_empty() {
            return Err(AccessError::MemberNotFound);
        }
        if strands(&grants, &leaving) {
            return Err(AccessError::LastOwner);
        }
        grants.retain(|_, grant| grant.account != account || grant.scope != scope);
        Ok(())
    }

    async fn members(&self, query: &MemberQuery) -> Result<Page<Member>, StorageError> {
        let grants = self.lock();
        let mut members: BTreeMap<AccountId, Member> = BTreeMap::new();
        let here = |grant: &&Grant| grant.scope == Scope::World(query.world) && grant.holds_at(query.at);
        for grant in grants.values().filter(here).filter(|grant| query.after.is_none_or(|after| grant.account > after)) {
            let member = members.entry(grant.account).or_insert_with(|| Member {
                account: grant.account,
                display_name: DisplayName::from_stored("Player".to_owned()),
                roles: Vec::new(),
                since: grant.created_at,
            });
            member.roles.push(grant.role);
            member.roles.sort_by_key(|role| std::cmp::Reverse(role.rank()));
            member.since = member.since.min(grant.created_at);
        }
        Ok(Page::from_probe(members.into_values().take(query.limit.get() + 1).collect(), query.limit))
    }
}
