//! The mirror of a node whose authority is elsewhere: a local store of ready responses that somebody fills.
//!
//! Owns what every such node serves from, whoever fills it: a primary's feed from its database or a replica's feed from
//! another node. It is mended in place, key by key, and never wiped while it serves: each record is at any time one
//! that the authority had and never gives way to an older one, the position moves only when all of a history up to it
//! is there, and index and set hash prove afterwards that nothing is missing. A second copy beside it would double the
//! disk for the same promise, and cost the size of the mirror where this costs the difference.
//! What must be seen whole or not at all goes through a stage.
//! Everything in it can be fetched again: a damaged store is set aside and filled anew, a damaged record reads as a miss
//! and is fetched again. A failed write or flush ends its writes: each later one fails with the cause, reads go on, and
//! the store takes writes again once it was opened anew, since the engine stops flushing for good.

mod batch;
mod core;
mod damage;
mod draft;
mod flush;
mod keys;
mod layers;
mod load;
mod mover;
mod read;
mod records;
mod scrub;
mod shown;
mod source;
mod stage;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use outpost_model::{Epoch, Position, SetHash, limits};

pub use self::batch::{EntryPut, MirrorBatch, MirrorChange, MirrorWrite, PackedBody, Quarantined, SourceId};
pub use self::core::Applied;
use self::core::Core;
use self::damage::DamageLog;
use self::flush::{Flusher, Published, Unflushed};
use self::layers::Kv;
use self::mover::{Mover, Work};
use self::records::Meta;
pub use self::scrub::MirrorScrubReport;
use self::shown::Shown;
use self::stage::Staging;
pub use self::stage::{MirrorStage, StageError};
use crate::error::StorageError;
use crate::fault::Fault;
use crate::items::StoredItems;
use crate::kv::OpenReport;
use crate::mirror::Changed;

/// The mirror's store. Clones share it; it closes when the last one is dropped.
#[derive(Clone)]
pub struct MirrorStore {
    inner: Arc<Inner>,
}

struct Inner {
    // Fields drop in order: the threads end before the engine closes.
    mover: Mover,
    flusher: Flusher,
    writer: Arc<Mutex<Writer>>,
    fault: Fault,
    published: Arc<Published>,
    damage: Arc<DamageLog>,
    log_floor: Arc<AtomicU64>,
    items: Arc<StoredItems>,
    shown: Arc<Shown>,
    report: OpenReport,
    kv: Arc<Kv>,
}

struct Writer {
    core: Core,
    /// Batches applied so far.
    batches: u64,
    /// The open stage.
    staging: Option<Staging>,
}

/// What a mirror holds, at one position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MirrorSummary {
    /// Where it stands; seq 0 before it was filled for the first time.
    pub position: Position,
    /// The history that it is being filled from; another one than the position's while it moves to that.
    pub filling: Epoch,
    /// Entries.
    pub entries: u64,
    /// Dataset records.
    pub datasets: u64,
    /// Bytes of all bodies.
    pub raw_bytes: u64,
    /// Bytes of all bodies as stored.
    pub stored_bytes: u64,
    /// The set hash of everything stored; it belongs to the position while no fill is under way.
    pub set_hash: SetHash,
    /// Sources that could not be turned into entries.
    pub quarantined: u64,
    /// Changes that followers can be told one by one.
    pub log_records: u64,
    /// The set hash when the position was reached.
    pub position_hash: SetHash,
    /// Entries and dataset records when the position was reached.
    pub position_records: u64,
    /// The histories that it has left, newest last.
    pub left: Vec<Epoch>,
}

impl MirrorSummary {
    fn of(meta: &Meta) -> Self {
        Self {
            position: meta.position(),
            filling: Epoch(meta.filling_epoch),
            entries: meta.entries,
            datasets: meta.datasets,
            raw_bytes: meta.raw_bytes,
            stored_bytes: meta.stored_bytes,
            set_hash: meta.set_hash,
            quarantined: meta.quarantined,
            log_records: meta.log_records,
            position_hash: meta.position_hash,
            position_records: meta.position_records,
            left: meta.left.iter().copied().map(Epoch).collect(),
        }
    }
}

impl MirrorStore {
    /// Opens the store under `directory`, creating it when there is none. Blocks: call it outside of async code.
    ///
    /// # Errors
    /// [`StorageError::InUse`] when another process holds it for longer than [`limits::STORE_LOCK_WAIT_MS`],
    /// [`StorageError::FormatVersion`] when another version wrote it, [`StorageError::Engine`] when the disk fails.
    pub fn open(directory: &Path) -> Result<Self, StorageError> {
        Self::open_waiting(directory, limits::STORE_LOCK_WAIT_MS)
    }

    /// As [`MirrorStore::open`], waiting up to `lock_wait_ms` for another process to let go of the directory.
    ///
    /// # Errors
    /// As [`MirrorStore::open`].
    pub fn open_waiting(directory: &Path, lock_wait_ms: u64) -> Result<Self, StorageError> {
        let (core, report) = load::load(directory, lock_wait_ms)?;
        Self::start(core, report)
    }

