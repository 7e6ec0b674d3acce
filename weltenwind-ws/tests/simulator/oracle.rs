//! What must hold of all that clients hear, whatever fails. Neither I/O nor clock: the same is asked of nodes in a simulation
//! and of real processes.
//!
//! A client's account of a room is an [`Ear`]. It is held against the [`Ledger`], which knows each change once: from the
//! store itself where a test can see it, and else from whoever heard it first.

#![allow(dead_code, reason = "each test binary asks what it can")]

use std::{
    collections::{BTreeMap, HashMap},
    ops::Bound::{Excluded, Included},
};

use base64ct::{Base64UrlUnpadded, Encoding as _};
use serde::Deserialize;

/// What broke, in words.
pub(crate) type Broken = String;

/// How far a client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct At {
    pub(crate) epoch: u32,
    pub(crate) change: i64,
}

/// What a cursor says.
#[derive(Debug, Clone, Copy)]
struct Cursor {
    at: At,
    /// Up to where its bearer was told of everything that was posted.
    whole: i64,
}

impl Cursor {
    /// Looks into a cursor. Clients do not; an oracle may.
    fn open(cursor: &str) -> Result<Self, Broken> {
        /// A version, the name of a key, and the seal.
        const SEAL: usize = 1 + 4 + 16;
        #[derive(Deserialize)]
        struct Sealed(u32, i64, #[serde(default)] Option<i64>);

        let bytes = Base64UrlUnpadded::decode_vec(cursor).map_err(|_| format!("no cursor: {cursor}"))?;
        let position = bytes.get(SEAL..).and_then(|json| serde_json::from_slice(json).ok());
        let Sealed(epoch, change, whole) = position.ok_or_else(|| format!("no position: {cursor}"))?;
        let whole = whole.unwrap_or(change);
        if whole > change {
            return Err(format!("a cursor that is whole up to {whole} and has got to {change}"));
        }
        Ok(Self { at: At { epoch, change }, whole })
    }
}

impl At {
    /// Looks into a cursor for the position alone.
    pub(crate) fn of_cursor(cursor: &str) -> Result<Self, Broken> {
        Ok(Cursor::open(cursor)?.at)
    }
}

/// A message as a record shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) message: String,
    pub(crate) seq: i64,
    /// None of one that was removed.
    pub(crate) body: Option<String>,
}

/// A change, and, where that is known, the one that posted its message.
#[derive(Debug, Clone)]
pub(crate) struct Fact {
    pub(crate) shown: Shown,
    pub(crate) posted: Option<i64>,
}

/// The changes of one life of a room.
#[derive(Debug, Default)]
pub(crate) struct Life {
    pub(crate) epoch: u32,
    facts: BTreeMap<i64, Fact>,
    /// The changes of each message, in order.
    of_message: HashMap<String, Vec<i64>>,
}

/// Every change of every room, in the order of their lives.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    rooms: BTreeMap<usize, Vec<Life>>,
}

/// A post that was acknowledged.
#[derive(Debug, Clone)]
pub(crate) struct Acknowledged {
    pub(crate) room: usize,
    pub(crate) message: String,
}

impl Ledger {
    /// Begins another life of a room.
    pub(crate) fn begin(&mut self, room: usize, epoch: u32) {
        self.rooms.entry(room).or_default().push(Life { epoch, ..Life::default() });
    }

    pub(crate) fn lives(&self, room: usize) -> &[Life] {
        self.rooms.get(&room).map_or(&[], Vec::as_slice)
    }

    fn age(&self, room: usize, epoch: u32) -> Option<usize> {
        self.lives(room).iter().position(|life| life.epoch == epoch)
    }

