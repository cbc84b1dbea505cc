//! Scrubbing: reading everything once, so that damage is found before a reader meets it.
//!
//! Owns the proof that index, set hash and counters say what is stored. The walk runs beside reads and writes: damage
//! goes on the list of what to fetch again, chunks that nothing refers to are deleted, and where index and heads
//! disagree the writer counts again with nobody else writing.

use std::collections::HashSet;

use outpost_model::items::subject_bytes;
use outpost_model::{ArtifactKey, DatasetName, Item, SetHash, TimestampMs};

use super::core::{Core, dataset_row, entry_row};
use super::draft::Draft;
use super::layers::Kv;
use super::records::{DatasetHead, Head, IndexRow, Meta};
use super::{MirrorStore, keys, read};
use crate::blob;
use crate::error::StorageError;
use crate::mirror::Changed;
use crate::record;

/// What a scrub found and did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MirrorScrubReport {
    /// Entries and dataset records that were read.
    pub records_checked: u64,
    /// Those that cannot be read and wait to be fetched again.
    pub records_damaged: u64,
    /// Blobs without an entry whose chunks were deleted.
    pub blobs_deleted: u64,
    /// Whether the index or the counters did not say what is stored, and were made anew.
    pub recounted: bool,
}

impl MirrorStore {
    /// Reads everything, reports what is damaged, and mends what can be mended without the source. Blocks.
    ///
    /// # Errors
    /// [`StorageError::Engine`] when the disk fails.
    pub fn scrub(&self) -> Result<MirrorScrubReport, StorageError> {
        let mut report = MirrorScrubReport::default();
        let blobs_before = self.blobs_settled()?;
        let kv = self.reader();
        let referenced = self.check_entries(kv, &mut report)?;
        self.check_datasets(kv, &mut report)?;
        for id in orphans(kv, blobs_before, &referenced)? {
            blob::delete_chunks(id, &kv.chunks)?;
            report.blobs_deleted += 1;
        }
        let recounted = self.write(|core| {
            if is_counted(core)? {
                return Ok((false, Vec::new()));
            }
            recount(core)?;
            Ok((true, Vec::new()))
        });
        report.recounted = match recounted {
            // The stage is about to replace what would be counted; the next scrub counts.
            Err(StorageError::Busy(_)) => false,
            other => other?,
        };
        Ok(report)
    }

    /// Blobs below this belong to what is stored or to nothing; a stage has later ones.
    fn blobs_settled(&self) -> Result<u64, StorageError> {
        self.inner.fault.check()?;
        let writer = self.inner.writer.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        Ok(writer.staging.as_ref().map_or(writer.core.meta.next_blob, |staging| staging.first_blob))
    }

