//! Assets on their way to the store: the files that cells point to.
//!
//! Owns the [`AssetSink`] that takes them from a step. Refuses to know where they are kept. A sink that fails is trouble
//! that may pass: the step is run again later.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use outpost_model::AssetPath;
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

/// The assets of one job on their way into a store: one batch, on disk when it is committed.
pub struct JobAssets {
    store: Arc<dyn AssetStore>,
    batch: Mutex<Option<Box<dyn AssetBatch>>>,
}

impl JobAssets {
    /// Takes the assets of one job.
    #[must_use]
    pub fn new(store: Arc<dyn AssetStore>) -> Self {
        Self { store, batch: Mutex::new(None) }
    }

    fn batch(&self) -> MutexGuard<'_, Option<Box<dyn AssetBatch>>> {
        self.batch.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AssetSink for JobAssets {
    fn put(&self, asset: NewAsset) -> Result<(), AssetError> {
        let mut open = self.batch();
        let batch = open.get_or_insert_with(|| self.store.batch());
        batch
            .put(&asset.path, asset.content_type, &asset.bytes)
            .map_err(|error| AssetError(error.to_string()))
    }

    fn commit(&self) -> Result<(), AssetError> {
        match self.batch().take() {
            Some(batch) => batch.commit().map_err(|error| AssetError(error.to_string())),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
pub(crate) mod memory;
