//! The port in memory: what every adapter answers, in plain maps behind one lock.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    ops::Bound,
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use uuid::Uuid;

use super::{
    body::ClientId,
    error::{ChatError, Refusal},
    model::{
        AuthorRenaming, Change, ChangeQuery, Changes, Channel, ChannelChange, ChannelQuery, Edit, History, Message,
        MessageQuery, NewChannel, NewMessage, Position, Removal, RemovalMode, RoomHead, RoomPosition, Seq, Tombstone,
        Unread, Written, WrittenQuery,
    },
    store::{Appended, ChatStore},
};
use crate::{
    clock::Timestamp,
    error::StorageError,
    ids::{AccountId, ChannelId, MessageId},
    page::{Page, Revision},
    scope::Scope,
    step::{EffectKey, Step},
    worlds::Slug,
};

/// Keeps channels and messages as long as the process lives; writes no audit log.
///
/// It is the port's executable reading, the model that other adapters are held against.
#[derive(Debug, Default)]
pub struct MemoryChatStore {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    rooms: BTreeMap<ChannelId, Room>,
    places: HashMap<MessageId, (ChannelId, Seq)>,
    marks: BTreeMap<(AccountId, ChannelId), Seq>,
    effects: HashMap<EffectKey, Uuid>,
}

/// A channel, its counters and its messages.
#[derive(Debug)]
struct Room {
    channel: Channel,
    last_seq: Seq,
    last_change: Change,
    /// The newest change of a message that was purged.
    purged: Change,
    messages: BTreeMap<Seq, Stored>,
    changes: BTreeMap<Change, Seq>,
    client_ids: HashMap<(AccountId, ClientId), Seq>,
    last_by: HashMap<AccountId, Seq>,
}

#[derive(Debug)]
struct Stored {
    message: Message,
    fingerprint: [u8; 32],
}

/// What is to become of one message of a batch.
enum Verdict {
    Fresh,
    Known(Seq),
    SameAs(usize),
    Refused(Refusal),
}

/// What is written of a batch's messages so far.
#[derive(Default)]
struct Judged<'a> {
    /// The first message under each client id.
    firsts: HashMap<(ChannelId, AccountId, &'a ClientId), usize>,
    /// When each author's newest message was sent.
    lasts: HashMap<(ChannelId, AccountId), Timestamp>,
}

/// What both databases keep of an instant.
fn whole_microseconds(at: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(at.as_microsecond()).expect("an instant in whole microseconds stays in range")
}

impl MemoryChatStore {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn repeated(&self, step: &Step) -> Option<Uuid> {
        step.effect_key.as_ref().and_then(|key| self.effects.get(key)).copied()
    }

    fn finish(&mut self, step: &Step, target: Uuid) {
        if let Some(key) = &step.effect_key {
            self.effects.insert(key.clone(), target);
        }
    }

    fn slug_is_free(&self, scope: Scope, slug: &Slug, except: Option<ChannelId>) -> bool {
        !self.rooms.values().any(|Room { channel, .. }| {
            channel.archived_at.is_none()
                && channel.scope == scope
                && channel.slug == *slug
                && Some(channel.id) != except
        })
    }

    fn find(&self, id: MessageId) -> Option<&Message> {
        let (channel, seq) = self.places.get(&id)?;
        Some(&self.rooms[channel].messages[seq].message)
    }

    /// Takes the next change of the message's channel and gives both to `alter`.
    fn alter(&mut self, id: MessageId, alter: impl FnOnce(&mut Message)) -> Message {
        let (channel, seq) = self.places[&id];
        let room = self.rooms.get_mut(&channel).expect("a message lies in a channel");
        let message = &mut room.messages.get_mut(&seq).expect("a place holds a message").message;
        room.last_change = room.last_change.next();
        room.changes.remove(&message.change);
        room.changes.insert(room.last_change, seq);
        message.change = room.last_change;
        alter(message);
        message.clone()
    }

