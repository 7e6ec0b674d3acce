//! The kinds of calls that are limited, and by whom each is counted.

use std::fmt;

/// By whom calls are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeyKind {
    /// The signed-in account, on all its devices.
    Account,
    /// The device that is signed in from.
    Device,
    /// The address that is called from: IPv4 whole, IPv6 by its /64.
    Address,
    /// The account and the address that is called from, together.
    AccountAddress,
    /// The room that is spoken in.
    Room,
    /// The account that issues something to others, over a day.
    Issuer,
}

impl KeyKind {
    /// Returns the word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Account => "account",
            Self::Device => "device",
            Self::Address => "address",
            Self::AccountAddress => "account-address",
            Self::Room => "room",
            Self::Issuer => "issuer",
        }
    }
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

macro_rules! policies {
    ($($(#[$doc:meta])* $name:ident = $text:literal by [$($kind:ident),+];)+) => {
        /// A kind of call that is limited. Names are public API and are never renamed.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Policy {
            $($(#[$doc])* $name,)+
        }

        impl Policy {
            /// Every policy.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// Returns the name.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }

            /// Returns by whom it is counted: by the first of these that is known of who asks.
            pub const fn keyed_by(self) -> &'static [KeyKind] {
                match self { $(Self::$name => &[$(KeyKind::$kind),+],)+ }
            }
        }
    };
}

policies! {
    /// Signing in, registering, refreshing, spending a one-time link.
    Auth = "auth" by [Address];
    /// Trying codes of a second factor: of each account from each address.
    TwoFactor = "two-factor" by [AccountAddress, Account];
    /// Presenting a password for an account, right or wrong. Whoever is not signed in is counted by the account that the
    /// password is for or, from a device that the account knows, by that device: others cannot use that up.
    SignIn = "sign-in" by [Device, Account];
    /// Presenting a wrong password.
    FailedSignIn = "failed-sign-in" by [Address];
    /// Opening a guest's account.
    Guest = "guest" by [Address];
    /// Reading over HTTP; what the caller has already is free.
    Read = "read" by [Account, Address];
    /// Changing what has no policy of its own.
    Write = "write" by [Account];
    /// Posting messages.
    Chat = "chat" by [Account];
    /// Posting messages in one channel, all its authors together.
    ChatRoom = "chat-room" by [Room];
    /// Joining rooms over a socket.
    Join = "join" by [Account];
    /// Inviting others.
    Invite = "invite" by [Issuer];
    /// Announcing something, and changing one's notifications.
    Notification = "notification" by [Account];
    /// Sending batches of telemetry.
    Telemetry = "telemetry" by [Device, Account];
    /// Reporting messages.
    Report = "report" by [Account];
    /// Changing what needs a permission to manage or to moderate.
    Admin = "admin" by [Account];
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_unique_and_can_stand_in_a_header() {
        let names: HashSet<_> = Policy::ALL.iter().map(|policy| policy.as_str()).collect();

        assert_eq!(names.len(), Policy::ALL.len());
        assert!(names.iter().all(|name| name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-')));
    }

    #[test]
    fn a_policy_stands_at_its_place_in_the_list() {
        for (n, policy) in Policy::ALL.iter().enumerate() {
            assert_eq!(*policy as usize, n, "{policy}");
        }
    }
}
