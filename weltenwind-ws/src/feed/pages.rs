//! Pages of the store, finished once for all who come from the same place.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, Weak, atomic::Ordering},
    time::Duration,
};

use tokio::{sync::OnceCell, time::Instant};
use weltenwind_core::{
    Limit, StorageError,
    chat::{Change, Changes, ChatError, GapCause, Message, RoomCursor, RoomHead, RoomPosition},
    wire::ServerRecord,
};

use super::{Channel, Feed, lock};
use crate::{
    frame::{self, FrameBuilder},
    metrics::Weighed,
    reader::{Page, PageFrame, PageKey, Reader},
    records,
};

/// The longest text of a frame of replay; one record may be longer.
pub(super) const FRAME_BYTES: usize = 32 * 1024;
/// Frames of one page, which a socket that does not read holds for as long as it may stay: some 64 KiB.
const PAGE_FRAMES: usize = 2;
/// The most messages that are asked for when a page is read.
pub(super) const MOST_ASKED: u16 = 200;
/// Places that are remembered before it is looked for those where nobody is any more.
const FEW: usize = 64;
/// A node that has not heard yet of a channel's new life will in a moment.
const ANOTHER_LIFE: Duration = Duration::from_millis(50);

/// A page that takes longer is given up: a connection that is gone without a word holds nobody up who shares the page.
const PATIENCE: Duration = Duration::from_secs(10);

/// For how long a position that was read is believed.
const BELIEVED: Duration = Duration::from_millis(100);

type Slot = OnceCell<Arc<Page>>;

/// The pages that are being read or written out. When a whole node's clients come back, most come from one place.
#[derive(Debug, Default)]
pub(super) struct Pages {
    slots: Mutex<Slots>,
}

#[derive(Debug, Default)]
struct Slots {
    known: HashMap<PageKey, Weak<Slot>>,
    /// How many may be known before the ones that nobody holds are forgotten. To look for them each time would cost whoever
    /// comes back as much as there are others at other places.
    enough: usize,
}

impl Pages {
    fn slot(&self, key: PageKey) -> Arc<Slot> {
        let mut slots = lock(&self.slots);
        // A page on which nothing stood is kept by whoever does not read: meanwhile there may be something.
        let leads_on = |slot: &Arc<Slot>| slot.get().is_none_or(|page| page.after != key.at);
        if let Some(slot) = slots.known.get(&key).and_then(Weak::upgrade).filter(leads_on) {
            return slot;
        }
        if slots.known.len() >= slots.enough {
            slots.known.retain(|_, slot| slot.strong_count() > 0);
            slots.enough = (2 * slots.known.len()).max(FEW);
            let enough = slots.enough;
            slots.known.shrink_to(enough);
        }
        let slot = Arc::new(Slot::new());
        slots.known.insert(key, Arc::downgrade(&slot));
        slot
    }
}

/// A page, kept for others as long as somebody reads it.
#[derive(Debug)]
pub(crate) struct SharedPage {
    pub(crate) page: Arc<Page>,
    _slot: Arc<Slot>,
}

impl Feed {
    /// Makes a reader that was told what `since` says, or everything up to now; answers whether it will be told all since.
    pub(crate) async fn reader(&self, since: Option<RoomCursor>) -> Result<(Reader, RoomCursor, bool), ChatError> {
        let Some(since) = since else {
            let head = self.position();
            return Ok((Reader::new(head), head.into(), false));
        };
        // What this node has not heard of may have happened all the same.
        let head = self.confirmed(since.at).await?;
        Ok(match since.at.gap_before(head) {
            None => (Reader::since(since, head.position), since, true),
            Some(cause) => {
                let head = head.position;
                (Reader::behind_gap(self.gap(cause, head), cause, head), head.into(), false)
            }
        })
    }

    /// Reads how far the room is in the store, once for all who come back at about the same time; whoever was told of more
    /// meanwhile has it read anew.
    async fn confirmed(&self, since: RoomPosition) -> Result<RoomHead, ChatError> {
        let channel = self.channel.as_ref().ok_or(ChatError::ChannelNotFound)?;
        let mut head = channel.head.lock().await;
        if let Some((read_at, known)) = *head {
            let known = newer(known, self.position());
            let RoomPosition { epoch, change } = known.position;
            let is_told = since.epoch == epoch && since.change <= change;
            if is_told && read_at.elapsed() < BELIEVED {
                return Ok(known);
            }
        }
        let read_at = Instant::now();
        let read = channel.shared.head().await?;
        *head = Some((read_at, read));
        Ok(newer(read, self.position()))
    }

