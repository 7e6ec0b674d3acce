//! Worlds and their channels.

use weltenwind_core::wire::{ChannelBody, ListBody, WorldBody};

use super::with_query;
use crate::{client::Client, error::ClientError};

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

impl Client {
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
