//! Rate limits that all nodes share.
//!
//! A bucket is one key: when it is full again, in Redis' own time. One script reads and moves it, so a decision is one round
//! trip and nobody comes between. The key is gone once the bucket is full. Its name is hash-tagged as a whole, so a cluster
//! spreads buckets over its shards.

use std::{
    fmt,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use redis::{AsyncConnectionConfig, Client, RedisError, RedisResult, Script, aio::MultiplexedConnection};
use tokio::{sync::Notify, task::AbortHandle};
use weltenwind_core::{
    Clock, chain,
    limits::{Bucket, MemoryRateLimiter, Quota, RateLimiter, Verdict},
};

use super::{
    config::{RedisConfig, RedisConfigError},
    link::with_jitter,
};

/// How long a caller waits for a decision; then the node decides alone, until Redis answers within this again.
const PATIENCE: Duration = Duration::from_millis(100);
/// How long connecting may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Answers how long a bucket took to be full before the call, in microseconds, and moves it if the call passes. The same
/// arithmetic as [`Quota::take`]; microseconds since 1970 are exact in a double until the year 2255.
const TAKE: &str = "
local key, interval, span, takes = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3] == '1'
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local ahead = math.max(tonumber(redis.call('GET', key) or now) - now, 0)
local debt = math.min(ahead, span)
if takes then
    local after = debt
    if debt + interval <= span then after = debt + interval end
    if after ~= ahead then
        redis.call('SET', key, string.format('%.0f', now + after), 'PX', math.ceil(after / 1000))
    end
end
return debt
";

/// Counts calls for all nodes in one Redis 7 or newer.
///
/// While Redis is away, or takes longer than a tenth of a second, each node decides by what it has seen itself, and counts
/// that ([`RateLimiter::fallbacks`]): callers notice nothing, and get at most one quota a node. A new connection is tried
/// until one answers. Dropping the limiter ends it.
#[derive(Debug)]
pub struct RedisRateLimiter {
    shared: Arc<Shared>,
    keeper: AbortHandle,
}

struct Shared {
    client: Client,
    script: Script,
    prefix: String,
    local: MemoryRateLimiter,
    link: RwLock<Link>,
    lost: Notify,
    fallbacks: AtomicU64,
}

/// The connection of the moment, and how many there were: a failure of an older one says nothing about this one.
#[derive(Clone, Default)]
struct Link {
    redis: Option<MultiplexedConnection>,
    number: u64,
}

/// Why Redis has not decided.
#[derive(Debug, thiserror::Error)]
enum Undecided {
    #[error(transparent)]
    Redis(#[from] RedisError),
    #[error("no answer within {PATIENCE:?}")]
    Late,
}

impl RedisRateLimiter {
    /// Begins to connect, and does not wait for it; until then the node decides alone, by `clock`. Must be called inside a
    /// Tokio runtime, and for `rediss://` with a default crypto provider of rustls installed.
    ///
    /// # Errors
    ///
    /// What is wrong with the configuration.
    pub fn connect(config: &RedisConfig, clock: Arc<dyn Clock>) -> Result<Self, RedisConfigError> {
        let shared = Arc::new(Shared {
            client: config.client()?,
            script: Script::new(TAKE),
            prefix: config.key_prefix.clone(),
            local: MemoryRateLimiter::new(clock),
            link: RwLock::default(),
            lost: Notify::new(),
            fallbacks: AtomicU64::new(0),
        });
        let keeper = tokio::spawn(Arc::clone(&shared).keep_connected()).abort_handle();
        Ok(Self { shared, keeper })
    }

    /// Returns whether decisions are shared with other nodes, as far as is known without asking.
    pub fn is_shared(&self) -> bool {
        self.shared.link().redis.is_some()
    }
}

impl Drop for RedisRateLimiter {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fallbacks = self.fallbacks.load(Ordering::Relaxed);
        f.debug_struct("Shared").field("prefix", &self.prefix).field("fallbacks", &fallbacks).finish_non_exhaustive()
    }
}

