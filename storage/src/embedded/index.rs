//! The reconciliation index of the embedded store.
//!
//! Owns that each record that can be read has a row, in the same commit, and that the set hash is the sum of the rows:
//! another node's copy of the same records has the same. Rows are made anew from the records when a scrub finds that
//! they disagree, and once when a store of the version before is opened.

use std::collections::HashMap;

use outpost_model::items::subject_bytes;
use outpost_model::{ArtifactKey, Changed, DatasetName, Item, SetHash, TimestampMs};

use super::keys;
use super::records::Head;
use crate::error::StorageError;
use crate::items::{INDEX, IndexRow, ItemChange, index_key, item_of_key};
use crate::kv::{Batch, Kv};
use crate::record;
use crate::stored::{StoredChange, StoredDataset};

/// Rows written at a time when all are made anew.
const PIECE: usize = 256;

/// Records and the sum of their items.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Indexed {
    pub(super) records: u64,
    pub(super) set_hash: SetHash,
}

impl Indexed {
    fn add(&mut self, item: &Item) {
        self.records += 1;
        self.set_hash.add(item);
    }

    fn remove(&mut self, item: &Item) {
        self.records = self.records.saturating_sub(1);
        self.set_hash.remove(item);
    }
}

/// What a commit finds stored of a record.
pub(super) enum Before {
    Absent,
    Is(Item),
    /// Something that cannot be read.
    Unknown,
}

/// What a commit does to the index.
#[derive(Default)]
pub(super) struct IndexDraft {
    /// In order.
    pub(super) changes: Vec<ItemChange>,
    /// The items of records that the commit has changed, by subject.
    now: HashMap<Vec<u8>, Option<Item>>,
}

impl IndexDraft {
    /// Replaces what the index has of `subject`.
    pub(super) fn put(
        &mut self,
        kv: &Kv,
        batch: &mut Batch,
        indexed: &mut Indexed,
        subject: &Changed,
        before: Before,
        after: Option<(Item, IndexRow)>,
    ) -> Result<(), StorageError> {
        let slot = subject_bytes(subject);
        let old = match (self.now.get(&slot), before) {
            (Some(item), _) => item.iter().copied().collect(),
            (None, Before::Absent) => Vec::new(),
            (None, Before::Is(item)) => vec![item],
            (None, Before::Unknown) => rows_of(kv, subject)?,
        };
        for item in old {
            indexed.remove(&item);
            batch.delete(index_key(&item));
            self.changes.push(ItemChange::Remove(item));
        }
        let item = after.as_ref().map(|(item, _)| *item);
        if let Some((item, row)) = after {
            indexed.add(&item);
            batch.put(index_key(&item), record::encode(&row));
            self.changes.push(ItemChange::Add(item));
        }
        self.now.insert(slot, item);
        Ok(())
    }
}

/// The item of a stored entry.
pub(super) fn entry_item(key: &ArtifactKey, head: &Head) -> (Item, IndexRow) {
    let subject = Changed::Entry(key.clone());
    let item = Item::new(&subject, TimestampMs(head.updated_at_ms), &head.version);
    let (raw_bytes, stored_bytes) = (head.body.raw_bytes(), head.body.stored_bytes());
    (item, IndexRow { subject: StoredChange::new(&subject), raw_bytes, stored_bytes })
}

/// The index row of a dataset's record.
pub(super) fn dataset_row(name: &DatasetName) -> IndexRow {
    let subject = StoredChange::new(&Changed::Dataset(name.clone()));
    IndexRow { subject, raw_bytes: 0, stored_bytes: 0 }
}

/// The items of a record that does not say itself what they are. Goes through the whole index.
fn rows_of(kv: &Kv, subject: &Changed) -> Result<Vec<Item>, StorageError> {
    let wanted = Item::new(subject, TimestampMs(0), &[0; 32]).key_hash;
    let mut found = Vec::new();
    for pair in kv.state.prefix(&[INDEX]) {
        found.extend(item_of_key(&pair?.0).filter(|item| item.key_hash == wanted));
    }
    Ok(found)
}

/// The rows and the records, each added up; `None` when a row cannot be read.
pub(super) fn sums(kv: &Kv) -> Result<Option<(Indexed, Indexed)>, StorageError> {
    let mut rows = Indexed::default();
    for pair in kv.state.prefix(&[INDEX]) {
        let (key, value) = pair?;
        let is_sound = record::decode::<IndexRow>(&value).is_ok();
        let Some(item) = item_of_key(&key).filter(|_| is_sound) else { return Ok(None) };
        rows.add(&item);
    }
    let mut records = Indexed::default();
    each_record(kv, |item, _| {
        records.add(&item);
        Ok(())
    })?;
    Ok(Some((rows, records)))
}

/// Makes all rows anew. Nobody else writes meanwhile; who looks finds some rows missing.
pub(super) fn rewrite(kv: &Kv) -> Result<Indexed, StorageError> {
    let mut piece = Piece { kv, batch: Batch::new(), rows: 0 };
    for pair in kv.state.prefix(&[INDEX]) {
        piece.batch.delete(pair?.0.to_vec());
        piece.count()?;
    }
    piece.apply()?;
    let mut indexed = Indexed::default();
    each_record(kv, |item, row| {
        indexed.add(&item);
        piece.batch.put(index_key(&item), record::encode(&row));
        piece.count()
    })?;
    piece.apply()?;
    Ok(indexed)
}

struct Piece<'a> {
    kv: &'a Kv,
    batch: Batch,
    rows: usize,
}

impl Piece<'_> {
    fn count(&mut self) -> Result<(), StorageError> {
        self.rows += 1;
        if self.rows < PIECE { Ok(()) } else { self.apply() }
    }

    fn apply(&mut self) -> Result<(), StorageError> {
        self.rows = 0;
        self.kv.state.apply(std::mem::replace(&mut self.batch, Batch::new()))
    }
}

/// Visits all records that can be read.
fn each_record(
    kv: &Kv,
    mut visit: impl FnMut(Item, IndexRow) -> Result<(), StorageError>,
) -> Result<(), StorageError> {
    for pair in kv.state.prefix(&[keys::ENTRIES]) {
        let (key, value) = pair?;
        if let (Some(key), Ok(head)) = (ArtifactKey::from_bytes(&key[1..]), record::decode::<Head>(&value)) {
            let (item, row) = entry_item(&key, &head);
            visit(item, row)?;
        }
    }
    for pair in kv.state.prefix(&[keys::DATASETS]) {
        let (key, value) = pair?;
        let name = std::str::from_utf8(&key[1..]).ok().and_then(|name| DatasetName::new(name).ok());
        let Some(name) = name else { continue };
        let stored = record::decode::<StoredDataset>(&value);
        if let Ok(record) = stored.and_then(|stored| stored.into_record(name.clone())) {
            visit(Item::of_dataset(&record), dataset_row(&name))?;
        }
    }
    Ok(())
}
