//! The partitions that rooms fall into: what a node asks Redis for.

use std::fmt::{self, Write as _};

use weltenwind_core::Room;

/// How many partitions there are. The price of few is that a node is sent what happens in rooms of which it has nobody, and
/// passes it over unread; the price of many is paid with every connection, which asks for each. Nodes that disagree on the
/// number do not hear each other.
pub(super) const PARTITIONS: u8 = 128;

/// What is sent and heard as one: all rooms of one hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Partition(u8);

impl Partition {
    /// All of them, in their order.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        (0..PARTITIONS).map(Self)
    }

    /// Returns the partition of a room: the same on every node of every version, because it comes from the room's name alone.
    pub(super) fn of(room: Room) -> Self {
        let mut hash = Fnv::default();
        write!(hash, "{room}").expect("a hash takes everything");
        Self(u8::try_from(hash.folded() % u32::from(PARTITIONS)).expect("a partition's number"))
    }

    /// Returns its place among [`all`](Self::all).
    pub(super) fn index(self) -> usize {
        self.0.into()
    }
}

/// Two digits, because the slots of names of one length lie evenly: every cluster of up to eight shards has its equal part.
impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02x}", self.0)
    }
}

/// FNV-1a, 64 bits: the standard library's hash may change with every release.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    /// Both halves in one: the lower bits alone depend on the lower bits of the text alone.
    #[expect(clippy::cast_possible_truncation, reason = "each half has 32 bits")]
    const fn folded(&self) -> u32 {
        (self.0 >> 32) as u32 ^ self.0 as u32
    }
}

impl fmt::Write for Fnv {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;
    use weltenwind_core::{ChannelId, WorldId};

    use super::*;

    fn channel(n: u128) -> Room {
        Room::Channel(ChannelId::new(Uuid::from_u128(n)))
    }

    #[test]
    fn a_room_is_always_in_the_same_partition() {
        let of = |room| Partition::of(room).to_string();

        assert_eq!(of(Room::Global), "19");
        assert_eq!(of(Room::World(WorldId::new(Uuid::from_u128(1)))), "22");
        assert_eq!(of(channel(0x0192_3f4a_5b6c_7d8e_9fa0_b1c2_d3e4_f506)), "7d");
    }

    #[test]
    fn rooms_fall_into_all_partitions_evenly() {
        let mut counts = [0_u32; PARTITIONS as usize];
        // Ids that grow by one are as unlike random ones as can be.
        for n in 0..100 * u128::from(PARTITIONS) {
            counts[Partition::of(channel(n)).index()] += 1;
        }

        let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
        assert!(*least >= 50 && *most <= 150, "{counts:?}");
    }
}
