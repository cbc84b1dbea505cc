//! The writer's state and the one way to change it: applying a batch.
//!
//! Owns the order of changes. A change takes effect unless the mirror has something later for its key; one that is
//! there already does nothing. Chunks are written first, then one batch switches heads, index, set hash, log, position
//! and bookmark together; what it superseded is deleted after the flush. An engine failure in here is fatal.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use outpost_model::{ArtifactKey, DatasetName, DatasetRecord, Epoch, Item};

use super::batch::{EntryPut, MirrorBatch, MirrorChange, MirrorWrite, Quarantined, SourceId};
use super::damage::DamageLog;
use super::draft::{Draft, Known, LogLimits, Telling};
use super::keys;
use super::layers::Kv;
use super::records::{DatasetHead, Head, IndexRow, Meta, Stamp};
use super::shown::Shown;
use super::stage::StageLimits;
use crate::blob::{self, Blob};
use crate::error::StorageError;
use crate::items::{ItemChange, StoredItems};
use crate::lineage;
use crate::mirror::Changed;
use crate::stored::{StoredChange, StoredDataset};

/// What applying a batch did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Applied {
    /// Changes that followers are told of.
    pub changed: usize,
    /// Changes that were there already, or older than what is.
    pub ignored: usize,
}

/// See the module.
pub(super) struct Core {
    pub(super) kv: Arc<Kv>,
    pub(super) meta: Meta,
    pub(super) damage: Arc<DamageLog>,
    /// [`Meta::log_floor`], for readers of the log: raised before what it covers is deleted.
    pub(super) log_floor: Arc<AtomicU64>,
    pub(super) log_limits: LogLimits,
    pub(super) stage_limits: StageLimits,
    pub(super) items: Arc<StoredItems>,
    pub(super) shown: Arc<Shown>,
}

impl Core {
    /// Applies all of a batch or nothing; returns with what it did the blobs to delete once it is on disk.
    pub(super) fn apply(&mut self, batch: MirrorBatch) -> Result<(Applied, Vec<u64>), StorageError> {
        let kv = self.kv.clone();
        let damage = self.damage.clone();
        let mut draft = Draft::new(&kv, &damage, self.meta.clone());
        draft.enter(batch.epoch)?;
        if draft.meta.seq == 0 && batch.reached.is_none() {
            // Filled part by part: nobody follows a mirror that was never whole.
            draft.telling = Telling::Never;
        }
        for change in batch.changes {
            draft.change(change)?;
        }
        if matches!(draft.telling, Telling::Never) {
            draft.meta.log_floor = draft.meta.log_floor.max(draft.meta.seen_seq);
        }
        draft.reach(batch.reached)?;
        draft.trim_log(self.log_limits)?;
        draft.take_over(&batch.left);
        if let Some(cursor) = batch.cursor {
            draft.meta.cursor = Some(cursor.to_vec());
        }
        let applied = Applied { changed: draft.changed, ignored: draft.ignored };
        Ok((applied, self.take(draft)?))
    }

    /// Lets a draft take effect; returns the blobs to delete once it is on disk.
    pub(super) fn take(&mut self, mut draft: Draft<'_>) -> Result<Vec<u64>, StorageError> {
        let items = std::mem::take(&mut draft.items);
        let (batch, meta, garbage, healed) = draft.into_parts();
        self.announce(&meta);
        self.kv.state.apply(batch)?;
        self.reveal(meta, Some(&items), &healed);
        Ok(garbage)
    }

    /// Call before the engine takes what leads to `meta`: readers of the log are told that it is about to be cut, and
    /// readers of records what they may see from now on.
    pub(super) fn announce(&self, meta: &Meta) {
        self.log_floor.store(meta.log_floor, Ordering::SeqCst);
        self.shown.announce(meta);
    }

    /// Call after the engine took it. `items` is what changed in the index, in order; `None` when it is to be read again.
    pub(super) fn reveal(&mut self, meta: Meta, items: Option<&[ItemChange]>, healed: &[Changed]) {
        match items {
            Some(items) => self.items.record(items),
            None => self.items.forget(),
        }
        self.shown.reveal(&meta);
        self.meta = meta;
        self.damage.forget(healed);
    }
}

