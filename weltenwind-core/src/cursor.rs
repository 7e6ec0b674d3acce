//! Opaque positions in lists: versioned, authenticated and bound to the list they were issued for.

use std::fmt;

use base64ct::{Base64UrlUnpadded, Encoding as _};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Serialize, de::DeserializeOwned};
use sha2::Sha256;

use crate::{code::Code, error::Classify, ids::ChannelId, room::Room, secret::Secret};

/// Half of SHA-256 is enough: a forged cursor reads nothing that its bearer could not read anyway.
const MAC_BYTES: usize = 16;
const VERSION: u8 = 1;
/// No position comes near this; it bounds what is decoded.
const MAX_TEXT: usize = 512;

/// The cursor was not issued here, or not for this list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the cursor does not belong to this list")]
pub struct CursorInvalid;

impl Classify for CursorInvalid {
    fn code(&self) -> Code {
        Code::CursorInvalid
    }
}

/// Turns positions into opaque texts and back.
///
/// ```
/// use weltenwind_core::CursorSealer;
///
/// let sealer = CursorSealer::new([7; 32]);
/// let cursor = sealer.seal("worlds?sort=name", &("mistral", 4));
/// assert_eq!(sealer.open::<(String, u8)>("worlds?sort=name", &cursor)?, ("mistral".to_owned(), 4));
/// assert!(sealer.open::<(String, u8)>("worlds?sort=age", &cursor).is_err());
/// # Ok::<(), weltenwind_core::CursorInvalid>(())
/// ```
#[derive(Clone)]
pub struct CursorSealer {
    key: Secret<[u8; 32]>,
}

impl fmt::Debug for CursorSealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CursorSealer").finish_non_exhaustive()
    }
}

impl CursorSealer {
    /// Seals under `key`; all nodes of an installation share one.
    pub const fn new(key: [u8; 32]) -> Self {
        Self { key: Secret::new(key) }
    }

    /// Seals a position for `list`, which names the list with every filter that shapes it.
    pub fn seal(&self, list: &str, position: &impl Serialize) -> String {
        let payload = serde_json::to_vec(position).expect("a position is plain data");
        let mut bytes = Vec::with_capacity(1 + MAC_BYTES + payload.len());
        bytes.push(VERSION);
        bytes.extend_from_slice(&self.mac(list, &payload).finalize().into_bytes()[..MAC_BYTES]);
        bytes.extend_from_slice(&payload);
        Base64UrlUnpadded::encode_string(&bytes)
    }

    /// Opens what [`CursorSealer::seal`] made for the same list.
    pub fn open<T: DeserializeOwned>(&self, list: &str, cursor: &str) -> Result<T, CursorInvalid> {
        if cursor.len() > MAX_TEXT {
            return Err(CursorInvalid);
        }
        let bytes = Base64UrlUnpadded::decode_vec(cursor).map_err(|_| CursorInvalid)?;
        let Some((&VERSION, rest)) = bytes.split_first() else {
            return Err(CursorInvalid);
        };
        let (mac, payload) = rest.split_at_checked(MAC_BYTES).ok_or(CursorInvalid)?;
        self.mac(list, payload).verify_truncated_left(mac).map_err(|_| CursorInvalid)?;
        serde_json::from_slice(payload).map_err(|_| CursorInvalid)
    }

    /// Seals a channel's position; the same text serves `roomCursor`, `since` over HTTP and `since` in a join.
    pub fn seal_room(&self, channel: ChannelId, at: crate::chat::RoomPosition) -> String {
        self.seal(&Room::Channel(channel).to_string(), &(at.epoch, at.change))
    }

    /// Opens a channel's position.
    pub fn open_room(&self, channel: ChannelId, cursor: &str) -> Result<crate::chat::RoomPosition, CursorInvalid> {
        let (epoch, change) = self.open(&Room::Channel(channel).to_string(), cursor)?;
        Ok(crate::chat::RoomPosition { epoch, change })
    }

    fn mac(&self, list: &str, payload: &[u8]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.key.expose()).expect("HMAC takes a key of any length");
        mac.update(&[VERSION]);
        // The length keeps the border between list and payload where it was.
        mac.update(&(list.len() as u64).to_be_bytes());
        mac.update(list.as_bytes());
        mac.update(payload);
        mac
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_opened_cursor_is_what_was_sealed(list in ".{0,40}", name in ".{0,40}", n in any::<i64>()) {
            let sealer = CursorSealer::new([1; 32]);
            let cursor = sealer.seal(&list, &(&name, n));
            prop_assert_eq!(sealer.open::<(String, i64)>(&list, &cursor), Ok((name, n)));
        }

        #[test]
        fn a_changed_cursor_is_refused(at in 0_usize..40, flip in 1_u8..=255) {
            let sealer = CursorSealer::new([1; 32]);
            let mut bytes = Base64UrlUnpadded::decode_vec(&sealer.seal("list", &("a position that is long enough", 7))).unwrap();
            bytes[at] ^= flip;
            let forged = Base64UrlUnpadded::encode_string(&bytes);
            prop_assert_eq!(sealer.open::<(String, i64)>("list", &forged), Err(CursorInvalid));
        }

        #[test]
        fn noise_is_refused(noise in ".{0,80}") {
            prop_assert_eq!(CursorSealer::new([1; 32]).open::<i64>("list", &noise), Err(CursorInvalid));
        }
    }

    #[test]
    fn a_cursor_of_another_installation_is_refused() {
        let cursor = CursorSealer::new([1; 32]).seal("list", &7);

        assert_eq!(CursorSealer::new([2; 32]).open::<i64>("list", &cursor), Err(CursorInvalid));
    }
}
