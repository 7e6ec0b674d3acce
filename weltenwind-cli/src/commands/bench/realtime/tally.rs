//! What every listener must have heard: each message of its room once, in order.

use std::collections::BTreeSet;

use serde::Serialize;

/// What one listener heard of its room, whose messages are numbered 1, 2, 3 ….
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// The highest number that was heard.
    highest: u64,
    /// Numbers below it that were not heard yet.
    missing: BTreeSet<u64>,
    doubled: u64,
    out_of_order: u64,
}

/// Messages that did not come as they should; nothing else than zeros is right.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Wrong {
    pub(super) lost: u64,
    pub(super) doubled: u64,
    pub(super) out_of_order: u64,
    /// Messages of another room than the listener's.
    pub(super) elsewhere: u64,
}

impl Ledger {
    pub(super) fn note(&mut self, number: u64) {
        if number > self.highest {
            self.missing.extend(self.highest + 1..number);
            self.highest = number;
        } else if self.missing.remove(&number) {
            self.out_of_order += 1;
        } else {
            self.doubled += 1;
        }
    }

    /// Whether every message up to `last` was heard.
    pub(super) fn is_complete(&self, last: u64) -> bool {
        self.highest >= last && self.missing.is_empty()
    }

    /// Says what is wrong in a room whose last message is `last`.
    pub(super) fn wrong(&self, last: u64) -> Wrong {
        let unheard = self.missing.len() as u64 + last.saturating_sub(self.highest);
        Wrong { lost: unheard, doubled: self.doubled, out_of_order: self.out_of_order, elsewhere: 0 }
    }
}

impl Wrong {
    pub(super) fn add(&mut self, other: Self) {
        let Self { lost, doubled, out_of_order, elsewhere } = other;
        self.lost += lost;
        self.doubled += doubled;
        self.out_of_order += out_of_order;
        self.elsewhere += elsewhere;
    }

    pub(super) fn is_nothing(self) -> bool {
        self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(heard: &[u64], last: u64) -> Wrong {
        let mut ledger = Ledger::default();
        for number in heard {
            ledger.note(*number);
        }
        assert_eq!(ledger.is_complete(last), ledger.wrong(last).lost == 0);
        ledger.wrong(last)
    }

    #[test]
    fn every_message_once_and_in_order_is_right() {
        assert!(wrong(&[1, 2, 3, 4], 4).is_nothing());
        assert!(wrong(&[], 0).is_nothing());
    }

    #[test]
    fn a_lost_message_is_counted_wherever_it_was() {
        let lost = |count| Wrong { lost: count, ..Wrong::default() };

        assert_eq!(wrong(&[1, 3], 3), lost(1), "between two others");
        assert_eq!(wrong(&[3, 4], 4), lost(2), "at the beginning");
        assert_eq!(wrong(&[1, 2], 5), lost(3), "at the end");
        assert_eq!(wrong(&[], 2), lost(2), "all of them");
    }

    #[test]
    fn a_doubled_message_is_counted_each_time() {
        assert_eq!(wrong(&[1, 2, 2, 1, 3], 3), Wrong { doubled: 2, ..Wrong::default() });
    }

    #[test]
    fn a_late_message_is_out_of_order_and_not_lost() {
        assert_eq!(wrong(&[1, 3, 2, 4], 4), Wrong { out_of_order: 1, ..Wrong::default() });
        let all = Wrong { out_of_order: 1, doubled: 1, lost: 1, elsewhere: 0 };
        assert_eq!(wrong(&[1, 4, 2, 2], 4), all);
    }
}
