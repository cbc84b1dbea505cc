//! The public API, in process: a real embedded store, a scripted Hub, the routes as they are served.
//!
//! Owns the wire contract of http-api.md sections 0, 1, 2, 4 and 7 as far as milestone one serves it.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod admin;
mod assets;
mod caching;
mod commands;
mod fixture;
mod hostile;
mod http2;
mod misses;
mod outbox;
mod reads;
mod rows;
mod sync;
mod sync_peers;
mod technical;
mod transport;
mod unfilled;
mod webhook;
