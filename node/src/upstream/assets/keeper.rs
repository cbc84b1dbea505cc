//! What a replica keeps of the assets that come by.
//!
//! Owns the bounds: the size of each, the disk of all, the memory of those on their way. Over the budget, the assets of
//! rows that were read longest ago give way, down to a mark. On a disk that is nearly full nothing is kept; what is
//! there stays readable. Nothing here asks an upstream.

use std::collections::BinaryHeap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use outpost_model::{AssetPath, AssetSplit, TimestampMs, limits};
use outpost_storage::{AssetHead, AssetScope, AssetStore, Disk, StorageError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::lock;
use super::reads::{Reads, ReadsDraft};
use crate::clock;

/// Bytes that one permit of the memory stands for.
const PERMIT_BYTES: u64 = 1024;

/// In the directory of the assets' disk.
const READS_FILE: &str = "asset-reads";

/// How much a replica keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AssetBounds {
    /// Larger assets are not kept. At most [`limits::ASSET_KEPT_BYTES_MAX`].
    pub asset_bytes_max: u64,
    /// Disk for all of them.
    pub budget_bytes: u64,
}

impl AssetBounds {
    /// Up to here assets are fetched before they are read, and down to here they give way.
    #[must_use]
    pub fn mark_bytes(&self) -> u64 {
        self.budget_bytes / 100 * limits::ASSETS_MARK_PERCENT
    }
}

impl Default for AssetBounds {
    fn default() -> Self {
        Self {
            asset_bytes_max: limits::ASSET_KEPT_BYTES_DEFAULT,
            budget_bytes: limits::ASSET_MIRROR_BYTES_DEFAULT,
        }
    }
}

/// Whether an asset may be gathered here.
pub(super) enum Admission {
    /// It may, in this memory.
    Granted(OwnedSemaphorePermit),
    /// It is too large.
    TooLarge,
    /// There is no room for it now, in memory or on the disk.
    NotNow,
}

/// See the module.
pub(super) struct Keeper {
    store: Arc<dyn AssetStore>,
    bounds: AssetBounds,
    disk: Disk,
    memory: Arc<Semaphore>,
    reads: Mutex<Reads>,
    /// Bytes that are being stored and that the store does not count yet.
    reserved: Mutex<u64>,
    kept: AtomicU64,
    kept_bytes: AtomicU64,
}

impl Keeper {
    pub(super) fn new(store: Arc<dyn AssetStore>, bounds: AssetBounds, disk: Disk) -> Self {
        let permits = usize::try_from(limits::ASSETS_COMING_BYTES_MAX / PERMIT_BYTES).unwrap_or_default();
        let reads = Mutex::new(Reads::open(disk.directory.join(READS_FILE)));
        Self {
            store,
            bounds,
            disk,
            reads,
            memory: Arc::new(Semaphore::new(permits)),
            reserved: Mutex::default(),
            kept: AtomicU64::new(0),
            kept_bytes: AtomicU64::new(0),
        }
    }

    pub(super) fn store(&self) -> &Arc<dyn AssetStore> {
        &self.store
    }

    /// Assets kept since the start, and their bytes.
    pub(super) fn kept(&self) -> (u64, u64) {
        (self.kept.load(Ordering::Relaxed), self.kept_bytes.load(Ordering::Relaxed))
    }

    /// Memory for assets on their way that nobody has taken, in bytes.
    #[cfg(test)]
    pub(super) fn memory_left(&self) -> u64 {
        self.memory.available_permits() as u64 * PERMIT_BYTES
    }

    pub(super) fn was_read(&self, rows: &AssetSplit) {
        lock(&self.reads).was_read(rows);
    }

    /// Writes down in which order assets were read. Blocks.
    pub(super) fn note_reads(&self) {
        let draft = lock(&self.reads).draft();
        if let Some(Err(error)) = draft.map(ReadsDraft::write) {
            tracing::warn!(%error, "in which order assets were read was not written down");
        }
    }

    /// Whether an asset of so many bytes may be gathered in memory, to be kept. Asks the disk.
    pub(super) fn admit(&self, bytes: u64) -> Admission {
        if bytes > self.bounds.asset_bytes_max.min(self.bounds.budget_bytes) {
            return Admission::TooLarge;
        }
        let permits = u32::try_from(bytes.div_ceil(PERMIT_BYTES).max(1)).unwrap_or(u32::MAX);
        match Arc::clone(&self.memory).try_acquire_many_owned(permits) {
            Ok(memory) if self.disk.takes(bytes) => Admission::Granted(memory),
            _ => Admission::NotNow,
        }
    }

    /// Stores an asset where there is room; says whether. Blocks.
    pub(super) fn keep(
        &self,
        path: &AssetPath,
        head: &AssetHead,
        bytes: &[u8],
    ) -> Result<bool, StorageError> {
        if !self.disk.takes(head.bytes) || !self.reserve(head.bytes)? {
            return Ok(false);
        }
        let put = self.store.put(path, &head.content_type, bytes);
        *lock(&self.reserved) -= head.bytes;
        put?;
        self.kept.fetch_add(1, Ordering::Relaxed);
        self.kept_bytes.fetch_add(head.bytes, Ordering::Relaxed);
        Ok(true)
    }

    /// Takes so many bytes of the budget, making room when it is used up.
    fn reserve(&self, bytes: u64) -> Result<bool, StorageError> {
        let mut reserved = lock(&self.reserved);
        let taken = reserved.saturating_add(bytes);
        let fits = |stored: u64| stored.saturating_add(taken) <= self.bounds.budget_bytes;
        if !fits(self.stored()?) {
            self.evict(self.bounds.mark_bytes().saturating_sub(taken))?;
            if !fits(self.stored()?) {
                return Ok(false);
            }
        }
        *reserved = taken;
        Ok(true)
    }

    fn stored(&self) -> Result<u64, StorageError> {
        Ok(self.store.stats()?.stored_bytes)
    }

    /// Deletes the assets of the rows that were read longest ago until no more than so many bytes are stored.
    fn evict(&self, stored_max: u64) -> Result<(), StorageError> {
        loop {
            let mut deleted = 0;
            for rows in self.oldest()? {
                if self.stored()? <= stored_max {
                    return Ok(());
                }
                let put_before = TimestampMs(clock::now().0 + 1);
                lock(&self.reads).forget(&rows);
                deleted += self.store.delete(&AssetScope::Rows(rows), &[], put_before)?;
            }
            if deleted == 0 {
                return Ok(());
            }
            tracing::debug!(deleted, "deleted {deleted} assets that were read longest ago");
        }
    }

    /// Rows that were read longest ago, those first of which that is not known.
    fn oldest(&self) -> Result<Vec<AssetSplit>, StorageError> {
        let (mut oldest, mut after) = (BinaryHeap::new(), None);
        loop {
            let page = self.store.rows(None, after.as_ref(), limits::ASSET_SPLITS_PAGE)?;
            let Some(last) = page.last() else { break };
            after = Some(last.clone());
            let reads = lock(&self.reads);
            for rows in page {
                oldest.push((reads.turn(&rows), rows));
                if oldest.len() > limits::ASSET_ROWS_EVICTED_AT_ONCE {
                    oldest.pop();
                }
            }
        }
        Ok(oldest.into_sorted_vec().into_iter().map(|(_, rows)| rows).collect())
    }
}
