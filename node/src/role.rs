//! The roles of a node, one file each, and the loops that they run.

mod asset_store;
pub mod assets;
mod folder;
pub mod maintenance;
mod missing_assets;
pub mod primary;
pub mod progress;
pub mod scrub;
