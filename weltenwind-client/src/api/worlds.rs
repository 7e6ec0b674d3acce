//! Worlds and their channels.

use serde::Serialize;
use weltenwind_core::{
    IdGenerator as _, Scope, SystemIds,
    wire::{ChannelBody, ListBody, WorldBody},
    worlds::{JoinPolicy, Visibility},
};

use super::with_query;
use crate::{call::Call, client::Client, error::ClientError};

/// Which worlds to list; by default the newest public ones and those one belongs to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WorldQuery {
    /// Only worlds that this text is found in.
    pub text: Option<String>,
    /// The oldest first.
    pub oldest_first: bool,
    /// Behind this place: the `next_cursor` of the page before, for the same text and order.
    pub cursor: Option<String>,
    /// How many, 1 to 200; the server's default is 50.
    pub limit: Option<u32>,
}

macro_rules! keyed {
    () => {
        /// Names the call by a key of the program's own, 16 to 128 visible ASCII characters: one that it keeps, so that it can
        /// ask again after it was started anew. By default one is drawn with the draft.
        #[must_use]
        pub fn key(mut self, key: impl Into<String>) -> Self {
            self.key = key.into();
            self
        }
    };
}

/// A world to be made.
///
/// It has an idempotency key from the start: sent twice within a day, it is one world.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WorldDraft {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    slug: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    visibility: Option<Visibility>,
    #[serde(skip_serializing_if = "Option::is_none")]
    join_policy: Option<JoinPolicy>,
    #[serde(skip)]
    key: String,
}

impl WorldDraft {
    /// A public world that everybody may join, with a slug made of its name: 2 to 64 characters.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            slug: None,
            description: None,
            visibility: None,
            join_policy: None,
            key: SystemIds.draw().to_string(),
        }
    }

    /// Its slug: 2 to 48 of `a-z`, `0-9` and single hyphens between them.
    #[must_use]
    pub fn slug(mut self, slug: impl Into<String>) -> Self {
        self.slug = Some(slug.into());
        self
    }

    /// What it says of itself: up to 2000 characters.
    #[must_use]
    pub fn description(mut self, description: impl Into<String>) -> Self {
        self.description = Some(description.into());
        self
    }

    /// Who sees it.
    #[must_use]
    pub const fn visibility(mut self, visibility: Visibility) -> Self {
        self.visibility = Some(visibility);
        self
    }

    /// How one becomes a member.
    #[must_use]
    pub const fn join_policy(mut self, policy: JoinPolicy) -> Self {
        self.join_policy = Some(policy);
        self
    }

    keyed!();
}

/// A channel to be opened.
///
/// It has an idempotency key from the start: sent twice within a day, it is one channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ChannelDraft {
    scope: Scope,
    slug: String,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    guests_may_post: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    slowmode_seconds: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retention_days: Option<u32>,
    #[serde(skip)]
    key: String,
}

impl ChannelDraft {
    /// A channel in a scope in which everybody may post who may read there.
    pub fn new(scope: Scope, slug: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            scope,
            slug: slug.into(),
            name: name.into(),
            guests_may_post: None,
            slowmode_seconds: None,
            retention_days: None,
            key: SystemIds.draw().to_string(),
        }
    }

    /// Lets only registered accounts post.
    #[must_use]
    pub const fn without_guests(mut self) -> Self {
        self.guests_may_post = Some(false);
        self
    }

    /// The pause between two messages of one author, in seconds, up to 21 600.
    #[must_use]
    pub const fn slowmode_seconds(mut self, seconds: u32) -> Self {
        self.slowmode_seconds = Some(seconds);
        self
    }

    /// After how many days messages are deleted, 1 to 3650.
    #[must_use]
    pub const fn retention_days(mut self, days: u32) -> Self {
        self.retention_days = Some(days);
        self
    }

    keyed!();
}

impl Client {
    /// Makes a world that one owns. Needs `world.create`.
    pub async fn create_world(&self, draft: &WorldDraft) -> Result<WorldBody, ClientError> {
        self.ask(&Call::keyed(self.url(["worlds"]), &draft.key).json(draft)?).await?.json()
    }

    /// Opens a channel. Needs `chat.manage` in its scope.
    pub async fn open_channel(&self, draft: &ChannelDraft) -> Result<ChannelBody, ClientError> {
        self.ask(&Call::keyed(self.url(["channels"]), &draft.key).json(draft)?).await?.json()
    }

    /// Lists worlds.
    pub async fn worlds(&self, query: &WorldQuery) -> Result<ListBody<WorldBody>, ClientError> {
        let parameters = [
            ("q", query.text.clone()),
            ("sort", query.oldest_first.then(|| "createdAt".to_owned())),
            ("cursor", query.cursor.clone()),
            ("limit", query.limit.map(|limit| limit.to_string())),
        ];
        self.get(with_query(self.url(["worlds"]), parameters)).await
    }

    /// Reads a world by its slug or its id; a former slug works too.
    pub async fn world(&self, world: &str) -> Result<WorldBody, ClientError> {
        self.get(self.url(["worlds", world])).await
    }

    /// Lists the open channels of a world, 200 at once, behind the `next_cursor` of the page before.
    pub async fn channels(&self, world: &str, cursor: Option<&str>) -> Result<ListBody<ChannelBody>, ClientError> {
        let parameters = [("cursor", cursor.map(str::to_owned)), ("limit", Some("200".to_owned()))];
        self.get(with_query(self.url(["worlds", world, "channels"]), parameters)).await
    }

    /// Finds a world's open channel by its slug.
    pub async fn find_channel(&self, world: &str, slug: &str) -> Result<Option<ChannelBody>, ClientError> {
        let mut cursor = None;
        loop {
            let page = self.channels(world, cursor.as_deref()).await?;
            let found = page.items.into_iter().find(|channel| channel.slug == slug);
            if found.is_some() || page.next_cursor.is_none() {
                return Ok(found);
            }
            cursor = page.next_cursor;
        }
    }
}
