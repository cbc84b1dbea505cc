//! Whole clusters in one thread, on a clock that stands still unless everybody waits (PROTOCOL.md section 11).
//!
//! Owns the world around the real code of `sync`: stores that forget at a crash, a network that fails in every way it
//! can, readers that check every answer, and the truth. A seed makes a run; the same seed makes the same run.

pub mod cluster;
pub mod content;
pub mod damage;
pub mod feed;
pub mod log;
pub mod meter;
pub mod network;
pub mod node;
pub mod reader;
pub mod stage;
pub mod state;
pub mod store;
pub mod truth;
pub mod webhooks;

/// Seeds that are run in CI: from 0 on.
pub const SEEDS: u64 = 500;

pub use cluster::{Outcome, run};
