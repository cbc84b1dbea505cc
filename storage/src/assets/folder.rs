//! Assets in a folder: index and small files in the embedded engine, large files beside it.
//!
//! Owns opening and the calls of [`AssetStore`]. Hashing, compressing and writing happen in the caller; the index is
//! held only for the batch that changes it. A damaged index is set aside and an empty one takes its place. A failed
//! write or flush stops the store: every later change fails with the cause.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use futures::FutureExt;
use futures::future::BoxFuture;
use outpost_model::{AssetPath, AssetSplit, Epoch, Position, Revision, TimestampMs, limits};

use super::content::{self, Files, Prepared};
use super::index::{self, Index};
use super::reader::{Source, StoredBody};
use super::records::{Place, StoredAsset, StoredContent};
use super::{
    Asset, AssetBatch, AssetHead, AssetScope, AssetScrubReport, AssetStats, AssetStore, check_new, check_rows,
};
use super::{keys, scrub};
use crate::error::StorageError;
use crate::fault::Fault;
use crate::kv::{self, Batch, Kv, OpenReport};

/// Times that a read looks again when the asset is replaced under it.
const READ_TRIES_MAX: usize = 100;

/// Assets in a folder. Clones share it; it closes when the last one and the last batch are dropped.
#[derive(Clone)]
pub struct FolderAssets {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    index: Mutex<Index>,
    fault: Fault,
    report: OpenReport,
    pub(super) files: Files,
    pub(super) kv: Arc<Kv>,
}

impl FolderAssets {
    /// Opens the store in `directory`, creating it when there is none. Costs the same for any number of assets.
    ///
    /// # Errors
    /// [`StorageError::InUse`] when another process holds it for longer than [`limits::STORE_LOCK_WAIT_MS`],
    /// [`StorageError::FormatVersion`] when another version wrote it, [`StorageError::Engine`] when the disk fails.
    pub fn open(directory: &Path) -> Result<Self, StorageError> {
        kv::rebuilding(directory, || attempt(directory))
    }

    /// What opening found and did.
    #[must_use]
    pub fn open_report(&self) -> &OpenReport {
        &self.inner.report
    }

    /// What the owner last told [`FolderAssets::set_bookmark`]. It goes when the index is set aside.
    ///
    /// # Errors
    /// [`StorageError::Engine`] when the disk fails.
    pub fn bookmark(&self) -> Result<Option<Vec<u8>>, StorageError> {
        Ok(self.inner.kv.state.get(keys::BOOKMARK)?.map(|bytes| bytes.to_vec()))
    }

    /// Remembers some bytes of the owner's own; returns when they are on disk.
    ///
    /// # Errors
    /// [`StorageError::Engine`] when the disk fails.
    pub fn set_bookmark(&self, bookmark: &[u8]) -> Result<(), StorageError> {
        self.inner.change(|index| {
            let mut batch = Batch::new();
            batch.put(keys::BOOKMARK.to_vec(), bookmark.to_vec());
            index.kv.state.apply(batch)
        })?;
        self.inner.flush()
    }

    /// Bytes that the index and the small files take on disk.
    ///
    /// # Errors
    /// [`StorageError::Engine`] when the disk fails.
    pub fn index_bytes_on_disk(&self) -> Result<u64, StorageError> {
        self.inner.kv.size_on_disk()
    }
}

fn attempt(directory: &Path) -> Result<FolderAssets, StorageError> {
    let (kv, report) = kv::open(directory, limits::STORE_LOCK_WAIT_MS, limits::ASSET_STORE_CACHE_BYTES)?;
    let kv = Arc::new(kv);
    let files = Files::open(directory)?;
    let mut index = Index::load(Arc::clone(&kv))?;
    index::delete_garbage(&kv, &files, &index.take_garbage())?;
    let inner = Inner { index: Mutex::new(index), fault: Fault::default(), report, files, kv };
    Ok(FolderAssets { inner: Arc::new(inner) })
}

