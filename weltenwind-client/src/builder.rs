//! How a client is set up.

use std::{sync::Arc, time::Duration};

use reqwest::Url;

use crate::{
    cache::EtagCache,
    client::{Client, Device, Inner},
    error::ClientError,
    retry::RetryPolicy,
    session::Session,
};

const MIB: u64 = 1024 * 1024;

/// Sets a [`Client`] up; see [`Client::builder`].
#[derive(Debug)]
pub struct ClientBuilder {
    address: String,
    transport: reqwest::ClientBuilder,
    user_agent: String,
    connect_timeout: Duration,
    timeout: Duration,
    retry: RetryPolicy,
    cache_bytes: u64,
    device: Option<Device>,
}

impl ClientBuilder {
    pub(crate) fn new(address: &str) -> Self {
        Self {
            address: address.to_owned(),
            transport: reqwest::Client::builder(),
            user_agent: concat!("weltenwind-client/", env!("CARGO_PKG_VERSION")).to_owned(),
            connect_timeout: Duration::from_secs(5),
            timeout: Duration::from_secs(30),
            retry: RetryPolicy::default(),
            cache_bytes: 8 * MIB,
            device: None,
        }
    }

    /// What the program calls itself in the header `User-Agent`: `my-bot/1.2`.
    #[must_use]
    pub fn user_agent(mut self, name: impl Into<String>) -> Self {
        self.user_agent = name.into();
        self
    }

    /// How long a connection may take to be made; 5 s by default.
    #[must_use]
    pub const fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How long one attempt of a call may take; 30 s by default, as long as a server works on it.
    #[must_use]
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How calls are tried again.
    #[must_use]
    pub const fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = policy;
        self
    }

    /// How many bytes of answers are remembered under their ETags; 8 MiB by default, 0 for none.
    #[must_use]
    pub const fn cache_bytes(mut self, bytes: u64) -> Self {
        self.cache_bytes = bytes;
        self
    }

    /// What the device is called that signs in, and what it is recognised by next time; neither needs to be given.
    #[must_use]
    pub fn device(mut self, name: Option<String>, fingerprint: Option<String>) -> Self {
        self.device = Some(Device { name, fingerprint });
        self
    }

    /// Takes an HTTP client's settings from the program: roots of a certificate authority of one's own, a proxy. They hold
    /// for calls and sockets alike.
    #[must_use]
    pub fn transport(mut self, transport: reqwest::ClientBuilder) -> Self {
        self.transport = transport;
        self
    }

    /// Makes the client. Nothing is sent yet.
    ///
    /// # Errors
    ///
    /// [`ClientError::BadAddress`], [`ClientError::Setup`].
    pub fn build(self) -> Result<Client, ClientError> {
        let base = Url::parse(&self.address).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let Some(mut base) = base.filter(Url::has_host) else { return Err(ClientError::BadAddress(self.address)) };
        base.set_query(None);
        base.set_fragment(None);
        // Sockets are upgraded from HTTP/1.1, and calls share their connections' settings.
        let http =
            self.transport.user_agent(self.user_agent).connect_timeout(self.connect_timeout).http1_only().build();
        Ok(Client {
            limit: None,
            inner: Arc::new(Inner {
                http: http.map_err(|error| ClientError::Setup(Box::new(error)))?,
                base,
                timeout: self.timeout,
                retry: self.retry,
                cache: EtagCache::new(self.cache_bytes),
                session: Session::default(),
                device: self.device,
            }),
        })
    }
}
