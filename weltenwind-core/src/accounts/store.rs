//! The ports that keep accounts and sessions.

use std::fmt::Debug;

use async_trait::async_trait;

use super::{
    credentials::{PasswordChange, Upgrade},
    error::AccountError,
    identity::ExternalSignIn,
    model::{
        Account, AccountQuery, Bootstrap, Credentials, DisplayName, NewBootstrapToken, NewGuest, NewSession, NewTicket,
        RefreshToken, Registration, Rotation, SignedIn, Ticket, TokenHash, Username,
    },
    own_sessions::{SessionEntry, SessionQuery},
    password::PasswordRecord,
};
use crate::{
    clock::Timestamp,
    error::StorageError,
    ids::{AccountId, SessionId},
    page::Page,
    step::Step,
};

/// Keeps accounts, and how one is made.
///
/// Each method is one atomic step. A refusal has changed nothing; after [`Class::Unavailable`](crate::Class::Unavailable)
/// the step may have taken effect, and repeating it is safe.
#[async_trait]
pub trait AccountStore: Debug + Send + Sync + 'static {
    /// Makes a guest with its first device and session.
    async fn open_guest(&self, step: &Step, guest: &NewGuest) -> Result<SignedIn, AccountError>;

    /// Makes a registered account with its first device and session.
    ///
    /// # Errors
    ///
    /// [`AccountError::UsernameTaken`]. Of two registrations under one username at once, one passes.
    async fn register(&self, step: &Step, registration: &Registration) -> Result<SignedIn, AccountError>;

    /// Opens a session of the account that an identity leads to; if it leads to none, makes that account, registered and
    /// without username and password. Of two first sign-ins under one identity at once, one makes the account and both get it.
    async fn sign_in_external(&self, step: &Step, sign_in: &ExternalSignIn) -> Result<SignedIn, AccountError>;

    /// Reads what the password of `username` is checked against.
    async fn credentials(&self, username: &Username) -> Result<Option<Credentials>, StorageError>;

    /// Reads what the password of `account` is checked against; a guest has none.
    async fn password(&self, account: AccountId) -> Result<Option<PasswordRecord>, StorageError>;

    /// Replaces a password, ends every session of the account that holds, logs those losses, and opens the next session.
    ///
    /// A session that is opened at the same time is ended too, or is opened behind this step.
    ///
    /// # Errors
    ///
    /// [`AccountError::InvalidCredentials`] if the password is no longer the one that was checked: of two changes at once,
    /// one passes; [`AccountError::SessionEnded`] if the session that is replaced does not hold.
    async fn change_password(&self, step: &Step, change: &PasswordChange) -> Result<SignedIn, AccountError>;

    /// Makes a registered account of a guest and counts its revision up, ends its sessions, logs those losses, and opens the
    /// next session.
    ///
    /// # Errors
    ///
    /// [`AccountError::AlreadyRegistered`] if it is no guest's: of two upgrades at once, one passes;
    /// [`AccountError::UsernameTaken`]; [`AccountError::SessionEnded`] if the session that is replaced does not hold.
    async fn upgrade(&self, step: &Step, upgrade: &Upgrade) -> Result<SignedIn, AccountError>;

    /// Reads the accounts that `query` asks for.
    async fn page(&self, query: &AccountQuery) -> Result<Page<Account>, StorageError>;

    /// Keeps a one-time token.
    async fn issue_bootstrap(&self, step: &Step, token: &NewBootstrapToken) -> Result<(), AccountError>;

    /// Spends a one-time token for a registered account that is a global `owner`, with its first device and session.
    ///
    /// # Errors
    ///
    /// [`AccountError::BootstrapTokenInvalid`] if it was never issued; [`AccountError::BootstrapTokenSpent`] if it was
    /// spent or `step.at` has reached its end; [`AccountError::UsernameTaken`], which leaves the token unspent. Two calls
    /// with one token at once: one passes.
    async fn bootstrap(&self, step: &Step, bootstrap: &Bootstrap) -> Result<SignedIn, AccountError>;

    /// Reads an account.
    async fn find(&self, id: AccountId) -> Result<Option<Account>, StorageError>;

    /// Gives an account another display name, counts its revision up, and logs that the old name is lost.
    ///
    /// # Errors
    ///
    /// [`AccountError::NotFound`].
    async fn rename(&self, step: &Step, id: AccountId, name: &DisplayName) -> Result<Account, AccountError>;
}

/// Keeps sessions, their refresh tokens, and tickets for sockets.
///
/// Each method is one atomic step, as in [`AccountStore`].
#[async_trait]
pub trait SessionStore: Debug + Send + Sync + 'static {
    /// Opens a session of an account, on its device with the same fingerprint if there is one.
    ///
    /// # Errors
    ///
    /// [`AccountError::NotFound`] if the account does not exist.
    async fn open(&self, step: &Step, account: AccountId, session: &NewSession) -> Result<SignedIn, AccountError>;

    /// Reads sessions with their accounts, ended or not: each once, in any order, and none for an id that does not exist.
    async fn find_all(&self, ids: &[SessionId]) -> Result<Vec<SignedIn>, StorageError>;

    /// Reads a session with its account, ended or not.
    async fn find(&self, id: SessionId) -> Result<Option<SignedIn>, StorageError> {
        Ok(self.find_all(&[id]).await?.pop())
    }

    /// Reads the sessions that `query` asks for.
    async fn page(&self, query: &SessionQuery) -> Result<Page<SessionEntry>, StorageError>;

    /// Reads a refresh token, used or not.
    async fn find_refresh(&self, hash: &TokenHash) -> Result<Option<RefreshToken>, StorageError>;

    /// Replaces the session's present refresh token by its successor and answers whether it did.
    ///
    /// It does not if `rotation.from` is not the present generation (somebody else was faster) or the session has
    /// ended or expired at `step.at`. Of two rotations of one generation at once, one passes. The device is seen either way.
    async fn rotate(&self, step: &Step, rotation: &Rotation) -> Result<bool, StorageError>;

    /// Ends a session, once, and logs the loss: a session that has ended keeps its first end. An unknown one is no error.
    async fn end(&self, step: &Step, id: SessionId) -> Result<(), StorageError>;

    /// Ends every session of `account` that holds at `step.at`, except `kept`, logs each as a loss, and returns how many it
    /// were. A session that is opened at the same time is ended too, or is opened behind this step.
    async fn end_others(&self, step: &Step, account: AccountId, kept: Option<SessionId>) -> Result<u64, StorageError>;

    /// Keeps a ticket, and forgets those that ended before `at`.
    async fn save_ticket(&self, ticket: &NewTicket, at: Timestamp) -> Result<(), StorageError>;

    /// Spends a ticket: of two calls with one ticket, one gets it.
    async fn spend_ticket(&self, hash: &TokenHash) -> Result<Option<Ticket>, StorageError>;
}