impl Draft<'_> {
    pub(super) fn enter(&mut self, epoch: Epoch) -> Result<(), StorageError> {
        if self.meta.filling_epoch == epoch.0 {
            return Ok(());
        }
        self.meta.filling_epoch = epoch.0;
        if self.meta.seq == 0 {
            self.meta.epoch = epoch.0;
        }
        // Times of two histories do not compare, so the log of the old one cannot go on.
        self.meta.generation = self.meta.generation.saturating_add(1);
        self.restart_log(self.meta.seq)
    }

    /// Moves the position to a state that is whole with the changes so far.
    pub(super) fn reach(&mut self, reached: Option<u64>) -> Result<(), StorageError> {
        let Some(seq) = reached else { return Ok(()) };
        self.meta.note_seen(seq);
        (self.meta.position_hash, self.meta.position_records) =
            (self.meta.set_hash, self.meta.entries + self.meta.datasets);
        if self.meta.epoch == self.meta.filling_epoch {
            if self.meta.seq == 0 && self.changed == 0 {
                // Filled part by part: the log does not know what was deleted before.
                self.restart_log(seq)?;
            }
            self.meta.seq = self.meta.seq.max(seq);
            return Ok(());
        }
        if self.meta.seq > 0 {
            lineage::leave(&mut self.meta.left, self.meta.epoch, self.meta.filling_epoch);
        }
        (self.meta.epoch, self.meta.seq) = (self.meta.filling_epoch, seq);
        self.restart_log(seq)
    }

    /// Takes over what the source of the changes has left.
    pub(super) fn take_over(&mut self, left: &[Epoch]) {
        let current = self.meta.filling_epoch;
        lineage::take_over(&mut self.meta.left, left.iter().map(|epoch| epoch.0), current);
    }

    pub(super) fn change(&mut self, change: MirrorChange) -> Result<(), StorageError> {
        let seq = change.seq;
        self.meta.note_seen(seq);
        match change.write {
            MirrorWrite::PutEntry(put) => self.put_entry(seq, *put),
            MirrorWrite::DeleteEntry(key) => self.delete_entry(seq, &key),
            MirrorWrite::DeleteSource(source) => self.delete_source(seq, &source),
            MirrorWrite::PutDataset(record) => self.put_dataset(seq, &record),
            MirrorWrite::DeleteDataset(name) => self.delete_dataset(seq, name),
            MirrorWrite::Quarantine(quarantined) => self.put_aside(seq, quarantined),
            MirrorWrite::Touch(subject) => {
                self.log(seq, &subject);
                Ok(())
            }
        }
    }

    fn ignore(&mut self) {
        self.ignored += 1;
    }

    fn ignore_put(&mut self, put: &EntryPut) {
        self.garbage.extend(put.body.0.written_id());
        self.ignore();
    }

    /// Whether something later than a change at `seq` is known of `subject`.
    fn is_late(&self, seq: u64, stored: Option<Stamp>, subject: &Changed) -> Result<bool, StorageError> {
        let stamp = self.stamp(seq);
        Ok(stored.is_some_and(|stored| stored > stamp)
            || self.deleted_at(subject)?.is_some_and(|deleted| deleted > stamp))
    }

    fn put_entry(&mut self, seq: u64, put: EntryPut) -> Result<(), StorageError> {
        let subject = Changed::Entry(put.key.clone());
        let slot = keys::entry(&put.key);
        let old = self.known::<Head>(&slot)?;
        let is_damaged = matches!(old, Known::Damaged) || self.damage.holds(&subject);
        let mut kept_body = None;
        if let Known::Present(head) = &old {
            let is_same = head.version == put.version && !is_damaged;
            let is_unchanged = head.updated_at_ms == put.updated_at.0 && head.source == put.source;
            if self.is_late(seq, Some(head.stamp), &subject)? || (is_same && is_unchanged) {
                self.ignore_put(&put);
                return Ok(());
            }
            kept_body = is_same.then(|| head.body.clone());
        } else if self.is_late(seq, None, &subject)? {
            self.ignore_put(&put);
            return Ok(());
        }
        self.forget_entry(&put.key, old, kept_body.as_ref())?;
        if let Some(source) = &put.source {
            self.claim_source(seq, source, &put.key)?;
        }
        let body = match kept_body {
            Some(body) => {
                self.garbage.extend(put.body.0.written_id());
                body
            }
            None => blob::write(put.body.0, &mut self.meta.next_blob, &self.kv.chunks)?,
        };
        let head = Head {
            stamp: self.stamp(seq),
            http_status: put.http_status,
            error_code: put.error_code.map(|code| code.as_str().to_owned()),
            revision: put.revision.as_str().to_owned(),
            version: put.version,
            updated_at_ms: put.updated_at.0,
            source: put.source,
            body,
        };
        self.index(&head.item(&subject), &entry_row(&subject, &head));
        self.put(slot, &head);
        self.delete(keys::tombstone(&subject));
        self.log(seq, &subject);
        self.healed.push(subject);
        Ok(())
    }

    /// Takes the stored entry out of everything that refers to it. Chunks that no readable head names are found by a
    /// scrub.
    fn forget_entry(
        &mut self,
        key: &ArtifactKey,
        old: Known<Head>,
        kept_body: Option<&Blob>,
    ) -> Result<(), StorageError> {
        let subject = Changed::Entry(key.clone());
        let head = match old {
            Known::Absent => return Ok(()),
            Known::Damaged => return self.unindex_unknown(&subject),
            Known::Present(head) => head,
        };
        self.unindex(&head.item(&subject), &entry_row(&subject, &head));
        if kept_body.is_none() {
            self.garbage.extend(head.body.chunks_id());
        }
        if let Some(source) = head.source {
            self.delete(keys::source(&source));
        }
        Ok(())
    }

    /// Makes `source` that of `key`. Another entry that came from it is gone: its source says something else now.
    fn claim_source(&mut self, seq: u64, source: &SourceId, key: &ArtifactKey) -> Result<(), StorageError> {
        if let Some(other) = self.key_of(source)?.filter(|other| other != key) {
            self.delete_sourced(seq, source, &other)?;
        }
        self.release(source)?;
        self.link(source, key);
        Ok(())
    }

    fn delete_entry(&mut self, seq: u64, key: &ArtifactKey) -> Result<(), StorageError> {
        let slot = keys::entry(key);
        let subject = Changed::Entry(key.clone());
        let old = self.known::<Head>(&slot)?;
        if self.is_deletion_late(seq, old_stamp(&old, |head| head.stamp), &subject)? {
            self.ignore();
            return Ok(());
        }
        self.forget_entry(key, old, None)?;
        self.delete(slot);
        self.end(seq, subject);
        Ok(())
    }

    /// As [`Draft::is_late`]; a deletion of what is known to be deleted is late too.
    fn is_deletion_late(
        &self,
        seq: u64,
        stored: Option<Stamp>,
        subject: &Changed,
    ) -> Result<bool, StorageError> {
        let stamp = self.stamp(seq);
        match stored {
            Some(stored) => Ok(stored > stamp),
            None => Ok(self.deleted_at(subject)?.is_some_and(|deleted| deleted >= stamp)),
        }
    }

    fn end(&mut self, seq: u64, subject: Changed) {
        let stamp = self.stamp(seq);
        self.bury(&subject, stamp);
        self.log(seq, &subject);
        self.healed.push(subject);
    }

    fn delete_source(&mut self, seq: u64, source: &SourceId) -> Result<(), StorageError> {
        let was_aside = self.release(source)?;
        match self.key_of(source)? {
            Some(key) => self.delete_sourced(seq, source, &key),
            None => {
                self.ignored += usize::from(!was_aside);
                Ok(())
            }
        }
    }

    fn delete_sourced(&mut self, seq: u64, source: &SourceId, key: &ArtifactKey) -> Result<(), StorageError> {
        match self.known::<Head>(&keys::entry(key))? {
            Known::Present(head) if head.source.as_ref() == Some(source) => self.delete_entry(seq, key),
            Known::Damaged => {
                self.delete(keys::source(source));
                self.delete_entry(seq, key)
            }
            Known::Present(_) | Known::Absent => {
                self.delete(keys::source(source));
                self.ignore();
                Ok(())
            }
        }
    }

    fn put_aside(&mut self, seq: u64, quarantined: Quarantined) -> Result<(), StorageError> {
        if let Some(key) = self.key_of(&quarantined.source)? {
            self.delete_sourced(seq, &quarantined.source, &key)?;
        }
        self.quarantine(seq, quarantined)
    }

    fn put_dataset(&mut self, seq: u64, record: &DatasetRecord) -> Result<(), StorageError> {
        let subject = Changed::Dataset(record.dataset.clone());
        let slot = keys::dataset(&record.dataset);
        let old = self.known_dataset(&slot, &record.dataset)?;
        let is_same = matches!(&old, Known::Present((_, stored)) if stored == record);
        if is_same || self.is_late(seq, old_stamp(&old, |(stamp, _)| *stamp), &subject)? {
            self.ignore();
            return Ok(());
        }
        self.forget_dataset(&subject, old)?;
        let head = DatasetHead { stamp: self.stamp(seq), dataset: StoredDataset::new(record) };
        self.index(&Item::of_dataset(record), &dataset_row(&subject));
        self.put(slot, &head);
        self.delete(keys::tombstone(&subject));
        self.log(seq, &subject);
        self.healed.push(subject);
        Ok(())
    }

    fn delete_dataset(&mut self, seq: u64, name: DatasetName) -> Result<(), StorageError> {
        let slot = keys::dataset(&name);
        let old = self.known_dataset(&slot, &name)?;
        let subject = Changed::Dataset(name);
        if self.is_deletion_late(seq, old_stamp(&old, |(stamp, _)| *stamp), &subject)? {
            self.ignore();
            return Ok(());
        }
        self.forget_dataset(&subject, old)?;
        self.delete(slot);
        self.end(seq, subject);
        Ok(())
    }

    fn known_dataset(
        &self,
        slot: &[u8],
        name: &DatasetName,
    ) -> Result<Known<(Stamp, DatasetRecord)>, StorageError> {
        Ok(match self.known::<DatasetHead>(slot)? {
            Known::Absent => Known::Absent,
            Known::Damaged => Known::Damaged,
            Known::Present(head) => match head.record(name) {
                Ok(record) => Known::Present((head.stamp, record)),
                Err(_) => Known::Damaged,
            },
        })
    }

    fn forget_dataset(
        &mut self,
        subject: &Changed,
        old: Known<(Stamp, DatasetRecord)>,
    ) -> Result<(), StorageError> {
        match old {
            Known::Absent => Ok(()),
            Known::Damaged => self.unindex_unknown(subject),
            Known::Present((_, record)) => {
                self.unindex(&Item::of_dataset(&record), &dataset_row(subject));
                Ok(())
            }
        }
    }
}

/// When what is stored was written; what is damaged was never written.
fn old_stamp<R>(old: &Known<R>, stamp: impl Fn(&R) -> Stamp) -> Option<Stamp> {
    match old {
        Known::Present(record) => Some(stamp(record)),
        Known::Absent | Known::Damaged => None,
    }
}

pub(super) fn entry_row(subject: &Changed, head: &Head) -> IndexRow {
    IndexRow {
        subject: StoredChange::new(subject),
        raw_bytes: head.body.raw_bytes(),
        stored_bytes: head.body.stored_bytes(),
    }
}

pub(super) fn dataset_row(subject: &Changed) -> IndexRow {
    IndexRow { subject: StoredChange::new(subject), raw_bytes: 0, stored_bytes: 0 }
}
