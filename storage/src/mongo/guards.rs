//! Turns within one process: transactions about one dataset one after the other.
//!
//! The database would let only one of them commit anyway; taking turns here saves the tries of the others. Owns no
//! promise: other processes do not see these locks.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use outpost_model::DatasetName;
use tokio::sync::{Mutex, MutexGuard};

/// Datasets that share a lock wait for each other without need; this many locks make that rare.
const STRIPES: usize = 256;

pub(super) struct Guards(Vec<Mutex<()>>);

impl Default for Guards {
    fn default() -> Self {
        Self((0..STRIPES).map(|_| Mutex::default()).collect())
    }
}

impl Guards {
    /// Waits for the dataset's turn.
    pub(super) async fn take(&self, dataset: &DatasetName) -> MutexGuard<'_, ()> {
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(dataset);
        let stripe = usize::try_from(hash % STRIPES as u64).expect("less than the number of stripes");
        self.0[stripe].lock().await
    }
}
