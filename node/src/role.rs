//! The roles of a node, one file each, and the loops that they run.

pub mod assets;
mod folder;
pub mod maintenance;
pub mod primary;
pub mod progress;
pub mod scrub;
