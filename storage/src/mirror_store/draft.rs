//! A batch being put together: what it writes, over what is stored.
//!
//! Owns the bookkeeping that keeps heads, index, set hash, counters, sources, tombstones and log in step, whatever the
//! order of changes in a batch. Nothing is seen by readers before the batch is applied, except chunks that nothing
//! refers to yet.

use std::collections::HashMap;

use outpost_model::{ArtifactKey, Item, TimestampMs};

use super::batch::{Quarantined, SourceId};
use super::damage::DamageLog;
use super::keys;
use super::layers::Kv;
use super::records::{Head, IndexRow, Meta, QuarantineRow, SourceRow, Stamp, Tombstone};
use crate::blob;
use crate::error::StorageError;
use crate::items::ItemChange;
use crate::kv::Batch;
use crate::mirror::Changed;
use crate::record::{self, Record};
use crate::stored::StoredChange;

/// What is stored under a key.
pub(super) enum Known<R> {
    Absent,
    Present(R),
    /// Something that cannot be read.
    Damaged,
}

/// Bounds of the change log.
#[derive(Debug, Clone, Copy)]
pub(super) struct LogLimits {
    pub(super) records_max: u64,
    pub(super) bytes_max: u64,
}

/// When followers are told of the changes of a batch.
pub(super) enum Telling {
    /// Each at its own seq.
    Now,
    /// Noted here, for [`Draft::tell`].
    Later(Vec<(u64, Changed)>),
    /// Not one by one: they start over.
    Never,
}

/// See the module.
pub(super) struct Draft<'a> {
    pub(super) kv: &'a Kv,
    pub(super) damage: &'a DamageLog,
    pub(super) meta: Meta,
    /// Blobs that nothing refers to any more.
    pub(super) garbage: Vec<u64>,
    /// Records that were damaged and are written anew or gone.
    pub(super) healed: Vec<Changed>,
    pub(super) changed: usize,
    pub(super) ignored: usize,
    pub(super) telling: Telling,
    /// What changed in the index, in order.
    pub(super) items: Vec<ItemChange>,
    writes: HashMap<Vec<u8>, Option<Vec<u8>>>,
}

impl<'a> Draft<'a> {
    pub(super) fn new(kv: &'a Kv, damage: &'a DamageLog, meta: Meta) -> Self {
        let (garbage, healed, writes) = (Vec::new(), Vec::new(), HashMap::new());
        let (telling, items) = (Telling::Now, Vec::new());
        Self { kv, damage, meta, garbage, healed, changed: 0, ignored: 0, telling, items, writes }
    }

    /// Everything to write, the counters included.
    pub(super) fn into_parts(mut self) -> (Batch, Meta, Vec<u64>, Vec<Changed>) {
        for id in &self.garbage {
            self.writes.insert(blob::garbage_key(*id), Some(Vec::new()));
        }
        let mut batch = Batch::new();
        for (key, value) in self.writes {
            match value {
                Some(value) => batch.put(key, value),
                None => batch.delete(key),
            }
        }
        batch.put(keys::META.to_vec(), record::encode(&self.meta));
        (batch, self.meta, self.garbage, self.healed)
    }

    pub(super) fn put<R: Record>(&mut self, key: Vec<u8>, record: &R) {
        self.writes.insert(key, Some(record::encode(record)));
    }

    pub(super) fn delete(&mut self, key: Vec<u8>) {
        self.writes.insert(key, None);
    }

    /// What is stored under `key`, with what this batch writes.
    pub(super) fn known<R: Record>(&self, key: &[u8]) -> Result<Known<R>, StorageError> {
        let decoded = match self.writes.get(key) {
            Some(None) => return Ok(Known::Absent),
            Some(Some(value)) => record::decode(value),
            None => match self.kv.state.get(key)? {
                None => return Ok(Known::Absent),
                Some(value) => record::decode(&value),
            },
        };
        match decoded {
            Ok(record) => Ok(Known::Present(record)),
            Err(StorageError::Damaged(_)) => Ok(Known::Damaged),
            Err(error) => Err(error),
        }
    }

    /// The stamp of a change of this batch.
    pub(super) fn stamp(&self, seq: u64) -> Stamp {
        Stamp { generation: self.meta.generation, seq }
    }

