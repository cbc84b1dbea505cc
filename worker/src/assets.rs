//! Assets on their way to the store: the files that cells point to.
//!
//! Owns the [`AssetSink`] that takes them from a step. Refuses to know where they are kept. A sink that fails is trouble
//! that may pass: the step is run again later.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use outpost_model::{AssetPath, AssetSplit};
use outpost_storage::{AssetBatch, AssetStore};

/// An asset to store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAsset {
    /// Where it belongs; what was there before is replaced.
    pub path: AssetPath,
    /// Its `Content-Type`.
    pub content_type: &'static str,
    /// The file.
    pub bytes: Bytes,
}

/// The store could not take an asset; a later try may succeed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the asset store failed: {0}")]
pub struct AssetError(pub String);

/// Takes the assets of steps. Called on the blocking threads of jobs, by several at the same time.
pub trait AssetSink: Send + Sync + 'static {
    /// Takes one asset; it need not be on disk yet.
    ///
    /// # Errors
    /// [`AssetError`] when it cannot be kept.
    fn put(&self, asset: NewAsset) -> Result<(), AssetError>;

    /// Returns when every asset that the caller has put is kept for good. A step calls it before its result, which
    /// points to the assets, is stored.
    ///
    /// # Errors
    /// [`AssetError`] when that cannot be promised.
    fn commit(&self) -> Result<(), AssetError>;
}

/// The assets of one job on their way into a store: one batch, on disk when it is committed. It takes the place of
/// those that an earlier job of the same rows left.
pub struct JobAssets {
    store: Arc<dyn AssetStore>,
    rows: AssetSplit,
    batch: Mutex<Option<Box<dyn AssetBatch>>>,
}

impl JobAssets {
    /// Takes all assets of these rows.
    #[must_use]
    pub fn new(store: Arc<dyn AssetStore>, rows: AssetSplit) -> Self {
        Self { store, rows, batch: Mutex::new(None) }
    }

    fn batch(&self) -> MutexGuard<'_, Option<Box<dyn AssetBatch>>> {
        self.batch.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AssetSink for JobAssets {
    fn put(&self, asset: NewAsset) -> Result<(), AssetError> {
        let mut open = self.batch();
        let batch = open.get_or_insert_with(|| self.store.replacing(&self.rows));
        batch
            .put(&asset.path, asset.content_type, &asset.bytes)
            .map_err(|error| AssetError(error.to_string()))
    }

    fn commit(&self) -> Result<(), AssetError> {
        // Without an asset of its own the job still deletes those of an earlier one.
        let batch = self.batch().take().unwrap_or_else(|| self.store.replacing(&self.rows));
        batch.commit().map_err(|error| AssetError(error.to_string()))
    }
}

#[cfg(test)]
pub(crate) mod memory;
