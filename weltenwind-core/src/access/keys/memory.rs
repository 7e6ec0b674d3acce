//! API keys in memory: the executable reading of [`ApiKeyStore`].

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;

use super::{
    model::{ApiKey, ApiKeyQuery, NewApiKey},
    store::ApiKeyStore,
};
use crate::{
    access::AccessError,
    clock::Timestamp,
    error::StorageError,
    ids::ApiKeyId,
    page::Page,
    revocations::{Loss, MemoryRevocationStore},
    step::{EffectKey, Step},
};

/// Keeps API keys until the process ends.
#[derive(Debug, Default)]
pub struct MemoryApiKeyStore {
    state: Mutex<State>,
    /// Where losses are logged, if anywhere.
    log: Option<Arc<MemoryRevocationStore>>,
}

#[derive(Debug, Default)]
struct State {
    keys: BTreeMap<ApiKeyId, ApiKey>,
    /// The steps that have had their effect, with the key that answers a repeat.
    effects: HashMap<EffectKey, ApiKey>,
}

impl State {
    fn effect_of(&self, step: &Step) -> Option<ApiKey> {
        self.effects.get(step.effect_key.as_ref()?).cloned()
    }

    fn finish(&mut self, step: &Step, key: &ApiKey) {
        if let Some(effect) = &step.effect_key {
            self.effects.insert(effect.clone(), key.clone());
        }
    }
}

impl MemoryApiKeyStore {
    /// Keeps API keys, and logs losses in `log`.
    pub fn logging(log: Arc<MemoryRevocationStore>) -> Self {
        Self { log: Some(log), ..Self::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps of an instant what databases keep of it.
fn cut(instant: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(instant.as_microsecond()).expect("an instant in whole microseconds stays in range")
}

#[async_trait]
impl ApiKeyStore for MemoryApiKeyStore {
    async fn create(&self, step: &Step, new: &NewApiKey) -> Result<ApiKey, AccessError> {
        let mut state = self.lock();
        if let Some(made) = state.effect_of(step) {
            return Ok(made);
        }
        let NewApiKey { id, hash, name, scope, permissions, rank, expires_at } = new.clone();
        let (created_by, created_at, expires_at) = (step.actor, cut(step.at), expires_at.map(cut));
        let key =
            ApiKey { id, hash, name, scope, permissions, rank, created_by, created_at, expires_at, last_used_at: None };
        state.keys.insert(id, key.clone());
        state.finish(step, &key);
        Ok(key)
    }

    async fn find(&self, id: ApiKeyId) -> Result<Option<ApiKey>, StorageError> {
        Ok(self.lock().keys.get(&id).cloned())
    }

    async fn page(&self, query: &ApiKeyQuery) -> Result<Page<ApiKey>, StorageError> {
        let state = self.lock();
        let wanted = state.keys.values().filter(|key| {
            query.scope.is_none_or(|scope| key.scope == scope) && query.after.is_none_or(|after| key.id > after)
        });
        Ok(Page::from_probe(wanted.take(query.limit.get() + 1).cloned().collect(), query.limit))
    }

    async fn delete(&self, step: &Step, id: ApiKeyId) -> Result<ApiKey, AccessError> {
        let mut state = self.lock();
        if let Some(deleted) = state.effect_of(step) {
            return Ok(deleted);
        }
        let key = state.keys.remove(&id).ok_or(AccessError::KeyNotFound)?;
        if let Some(log) = &self.log {
            log.append([Loss::of_key(id)], step.at);
        }
        state.finish(step, &key);
        Ok(key)
    }

    async fn used(&self, id: ApiKeyId, at: Timestamp) -> Result<(), StorageError> {
        if let Some(key) = self.lock().keys.get_mut(&id) {
            key.last_used_at = key.last_used_at.max(Some(cut(at)));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixture() -> impl Future<Output = ((), Arc<dyn ApiKeyStore>)> {
        let store: Arc<dyn ApiKeyStore> = Arc::new(MemoryApiKeyStore::default());
        std::future::ready(((), store))
    }

    crate::api_key_store_conformance!(fixture());
}
