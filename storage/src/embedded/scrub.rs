//! Scrubbing: reading everything once, dropping what is damaged, planning its computation.
//!
//! Owns repair while serving. The walk runs beside reads and writes; what it suspects is looked at again by the
//! writer, which alone changes anything. A dataset whose record is damaged is dropped whole: its next event or reader
//! brings it back. Chunks that nothing refers to are deleted.

use std::collections::{BTreeSet, HashSet};

use outpost_model::planning::{self, Event};
use outpost_model::{ArtifactKey, DatasetName, TimestampMs};

use super::core::{Change, Core, EntryCounts};
use super::records::Head;
use super::{EmbeddedStore, entries, index, keys, ops};
use crate::blob;
use crate::error::StorageError;
use crate::kv::{Batch, Kv};
use crate::record;
use crate::stored::StoredDataset;

/// Looks at the index while changes come.
const INDEX_TRIES_MAX: usize = 3;

/// What a scrub found and did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScrubReport {
    /// Entries that were read.
    pub entries_checked: u64,
    /// Damaged entries that were dropped.
    pub entries_dropped: u64,
    /// Datasets that were dropped because their record was damaged.
    pub datasets_dropped: u64,
    /// Blobs without an entry whose chunks were deleted.
    pub blobs_deleted: u64,
    /// Jobs created to compute again what was dropped.
    pub jobs_created: usize,
    /// Whether the index did not say what is stored, and was made anew.
    pub index_rewritten: bool,
}

/// What the walk suspects.
#[derive(Default)]
struct Suspects {
    entries_checked: u64,
    datasets: BTreeSet<DatasetName>,
    /// Keys in the tree that hold no valid address.
    strays: Vec<Vec<u8>>,
    blobs: BTreeSet<u64>,
}

impl EmbeddedStore {
    /// Reads everything, drops what is damaged and plans its computation.
    ///
    /// # Errors
    /// [`StorageError::Engine`] when the disk fails.
    pub async fn scrub(&self, now: TimestampMs) -> Result<ScrubReport, StorageError> {
        let blobs_before = self.read(|core| Ok(core.meta.next_blob)).await?;
        let kv = self.inner.kv.clone();
        let suspects = tokio::task::spawn_blocking(move || walk(&kv, blobs_before))
            .await
            .map_err(|error| StorageError::Engine(format!("the scrub failed: {error}")))??;
        let mut report = ScrubReport { entries_checked: suspects.entries_checked, ..ScrubReport::default() };
        if !suspects.strays.is_empty() {
            report.entries_dropped += suspects.strays.len() as u64;
            self.write(move |core| delete_strays(core, suspects.strays)).await?;
        }
        for dataset in suspects.datasets {
            let repaired = self.write(move |core| repair(core, &dataset, now)).await?;
            report.entries_dropped += repaired.entries_dropped;
            report.datasets_dropped += repaired.datasets_dropped;
            report.jobs_created += repaired.jobs_created;
        }
        if report.entries_dropped + report.datasets_dropped > 0 {
            self.write(recount).await?;
        }
        report.blobs_deleted = suspects.blobs.len() as u64;
        self.write(move |core| {
            suspects.blobs.iter().try_for_each(|id| blob::delete_chunks(*id, &core.kv.chunks))
        })
        .await?;
        report.index_rewritten = self.check_index().await?;
        Ok(report)
    }

