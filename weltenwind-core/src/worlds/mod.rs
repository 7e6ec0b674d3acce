//! Worlds: what players gather in.
//!
//! A world has a page under its slug, members, and a scope of its own for channels and roles. A slug belongs to one world
//! for ever: renaming a world leaves its old slug behind as a way to the new one.
//!
//! ```
//! use weltenwind_core::worlds::Slug;
//!
//! assert_eq!(Slug::from_name("Mistral Überfahrt")?.as_str(), "mistral-ueberfahrt");
//! # Ok::<(), weltenwind_core::Invalid>(())
//! ```

#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod error;
mod model;
mod service;
mod slug;
mod store;

pub use self::{
    error::WorldError,
    model::{
        Description, JoinPolicy, NewWorld, ParsePolicyError, Visibility, World, WorldAmendment, WorldChange,
        WorldDraft, WorldName, WorldPosition, WorldQuery, WorldRef, WorldSort,
    },
    service::{Resolved, Worlds},
    slug::Slug,
    store::WorldStore,
};
