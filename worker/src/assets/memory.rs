//! A sink in memory, for tests: what was put and committed can be looked at.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::{AssetError, AssetSink, NewAsset};

/// Assets in memory.
#[derive(Debug, Default)]
pub(crate) struct MemoryAssets {
    state: Mutex<MemoryState>,
}

#[derive(Debug, Default)]
struct MemoryState {
    pending: Vec<NewAsset>,
    kept: BTreeMap<String, NewAsset>,
}

impl MemoryAssets {
    /// The committed asset at a path in its text form.
    pub(crate) fn get(&self, path: &str) -> Option<NewAsset> {
        self.with(|state| state.kept.get(path).cloned())
    }

    /// Paths of the committed assets, in order.
    pub(crate) fn paths(&self) -> Vec<String> {
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
