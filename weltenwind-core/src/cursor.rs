//! Opaque positions in lists: versioned, authenticated and bound to the list they were issued for.

use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use base64ct::{Base64UrlUnpadded, Encoding as _};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::Sha256;

use crate::{
    chat::{Change, RoomCursor, RoomPosition},
    clock::{Clock, SystemClock, Timestamp},
    code::Code,
    error::Classify,
    ids::ChannelId,
    room::Room,
    secret::Secret,
};

/// Half of SHA-256 is enough: a forged cursor reads nothing that its bearer could not read anyway.
const MAC_BYTES: usize = 16;
/// Tells the few keys of an installation apart; two of one name are both tried.
const NAME_BYTES: usize = 4;
const VERSION: u8 = 2;
/// No position comes near this; it bounds what is decoded.
const MAX_TEXT: usize = 512;

/// How long a key that was replaced still opens what it sealed. Whoever pages on goes from one cursor to the next within
/// minutes; whoever comes back later than this begins anew.
pub const CURSOR_LIFE: Duration = Duration::from_hours(24);

/// The cursor was not issued here, or not for this list, or too long ago.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the cursor does not belong to this list")]
pub struct CursorInvalid;

impl Classify for CursorInvalid {
    fn code(&self) -> Code {
        Code::CursorInvalid
    }
}

/// A key that seals cursors, and when it begins to.
#[derive(Debug, Clone)]
pub struct CursorKey {
    name: [u8; NAME_BYTES],
    key: Secret<[u8; 32]>,
    seals_from: Timestamp,
}

impl CursorKey {
    /// Makes a key that seals from `seals_from` until a later one does, and opens what it sealed for [`CURSOR_LIFE`] more.
    pub fn new(key: [u8; 32], seals_from: Timestamp) -> Self {
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("HMAC takes a key of any length");
        mac.update(b"the name of this key");
        let digest = mac.finalize().into_bytes();
        let name = std::array::from_fn(|at| digest[at]);
        Self { name, key: Secret::new(key), seals_from }
    }

    fn mac(&self, list: &str, payload: &[u8]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.key.expose()).expect("HMAC takes a key of any length");
        mac.update(&[VERSION]);
        mac.update(&self.name);
        // The length keeps the border between list and payload where it was.
        mac.update(&(list.len() as u64).to_be_bytes());
        mac.update(list.as_bytes());
        mac.update(payload);
        mac
    }
}

/// Turns positions into opaque texts and back.
///
/// A cursor names the key that sealed it, so keys can be replaced while cursors are on their way: the youngest key whose time
/// has come seals, and one that was replaced still opens for [`CURSOR_LIFE`]. Clones share their keys.
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
    /// Youngest first, never empty.
    keys: Arc<RwLock<Arc<[CursorKey]>>>,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for CursorSealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CursorSealer").finish_non_exhaustive()
    }
}

impl CursorSealer {
    /// Seals under `key` alone; all nodes of an installation share one.
    pub fn new(key: [u8; 32]) -> Self {
        Self::rotating([CursorKey::new(key, Timestamp::MIN)], Arc::new(SystemClock))
    }

    /// Seals under the youngest of `keys` whose time has come, or the oldest if none has.
    ///
    /// # Panics
    ///
    /// If there is no key.
    pub fn rotating(keys: impl IntoIterator<Item = CursorKey>, clock: Arc<dyn Clock>) -> Self {
        Self { keys: Arc::new(RwLock::new(youngest_first(keys))), clock }
    }

    /// Goes on with these keys instead, in all clones.
    ///
    /// # Panics
    ///
    /// If there is no key.
    pub fn replace_keys(&self, keys: impl IntoIterator<Item = CursorKey>) {
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = youngest_first(keys);
    }

    fn keys(&self) -> Arc<[CursorKey]> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Seals a position for `list`, which names the list with every filter that shapes it.
    pub fn seal(&self, list: &str, position: &impl Serialize) -> String {
        let keys = self.keys();
        let key = match &*keys {
            [only] => only,
            several => &several[sealing(several, self.clock.now())],
        };
        let payload = serde_json::to_vec(position).expect("a position is plain data");
        let mut bytes = Vec::with_capacity(1 + NAME_BYTES + MAC_BYTES + payload.len());
        bytes.push(VERSION);
        bytes.extend_from_slice(&key.name);
        bytes.extend_from_slice(&key.mac(list, &payload).finalize().into_bytes()[..MAC_BYTES]);
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
        let (name, rest) = rest.split_at_checked(NAME_BYTES).ok_or(CursorInvalid)?;
        let (mac, payload) = rest.split_at_checked(MAC_BYTES).ok_or(CursorInvalid)?;
        let keys = self.keys();
        let sealed_by =
            |key: &CursorKey| key.name == *name && key.mac(list, payload).verify_truncated_left(mac).is_ok();
        let at = keys.iter().position(sealed_by).ok_or(CursorInvalid)?;
        // Whatever replaced the youngest key has yet to come.
        if at > 0 && self.clock.now() >= keys[at - 1].seals_from + CURSOR_LIFE {
            return Err(CursorInvalid);
        }
        serde_json::from_slice(payload).map_err(|_| CursorInvalid)
    }