    /// Judges the batch's message number `n`; `judged` holds what is written of those before it. A reply is looked up in
    /// what was stored before the batch: who replies has seen the message, so it was committed.
    fn judge<'a>(&self, batch: &'a [NewMessage], n: usize, judged: &mut Judged<'a>) -> Verdict {
        let new = &batch[n];
        let Some(room) = self.rooms.get(&new.channel).filter(|room| room.channel.archived_at.is_none()) else {
            return Verdict::Refused(Refusal::ChannelNotFound);
        };
        if let Some(client_id) = &new.client_id {
            let known = room.client_ids.get(&(new.author.id, client_id.clone())).copied();
            let first = judged.firsts.get(&(new.channel, new.author.id, client_id)).copied();
            let (verdict, fingerprint) = match (known, first) {
                (Some(seq), _) => (Verdict::Known(seq), room.messages[&seq].fingerprint),
                (None, Some(first)) => (Verdict::SameAs(first), batch[first].fingerprint()),
                (None, None) => (Verdict::Fresh, new.fingerprint()),
            };
            if fingerprint != new.fingerprint() {
                return Verdict::Refused(Refusal::ClientIdReused(client_id.clone()));
            }
            if !matches!(verdict, Verdict::Fresh) {
                return verdict;
            }
        }
        if new.reply_to.is_some_and(|id| self.places.get(&id).is_none_or(|(channel, _)| *channel != new.channel)) {
            return Verdict::Refused(Refusal::ReplyNotFound);
        }
        let stored = || room.last_by.get(&new.author.id).map(|seq| room.messages[seq].message.sent_at);
        let last = judged.lasts.get(&(new.channel, new.author.id)).copied().or_else(stored);
        if let Some(refusal) = new.too_soon_after(last) {
            return Verdict::Refused(refusal);
        }
        judged.lasts.insert((new.channel, new.author.id), whole_microseconds(new.sent_at));
        if let Some(client_id) = &new.client_id {
            judged.firsts.insert((new.channel, new.author.id, client_id), n);
        }
        Verdict::Fresh
    }

    fn insert(&mut self, new: &NewMessage) -> Message {
        let room = self.rooms.get_mut(&new.channel).expect("the channel was judged to be open");
        room.last_seq = room.last_seq.next();
        room.last_change = room.last_change.next();
        let message = Message {
            id: new.id,
            channel: new.channel,
            seq: room.last_seq,
            posted_change: room.last_change,
            change: room.last_change,
            author: new.author.clone(),
            body: Some(new.body.clone()),
            client_id: new.client_id.clone(),
            reply_to: new.reply_to,
            sent_at: whole_microseconds(new.sent_at),
            edited_at: None,
            tombstone: None,
        };
        room.changes.insert(message.change, message.seq);
        room.last_by.insert(new.author.id, message.seq);
        if let Some(client_id) = &new.client_id {
            room.client_ids.insert((new.author.id, client_id.clone()), message.seq);
        }
        room.messages.insert(message.seq, Stored { message: message.clone(), fingerprint: new.fingerprint() });
        self.places.insert(new.id, (new.channel, message.seq));
        message
    }
}

impl Room {
    const fn head(&self) -> RoomHead {
        let position = RoomPosition { epoch: self.channel.epoch, change: self.last_change };
        RoomHead { position, purged: self.purged }
    }
}

fn probe<'a>(messages: impl Iterator<Item = &'a Stored>, limit: crate::Limit) -> Page<Message> {
    Page::from_probe(messages.take(limit.get() + 1).map(|stored| stored.message.clone()).collect(), limit)
}

#[async_trait]
impl ChatStore for MemoryChatStore {
    async fn create_channel(&self, step: &Step, new: &NewChannel) -> Result<Channel, ChatError> {
        let mut state = self.lock();
        if let Some(made) = state.repeated(step) {
            return Ok(state.rooms[&ChannelId::new(made)].channel.clone());
        }
        if state.rooms.contains_key(&new.id) {
            return Err(StorageError::permanent("create a channel", "the id was given before").into());
        }
        if !state.slug_is_free(new.scope, &new.slug, None) {
            return Err(ChatError::SlugTaken(new.slug.clone()));
        }
        let channel = Channel {
            id: new.id,
            scope: new.scope,
            slug: new.slug.clone(),
            name: new.name.clone(),
            guests_may_post: new.guests_may_post,
            slowmode_seconds: new.slowmode_seconds,
            retention_days: new.retention_days,
            revision: Revision::FIRST,
            epoch: new.epoch,
            created_at: whole_microseconds(step.at),
            archived_at: None,
        };
        let room = Room {
            channel: channel.clone(),
            last_seq: Seq::ZERO,
            last_change: Change::ZERO,
            purged: Change::ZERO,
            messages: BTreeMap::new(),
            changes: BTreeMap::new(),
            client_ids: HashMap::new(),
            last_by: HashMap::new(),
        };
        state.rooms.insert(new.id, room);
        state.finish(step, new.id.uuid());
        Ok(channel)
    }

