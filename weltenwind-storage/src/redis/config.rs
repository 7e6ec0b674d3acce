//! Where Redis is.

use std::{error::Error, fmt};

use redis::{Client, ConnectionInfo, IntoConnectionInfo as _, ProtocolVersion, io::tcp::TcpSettings};
use serde::{Deserialize, Serialize};

use crate::config::redact;

/// Where Redis is, and under which names things stand there.
///
/// `Debug` does not show the URL's password; [`Serialize`] does.
///
/// ```
/// use weltenwind_storage::RedisConfig;
///
/// let config = RedisConfig { url: "rediss://:secret@cache:6379".to_owned(), ..RedisConfig::default() };
/// assert!(config.is_set() && !RedisConfig::default().is_set());
/// assert!(format!("{config:?}").contains("rediss://:[redacted]@cache:6379"));
/// ```
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RedisConfig {
    /// `redis://user:password@host:port`, `rediss://` with TLS, or `unix:///path/to/socket`; Redis 7 or newer. Nodes that
    /// share a store share it, so that messages cross between them within milliseconds. Empty is for a single node.
    pub url: String,
    /// What every name in Redis begins with, so that installations can share one: 1 to 64 of `a-z`, `0-9`, `_`, `-` and `:`.
    pub key_prefix: String,
    /// How long a partition of rooms without listeners on this node is still followed, in seconds: players come back.
    pub linger_seconds: u64,
}

impl Default for RedisConfig {
    /// None: a single node.
    fn default() -> Self {
        Self { url: String::new(), key_prefix: "ww".to_owned(), linger_seconds: 10 }
    }
}

impl fmt::Debug for RedisConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { url, key_prefix, linger_seconds } = self;
        f.debug_struct("RedisConfig")
            .field("url", &redact(url))
            .field("key_prefix", key_prefix)
            .field("linger_seconds", linger_seconds)
            .finish()
    }
}

/// Why Redis cannot be used as configured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RedisConfigError {
    /// The URL cannot be read.
    #[error("the Redis URL {url} cannot be read")]
    UrlInvalid {
        /// The URL, without its password.
        url: String,
        /// What is wrong with it.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The prefix holds what a name cannot begin with.
    #[error("the key prefix {0:?} must be 1 to 64 of a-z, 0-9, _, - and :")]
    PrefixInvalid(String),
}

impl RedisConfig {
    /// Returns whether there is a Redis at all.
    pub fn is_set(&self) -> bool {
        !self.url.is_empty()
    }

    /// Checks everything that can be checked without a connection.
    pub(super) fn client(&self) -> Result<Client, RedisConfigError> {
        // Braces would mark another part of the name as the one that is hashed.
        let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-' | b':');
        if !(1..=64).contains(&self.key_prefix.len()) || !self.key_prefix.bytes().all(fits) {
            return Err(RedisConfigError::PrefixInvalid(self.key_prefix.clone()));
        }
        connection_info(&self.url)
            .and_then(Client::open)
            .map_err(|error| RedisConfigError::UrlInvalid { url: redact(&self.url), source: error.into() })
    }
}

fn connection_info(url: &str) -> redis::RedisResult<ConnectionInfo> {
    let info = url.into_connection_info()?;
    // Version 3 of the protocol, because only there one connection publishes and listens.
    let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
    // Without delay, because a batch follows the answer to the last one.
    Ok(info.set_redis_settings(settings).set_tcp_settings(TcpSettings::default().set_nodelay(true)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_that_cannot_be_read_is_named_without_its_password() {
        for url in ["postgres://mira:secret@cache/0", "redis://:secret@cache:port"] {
            let config = RedisConfig { url: url.to_owned(), ..RedisConfig::default() };

            let error = config.client().unwrap_err();

            assert!(matches!(error, RedisConfigError::UrlInvalid { .. }), "{error}");
            assert!(!weltenwind_core::chain(&error).contains("secret"), "{error}");
        }
    }

    #[test]
    fn a_prefix_cannot_change_what_is_hashed() {
        for prefix in ["", "{ww}", "w w", &"w".repeat(65)] {
            let config = RedisConfig {
                url: "redis://cache".to_owned(),
                key_prefix: prefix.to_owned(),
                ..RedisConfig::default()
            };

            assert!(matches!(config.client(), Err(RedisConfigError::PrefixInvalid(_))), "{prefix:?}");
        }
    }

    #[test]
    fn unknown_keys_are_refused_and_absent_ones_are_defaults() {
        let config: RedisConfig = serde_json::from_str(r#"{"url": "redis://cache"}"#).unwrap();

        assert_eq!(config, RedisConfig { url: "redis://cache".to_owned(), ..RedisConfig::default() });
        assert!(serde_json::from_str::<RedisConfig>(r#"{"uri": "redis://cache"}"#).is_err());
    }
}
