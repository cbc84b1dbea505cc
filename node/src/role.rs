//! The roles of a node, one file each, and the loops that they run.

mod asset_store;
pub mod assets;
mod assets_ahead;
mod folder;
mod loops;
pub mod maintenance;
mod missing_assets;
mod parts;
pub mod primary;
pub mod progress;
pub mod register;
pub mod replica;
mod room;
pub mod scrub;
mod store;
mod sync_listener;
pub mod worker;
