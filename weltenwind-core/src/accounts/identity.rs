//! Accounts of whoever keeps accounts elsewhere: the embedding program says who somebody is, and has them signed in here.

use std::fmt::Debug;

use async_trait::async_trait;
use serde_json::json;

use super::{
    error::AccountError,
    guard::{SignInAttempt, SignInWay},
    model::{DeviceDraft, DisplayName, NewSession},
    service::{Accounts, SessionGrant},
};
use crate::{
    actor::Actor,
    ids::AccountId,
    limits::Policy,
    refusals::Attempt,
    scope::Scope,
    secret::Secret,
    security::{self, Event},
    step::AuditDraft,
    validation::Invalid,
};

/// Declares a text that is taken as it stands: two that differ in anything are two.
macro_rules! exact {
    ($(#[$doc:meta])* $name:ident, $member:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash)]
        pub struct $name(String);

        impl $name {
            /// Checks a text, and changes nothing about it.
            pub fn new(text: &str) -> Result<Self, Invalid> {
                if (1..=255).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic()) {
                    return Ok(Self(text.to_owned()));
                }
                Err(Invalid::at($member, "an identity must have 1 to 255 visible ASCII characters"))
            }

            /// Returns the text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
    };
}

exact! {
    /// Who vouches for somebody: 1 to 255 visible ASCII characters, an address as a rule.
    Issuer, "/issuer"
}

exact! {
    /// Whom an issuer knows somebody as: 1 to 255 visible ASCII characters. It never becomes somebody else's.
    Subject, "/subject"
}

/// Somebody whom an issuer vouches for. Issuer and subject together are who it is; a name or an address of mail is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExternalIdentity {
    /// Who vouches.
    pub issuer: Issuer,
    /// For whom.
    pub subject: Subject,
    /// The name that others see, for an account that is made now; a name is made up if absent.
    pub display_name: Option<DisplayName>,
}

/// An identity, and what is made if it comes for the first time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExternalSignIn {
    /// Who vouches.
    pub issuer: Issuer,
    /// For whom.
    pub subject: Subject,
    /// The account that is made if nobody came under this identity before.
    pub account: AccountId,
    /// Its name.
    pub display_name: DisplayName,
    /// The session that is opened in any case.
    pub session: NewSession,
}

/// Tells who somebody is: the embedding program's own accounts, a platform's tickets, a studio's sign-in.
///
/// The built-in sign-in by password goes on beside it; whoever wants it gone does not offer its calls.
///
/// ```
/// use async_trait::async_trait;
/// use weltenwind_core::{
///     Secret,
///     accounts::{AccountError, ExternalIdentity, IdentityProvider, Issuer, Subject},
/// };
///
/// /// The game's own players, each with a ticket.
/// #[derive(Debug)]
/// struct Players;
///
/// #[async_trait]
/// impl IdentityProvider for Players {
///     async fn identify(&self, assertion: &Secret<String>) -> Result<ExternalIdentity, AccountError> {
///         let player = assertion.expose().strip_prefix("ticket of ").ok_or(AccountError::InvalidCredentials)?;
///         Ok(ExternalIdentity {
///             issuer: Issuer::new("https://game.example")?,
///             subject: Subject::new(player)?,
///             display_name: None,
///         })
///     }
/// }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), AccountError> {
/// let known = Players.identify(&Secret::new("ticket of 4711".to_owned())).await?;
/// assert_eq!(known.subject.as_str(), "4711");
/// assert!(Players.identify(&Secret::new("made up".to_owned())).await.is_err());
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait IdentityProvider: Debug + Send + Sync + 'static {
    /// Answers who shows this: credentials, a ticket, an assertion, in whatever form the program has agreed on with itself.
    ///
    /// # Errors
    ///
    /// [`AccountError::InvalidCredentials`] if it is nobody; any other error is told as it stands.
    async fn identify(&self, assertion: &Secret<String>) -> Result<ExternalIdentity, AccountError>;
}

impl Accounts {
    /// Signs in whoever a provider knows. The first time an account is made, which is registered and has neither username nor
    /// password; from then on, the same issuer and subject lead to that account.
    ///
    /// # Errors
    ///
    /// What the provider says; [`AccountError::RateLimited`].
    pub async fn sign_in_with(
        &self,
        actor: &Actor,
        provider: &dyn IdentityProvider,
        assertion: &Secret<String>,
        device: DeviceDraft,
    ) -> Result<SessionGrant, AccountError> {
        let inner = &self.inner;
        inner.limits.charge(actor, Policy::Auth).await?;
        inner.limits.check(actor, Policy::FailedSignIn).await?;
        let attempt = SignInAttempt { actor, way: SignInWay::Identity, account: None, device: None };
        self.guard.ask(&attempt).await?;
        let ExternalIdentity { issuer, subject, display_name } = match provider.identify(assertion).await {
            Err(AccountError::InvalidCredentials) => {
                security::note(Event::LoginFailed, actor, None, "invalid-credentials");
                self.note_wrong_credentials(actor, Attempt::SignIn, None);
                inner.limits.charge(actor, Policy::FailedSignIn).await?;
                return Err(AccountError::InvalidCredentials);
            }
            identified => identified?,
        };
        let now = inner.sources.clock.now();
        let (session, unopened) = inner.new_session(actor, device, now);
        let audit = AuditDraft::new("session.open", Scope::Global).with(json!({ "issuer": issuer.as_str() }));
        let sign_in = ExternalSignIn {
            issuer,
            subject,
            account: AccountId::new(inner.sources.ids.draw()),
            display_name: display_name.unwrap_or_else(|| inner.guest_name()),
            session,
        };
        let signed_in = inner.accounts.sign_in_external(&actor.step(now, audit), &sign_in).await?;
        inner.grant_new(signed_in, unopened, now)
    }
}
