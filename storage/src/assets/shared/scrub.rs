//! Scrubbing a shared place: reading every content once, dropping what is damaged, deleting what nothing refers to.
//!
//! Owns the grace period of contents without an asset: a job writes them before its manifest. Contents are listed before
//! manifests are read, so that one which got its manifest meanwhile is kept, and looked at again before they are deleted.
//! Memory grows with the number of contents, not with their size. Two scrubs at once do the same work twice.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::io::{self, Read};

use object_store::path::Path;
use outpost_model::{AssetSplit, limits};

use super::super::AssetScrubReport;
use super::super::folder::now;
use super::batch::age_ms;
use super::manifest::{self, Manifest};
use super::object_bytes::ObjectBytes;
use super::{Folder, SharedAssets, layout};
use crate::error::StorageError;

/// Orphans deleted at a time.
const DELETED_PER_STEP: usize = 1_000;

type Hash = [u8; 32];

/// See [`super::super::AssetStore::scrub`].
pub(super) fn scrub(store: &SharedAssets) -> Result<AssetScrubReport, StorageError> {
    let mut scrub =
        Scrub { store, checked: HashMap::new(), lost: BTreeSet::new(), report: Default::default() };
    let old = scrub.old_contents()?;
    for folder in store.folders(None, None) {
        scrub.folder(&folder?)?;
    }
    scrub.delete_orphans(old)?;
    scrub.report.rows_damaged = scrub.lost.into_iter().collect();
    Ok(scrub.report)
}

struct Scrub<'a> {
    store: &'a SharedAssets,
    /// The contents that manifests refer to, and whether they are sound.
    checked: HashMap<Hash, bool>,
    lost: BTreeSet<AssetSplit>,
    report: AssetScrubReport,
}

impl Scrub<'_> {
    /// Everything among the contents that is older than the grace period.
    fn old_contents(&self) -> Result<Vec<Path>, StorageError> {
        let mut old = Vec::new();
        for meta in self.store.inner.objects.list(&layout::contents(), None) {
            let meta = meta?;
            if age_ms(&meta) >= limits::ASSET_ORPHAN_AGE_MS_MIN {
                old.push(meta.location);
            }
        }
        Ok(old)
    }

    fn folder(&mut self, folder: &Folder) -> Result<(), StorageError> {
        let objects = &self.store.inner.objects;
        let newest = folder.newest();
        let replaced: Vec<Path> =
            folder.paths().into_iter().filter(|path| *path != newest.path(&folder.path)).collect();
        self.report.orphans_deleted += replaced.len() as u64;
        objects.delete(replaced)?;
        let manifest = match manifest::read_newest(objects, &folder.path) {
            Ok(Some((_, manifest))) => manifest,
            Ok(None) => return Ok(()),
            Err(StorageError::Damaged(_)) => {
                self.report.assets_dropped += newest.assets;
                self.lost.extend(layout::rows_of(&folder.path));
                return objects.delete(vec![newest.path(&folder.path)]);
            }
            Err(error) => return Err(error),
        };
        self.contents_of(manifest)
    }

    /// Checks the contents of a manifest, and replaces it by one without those that are damaged.
    fn contents_of(&mut self, mut manifest: Manifest) -> Result<(), StorageError> {
        let mut damaged = HashSet::new();
        for asset in manifest.assets.values() {
            if !self.is_sound(&asset.stored_hash, asset.stored_bytes)? {
                damaged.insert(asset.stored_hash);
            }
        }
        if damaged.is_empty() {
            return Ok(());
        }
        let before = manifest.assets.len();
        manifest.assets.retain(|_, asset| !damaged.contains(&asset.stored_hash));
        self.report.assets_dropped += (before - manifest.assets.len()) as u64;
        manifest::publish(&self.store.inner.objects, &manifest, now().0)?;
        self.store.inner.cache.forget(&layout::rows(&manifest.rows));
        self.lost.insert(manifest.rows);
        Ok(())
    }

    /// Whether a content is what its name says. One that is not is deleted, so that it is written again.
    fn is_sound(&mut self, hash: &Hash, stored_bytes: u64) -> Result<bool, StorageError> {
        if let Some(is_sound) = self.checked.get(hash) {
            return Ok(*is_sound);
        }
        let objects = &self.store.inner.objects;
        let path = layout::content(hash);
        let is_sound = match objects.head(&path)? {
            Some(meta) if meta.size == stored_bytes => {
                match ObjectBytes::new(objects, path.clone()).read(0..stored_bytes) {
                    Ok(mut bytes) => hash_of(&mut bytes)? == *hash,
                    Err(StorageError::Damaged(_)) => false,
                    Err(error) => return Err(error),
                }
            }
            _ => false,
        };
        self.report.contents_checked += 1;
        if !is_sound {
            self.report.contents_damaged += 1;
            objects.delete(vec![path])?;
        }
        self.checked.insert(*hash, is_sound);
        Ok(is_sound)
    }

    fn delete_orphans(&mut self, old: Vec<Path>) -> Result<(), StorageError> {
        let objects = &self.store.inner.objects;
        let mut orphans = Vec::new();
        for path in old {
            let is_referred =
                layout::content_hash(&path).is_some_and(|hash| self.checked.contains_key(&hash));
            // A job may have written it again since it was listed.
            let is_old = |meta| age_ms(&meta) >= limits::ASSET_ORPHAN_AGE_MS_MIN;
            if !is_referred && objects.head(&path)?.is_some_and(is_old) {
                orphans.push(path);
            }
            if orphans.len() == DELETED_PER_STEP {
                self.report.orphans_deleted += orphans.len() as u64;
                objects.delete(std::mem::take(&mut orphans))?;
            }
        }
        self.report.orphans_deleted += orphans.len() as u64;
        objects.delete(orphans)
    }
}

fn hash_of(bytes: &mut impl Read) -> Result<Hash, StorageError> {
    let mut hasher = blake3::Hasher::new();
    io::copy(bytes, &mut hasher)
        .map_err(|error| StorageError::Engine(format!("failed to read an asset: {error}")))?;
    Ok(*hasher.finalize().as_bytes())
}
