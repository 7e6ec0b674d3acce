//! Where a sign-in asks whether it may go on, beside limits: the place of an engine that knows how people behave.

use std::fmt::Debug;

use async_trait::async_trait;

use super::error::AccountError;
use crate::{
    actor::Actor,
    ids::{AccountId, DeviceId},
};

/// How somebody wants in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SignInWay {
    /// As a guest.
    Guest,
    /// With an account that is made now.
    Registration,
    /// With a password.
    Password,
    /// By what another issuer says.
    Identity,
}

/// A sign-in that limits have let pass and for which nothing was done yet.
#[derive(Debug)]
#[non_exhaustive]
pub struct SignInAttempt<'a> {
    /// Who asks: nobody who is known, with the address and the request.
    pub actor: &'a Actor,
    /// How.
    pub way: SignInWay,
    /// The account that is asked for, if there is such a one.
    pub account: Option<AccountId>,
    /// The device, if the account knows it.
    pub device: Option<DeviceId>,
}

/// Decides whether a sign-in may go on.
///
/// It is asked once for each attempt, before a password is looked at, and must answer alike for accounts that exist and those
/// that do not.
#[async_trait]
pub trait SignInGuard: Debug + Send + Sync + 'static {
    /// Lets an attempt pass, or says why not.
    async fn ask(&self, attempt: &SignInAttempt<'_>) -> Result<(), AccountError>;
}

/// Lets everybody pass: the default.
#[derive(Debug, Clone, Copy, Default)]
pub struct EverybodyPasses;

#[async_trait]
impl SignInGuard for EverybodyPasses {
    async fn ask(&self, _attempt: &SignInAttempt<'_>) -> Result<(), AccountError> {
        Ok(())
    }
}
