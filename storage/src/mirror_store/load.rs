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
use super::layers::Kv;
use super::records::{FORMAT_VERSION, FORMAT_VERSION_BEFORE, Meta, MetaBefore};
use super::shown::Shown;
use super::stage::StageLimits;
use crate::blob;
use crate::error::StorageError;
use crate::kv::{self, Batch, OpenReport};
use crate::record;
use crate::stored::{self, Found, Layout};

const LAYOUT: Layout = Layout {
    format: keys::FORMAT,
    meta: keys::META,
    version: FORMAT_VERSION,
    previous: FORMAT_VERSION_BEFORE,
};

/// Opens the store under `root`; one that cannot be read is set aside and an empty one takes its place.
pub(super) fn load(root: &Path, lock_wait_ms: u64) -> Result<(Core, OpenReport), StorageError> {
    kv::rebuilding(root, || attempt(root, lock_wait_ms))
}

fn attempt(root: &Path, lock_wait_ms: u64) -> Result<(Core, OpenReport), StorageError> {
    let (kv, report) = kv::open(root, lock_wait_ms, limits::STORE_CACHE_BYTES)?;
    let meta = match stored::read_meta::<Meta, MetaBefore>(&kv, &LAYOUT)? {
        Found::Current(meta) => meta,
        Found::Previous(meta) => write(&kv, meta.into_current())?,
        Found::Nothing => write(&kv, Meta { next_blob: 1, ..Meta::default() })?,
    };
    blob::delete_leftovers(&kv, meta.next_blob)?;
    kv.flush()?;
    let kv = Kv::new(kv)?;
    let log_floor = Arc::new(AtomicU64::new(meta.log_floor));
    let log_limits =
        LogLimits { records_max: limits::CHANGE_LOG_RECORDS_MAX, bytes_max: limits::CHANGE_LOG_BYTES_MAX };
    let stage_limits = StageLimits::default();
    let (damage, items, shown) = (Arc::default(), Arc::default(), Arc::new(Shown::new(&meta)));
    let kv = Arc::new(kv);
    Ok((Core { kv, meta, damage, log_floor, log_limits, stage_limits, items, shown }, report))
}

/// Makes `meta` that of the store, in the current layout.
fn write(kv: &kv::Kv, meta: Meta) -> Result<Meta, StorageError> {
    let mut batch = Batch::new();
    batch.put(keys::FORMAT.to_vec(), FORMAT_VERSION.to_be_bytes().to_vec());
    batch.put(keys::META.to_vec(), record::encode(&meta));
    kv.state.apply(batch)?;
    kv.flush()?;
    Ok(meta)
}
