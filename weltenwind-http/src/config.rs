//! How the host listens and whom it believes.

use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use weltenwind_core::AllowedOrigins;

/// How the host listens and whom it believes.
///
/// ```
/// use weltenwind_http::HttpConfig;
///
/// let config = HttpConfig { trusted_proxies: vec!["10.0.0.0/8".parse()?], ..HttpConfig::default() };
/// assert_eq!(config.max_body_bytes, 64 * 1024);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpConfig {
    /// The address to listen on, for whoever binds the listener: `127.0.0.1:8080`.
    pub listen: String,
    /// Where people reach this installation: `https://wind.example`. Cookies are `Secure` if it begins with `https`.
    ///
    /// Not a key of this section: sockets and tokens need it too, so it belongs to the whole installation.
    #[serde(skip)]
    pub public_url: String,
    /// Networks whose `X-Forwarded-For` and `X-Request-Id` are believed; none by default.
    ///
    /// Not a key of this section, for the same reason.
    #[serde(skip)]
    pub trusted_proxies: Vec<IpNet>,
    /// Origins whose pages may call the API and open sockets, and sign in with cookies where they are this server's own;
    /// empty means that of `public_url` and, if that is the machine itself, its other names.
    pub allowed_origins: Vec<String>,
    /// How long a request may take from its head to its answer, in seconds, at least 1; then it is answered 503
    /// `timed-out` or, if it is the body that does not come, 408 `body-too-slow`.
    pub request_timeout_seconds: u64,
    /// How long the head of a request may take, in seconds, at least 1, and how long an idle connection is kept; then it
    /// is closed.
    pub header_timeout_seconds: u64,
    /// How long running requests may take once the server stops, in seconds; with the sockets' own time, a stop should fit
    /// into the half minute that most supervisors grant.
    pub drain_seconds: u64,
    /// The largest body, in bytes; a larger one is answered 413 `payload-too-large`.
    pub max_body_bytes: usize,
    /// The largest head, in bytes; a larger one is answered 431 `headers-too-large`.
    pub max_header_bytes: usize,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:8080".to_owned(),
            public_url: "http://127.0.0.1:8080".to_owned(),
            trusted_proxies: Vec::new(),
            allowed_origins: Vec::new(),
            request_timeout_seconds: 30,
            header_timeout_seconds: 10,
            drain_seconds: 15,
            max_body_bytes: 64 * 1024,
            max_header_bytes: 16 * 1024,
        }
    }
}

impl HttpConfig {
    /// Returns the origins whose pages may sign in.
    pub(crate) fn origins(&self) -> AllowedOrigins {
        if self.allowed_origins.is_empty() {
            AllowedOrigins::of_public_url(&self.public_url)
        } else {
            AllowedOrigins::new(self.allowed_origins.iter().map(String::as_str))
        }
    }

    /// Returns whether browsers reach this installation by TLS.
    pub(crate) fn is_secure(&self) -> bool {
        self.public_url.get(..8).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https://"))
    }

    /// Returns whether the installation is for browsers on this machine alone.
    pub(crate) fn is_local(&self) -> bool {
        let host = self.public_url.split_once("://").map_or("", |(_, rest)| rest);
        ["127.0.0.1", "localhost", "[::1]"]
            .iter()
            .any(|own| host.strip_prefix(own).is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '/'])))
    }

    pub(crate) fn request_timeout(&self) -> Duration {
        Duration::from_secs(self.request_timeout_seconds.max(1))
    }

    pub(crate) fn header_timeout(&self) -> Duration {
        Duration::from_secs(self.header_timeout_seconds.max(1))
    }

    pub(crate) const fn drain(&self) -> Duration {
        Duration::from_secs(self.drain_seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_of_this_machine_is_recognised() {
        let is_local = |url: &str| HttpConfig { public_url: url.to_owned(), ..HttpConfig::default() }.is_local();

        assert!(is_local("http://127.0.0.1:8080") && is_local("http://localhost") && is_local("http://[::1]/"));
        assert!(!is_local("http://localhost.example") && !is_local("http://wind.example") && !is_local(""));
    }

    #[test]
    fn absent_keys_are_defaults_and_unknown_ones_are_refused() {
        let config: HttpConfig = serde_json::from_str(r#"{"drain_seconds": 5}"#).unwrap();

        assert_eq!(config, HttpConfig { drain_seconds: 5, ..HttpConfig::default() });
        for unknown in [r#"{"drain": 5}"#, r#"{"public_url": "http://wind.example"}"#] {
            assert!(serde_json::from_str::<HttpConfig>(unknown).is_err(), "{unknown}");
        }
    }
}
