//! Who a client believes to be in the room of everybody, held against what it is told, and in the end against who is there.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use weltenwind_core::presence::PresenceConfig;

use crate::oracle::Broken;

/// What presence is told by, in `joined` and in records of its own.
#[derive(Debug, Deserialize)]
pub(crate) struct Told<'a> {
    version: u64,
    #[serde(default)]
    whole: bool,
    #[serde(borrow, default, alias = "members")]
    join: Vec<Member<'a>>,
    #[serde(borrow, default)]
    leave: Vec<&'a str>,
    count: usize,
}

#[derive(Debug, Deserialize)]
struct Member<'a> {
    id: &'a str,
    state: Option<String>,
}

/// Everybody whom a client knows of, and what they say of themselves.
#[derive(Debug, Default)]
pub(crate) struct View {
    version: u64,
    members: BTreeMap<String, Option<String>>,
}

impl View {
    /// Begins with what `joined` tells.
    pub(crate) fn open(told: &Told<'_>) -> Result<Self, Broken> {
        let mut view = Self::default();
        view.renew(told)?;
        Ok(view)
    }

    fn renew(&mut self, told: &Told<'_>) -> Result<(), Broken> {
        self.version = told.version;
        self.members.clear();
        self.take_members(told)
    }

    /// Takes a change, or everybody anew.
    pub(crate) fn take(&mut self, told: &Told<'_>) -> Result<(), Broken> {
        if told.whole {
            if told.version < self.version {
                return Err(format!("everybody as of {}, behind {}", told.version, self.version));
            }
            crate::count("who is there told anew");
            return self.renew(told);
        }
        if told.version <= self.version {
            return Ok(());
        }
        if told.version > self.version + 1 {
            return Err(format!("a hole in who is there: {} behind {}", told.version, self.version));
        }
        crate::count("changes of who is there");
        self.version = told.version;
        for account in &told.leave {
            self.members.remove(*account);
        }
        self.take_members(told)
    }

    fn take_members(&mut self, told: &Told<'_>) -> Result<(), Broken> {
        self.members.extend(told.join.iter().map(|member| (member.id.to_owned(), member.state.clone())));
        if self.members.len() == told.count {
            return Ok(());
        }
        self.members.clear();
        // Of so many, only the number is told.
        let may_be_unlisted = told.count > PresenceConfig::default().max_members / 4 * 3;
        if may_be_unlisted { Ok(()) } else { Err(format!("others than {} are there: {told:?}", told.count)) }
    }

    /// Returns whether these and nobody else are there, and say what they are known to.
    pub(crate) fn is(&self, there: &BTreeSet<(String, Option<String>)>) -> bool {
        self.members.len() == there.len()
            && there.iter().all(|(account, state)| self.members.get(account).is_some_and(|known| known == state))
    }
}
