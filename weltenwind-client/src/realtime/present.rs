//! Who is in a room, as far as the program was told.

use std::collections::BTreeMap;

use weltenwind_core::{
    AccountId, Room,
    wire::{MemberRecord, PresenceRecord},
};

use super::event::Event;

/// Who is in a room.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Present {
    /// Everybody, oneself included; nobody where there are more than the server lists.
    pub members: Vec<MemberRecord>,
    /// How many there are, listed or not.
    pub count: usize,
}

/// A change that does not follow on what is known: something between the two was missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hole;

/// What is known of a room's members. It outlives connections, so that the program hears of what changed between two.
#[derive(Debug, Default)]
pub(super) struct View {
    version: u64,
    members: BTreeMap<AccountId, MemberRecord>,
    count: usize,
}

impl View {
    pub(super) fn present(&self) -> Present {
        Present { members: self.members.values().cloned().collect(), count: self.count }
    }

    /// Takes what the server says of everybody, and returns how that differs from what was known.
    pub(super) fn renew(&mut self, room: Room, snapshot: PresenceRecord) -> Event {
        self.version = snapshot.version;
        let members = snapshot.members.into_iter().map(|member| (member.id, member)).collect();
        self.turn_into(room, members, snapshot.count)
    }

    /// Takes a change; nothing is told of one that is known already.
    pub(super) fn take(
        &mut self,
        room: Room,
        version: u64,
        join: Vec<MemberRecord>,
        leave: &[AccountId],
        count: usize,
    ) -> Result<Option<Event>, Hole> {
        if version <= self.version {
            return Ok(None);
        }
        if version > self.version + 1 {
            return Err(Hole);
        }
        self.version = version;
        let (mut members, before) = (self.members.clone(), self.count);
        for account in leave {
            members.remove(account);
        }
        members.extend(join.into_iter().map(|member| (member.id, member)));
        let event = self.turn_into(room, members, count);
        // Oneself is in the snapshot, and then in a change.
        let is_news = |event: &Event| {
            before != count
                || matches!(event, Event::Presence { join, leave, .. } if !join.is_empty() || !leave.is_empty())
        };
        Ok(Some(event).filter(is_news))
    }

    fn turn_into(&mut self, room: Room, mut members: BTreeMap<AccountId, MemberRecord>, count: usize) -> Event {
        if members.len() != count {
            // There are more than are listed; whoever is left over of the list is no better known than the others.
            members.clear();
        }
        let is_new = |member: &&MemberRecord| self.members.get(&member.id) != Some(*member);
        let join = members.values().filter(is_new).cloned().collect();
        let leave = self.members.keys().filter(|account| !members.contains_key(account)).copied().collect();
        (self.members, self.count) = (members, count);
        Event::Presence { room, join, leave, count }
    }
}

#[cfg(test)]
mod tests {
    use weltenwind_core::{IdGenerator as _, SequentialIds};

    use super::*;

    fn people<const N: usize>() -> [AccountId; N] {
        let ids = SequentialIds::default();
        std::array::from_fn(|_| AccountId::new(ids.draw()))
    }

    fn member(id: AccountId, state: Option<&str>) -> MemberRecord {
        MemberRecord { id, display_name: "Mira".to_owned(), state: state.map(str::to_owned) }
    }

    fn snapshot(version: u64, members: &[AccountId], count: usize) -> PresenceRecord {
        let members = members.iter().map(|id| member(*id, None)).collect();
        PresenceRecord { version, members, count }
    }

    /// Who came and who went.
    fn told(event: &Event) -> (Vec<AccountId>, Vec<AccountId>, usize) {
        let Event::Presence { join, leave, count, .. } = event else { panic!("{event:?}") };
        (join.iter().map(|member| member.id).collect(), leave.clone(), *count)
    }

    #[test]
    fn changes_count_on_from_the_snapshot_and_what_is_known_is_passed_over() {
        let ([mira, lu], mut view) = (people(), View::default());

        assert_eq!(told(&view.renew(Room::Global, snapshot(6, &[mira], 1))), (vec![mira], vec![], 1));
        assert!(view.take(Room::Global, 6, vec![member(lu, None)], &[], 2).unwrap().is_none());
        let heard = view.take(Room::Global, 7, vec![member(lu, Some("away"))], &[mira], 1).unwrap().unwrap();

        assert_eq!(told(&heard), (vec![lu], vec![mira], 1));
        let again = view.take(Room::Global, 8, vec![member(lu, Some("away"))], &[], 1).unwrap();
        assert!(again.is_none(), "{again:?}");
        assert_eq!(view.present(), Present { members: vec![member(lu, Some("away"))], count: 1 });
    }

    #[test]
    fn behind_a_hole_nothing_is_taken_until_the_view_is_renewed() {
        let ([mira, lu, ola], mut view) = (people(), View::default());
        view.renew(Room::Global, snapshot(1, &[mira, lu], 2));

        assert_eq!(view.take(Room::Global, 3, Vec::new(), &[lu], 1).unwrap_err(), Hole);
        assert_eq!(view.present().count, 2);

        let heard = view.renew(Room::Global, snapshot(3, &[mira, ola], 2));
        assert_eq!(told(&heard), (vec![ola], vec![lu], 2), "the difference to what was told");
    }

    #[test]
    fn of_more_than_are_listed_only_the_number_is_known() {
        let ([mira, lu, ola], mut view) = (people(), View::default());
        // Oneself is in the snapshot before others are told, so the server's list ends without oneself.
        view.renew(Room::Global, snapshot(1, &[mira, lu, ola], 3));

        let heard = view.take(Room::Global, 2, Vec::new(), &[mira, lu], 4).unwrap().unwrap();
        assert_eq!(told(&heard), (vec![], vec![mira, lu, ola], 4));
        let heard = view.take(Room::Global, 3, Vec::new(), &[], 5).unwrap().unwrap();
        assert_eq!(told(&heard), (vec![], vec![], 5));
        assert_eq!(view.present(), Present { members: Vec::new(), count: 5 });

        let heard = view.take(Room::Global, 4, vec![member(mira, None), member(lu, None)], &[], 2).unwrap().unwrap();
        assert_eq!(told(&heard), (vec![mira, lu], vec![], 2));
    }
}