impl Shared {
    fn link(&self) -> Link {
        self.link.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Asks Redis; none if this node has to decide alone.
    async fn debt(&self, bucket: &Bucket, takes: bool) -> Option<u64> {
        let Link { redis, number } = self.link();
        let mut redis = redis?;
        let name = format!("{}:limit:{{{bucket}}}", self.prefix);
        match in_time(self.ask(&mut redis, &name, bucket.quota, takes)).await {
            Ok(debt) => Some(debt),
            Err(why) => {
                self.go_down(number, &why);
                None
            }
        }
    }

    async fn ask(&self, redis: &mut MultiplexedConnection, name: &str, quota: Quota, takes: bool) -> RedisResult<u64> {
        let span = u64::try_from(quota.window().as_micros()).unwrap_or(u64::MAX);
        let mut call = self.script.key(name);
        call.arg(quota.interval_micros()).arg(span).arg(u8::from(takes));
        call.invoke_async(redis).await
    }

    fn fall_back(&self) -> &MemoryRateLimiter {
        self.fallbacks.fetch_add(1, Ordering::Relaxed);
        &self.local
    }

    /// Gives a connection up, if it is still the one in use.
    fn go_down(&self, number: u64, why: &Undecided) {
        let mut link = self.link.write().unwrap_or_else(PoisonError::into_inner);
        if link.number == number && link.redis.take().is_some() {
            tracing::warn!(
                error = chain(why),
                "rate limits are not shared: every node counts alone until Redis is back"
            );
            self.lost.notify_one();
        }
    }

    fn come_up(&self, redis: MultiplexedConnection) {
        let mut link = self.link.write().unwrap_or_else(PoisonError::into_inner);
        link.number += 1;
        link.redis = Some(redis);
    }

    /// Connects as often as it takes; ends by being aborted.
    async fn keep_connected(self: Arc<Self>) {
        let mut pause = FIRST_PAUSE;
        let mut is_told = false;
        loop {
            match self.connection().await {
                Ok(redis) => {
                    self.come_up(redis);
                    tracing::info!("rate limits are shared with other nodes");
                    let since = Instant::now();
                    self.lost.notified().await;
                    // It was told when it was lost. One that did not last is tried again more slowly each time.
                    is_told = true;
                    if since.elapsed() > LONGEST_PAUSE {
                        pause = FIRST_PAUSE;
                    }
                }
                Err(why) if is_told => tracing::debug!(error = chain(&why), "rate limits are still not shared"),
                Err(why) => {
                    is_told = true;
                    tracing::warn!(
                        error = chain(&why),
                        "rate limits are not shared: every node counts alone until Redis is back"
                    );
                }
            }
            tokio::time::sleep(with_jitter(pause)).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Makes a connection on which decisions come in time.
    async fn connection(&self) -> Result<MultiplexedConnection, Undecided> {
        let options = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_LIMIT))
            .set_response_timeout(Some(CONNECT_LIMIT));
        let mut redis = self.client.get_multiplexed_async_connection_with_config(&options).await?;
        // What callers will do, and not merely a sign of life: a replica that refuses to write answers those too. The first
        // time brings the script along.
        let (name, quota) =
            (format!("{}:limit:{{probe}}", self.prefix), Quota::per(1, weltenwind_core::limits::Unit::Second));
        self.ask(&mut redis, &name, quota, true).await?;
        in_time(self.ask(&mut redis, &name, quota, true)).await?;
        Ok(redis)
    }
}

async fn in_time(answer: impl Future<Output = RedisResult<u64>>) -> Result<u64, Undecided> {
    Ok(tokio::time::timeout(PATIENCE, answer).await.map_err(|_| Undecided::Late)??)
}

#[async_trait]
impl RateLimiter for RedisRateLimiter {
    async fn take(&self, bucket: &Bucket) -> Verdict {
        match self.shared.debt(bucket, true).await {
            Some(debt) => bucket.quota.take(debt),
            None => self.shared.fall_back().take_now(bucket),
        }
    }

    async fn peek(&self, bucket: &Bucket) -> Verdict {
        match self.shared.debt(bucket, false).await {
            Some(debt) => bucket.quota.peek(debt),
            None => self.shared.fall_back().peek_now(bucket),
        }
    }

    fn fallbacks(&self) -> u64 {
        self.shared.fallbacks.load(Ordering::Relaxed)
    }
}
