//! What is kept of a request under a key.

use std::{fmt, time::Duration};

use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::error::IdempotencyError;
use crate::{clock::Timestamp, ids::AccountId, step::EffectKey};

/// How long a key stands for its first request.
pub const KEPT: Duration = Duration::from_hours(24);
/// How long a claim keeps others out without an answer; longer than any request may take.
pub const LEASE: Duration = Duration::from_mins(1);
/// The largest body of an answer that is kept, in bytes. A request with a larger answer is run again, without a second effect.
pub const MAX_ANSWER: usize = 64 * 1024;

/// What a caller calls one request of its own: 16 to 128 visible ASCII characters.
///
/// ```
/// use weltenwind_core::idempotency::IdempotencyKey;
///
/// assert!(IdempotencyKey::new("018f0000-0000-7000-8000-00000000000a").is_ok());
/// assert!(IdempotencyKey::new("too short").is_err() && IdempotencyKey::new("sixteen and blank").is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    /// Checks a key.
    ///
    /// # Errors
    ///
    /// [`IdempotencyError::KeyInvalid`].
    pub fn new(text: &str) -> Result<Self, IdempotencyError> {
        let fits = (16..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        if fits { Ok(Self(text.to_owned())) } else { Err(IdempotencyError::KeyInvalid) }
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A request under a key.
#[derive(Debug, Clone, Copy)]
pub struct KeyedRequest<'r> {
    /// Who asks.
    pub account: AccountId,
    /// How.
    pub method: &'r str,
    /// For what, as it was written.
    pub path: &'r str,
    /// Under which name of the caller's own.
    pub key: &'r IdempotencyKey,
    /// With which parameters.
    pub query: Option<&'r str>,
    /// With which body.
    pub body: &'r [u8],
}

impl KeyedRequest<'_> {
    /// Returns what the request is kept under: nobody else's key, and no other path's, is the same.
    pub fn record_key(&self) -> RecordKey {
        let account = self.account.uuid().into_bytes();
        RecordKey(digest([account.as_slice(), self.method.as_bytes(), self.path.as_bytes(), self.key.0.as_bytes()]))
    }

    /// Returns the digest by which a repeat is told from another request under the same key.
    pub fn fingerprint(&self) -> [u8; 32] {
        digest([self.query.unwrap_or_default().as_bytes(), self.body])
    }
}

/// Hashes parts, each behind its length, so that none can pass for the end of the one before.
fn digest<'p>(parts: impl IntoIterator<Item = &'p [u8]>) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    hasher.finalize().into()
}

/// The hash of who asks, how, for what and under which key.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RecordKey([u8; 32]);

impl RecordKey {
    /// Wraps a digest.
    pub const fn new(digest: [u8; 32]) -> Self {
        Self(digest)
    }

    /// Returns the digest.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for RecordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RecordKey({:02x}{:02x}…)", self.0[0], self.0[1])
    }
}

/// A wish to run a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewClaim {
    /// What the request is kept under.
    pub key: RecordKey,
    /// Whose request it is: the record goes with the account.
    pub account: AccountId,
    /// Tells the request from others under the same key.
    pub fingerprint: [u8; 32],
    /// Tells this attempt from others at the same request.
    pub holder: Uuid,
    /// When.
    pub at: Timestamp,
    /// How long others are kept out.
    pub lease: Duration,
}

/// The right to run a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// What the request is kept under.
    pub key: RecordKey,
    /// Tells this attempt from others at the same request.
    pub holder: Uuid,
    /// When the request was first made.
    pub since: Timestamp,
}

impl Claim {
    /// Returns the key under which the request has one effect, however often it is run within the day.
    ///
    /// It goes with the request's beginning: the same key used a day later is another request.
    pub fn effect_key(&self) -> EffectKey {
        let since = self.since.as_microsecond().to_be_bytes();
        EffectKey::of(digest([self.key.0.as_slice(), since.as_slice()]), self.since)
    }
}