    async fn find_channel(&self, id: ChannelId) -> Result<Option<Channel>, StorageError> {
        Ok(self.lock().rooms.get(&id).map(|room| room.channel.clone()))
    }

    async fn channels(&self, query: &ChannelQuery) -> Result<Page<Channel>, StorageError> {
        let state = self.lock();
        let start = query.after.map_or(Bound::Unbounded, Bound::Excluded);
        let open = state.rooms.range((start, Bound::Unbounded)).map(|(_, room)| &room.channel);
        let listed = open.filter(|channel| channel.scope == query.scope && channel.archived_at.is_none());
        Ok(Page::from_probe(listed.take(query.limit.get() + 1).cloned().collect(), query.limit))
    }

    async fn amend_channel(&self, step: &Step, change: &ChannelChange) -> Result<Channel, ChatError> {
        let mut state = self.lock();
        if let Some(amended) = state.repeated(step) {
            return Ok(state.rooms[&ChannelId::new(amended)].channel.clone());
        }
        let Some(mut channel) = state.rooms.get(&change.id).map(|room| room.channel.clone()) else {
            return Err(ChatError::ChannelNotFound);
        };
        if channel.archived_at.is_some() {
            return Err(ChatError::ChannelNotFound);
        }
        if change.expected.is_some_and(|expected| expected != channel.revision) {
            return Err(ChatError::Stale(channel.revision));
        }
        let amendment = change.amendment.clone();
        channel.slug = amendment.slug.unwrap_or(channel.slug);
        channel.name = amendment.name.unwrap_or(channel.name);
        channel.guests_may_post = amendment.guests_may_post.unwrap_or(channel.guests_may_post);
        channel.slowmode_seconds = amendment.slowmode_seconds.unwrap_or(channel.slowmode_seconds);
        channel.retention_days = amendment.retention_days.unwrap_or(channel.retention_days);
        channel.archived_at = change.archive.then(|| whole_microseconds(step.at));
        channel.revision = channel.revision.next();
        if channel.archived_at.is_none() && !state.slug_is_free(channel.scope, &channel.slug, Some(channel.id)) {
            return Err(ChatError::SlugTaken(channel.slug));
        }
        state.rooms.get_mut(&change.id).expect("the channel was found").channel = channel.clone();
        state.finish(step, change.id.uuid());
        Ok(channel)
    }

    async fn append(&self, batch: &[NewMessage]) -> Result<Vec<Appended>, StorageError> {
        let mut state = self.lock();
        let (mut judged, mut ids) = (Judged::default(), HashSet::new());
        let verdicts: Vec<Verdict> = (0..batch.len()).map(|n| state.judge(batch, n, &mut judged)).collect();
        for (new, verdict) in batch.iter().zip(&verdicts) {
            if matches!(verdict, Verdict::Fresh) && (state.places.contains_key(&new.id) || !ids.insert(new.id)) {
                return Err(StorageError::permanent("append chat messages", "an id was given before"));
            }
        }
        let mut answers: Vec<Appended> = Vec::with_capacity(batch.len());
        for (new, verdict) in batch.iter().zip(verdicts) {
            answers.push(match verdict {
                Verdict::Fresh => Ok(state.insert(new)),
                Verdict::Known(seq) => Ok(state.rooms[&new.channel].messages[&seq].message.clone()),
                Verdict::SameAs(first) => answers[first].clone(),
                Verdict::Refused(refusal) => Err(refusal),
            });
        }
        Ok(answers)
    }

