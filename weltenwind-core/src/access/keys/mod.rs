//! API keys: how game servers and bots prove who they are.
//!
//! A key is no account. It has a list of permissions and one scope, and may do what stands on the list inside the scope: never
//! more than whoever made it could do there, and nothing that is about an account. It is shown once and kept hashed.

#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod memory;
mod model;
mod service;
mod store;

pub use self::{
    memory::MemoryApiKeyStore,
    model::{ApiKey, ApiKeyDraft, ApiKeyName, ApiKeyQuery, NewApiKey},
    service::{ApiKeys, MadeKey},
    store::ApiKeyStore,
};
