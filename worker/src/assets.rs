//! Assets on their way to the store: the files that cells point to.
//!
//! Owns the [`AssetSink`] that takes them from a step. Refuses to know where they are kept. A sink that fails is trouble
//! that may pass: the step is run again later.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use outpost_model::AssetPath;

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

/// Assets in memory, for tests.
#[derive(Debug, Default)]
pub struct MemoryAssets {
    state: Mutex<MemoryState>,
}

#[derive(Debug, Default)]
struct MemoryState {
    pending: Vec<NewAsset>,
    kept: BTreeMap<String, NewAsset>,
}

impl MemoryAssets {
    /// The committed asset at a path in its text form.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<NewAsset> {
        self.with(|state| state.kept.get(path).cloned())
    }

    /// Paths of the committed assets, in order.
    #[must_use]
    pub fn paths(&self) -> Vec<String> {
        self.with(|state| state.kept.keys().cloned().collect())
    }

    fn with<T>(&self, work: impl FnOnce(&mut MemoryState) -> T) -> T {
        work(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl AssetSink for MemoryAssets {
    fn put(&self, asset: NewAsset) -> Result<(), AssetError> {
        self.with(|state| state.pending.push(asset));
        Ok(())
    }

    fn commit(&self) -> Result<(), AssetError> {
        self.with(|state| {
            for asset in std::mem::take(&mut state.pending) {
                state.kept.insert(asset.path.to_string(), asset);
            }
        });
        Ok(())
    }
}