    async fn page(&self, query: &MessageQuery) -> Result<Option<History>, StorageError> {
        let state = self.lock();
        let Some(room) = state.rooms.get(&query.channel) else { return Ok(None) };
        let upwards = |start| room.messages.range((Bound::Excluded(start), Bound::Unbounded)).map(|(_, stored)| stored);
        let page = match query.position {
            Position::Newest => probe(room.messages.values().rev(), query.limit),
            Position::Before(seq) => probe(room.messages.range(..seq).rev().map(|(_, stored)| stored), query.limit),
            Position::After(seq) => probe(upwards(seq), query.limit),
        };
        Ok(Some(History { page, position: room.head().position }))
    }

    async fn head(&self, channel: ChannelId) -> Result<Option<RoomHead>, StorageError> {
        Ok(self.lock().rooms.get(&channel).map(Room::head))
    }

    async fn changes(&self, query: &ChangeQuery) -> Result<Changes, ChatError> {
        let state = self.lock();
        let room = state.rooms.get(&query.channel).ok_or(ChatError::ChannelNotFound)?;
        let (head, since) = (room.head(), query.since);
        if since.gap_before(head).is_some() {
            return Err(ChatError::ReplayWindowExceeded);
        }
        let mut position = head.position;
        let changed = room.changes.range((Bound::Excluded(since.change), Bound::Unbounded));
        let page = probe(changed.map(|(_, seq)| &room.messages[seq]), query.limit);
        position.change = page.next(|last| last.change).unwrap_or(position.change);
        Ok(Changes { page, position })
    }

    async fn find_message(&self, id: MessageId) -> Result<Option<Message>, StorageError> {
        Ok(self.lock().find(id).cloned())
    }

    async fn edit(&self, step: &Step, edit: &Edit) -> Result<Message, ChatError> {
        let mut state = self.lock();
        if let Some(edited) = state.repeated(step) {
            return state.find(MessageId::new(edited)).cloned().ok_or(ChatError::MessageNotFound);
        }
        let found = state.find(edit.message).ok_or(ChatError::MessageNotFound)?;
        if found.tombstone.is_some() {
            return Err(ChatError::MessageRemoved);
        }
        let message = state.alter(edit.message, |message| {
            message.body = Some(edit.body.clone());
            message.edited_at = Some(whole_microseconds(step.at));
        });
        state.finish(step, edit.message.uuid());
        Ok(message)
    }

    async fn remove(&self, step: &Step, removal: &Removal) -> Result<Message, ChatError> {
        let mut state = self.lock();
        if let Some(removed) = state.repeated(step) {
            return state.find(MessageId::new(removed)).cloned().ok_or(ChatError::MessageNotFound);
        }
        let found = state.find(removal.message).ok_or(ChatError::MessageNotFound)?;
        let message = match (found.tombstone.as_ref().map(|tombstone| tombstone.mode), removal.mode) {
            (None, _) | (Some(RemovalMode::Mask), RemovalMode::Purge) => state.alter(removal.message, |message| {
                message.tombstone = Some(Tombstone {
                    deleted_by: step.actor,
                    reason: removal.reason.clone(),
                    deleted_at: whole_microseconds(step.at),
                    mode: removal.mode,
                });
                if removal.mode == RemovalMode::Purge {
                    message.body = None;
                }
            }),
            _ => found.clone(),
        };
        state.finish(step, removal.message.uuid());
        Ok(message)
    }

    async fn mark_read(&self, account: AccountId, channel: ChannelId, seq: Seq) -> Result<Unread, ChatError> {
        let mut state = self.lock();
        let last = state.rooms.get(&channel).ok_or(ChatError::ChannelNotFound)?.last_seq;
        let read = state.marks.entry((account, channel)).or_default();
        *read = seq.min(last).max(*read);
        Ok(Unread { channel, read: *read, last })
    }

    async fn unread(&self, account: AccountId) -> Result<Vec<Unread>, StorageError> {
        let state = self.lock();
        let marks = state.marks.range((account, ChannelId::new(Uuid::nil()))..=(account, ChannelId::new(Uuid::max())));
        let marked = marks.map(|((_, channel), read)| (&state.rooms[channel], *read));
        let behind = marked.filter(|(room, read)| room.channel.archived_at.is_none() && *read < room.last_seq);
        Ok(behind.map(|(room, read)| Unread { channel: room.channel.id, read, last: room.last_seq }).collect())
    }

