//! What accounts and sessions are.

use std::{fmt, str::FromStr};

use base64ct::{Base64UrlUnpadded, Encoding as _};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{devices::Seen, password::PasswordRecord};
use crate::{
    clock::Timestamp,
    ids::{AccountId, DeviceId, GrantId, SessionId},
    page::{Limit, Revision},
    secret::Secret,
    validation::{Invalid, one_line, text},
};

text! {
    /// The name that others see: 1 to 32 characters on one line.
    DisplayName, "/displayName", |text| one_line("displayName", text, 1, 32)
}

text! {
    /// The name to sign in with: 3 to 32 of `a-z`, `0-9`, `_`, `.` and `-`, beginning with a letter or digit.
    Username, "/username", |text| {
        let fits = (3..=32).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'.' | b'-'))
            && text.as_bytes()[0].is_ascii_alphanumeric();
        if fits { Ok(()) } else { Err("username must be 3 to 32 of a-z, 0-9, _, . and -, beginning with a letter or digit".to_owned()) }
    }
}

text! {
    /// An address for mail: up to 254 characters with one `@` between two parts. Whether it is anybody's is known once a mail
    /// to it was answered.
    Email, "/email", |text| {
        let parts = text.split_once('@').filter(|(local, domain)| {
            !local.is_empty() && domain.contains('.') && !domain.contains('@') && !domain.starts_with('.') && !domain.ends_with('.')
        });
        if parts.is_none() || text.chars().any(char::is_whitespace) {
            return Err("email must be an address like name@example.org".to_owned());
        }
        one_line("email", text, 3, 254)
    }
}

/// Whether an account is of a passing guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum AccountKind {
    /// Known by a device alone.
    Guest,
    /// Known by a username and password, or by an issuer.
    Registered,
}

impl AccountKind {
    /// Returns the word, as it is stored and sent.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Guest => "guest",
            Self::Registered => "registered",
        }
    }
}

impl FromStr for AccountKind {
    type Err = crate::worlds::ParsePolicyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "guest" => Ok(Self::Guest),
            "registered" => Ok(Self::Registered),
            _ => Err(crate::worlds::ParsePolicyError),
        }
    }
}

/// An account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The account.
    pub id: AccountId,
    /// Guest or registered.
    pub kind: AccountKind,
    /// The name to sign in with; guests have none.
    pub username: Option<Username>,
    /// Where mail reaches its owner.
    pub email: Option<Email>,
    /// The name that others see.
    pub display_name: DisplayName,
    /// Its state's number.
    pub revision: Revision,
    /// When it was made.
    pub created_at: Timestamp,
}

/// A sign-in that lasts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// The session.
    pub id: SessionId,
    /// Whose it is.
    pub account: AccountId,
    /// Where it was opened.
    pub device: DeviceId,
    /// How often its refresh token was replaced.
    pub generation: u32,
    /// When it was opened.
    pub created_at: Timestamp,
    /// When it ends if it is not refreshed.
    pub idle_expires_at: Timestamp,
    /// When it ends in any case.
    pub expires_at: Timestamp,
    /// When it was ended.
    pub ended_at: Option<Timestamp>,
}

impl Session {
    /// Returns whether the session holds at `now`.
    pub fn holds_at(&self, now: Timestamp) -> bool {
        self.ended_at.is_none() && now < self.idle_expires_at && now < self.expires_at
    }
}

/// A session and its account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedIn {
    /// The account.
    pub account: Account,
    /// The session.
    pub session: Session,
}

/// What a client says of its device.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeviceDraft {
    /// What its owner calls it: up to 64 characters.
    pub name: Option<String>,
    /// A value by which the device is known again: up to 256 characters. Kept as a keyed hash.
    pub fingerprint: Option<String>,
}

impl DeviceDraft {
    /// Checks what a client said.
    pub fn new(name: Option<&str>, fingerprint: Option<&str>) -> Result<Self, Invalid> {
        if let Some(name) = name {
            one_line("name", name, 1, 64).map_err(|detail| Invalid::at("/device/name", detail))?;
        }
        if let Some(fingerprint) = fingerprint {
            one_line("fingerprint", fingerprint, 8, 256)
                .map_err(|detail| Invalid::at("/device/fingerprint", detail))?;
        }
        Ok(Self { name: name.map(str::to_owned), fingerprint: fingerprint.map(str::to_owned) })
    }
}