    /// Notes a change, or holds it against what was noted: all hear the same, so all hear it in the same order.
    pub(crate) fn note(&mut self, room: usize, at: At, fact: Fact) -> Result<(), Broken> {
        let age = self.age(room, at.epoch).ok_or_else(|| format!("a life that never was: {at:?}"))?;
        let life = &mut self.rooms.get_mut(&room).expect("it has lives")[age];
        if let Some(known) = life.facts.get(&at.change) {
            if known.shown != fact.shown {
                return Err(format!(
                    "room {room} at {at:?} is told in two ways: {:?} and {:?}",
                    known.shown, fact.shown
                ));
            }
            return Ok(());
        }
        let changes = life.of_message.entry(fact.shown.message.clone()).or_default();
        let place = changes.partition_point(|change| *change < at.change);
        changes.insert(place, at.change);
        life.facts.insert(at.change, fact);
        Ok(())
    }

    /// Returns how every message of a life stands by now.
    pub(crate) fn newest(&self, room: usize, epoch: u32) -> Vec<&Shown> {
        let Some(age) = self.age(room, epoch) else { return Vec::new() };
        let life = &self.lives(room)[age];
        life.of_message.values().filter_map(|changes| changes.last()).map(|change| &life.facts[change].shown).collect()
    }

    fn posted(&self, room: usize, at: At) -> Option<i64> {
        self.lives(room)[self.age(room, at.epoch)?].facts.get(&at.change)?.posted
    }
}

impl Life {
    /// Returns how far it got.
    pub(crate) fn head(&self) -> i64 {
        self.facts.last_key_value().map_or(0, |(change, _)| *change)
    }

    /// Returns the change under which a message is known first.
    fn first(&self, message: &str) -> Option<i64> {
        self.of_message.get(message).map(|changes| changes[0])
    }
}

/// A part of a room's life that was heard without a gap: everything behind `from`, up to `to`.
#[derive(Debug, Clone, Copy)]
struct Stretch {
    epoch: u32,
    from: i64,
    to: i64,
}

/// What one client hears of a room from when it came first, over any number of sockets.
#[derive(Debug)]
pub(crate) struct Ear {
    pub(crate) room: usize,
    /// The last one still grows; between two of them a gap was signalled.
    stretches: Vec<Stretch>,
    /// Up to where it had been told of everything when the replay began that told it what it hears now, as its cursor says.
    replay_from: i64,
    /// Messages that it was told of, by life, and their newest change.
    known: HashMap<(u32, String), i64>,
    cursor: String,
    expected: Expected,
    /// Whether every replay so far fitted into one page.
    pub(crate) is_exact: bool,
}

/// What has to come before the room is live.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Expected {
    /// The word that replay is over.
    Live,
    /// A gap that leads there, and then that word.
    Gap(At),
    Nothing,
}

impl Ear {
    /// Begins with the answer to a join without a cursor: what was before is nobody's promise.
    pub(crate) fn open(room: usize, cursor: &str, recovered: bool) -> Result<Self, Broken> {
        if recovered {
            return Err("something was recovered for somebody who named no position".to_owned());
        }
        let At { epoch, change } = At::of_cursor(cursor)?;
        Ok(Self {
            room,
            stretches: vec![Stretch { epoch, from: change, to: change }],
            replay_from: change,
            known: HashMap::new(),
            cursor: cursor.to_owned(),
            expected: Expected::Live,
            is_exact: false,
        })
    }

    /// Returns what the next join names.
    pub(crate) fn cursor(&self) -> &str {
        &self.cursor
    }

    /// Returns whether it left in the midst of a replay, as its cursor says.
    pub(crate) fn is_torn(&self) -> bool {
        Cursor::open(&self.cursor).is_ok_and(|Cursor { at, whole }| whole < at.change)
    }

    pub(crate) fn at(&self) -> At {
        let Stretch { epoch, to: change, .. } = *self.last();
        At { epoch, change }
    }

    /// Returns whether it is told what happens as it happens.
    pub(crate) fn is_live(&self) -> bool {
        self.expected == Expected::Nothing
    }