    /// When `subject` was deleted, as far as the log goes back.
    pub(super) fn deleted_at(&self, subject: &Changed) -> Result<Option<Stamp>, StorageError> {
        match self.known::<Tombstone>(&keys::tombstone(subject))? {
            Known::Present(Tombstone(stamp)) => Ok(Some(stamp)),
            Known::Absent | Known::Damaged => Ok(None),
        }
    }

    pub(super) fn bury(&mut self, subject: &Changed, stamp: Stamp) {
        self.put(keys::tombstone(subject), &Tombstone(stamp));
    }

    /// Adds a record to the index, the set hash and the counters.
    pub(super) fn index(&mut self, item: &Item, row: &IndexRow) {
        self.meta.set_hash.add(item);
        self.items.push(ItemChange::Add(*item));
        self.count(row, |count, by| *count = count.saturating_add(by));
        self.put(keys::index(item), row);
    }

    /// Takes back [`Draft::index`].
    pub(super) fn unindex(&mut self, item: &Item, row: &IndexRow) {
        self.meta.set_hash.remove(item);
        self.items.push(ItemChange::Remove(*item));
        self.count(row, |count, by| *count = count.saturating_sub(by));
        self.delete(keys::index(item));
    }

    fn count(&mut self, row: &IndexRow, change: impl Fn(&mut u64, u64)) {
        match row.subject {
            StoredChange::Entry(_) => change(&mut self.meta.entries, 1),
            StoredChange::Dataset(_) => change(&mut self.meta.datasets, 1),
        }
        change(&mut self.meta.raw_bytes, u64::from(row.raw_bytes));
        change(&mut self.meta.stored_bytes, u64::from(row.stored_bytes));
    }

    /// Takes a record out of the index whose head does not say what its item was. Goes through the whole index.
    pub(super) fn unindex_unknown(&mut self, subject: &Changed) -> Result<(), StorageError> {
        let wanted = Item::new(subject, TimestampMs(0), &[0; 32]).key_hash;
        let mut found = Vec::new();
        for pair in self.kv.state.prefix(&[keys::INDEX]) {
            let (key, value) = pair?;
            let item = keys::item(&key).filter(|item| item.key_hash == wanted);
            let Some(item) = item.filter(|_| !self.writes.contains_key(&key[..])) else { continue };
            // A row that is damaged itself counts as one without a body; a scrub counts again.
            let fallback = || IndexRow { subject: StoredChange::new(subject), raw_bytes: 0, stored_bytes: 0 };
            found.push((item, record::decode::<IndexRow>(&value).unwrap_or_else(|_| fallback())));
        }
        for (item, row) in found {
            self.unindex(&item, &row);
        }
        Ok(())
    }

    /// The entry that came from `source`.
    pub(super) fn key_of(&self, source: &[u8]) -> Result<Option<ArtifactKey>, StorageError> {
        match self.known::<SourceRow>(&keys::source(source))? {
            Known::Absent => Ok(None),
            Known::Present(SourceRow(StoredChange::Entry(key))) => Ok(ArtifactKey::from_bytes(&key)),
            Known::Present(_) | Known::Damaged => self.search_source(source),
        }
    }

    /// Finds the entry of a source whose row is damaged. Goes through all heads.
    fn search_source(&self, source: &[u8]) -> Result<Option<ArtifactKey>, StorageError> {
        for pair in self.kv.state.prefix(&[keys::ENTRIES]) {
            let (key, value) = pair?;
            let is_it =
                record::decode::<Head>(&value).is_ok_and(|head| head.source.as_deref() == Some(source));
            if is_it {
                return Ok(ArtifactKey::from_bytes(&key[1..]));
            }
        }
        Ok(None)
    }

    pub(super) fn link(&mut self, source: &SourceId, key: &ArtifactKey) {
        self.put(keys::source(source), &SourceRow(StoredChange::new(&Changed::Entry(key.clone()))));
    }

    pub(super) fn quarantine(&mut self, seq: u64, quarantined: Quarantined) -> Result<(), StorageError> {
        let slot = keys::quarantine(&quarantined.source);
        if matches!(self.known::<QuarantineRow>(&slot)?, Known::Absent) {
            self.meta.quarantined += 1;
        }
        let Quarantined { what, why, .. } = quarantined;
        self.put(slot, &QuarantineRow { what, why, seq });
        Ok(())
    }

