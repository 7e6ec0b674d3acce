//! The configuration: defaults, file, environment, command line, in this order.

mod layers;
mod secrets;

use serde::{Deserialize, Serialize};
use weltenwind_core::{
    accounts::{AccountsConfig, HashingConfig},
    limits::LimitsConfig,
    outbox::WorkerConfig,
    presence::PresenceConfig,
};
use weltenwind_http::HttpConfig;
use weltenwind_storage::{MailConfig, RedisConfig, StorageConfig};
use weltenwind_ws::RealtimeConfig;

use crate::logging::LogConfig;

pub(crate) use self::layers::Layers;

/// Everything that can be configured.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    /// Where people reach this installation: links, token issuer and allowed origins come from it. Empty means the address
    /// that is listened on.
    pub(crate) public_url: String,
    /// Networks whose X-Forwarded-For and X-Request-Id are believed: `10.0.0.0/8`, `::1/128`.
    pub(crate) trusted_proxies: Vec<String>,
    pub(crate) storage: StorageConfig,
    pub(crate) redis: RedisConfig,
    pub(crate) http: HttpConfig,
    pub(crate) ops: OpsConfig,
    pub(crate) realtime: RealtimeConfig,
    pub(crate) presence: PresenceConfig,
    pub(crate) auth: AuthConfig,
    pub(crate) worlds: WorldsConfig,
    pub(crate) chat: ChatConfig,
    pub(crate) worker: WorkerSettings,
    pub(crate) mail: MailConfig,
    pub(crate) limits: LimitsConfig,
    pub(crate) log: LogConfig,
}

/// The listener for operators.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct OpsConfig {
    /// Where /livez, /readyz and /metrics are answered; empty answers them nowhere.
    pub(crate) listen: String,
}

impl Default for OpsConfig {
    fn default() -> Self {
        Self { listen: "127.0.0.1:8081".to_owned() }
    }
}

/// Sign-in.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct AuthConfig {
    /// How long an access token lives, in seconds: 60 to 3600.
    pub(crate) access_token_seconds: u64,
    /// How long a session lasts that is not refreshed, in days.
    pub(crate) session_idle_days: u32,
    /// How long a session lasts in any case, in days.
    pub(crate) session_days: u32,
    /// Whether roles with sensitive permissions ask their holders for a second factor.
    pub(crate) require_two_factor_for_staff: bool,
    /// Memory of one password hash, in KiB.
    pub(crate) hash_memory_kib: u32,
    /// Passes of one password hash.
    pub(crate) hash_passes: u32,
}

impl Default for AuthConfig {
    fn default() -> Self {
        let (accounts, hashing) = (AccountsConfig::default(), HashingConfig::default());
        Self {
            access_token_seconds: accounts.access_token_life.as_secs(),
            session_idle_days: days(accounts.session_idle),
            session_days: days(accounts.session_life),
            require_two_factor_for_staff: false,
            hash_memory_kib: hashing.memory_kib,
            hash_passes: hashing.passes,
        }
    }
}

const DAY: std::time::Duration = std::time::Duration::from_hours(24);

fn days(duration: std::time::Duration) -> u32 {
    u32::try_from(duration.as_secs() / DAY.as_secs()).expect("a default is some days")
}

impl AuthConfig {
    pub(crate) fn accounts(&self) -> AccountsConfig {
        AccountsConfig {
            access_token_life: std::time::Duration::from_secs(self.access_token_seconds),
            session_idle: DAY * self.session_idle_days,
            session_life: DAY * self.session_days,
            hashing: HashingConfig {
                memory_kib: self.hash_memory_kib,
                passes: self.hash_passes,
                ..HashingConfig::default()
            },
            ..AccountsConfig::default()
        }
    }
}

/// Worlds.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct WorldsConfig {
    /// Whether every registered player may make a world.
    pub(crate) players_may_create: bool,
}

/// Chat.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ChatConfig {
    /// Batches of messages that may be under way at once; on SQLite there is one.
    pub(crate) lanes: usize,
}

impl Default for ChatConfig {
    fn default() -> Self {
        Self { lanes: 1 }
    }
}

/// Jobs.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct WorkerSettings {
    /// Whether a process that serves also does jobs. If not, `weltenwind worker` must run beside it.
    pub(crate) in_serve: bool,
    /// How often a worker that is not told looks for jobs, in milliseconds.
    pub(crate) poll_ms: u64,
    /// How often jobs of dead workers are taken back, in milliseconds.
    pub(crate) sweep_ms: u64,
    /// How long jobs that are under way may take once the process is told to stop, in seconds.
    pub(crate) drain_seconds: u64,
}

impl Default for WorkerSettings {
    fn default() -> Self {
        let WorkerConfig { poll_ms, sweep_ms, drain_seconds } = WorkerConfig::default();
        Self { in_serve: true, poll_ms, sweep_ms, drain_seconds }
    }
}

impl WorkerSettings {
    pub(crate) const fn worker(&self) -> WorkerConfig {
        let &Self { in_serve: _, poll_ms, sweep_ms, drain_seconds } = self;
        WorkerConfig { poll_ms, sweep_ms, drain_seconds }
    }
}

impl Config {
    /// Returns where people reach this installation, if the listener's address is the configured one.
    pub(crate) fn public_url(&self) -> String {
        self.public_url_at(&self.http.listen)
    }

    /// Returns where people reach this installation when it listens on `address`.
    pub(crate) fn public_url_at(&self, address: &str) -> String {
        if !self.public_url.is_empty() {
            return self.public_url.trim_end_matches('/').to_owned();
        }
        // Every address of the machine is no address to open; its own is.
        let reachable = address.replace("0.0.0.0:", "127.0.0.1:").replace("[::]:", "[::1]:");
        format!("http://{reachable}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_url_is_guessed_from_the_address() {
        let config = Config::default();

        assert_eq!(config.public_url_at("0.0.0.0:9000"), "http://127.0.0.1:9000");
        assert_eq!(config.public_url_at("192.168.1.5:80"), "http://192.168.1.5:80");
        let named = Config { public_url: "https://wind.example/".to_owned(), ..config };
        assert_eq!(named.public_url_at("0.0.0.0:9000"), "https://wind.example");
    }
}
