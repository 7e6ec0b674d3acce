//! What is derived from the root keys, of which there may come to be more while a node runs.

use std::sync::{Arc, PoisonError, RwLock};

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::keys::RootKey;
use crate::{
    clock::{Clock, Timestamp},
    cursor::{CursorKey, CursorSealer},
    secret::Secret,
};

/// The root keys of an installation.
#[derive(Debug)]
pub(super) struct KeyRing {
    /// Youngest first, never empty.
    roots: RwLock<Arc<[RootKey]>>,
    clock: Arc<dyn Clock>,
    cursors: CursorSealer,
}

impl KeyRing {
    pub(super) fn new(roots: Vec<RootKey>, clock: Arc<dyn Clock>) -> Self {
        let cursors = CursorSealer::rotating(cursor_keys(&roots), Arc::clone(&clock));
        Self { roots: RwLock::new(roots.into()), clock, cursors }
    }

    /// Goes on with these keys instead.
    pub(super) fn replace(&self, roots: Vec<RootKey>) {
        self.cursors.replace_keys(cursor_keys(&roots));
        *self.roots.write().unwrap_or_else(PoisonError::into_inner) = roots.into();
    }

    pub(super) fn cursor_sealer(&self) -> CursorSealer {
        self.cursors.clone()
    }

    /// Derives 256 bits for a purpose from the youngest key that every node knows by now.
    pub(super) fn derive(&self, purpose: &str, message: &[u8]) -> [u8; 32] {
        let (roots, now) = (self.roots(), self.clock.now());
        let settled = roots.iter().find(|root| settled_at(root) <= now);
        derive(settled.unwrap_or_else(|| founding(&roots)), purpose, message)
    }

    /// Derives the same from every key, youngest first: one of them is that which was derived before.
    pub(super) fn derive_all(&self, purpose: &str, message: &[u8]) -> Vec<[u8; 32]> {
        self.roots().iter().map(|root| derive(root, purpose, message)).collect()
    }

    /// Derives 256 bits that stay the same for good, for what is looked up in the store.
    pub(super) fn derive_lasting(&self, purpose: &str, message: &[u8]) -> [u8; 32] {
        derive(founding(&self.roots()), purpose, message)
    }

    /// Returns the key that seals for a purpose from now on, and the id of the root key that it is derived from.
    pub(super) fn sealing(&self, purpose: &str) -> (String, [u8; 32]) {
        let (roots, now) = (self.roots(), self.clock.now());
        let settled = roots.iter().find(|root| settled_at(root) <= now).unwrap_or_else(|| founding(&roots));
        (settled.id.clone(), derive(settled, purpose, &[]))
    }

    /// Returns the key that has sealed for a purpose under a root key.
    pub(super) fn opening(&self, root: &str, purpose: &str) -> Option<[u8; 32]> {
        let roots = self.roots();
        roots.iter().find(|known| known.id == root).map(|root| derive(root, purpose, &[]))
    }

    fn roots(&self) -> Arc<[RootKey]> {
        Arc::clone(&self.roots.read().unwrap_or_else(PoisonError::into_inner))
    }
}

fn founding(roots: &[RootKey]) -> &RootKey {
    roots.last().expect("an installation has a root key")
}

fn settled_at(root: &RootKey) -> Timestamp {
    root.created_at + RootKey::SETTLING
}

fn cursor_keys(roots: &[RootKey]) -> impl Iterator<Item = CursorKey> + '_ {
    roots.iter().map(|root| {
        // The first one sealed before there was another, whatever the clocks said.
        let seals_from = if root.id == RootKey::FOUNDING { Timestamp::MIN } else { settled_at(root) };
        CursorKey::new(derive(root, "cursor", &[]), seals_from)
    })
}

fn derive(root: &RootKey, purpose: &str, message: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(root.secret.expose()).expect("HMAC takes a key of any length");
    mac.update(purpose.as_bytes());
    mac.update(&[0]);
    mac.update(message);
    mac.finalize().into_bytes().into()
}

/// Makes a root key.
pub(super) fn root_key(id: String, secret: [u8; 32], created_at: Timestamp) -> RootKey {
    RootKey { id, secret: Secret::new(secret), created_at }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::ManualClock;

    fn root(n: u8, created_at: Timestamp) -> RootKey {
        root_key(format!("root-{n}"), [n; 32], created_at)
    }

    #[test]
    fn a_new_root_key_is_used_once_every_node_knows_it() {
        let clock = Arc::new(ManualClock::default());
        let old = root(1, clock.now());
        let ring = KeyRing::new(vec![old.clone()], clock.clone());
        let before = ring.derive("refresh token", b"1");

        clock.advance(Duration::from_hours(1));
        ring.replace(vec![root(2, clock.now()), old]);
        let announced = ring.derive("refresh token", b"1");
        clock.advance(RootKey::SETTLING);
        let after = ring.derive("refresh token", b"1");

        assert_eq!(announced, before);
        assert_ne!(after, before);
        assert_eq!(ring.derive_all("refresh token", b"1"), [after, before]);
        assert_eq!(ring.derive_lasting("refresh token", b"1"), before);
    }

    #[test]
    fn what_was_sealed_under_an_older_root_key_still_opens() {
        let clock = Arc::new(ManualClock::default());
        let old = root(1, clock.now());
        let ring = KeyRing::new(vec![old.clone()], clock.clone());
        let (id, key) = ring.sealing("second factor");

        clock.advance(Duration::from_hours(1));
        ring.replace(vec![root(2, clock.now()), old]);
        assert_eq!(ring.sealing("second factor"), (id.clone(), key), "not every node knows the new one yet");
        clock.advance(RootKey::SETTLING);

        assert_eq!(ring.sealing("second factor").0, "root-2");
        assert_eq!(ring.opening(&id, "second factor"), Some(key));
        assert_eq!(ring.opening("root-3", "second factor"), None);
    }

    #[test]
    fn one_purpose_tells_nothing_of_another() {
        let ring = KeyRing::new(vec![root(1, Timestamp::UNIX_EPOCH)], Arc::new(ManualClock::default()));

        assert_ne!(ring.derive("refresh token", b"1"), ring.derive("device fingerprint", b"1"));
        assert_ne!(ring.derive("refresh token", b"1"), ring.derive("refresh token", b"2"));
    }
}