    /// Returns whether it was promised all that it missed, and has not been told all of it.
    pub(crate) fn is_replaying(&self) -> bool {
        self.expected == Expected::Live
    }

    fn last(&self) -> &Stretch {
        self.stretches.last().expect("there is one from the beginning")
    }

    /// Takes the answer to a join that named its cursor.
    pub(crate) fn rejoin(&mut self, ledger: &Ledger, cursor: &str, recovered: bool) -> Result<(), Broken> {
        let at = At::of_cursor(cursor)?;
        self.check_cursor(ledger)?;
        if recovered && at != self.at() {
            return Err(format!("asked for what is behind {:?}, and answered from {at:?}", self.at()));
        }
        self.replay_from = Cursor::open(&self.cursor)?.whole;
        self.expected = if recovered { Expected::Live } else { Expected::Gap(at) };
        Ok(())
    }

    /// Asks whether everything was told that its cursor says was.
    fn check_cursor(&self, ledger: &Ledger) -> Result<(), Broken> {
        let (room, Cursor { at, whole }) = (self.room, Cursor::open(&self.cursor)?);
        let age = ledger.age(room, at.epoch).ok_or_else(|| format!("a life that never was: {at:?}"))?;
        let from = self.last().from;
        if whole < from {
            return Err(format!("room {room}: whole up to {whole}, and everything was heard since {from}"));
        }
        for (change, fact) in ledger.lives(room)[age].facts.range((Excluded(from), Included(whole))) {
            let message = &fact.shown.message;
            if fact.posted == Some(*change) && !self.known.contains_key(&(at.epoch, message.clone())) {
                return Err(format!(
                    "room {room}: whole up to {whole}, and {message}, posted at {change}, was never told"
                ));
            }
        }
        Ok(())
    }

    /// Takes a message that is new, or one that changed.
    pub(crate) fn message(
        &mut self,
        ledger: &mut Ledger,
        is_news: bool,
        cursor: &str,
        shown: Shown,
    ) -> Result<(), Broken> {
        let (room, at, before) = (self.room, At::of_cursor(cursor)?, self.at());
        if let Expected::Gap(_) = self.expected {
            return Err(format!("room {room}: a message where a gap was announced"));
        }
        if at.epoch != before.epoch {
            return Err(format!("room {room}: from {before:?} to {at:?} without a gap"));
        }
        if at.change <= before.change {
            return Err(format!("room {room}: {at:?} behind {before:?}, a repeat or out of order"));
        }
        let key = (at.epoch, shown.message.clone());
        let known = self.known.get(&key).copied();
        ledger.note(room, at, Fact { shown, posted: None })?;
        let posted = ledger.posted(room, at);
        // What was posted since it came and was never told is new, over however many sockets: what the cursor says is not asked.
        let is_new = known.is_none() && posted.is_none_or(|posted| posted > self.last().from);
        // Where nobody knows when it was posted, it may have been long ago. What is edited behind a place up to which not all was
        // told may come as new once more, and clients fold that: in a replay that this cursor goes on with, and between two
        // pages of one.
        let is_unsure = !self.is_exact || posted.is_none_or(|posted| posted > self.replay_from);
        let is_folded = is_news && known.is_some() && posted != Some(at.change) && is_unsure;
        if is_news != is_new && (is_news || posted.is_some()) && !is_folded {
            let said = if is_news { "new" } else { "changed" };
            return Err(format!(
                "room {room} at {at:?} a message is told as {said}: it was posted at {posted:?}, and told at {known:?} before; \
                 the replay began at {}, and was at {before:?}",
                self.replay_from
            ));
        }
        self.known.insert(key, at.change);
        self.stretches.last_mut().expect("there is one").to = at.change;
        cursor.clone_into(&mut self.cursor);
        Ok(())
    }

