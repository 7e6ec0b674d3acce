//! The rules of chat.

use std::{sync::Arc, time::Duration};

use serde_json::json;

use super::{
    append::{AppendConfig, Appender, Queued},
    body::{Body, ClientId},
    directory::{Directory, Standing},
    error::ChatError,
    heads::Heads,
    listen::LiveChannel,
    memory::MemoryChatStore,
    model::{
        Author, ChangeQuery, Changes, Draft, Edit, History, Message, MessageQuery, NewMessage, Posted, Removal,
        RemovalMode, RoomPosition, Seq, SharedMessage, Unread,
    },
    store::ChatStore,
    tail::Tails,
};
use crate::{
    access::{AccessControlService, AccessError, MemoryGrantStore, OpenPlaces, Permission, Place, Places, RoleAccess},
    actor::{Actor, Identity},
    bus::{Bus, LocalBus, RoomEvent},
    clock::Timestamp,
    error::StorageError,
    ids::{AccountId, ChannelId, MessageId},
    limits::{LimitKey, Limits, LimitsConfig, Policy},
    page::Page,
    revocations::Revocations,
    room::Room,
    scope::Scope,
    services::Sources,
    step::{AuditDraft, EffectKey},
    validation::{Invalid, one_line},
};

/// How many changes a reader may be behind and still be told each of them.
pub const REPLAY_WINDOW: i64 = 10_000;
/// How long a message may be edited.
const EDIT_WINDOW: Duration = Duration::from_mins(15);
const DAY: Duration = Duration::from_hours(24);
/// Messages that one statement of the retention job deletes: short enough not to hold up who writes.
const PURGE_SLICE: u32 = 500;

/// Channels and messages.
#[derive(Debug, Clone)]
pub struct Chat {
    pub(super) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) store: Arc<dyn ChatStore>,
    pub(super) places: Arc<dyn Places>,
    pub(super) access: Arc<dyn AccessControlService>,
    pub(super) bus: Arc<dyn Bus>,
    pub(super) sources: Sources,
    pub(super) limits: Limits,
    pub(super) appender: Appender,
    pub(super) directory: Directory,
    pub(super) heads: Heads,
    tails: Tails,
}

/// Wires [`Chat`] to its ports; what is not named is the default that needs nothing installed.
#[derive(Debug)]
pub struct ChatBuilder {
    store: Arc<dyn ChatStore>,
    places: Arc<dyn Places>,
    access: Option<Arc<dyn AccessControlService>>,
    bus: Option<Arc<dyn Bus>>,
    sources: Sources,
    append: AppendConfig,
    limits: Option<Limits>,
    revocations: Revocations,
}

impl ChatBuilder {
    /// Where scopes lie; by default every scope is open.
    #[must_use]
    pub fn places(mut self, places: Arc<dyn Places>) -> Self {
        self.places = places;
        self
    }

    /// Who may do what; by default roles without any grant, so the operator alone manages channels.
    #[must_use]
    pub fn access(mut self, access: Arc<dyn AccessControlService>) -> Self {
        self.access = Some(access);
        self
    }

    /// Who hears of messages; by default listeners in this process.
    #[must_use]
    pub fn bus(mut self, bus: Arc<dyn Bus>) -> Self {
        self.bus = Some(bus);
        self
    }

    /// How posts are gathered into batches.
    #[must_use]
    pub fn append(mut self, config: AppendConfig) -> Self {
        self.append = config;
        self
    }

