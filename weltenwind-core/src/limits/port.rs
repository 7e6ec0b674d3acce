use std::fmt::Debug;

use async_trait::async_trait;

use super::{key::Bucket, quota::Verdict};

/// Counts calls, on this node or for all of them.
///
/// Nothing here fails and nothing waits for long: a limiter that cannot reach what it shares with other nodes decides by
/// what it knows itself, and counts that.
#[async_trait]
pub trait RateLimiter: Debug + Send + Sync + 'static {
    /// Takes one call out of a bucket, or says when one may be taken; a refusal takes nothing.
    ///
    /// Calls at the same time, also on other nodes, never take more than there is. A bucket that was never taken from is
    /// full. A bucket is bound by the quota it is asked with: after a change of the configuration by the new one.
    async fn take(&self, bucket: &Bucket) -> Verdict;

    /// Tells what [`take`](Self::take) would say now, before it takes: what remains includes the call that is asked about.
    async fn peek(&self, bucket: &Bucket) -> Verdict;

    /// Returns how many decisions were made by what this node knew alone, because what it shares was away or too slow. A
    /// limiter that shares nothing counts nothing.
    fn fallbacks(&self) -> u64 {
        0
    }
}
