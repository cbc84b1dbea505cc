//! Assets in a folder or a bucket that several processes share.
//!
//! Owns what makes sharing right without a server or locks: contents are named by the hash of their bytes, written
//! before the manifest that refers to them and never changed; manifests are replaced whole; what nothing refers to is
//! deleted by a scrub only after a grace period that is longer than a job can run. Readers keep manifests for
//! [`limits::ASSET_MANIFEST_FRESH_MS`]. All nodes of a place must have the same authority: each deletes what it has no
//! entry for. A failed request fails its call and nothing else.

mod batch;
mod cache;
mod layout;
mod manifest;
mod object_bytes;
mod objects;
mod place;
mod scrub;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use outpost_model::{AssetPath, AssetSplit, Position, Revision, TimestampMs, limits};

use self::batch::SharedBatch;
use self::cache::ManifestCache;
use self::layout::ManifestName;
use self::objects::Objects;
use super::reader::{Source, Stored, StoredBody};
use super::{Asset, AssetBatch, AssetHead, AssetScope, AssetScrubReport, AssetStats, AssetStore};
use crate::error::StorageError;

pub(super) use self::object_bytes::ObjectBytes;
pub use self::place::{AssetPlace, InvalidAssetPlace};

/// Assets in a shared place. Clones share connections and memory.
#[derive(Clone)]
pub struct SharedAssets {
    inner: Arc<Inner>,
}

struct Inner {
    objects: Arc<Objects>,
    cache: ManifestCache,
    /// Kept in memory: after a start everything is looked at.
    followed: Mutex<Option<Position>>,
}

impl SharedAssets {
    /// Opens a place and proves that it can be written. `variables` are those of the environment; the `AWS_` ones say
    /// how a bucket is reached. Costs the same for any number of assets.
    ///
    /// # Errors
    /// [`StorageError::Engine`] with what to do about it.
    pub fn open(place: &AssetPlace, variables: &[(String, String)]) -> Result<Self, StorageError> {
        let objects = Arc::new(place.connect(variables)?);
        let inner = Inner { objects, cache: ManifestCache::default(), followed: Mutex::default() };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The folders of a scope, each with the manifest that counts and all that are there.
    fn folders(
        &self,
        scope: Option<&AssetScope>,
        after: Option<&AssetSplit>,
    ) -> impl Iterator<Item = Result<Folder, StorageError>> {
        let prefix = layout::scope(scope);
        let after = after.map(|rows| layout::behind(&layout::rows(rows)));
        let mut manifests = self
            .inner
            .objects
            .list(&prefix, after.as_ref())
            .filter_map(|meta| meta.map(|meta| ManifestName::of(&meta.location)).transpose())
            .peekable();
        std::iter::from_fn(move || {
            let (path, name) = match manifests.next()? {
                Ok(first) => first,
                Err(error) => return Some(Err(error)),
            };
            let mut folder = Folder { path, names: vec![name] };
            while let Some(Ok((_, name))) =
                manifests.next_if(|next| next.as_ref().is_ok_and(|(path, _)| *path == folder.path))
            {
                folder.names.push(name);
            }
            Some(Ok(folder))
        })
    }

    /// The rows that a folder is for; read in its manifest when the folder's name does not say. `None` when the folder
    /// is gone or its manifest damaged.
    fn rows_of(&self, folder: &Folder) -> Result<Option<AssetSplit>, StorageError> {
        if let Some(rows) = layout::rows_of(&folder.path) {
            return Ok(Some(rows));
        }
        match manifest::read(&self.inner.objects, &folder.path, &folder.newest()) {
            Ok(manifest) => Ok(manifest.map(|manifest| manifest.rows)),
            Err(StorageError::Damaged(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// The manifests of one split at one revision, in order and at least one.
struct Folder {
    path: object_store::path::Path,
    names: Vec<ManifestName>,
}

impl Folder {
    fn newest(&self) -> ManifestName {
        *self.names.last().expect("a folder has a manifest")
    }

    fn paths(&self) -> Vec<object_store::path::Path> {
        self.names.iter().map(|name| name.path(&self.path)).collect()
    }
}

impl AssetStore for SharedAssets {
    fn batch(&self) -> Box<dyn AssetBatch> {
        Box::new(SharedBatch::new(&self.inner, None))
    }

    fn replacing(&self, rows: &AssetSplit) -> Box<dyn AssetBatch> {
        Box::new(SharedBatch::new(&self.inner, Some(rows.clone())))
    }

    fn open(&self, path: &AssetPath) -> Result<Option<Asset>, StorageError> {
        let objects = &self.inner.objects;
        let Some(asset) = self.inner.cache.find(objects, path)? else { return Ok(None) };
        let zstd_bytes = asset.compressed.then_some(asset.stored_bytes);
        let stored = Stored {
            bytes: asset.bytes,
            hash: asset.hash,
            stored_bytes: asset.stored_bytes,
            stored_hash: asset.stored_hash,
            compressed: asset.compressed,
        };
        let bytes = ObjectBytes::new(objects, layout::content(&asset.stored_hash));
        let body = Box::new(StoredBody::new(stored, Source::Object(bytes))?);
        let head =
            AssetHead { content_type: asset.content_type, bytes: asset.bytes, hash: asset.hash, zstd_bytes };
        Ok(Some(Asset { head, body }))
    }

    fn delete(
        &self,
        scope: &AssetScope,
        keep: &[Revision],
        put_before: TimestampMs,
    ) -> Result<u64, StorageError> {
        // The clock of who put them may be behind; what is spared here a sweep deletes.
        let put_before = put_before.0.saturating_sub(limits::ASSET_CLOCK_SKEW_MS_MAX);
        let (mut doomed, mut deleted) = (Vec::new(), 0);
        for folder in self.folders(Some(scope), None) {
            let folder = folder?;
            let newest = folder.newest();
            let is_kept = keep.iter().any(|revision| layout::is_of_revision(&folder.path, revision));
            if !is_kept && newest.put_at_ms < put_before {
                deleted += newest.assets;
                doomed.extend(folder.paths());
                self.inner.cache.forget(&folder.path);
            }
        }
        self.inner.objects.delete(doomed)?;
        Ok(deleted)
    }

    fn rows(
        &self,
        scope: Option<&AssetScope>,
        after: Option<&AssetSplit>,
        limit: usize,
    ) -> Result<Vec<AssetSplit>, StorageError> {
        let mut found = Vec::new();
        for folder in self.folders(scope, after) {
            if found.len() == limit {
                break;
            }
            found.extend(self.rows_of(&folder?)?);
        }
        Ok(found)
    }

    fn followed(&self) -> Option<Position> {
        *self.inner.followed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_followed(&self, position: Position) -> Result<(), StorageError> {
        *self.inner.followed.lock().unwrap_or_else(PoisonError::into_inner) = Some(position);
        Ok(())
    }

    fn stats(&self) -> Result<AssetStats, StorageError> {
        let mut stats = AssetStats::default();
        let mut contents = HashMap::new();
        for folder in self.folders(None, None) {
            let folder = folder?;
            let Some((_, manifest)) = manifest::read_newest(&self.inner.objects, &folder.path)? else {
                continue;
            };
            for asset in manifest.assets.values() {
                stats.assets += 1;
                stats.asset_bytes += asset.bytes;
                contents.insert(asset.stored_hash, asset.stored_bytes);
            }
        }
        stats.contents = contents.len() as u64;
        stats.stored_bytes = contents.values().sum();
        Ok(stats)
    }

    fn scrub(&self) -> Result<AssetScrubReport, StorageError> {
        scrub::scrub(self)
    }
}
