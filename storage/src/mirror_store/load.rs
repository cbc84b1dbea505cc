//! Opening: from a directory to a writer's state.
//!
//! Owns what happens to a store that is new, of another version, damaged, or left behind by a crash. Costs the same for
//! any number of entries. A damaged store is set aside and an empty one takes its place: its filler fills it again.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use outpost_model::limits;

use super::core::Core;
use super::draft::LogLimits;
use super::keys;
use super::records::{FORMAT_VERSION, Meta};
use crate::blob;
use crate::error::StorageError;
use crate::kv::{self, Batch, Kv, OpenReport};
use crate::record;

/// Opens the store under `root`; one that cannot be read is set aside and an empty one takes its place.
pub(super) fn load(root: &Path, lock_wait_ms: u64) -> Result<(Core, OpenReport), StorageError> {
    kv::rebuilding(root, || attempt(root, lock_wait_ms))
}

fn attempt(root: &Path, lock_wait_ms: u64) -> Result<(Core, OpenReport), StorageError> {
    let (kv, report) = kv::open(root, lock_wait_ms, limits::STORE_CACHE_BYTES)?;
    let meta = match read_meta(&kv)? {
        Some(meta) => meta,
        None => create(&kv)?,
    };
    blob::delete_leftovers(&kv, meta.next_blob)?;
    kv.flush()?;
    let log_floor = Arc::new(AtomicU64::new(meta.log_floor));
    let log_limits =
        LogLimits { records_max: limits::CHANGE_LOG_RECORDS_MAX, bytes_max: limits::CHANGE_LOG_BYTES_MAX };
    Ok((Core { kv: Arc::new(kv), meta, damage: Arc::default(), log_floor, log_limits }, report))
}

/// The store's counters, `None` for a new store.
fn read_meta(kv: &Kv) -> Result<Option<Meta>, StorageError> {
    if kv.state.is_empty() {
        return Ok(None);
    }
    let format = kv.state.get(keys::FORMAT)?;
    let found = format.as_deref().and_then(|bytes| bytes.try_into().ok()).map(u32::from_be_bytes);
    match found {
        Some(FORMAT_VERSION) => {}
        Some(found) => return Err(StorageError::FormatVersion { found, expected: FORMAT_VERSION }),
        None => return Err(StorageError::Damaged("no format version".to_owned())),
    }
    let meta = kv.state.get(keys::META)?;
    let meta = meta.ok_or_else(|| StorageError::Damaged("no position".to_owned()))?;
    record::decode(&meta).map(Some)
}

fn create(kv: &Kv) -> Result<Meta, StorageError> {
    let meta = Meta { next_blob: 1, ..Meta::default() };
    let mut batch = Batch::new();
    batch.put(keys::FORMAT.to_vec(), FORMAT_VERSION.to_be_bytes().to_vec());
    batch.put(keys::META.to_vec(), record::encode(&meta));
    kv.state.apply(batch)?;
    kv.flush()?;
    Ok(meta)
}