impl Inner {
    /// The index, for changes; fails once the store has failed.
    pub(super) fn index(&self) -> Result<MutexGuard<'_, Index>, StorageError> {
        self.fault.check()?;
        Ok(self.index.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Runs a change of the index. A failure of the engine leaves it in doubt and is final.
    pub(super) fn change<T>(
        &self,
        change: impl FnOnce(&mut Index) -> Result<T, StorageError>,
    ) -> Result<T, StorageError> {
        let mut index = self.index()?;
        self.judged(change(&mut index))
    }

    /// Waits until everything applied so far is on disk, then deletes what it superseded.
    pub(super) fn flush(&self) -> Result<(), StorageError> {
        let garbage = self.index()?.take_garbage();
        let flushed = self.kv.flush();
        self.judged(flushed.and_then(|()| index::delete_garbage(&self.kv, &self.files, &garbage)))
    }

    fn judged<T>(&self, result: Result<T, StorageError>) -> Result<T, StorageError> {
        if let Err(cause @ (StorageError::Engine(_) | StorageError::DiskFull(_))) = &result {
            self.fault.fail(cause);
        }
        result
    }

    fn find(&self, path: &AssetPath) -> Result<Option<Asset>, StorageError> {
        let key = keys::asset(path);
        let mut last = None;
        for _ in 0..READ_TRIES_MAX {
            let Some(asset) = index::read_asset(&self.kv, &key)? else { return Ok(None) };
            let content = index::read_content(&self.kv, &asset.hash)?;
            if let Some(content) = &content
                && let Some(body) = self.body(&asset.hash, content)?
            {
                let zstd_bytes = content.compressed.then_some(content.stored_bytes);
                let StoredAsset { hash, content_type, .. } = asset;
                let head = AssetHead { content_type, bytes: content.bytes, hash, zstd_bytes };
                return Ok(Some(Asset { head, body: Box::new(body) }));
            }
            // It was replaced in between, unless everything is still the same.
            let found = Some((asset, content));
            if last == found {
                return Err(StorageError::Damaged(format!("asset {path}: its bytes are missing")));
            }
            last = found;
        }
        Err(StorageError::Engine(format!("asset {path} is replaced faster than it can be read")))
    }

    /// Opens stored bytes; `None` when they are not there.
    pub(super) fn body(
        &self,
        hash: &[u8; 32],
        content: &StoredContent,
    ) -> Result<Option<StoredBody>, StorageError> {
        let source = match &content.place {
            Place::Inline(stored) => Source::Small(stored.clone()),
            Place::Chunks { id } => match content::read_chunks(*id, content.stored_bytes, &self.kv.chunks)? {
                Some(stored) => Source::Small(stored),
                None => return Ok(None),
            },
            Place::File { id } => {
                let path = self.files.path(hash, *id);
                match File::open(&path) {
                    Ok(file) => Source::Large(file),
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
                    Err(error) => return Err(content::failed("open", &path, &error)),
                }
            }
        };
        StoredBody::new(content.stored(hash), source).map(Some)
    }
}

impl AssetStore for FolderAssets {
    fn failed(&self) -> BoxFuture<'static, StorageError> {
        // Not the store itself, which would stay open for it.
        let fault = self.inner.fault.clone();
        async move { fault.failure().await }.boxed()
    }

    fn batch(&self) -> Box<dyn AssetBatch> {
        Box::new(FolderBatch::new(&self.inner, None))
    }

    fn replacing(&self, rows: &AssetSplit) -> Box<dyn AssetBatch> {
        Box::new(FolderBatch::new(&self.inner, Some(rows.clone())))
    }

    fn open(&self, path: &AssetPath) -> Result<Option<Asset>, StorageError> {
        self.inner.find(path)
    }

    fn delete(
        &self,
        scope: &AssetScope,
        keep: &[Revision],
        put_before: TimestampMs,
    ) -> Result<u64, StorageError> {
        let prefix = keys::scope(scope);
        let (mut deleted, mut after) = (0, None);
        loop {
            let delete = |index: &mut Index| index.delete_some(&prefix, after.as_deref(), keep, put_before);
            let (count, next) = self.inner.change(delete)?;
            deleted += count;
            if count > 0 {
                self.inner.flush()?;
            }
            match next {
                Some(next) => after = Some(next),
                None => return Ok(deleted),
            }
        }
    }

    fn rows(
        &self,
        scope: Option<&AssetScope>,
        after: Option<&AssetSplit>,
        limit: usize,
    ) -> Result<Vec<AssetSplit>, StorageError> {
        let prefix = scope.map_or_else(|| vec![keys::ASSETS], keys::scope);
        let mut from = after.map_or_else(|| prefix.clone(), keys::behind_rows);
        let mut found = Vec::new();
        while found.len() < limit {
            let Some(pair) = self.inner.kv.state.from(&from).next() else { break };
            let (key, _) = pair?;
            if !key.starts_with(&prefix) {
                break;
            }
            match keys::rows_of(&key) {
                Some(rows) => {
                    from = keys::behind_rows(&rows);
                    found.push(rows);
                }
                // A scrub deletes it.
                None => from = [&key[..], &[0]].concat(),
            }
        }
        Ok(found)
    }

    fn followed(&self) -> Option<Position> {
        let index = self.inner.index().ok()?;
        index.meta.followed.map(|(epoch, seq)| Position { epoch: Epoch(epoch), seq })
    }

    fn set_followed(&self, position: Position) -> Result<(), StorageError> {
        self.inner.change(|index| index.set_followed(position))
    }

    fn stats(&self) -> Result<AssetStats, StorageError> {
        let index = self.inner.index.lock().unwrap_or_else(PoisonError::into_inner);
        let meta = &index.meta;
        Ok(AssetStats {
            assets: meta.assets,
            asset_bytes: meta.asset_bytes,
            contents: meta.contents,
            stored_bytes: meta.stored_bytes,
        })
    }

    fn scrub(&self) -> Result<AssetScrubReport, StorageError> {
        scrub::scrub(&self.inner)
    }
}