    /// Proves that index and set hash say what is stored, and makes them anew when they do not. Changes that come
    /// meanwhile leave the question to the next scrub, after some tries.
    async fn check_index(&self) -> Result<bool, StorageError> {
        for _ in 0..INDEX_TRIES_MAX {
            let before = self.read(|core| Ok((core.meta.seq, core.meta.indexed()))).await?;
            let kv = self.inner.kv.clone();
            let sums = tokio::task::spawn_blocking(move || index::sums(&kv))
                .await
                .map_err(|error| StorageError::Engine(format!("the scrub failed: {error}")))??;
            if sums == Some((before.1, before.1)) {
                return Ok(false);
            }
            let rewritten = self.write(move |core| {
                let is_same_state = (core.meta.seq, core.meta.indexed()) == before;
                if is_same_state {
                    rewrite_index(core)?;
                }
                Ok(is_same_state)
            });
            if rewritten.await? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn rewrite_index(core: &mut Core) -> Result<(), StorageError> {
    tracing::error!("the index of the store is damaged and is made anew");
    let indexed = index::rewrite(&core.kv)?;
    core.change_meta(|meta| meta.set_indexed(indexed))?;
    core.items.forget();
    Ok(())
}

/// Reads every record and blob. Blobs from `blobs_before` on may belong to entries that the walk did not see.
fn walk(kv: &Kv, blobs_before: u64) -> Result<Suspects, StorageError> {
    let mut suspects = Suspects::default();
    let mut referenced = HashSet::new();
    for pair in kv.state.prefix(&[keys::ENTRIES]) {
        let (key, value) = pair?;
        suspects.entries_checked += 1;
        let Some(address) = ArtifactKey::from_bytes(&key[1..]) else {
            suspects.strays.push(key.to_vec());
            continue;
        };
        let head = record::decode::<Head>(&value);
        referenced.extend(head.iter().flat_map(Head::blobs).filter_map(blob::Blob::chunks_id));
        match entries::read(&address, kv) {
            Ok(_) => {}
            Err(StorageError::Damaged(_)) => {
                suspects.datasets.insert(address.dataset().clone());
            }
            Err(error) => return Err(error),
        }
    }
    for pair in kv.state.prefix(&[keys::DATASETS]) {
        let (key, value) = pair?;
        match std::str::from_utf8(&key[1..]).ok().and_then(|name| DatasetName::new(name).ok()) {
            None => suspects.strays.push(key.to_vec()),
            Some(name) => {
                if record::decode::<StoredDataset>(&value)
                    .and_then(|stored| stored.into_record(name.clone()))
                    .is_err()
                {
                    suspects.datasets.insert(name);
                }
            }
        }
    }
    for pair in kv.chunks.from(&[]) {
        let (key, _) = pair?;
        let id = blob::blob_of_chunk(&key).filter(|id| *id < blobs_before && !referenced.contains(id));
        suspects.blobs.extend(id);
    }
    Ok(suspects)
}

fn delete_strays(core: &mut Core, strays: Vec<Vec<u8>>) -> Result<(), StorageError> {
    let mut batch = Batch::new();
    for key in strays {
        batch.delete(key);
    }
    core.kv.state.apply(batch)
}

/// Looks at a suspected dataset again, with nobody else writing.
fn repair(core: &mut Core, dataset: &DatasetName, now: TimestampMs) -> Result<ScrubReport, StorageError> {
    let mut report = ScrubReport::default();
    let (mut state, mut damaged) = core.state_of(dataset)?;
    let mut readable = Vec::new();
    for summary in std::mem::take(&mut state.entries) {
        match entries::read(&summary.key, &core.kv) {
            Ok(_) => readable.push(summary),
            Err(StorageError::Damaged(_)) => damaged.push(summary.key),
            Err(error) => return Err(error),
        }
    }
    state.entries = readable;
    report.entries_dropped = damaged.len() as u64;
    let mut changes: Vec<Change> = damaged.into_iter().map(Change::DeleteEntry).collect();
    let event = if matches!(core.dataset(dataset), Err(StorageError::Damaged(_))) {
        report.datasets_dropped = 1;
        changes.push(Change::DropDataset(dataset.clone()));
        Event::Removed
    } else {
        Event::Backfill { retry_errors: false }
    };
    let tasks = planning::plan(dataset, &state, &event);
    report.jobs_created = ops::add_tasks(core, &mut changes, dataset, tasks, now);
    if !changes.is_empty() {
        core.commit(changes)?;
    }
    Ok(report)
}

/// Counts again after damaged records were dropped that could not say what they counted as.
pub(super) fn recount(core: &mut Core) -> Result<(), StorageError> {
    let mut counts = EntryCounts::new();
    for pair in core.kv.state.prefix(&[keys::ENTRIES]) {
        let (key, value) = pair?;
        let (Some(key), Ok(head)) = (ArtifactKey::from_bytes(&key[1..]), record::decode::<Head>(&value))
        else {
            continue;
        };
        if let Ok(error_code) = head.error_code() {
            *counts.entry((key.kind(), head.http_status, error_code)).or_default() += 1;
        }
    }
    let mut datasets = 0;
    for pair in core.kv.state.prefix(&[keys::DATASETS]) {
        pair?;
        datasets += 1;
    }
    core.set_counts(counts, datasets)
}