    /// Returns the page that a reader wants.
    pub(crate) async fn page(&self, key: PageKey) -> Result<SharedPage, ChatError> {
        let channel = self.channel.as_ref().ok_or(ChatError::ChannelNotFound)?;
        if key.at.epoch != self.position().epoch {
            tokio::time::sleep(ANOTHER_LIFE).await;
        }
        let slot = channel.pages.slot(key);
        let reading = slot.get_or_try_init(async || {
            let late = |late| StorageError::transient("read a page of replay", late);
            tokio::time::timeout(PATIENCE, self.read_page(channel, key)).await.map_err(late)?
        });
        let page = Arc::clone(reading.await?);
        Ok(SharedPage { page, _slot: slot })
    }

    async fn read_page(&self, channel: &Channel, key: PageKey) -> Result<Arc<Page>, ChatError> {
        let asked = channel.asks();
        let (frames, after, more) = match channel.shared.changes(key.at, asked).await {
            Ok(Changes { page: changed, position }) => {
                let (frames, taken) = channel.frames(&changed.items, changed.more, key);
                let is_cut = taken < changed.items.len();
                channel.learn(asked, is_cut.then_some(taken));
                // Where a page is cut, the next one goes on: behind the last message on it.
                let change = if is_cut { changed.items[taken - 1].change } else { position.change };
                (frames, RoomPosition { change, ..position }, changed.more || is_cut)
            }
            Err(ChatError::ReplayWindowExceeded) => {
                let head = channel.shared.head().await?;
                let (cause, head) = (key.at.gap_before(head).unwrap_or(GapCause::Window), head.position);
                (vec![PageFrame { frame: self.gap(cause, head), records: 1, gap: Some(cause) }], head, false)
            }
            Err(error) => return Err(error),
        };
        let bytes = frames.iter().map(|PageFrame { frame, .. }| frame.len()).sum();
        let weight = Weighed::new(&self.budget.pages, bytes);
        Ok(Arc::new(Page { frames, after, more, _weight: Some(weight) }))
    }

    /// Makes the frame that tells of a gap.
    pub(super) fn gap(&self, cause: GapCause, after: RoomPosition) -> bytes::Bytes {
        let cursor = self.channel.as_ref().map(|channel| channel.cursors.seal_room(channel.id, after));
        let cause = name_of(cause).to_owned();
        let record = ServerRecord::Gap { room: self.room, cause, cursor: cursor.unwrap_or_default() };
        frame::of_record(&records::write(&record))
    }
}

impl Channel {
    fn asks(&self) -> Limit {
        Limit::new(self.asks.load(Ordering::Relaxed)).expect("1 to 200")
    }

    /// Takes from a page how many messages the next one may have. What is read beyond that is read in vain.
    fn learn(&self, asked: Limit, fitting: Option<usize>) {
        let next = fitting.map_or(2 * asked.get(), |fitting| fitting + fitting / 8 + 1);
        let next = u16::try_from(next).unwrap_or(MOST_ASKED).min(MOST_ASKED);
        self.asks.store(next, Ordering::Relaxed);
    }

    /// Writes messages in their newest state, and answers how many of them a page takes; the store may have `more`. To who has
    /// read up to `replay_from`, one that was posted later is new.
    fn frames(&self, messages: &[Message], more: bool, key: PageKey) -> (Vec<PageFrame>, usize) {
        let mut frames = Vec::new();
        let (mut frame, mut records) = (FrameBuilder::new(), 0);
        let wholes = wholes(messages, more, key.replay_from);
        for (taken, (message, whole)) in messages.iter().zip(wholes).enumerate() {
            let is_news = message.posted_change > key.replay_from;
            let told = RoomCursor { at: RoomPosition { change: message.change, ..key.at }, whole };
            let record = records::write_change(message, told, is_news, &self.cursors);
            if !frame.is_empty() && frame.len() + 1 + record.len() > FRAME_BYTES {
                let full = std::mem::replace(&mut frame, FrameBuilder::new());
                frames.push(PageFrame { frame: full.finish(), records, gap: None });
                records = 0;
                if frames.len() == PAGE_FRAMES {
                    return (frames, taken);
                }
            }
            frame.push(&record);
            records += 1;
        }
        if !frame.is_empty() {
            frames.push(PageFrame { frame: frame.finish(), records, gap: None });
        }
        (frames, messages.len())
    }
}