/// A batch: small files go to the index at once, large ones get their names when it is committed.
struct FolderBatch {
    inner: Arc<Inner>,
    /// The rows whose assets are to be those of the batch only.
    whole: Option<AssetSplit>,
    /// What was put; kept for `whole` only.
    put: BTreeMap<Vec<u8>, [u8; 32]>,
    files: Vec<WrittenFile>,
    /// Assets with the content of one of `files`.
    repeated: Vec<(Vec<u8>, StoredAsset)>,
}

struct WrittenFile {
    key: Vec<u8>,
    asset: StoredAsset,
    content: StoredContent,
    id: u64,
    tmp: PathBuf,
}

impl FolderBatch {
    fn new(inner: &Arc<Inner>, whole: Option<AssetSplit>) -> Self {
        let inner = Arc::clone(inner);
        Self { inner, whole, put: BTreeMap::new(), files: Vec::new(), repeated: Vec::new() }
    }
}

impl AssetBatch for FolderBatch {
    fn put(&mut self, path: &AssetPath, content_type: &str, bytes: &[u8]) -> Result<(), StorageError> {
        check_new(content_type, bytes)?;
        check_rows(self.whole.as_ref(), path)?;
        let hash = *blake3::hash(bytes).as_bytes();
        let key = keys::asset(path);
        if self.whole.is_some() {
            self.put.insert(key.clone(), hash);
        }
        let asset = StoredAsset { hash, content_type: content_type.to_owned(), put_at_ms: now().0 };
        if self.inner.change(|index| index.refer(&key, &asset))? {
            return Ok(());
        }
        if self.files.iter().any(|file| file.asset.hash == hash) {
            self.repeated.push((key, asset));
            return Ok(());
        }
        let Prepared { stored, compressed, stored_hash } = content::prepare(bytes, &hash)?;
        let content = |place| StoredContent {
            bytes: bytes.len() as u64,
            stored_bytes: stored.len() as u64,
            compressed,
            stored_hash,
            references: 1,
            place,
        };
        if stored.len() <= limits::ASSET_CHUNKED_BYTES_MAX {
            return self.inner.change(|index| {
                // Another batch may have put the same bytes meanwhile.
                if index.refer(&key, &asset)? {
                    return Ok(());
                }
                let place = if stored.len() <= limits::STORE_INLINE_BYTES_MAX {
                    Place::Inline(stored.to_vec())
                } else {
                    let id = index.take_id()?;
                    content::write_chunks(id, &stored, &index.kv.chunks)?;
                    Place::Chunks { id }
                };
                index.add(&key, &asset, content(place))
            });
        }
        let id = self.inner.change(|index| {
            let id = index.take_id()?;
            index.in_flight.insert(id);
            Ok(id)
        })?;
        let content = content(Place::File { id });
        let tmp = self.inner.files.write(id, &stored);
        let tmp = tmp.inspect_err(|_| self.inner.forget_in_flight(&[id]))?;
        self.files.push(WrittenFile { key, asset, content, id, tmp });
        Ok(())
    }

    fn commit(mut self: Box<Self>) -> Result<(), StorageError> {
        let tmp: Vec<&Path> = self.files.iter().map(|file| file.tmp.as_path()).collect();
        content::sync_files(&tmp)?;
        let written = self.files.iter().map(|file| (file.tmp.as_path(), file.asset.hash, file.id));
        self.inner.files.publish(written)?;
        let repeated = std::mem::take(&mut self.repeated);
        let (whole, put) = (self.whole.take(), std::mem::take(&mut self.put));
        let deleted = self.inner.change(|index| {
            for file in &self.files {
                if !index.refer(&file.key, &file.asset)? {
                    index.add(&file.key, &file.asset, file.content.clone())?;
                    index.in_flight.remove(&file.id);
                }
            }
            // The content of each was added above, whoever added it.
            repeated.iter().try_for_each(|(key, asset)| index.refer(key, asset).map(|_| ()))?;
            whole.as_ref().map_or(Ok(0), |rows| index.keep_only(&keys::rows(rows), &put))
        })?;
        // Most jobs have no assets and replace none: they wait for nothing.
        if whole.is_some() && put.is_empty() && deleted == 0 { Ok(()) } else { self.inner.flush() }
    }
}

impl Inner {
    fn forget_in_flight(&self, ids: &[u64]) {
        let mut index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        for id in ids {
            index.in_flight.remove(id);
        }
    }
}

impl Drop for FolderBatch {
    /// Deletes the files that did not become contents: those of a batch that was given up, and those whose content
    /// another batch added first.
    fn drop(&mut self) {
        let mut index = self.inner.index.lock().unwrap_or_else(PoisonError::into_inner);
        for file in self.files.drain(..).filter(|file| index.in_flight.remove(&file.id)) {
            for path in [&file.tmp, &self.inner.files.path(&file.asset.hash, file.id)] {
                if let Err(error) = content::remove(path) {
                    tracing::warn!(%error, "failed to delete the file of an asset that is not kept; a scrub will");
                }
            }
        }
    }
}

/// The time that assets are put at.
pub(super) fn now() -> TimestampMs {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    TimestampMs(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
