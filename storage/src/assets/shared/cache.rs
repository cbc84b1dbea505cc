//! Manifests that were read, in bounded memory.
//!
//! Owns when one counts as the newest: for [`limits::ASSET_MANIFEST_FRESH_MS`] after it was looked for, and only for
//! the assets that it has; for any other it is looked for again. What this process commits or deletes is forgotten at
//! once. Requests for the same rows wait for one look.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use object_store::path::Path;
use outpost_model::{AssetPath, limits};

use super::layout::{self, ManifestName};
use super::manifest::{self, AssetKey, Manifest, SharedAsset};
use super::objects::Objects;
use crate::error::StorageError;

const FRESH: Duration = Duration::from_millis(limits::ASSET_MANIFEST_FRESH_MS);

/// See the module.
#[derive(Default)]
pub(super) struct ManifestCache {
    slots: Mutex<Slots>,
}

#[derive(Default)]
struct Slots {
    by_folder: HashMap<Path, Slot>,
    weight: usize,
    uses: u64,
}

struct Slot {
    known: Arc<Mutex<Known>>,
    weight: usize,
    used: u64,
}

/// What was found at a folder.
#[derive(Default)]
struct Known {
    newest: Option<(ManifestName, Manifest)>,
    looked: Option<Instant>,
}

impl ManifestCache {
    /// The asset at a path.
    pub(super) fn find(
        &self,
        objects: &Objects,
        path: &AssetPath,
    ) -> Result<Option<SharedAsset>, StorageError> {
        let folder = layout::rows(path.rows());
        let key = AssetKey::of(path);
        let slot = self.slot(&folder);
        let mut known = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if known.looked.is_some_and(|looked| looked.elapsed() < FRESH)
            && let Some(asset) = known.asset(&key)
        {
            return Ok(Some(asset));
        }
        known.look(objects, &folder)?;
        let asset = known.asset(&key);
        let weight = known.newest.as_ref().map(|(_, manifest)| manifest.weight());
        drop(known);
        self.weigh(&folder, &slot, weight);
        Ok(asset)
    }

    /// Drops what is known of a folder.
    pub(super) fn forget(&self, folder: &Path) {
        let mut slots = self.slots();
        if let Some(slot) = slots.by_folder.remove(folder) {
            slots.weight -= slot.weight;
        }
    }

    fn slot(&self, folder: &Path) -> Arc<Mutex<Known>> {
        let mut slots = self.slots();
        slots.uses += 1;
        let used = slots.uses;
        let new = || Slot { known: Arc::default(), weight: 0, used };
        let slot = slots.by_folder.entry(folder.clone()).or_insert_with(new);
        slot.used = used;
        Arc::clone(&slot.known)
    }

    /// Notes what a slot takes; drops it when it holds nothing, and those used least recently when all take too much.
    fn weigh(&self, folder: &Path, known: &Arc<Mutex<Known>>, weight: Option<usize>) {
        let mut slots = self.slots();
        let Some(slot) = slots.by_folder.get_mut(folder).filter(|slot| Arc::ptr_eq(&slot.known, known))
        else {
            return;
        };
        let before = std::mem::replace(&mut slot.weight, weight.unwrap_or(0));
        slots.weight = slots.weight - before + weight.unwrap_or(0);
        if weight.is_none() {
            slots.by_folder.remove(folder);
        }
        while slots.weight > limits::ASSET_MANIFEST_CACHE_BYTES {
            let oldest = slots.by_folder.iter().min_by_key(|(_, slot)| slot.used);
            let Some(oldest) = oldest.map(|(folder, _)| folder.clone()) else { return };
            let dropped = slots.by_folder.remove(&oldest).map_or(0, |slot| slot.weight);
            slots.weight -= dropped;
        }
    }

    fn slots(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn asset(&self, key: &AssetKey) -> Option<SharedAsset> {
        self.newest.as_ref()?.1.assets.get(key).cloned()
    }

    /// Looks for the newest manifest, and reads it when it is another.
    fn look(&mut self, objects: &Objects, folder: &Path) -> Result<(), StorageError> {
        let started = Instant::now();
        let newest = manifest::names(objects, folder)?.pop();
        if newest.is_none() || newest != self.newest.as_ref().map(|(name, _)| *name) {
            self.newest = None;
            self.looked = None;
            if newest.is_some() {
                self.newest = manifest::read_newest(objects, folder)?;
            }
        }
        self.looked = Some(started);
        Ok(())
    }
}