/// Returns behind each message of a page up to where everything was told: as far as nothing was posted that is yet to come. Of
/// what stands on pages behind this one, nothing is known here but that it is new since `replay_from`.
fn wholes(messages: &[Message], more: bool, replay_from: Change) -> Vec<Change> {
    let mut untold = if more { replay_from } else { Change::new(i64::MAX) };
    let mut wholes = Vec::with_capacity(messages.len());
    for message in messages.iter().rev() {
        wholes.push(untold.min(message.change));
        if message.posted_change > replay_from {
            untold = untold.min(Change::new(message.posted_change.get() - 1));
        }
    }
    wholes.reverse();
    wholes
}

/// Returns where the room is: what was read, unless more was heard since.
fn newer(read: RoomHead, heard: RoomPosition) -> RoomHead {
    let is_newer = heard.epoch == read.position.epoch && heard.change > read.position.change;
    RoomHead { position: if is_newer { heard } else { read.position }, ..read }
}

/// Returns the word for a cause, as it is sent and counted.
pub(crate) const fn name_of(cause: GapCause) -> &'static str {
    match cause {
        GapCause::Window => "window",
        GapCause::Epoch => "epoch",
    }
}

#[cfg(test)]
mod tests {
    use weltenwind_core::chat::{NewMessage, Seq};

    use super::*;
    use crate::ring::tests::at;

    /// Messages by the changes that posted them and that were their last.
    fn messages(changes: &[(i64, i64)]) -> Vec<Message> {
        let NewMessage { id, channel, author, body, client_id, reply_to, sent_at, .. } = NewMessage::sample("well met");
        let message = Message {
            id,
            channel,
            seq: Seq::new(1),
            posted_change: Change::ZERO,
            change: Change::ZERO,
            author,
            body: Some(body),
            client_id,
            reply_to,
            sent_at,
            edited_at: None,
            tombstone: None,
        };
        let at = |(posted, change)| Message {
            posted_change: Change::new(posted),
            change: Change::new(change),
            ..message.clone()
        };
        changes.iter().copied().map(at).collect()
    }

    #[test]
    fn a_reader_is_whole_up_to_what_is_yet_to_come() {
        let behind = |changes: &[(i64, i64)], more| -> Vec<i64> {
            wholes(&messages(changes), more, Change::new(10)).into_iter().map(Change::get).collect()
        };

        assert_eq!(behind(&[(11, 11), (12, 12), (13, 13)], false), [11, 12, 13]);
        // 11 was edited behind 15, and 14 behind that; what was posted before the replay is no news in any place.
        assert_eq!(
            behind(&[(12, 12), (13, 13), (15, 15), (11, 20), (14, 21), (3, 22)], false),
            [10, 10, 10, 13, 21, 22]
        );
        assert_eq!(
            behind(&[(11, 11), (12, 12)], true),
            [10, 10],
            "who knows what was edited and stands on the next page"
        );
        assert!(behind(&[], false).is_empty());
    }

    #[test]
    fn a_page_is_shared_while_it_is_read_and_while_it_leads_on() {
        let pages = Pages::default();
        let key = |from| PageKey { at: at(from), replay_from: at(from).change };
        let page = |after| Arc::new(Page { frames: Vec::new(), after, more: false, _weight: None });
        let (some, none) = (pages.slot(key(1)), pages.slot(key(2)));
        assert!(Arc::ptr_eq(&some, &pages.slot(key(1))) && Arc::ptr_eq(&none, &pages.slot(key(2))));

        some.set(page(at(5))).unwrap();
        none.set(page(at(2))).unwrap();

        assert!(Arc::ptr_eq(&some, &pages.slot(key(1))));
        assert!(!Arc::ptr_eq(&none, &pages.slot(key(2))), "whoever comes to it would come to it for ever");
    }

    #[test]
    fn places_where_nobody_is_any_more_are_forgotten() {
        let pages = Pages::default();
        let known = || lock(&pages.slots).known.len();
        let key = |from| PageKey { at: at(from), replay_from: at(from).change };
        let crowd: Vec<_> = (0..1000).map(|from| pages.slot(key(from))).collect();
        assert_eq!(known(), crowd.len());
        assert!(Arc::ptr_eq(&crowd[7], &pages.slot(key(7))));

        drop(crowd);
        for from in 1000..3000 {
            drop(pages.slot(key(from)));
        }

        assert!(known() <= FEW, "{}", known());
    }
}