/// What a store answers to a wish to run a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claimed {
    /// It may be run.
    Fresh(Claim),
    /// Somebody runs it.
    Running,
    /// It was run, and this is what it answered.
    Answered(StoredAnswer),
    /// The key stands for another request.
    OtherRequest,
}

/// What becomes of a request under a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// It is run.
    Run(Claim),
    /// It is answered as it was before.
    Repeat(StoredAnswer),
}

/// What a claim leaves behind that ends without an answer to keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// Nothing: the request was turned away at the door, and its key may stand for any other.
    Forgotten,
    /// The key stands for its request, which may have had its effect and can be run again at once.
    Bound,
}

/// An answer as a repeat gets it.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredAnswer {
    /// The status.
    pub status: u16,
    /// Where the thing that was made stands.
    pub location: Option<String>,
    /// The state of the thing.
    pub etag: Option<String>,
    /// What the body is.
    pub content_type: Option<String>,
    /// The thing that the body shows, by its id.
    pub resource: Option<Uuid>,
    /// The body; at most [`MAX_ANSWER`].
    pub body: Vec<u8>,
}

impl fmt::Debug for StoredAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What players write to each other does not belong in a log.
        write!(f, "StoredAnswer({}, {} bytes)", self.status, self.body.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> IdempotencyKey {
        IdempotencyKey::new(text).unwrap()
    }

    #[test]
    fn a_key_has_16_to_128_visible_ascii_characters() {
        for (text, fits) in [
            ("k".repeat(16), true),
            ("~!\"'{}[]<>#%&/\\?".to_owned(), true),
            ("k".repeat(128), true),
            ("k".repeat(15), false),
            ("k".repeat(129), false),
            ("sixteen letters ".to_owned(), false),
            ("sixteen\tletters.".to_owned(), false),
            ("sechzehn-zeichän".to_owned(), false),
            (String::new(), false),
        ] {
            assert_eq!(IdempotencyKey::new(&text).is_ok(), fits, "{text:?}");
        }
    }

    #[test]
    fn who_asks_how_and_for_what_belongs_to_the_key() {
        let (mine, other) = (key("0123456789abcdef"), key("0123456789abcdeF"));
        let account = |n| AccountId::new(Uuid::from_u128(n));
        let request =
            KeyedRequest { account: account(1), method: "POST", path: "/a", key: &mine, query: None, body: b"{}" };

        let keys = [
            request.record_key(),
            KeyedRequest { account: account(2), ..request }.record_key(),
            KeyedRequest { method: "PUT", ..request }.record_key(),
            KeyedRequest { path: "/b", ..request }.record_key(),
            KeyedRequest { key: &other, ..request }.record_key(),
            // The same letters, cut elsewhere.
            KeyedRequest { method: "POST/", path: "a", ..request }.record_key(),
        ];

        let apart: std::collections::HashSet<_> = keys.iter().collect();
        assert_eq!(apart.len(), keys.len());
        let same = KeyedRequest { query: Some("x=1"), body: b"[]", ..request };
        assert_eq!(same.record_key(), request.record_key());
        assert_ne!(same.fingerprint(), request.fingerprint());
        let moved = KeyedRequest { query: Some("{}"), body: b"", ..request };
        assert_ne!(moved.fingerprint(), request.fingerprint());
    }

    #[test]
    fn one_request_has_one_effect_key_until_its_day_is_over() {
        let since = Timestamp::from_second(1_767_225_600).unwrap();
        let claim = Claim { key: RecordKey::new([7; 32]), holder: Uuid::from_u128(1), since };

        let later = Claim { holder: Uuid::from_u128(2), ..claim };
        let next_day = Claim { since: since + KEPT, ..claim };

        assert_eq!(later.effect_key(), claim.effect_key());
        assert_ne!(next_day.effect_key(), claim.effect_key());
        assert_ne!(Claim { key: RecordKey::new([8; 32]), ..claim }.effect_key(), claim.effect_key());
    }
}