    /// How often things may be done; by default what [`LimitsConfig`] says by default, counted in this process.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = Some(limits);
        self
    }

    /// What is lost, so that nothing is believed of a place that is known to be open to fewer; by default nothing is known of
    /// that, and places are believed for a second.
    #[must_use]
    pub fn minding(mut self, revocations: Revocations) -> Self {
        self.revocations = revocations;
        self
    }

    /// Time, identity and randomness; by default the system's.
    #[must_use]
    pub fn sources(mut self, sources: Sources) -> Self {
        self.sources = sources;
        self
    }

    /// Starts the service. It must be called on a tokio runtime, where the lanes that write messages run.
    pub fn build(self) -> Chat {
        let Self { store, places, access, bus, sources, append, limits, revocations } = self;
        let access = access.unwrap_or_else(|| {
            Arc::new(RoleAccess::new(Arc::new(MemoryGrantStore::default()), Arc::clone(&sources.clock)))
        });
        let bus = bus.unwrap_or_else(|| Arc::new(LocalBus::default()));
        let limits = limits.unwrap_or_else(|| Limits::in_process(Arc::clone(&sources.clock), LimitsConfig::default()));
        let appender = Appender::start(&store, &bus, &append);
        let directory =
            Directory::new(Arc::clone(&store), Arc::clone(&places), Arc::clone(&sources.clock), revocations);
        let heads = Heads::new(Arc::clone(&store));
        let tails = Tails::new(Arc::clone(&store), Arc::clone(&bus), heads.clone());
        let inner = Inner { store, places, access, bus, sources, limits, appender, directory, heads, tails };
        Chat { inner: Arc::new(inner) }
    }
}

impl Chat {
    /// Chat over a store, everything else by default.
    pub fn builder(store: Arc<dyn ChatStore>) -> ChatBuilder {
        let sources = Sources::default();
        ChatBuilder {
            store,
            places: Arc::new(OpenPlaces),
            access: None,
            bus: None,
            sources,
            append: AppendConfig::default(),
            limits: None,
            revocations: Revocations::none(),
        }
    }

    /// Chat that is forgotten when the process ends.
    pub fn in_memory() -> Self {
        Self::builder(Arc::new(MemoryChatStore::default())).build()
    }

    /// Posts a message as the actor. Needs `chat.post`; guests may be shut out, and a pause between messages may be asked for.
    ///
    /// When this answers, the message is committed. The same client id again answers the first message, as does the same
    /// request again, known by the actor's effect key.
    ///
    /// After [`Class::Unavailable`](crate::Class::Unavailable) nobody knows whether the message is written: it may be, or be in
    /// a moment, and is then heard like any other. Repeat it under the same client id, and it is one message.
    pub async fn post(&self, actor: &Actor, draft: Draft) -> Result<Posted, ChatError> {
        self.submit(actor, draft).await?.stored().await
    }

    /// Does all of [`post`](Self::post) but wait for the commit: when this answers, the message has its place among those
    /// that are submitted to its channel here, and is written whatever becomes of the answer.
    pub async fn submit(&self, actor: &Actor, draft: Draft) -> Result<Submitted, ChatError> {
        let inner = &self.inner;
        let (standing, author) = self.require_post(actor, draft.channel).await?;
        inner.limits.charge(actor, Policy::Chat).await?;
        let room = LimitKey::Room(Room::Channel(draft.channel));
        inner.limits.charge_to(actor, Policy::ChatRoom, room).await?;
        let channel = &standing.channel;
        let request = actor.effect_key.as_ref();
        let client_id = match &draft.client_id {
            Some(client_id) => Some(ClientId::new(client_id)?),
            None => request.map(ClientId::of_request),
        };
        let message = NewMessage {
            id: MessageId::new(request.map_or_else(|| inner.sources.ids.draw(), EffectKey::id)),
            channel: channel.id,
            author,
            body: Body::new(&draft.body)?,
            client_id,
            reply_to: draft.reply_to,
            sent_at: inner.sources.clock.now(),
            pause: inner.pause(actor, &standing).await?,
        };
        let id = message.id;
        let queued = inner.appender.queue(message, channel.epoch)?;
        Ok(Submitted { id, queued })
    }

    /// Passes if the actor may write in a channel, whatever is written.
    pub async fn check_post(&self, actor: &Actor, channel: ChannelId) -> Result<(), ChatError> {
        self.require_post(actor, channel).await.map(|_| ())
    }

    /// A key writes under its own id and name: there is no account behind it.
    async fn require_post(&self, actor: &Actor, channel: ChannelId) -> Result<(Arc<Standing>, Author), ChatError> {
        require_sign_in(actor)?;
        let standing = self.inner.readable(actor, channel).await?;
        let (Some(id), Some(name)) = (actor.id(), actor.name()) else { return Err(ChatError::SignInRequired) };
        self.inner.require(actor, Permission::ChatPost, &standing.place).await?;
        let is_guest = actor.principal().is_some_and(|principal| principal.kind.is_guest());
        if is_guest && !standing.channel.guests_may_post {
            return Err(ChatError::GuestsMayNotPost);
        }
        Ok((standing, Author { id, display_name: name.clone() }))
    }

