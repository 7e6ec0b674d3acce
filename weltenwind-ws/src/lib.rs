//! The WebSocket host of Weltenwind: rooms, live messages and replay over one socket.
//!
//! [`Realtime`] is a tower service that answers the handshake of `/realtime/v1` on any HTTP server of hyper's. It
//! translates and decides nothing: records become calls of the services in `weltenwind-core`, their answers become records.
//!
//! One task owns a socket. It writes one frame at a time, with everything in it that waits, and fetches nothing from the
//! rooms before that frame is written: a slow reader falls behind, and is served from the store when it catches up, but
//! never has a queue of its own.
//!
//! The README describes the records.

mod config;
mod connection;
mod handshake;
mod host;
mod limits;
mod metrics;
mod outbox;
mod records;
mod requests;
mod rooms;
mod service;
mod sign_in;
mod timing;
mod wire;

pub use self::{config::RealtimeConfig, service::Realtime};
