//! HTTP host of Weltenwind: the API under `/api/v1`, the pages, and what operators ask.
//!
//! [`HttpHost`] puts [`Services`](weltenwind_core::Services) behind a tower service. Handlers translate and decide nothing: a
//! request is read, one service is called, its answer is written. What holds for every request (its id, who asks, log line,
//! metrics, bounds, security headers, problem bodies) is a layer around all of them, and around whatever is
//! [mounted](HttpHost::mount) beside them.
//!
//! [`serve`] is the accept loop; a program that has one of its own uses the router alone. [`operations`] answers health and
//! metrics, on a listener that players do not reach.

mod access;
mod announcements;
mod answer;
mod auth;
#[cfg(feature = "bench")]
pub mod bench;
mod channels;
mod conditional;
mod config;
mod context;
mod cookies;
mod devices;
mod host;
mod json;
mod layers;
mod limits;
mod manual;
mod messages;
mod metrics;
mod notifications;
mod operations;
mod outbox;
mod pages;
mod preferences;
mod problem;
mod query;
mod reference;
mod return_path;
mod serve;
mod sessions;
mod two_factor;
mod users;
mod worlds;

pub use self::{
    config::HttpConfig,
    host::HttpHost,
    operations::{Readiness, operations},
    serve::serve,
};

/// The README's example compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
