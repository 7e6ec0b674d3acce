//! What was read before, under its ETag.

use std::sync::Arc;

use bytes::Bytes;
use moka::sync::Cache;
use reqwest::{Url, header::HeaderValue};

/// What an entry costs beside its address and its body.
const OVERHEAD: usize = 256;

/// Answers that a 304 stands for. The longest unused go first when their bytes pass the bound.
#[derive(Debug)]
pub(crate) struct EtagCache {
    entries: Option<Cache<Key, Arc<Entry>>>,
}

/// An address as one sign-in sees it: two accounts may get the same tag for different bodies.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) sign_in: u64,
    pub(crate) url: Url,
}

#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) etag: HeaderValue,
    pub(crate) body: Bytes,
}

impl EtagCache {
    /// A cache of so many bytes; none at all with 0.
    pub(crate) fn new(bytes: u64) -> Self {
        let weigh = |key: &Key, entry: &Arc<Entry>| {
            u32::try_from(OVERHEAD + key.url.as_str().len() + entry.body.len()).unwrap_or(u32::MAX)
        };
        let entries = (bytes > 0).then(|| {
            let builder = Cache::builder().max_capacity(bytes).weigher(weigh);
            builder.eviction_policy(moka::policy::EvictionPolicy::lru()).build()
        });
        Self { entries }
    }

    pub(crate) fn find(&self, key: &Key) -> Option<Arc<Entry>> {
        self.entries.as_ref()?.get(key)
    }

    pub(crate) fn keep(&self, key: Key, etag: HeaderValue, body: Bytes) {
        if let Some(entries) = &self.entries {
            entries.insert(key, Arc::new(Entry { etag, body }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(sign_in: u64, n: usize) -> Key {
        Key { sign_in, url: format!("http://wind.test/{n}").parse().unwrap() }
    }

    #[test]
    fn the_cache_stays_within_its_bytes() {
        let cache = EtagCache::new(64 * 1024);

        for n in 0..1000 {
            cache.keep(key(0, n), HeaderValue::from_static("\"1\""), Bytes::from(vec![0; 1024]));
        }
        let entries = cache.entries.as_ref().unwrap();
        entries.run_pending_tasks();

        assert!(entries.weighted_size() <= 64 * 1024, "{}", entries.weighted_size());
        assert!(entries.entry_count() > 10);
    }

    #[test]
    fn what_one_account_read_is_not_shown_to_another() {
        let cache = EtagCache::new(64 * 1024);

        cache.keep(key(1, 7), HeaderValue::from_static("\"1\""), Bytes::from_static(b"mine"));

        assert!(cache.find(&key(1, 7)).is_some() && cache.find(&key(2, 7)).is_none());
    }

    #[test]
    fn a_cache_of_no_bytes_keeps_nothing() {
        let cache = EtagCache::new(0);

        cache.keep(key(0, 7), HeaderValue::from_static("\"1\""), Bytes::new());

        assert!(cache.find(&key(0, 7)).is_none());
    }
}
