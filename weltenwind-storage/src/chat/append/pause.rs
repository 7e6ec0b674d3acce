//! Which messages of a batch come too soon after their authors' last ones.

use std::collections::{HashMap, HashSet};

use weltenwind_core::{
    Timestamp,
    chat::{Appended, NewMessage, Refusal},
};

use super::whole_microseconds;
use crate::rows::Instant;

/// The messages of a batch, by their places in it, whose authors are asked for a pause in the channel.
pub(super) struct Paced {
    places: Vec<usize>,
}

/// What the store knows of such a message, once nobody else writes in its channel.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct PastRow {
    /// Whether it would be written but for the pause: the channel is open, the client id is new, and the reply is to a message.
    is_fresh: bool,
    /// When the author's newest message in the channel was sent; read once for each author and channel.
    last_sent_at: Option<Instant>,
}

impl Paced {
    pub(super) fn of(batch: &[NewMessage]) -> Self {
        let by_whom = |new: &NewMessage| (new.channel, new.author.id);
        let asked: HashSet<_> = batch.iter().filter(|new| !new.pause.is_zero()).map(by_whom).collect();
        let places = batch.iter().enumerate().filter(|(_, new)| asked.contains(&by_whom(new)));
        Self { places: places.map(|(place, _)| place).collect() }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Returns the messages, in the batch's order.
    pub(super) fn messages<'a>(&'a self, batch: &'a [NewMessage]) -> impl Iterator<Item = &'a NewMessage> {
        self.places.iter().map(|place| &batch[*place])
    }

    /// Judges the messages one after the other, as if each were written before the next is looked at.
    pub(super) fn judge(&self, batch: &[NewMessage], past: Vec<PastRow>) -> TooSoon {
        let (mut refusals, mut lasts, mut firsts) = (HashMap::new(), HashMap::<_, Timestamp>::new(), HashSet::new());
        for (place, row) in self.places.iter().zip(past) {
            let new = &batch[*place];
            let by_whom = (new.channel, new.author.id);
            if let Some(Instant(last)) = row.last_sent_at {
                lasts.insert(by_whom, last);
            }
            let name = new.client_id.as_ref().map(|client_id| (by_whom, client_id));
            if !row.is_fresh || name.is_some_and(|name| firsts.contains(&name)) {
                continue;
            }
            if let Some(refusal) = new.too_soon_after(lasts.get(&by_whom).copied()) {
                refusals.insert(*place, refusal);
                continue;
            }
            lasts.insert(by_whom, whole_microseconds(new.sent_at));
            firsts.extend(name);
        }
        TooSoon { refusals }
    }
}

/// The messages of a batch that are not to be written, by their places in it.
#[derive(Default)]
pub(super) struct TooSoon {
    refusals: HashMap<usize, Refusal>,
}

impl TooSoon {
    /// Returns the other messages.
    pub(super) fn rest(&self, batch: &[NewMessage]) -> Vec<NewMessage> {
        let rest = batch.iter().enumerate().filter(|(place, _)| !self.refusals.contains_key(place));
        rest.map(|(_, new)| new.clone()).collect()
    }

    /// Puts the refusals among the answers that the other messages got.
    pub(super) fn among(mut self, rest: Vec<Appended>) -> Vec<Appended> {
        let (all, mut rest) = (self.refusals.len() + rest.len(), rest.into_iter());
        (0..all).filter_map(|place| self.refusals.remove(&place).map(Err).or_else(|| rest.next())).collect()
    }
}