    /// Reads a part of a channel's history. Needs `chat.read`.
    ///
    /// The newest thousand messages of a channel that is read often come from memory. What is posted on this node is in
    /// them at once, what other nodes post as soon as the bus tells, and what the bus loses within a quarter of a second.
    pub async fn history(&self, actor: &Actor, query: &MessageQuery) -> Result<History<SharedMessage>, ChatError> {
        let inner = &self.inner;
        let standing = inner.readable(actor, query.channel).await?;
        if let Some(history) = inner.tails.page(query, inner.kept_since(&standing)).await? {
            return Ok(history);
        }
        let History { page, position } = inner.store.page(query).await?.ok_or(ChatError::ChannelNotFound)?;
        let items = page.items.into_iter().map(SharedMessage::new).collect();
        Ok(History { page: Page { items, more: page.more }, position })
    }

    /// Tells how far a channel is, as fresh as [`Chat::history`] and as a rule without asking the store: a reader that
    /// knows a page of this position knows it still. Needs `chat.read`.
    pub async fn position(&self, actor: &Actor, channel: ChannelId) -> Result<RoomPosition, ChatError> {
        self.inner.readable(actor, channel).await?;
        match self.inner.tails.position(channel).await? {
            Some(position) => Ok(position),
            None => Ok(self.inner.heads.now(channel).await?.position),
        }
    }

    /// Reads what changed in a channel since a position. Needs `chat.read`.
    pub async fn changes(&self, actor: &Actor, query: &ChangeQuery) -> Result<Changes, ChatError> {
        self.inner.readable(actor, query.channel).await?;
        self.inner.store.changes(query).await
    }

    /// Follows a channel: what changed since a position, then what happens. Needs `chat.read`.
    ///
    /// A position that lies too far back is no error: the first event is then a [`LiveEvent::Gap`](super::LiveEvent::Gap).
    pub async fn listen(
        &self,
        actor: &Actor,
        channel: ChannelId,
        since: Option<RoomPosition>,
    ) -> Result<LiveChannel, ChatError> {
        let inner = &self.inner;
        // First listen, then look: what is committed after the look is heard, what was before it is seen.
        let subscription = inner.bus.subscribe(Room::Channel(channel)).await;
        inner.readable(actor, channel).await?;
        let head = inner.heads.now(channel).await?;
        let (store, heads) = (Arc::clone(&inner.store), inner.heads.clone());
        let live = LiveChannel::new(channel, store, heads, subscription, head.position);
        Ok(match since {
            Some(since) => live.since(since, head),
            None => live,
        })
    }

    /// Reads one message. Needs `chat.read` in its channel.
    pub async fn message(&self, actor: &Actor, id: MessageId) -> Result<Message, ChatError> {
        self.inner.readable_message(actor, id).await.map(|(message, _)| message)
    }

    /// Gives one's own message another text, for 15 minutes and as long as one may post.
    pub async fn edit(&self, actor: &Actor, id: MessageId, body: &str) -> Result<Message, ChatError> {
        let inner = &self.inner;
        let (message, standing) = self.require_edit(actor, id).await?;
        inner.limits.charge(actor, Policy::Write).await?;
        let now = inner.sources.clock.now();
        if now >= message.sent_at + EDIT_WINDOW {
            return Err(ChatError::EditWindowPassed);
        }
        let edit = Edit { message: id, body: Body::new(body)? };
        let step = actor.step(now, AuditDraft::new("message.edit", standing.channel.scope));
        let message = inner.store.edit(&step, &edit).await?;
        inner.announce(&message, &standing).await;
        Ok(message)
    }

    /// Passes if the actor may edit a message, whatever the new text; answers the message.
    pub async fn check_edit(&self, actor: &Actor, id: MessageId) -> Result<(), ChatError> {
        self.require_edit(actor, id).await.map(|_| ())
    }

