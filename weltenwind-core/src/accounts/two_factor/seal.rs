//! Secrets that must be read again, as the store keeps them: encrypted under a key that is derived from a root key.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

use super::code::SECRET_BYTES;
use crate::{ids::AccountId, secret::Secret};

/// An authenticator's secret, encrypted.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedSecret {
    /// The id of the root key that its key is derived from.
    pub root: String,
    /// A nonce of twelve bytes, and what AES-256-GCM makes of the secret. It opens for the account alone that it was sealed for.
    pub bytes: Vec<u8>,
}

impl fmt::Debug for SealedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealedSecret").field("root", &self.root).finish_non_exhaustive()
    }
}

/// Encrypts a secret for an account.
pub(super) fn seal(
    (root, key): (String, [u8; 32]),
    nonce: [u8; NONCE_LEN],
    account: AccountId,
    secret: &[u8; SECRET_BYTES],
) -> SealedSecret {
    let mut sealed = secret.to_vec();
    let aad = Aad::from(account.uuid().into_bytes());
    let key = key_of(&key);
    let unique = Nonce::assume_unique_for_key(nonce);
    key.seal_in_place_append_tag(unique, aad, &mut sealed).expect("a secret is short");
    SealedSecret { root, bytes: [nonce.as_slice(), &sealed].concat() }
}

/// Decrypts a secret; nothing if it was sealed under another key or for another account, or was changed.
pub(super) fn open(key: &[u8; 32], account: AccountId, sealed: &SealedSecret) -> Option<Secret<[u8; SECRET_BYTES]>> {
    let (nonce, sealed) = sealed.bytes.split_first_chunk::<NONCE_LEN>()?;
    let mut sealed = sealed.to_vec();
    let aad = Aad::from(account.uuid().into_bytes());
    let opened = key_of(key).open_in_place(Nonce::assume_unique_for_key(*nonce), aad, &mut sealed).ok()?;
    Some(Secret::new((&*opened).try_into().ok()?))
}

fn key_of(key: &[u8; 32]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).expect("AES-256 takes 32 bytes"))
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_secret_opens_under_its_key_and_for_its_account_alone() {
        let (mira, lu) = (AccountId::new(Uuid::from_u128(1)), AccountId::new(Uuid::from_u128(2)));
        let secret = *b"12345678901234567890";

        let sealed = seal(("root".to_owned(), [7; 32]), [1; NONCE_LEN], mira, &secret);

        assert_eq!(open(&[7; 32], mira, &sealed).map(|secret| *secret.expose()), Some(secret));
        assert!(!sealed.bytes.windows(4).any(|part| part == &secret[..4]));
        assert_eq!(open(&[8; 32], mira, &sealed), None);
        assert_eq!(open(&[7; 32], lu, &sealed), None);
        let mut changed = sealed.clone();
        changed.bytes[NONCE_LEN] ^= 1;
        assert_eq!(open(&[7; 32], mira, &changed), None);
        assert_eq!(open(&[7; 32], mira, &SealedSecret { bytes: vec![0; 3], ..sealed }), None);
    }
}
