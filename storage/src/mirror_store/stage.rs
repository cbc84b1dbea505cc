//! Stages: changes gathered beside what is served, and switched to all at once.
//!
//! Owns what a reconciliation needs: readers see the old state until the new one is whole and proven by its set hash,
//! then the new one. A stage that fits in memory is replayed over whatever was applied meanwhile, under the writer's
//! lock. A larger one is drafted in the store itself, in a layer that nobody sees; what it found must then still hold at
//! the switch, so other writes are refused until it ends. Dropped or killed, a stage leaves nothing behind but rows and
//! chunks that nothing refers to, which the mover, the next open or a scrub deletes.

mod drafted;
mod switch;

use std::collections::HashSet;
use std::sync::PoisonError;

use bytes::Bytes;
use outpost_model::{Epoch, Position, limits};

use self::drafted::Drafted;
use super::batch::{MirrorChange, MirrorWrite, PackedBody};
use super::core::Applied;
use super::mover::{Work, move_all};
use super::{MirrorStore, keys};
use crate::blob::{self, Prepared};
use crate::error::StorageError;
use crate::mirror::Changed;
use outpost_model::SetHash;
use outpost_model::items::subject_bytes;

/// Why a stage was not switched to; nothing of it took effect.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// What the stage would lead to is not what was announced.
    #[error("the stage leads to the set hash {found:?}, not {expected:?}")]
    Differs {
        /// What was announced.
        expected: SetHash,
        /// What it would be.
        found: SetHash,
    },
    /// The store failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// How large a stage may be for each way to keep and to switch to it.
#[derive(Debug, Clone, Copy)]
pub(super) struct StageLimits {
    pub(super) switch_changes_max: usize,
    pub(super) memory_changes_max: usize,
    pub(super) memory_bytes_max: usize,
}

impl Default for StageLimits {
    fn default() -> Self {
        Self {
            switch_changes_max: limits::STAGE_SWITCH_CHANGES_MAX,
            memory_changes_max: limits::STAGE_MEMORY_CHANGES_MAX,
            memory_bytes_max: limits::STAGE_MEMORY_BYTES_MAX,
        }
    }
}

/// What the writer knows of the open stage.
pub(super) struct Staging {
    /// The stage's blobs have this id or later ones.
    pub(super) first_blob: u64,
    /// The layer that it is drafted in, once it no longer fits in memory.
    pub(super) layer: Option<u32>,
}

/// Changes on their way into a mirror, see the module. Dropped without a commit it changed nothing.
pub struct MirrorStage {
    // Fields drop in order: what holds the engine goes before the store that closes it.
    staged: Staged,
    store: MirrorStore,
    epoch: Epoch,
    limits: StageLimits,
    added: u64,
    left: Vec<Epoch>,
}

enum Staged {
    InMemory(Listed),
    InStore(Box<Drafted>),
}

/// The changes of a stage that fits in memory; bodies are in the store already.
#[derive(Default)]
struct Listed {
    changes: Vec<MirrorChange>,
    bytes: usize,
    subjects: HashSet<Vec<u8>>,
    blobs: Vec<u64>,
}

impl MirrorStore {
    /// Opens a stage for changes of the history `epoch`. There is one at a time.
    ///
    /// Up to [`limits::STAGE_MEMORY_CHANGES_MAX`] changes, [`MirrorStore::apply`] goes on as usual and the stage is
    /// switched to as if all of it came afterwards. Beyond that, `apply` fails with [`StorageError::Busy`] until the
    /// stage ends.
    ///
    /// # Errors
    /// [`StorageError::Busy`] while another stage is open, [`StorageError::Engine`] when the store has failed.
    pub fn stage(&self, epoch: Epoch) -> Result<MirrorStage, StorageError> {
        self.inner.fault.check()?;
        let mut writer = self.inner.writer.lock().unwrap_or_else(PoisonError::into_inner);
        if writer.staging.is_some() {
            return Err(StorageError::Busy("a stage is open"));
        }
        writer.staging = Some(Staging { first_blob: writer.core.meta.next_blob, layer: None });
        Ok(MirrorStage {
            staged: Staged::InMemory(Listed::default()),
            store: self.clone(),
            epoch,
            limits: writer.core.stage_limits,
            added: 0,
            left: Vec::new(),
        })
    }
}

impl MirrorStage {
    /// Takes changes, by the rules of [`MirrorStore::apply`]: the later one of a key wins, one that is older than what
    /// is stored or staged is ignored. Bodies go to the store at once.
    ///
    /// # Errors
    /// [`StorageError::Engine`] when the disk fails; the store then takes no more calls.
    pub fn add(&mut self, changes: Vec<MirrorChange>) -> Result<(), StorageError> {
        self.store.inner.fault.check()?;
        self.added += changes.len() as u64;
        let added = self.try_add(changes);
        added.inspect_err(|error| self.store.inner.fault.fail(error))
    }

    fn try_add(&mut self, changes: Vec<MirrorChange>) -> Result<(), StorageError> {
        match &mut self.staged {
            Staged::InStore(drafted) => return drafted.add(&self.store, changes),
            Staged::InMemory(listed) => listed.add(&self.store, changes)?,
        }
        step("listed");
        if let Staged::InMemory(listed) = &mut self.staged
            && listed.is_over(self.limits)
        {
            let listed = std::mem::take(listed);
            self.staged = Staged::InStore(Box::new(Drafted::begin(&self.store, self.epoch, listed)?));
        }
        Ok(())
    }