    async fn require_edit(&self, actor: &Actor, id: MessageId) -> Result<(Message, Arc<Standing>), ChatError> {
        require_sign_in(actor)?;
        let (message, standing) = self.inner.readable_message(actor, id).await?;
        if actor.id() != Some(message.author.id) {
            let scope = standing.place.scope();
            return Err(crate::access::Denied {
                permission: Permission::ChatPost,
                scope,
                why: crate::access::WhyDenied::Missing,
            }
            .into());
        }
        self.require_post(actor, message.channel).await?;
        Ok((message, standing))
    }

    /// Removes a message. One's own is masked at will; others, and every purge, need `chat.moderate` and a reason.
    pub async fn remove(
        &self,
        actor: &Actor,
        id: MessageId,
        mode: RemovalMode,
        reason: Option<&str>,
    ) -> Result<Message, ChatError> {
        let inner = &self.inner;
        let (message, standing) = self.require_remove(actor, id, mode).await?;
        let own = actor.id() == Some(message.author.id);
        let as_author = own && mode == RemovalMode::Mask;
        inner.limits.charge(actor, if as_author { Policy::Write } else { Policy::Admin }).await?;
        let reason = match reason {
            Some(reason) => {
                one_line("reason", reason, 1, 500).map_err(|detail| Invalid::at("/reason", detail))?;
                reason
            }
            None if own => "removed by the author",
            None => {
                return Err(Invalid::at("/reason", "reason is required to remove a message of somebody else").into());
            }
        };
        let audit = AuditDraft::new("message.remove", standing.channel.scope)
            .because(reason)
            .with(json!({ "mode": mode, "channel": message.channel }));
        let removal = Removal { message: id, reason: reason.to_owned(), mode };
        let removed = inner.store.remove(&actor.step(inner.sources.clock.now(), audit), &removal).await?;
        inner.announce(&removed, &standing).await;
        Ok(removed)
    }

    /// Passes if the actor may remove a message, whatever the reason.
    pub async fn check_remove(&self, actor: &Actor, id: MessageId, mode: RemovalMode) -> Result<(), ChatError> {
        self.require_remove(actor, id, mode).await.map(|_| ())
    }

    async fn require_remove(
        &self,
        actor: &Actor,
        id: MessageId,
        mode: RemovalMode,
    ) -> Result<(Message, Arc<Standing>), ChatError> {
        require_sign_in(actor)?;
        let (message, standing) = self.inner.readable_message(actor, id).await?;
        let own = actor.id() == Some(message.author.id);
        if !(own && mode == RemovalMode::Mask) {
            self.inner.require(actor, Permission::ChatModerate, &standing.place).await?;
        }
        Ok((message, standing))
    }

    /// Notes how far the actor has read a channel.
    pub async fn mark_read(&self, actor: &Actor, channel: ChannelId, seq: Seq) -> Result<Unread, ChatError> {
        let account = reader(actor)?;
        self.inner.readable(actor, channel).await?;
        self.inner.limits.charge(actor, Policy::Write).await?;
        if seq < Seq::ZERO {
            return Err(Invalid::at("/seq", "seq must not be negative").into());
        }
        self.inner.store.mark_read(account, channel, seq).await
    }

    /// Lists the channels in which the actor has something to read since a mark.
    pub async fn unread(&self, actor: &Actor) -> Result<Vec<Unread>, ChatError> {
        let account = reader(actor)?;
        let mut unread = Vec::new();
        for mark in self.inner.store.unread(account).await? {
            // A mark outlives the right to read.
            if self.inner.readable(actor, mark.channel).await.is_ok() {
                unread.push(mark);
            }
        }
        Ok(unread)
    }

    /// Deletes messages that are older than their channels keep them, and answers how many.
    pub async fn enforce_retention(&self) -> Result<u64, ChatError> {
        let inner = &self.inner;
        let mut deleted = 0;
        for channel in inner.store.channels_with_retention().await? {
            let Some(days) = channel.retention_days else { continue };
            let before = inner.sources.clock.now() - DAY * days;
            loop {
                let slice = inner.store.purge(channel.id, before, PURGE_SLICE).await?;
                deleted += slice;
                if slice < u64::from(PURGE_SLICE) {
                    break;
                }
            }
        }
        Ok(deleted)
    }
}

