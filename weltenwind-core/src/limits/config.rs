//! The one declared table of quotas.

use serde::{Deserialize, Serialize};

use super::{
    policy::{KeyKind, Policy},
    quota::{Quota, Unit},
};

/// The quota of each [`Policy`].
///
/// ```
/// use weltenwind_core::limits::LimitsConfig;
///
/// let lively = LimitsConfig { chat: "20/s burst 100".parse()?, ..LimitsConfig::default() };
/// assert_eq!(LimitsConfig::default().chat.to_string(), "5/s burst 20");
/// # let _ = lively;
/// # Ok::<(), weltenwind_core::limits::QuotaInvalid>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsConfig {
    /// Sign-ins, registrations, refreshes and one-time links of an address.
    pub auth: Quota,
    /// Codes of an account's second factor that are tried from an address.
    pub two_factor: Quota,
    /// Passwords presented for an account, from devices that it does not know.
    pub sign_in: Quota,
    /// Passwords presented for an account from one device that it knows.
    pub sign_in_device: Quota,
    /// Wrong passwords of an address.
    pub failed_sign_in: Quota,
    /// Guests' accounts of an address.
    pub guest: Quota,
    /// Reads of an account.
    pub read: Quota,
    /// Reads of an address by callers who are not signed in.
    pub read_anonymous: Quota,
    /// Changes of an account that have no quota of their own.
    pub write: Quota,
    /// Messages of an account.
    pub chat: Quota,
    /// Messages in a channel, of all its authors together.
    pub chat_room: Quota,
    /// Rooms that an account joins over its sockets.
    pub join: Quota,
    /// Invites of an account.
    pub invite: Quota,
    /// Announcements of an account, and changes of its notifications.
    pub notification: Quota,
    /// Batches of telemetry of a device.
    pub telemetry: Quota,
    /// Reports of an account.
    pub report: Quota,
    /// Changes of an account that need a permission to manage or to moderate.
    pub admin: Quota,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            auth: Quota::per(120, Unit::Minute),
            two_factor: Quota::per(30, Unit::Hour).burst(10),
            // Wide: whoever keeps an account busy from many addresses must not keep its owner out.
            sign_in: Quota::per(30, Unit::Minute).burst(1_800),
            sign_in_device: Quota::per(6, Unit::Minute).burst(20),
            failed_sign_in: Quota::per(6, Unit::Minute).burst(20),
            guest: Quota::per(120, Unit::Minute),
            read: Quota::per(100, Unit::Second),
            read_anonymous: Quota::per(60, Unit::Second),
            write: Quota::per(60, Unit::Second),
            chat: Quota::per(5, Unit::Second).burst(20),
            chat_room: Quota::per(500, Unit::Second).burst(1_000),
            join: Quota::per(50, Unit::Second).burst(500),
            invite: Quota::per(200, Unit::Day),
            notification: Quota::per(60, Unit::Minute),
            telemetry: Quota::per(100, Unit::Minute),
            report: Quota::per(50, Unit::Day),
            admin: Quota::per(200, Unit::Second),
        }
    }
}

impl LimitsConfig {
    /// The same quota for everything: for load tests, which ask for more than people do.
    pub const fn uniform(quota: Quota) -> Self {
        Self {
            auth: quota,
            two_factor: quota,
            sign_in: quota,
            sign_in_device: quota,
            failed_sign_in: quota,
            guest: quota,
            read: quota,
            read_anonymous: quota,
            write: quota,
            chat: quota,
            chat_room: quota,
            join: quota,
            invite: quota,
            notification: quota,
            telemetry: quota,
            report: quota,
            admin: quota,
        }
    }

    /// Returns the quota of a policy for those who are counted by `kind`.
    pub const fn quota(&self, policy: Policy, kind: KeyKind) -> Quota {
        match (policy, kind) {
            (Policy::Auth, _) => self.auth,
            (Policy::TwoFactor, _) => self.two_factor,
            (Policy::SignIn, KeyKind::Device) => self.sign_in_device,
            (Policy::SignIn, _) => self.sign_in,
            (Policy::FailedSignIn, _) => self.failed_sign_in,
            (Policy::Guest, _) => self.guest,
            (Policy::Read, KeyKind::Address) => self.read_anonymous,
            (Policy::Read, _) => self.read,
            (Policy::Write, _) => self.write,
            (Policy::Chat, _) => self.chat,
            (Policy::Invite, _) => self.invite,
            (Policy::Notification, _) => self.notification,
            (Policy::Telemetry, _) => self.telemetry,
            (Policy::ChatRoom, _) => self.chat_room,
            (Policy::Join, _) => self.join,
            (Policy::Report, _) => self.report,
            (Policy::Admin, _) => self.admin,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_keys_are_defaults_unknown_ones_and_what_is_no_quota_are_refused() {
        let config: LimitsConfig = serde_json::from_str(r#"{"chat": "1/s"}"#).unwrap();

        assert_eq!(config, LimitsConfig { chat: Quota::per(1, Unit::Second), ..LimitsConfig::default() });
        for wrong in [r#"{"chats": "1/s"}"#, r#"{"chat": "fast"}"#, r#"{"chat": 5}"#] {
            assert!(serde_json::from_str::<LimitsConfig>(wrong).is_err(), "{wrong}");
        }
    }
}
