//! Passwords: what is accepted, and how it is hashed without holding up anybody else.

use std::{fmt, sync::Arc};

use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{PasswordHasher as _, PasswordVerifier as _, phc::PasswordHash},
};
use tokio::sync::Semaphore;

use super::error::AccountError;
use crate::{error::StorageError, secret::Secret, validation::Invalid};

/// Passwords of ten characters and more that everybody tries first.
const COMMON: &[&str] = &[
    "0123456789",
    "1234567890",
    "12345678910",
    "0987654321",
    "1111111111",
    "0000000000",
    "123123123123",
    "1q2w3e4r5t",
    "1q2w3e4r5t6y",
    "1qaz2wsx3edc",
    "abcdefghij",
    "abcd123456",
    "admin12345",
    "adminadmin",
    "administrator",
    "asdfghjkl1",
    "asdfghjkl;",
    "baseball123",
    "changeme123",
    "dragon1234",
    "football123",
    "iloveyou123",
    "letmein123",
    "password01",
    "password12",
    "password123",
    "password1234",
    "passwordpassword",
    "passwort123",
    "princess123",
    "qazwsxedcrfv",
    "qwerty12345",
    "qwerty123456",
    "qwertyuiop",
    "qwertzuiop",
    "superman123",
    "weltenwind",
    "weltenwind123",
    "welcome123",
    "zaq12wsxcde3",
];

/// A password as somebody types it: 10 to 128 characters, none of the most common ones, no rules about classes of
/// characters (OWASP ASVS 5.0, 6.2.1, 6.2.4, 6.2.5, 6.2.9).
#[derive(Clone, PartialEq, Eq)]
pub struct Password(Secret<String>);

impl Password {
    /// Checks a password.
    pub fn new(text: &str) -> Result<Self, Invalid> {
        let length = text.chars().count();
        if !(10..=128).contains(&length) {
            return Err(Invalid::at("/password", "password must have 10 to 128 characters"));
        }
        if COMMON.contains(&text.to_lowercase().as_str()) {
            return Err(Invalid::at("/password", "password is one of those that everybody tries first"));
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
}
