//! What whoever guards an installation wants to see: one event of a fixed form for each.
//!
//! Events are written by `tracing` under the target [`TARGET`], each with the members `event`, `ip`, `account`, `reason` and
//! `request_id` as texts; `-` where something is not known. What writes them as lines must escape them, since a reason may
//! name what a caller has typed.

use std::net::IpAddr;

use crate::{
    actor::{Actor, CorrelationId},
    ids::AccountId,
};

/// The target of security events.
pub const TARGET: &str = "weltenwind::security";

/// What happened. The words are public: filters match them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Event {
    /// A sign-in with a wrong username or password.
    LoginFailed,
    /// A signed-in account gave a wrong present password.
    PasswordCheckFailed,
    /// A code of the second factor that was wrong, or was used before.
    TwoFactorFailed,
    /// A refresh token was used again, so two parties hold it.
    RefreshReused,
    /// A bootstrap token that does not hold.
    BootstrapFailed,
    /// A page of a foreign origin asked for a socket.
    OriginRejected,
    /// An account has another password.
    PasswordChanged,
    /// An account has a second factor.
    TwoFactorEnabled,
    /// An account's second factor was given up, or taken away by an operator.
    TwoFactorDisabled,
    /// A recovery code stood in for an authenticator.
    RecoveryCodeUsed,
    /// A device was signed out by its owner.
    DeviceRevoked,
    /// Sessions were ended by their owner or an operator.
    SessionsRevoked,
    /// An account was erased by its owner or an operator.
    AccountErased,
}

impl Event {
    /// Every event.
    pub const ALL: &[Self] = &[
        Self::LoginFailed,
        Self::PasswordCheckFailed,
        Self::TwoFactorFailed,
        Self::RefreshReused,
        Self::BootstrapFailed,
        Self::OriginRejected,
        Self::PasswordChanged,
        Self::TwoFactorEnabled,
        Self::TwoFactorDisabled,
        Self::RecoveryCodeUsed,
        Self::DeviceRevoked,
        Self::SessionsRevoked,
        Self::AccountErased,
    ];

    /// Returns the event's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LoginFailed => "auth_login_failed",
            Self::PasswordCheckFailed => "auth_password_failed",
            Self::TwoFactorFailed => "auth_2fa_failed",
            Self::RefreshReused => "auth_refresh_reuse",
            Self::BootstrapFailed => "auth_bootstrap_failed",
            Self::OriginRejected => "ws_origin_rejected",
            Self::PasswordChanged => "auth_password_changed",
            Self::TwoFactorEnabled => "auth_2fa_enabled",
            Self::TwoFactorDisabled => "auth_2fa_disabled",
            Self::RecoveryCodeUsed => "auth_recovery_code_used",
            Self::DeviceRevoked => "auth_device_revoked",
            Self::SessionsRevoked => "auth_sessions_revoked",
            Self::AccountErased => "auth_account_erased",
        }
    }

    /// Returns whether it is something to be warned of, and not just to be kept.
    const fn is_attack(self) -> bool {
        !matches!(
            self,
            Self::PasswordChanged
                | Self::TwoFactorEnabled
                | Self::TwoFactorDisabled
                | Self::RecoveryCodeUsed
                | Self::DeviceRevoked
                | Self::SessionsRevoked
                | Self::AccountErased
        )
    }
}

/// Notes what an actor did, to whose account, and why it is noted.
pub fn note(event: Event, actor: &Actor, account: Option<AccountId>, reason: &str) {
    note_from(event, actor.address, account, reason, &actor.correlation_id);
}

/// Notes what came from an address, where there is no actor.
pub fn note_from(
    event: Event,
    address: Option<IpAddr>,
    account: Option<AccountId>,
    reason: &str,
    request: &CorrelationId,
) {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let ip = or_dash(address.map(|address| address.to_canonical().to_string()));
    let account = or_dash(account.map(|account| account.to_string()));
    let (word, request_id) = (event.as_str(), request.as_str());
    if event.is_attack() {
        tracing::warn!(target: TARGET, event = word, ip, account, reason, request_id);
    } else {
        tracing::info!(target: TARGET, event = word, ip, account, reason, request_id);
    }
}