    fn start(core: Core, report: OpenReport) -> Result<Self, StorageError> {
        let fault = Fault::default();
        let published = Arc::new(Published::new(&core.meta));
        let (kv, damage, log_floor) = (core.kv.clone(), core.damage.clone(), core.log_floor.clone());
        let (items, shown) = (core.items.clone(), core.shown.clone());
        let flusher = Flusher::start(kv.clone(), &fault, published.clone())?;
        let writer = Arc::new(Mutex::new(Writer { core, batches: 0, staging: None }));
        let mover = Mover::start(kv.clone(), writer.clone(), &fault)?;
        mover.send(Work::Look);
        let inner =
            Inner { mover, flusher, writer, fault, published, damage, log_floor, items, shown, report, kv };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Applies all of a batch or nothing. Readers see it at once; the position follows when it is on disk. Blocks for
    /// the engine, not for the disk, unless too much is waiting for it.
    ///
    /// # Errors
    /// [`StorageError::Busy`] while a stage is open that no longer fits in memory, see [`MirrorStore::stage`];
    /// [`StorageError::Engine`] when the disk fails; the store then takes no more calls.
    pub fn apply(&self, batch: MirrorBatch) -> Result<Applied, StorageError> {
        self.write(|core| core.apply(batch))
    }

    /// Runs a change of the state; its value comes with the blobs to delete once it is on disk.
    fn write<T>(
        &self,
        change: impl FnOnce(&mut Core) -> Result<(T, Vec<u64>), StorageError>,
    ) -> Result<T, StorageError> {
        self.inner.fault.check()?;
        let mut writer = self.inner.writer.lock().unwrap_or_else(PoisonError::into_inner);
        if writer.staging.as_ref().is_some_and(|staging| staging.layer.is_some()) {
            return Err(StorageError::Busy("a large stage is open"));
        }
        self.write_locked(&mut writer, change)
    }

    fn write_locked<T>(
        &self,
        writer: &mut Writer,
        change: impl FnOnce(&mut Core) -> Result<(T, Vec<u64>), StorageError>,
    ) -> Result<T, StorageError> {
        let (value, garbage) = change(&mut writer.core).inspect_err(|error| {
            self.inner.fault.fail(error);
        })?;
        writer.batches += 1;
        let unflushed =
            Unflushed { summary: MirrorSummary::of(&writer.core.meta), garbage, number: writer.batches };
        self.inner.flusher.send(unflushed)?;
        Ok(value)
    }

    /// Returns when everything applied so far is on disk.
    ///
    /// # Errors
    /// [`StorageError::Engine`] when the disk fails.
    pub async fn flushed(&self) -> Result<(), StorageError> {
        let number = self.inner.writer.lock().unwrap_or_else(PoisonError::into_inner).batches;
        let mut flushed = self.inner.published.flushed();
        tokio::select! {
            // The sender lives as long as `self`, so waiting cannot fail.
            _ = flushed.wait_for(|done| *done >= number) => Ok(()),
            () = self.inner.fault.raised() => self.inner.fault.check(),
        }
    }

    /// The failure after which the store takes no more writes, once there is one. What can be read is read on; only
    /// opening the store again helps.
    pub async fn failed(&self) -> StorageError {
        self.inner.fault.failure().await
    }

    /// The filler's bookmark, as the last batch that had one left it.
    ///
    /// # Errors
    /// [`StorageError::Engine`] when the store has failed.
    pub fn cursor(&self) -> Result<Option<Bytes>, StorageError> {
        Ok(self.core()?.meta.cursor.clone().map(Bytes::from))
    }

    /// [`Mirror::visible`](crate::Mirror::visible), with the set hash of the state at it.
    #[must_use]
    pub fn visible_hash(&self) -> (Position, SetHash) {
        self.inner.shown.visible_hash()
    }

    /// [`Mirror::visible`](crate::Mirror::visible), with the histories that were left before it, newest last.
    #[must_use]
    pub fn visible_left(&self) -> (Position, Vec<Epoch>) {
        self.inner.shown.visible_left()
    }

    /// What is on disk.
    #[must_use]
    pub fn summary(&self) -> MirrorSummary {
        self.inner.published.summary()
    }

    /// Damaged records that wait to be fetched again, at most `max`. A put or a deletion of one takes it off the list.
    #[must_use]
    pub fn damaged(&self, max: usize) -> Vec<Changed> {
        self.inner.damage.waiting(max)
    }

    /// Damaged records met since the store was opened.
    #[must_use]
    pub fn damaged_records(&self) -> u64 {
        self.inner.damage.met()
    }

    /// Returns once there may be new records to fetch again.
    pub async fn damage_news(&self) {
        self.inner.damage.news().await;
    }

    /// What opening found and did.
    #[must_use]
    pub fn open_report(&self) -> &OpenReport {
        &self.inner.report
    }

    /// Bytes that the store takes on disk.
    ///
    /// # Errors
    /// [`StorageError::Engine`] when the disk fails.
    pub fn size_on_disk(&self) -> Result<u64, StorageError> {
        self.inner.kv.engine().size_on_disk()
    }

    /// The engine, for reads, which go on when writes have failed.
    fn reader(&self) -> &Kv {
        &self.inner.kv
    }

    fn core(&self) -> Result<CoreGuard<'_>, StorageError> {
        self.inner.fault.check()?;
        Ok(CoreGuard(self.inner.writer.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

/// The writer's state, looked at.
struct CoreGuard<'a>(MutexGuard<'a, Writer>);

impl std::ops::Deref for CoreGuard<'_> {
    type Target = Core;
    fn deref(&self) -> &Core {
        &self.0.core
    }
}
