use std::fmt::Debug;

use async_trait::async_trait;

use super::seal::SealedSecret;
use crate::{
    accounts::{AccountError, NewSession, NextSession, SignedIn, TokenHash},
    clock::Timestamp,
    error::StorageError,
    ids::AccountId,
    step::Step,
};

/// An account's second factor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecondFactor {
    /// The authenticator's secret.
    pub secret: SealedSecret,
    /// When a first code was shown; until then nothing is asked for.
    pub confirmed_at: Option<Timestamp>,
}

impl SecondFactor {
    /// Returns whether signing in asks for a code.
    pub const fn is_enabled(&self) -> bool {
        self.confirmed_at.is_some()
    }
}

/// What is shown beside a password. The service has checked an authenticator's code; that it was not used before is for the
/// store to say, and so is whether there is such a recovery code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    /// An authenticator's code.
    Code {
        /// The secret that it was checked against.
        secret: SealedSecret,
        /// The step that it belongs to: seconds since 1970, divided by 30.
        step: i64,
    },
    /// A recovery code, by its keyed hash.
    Recovery(TokenHash),
}

/// The first code of an authenticator, which makes it a second factor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confirmation {
    /// Whose.
    pub account: AccountId,
    /// The secret that the code was checked against.
    pub secret: SealedSecret,
    /// The step that the code belongs to, which is used by that.
    pub step: i64,
    /// The keyed hashes of the recovery codes.
    pub recovery: Vec<TokenHash>,
    /// The session that stays.
    pub session: NextSession,
}

/// A second factor that its owner gives up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removal {
    /// Whose.
    pub account: AccountId,
    /// What shows that it is its owner.
    pub proof: Proof,
    /// The session that stays.
    pub session: NextSession,
}

/// Keeps second factors and recovery codes.
///
/// Each method is one atomic step, as in [`AccountStore`](crate::accounts::AccountStore). A [`Proof`] is spent by the step that
/// takes it: a code of a step that is not later than the last one used is refused, and a recovery code is gone. Of two steps at
/// once with one proof, one passes.
#[async_trait]
pub trait SecondFactorStore: Debug + Send + Sync + 'static {
    /// Reads an account's second factor, enabled or not.
    async fn find(&self, account: AccountId) -> Result<Option<SecondFactor>, StorageError>;

    /// Keeps the secret of an authenticator that is yet to show its first code, in place of another such one.
    ///
    /// # Errors
    ///
    /// [`AccountError::NotFound`]; [`AccountError::RegistrationRequired`] if the account is a guest's;
    /// [`AccountError::TwoFactorEnabled`].
    async fn begin(&self, step: &Step, account: AccountId, secret: &SealedSecret) -> Result<(), AccountError>;

    /// Enables the second factor that was begun, keeps its recovery codes, ends every session of the account that holds, logs
    /// those losses, and opens the next session.
    ///
    /// # Errors
    ///
    /// [`AccountError::TwoFactorEnabled`] if it is, also because another call was faster; [`AccountError::TwoFactorNotEnabled`]
    /// if none was begun, or another secret meanwhile; [`AccountError::SessionEnded`] if the session that is replaced does not
    /// hold.
    async fn confirm(&self, step: &Step, confirmation: &Confirmation) -> Result<SignedIn, AccountError>;

    /// Spends a proof and opens a session, as [`SessionStore::open`](crate::accounts::SessionStore::open) does.
    ///
    /// # Errors
    ///
    /// [`AccountError::NotFound`]; [`AccountError::TwoFactorCodeInvalid`] if the proof was spent before, is unknown, or belongs
    /// to another second factor than the present one.
    async fn open(
        &self,
        step: &Step,
        account: AccountId,
        session: &NewSession,
        proof: &Proof,
    ) -> Result<SignedIn, AccountError>;

    /// Spends a proof, forgets the second factor with its recovery codes, ends every session of the account that holds, logs
    /// those losses, and opens the next session.
    ///
    /// # Errors
    ///
    /// [`AccountError::TwoFactorCodeInvalid`] as in [`open`](Self::open); [`AccountError::SessionEnded`] if the session that is
    /// replaced does not hold.
    async fn disable(&self, step: &Step, removal: &Removal) -> Result<SignedIn, AccountError>;

    /// Forgets an account's second factor with its recovery codes, ends every session of the account that holds, logs those
    /// losses, and returns how many sessions it were.
    ///
    /// # Errors
    ///
    /// [`AccountError::TwoFactorNotEnabled`] if there is none; one that was only begun is none.
    async fn remove(&self, step: &Step, account: AccountId) -> Result<u64, AccountError>;
}