/// A message that waits for its commit; see [`Chat::submit`].
#[derive(Debug)]
pub struct Submitted {
    id: MessageId,
    queued: Queued,
}

impl Submitted {
    /// Waits until the message is committed, refused by the store, or given up after twice
    /// [`AppendConfig::patience`] at most: then it may be written all the same.
    pub async fn stored(self) -> Result<Posted, ChatError> {
        let message = self.queued.answered().await?;
        Ok(Posted { fresh: message.id == self.id, message })
    }
}

/// Refuses whoever is not signed in, before anything is looked for: what exists is no answer to them.
pub(super) const fn require_sign_in(actor: &Actor) -> Result<(), ChatError> {
    if actor.is_anonymous() { Err(ChatError::SignInRequired) } else { Ok(()) }
}

/// Returns the account that keeps marks of what it has read.
fn reader(actor: &Actor) -> Result<AccountId, ChatError> {
    match &actor.identity {
        Identity::Account(principal) => Ok(principal.account),
        Identity::Key(_) => Err(ChatError::AccountRequired),
        Identity::Anonymous | Identity::Operator => Err(ChatError::SignInRequired),
    }
}

impl Inner {
    /// Finds a channel that the actor may read; to others it does not exist.
    pub(super) async fn readable(&self, actor: &Actor, id: ChannelId) -> Result<Arc<Standing>, ChatError> {
        let standing = self.directory.find(id).await?.ok_or(ChatError::ChannelNotFound)?;
        if self.access.allows(actor, Permission::ChatRead, &standing.place).await? {
            Ok(standing)
        } else {
            Err(ChatError::ChannelNotFound)
        }
    }

    async fn readable_message(&self, actor: &Actor, id: MessageId) -> Result<(Message, Arc<Standing>), ChatError> {
        let message = self.store.find_message(id).await?.ok_or(ChatError::MessageNotFound)?;
        match self.readable(actor, message.channel).await {
            Ok(standing) => Ok((message, standing)),
            Err(ChatError::ChannelNotFound) => Err(ChatError::MessageNotFound),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn readable_place(&self, actor: &Actor, scope: Scope) -> Result<Place, ChatError> {
        let place = self.places.place(scope).await?.ok_or(ChatError::ScopeNotFound)?;
        if self.access.allows(actor, Permission::ChatRead, &place).await? {
            Ok(place)
        } else {
            Err(ChatError::ScopeNotFound)
        }
    }

    pub(super) async fn require(&self, actor: &Actor, permission: Permission, place: &Place) -> Result<(), ChatError> {
        self.access.require(actor, permission, place).await.map_err(|error| match error {
            AccessError::Denied(denied) => ChatError::Denied(denied),
            AccessError::Storage(error) => ChatError::Storage(error),
            other => ChatError::Storage(StorageError::permanent("decide about a permission", other)),
        })
    }

    /// Returns before when a channel's messages are deleted by age; the memory is not told of it.
    fn kept_since(&self, standing: &Standing) -> Option<Timestamp> {
        standing.channel.retention_days.map(|days| self.sources.clock.now() - DAY * days)
    }

    /// Returns the pause that the channel asks of the actor; moderators need none. Whether a message keeps it is for the store
    /// to say: only there is it known what was written before, and what is a repeat.
    async fn pause(&self, actor: &Actor, standing: &Standing) -> Result<Duration, ChatError> {
        let pause = Duration::from_secs(u64::from(standing.channel.slowmode_seconds));
        let is_asked =
            !pause.is_zero() && !self.access.allows(actor, Permission::ChatModerate, &standing.place).await?;
        Ok(if is_asked { pause } else { Duration::ZERO })
    }

    async fn announce(&self, message: &Message, standing: &Standing) {
        self.bus.publish(Arc::new(RoomEvent::new(message.clone(), standing.channel.epoch))).await;
    }

    pub(super) fn draw_epoch(&self) -> u32 {
        let mut bytes = [0; 4];
        self.sources.random.fill(&mut bytes);
        u32::from_be_bytes(bytes)
    }
}
