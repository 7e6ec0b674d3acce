//! The client: an address, a session, and a way to ask.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use reqwest::{Method, Url};
use serde::Serialize;
use weltenwind_core::wire::{SessionBody, UserBody};

use crate::{
    builder::ClientBuilder,
    cache::EtagCache,
    call::{Answer, Call, Until},
    error::ClientError,
    retry::{Repeat, RetryPolicy},
    session::{Session, Tokens},
};

/// A connection to one Weltenwind server, over HTTP.
///
/// Clones share everything: connections, the session, and what was read before. Reads that have not changed cost an
/// answer without a body; the access token is renewed before it expires; calls that can be repeated without harm are tried
/// again when the server is away.
///
/// ```no_run
/// # async fn talk() -> Result<(), weltenwind_client::ClientError> {
/// use weltenwind_client::{Client, Draft};
///
/// let client = Client::new("https://wind.example")?;
/// client.guest("Mira").await?;
/// let lobby = client.find_channel("welcome", "general").await?.expect("the channel is open");
/// client.post(&Draft::new(lobby.id, "anybody there?")).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Client {
    pub(crate) inner: Arc<Inner>,
    /// How long one call may take in all.
    pub(crate) limit: Option<Duration>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) http: reqwest::Client,
    pub(crate) base: Url,
    pub(crate) timeout: Duration,
    pub(crate) retry: RetryPolicy,
    pub(crate) cache: EtagCache,
    pub(crate) session: Session,
    pub(crate) device: Option<Device>,
}

/// What a sign-in says of where it comes from.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Device {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) fingerprint: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Refresh<'a> {
    refresh_token: &'a str,
}

impl Client {
    /// A client of the server at an address, `https://wind.example`, with everything else by default.
    ///
    /// # Errors
    ///
    /// [`ClientError::BadAddress`].
    pub fn new(address: &str) -> Result<Self, ClientError> {
        Self::builder(address).build()
    }

    /// Sets a client up.
    pub fn builder(address: &str) -> ClientBuilder {
        ClientBuilder::new(address)
    }

    /// Signs in with an access token that the program has from elsewhere. It cannot be renewed.
    #[must_use]
    pub fn with_token(self, token: impl Into<String>) -> Self {
        self.inner.session.begin_with(token.into());
        self
    }

    /// The same client, with the same session, for calls that may take no longer in all: attempts, pauses and renewals of the
    /// token together. The server may do what was asked all the same.
    ///
    /// ```no_run
    /// # async fn look(client: weltenwind_client::Client) -> Result<(), weltenwind_client::ClientError> {
    /// let me = client.within(std::time::Duration::from_secs(2)).me().await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn within(&self, limit: Duration) -> Self {
        Self { inner: Arc::clone(&self.inner), limit: Some(limit) }
    }

    pub(crate) fn until(&self) -> Until {
        Until::after(self.limit)
    }

    /// Returns who is signed in, as far as it is known without asking.
    pub fn user(&self) -> Option<UserBody> {
        self.inner.session.tokens()?.user.clone()
    }

    /// Returns the token to sign in with after the program was started anew; see [`Client::resume`].
    ///
    /// Each renewal replaces it, so a program keeps the one it has at its end.
    pub fn refresh_token(&self) -> Option<String> {
        Some(self.inner.session.tokens()?.refresh.as_ref()?.expose().clone())
    }

    /// Signs in with a refresh token that was kept.
    pub async fn resume(&self, refresh_token: &str) -> Result<UserBody, ClientError> {
        let asked_at = Instant::now();
        let body = self.trade(refresh_token, self.until()).await?;
        Ok(self.inner.session.begin(body, asked_at))
    }

    /// Renews the access token now. It is done by itself before the token expires, and when the server finds it expired.
    ///
    /// Whoever asks while a renewal is under way gets what that one gets.
    ///
    /// # Errors
    ///
    /// [`ClientError::NotSignedIn`] without a refresh token.
    pub async fn refresh(&self) -> Result<(), ClientError> {
        let tokens = self.inner.session.tokens().ok_or(ClientError::NotSignedIn)?;
        self.renew(&tokens, self.until()).await.map(drop)
    }

    /// Returns tokens that hold, renewed if it is time; none if nobody is signed in.
    pub(crate) async fn tokens(&self, until: Until) -> Option<Arc<Tokens>> {
        let tokens = self.inner.session.tokens()?;
        if !tokens.is_due() {
            return Some(tokens);
        }
        match self.renew(&tokens, until).await {
            Ok(newer) => Some(newer),
            Err(error) => {
                // The old one may hold a little longer, and if not, the server says why.
                tracing::warn!(correlation_id = error.correlation_id(), %error, "the access token is not renewed");
                Some(tokens)
            }
        }
    }

    /// Returns newer tokens than `stale`: those that another task has got meanwhile, or fresh ones.
    pub(crate) async fn renew(&self, stale: &Tokens, until: Until) -> Result<Arc<Tokens>, ClientError> {
        let session = &self.inner.session;
        let _turn = session.renewing.lock().await;
        let present = session.tokens().ok_or(ClientError::NotSignedIn)?;
        if present.access != stale.access {
            return Ok(present);
        }
        let refresh = present.refresh.as_ref().ok_or(ClientError::NotSignedIn)?;
        let asked_at = Instant::now();
        match self.trade(refresh.expose(), until).await {
            Ok(body) => session.go_on(present.sign_in, body, asked_at),
            Err(error) => {
                if error.refusal().is_some_and(|refusal| refusal.status == Some(401)) {
                    session.give_up(present.sign_in);
                }
                return Err(error);
            }
        }
        session.tokens().ok_or(ClientError::NotSignedIn)
    }

    /// Trades a refresh token for a session. A repeat is harmless: the server answers the same successor again.
    async fn trade(&self, refresh_token: &str, until: Until) -> Result<SessionBody, ClientError> {
        let call = Call::new(Method::POST, self.url(["auth", "refresh"]), Repeat::Harmless);
        self.attempt(&call.json(&Refresh { refresh_token })?, None, None, until).await?.json()
    }

    /// Makes a call as whoever is signed in.
    pub(crate) async fn ask(&self, call: &Call) -> Result<Answer, ClientError> {
        let until = self.until();
        let tokens = self.tokens(until).await;
        let answer = self.ask_as(call, tokens.as_deref(), until).await;
        match (&answer, tokens) {
            (Err(error), Some(tokens)) if error.is_stale_token() && tokens.refresh.is_some() => {
                let newer = self.renew(&tokens, until).await?;
                self.ask_as(call, Some(&newer), until).await
            }
            _ => answer,
        }
    }

    /// Returns the address of a call.
    pub(crate) fn url<'a>(&self, path: impl IntoIterator<Item = &'a str>) -> Url {
        self.address(["api", "v1"].into_iter().chain(path))
    }

    /// Returns the address of a path on the server.
    pub(crate) fn address<'a>(&self, path: impl IntoIterator<Item = &'a str>) -> Url {
        let mut url = self.inner.base.clone();
        url.path_segments_mut().expect("the address has a host").pop_if_empty().extend(path);
        url
    }
}