    /// Seals how far somebody was told of a channel; the same text serves `roomCursor`, `since` over HTTP and `since` in a join.
    pub fn seal_room(&self, channel: ChannelId, told: impl Into<RoomCursor>) -> String {
        let RoomCursor { at: RoomPosition { epoch, change }, whole } = told.into();
        let whole = Some(whole).filter(|whole| *whole != change);
        self.seal(&Room::Channel(channel).to_string(), &SealedRoom(epoch, change, whole))
    }

    /// Opens what [`CursorSealer::seal_room`] made for the same channel.
    pub fn open_room(&self, channel: ChannelId, cursor: &str) -> Result<RoomCursor, CursorInvalid> {
        let SealedRoom(epoch, change, whole) = self.open(&Room::Channel(channel).to_string(), cursor)?;
        Ok(RoomCursor { at: RoomPosition { epoch, change }, whole: whole.unwrap_or(change) })
    }
}

/// A room's cursor: the epoch, the last change, and up to where it is whole, unless that is the same.
#[derive(Serialize, Deserialize)]
struct SealedRoom(u32, Change, #[serde(default, skip_serializing_if = "Option::is_none")] Option<Change>);

fn youngest_first(keys: impl IntoIterator<Item = CursorKey>) -> Arc<[CursorKey]> {
    let mut keys: Vec<CursorKey> = keys.into_iter().collect();
    assert!(!keys.is_empty(), "cursors are sealed under a key");
    // The name decides between keys of one instant, on every node alike.
    keys.sort_by_key(|key| std::cmp::Reverse((key.seals_from, key.name)));
    keys.into()
}

/// Returns the place of the key that seals at `now`, among keys in order of their age.
fn sealing(keys: &[CursorKey], now: Timestamp) -> usize {
    keys.iter().position(|key| key.seals_from <= now).unwrap_or(keys.len() - 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        clock::ManualClock,
        ids::{IdGenerator as _, SequentialIds},
    };

    /// A second less than a cursor lives at least.
    const ALMOST: Duration = Duration::from_secs(CURSOR_LIFE.as_secs() - 1);

    fn key(n: u8, seals_from: Timestamp) -> CursorKey {
        CursorKey::new([n; 32], seals_from)
    }

    fn name_of(cursor: &str) -> Vec<u8> {
        Base64UrlUnpadded::decode_vec(cursor).unwrap()[1..=NAME_BYTES].to_vec()
    }

    proptest! {
        #[test]
        fn an_opened_cursor_is_what_was_sealed(list in ".{0,40}", name in ".{0,40}", n in any::<i64>()) {
            let sealer = CursorSealer::new([1; 32]);
            let cursor = sealer.seal(&list, &(&name, n));
            prop_assert_eq!(sealer.open::<(String, i64)>(&list, &cursor), Ok((name, n)));
        }

        #[test]
        fn a_changed_cursor_is_refused(name in ".{0,40}", n in any::<i64>(), at in any::<prop::sample::Index>(), flip in 1_u8..=255) {
            let sealer = CursorSealer::new([1; 32]);
            let mut bytes = Base64UrlUnpadded::decode_vec(&sealer.seal("list", &(name, n))).unwrap();
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            let forged = Base64UrlUnpadded::encode_string(&bytes);
            prop_assert_eq!(sealer.open::<(String, i64)>("list", &forged), Err(CursorInvalid));
        }

        #[test]
        fn a_cursor_with_another_character_is_refused(at in any::<prop::sample::Index>(), other in "[A-Za-z0-9_=+/ -]") {
            let sealer = CursorSealer::new([1; 32]);
            let cursor = sealer.seal("list", &7);
            let at = at.index(cursor.len());
            let forged = format!("{}{other}{}", &cursor[..at], &cursor[at + 1..]);
            prop_assert_eq!(sealer.open::<i64>("list", &forged), if forged == cursor { Ok(7) } else { Err(CursorInvalid) });
        }

        #[test]
        fn a_cursor_that_was_cut_or_continued_is_refused(keep in any::<prop::sample::Index>(), more in "[A-Za-z0-9_-]{1,8}") {
            let sealer = CursorSealer::new([1; 32]);
            let cursor = sealer.seal("list", &7);
            prop_assert_eq!(sealer.open::<i64>("list", &cursor[..keep.index(cursor.len())]), Err(CursorInvalid));
            prop_assert_eq!(sealer.open::<i64>("list", &format!("{cursor}{more}")), Err(CursorInvalid));
        }

        #[test]
        fn a_cursor_opens_for_its_own_list_alone(list in ".{0,20}", other in ".{0,20}") {
            let sealer = CursorSealer::new([1; 32]);
            let cursor = sealer.seal(&list, &7);
            prop_assert_eq!(sealer.open::<i64>(&other, &cursor).is_ok(), other == list);
        }

        /// However keys follow one another and however much time goes by: what was sealed opens for a day at least, on
        /// this node and on one that joined later.
        #[test]
        fn a_cursor_opens_for_a_day_whatever_becomes_of_its_key(ages in prop::collection::vec(0_u64..200, 1..5), hours in 0_u64..200) {
            let clock = Arc::new(ManualClock::default());
            let begin = clock.now();
            let keys: Vec<CursorKey> = (1..).zip(&ages).map(|(n, age)| key(n, begin + Duration::from_hours(*age))).collect();
            clock.advance(Duration::from_hours(hours));
            let (here, there) = (CursorSealer::rotating(keys.clone(), clock.clone()), CursorSealer::rotating(keys, clock.clone()));
            let cursor = here.seal("list", &7);
            clock.advance(ALMOST);
            prop_assert_eq!(here.open::<i64>("list", &cursor), Ok(7));
            prop_assert_eq!(there.open::<i64>("list", &cursor), Ok(7));
        }

        #[test]
        fn noise_is_refused(noise in ".{0,80}") {
            prop_assert_eq!(CursorSealer::new([1; 32]).open::<i64>("list", &noise), Err(CursorInvalid));
        }
    }

    #[test]
    fn a_rooms_cursor_says_up_to_where_it_is_whole() {
        let (sealer, channel) = (CursorSealer::new([1; 32]), ChannelId::new(SequentialIds::default().draw()));
        let at = RoomPosition { epoch: 7, change: Change::new(15) };
        let torn = RoomCursor { at, whole: Change::new(10) };

        let (left, right) = (sealer.seal_room(channel, at), sealer.seal_room(channel, torn));

        assert_eq!(sealer.open_room(channel, &left), Ok(RoomCursor { at, whole: at.change }));
        assert_eq!(sealer.open_room(channel, &right), Ok(torn));
        // As every cursor was sealed before some were torn.
        assert_eq!(left, sealer.seal(&Room::Channel(channel).to_string(), &(7, 15)));
    }

    #[test]
    fn a_cursor_of_another_installation_is_refused() {
        let cursor = CursorSealer::new([1; 32]).seal("list", &7);

        assert_eq!(CursorSealer::new([2; 32]).open::<i64>("list", &cursor), Err(CursorInvalid));
    }

    #[test]
    fn a_new_key_seals_from_its_time_on_and_the_old_one_opens_for_a_day_more() {
        let clock = Arc::new(ManualClock::default());
        let rotation = clock.now() + Duration::from_mins(2);
        let (old, new) = (key(1, Timestamp::MIN), key(2, rotation));
        let (old_name, new_name) = (old.name.to_vec(), new.name.to_vec());
        let sealer = CursorSealer::rotating([old.clone()], clock.clone());
        let clone = sealer.clone();
        let before = sealer.seal("list", &1);

        clone.replace_keys([old, new]);
        let announced = sealer.seal("list", &2);
        clock.advance(Duration::from_mins(2));
        let after = sealer.seal("list", &3);

        assert_eq!((name_of(&before), name_of(&announced), name_of(&after)), (old_name.clone(), old_name, new_name));
        clock.advance(ALMOST);
        for (cursor, position) in [(&before, 1), (&announced, 2), (&after, 3)] {
            assert_eq!(sealer.open::<i64>("list", cursor), Ok(position));
        }
        clock.advance(Duration::from_secs(1));
        for (cursor, answer) in [(&before, Err(CursorInvalid)), (&announced, Err(CursorInvalid)), (&after, Ok(3))] {
            assert_eq!(sealer.open::<i64>("list", cursor), answer);
        }
    }

    #[test]
    fn a_key_that_other_nodes_use_already_opens_before_its_time_here() {
        let clock = Arc::new(ManualClock::default());
        let now = clock.now();
        let (slow, fast) = (Arc::clone(&clock), Arc::new(ManualClock::at(now + Duration::from_secs(1))));
        let keys = || [key(1, Timestamp::MIN), key(2, now + Duration::from_secs(1))];

        let cursor = CursorSealer::rotating(keys(), fast).seal("list", &7);

        assert_eq!(CursorSealer::rotating(keys(), slow).open::<i64>("list", &cursor), Ok(7));
    }

    #[test]
    fn every_key_seals_differently() {
        let one = CursorSealer::new([1; 32]).seal("list", &7);
        let two = CursorSealer::new([2; 32]).seal("list", &7);
        let both = CursorSealer::rotating([key(1, Timestamp::MIN), key(2, Timestamp::MIN)], Arc::new(SystemClock));

        assert_ne!(one, two);
        // A key's name alone does not make a cursor its own.
        let mut bytes = Base64UrlUnpadded::decode_vec(&one).unwrap();
        bytes[1..=NAME_BYTES].copy_from_slice(&name_of(&two));
        assert_eq!(both.open::<i64>("list", &Base64UrlUnpadded::encode_string(&bytes)), Err(CursorInvalid));
    }
}
