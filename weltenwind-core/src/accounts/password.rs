//! Passwords: what is accepted, and how it is hashed without holding up anybody else.

use std::{
    fmt,
    sync::{Arc, LazyLock},
};

use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{PasswordHasher as _, PasswordVerifier as _, phc::PasswordHash},
};
use tokio::sync::Semaphore;

use super::error::AccountError;
use crate::{error::StorageError, secret::Secret, validation::Invalid};

/// Passwords of ten characters and more that everybody tries first, in lower case and sorted; where they come from stands beside
/// the list.
static COMMON: LazyLock<Vec<&str>> = LazyLock::new(|| include_str!("common_passwords/list.txt").lines().collect());

/// The longest block that makes a password by being repeated: `abcabcabcabc`, `1234512345`.
const BLOCK: usize = 5;

/// Returns whether a password is one that everybody tries first: it stands in the list, is one block over and over, or one run
/// up or down the alphabet or the digits.
fn is_common(text: &str) -> bool {
    let text = text.to_lowercase();
    let chars: Vec<u32> = text.chars().map(u32::from).collect();
    let repeats = |block: usize| chars.iter().zip(&chars[block..]).all(|(one, other)| one == other);
    // From 9 the digits go on with 0, on keyboards and in people's heads.
    let follows = |one: u32, next: u32| next == one + 1 || (one, next) == (u32::from('9'), u32::from('0'));
    let runs = chars.windows(2).all(|pair| follows(pair[0], pair[1]))
        || chars.windows(2).all(|pair| follows(pair[1], pair[0]));
    runs || (1..=BLOCK.min(chars.len())).any(repeats) || COMMON.binary_search(&text.as_str()).is_ok()
}

/// A password as somebody types it: 10 to 128 characters, none of the most common ones, no rules about classes of
/// characters (OWASP ASVS 5.0, 6.2.1, 6.2.4, 6.2.5, 6.2.9).
#[derive(Clone, PartialEq, Eq)]
pub struct Password(Secret<String>);

impl Password {
    /// Checks a password.
    pub fn new(text: &str) -> Result<Self, Invalid> {
        Self::at("/password", text)
    }

    /// Checks a password that stands at `pointer` in a body.
    pub fn at(pointer: &str, text: &str) -> Result<Self, Invalid> {
        let length = text.chars().count();
        if !(10..=128).contains(&length) {
            return Err(Invalid::at(pointer, "a password must have 10 to 128 characters"));
        }
        if is_common(text) {
            return Err(Invalid::at(pointer, "the password is one of those that everybody tries first"));
        }
        Ok(Self(Secret::new(text.to_owned())))
    }

    /// Takes a password as it is shown to sign in: rules are for new ones, and this one may be older than they are.
    pub fn presented(text: &str) -> Self {
        Self(Secret::new(text.to_owned()))
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// A hashed password with its parameters, in PHC string format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PasswordRecord(Secret<String>);

impl PasswordRecord {
    /// Takes a record that was made by [`PasswordHasher::hash`].
    pub const fn from_stored(phc: String) -> Self {
        Self(Secret::new(phc))
    }

    /// Returns the PHC string, for the store alone.
    pub const fn phc(&self) -> &Secret<String> {
        &self.0
    }
}

/// How passwords are hashed: Argon2id with the second recommended set of OWASP's Password Storage Cheat Sheet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HashingConfig {
    /// Memory of one hash in KiB.
    pub memory_kib: u32,
    /// Passes over the memory.
    pub passes: u32,
    /// Hashes that are computed at once; by default as many as there are processors.
    pub parallel: usize,
    /// Hashes that may wait; more are refused as [`AccountError::Overloaded`].
    pub waiting: usize,
}

impl Default for HashingConfig {
    fn default() -> Self {
        let parallel = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self { memory_kib: 19 * 1024, passes: 2, parallel, waiting: 64 }
    }
}

/// Hashes passwords on threads of their own, so many at once and so many in wait.
#[derive(Debug, Clone)]
pub struct PasswordHasher {
    argon2: Argon2<'static>,
    running: Arc<Semaphore>,
    admitted: Arc<Semaphore>,
}

impl PasswordHasher {
    /// Sets limits and parameters.
    ///
    /// # Errors
    ///
    /// [`Invalid`] if Argon2 does not take the parameters.
    pub fn new(config: &HashingConfig) -> Result<Self, Invalid> {
        let params = Params::new(config.memory_kib, config.passes, 1, None)
            .map_err(|error| Invalid::at("auth.hashing", format!("argon2 refuses the parameters: {error}")))?;
        let parallel = config.parallel.max(1);
        Ok(Self {
            argon2: Argon2::new(Algorithm::Argon2id, Version::V0x13, params),
            running: Arc::new(Semaphore::new(parallel)),
            admitted: Arc::new(Semaphore::new(parallel + config.waiting)),
        })
    }

