//! The WebSocket host of Weltenwind: rooms, live messages and replay over one socket.
//!
//! [`Realtime`] is a tower service that answers the handshake of `/realtime/v1` on any HTTP server of hyper's. It
//! translates and decides nothing: records become calls of the services in `weltenwind-core`, their answers become records.
//!
//! A room is one ring of finished frames on a node, filled once and read by all who are in it: a socket is a place in the
//! rings of its rooms, and has no queue of what they tell. One task owns a socket. It writes all that waits with one call
//! and fetches nothing before that is written: a slow reader falls behind in the ring, is served from the store when it has
//! fallen out of it, and is closed only if it takes nothing at all.
//!
//! The README describes the records.

mod bell;
mod config;
mod connection;
mod feed;
mod frame;
mod handshake;
mod host;
mod limits;
mod metrics;
mod outbox;
mod reader;
mod records;
mod requests;
mod ring;
mod rooms;
mod service;
mod sign_in;
mod timing;
mod toasts;
mod wire;

pub use self::{config::RealtimeConfig, service::Realtime};
