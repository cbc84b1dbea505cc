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
mod reopen;
pub mod replica;
mod room;
pub mod scrub;
mod store;
mod sync_listener;
pub mod worker;

use std::time::Duration;

use outpost_model::limits;
use outpost_storage::StorageError;

/// How a run ended in which nothing went wrong that ends the node.
#[derive(Debug)]
pub enum Ended {
    /// It was told to stop.
    Stopped,
    /// A store takes no more writes and can be opened again: the node is to start anew.
    Reopen(StorageError),
}

impl Ended {
    /// How long open requests may go on: they have a bound of their own, but new ones wait for a node that starts anew.
    fn grace(&self) -> Duration {
        match self {
            Self::Stopped => Duration::MAX,
            Self::Reopen(_) => Duration::from_millis(limits::REOPEN_GRACE_MS),
        }
    }
}