    pub(crate) fn gap(&mut self, cursor: &str) -> Result<(), Broken> {
        let (room, at, before) = (self.room, At::of_cursor(cursor)?, self.at());
        match self.expected {
            Expected::Gap(announced) if announced != at => {
                return Err(format!("room {room}: a gap to {announced:?} was announced, and it leads to {at:?}"));
            }
            Expected::Gap(_) => self.expected = Expected::Live,
            _ => {}
        }
        if at.epoch == before.epoch && at.change <= before.change {
            return Err(format!("room {room}: a gap from {before:?} back to {at:?}"));
        }
        self.stretches.push(Stretch { epoch: at.epoch, from: at.change, to: at.change });
        self.replay_from = at.change;
        cursor.clone_into(&mut self.cursor);
        Ok(())
    }

    pub(crate) fn live(&mut self) -> Result<(), Broken> {
        if self.expected != Expected::Live {
            return Err(format!("room {}: live where {:?} is expected", self.room, self.expected));
        }
        self.expected = Expected::Nothing;
        Ok(())
    }

    /// Asks at the end whether anything is missing that was not told to be. Who `stayed` has heard everything to the end.
    pub(crate) fn judge(&self, ledger: &Ledger, acknowledged: &[Acknowledged], stayed: bool) -> Result<(), Broken> {
        let lives = ledger.lives(self.room);
        let age = |epoch| ledger.age(self.room, epoch).ok_or_else(|| format!("no life of epoch {epoch}"));
        if stayed {
            let newest = lives.last().ok_or("a room without a life")?;
            let head = At { epoch: newest.epoch, change: newest.head() };
            if self.at() != head {
                return Err(format!("room {} is at {head:?}, and a client stayed at {:?}", self.room, self.at()));
            }
        }
        for (n, stretch) in self.stretches.iter().enumerate() {
            let life = &lives[age(stretch.epoch)?];
            let is_last = n + 1 == self.stretches.len();
            for (change, fact) in life.facts.range((Excluded(stretch.from), Included(stretch.to))) {
                let message = &fact.shown.message;
                let heard = self.known.get(&(stretch.epoch, message.clone()));
                let is_told = heard.is_some_and(|heard| heard >= change);
                // What was overwritten is told in its newest state, unless the telling ended before that.
                let goes_on = life.of_message[message].iter().any(|later| *later > stretch.to);
                if !is_told && !(goes_on && !(is_last && stayed)) {
                    return Err(format!("room {}: change {change} of {stretch:?} was never told", self.room));
                }
            }
        }
        for post in acknowledged.iter().filter(|post| post.room == self.room) {
            for (age, life) in lives.iter().enumerate() {
                if let Some(first) = life.first(&post.message)
                    && !self.accounts_for(ledger, age, first, stayed)
                {
                    let Acknowledged { room, message } = post;
                    return Err(format!("room {room}: {message} was acknowledged, and neither told nor in a gap"));
                }
            }
            if !lives.iter().any(|life| life.first(&post.message).is_some()) {
                return Err(format!("room {}: {} was acknowledged and never stored", post.room, post.message));
            }
        }
        Ok(())
    }

    /// Returns whether a change lies before the client came, in what it heard, in a gap, or behind where it left.
    fn accounts_for(&self, ledger: &Ledger, age: usize, change: i64, stayed: bool) -> bool {
        let place = |epoch, change| (ledger.age(self.room, epoch).unwrap_or(usize::MAX), change);
        let first = &self.stretches[0];
        let this = (age, change);
        let was_before = this <= place(first.epoch, first.from);
        let heard = |part: &Stretch| this > place(part.epoch, part.from) && this <= place(part.epoch, part.to);
        let missed = self
            .stretches
            .windows(2)
            .any(|pair| this > place(pair[0].epoch, pair[0].to) && this <= place(pair[1].epoch, pair[1].from));
        let last = self.last();
        let is_later = this > place(last.epoch, last.to) && !stayed;
        was_before || missed || is_later || self.stretches.iter().any(heard)
    }
}
