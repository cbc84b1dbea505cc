//! The index of assets: which content is at a path, where it is, and how many paths it has.
//!
//! Owns the reference counts: every change is one atomic batch, so that an asset never points to nothing and a count
//! is never off after a crash. What loses its last reference is marked in the same batch and deleted after the next
//! flush; a crash in between leaves the mark, and opening repeats the deletion. One caller at a time holds it.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use outpost_model::{Position, Revision, TimestampMs};

use super::content::{self, Files};
use super::keys;
use super::records::{FORMAT_VERSION, Garbage, Meta, Place, StoredAsset, StoredContent};
use crate::error::StorageError;
use crate::kv::{Batch, Kv};
use crate::record;

/// Ids reserved at a time.
const IDS_PER_BLOCK: u64 = 10_000;
/// Assets deleted by one atomic batch.
const DELETED_PER_BATCH: usize = 1_000;

/// See the module.
pub(super) struct Index {
    pub(super) kv: Arc<Kv>,
    pub(super) meta: Meta,
    next_id: u64,
    /// Files that have an id and no content yet.
    pub(super) in_flight: HashSet<u64>,
    /// What is to be deleted once the batches that marked it are on disk.
    garbage: Vec<Garbage>,
}

/// A batch being put together.
pub(super) struct Draft {
    pub(super) batch: Batch,
    pub(super) meta: Meta,
    contents: BTreeMap<[u8; 32], Option<StoredContent>>,
    garbage: Vec<Garbage>,
}

impl Index {
    /// Reads the counters, and what a crash left to be deleted.
    pub(super) fn load(kv: Arc<Kv>) -> Result<Self, StorageError> {
        let meta = match read_meta(&kv)? {
            Some(meta) => meta,
            None => create(&kv)?,
        };
        let mut garbage = Vec::new();
        for pair in kv.state.prefix(&[keys::GARBAGE]) {
            // What a damaged mark stood for is found by a scrub.
            garbage.extend(record::decode::<Garbage>(&pair?.1).ok());
        }
        Ok(Self { kv, next_id: meta.ids_reserved, meta, in_flight: HashSet::new(), garbage })
    }

    /// An id that no stored value has.
    pub(super) fn take_id(&mut self) -> Result<u64, StorageError> {
        if self.next_id >= self.meta.ids_reserved {
            let mut draft = self.draft();
            draft.meta.ids_reserved = self.next_id + IDS_PER_BLOCK;
            self.apply(draft)?;
        }
        self.next_id += 1;
        Ok(self.next_id - 1)
    }

    /// Puts an asset whose content is there already; says whether it is.
    pub(super) fn refer(&mut self, key: &[u8], asset: &StoredAsset) -> Result<bool, StorageError> {
        let mut draft = self.draft();
        let Some(content) = self.content_in(&mut draft, &asset.hash)?.as_mut() else { return Ok(false) };
        content.references += 1;
        let bytes = content.bytes;
        self.put_asset(&mut draft, key, asset, bytes)?;
        self.apply(draft)?;
        Ok(true)
    }

    /// Puts an asset with its content, which is not there yet and whose bytes are.
    pub(super) fn add(
        &mut self,
        key: &[u8],
        asset: &StoredAsset,
        content: StoredContent,
    ) -> Result<(), StorageError> {
        let mut draft = self.draft();
        let bytes = content.bytes;
        draft.meta.contents += 1;
        draft.meta.stored_bytes += content.stored_bytes;
        draft.contents.insert(asset.hash, Some(StoredContent { references: 1, ..content }));
        self.put_asset(&mut draft, key, asset, bytes)?;
        self.apply(draft)
    }

    fn put_asset(
        &self,
        draft: &mut Draft,
        key: &[u8],
        asset: &StoredAsset,
        bytes: u64,
    ) -> Result<(), StorageError> {
        self.forget_asset(draft, key)?;
        draft.meta.assets += 1;
        draft.meta.asset_bytes += bytes;
        draft.batch.put(key.to_vec(), record::encode(asset));
        Ok(())
    }