    async fn written(&self, query: &WrittenQuery) -> Result<Vec<Written>, StorageError> {
        let state = self.lock();
        let all = state.rooms.values().flat_map(|room| room.messages.values()).map(|stored| &stored.message);
        let own = all.filter(|message| message.author.id == query.author);
        let asked = own.filter(|message| {
            query.besides.as_ref() != Some(&message.author.display_name)
                && query.after.is_none_or(|after| (message.channel, message.seq) > after)
        });
        let places =
            asked.map(|Message { channel, seq, change, .. }| Written { channel: *channel, seq: *seq, change: *change });
        Ok(places.take(usize::try_from(query.limit).unwrap_or(usize::MAX)).collect())
    }

    async fn messages_at(&self, channel: ChannelId, places: &[Seq]) -> Result<Vec<Message>, StorageError> {
        let state = self.lock();
        let Some(room) = state.rooms.get(&channel) else { return Ok(Vec::new()) };
        let messages = room.messages.values().map(|stored| &stored.message);
        Ok(messages.filter(|message| places.contains(&message.seq)).cloned().collect())
    }

    async fn rename_author(&self, renaming: &AuthorRenaming) -> Result<Vec<Message>, StorageError> {
        let AuthorRenaming { author, name, channel, places } = renaming;
        let mut state = self.lock();
        let Some(room) = state.rooms.get(channel) else { return Ok(Vec::new()) };
        let messages = room.messages.values().map(|stored| &stored.message);
        let named = messages.filter(|message| {
            message.author.id == *author && message.author.display_name != *name && places.contains(&message.seq)
        });
        let named: Vec<MessageId> = named.map(|message| message.id).collect();
        let renamed = named.into_iter().map(|id| state.alter(id, |message| message.author.display_name = name.clone()));
        Ok(renamed.collect())
    }

    async fn purge(&self, channel: ChannelId, before: Timestamp, limit: u32) -> Result<u64, StorageError> {
        let mut state = self.lock();
        let State { rooms, places, .. } = &mut *state;
        let Some(room) = rooms.get_mut(&channel) else { return Ok(0) };
        let mut deleted = 0;
        while deleted < u64::from(limit)
            && let Some(oldest) = room.messages.first_entry()
            && oldest.get().message.sent_at < before
        {
            let message = oldest.remove().message;
            places.remove(&message.id);
            room.changes.remove(&message.change);
            room.purged = room.purged.max(message.change);
            if let Some(client_id) = message.client_id {
                room.client_ids.remove(&(message.author.id, client_id));
            }
            if room.last_by.get(&message.author.id) == Some(&message.seq) {
                room.last_by.remove(&message.author.id);
            }
            deleted += 1;
        }
        Ok(deleted)
    }

    async fn channels_with_retention(&self) -> Result<Vec<Channel>, StorageError> {
        let state = self.lock();
        let open = state.rooms.values().map(|room| &room.channel).filter(|channel| channel.archived_at.is_none());
        Ok(open.filter(|channel| channel.retention_days.is_some()).cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::task::JoinSet;

    use super::*;

    crate::chat_store_conformance!(async { ((), Arc::new(MemoryChatStore::default())) });

    #[tokio::test(flavor = "multi_thread")]
    async fn threads_at_once_leave_neither_holes_nor_doubles() {
        let store = Arc::new(MemoryChatStore::default());
        store.create_channel(&Step::sample(Timestamp::UNIX_EPOCH), &NewChannel::sample(1)).await.unwrap();

        let mut posts = JoinSet::new();
        for n in 0..400 {
            let store = Arc::clone(&store);
            let new =
                NewMessage { id: MessageId::new(Uuid::from_u128(n)), client_id: None, ..NewMessage::sample("hello") };
            posts.spawn(async move { store.append(&[new]).await.unwrap().remove(0).unwrap().seq.get() });
        }
        let mut numbers = posts.join_all().await;

        numbers.sort_unstable();
        assert!(numbers.into_iter().eq(1..=400));
    }
}