    fn check_entries(&self, kv: &Kv, report: &mut MirrorScrubReport) -> Result<HashSet<u64>, StorageError> {
        let mut referenced = HashSet::new();
        for pair in kv.state.prefix(&[keys::ENTRIES]) {
            let (key, value) = pair?;
            report.records_checked += 1;
            let Some(address) = ArtifactKey::from_bytes(&key[1..]) else {
                report.records_damaged += 1;
                continue;
            };
            referenced.extend(record::decode::<Head>(&value).iter().filter_map(|head| head.body.chunks_id()));
            match read::read_response(&address, kv) {
                Ok(_) => {}
                Err(StorageError::Damaged(cause)) => {
                    report.records_damaged += 1;
                    self.inner.damage.report(&Changed::Entry(address), &cause);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(referenced)
    }

    fn check_datasets(&self, kv: &Kv, report: &mut MirrorScrubReport) -> Result<(), StorageError> {
        for pair in kv.state.prefix(&[keys::DATASETS]) {
            let (key, _) = pair?;
            report.records_checked += 1;
            let name = std::str::from_utf8(&key[1..]).ok().and_then(|name| DatasetName::new(name).ok());
            let Some(name) = name else {
                report.records_damaged += 1;
                continue;
            };
            match read::read_dataset(&name, kv) {
                Ok(_) => {}
                Err(StorageError::Damaged(cause)) => {
                    report.records_damaged += 1;
                    self.inner.damage.report(&Changed::Dataset(name), &cause);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Blobs that nothing refers to. Those from `blobs_before` on may belong to entries that the walk did not see.
fn orphans(kv: &Kv, blobs_before: u64, referenced: &HashSet<u64>) -> Result<Vec<u64>, StorageError> {
    let mut found = Vec::new();
    for pair in kv.chunks.from(&[]) {
        let (key, _) = pair?;
        let id = blob::blob_of_chunk(&key).filter(|id| *id < blobs_before && !referenced.contains(id));
        found.extend(id.filter(|id| found.last() != Some(id)));
    }
    Ok(found)
}

/// What heads or the index add up to.
struct Sum {
    records: u64,
    set_hash: SetHash,
}

/// Whether the index holds exactly the items of the heads, and the counters agree.
fn is_counted(core: &Core) -> Result<bool, StorageError> {
    let mut index = Sum { records: 0, set_hash: SetHash::default() };
    let mut heads = Sum { records: 0, set_hash: SetHash::default() };
    let unreadable = unreadable(&core.kv)?;
    for pair in core.kv.state.prefix(&[keys::INDEX]) {
        let (key, value) = pair?;
        let sound = record::decode::<IndexRow>(&value).is_ok();
        let Some(item) = keys::item(&key).filter(|_| sound) else { return Ok(false) };
        index.records += 1;
        index.set_hash.add(&item);
        if unreadable.contains(&item.key_hash) {
            heads.records += 1;
            heads.set_hash.add(&item);
        }
    }
    each_sound(&core.kv, |subject, found| {
        heads.records += 1;
        heads.set_hash.add(&found.item(subject));
    })?;
    let meta = &core.meta;
    Ok(index.set_hash == meta.set_hash
        && heads.set_hash == meta.set_hash
        && index.records == meta.entries + meta.datasets
        && heads.records == index.records)
}

/// A record that could be read.
enum Sound {
    Entry(Head),
    Dataset(outpost_model::DatasetRecord),
}

impl Sound {
    fn item(&self, subject: &Changed) -> Item {
        match self {
            Self::Entry(head) => head.item(subject),
            Self::Dataset(record) => Item::of_dataset(record),
        }
    }

    fn row(&self, subject: &Changed) -> IndexRow {
        match self {
            Self::Entry(head) => entry_row(subject, head),
            Self::Dataset(_) => dataset_row(subject),
        }
    }
}

/// The hashes of the subjects whose heads cannot be read.
fn unreadable(kv: &Kv) -> Result<HashSet<[u8; 16]>, StorageError> {
    let mut found = HashSet::new();
    for pair in kv.state.prefix(&[keys::ENTRIES]) {
        let (key, value) = pair?;
        let address = ArtifactKey::from_bytes(&key[1..]).filter(|_| record::decode::<Head>(&value).is_err());
        found.extend(address.map(|address| key_hash(&Changed::Entry(address))));
    }
    for pair in kv.state.prefix(&[keys::DATASETS]) {
        let (key, value) = pair?;
        let name = std::str::from_utf8(&key[1..]).ok().and_then(|name| DatasetName::new(name).ok());
        let is_sound = |name: &DatasetName| {
            record::decode::<DatasetHead>(&value).is_ok_and(|head| head.record(name).is_ok())
        };
        found.extend(name.filter(|name| !is_sound(name)).map(|name| key_hash(&Changed::Dataset(name))));
    }
    Ok(found)
}

fn key_hash(subject: &Changed) -> [u8; 16] {
    Item::new(subject, TimestampMs(0), &[0; 32]).key_hash
}

fn each_sound(kv: &Kv, mut visit: impl FnMut(&Changed, Sound)) -> Result<(), StorageError> {
    for pair in kv.state.prefix(&[keys::ENTRIES]) {
        let (key, value) = pair?;
        let address = ArtifactKey::from_bytes(&key[1..]);
        if let (Some(address), Ok(head)) = (address, record::decode::<Head>(&value)) {
            visit(&Changed::Entry(address), Sound::Entry(head));
        }
    }
    for pair in kv.state.prefix(&[keys::DATASETS]) {
        let (key, value) = pair?;
        let name = std::str::from_utf8(&key[1..]).ok().and_then(|name| DatasetName::new(name).ok());
        let Some(name) = name else { continue };
        let found = record::decode::<DatasetHead>(&value).and_then(|head| head.record(&name));
        if let Ok(found) = found {
            visit(&Changed::Dataset(name), Sound::Dataset(found));
        }
    }
    Ok(())
}

/// Makes index, set hash and counters anew from the heads. A head that cannot be read counts as the index has it, so that
/// what is damaged is not taken for deleted; one that is in no index either is dropped.
fn recount(core: &mut Core) -> Result<(), StorageError> {
    tracing::error!("the mirror's index is damaged and is made anew");
    let kv = core.kv.clone();
    let damage = core.damage.clone();
    let zeroed = Meta {
        entries: 0,
        datasets: 0,
        raw_bytes: 0,
        stored_bytes: 0,
        set_hash: SetHash::default(),
        ..core.meta.clone()
    };
    let mut draft = Draft::new(&kv, &damage, zeroed);
    let unreadable = unreadable(&kv)?;
    let mut kept = HashSet::new();
    for pair in kv.state.prefix(&[keys::INDEX]) {
        let (key, value) = pair?;
        draft.delete(key.to_vec());
        let item = keys::item(&key).filter(|item| unreadable.contains(&item.key_hash));
        if let (Some(item), Ok(row)) = (item, record::decode::<IndexRow>(&value))
            && let Ok(subject) = row.subject.clone().into_changed()
            && kept.insert(subject_bytes(&subject))
        {
            draft.index(&item, &row);
        }
    }
    let mut sound = HashSet::new();
    each_sound(&kv, |subject, found| {
        draft.index(&found.item(subject), &found.row(subject));
        sound.insert(subject_bytes(subject));
    })?;
    for prefix in [keys::ENTRIES, keys::DATASETS] {
        for pair in kv.state.prefix(&[prefix]) {
            let (key, _) = pair?;
            if !sound.contains(&key[..]) && !kept.contains(&key[..]) {
                draft.delete(key.to_vec());
            }
        }
    }
    // What the mirror has lost it must not claim to have at its position.
    if core.meta.position_hash == core.meta.set_hash {
        (draft.meta.position_hash, draft.meta.position_records) =
            (draft.meta.set_hash, draft.meta.entries + draft.meta.datasets);
    }
    core.take(draft)?;
    core.items.forget();
    Ok(())
}