    /// Uncounts the asset at `key`. What a damaged record referred to is found by a scrub.
    fn forget_asset(&self, draft: &mut Draft, key: &[u8]) -> Result<(), StorageError> {
        let Some(bytes) = self.kv.state.get(key)? else { return Ok(()) };
        draft.meta.assets = draft.meta.assets.saturating_sub(1);
        let hash = match record::decode::<StoredAsset>(&bytes) {
            Ok(asset) => asset.hash,
            Err(StorageError::Damaged(_)) => return Ok(()),
            Err(error) => return Err(error),
        };
        let Some(content) = self.content_in(draft, &hash)?.as_mut() else { return Ok(()) };
        content.references = content.references.saturating_sub(1);
        let bytes = content.bytes;
        let unused = (content.references == 0).then(|| content.clone());
        draft.meta.asset_bytes = draft.meta.asset_bytes.saturating_sub(bytes);
        if let Some(content) = unused {
            draft.meta.contents = draft.meta.contents.saturating_sub(1);
            draft.meta.stored_bytes = draft.meta.stored_bytes.saturating_sub(content.stored_bytes);
            draft.drop_content(&hash, &content.place);
        }
        Ok(())
    }

    /// The content of a hash as the draft leaves it; a damaged one counts as not there.
    fn content_in<'a>(
        &self,
        draft: &'a mut Draft,
        hash: &[u8; 32],
    ) -> Result<&'a mut Option<StoredContent>, StorageError> {
        if !draft.contents.contains_key(hash) {
            let content = match read_content(&self.kv, hash) {
                Err(StorageError::Damaged(_)) => None,
                other => other?,
            };
            draft.contents.insert(*hash, content);
        }
        Ok(draft.contents.entry(*hash).or_default())
    }

    /// Deletes up to one batch of assets under `prefix` from behind `after`; returns how many, and where to go on.
    pub(super) fn delete_some(
        &mut self,
        prefix: &[u8],
        after: Option<&[u8]>,
        keep: &[Revision],
        put_before: TimestampMs,
    ) -> Result<(u64, Option<Vec<u8>>), StorageError> {
        let mut doomed = Vec::new();
        let mut last = None;
        let start = after.map_or_else(|| prefix.to_vec(), |after| [after, &[0]].concat());
        let kv = Arc::clone(&self.kv);
        for pair in kv.state.from(&start) {
            let (key, value) = pair?;
            if !key.starts_with(prefix) {
                last = None;
                break;
            }
            last = Some(key.to_vec());
            let is_kept = keys::rows_of(&key).is_some_and(|rows| keep.contains(&rows.revision));
            // A damaged record has no age; a scrub reports it.
            let is_old = record::decode::<StoredAsset>(&value)
                .is_ok_and(|asset| TimestampMs(asset.put_at_ms) < put_before);
            if !is_kept && is_old {
                doomed.push(key.to_vec());
            }
            if doomed.len() == DELETED_PER_BATCH {
                break;
            }
        }
        let mut draft = self.draft();
        for key in &doomed {
            self.forget_asset(&mut draft, key)?;
            draft.batch.delete(key.clone());
        }
        self.apply(draft)?;
        let next = last.filter(|_| doomed.len() == DELETED_PER_BATCH);
        Ok((doomed.len() as u64, next))
    }

    /// Deletes the assets under `prefix` that are not in `put`; returns how many. All of `put` must still be there: when
    /// another batch deleted some meanwhile, it is for the same rows and this one is to be made again.
    pub(super) fn keep_only(
        &mut self,
        prefix: &[u8],
        put: &BTreeMap<Vec<u8>, [u8; 32]>,
    ) -> Result<u64, StorageError> {
        for (key, hash) in put {
            if read_asset(&self.kv, key)?.is_none_or(|asset| asset.hash != *hash) {
                return Err(StorageError::LeaseLost("another job replaces the assets of the same rows"));
            }
        }
        let mut draft = self.draft();
        let mut deleted = 0;
        let kv = Arc::clone(&self.kv);
        for pair in kv.state.prefix(prefix) {
            let key = pair?.0.to_vec();
            if !put.contains_key(&key) {
                self.forget_asset(&mut draft, &key)?;
                draft.batch.delete(key);
                deleted += 1;
            }
        }
        self.apply(draft)?;
        Ok(deleted)
    }

    pub(super) fn set_followed(&mut self, position: Position) -> Result<(), StorageError> {
        let mut draft = self.draft();
        draft.meta.followed = Some((position.epoch.0, position.seq));
        self.apply(draft)
    }

    pub(super) fn draft(&self) -> Draft {
        Draft { batch: Batch::new(), meta: self.meta.clone(), contents: BTreeMap::new(), garbage: Vec::new() }
    }

    /// Applies a draft whole or not at all.
    pub(super) fn apply(&mut self, mut draft: Draft) -> Result<(), StorageError> {
        for (hash, content) in draft.contents {
            if let Some(content) = content.filter(|content| content.references > 0) {
                draft.batch.put(keys::content(&hash), record::encode(&content));
            }
        }
        if draft.meta != self.meta {
            draft.batch.put(keys::META.to_vec(), record::encode(&draft.meta));
        }
        self.kv.state.apply(draft.batch)?;
        self.meta = draft.meta;
        self.garbage.extend(draft.garbage);
        Ok(())
    }

    /// What is to be deleted after the next flush. The caller flushes, then calls [`delete_garbage`].
    pub(super) fn take_garbage(&mut self) -> Vec<Garbage> {
        std::mem::take(&mut self.garbage)
    }
}

