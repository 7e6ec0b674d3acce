//! Accounts, sessions and the tokens that prove them.
//!
//! An account is a guest or registered. Signing in opens a session on a device; the session answers a short-lived access
//! token, which is checked without the store, and a refresh token, which is used once and answers its successor. A registered
//! account may have a second factor, and every account has preferences.

#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod credentials;
mod devices;
mod error;
mod guard;
mod identity;
mod keys;
mod model;
mod own_sessions;
mod password;
mod preferences;
mod ring;
mod rotation;
mod service;
mod session;
mod store;
mod token;
mod two_factor;

pub use self::{
    credentials::{NextSession, PasswordChange, Upgrade},
    devices::{Device, DeviceName, DeviceQuery, DeviceStore, Seen},
    error::AccountError,
    guard::{EverybodyPasses, SignInAttempt, SignInGuard, SignInWay},
    identity::{ExternalIdentity, ExternalSignIn, IdentityProvider, Issuer, Subject},
    keys::{KeyRotation, KeyStore, RootKey, ServerKeys, SigningKey},
    model::{
        Account, AccountKind, AccountQuery, Bootstrap, Credentials, DeviceDraft, DisplayName, Email, NewBootstrapToken,
        NewDevice, NewGuest, NewSession, NewTicket, RefreshToken, Registration, Rotation, Session, SignedIn, Ticket,
        TokenHash, Username,
    },
    own_sessions::{SessionEntry, SessionQuery},
    password::{HashingConfig, Password, PasswordHasher, PasswordRecord},
    preferences::{
        LocaleTag, ParsePreferenceError, PreferenceStore, Preferences, PreferencesAmendment, PreferencesChange,
        QuietHours, Theme, TimeOfDay, Topic,
    },
    rotation::{KeyEntry, KeyPurpose, KeyState, Rotated, Urgency},
    service::{AccountPorts, Accounts, AccountsConfig, BootstrapTicket, RegistrationDraft, SessionGrant, SignIn},
    store::{AccountStore, SessionStore},
    token::{AccessToken, TokenIssuer},
    two_factor::{
        Confirmation, Proof, RecoveryCodes, Removal, SealedSecret, SecondFactor, SecondFactorStore, TwoFactorEnrolment,
    },
};
