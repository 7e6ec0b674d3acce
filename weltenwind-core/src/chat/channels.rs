//! The rules of channels.

use serde_json::json;

use super::{
    error::ChatError,
    model::{
        Channel, ChannelAmendment, ChannelChange, ChannelDraft, ChannelName, ChannelQuery, NewChannel, check_retention,
        check_slowmode,
    },
    service::{Chat, require_sign_in},
};
use crate::{
    access::{Pass, Permission},
    actor::Actor,
    ids::ChannelId,
    limits::Policy,
    page::{Limit, Page, Revision},
    scope::Scope,
    step::AuditDraft,
    worlds::Slug,
};

impl Chat {
    /// Makes a channel. Needs `chat.manage` in its scope.
    ///
    /// # Errors
    ///
    /// [`ChatError::ScopeNotFound`], [`ChatError::SlugTaken`].
    pub async fn open_channel(&self, actor: &Actor, draft: ChannelDraft) -> Result<Channel, ChatError> {
        self.require_manage_scope(actor, draft.scope).await?;
        let inner = &self.inner;
        inner.limits.charge(actor, Policy::Admin).await?;
        let channel = NewChannel {
            id: ChannelId::new(inner.sources.ids.draw()),
            scope: draft.scope,
            slug: Slug::new(&draft.slug)?,
            name: ChannelName::new(&draft.name)?,
            guests_may_post: draft.guests_may_post,
            slowmode_seconds: check_slowmode(draft.slowmode_seconds)?,
            retention_days: draft.retention_days.map(check_retention).transpose()?,
            epoch: inner.draw_epoch(),
        };
        let audit = AuditDraft::new("channel.create", draft.scope).with(json!({ "slug": channel.slug.as_str() }));
        inner.store.create_channel(&actor.step(inner.sources.clock.now(), audit), &channel).await
    }

    /// Finds the open channel of the draft's scope and slug, or makes it: for programs that start more than once.
    pub async fn find_or_open_channel(&self, actor: &Actor, draft: ChannelDraft) -> Result<Channel, ChatError> {
        if let Some(channel) = self.channel_of_slug(actor, &draft).await? {
            return Ok(channel);
        }
        match self.open_channel(actor, draft.clone()).await {
            // Two programs that start at once: the slower one finds what the faster one made.
            Err(ChatError::SlugTaken(slug)) => {
                self.channel_of_slug(actor, &draft).await?.ok_or(ChatError::SlugTaken(slug))
            }
            opened => opened,
        }
    }

    async fn channel_of_slug(&self, actor: &Actor, draft: &ChannelDraft) -> Result<Option<Channel>, ChatError> {
        let mut query = ChannelQuery { scope: draft.scope, after: None, limit: Limit::MAX };
        loop {
            let page = self.channels(actor, &query).await?;
            query.after = page.next(|channel| channel.id);
            let found = page.items.into_iter().find(|channel| channel.slug.as_str() == draft.slug);
            if found.is_some() || query.after.is_none() {
                return Ok(found);
            }
        }
    }

    /// Passes if the actor may make channels in a scope.
    pub async fn require_manage_scope(&self, actor: &Actor, scope: Scope) -> Result<(), ChatError> {
        require_sign_in(actor)?;
        let place = self.inner.readable_place(actor, scope).await?;
        self.inner.require(actor, Permission::ChatManage, &place).await
    }

    /// Lists the open channels of a scope, for whoever may read there.
    pub async fn channels(&self, actor: &Actor, query: &ChannelQuery) -> Result<Page<Channel>, ChatError> {
        self.inner.readable_place(actor, query.scope).await?;
        Ok(self.inner.store.channels(query).await?)
    }

    /// Reads a channel. Needs `chat.read`.
    pub async fn channel(&self, actor: &Actor, id: ChannelId) -> Result<Channel, ChatError> {
        self.inner.readable(actor, id).await?;
        // Settings carry a revision that a caller will send back, so they are read fresh.
        let channel = self.inner.store.find_channel(id).await?;
        channel.filter(|channel| channel.archived_at.is_none()).ok_or(ChatError::ChannelNotFound)
    }

    /// Passes if the actor may read a channel, as believed for a second.
    pub async fn check_read(&self, actor: &Actor, id: ChannelId) -> Result<Pass, ChatError> {
        let standing = self.inner.directory.find(id).await?.ok_or(ChatError::ChannelNotFound)?;
        let decision = self.inner.access.decide(actor, Permission::ChatRead, &standing.place).await?;
        decision.pass().ok_or(ChatError::ChannelNotFound)
    }

    /// Changes a channel that the caller has seen in state `expected`. Needs `chat.manage`.
    pub async fn amend_channel(
        &self,
        actor: &Actor,
        id: ChannelId,
        expected: Option<Revision>,
        amendment: ChannelAmendment,
    ) -> Result<Channel, ChatError> {
        self.require_manage(actor, id).await?;
        self.inner.limits.charge(actor, Policy::Admin).await?;
        amendment.slowmode_seconds.map(check_slowmode).transpose()?;
        amendment.retention_days.flatten().map(check_retention).transpose()?;
        self.change_channel(actor, "channel.amend", ChannelChange { id, expected, amendment, archive: false }).await
    }

    /// Closes a channel: its history is gone for everybody. Needs `chat.manage`.
    pub async fn close_channel(
        &self,
        actor: &Actor,
        id: ChannelId,
        expected: Option<Revision>,
    ) -> Result<Channel, ChatError> {
        self.require_manage(actor, id).await?;
        self.inner.limits.charge(actor, Policy::Admin).await?;
        let change = ChannelChange { id, expected, amendment: ChannelAmendment::default(), archive: true };
        self.change_channel(actor, "channel.close", change).await
    }

    /// Passes if the actor may change a channel.
    pub async fn require_manage(&self, actor: &Actor, id: ChannelId) -> Result<(), ChatError> {
        require_sign_in(actor)?;
        let standing = self.inner.readable(actor, id).await?;
        self.inner.require(actor, Permission::ChatManage, &standing.place).await
    }

    async fn change_channel(
        &self,
        actor: &Actor,
        action: &'static str,
        change: ChannelChange,
    ) -> Result<Channel, ChatError> {
        let inner = &self.inner;
        let standing = inner.directory.find(change.id).await?.ok_or(ChatError::ChannelNotFound)?;
        let step = actor.step(inner.sources.clock.now(), AuditDraft::new(action, standing.channel.scope));
        let changed = inner.store.amend_channel(&step, &change).await;
        inner.directory.forget(change.id);
        changed
    }
}