impl Draft {
    /// Deletes the record of a content and marks its bytes.
    pub(super) fn drop_content(&mut self, hash: &[u8; 32], place: &Place) {
        self.batch.delete(keys::content(hash));
        let Some(id) = place.id() else { return };
        let file = matches!(place, Place::File { .. }).then_some(*hash);
        let garbage = Garbage { id, file };
        self.batch.put(keys::garbage(id), record::encode(&garbage));
        self.garbage.push(garbage);
    }
}

/// Deletes what was marked, then the marks.
pub(super) fn delete_garbage(kv: &Kv, files: &Files, garbage: &[Garbage]) -> Result<(), StorageError> {
    let mut marks = Batch::new();
    for Garbage { id, file } in garbage {
        match file {
            Some(hash) => files.delete(hash, *id)?,
            None => content::delete_chunks(*id, &kv.chunks)?,
        }
        marks.delete(keys::garbage(*id));
    }
    kv.state.apply(marks)
}

pub(super) fn read_asset(kv: &Kv, key: &[u8]) -> Result<Option<StoredAsset>, StorageError> {
    kv.state.get(key)?.map(|bytes| record::decode(&bytes)).transpose()
}

pub(super) fn read_content(kv: &Kv, hash: &[u8; 32]) -> Result<Option<StoredContent>, StorageError> {
    kv.state.get(&keys::content(hash))?.map(|bytes| record::decode(&bytes)).transpose()
}

fn read_meta(kv: &Kv) -> Result<Option<Meta>, StorageError> {
    if kv.state.is_empty() {
        return Ok(None);
    }
    let format = kv.state.get(keys::FORMAT)?;
    match format.as_deref().and_then(|bytes| bytes.try_into().ok()).map(u32::from_be_bytes) {
        Some(FORMAT_VERSION) => {}
        Some(found) => return Err(StorageError::FormatVersion { found, expected: FORMAT_VERSION }),
        None => return Err(StorageError::Damaged("assets: no format version".to_owned())),
    }
    let meta = kv.state.get(keys::META)?;
    let meta = meta.ok_or_else(|| StorageError::Damaged("assets: no counters".to_owned()))?;
    record::decode(&meta).map(Some)
}

fn create(kv: &Kv) -> Result<Meta, StorageError> {
    let meta = Meta::default();
    let mut batch = Batch::new();
    batch.put(keys::FORMAT.to_vec(), FORMAT_VERSION.to_be_bytes().to_vec());
    batch.put(keys::META.to_vec(), record::encode(&meta));
    kv.state.apply(batch)?;
    kv.flush()?;
    Ok(meta)
}