    /// Forgets that `source` could not be read; returns whether it was so.
    pub(super) fn release(&mut self, source: &[u8]) -> Result<bool, StorageError> {
        let slot = keys::quarantine(source);
        if matches!(self.known::<QuarantineRow>(&slot)?, Known::Absent) {
            return Ok(false);
        }
        self.meta.quarantined = self.meta.quarantined.saturating_sub(1);
        self.delete(slot);
        Ok(true)
    }

    /// Tells followers of a change.
    pub(super) fn log(&mut self, seq: u64, subject: &Changed) {
        self.changed += 1;
        match &mut self.telling {
            Telling::Now => self.append(seq, subject),
            Telling::Later(changes) => changes.push((seq, subject.clone())),
            Telling::Never => {}
        }
    }

    /// Tells followers of what was noted for later: of changes that they could have been told of already, had those been
    /// known, at `reached`.
    pub(super) fn tell(&mut self, told: u64, reached: u64) {
        let Telling::Later(changes) = std::mem::replace(&mut self.telling, Telling::Now) else { return };
        let late = |seq: u64| if seq <= told { reached } else { seq.min(reached) };
        let mut changes: Vec<_> = changes.into_iter().map(|(seq, subject)| (late(seq), subject)).collect();
        changes.sort_by_key(|(seq, _)| *seq);
        for (seq, subject) in changes {
            self.append(seq, &subject);
        }
    }

    /// Adds a record to the change log.
    fn append(&mut self, seq: u64, subject: &Changed) {
        let (last, number) = self.meta.log_last;
        self.meta.log_last = if seq > last { (seq, 0) } else { (last, number.saturating_add(1)) };
        let (seq, number) = self.meta.log_last;
        let (key, row) = (keys::log(seq, number), StoredChange::new(subject));
        let value = record::encode(&row);
        self.meta.log_records += 1;
        self.meta.log_bytes += (key.len() + value.len()) as u64;
        self.writes.insert(key, Some(value));
    }

    /// Forgets the log and the tombstones; followers that have not reached `floor` start over.
    pub(super) fn restart_log(&mut self, floor: u64) -> Result<(), StorageError> {
        let is_log = |key: &[u8]| matches!(key.first(), Some(&keys::LOG | &keys::TOMBSTONES));
        for (key, value) in &mut self.writes {
            if is_log(key) {
                *value = None;
            }
        }
        for prefix in [keys::LOG, keys::TOMBSTONES] {
            for pair in self.kv.state.prefix(&[prefix]) {
                self.writes.insert(pair?.0.to_vec(), None);
            }
        }
        (self.meta.log_records, self.meta.log_bytes) = (0, 0);
        (self.meta.log_floor, self.meta.log_last) = (floor, (0, 0));
        Ok(())
    }

    /// Drops the oldest changes while the log is too long, all of one seq together, and their tombstones.
    pub(super) fn trim_log(&mut self, limits: LogLimits) -> Result<(), StorageError> {
        let is_over =
            |meta: &Meta| meta.log_records > limits.records_max || meta.log_bytes > limits.bytes_max;
        if !is_over(&self.meta) {
            return Ok(());
        }
        let kv = self.kv;
        for pair in kv.state.prefix(&[keys::LOG]) {
            let (key, value) = pair?;
            let seq = keys::log_seq(&key).unwrap_or(0);
            if !is_over(&self.meta) && seq > self.meta.log_floor {
                return Ok(());
            }
            if self.writes.contains_key(&key[..]) {
                continue;
            }
            self.meta.log_floor = self.meta.log_floor.max(seq);
            self.meta.log_records = self.meta.log_records.saturating_sub(1);
            self.meta.log_bytes = self.meta.log_bytes.saturating_sub((key.len() + value.len()) as u64);
            let subject = record::decode::<StoredChange>(&value).and_then(StoredChange::into_changed);
            if let Ok(subject) = subject {
                let buried = self.deleted_at(&subject)?;
                if buried.is_some_and(|stamp| stamp.seq <= seq) {
                    self.delete(keys::tombstone(&subject));
                }
            }
            self.writes.insert(key.to_vec(), None);
        }
        Ok(())
    }
}
