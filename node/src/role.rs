//! The roles of a node, one file each, and the loops that they run.

mod asset_store;
pub mod assets;
mod folder;
pub mod maintenance;
mod missing_assets;
mod parts;
pub mod primary;
pub mod progress;
pub mod register;
pub mod scrub;
mod store;
pub mod worker;
