//! Where the store is, and how much of it is used at once.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Where the store is, and how much of it is used at once.
///
/// `Debug` does not show the URL's password; [`Serialize`] does.
///
/// ```
/// use weltenwind_storage::StorageConfig;
///
/// let config = StorageConfig { url: "postgres://mira:secret@db/weltenwind".to_owned(), ..StorageConfig::default() };
/// assert!(format!("{config:?}").contains("postgres://mira:[redacted]@db/weltenwind"));
/// ```
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StorageConfig {
    /// `sqlite://` and a path, relative to the working directory unless it begins with a slash; or
    /// `postgres://user:password@host:port/database`.
    pub url: String,
    /// Whether [`open`](crate::open) brings the schema up to date. If not, it refuses an old one.
    pub migrate_on_start: bool,
    /// Postgres: how many connections are open at most.
    pub max_connections: u32,
    /// Postgres: how long a step waits for a connection, in seconds.
    pub acquire_timeout_seconds: u64,
    /// SQLite: how many connections read; one more writes.
    pub readers: u32,
    /// SQLite: how many steps of each class, interactive and background, may wait to be written.
    pub write_queue: usize,
    /// SQLite: how long a step waits while another process writes to the file, in milliseconds.
    pub busy_timeout_ms: u64,
}

impl Default for StorageConfig {
    /// A file `weltenwind.db` in the working directory.
    fn default() -> Self {
        Self {
            url: "sqlite://weltenwind.db".to_owned(),
            migrate_on_start: true,
            max_connections: 16,
            acquire_timeout_seconds: 5,
            readers: 4,
            write_queue: 1024,
            busy_timeout_ms: 5000,
        }
    }
}

impl StorageConfig {
    /// Returns the URL's scheme.
    pub(crate) fn scheme(&self) -> &str {
        self.url.split_once(':').map_or("", |(scheme, _)| scheme)
    }

    /// Returns the URL without its password.
    pub(crate) fn redacted_url(&self) -> String {
        redact(&self.url)
    }
}

impl fmt::Debug for StorageConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            url: _,
            migrate_on_start,
            max_connections,
            acquire_timeout_seconds,
            readers,
            write_queue,
            busy_timeout_ms,
        } = self;
        f.debug_struct("StorageConfig")
            .field("url", &self.redacted_url())
            .field("migrate_on_start", migrate_on_start)
            .field("max_connections", max_connections)
            .field("acquire_timeout_seconds", acquire_timeout_seconds)
            .field("readers", readers)
            .field("write_queue", write_queue)
            .field("busy_timeout_ms", busy_timeout_ms)
            .finish()
    }
}

const REDACTED: &str = "[redacted]";

/// Hides the passwords of a URL, also of one that no parser would take: it may be the very one that is complained about.
///
/// ```
/// assert_eq!(weltenwind_storage::redact("postgres://mira:secret@db/ww"), "postgres://mira:[redacted]@db/ww");
/// ```
pub fn redact(url: &str) -> String {
    let (address, query) = url.split_once('?').map_or((url, None), |(address, query)| (address, Some(query)));
    let mut redacted = match address.split_once("://").and_then(|(scheme, rest)| Some((scheme, rest.rsplit_once('@')?)))
    {
        Some((scheme, (user, host))) => match user.split_once(':') {
            Some((name, _)) => format!("{scheme}://{name}:{REDACTED}@{host}"),
            None => address.to_owned(),
        },
        None => address.to_owned(),
    };
    if let Some(query) = query {
        let pairs = query.split('&').map(|pair| match pair.split_once('=') {
            Some((name, _)) if name.contains("pass") => format!("{name}={REDACTED}"),
            _ => pair.to_owned(),
        });
        redacted.push('?');
        redacted.push_str(&pairs.collect::<Vec<_>>().join("&"));
    }
    redacted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_spelling_of_a_url_shows_its_password() {
        for (url, shown) in [
            ("postgres://mira:secret@db/ww", "postgres://mira:[redacted]@db/ww"),
            ("postgres://mira:s:e/c@ret@db:5432/ww", "postgres://mira:[redacted]@db:5432/ww"),
            ("postgres://db/ww?user=mira&password=secret", "postgres://db/ww?user=mira&password=[redacted]"),
            ("postgres://mira@db/ww?sslmode=require", "postgres://mira@db/ww?sslmode=require"),
            ("rediss://:secret@cache:6379/0", "rediss://:[redacted]@cache:6379/0"),
            ("unix:///run/redis.sock?pass=secret&user=ww", "unix:///run/redis.sock?pass=[redacted]&user=ww"),
            ("sqlite:///srv/ww@home:1.db", "sqlite:///srv/ww@home:1.db"),
            ("sqlite://weltenwind.db", "sqlite://weltenwind.db"),
        ] {
            assert_eq!(redact(url), shown);
        }
    }

    #[test]
    fn unknown_keys_are_refused_and_absent_ones_are_defaults() {
        let config: StorageConfig = serde_json::from_str(r#"{"url": "sqlite://other.db"}"#).unwrap();

        assert_eq!(config, StorageConfig { url: "sqlite://other.db".to_owned(), ..StorageConfig::default() });
        assert!(serde_json::from_str::<StorageConfig>(r#"{"uri": "sqlite://other.db"}"#).is_err());
    }
}
