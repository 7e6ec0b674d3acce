//! Sign-in, and one's own account.

use std::{fmt, time::Instant};

use reqwest::Method;
use serde::Serialize;
use weltenwind_core::wire::{SessionBody, UserBody};

use crate::{
    call::Call,
    client::{Client, Device},
    error::ClientError,
    retry::Repeat,
};

/// A name and a password to sign in with.
#[derive(Clone, Serialize)]
pub struct Credentials {
    username: String,
    password: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    totp: Option<String>,
}

impl Credentials {
    /// A name and a password.
    pub fn new(username: impl Into<String>, password: impl Into<String>) -> Self {
        Self { username: username.into(), password: password.into(), totp: None }
    }

    /// The code of the second factor: the server asks for it with the code `two-factor-required`.
    #[must_use]
    pub fn totp(mut self, code: impl Into<String>) -> Self {
        self.totp = Some(code.into());
        self
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("username", &self.username).finish_non_exhaustive()
    }
}

/// An account to be made.
#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Registration {
    username: String,
    password: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    display_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<String>,
}

impl Registration {
    /// An account with a name to sign in with and a password.
    pub fn new(username: impl Into<String>, password: impl Into<String>) -> Self {
        Self { username: username.into(), password: password.into(), display_name: None, email: None }
    }

    /// The name that others see; by default the one to sign in with.
    #[must_use]
    pub fn display_name(mut self, name: impl Into<String>) -> Self {
        self.display_name = Some(name.into());
        self
    }

    /// Where mail goes.
    #[must_use]
    pub fn email(mut self, address: impl Into<String>) -> Self {
        self.email = Some(address.into());
        self
    }
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registration").field("username", &self.username).finish_non_exhaustive()
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Guest<'a> {
    display_name: &'a str,
}

/// A sign-in and where it comes from.
#[derive(Serialize)]
struct SignIn<'a, T> {
    #[serde(flatten)]
    what: &'a T,
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<&'a Device>,
}

impl Client {
    /// Opens an account for somebody who gives nothing but a name, and signs in.
    pub async fn guest(&self, display_name: &str) -> Result<UserBody, ClientError> {
        self.sign_in("guest", &Guest { display_name }).await
    }

    /// Makes an account and signs in.
    pub async fn register(&self, registration: &Registration) -> Result<UserBody, ClientError> {
        self.sign_in("register", registration).await
    }

    /// Signs in with a name and a password.
    pub async fn login(&self, credentials: &Credentials) -> Result<UserBody, ClientError> {
        self.sign_in("login", credentials).await
    }

    async fn sign_in(&self, how: &str, what: &impl Serialize) -> Result<UserBody, ClientError> {
        let sign_in = SignIn { what, device: self.inner.device.as_ref() };
        // A repeat would open a second session, or a second account.
        let call = Call::new(Method::POST, self.url(["auth", how]), Repeat::Doubles).json(&sign_in)?;
        let asked_at = Instant::now();
        let body: SessionBody = self.attempt(&call, None, None, self.until()).await?.json()?;
        Ok(self.inner.session.begin(body, asked_at))
    }

    /// Ends the session, here and on the server.
    pub async fn sign_out(&self) -> Result<(), ClientError> {
        let call = Call::new(Method::POST, self.url(["auth", "logout"]), Repeat::Harmless);
        match self.ask(&call).await {
            Err(error) if error.refusal().is_none_or(|refusal| refusal.status != Some(401)) => Err(error),
            // Ended, or over before.
            _ => {
                self.inner.session.end();
                Ok(())
            }
        }
    }

    /// Reads one's own account.
    pub async fn me(&self) -> Result<UserBody, ClientError> {
        self.get(self.url(["users", "me"])).await
    }
}
