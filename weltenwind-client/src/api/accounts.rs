//! Sign-in, and one's own account.

use std::{fmt, time::Instant};

use reqwest::Method;
use serde::Serialize;
use weltenwind_core::{
    accounts::Theme,
    wire::{PreferencesBody, QuietHoursBody, SessionBody, TopicsBody, TwoFactorBody, TwoFactorConfirmedBody, UserBody},
};

use crate::{
    call::{Call, Tagged},
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

/// What is to change of one's preferences; what is not named stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::option_option, reason = "to leave as it is and to clear are two wishes")]
pub struct PreferencesAmendment {
    #[serde(skip_serializing_if = "Option::is_none")]
    locale: Option<Option<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    theme: Option<Theme>,
    #[serde(skip_serializing_if = "Option::is_none")]
    notifications: Option<TopicsBody>,
    #[serde(skip_serializing_if = "Option::is_none")]
    quiet_hours: Option<Option<QuietHoursBody>>,
}

impl PreferencesAmendment {
    /// A language tag (BCP 47), or none to leave it to the device.
    #[must_use]
    pub fn locale(mut self, locale: Option<String>) -> Self {
        self.locale = Some(locale);
        self
    }

    /// How pages look.
    #[must_use]
    pub const fn theme(mut self, theme: Theme) -> Self {
        self.theme = Some(theme);
        self
    }

    /// Of what one is told.
    #[must_use]
    pub const fn notifications(mut self, topics: TopicsBody) -> Self {
        self.notifications = Some(topics);
        self
    }

    /// When one is not told, or none for never.
    #[must_use]
    pub fn quiet_hours(mut self, hours: Option<QuietHoursBody>) -> Self {
        self.quiet_hours = Some(hours);
        self
    }
}

#[derive(Serialize)]
struct Code<'a> {
    code: &'a str,
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

    /// Makes a secret for one's authenticator. Nothing is asked for at sign-in until a first code is
    /// [confirmed](Self::confirm_two_factor).
    pub async fn begin_two_factor(&self) -> Result<TwoFactorBody, ClientError> {
        // A repeat makes another secret in place of the one that nobody has seen.
        self.ask(&Call::new(Method::POST, self.url(["users", "me", "two-factor"]), Repeat::Harmless)).await?.json()
    }

    /// Enables the second factor with its first code. Every other session ends; this client goes on with the new one.
    pub async fn confirm_two_factor(&self, code: &str) -> Result<TwoFactorConfirmedBody, ClientError> {
        let url = self.url(["users", "me", "two-factor", "confirm"]);
        let call = Call::new(Method::POST, url, Repeat::Doubles).json(&Code { code })?;
        let asked_at = Instant::now();
        let confirmed: TwoFactorConfirmedBody = self.ask(&call).await?.json()?;
        self.inner.session.begin(confirmed.session.clone(), asked_at);
        Ok(confirmed)
    }

    /// Gives the second factor up, for one of its codes or a recovery code. Every other session ends; this client goes on with
    /// the new one.
    pub async fn disable_two_factor(&self, code: &str) -> Result<UserBody, ClientError> {
        let url = self.url(["users", "me", "two-factor"]);
        let call = Call::new(Method::DELETE, url, Repeat::Doubles).json(&Code { code })?;
        let asked_at = Instant::now();
        let body: SessionBody = self.ask(&call).await?.json()?;
        Ok(self.inner.session.begin(body, asked_at))
    }

    /// Reads one's own preferences.
    pub async fn preferences(&self) -> Result<Tagged<PreferencesBody>, ClientError> {
        let url = self.url(["users", "me", "preferences"]);
        self.ask(&Call::new(Method::GET, url, Repeat::Harmless)).await?.tagged()
    }

    /// Changes one's own preferences in the state that was seen; refused as `precondition-failed` if they have changed since.
    pub async fn amend_preferences(
        &self,
        seen: &Tagged<PreferencesBody>,
        amendment: &PreferencesAmendment,
    ) -> Result<Tagged<PreferencesBody>, ClientError> {
        let url = self.url(["users", "me", "preferences"]);
        let call = Call::new(Method::PATCH, url, Repeat::Doubles).of_state(seen.etag.as_ref()).json(amendment)?;
        self.ask(&call).await?.tagged()
    }
}