    /// Whether a change of `subject` was added. Of deletions by source it is not known what they delete.
    #[must_use]
    pub fn holds(&self, subject: &Changed) -> bool {
        match &self.staged {
            Staged::InMemory(listed) => listed.subjects.contains(&subject_bytes(subject)),
            Staged::InStore(drafted) => drafted.holds(subject),
        }
    }

    /// Takes note of the histories that the source of the changes has left, oldest first, to be taken over with them.
    pub fn take_over(&mut self, left: Vec<Epoch>) {
        self.left = left;
    }

    /// Changes that were added.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.added
    }

    /// Switches to the staged state if its set hash will be `expected`; `None` switches in any case. The position moves
    /// as with [`MirrorStore::apply`]; [`MirrorStore::flushed`] tells when all of it is on disk.
    ///
    /// # Errors
    /// [`StageError::Differs`] when it would be another, [`StageError::Storage`] when the disk fails or `position` is of
    /// another history than the stage.
    pub fn commit(
        mut self,
        position: Position,
        expected: Option<SetHash>,
        cursor: Option<Bytes>,
    ) -> Result<Applied, StageError> {
        self.store.inner.fault.check()?;
        if position.epoch != self.epoch {
            let cause = format!("a stage of the history {} cannot lead to {position}", self.epoch);
            return Err(StorageError::Engine(cause).into());
        }
        let target = switch::Target { position, expected, cursor, left: std::mem::take(&mut self.left) };
        step("before commit");
        let applied = match &mut self.staged {
            Staged::InMemory(listed) => {
                let is_large = listed.changes.len() > self.limits.switch_changes_max;
                self.store.switch_listed(listed, &target, is_large)?
            }
            Staged::InStore(drafted) => self.store.switch_drafted(drafted, &target)?,
        };
        step("committed");
        // Its blobs belong to the mirror now, or are deleted as superseded.
        self.staged = Staged::InMemory(Listed::default());
        Ok(applied)
    }
}

impl Drop for MirrorStage {
    fn drop(&mut self) {
        let mut writer = self.store.inner.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let blobs = match &mut self.staged {
            Staged::InMemory(listed) => std::mem::take(&mut listed.blobs),
            Staged::InStore(drafted) => {
                let first = writer.core.meta.next_blob;
                writer.core.meta.next_blob = drafted.next_blob().max(first);
                drafted.abandoned_blobs(first)
            }
        };
        writer.staging = None;
        drop(writer);
        let blobs = blobs.into_iter().map(|id| id..id + 1).collect();
        self.store.inner.mover.send(Work::Delete(blobs));
    }
}

impl Listed {
    fn is_over(&self, limits: StageLimits) -> bool {
        self.changes.len() > limits.memory_changes_max || self.bytes > limits.memory_bytes_max
    }

    fn add(&mut self, store: &MirrorStore, changes: Vec<MirrorChange>) -> Result<(), StorageError> {
        let mut next_blob = {
            let mut writer = store.inner.writer.lock().unwrap_or_else(PoisonError::into_inner);
            let first = writer.core.meta.next_blob;
            writer.core.meta.next_blob += changes.len() as u64;
            first
        };
        for mut change in changes {
            if let MirrorWrite::PutEntry(put) = &mut change.write {
                let body = std::mem::replace(&mut put.body, PackedBody(Prepared::empty()));
                let written = blob::write(body.0, &mut next_blob, &store.inner.kv.chunks)?;
                self.blobs.extend(written.chunks_id());
                put.body = PackedBody(Prepared::of_written(written));
            }
            self.subjects.extend(subject_of(&change.write).map(|subject| subject_bytes(&subject)));
            self.bytes += size_of::<MirrorChange>() + heap_bytes(&change.write);
            self.changes.push(change);
        }
        Ok(())
    }
}

fn subject_of(write: &MirrorWrite) -> Option<Changed> {
    match write {
        MirrorWrite::PutEntry(put) => Some(Changed::Entry(put.key.clone())),
        MirrorWrite::DeleteEntry(key) => Some(Changed::Entry(key.clone())),
        MirrorWrite::PutDataset(record) => Some(Changed::Dataset(record.dataset.clone())),
        MirrorWrite::DeleteDataset(name) => Some(Changed::Dataset(name.clone())),
        MirrorWrite::DeleteSource(_) | MirrorWrite::Quarantine(_) | MirrorWrite::Touch(_) => None,
    }
}

/// About what a change takes beside its own size, its subject in the list of those included.
fn heap_bytes(write: &MirrorWrite) -> usize {
    const NAMES: usize = 512;
    match write {
        MirrorWrite::PutEntry(put) => NAMES + size_of_val(&**put) + put.body.stored().len(),
        MirrorWrite::DeleteSource(source) => source.len(),
        MirrorWrite::Quarantine(aside) => aside.source.len() + aside.what.len() + aside.why.len(),
        _ => NAMES,
    }
}

impl MirrorStore {
    /// Returns when no layer lies over the records.
    pub(super) fn settle(&self) -> Result<(), StorageError> {
        move_all(&self.inner.kv, &self.inner.writer, || false)
    }
}

/// A place where a test may end the process.
pub(super) fn step(_name: &str) {
    #[cfg(test)]
    if std::env::var("OUTPOST_MIRROR_CRASH_STEP").is_ok_and(|at| at == _name) {
        std::process::abort();
    }
}

/// The key of what is stored of `subject`.
fn slot_of(subject: &Changed) -> Vec<u8> {
    match subject {
        Changed::Entry(key) => keys::entry(key),
        Changed::Dataset(name) => keys::dataset(name),
    }
}
