//! Which messages of a channel were told of.

use std::collections::BTreeMap;

/// Holes that are remembered. A replay of the whole window leaves 3 333 at most until the messages come that were edited in it;
/// retention leaves some behind. A channel with more is a channel of holes.
const MAX_RANGES: usize = 8192;

/// The numbers of messages that were told of, as ranges: one range as long as nothing is missing.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// First and last number of each range.
    ranges: BTreeMap<i64, i64>,
}

impl Seen {
    pub(super) fn contains(&self, seq: i64) -> bool {
        self.ranges.range(..=seq).next_back().is_some_and(|(_, last)| seq <= *last)
    }

    /// Returns whether a message was passed over: later and earlier ones were told of, and it was not.
    ///
    /// A replay tells of each message at the place of its newest change, so one that was edited comes behind later ones.
    pub(super) fn passed_over(&self, seq: i64) -> bool {
        !self.contains(seq) && self.ranges.first_key_value().is_some_and(|(first, _)| *first < seq)
    }

    /// Adds a number that was not contained.
    pub(super) fn insert(&mut self, seq: i64) {
        let last = self.ranges.remove(&(seq + 1)).unwrap_or(seq);
        match self.ranges.range_mut(..seq).next_back() {
            Some((_, before)) if *before == seq - 1 => *before = last,
            _ => {
                self.ranges.insert(seq, last);
            }
        }
        if self.ranges.len() > MAX_RANGES {
            self.close_oldest_hole();
        }
    }

    fn close_oldest_hole(&mut self) {
        if let Some((first, _)) = self.ranges.pop_first()
            && let Some((_, last)) = self.ranges.pop_first()
        {
            self.ranges.insert(first, last);
        }
    }

    pub(super) fn clear(&mut self) {
        self.ranges.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn of(numbers: &[i64]) -> Seen {
        let mut seen = Seen::default();
        for seq in numbers {
            seen.insert(*seq);
        }
        seen
    }

    #[test]
    fn numbers_in_a_row_are_one_range() {
        assert_eq!(of(&[5, 6, 8, 9, 7, 4]).ranges, BTreeMap::from([(4, 9)]));
    }

    #[test]
    fn what_was_seen_is_what_was_inserted_in_any_order() {
        let numbers = [40, 3, 12, 4, 5, 13, 39, 11, 1];
        let seen = of(&numbers);
        let expected = BTreeSet::from(numbers);

        for seq in 0..50 {
            assert_eq!(seen.contains(seq), expected.contains(&seq), "{seq}");
        }
    }

    #[test]
    fn only_what_lies_behind_the_first_can_be_passed_over() {
        let seen = of(&[5, 7]);

        assert_eq!([4, 5, 6, 7, 8].map(|seq| seen.passed_over(seq)), [false, false, true, false, true]);
    }

    #[test]
    fn a_channel_of_holes_costs_no_more_than_so_many_ranges() {
        let numbers: Vec<i64> = (0..20_000).map(|n| n * 2).collect();
        let seen = of(&numbers);

        assert_eq!(seen.ranges.len(), MAX_RANGES);
        assert!(seen.contains(0) && seen.contains(39_998) && !seen.contains(39_997));
    }
}
