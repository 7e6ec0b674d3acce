//! Refused attempts at what is sensitive, in the audit log: who tried, and how often.
//!
//! A refusal changes nothing, so it has no step that would be audited. It is noted in memory, which costs no reading, and written
//! down a second later. What is tried again and again is one row for the first time and one for the rest of the minute,
//! and there is a most of rows a minute, so a flood neither fills the disk nor slows the store.

mod model;
mod service;
mod store;

pub use self::{
    model::{Attempt, RefusedAttempt},
    service::Refusals,
    store::RefusalStore,
};
