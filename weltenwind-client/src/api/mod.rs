//! The calls, by what they are about.

mod accounts;
mod chat;
mod worlds;

use reqwest::{Method, Url};
use serde::{Serialize, de::DeserializeOwned};

pub use self::{
    accounts::{Credentials, PreferencesAmendment, Registration},
    chat::{Draft, HistoryQuery, Removal},
    worlds::{ChannelDraft, WorldDraft, WorldQuery},
};
use crate::{call::Call, client::Client, error::ClientError, retry::Repeat};

impl Client {
    async fn get<T: DeserializeOwned>(&self, url: Url) -> Result<T, ClientError> {
        self.ask(&Call::new(Method::GET, url, Repeat::Harmless)).await?.json()
    }

    async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        url: Url,
        repeat: Repeat,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        self.ask(&Call::new(method, url, repeat).json(body)?).await?.json()
    }
}

/// Adds the parameters that have a value.
fn with_query<'a>(mut url: Url, parameters: impl IntoIterator<Item = (&'a str, Option<String>)>) -> Url {
    for (name, value) in parameters {
        if let Some(value) = value {
            url.query_pairs_mut().append_pair(name, &value);
        }
    }
    url
}