/// A device to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDevice {
    /// The device, unless the account has one with the same fingerprint.
    pub id: DeviceId,
    /// What its owner calls it; a known device keeps the name that it has.
    pub name: Option<String>,
    /// The keyed hash of its fingerprint.
    pub fingerprint: Option<TokenHash>,
    /// When and from where it is seen.
    pub seen: Seen,
}

/// A session to be written, with its first refresh token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSession {
    /// The session.
    pub id: SessionId,
    /// The device it is opened on.
    pub device: NewDevice,
    /// The hash of its first refresh token.
    pub refresh: TokenHash,
    /// When it ends if it is not refreshed.
    pub idle_expires_at: Timestamp,
    /// When it ends in any case.
    pub expires_at: Timestamp,
}

/// A guest to be written, signed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewGuest {
    /// The account.
    pub id: AccountId,
    /// The name that others see.
    pub display_name: DisplayName,
    /// The first session.
    pub session: NewSession,
}

/// A registered account to be written, signed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// The account.
    pub id: AccountId,
    /// The name to sign in with.
    pub username: Username,
    /// The name that others see.
    pub display_name: DisplayName,
    /// Where mail reaches its owner.
    pub email: Option<Email>,
    /// The hashed password.
    pub password: PasswordRecord,
    /// The first session.
    pub session: NewSession,
}

/// What a password is checked against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The account.
    pub account: AccountId,
    /// The hashed password.
    pub password: PasswordRecord,
}

/// Which accounts to read, in order of their ids.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccountQuery {
    /// Only accounts whose username contains this, whatever its case.
    pub text: Option<String>,
    /// Only accounts behind this one.
    pub after: Option<AccountId>,
    /// How many.
    pub limit: Limit,
}

/// A one-time token to be written that makes its bearer a global owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewBootstrapToken {
    /// The token's hash.
    pub hash: TokenHash,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// A global owner to be written, signed in, for a one-time token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bootstrap {
    /// The token's hash.
    pub token: TokenHash,
    /// The account.
    pub id: AccountId,
    /// The name to sign in with.
    pub username: Username,
    /// The name that others see.
    pub display_name: DisplayName,
    /// The hashed password.
    pub password: PasswordRecord,
    /// The id of the `owner` grant.
    pub grant: GrantId,
    /// The first session.
    pub session: NewSession,
}

/// A refresh token as the store knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefreshToken {
    /// The session it belongs to.
    pub session: SessionId,
    /// Which one of the session's tokens it is, from 0.
    pub generation: u32,
    /// When it was replaced.
    pub used_at: Option<Timestamp>,
}

/// A refresh token to be replaced by its successor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotation {
    /// The session.
    pub session: SessionId,
    /// The generation that is replaced; it must be the session's present one.
    pub from: u32,
    /// The hash of the successor.
    pub successor: TokenHash,
    /// When the session ends if it is not refreshed again.
    pub idle_expires_at: Timestamp,
    /// The session's device, and when and from where it is seen.
    pub device: (DeviceId, Seen),
}

/// A ticket to be written: a browser's way to sign a socket in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTicket {
    /// The ticket's hash.
    pub hash: TokenHash,
    /// The session it stands for.
    pub session: SessionId,
    /// The origin it was issued to.
    pub origin: String,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// A ticket that was just spent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    /// The session it stands for.
    pub session: SessionId,
    /// The origin it was issued to.
    pub origin: String,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// SHA-256 of a secret with 256 bits of randomness; stores keep nothing else of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// Wraps a digest.
    pub const fn new(digest: [u8; 32]) -> Self {
        Self(digest)
    }

    /// Hashes a token as its bearer shows it.
    pub fn of(token: &str) -> Self {
        Self(Sha256::digest(token.as_bytes()).into())
    }

    /// Returns the digest.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Returns the first four bytes in hexadecimal digits: enough to tell two of one account apart, and nothing to start from.
    pub fn beginning(&self) -> String {
        format!("{:02x}{:02x}{:02x}{:02x}", self.0[0], self.0[1], self.0[2], self.0[3])
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenHash({}…)", self.beginning())
    }
}

/// Writes 256 random bits as a token with a prefix that tells what it is.
pub(crate) fn token_text(prefix: &str, bytes: &[u8; 32]) -> Secret<String> {
    Secret::new(format!("{prefix}{}", Base64UrlUnpadded::encode_string(bytes)))
}
