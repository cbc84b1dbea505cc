//! The real program on a small folder: started, killed, restarted, stopped, and refused.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod asset_places;
mod bad_input;
mod bombs;
mod cluster;
mod demo;
mod kill_during_ingestion;
mod kill_workers;
mod options;
mod primary;
mod random;
mod remote_hub;
mod replica;
mod replica_assets;
mod replica_bounds;
mod replica_faults;
mod replica_full_disk;
mod sample;
mod support;
mod workers;