    /// Hashes a password under a fresh salt.
    pub async fn hash(&self, password: Password) -> Result<PasswordRecord, AccountError> {
        let argon2 = self.argon2.clone();
        self.run(move || {
            let hash = argon2
                .hash_password(password.0.expose().as_bytes())
                .map_err(|error| StorageError::permanent("hash a password", error.to_string()))?;
            Ok(PasswordRecord::from_stored(hash.to_string()))
        })
        .await
    }

    /// Returns whether a password is the recorded one.
    pub async fn verify(&self, password: Password, record: PasswordRecord) -> Result<bool, AccountError> {
        let argon2 = self.argon2.clone();
        self.run(move || {
            let hash = PasswordHash::new(record.0.expose())
                .map_err(|error| StorageError::permanent("read a password's record", error.to_string()))?;
            Ok(argon2.verify_password(password.0.expose().as_bytes(), &hash).is_ok())
        })
        .await
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, StorageError> + Send + 'static,
    ) -> Result<T, AccountError> {
        let _admitted = self.admitted.try_acquire().map_err(|_| AccountError::Overloaded)?;
        let running = Arc::clone(&self.running).acquire_owned().await.expect("the semaphore is never closed");
        let result = tokio::task::spawn_blocking(move || {
            let _running = running;
            work()
        })
        .await
        .map_err(|error| StorageError::permanent("hash a password", error))?;
        Ok(result?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quick() -> HashingConfig {
        HashingConfig { memory_kib: 8, passes: 1, parallel: 1, waiting: 0 }
    }

    #[tokio::test]
    async fn a_password_is_known_again_and_another_is_not() {
        let hasher = PasswordHasher::new(&quick()).unwrap();
        let right = Password::new("correct horse").unwrap();

        let record = hasher.hash(right.clone()).await.unwrap();

        assert!(record.phc().expose().starts_with("$argon2id$v=19$m=8,t=1,p=1$"));
        assert!(hasher.verify(right, record.clone()).await.unwrap());
        assert!(!hasher.verify(Password::new("battery staple").unwrap(), record).await.unwrap());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn more_sign_ins_than_may_wait_are_refused() {
        let slow = HashingConfig { memory_kib: 64 * 1024, passes: 4, parallel: 1, waiting: 1 };
        let hasher = PasswordHasher::new(&slow).unwrap();

        let attempts: Vec<_> = (0..8)
            .map(|n| {
                let hasher = hasher.clone();
                tokio::spawn(async move { hasher.hash(Password::new(&format!("correct horse {n}")).unwrap()).await })
            })
            .collect();
        let mut refused = 0;
        for attempt in attempts {
            refused += u32::from(matches!(attempt.await.unwrap(), Err(AccountError::Overloaded)));
        }

        assert!(refused > 0 && refused < 8, "{refused} of 8 were refused");
    }

    #[test]
    fn short_and_common_passwords_are_refused() {
        for text in ["", "short", "password123", "PassWord123", &"x".repeat(129)] {
            assert!(Password::new(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_needs_no_list_to_be_guessed_is_refused() {
        for text in [
            "aaaaaaaaaaaa",
            "abcabcabcabca",
            "1234512345",
            "abcdefghijk",
            "98765432109876",
            "1234567890123",
            "ZYXWVUTSRQ",
        ] {
            assert!(Password::new(text).is_err(), "{text}");
        }
        for text in ["correct horse", "abcdefghik", "abcabcabcabd", "a lantern on the pier", "ääääääääää, sagte sie"]
        {
            assert!(Password::new(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn the_list_is_one_that_can_be_searched() {
        assert!(COMMON.is_sorted() && COMMON.len() > 2500, "{}", COMMON.len());
        assert!(COMMON.iter().all(|text| text.chars().count() >= 10 && text.to_lowercase() == **text));
        assert!(["iloveyou123", "passwort123", "weltenwind123"].iter().all(|text| is_common(text)));
    }
}
