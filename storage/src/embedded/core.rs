//! The writer's state and the one way to change it: a commit.
//!
//! Owns atomicity. A commit writes the chunks first, then one batch with heads, records, jobs, change log, counters
//! and position, and changes memory only after the batch was taken. Superseded chunks are listed in the same batch
//! and deleted after the flush. An engine failure in here is fatal for the store.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use outpost_model::planning::{DatasetState, EntrySummary};
use outpost_model::{ArtifactKey, DatasetName, DatasetRecord, Epoch, JobId, Position, StepKind};

use super::blob::Blob;
use super::entries::{self, PreparedEntry};
use super::keys;
use super::queue::QueueIndex;
use super::records::{Head, LiveJob, Meta, StoredChange, StoredDataset, StoredJob};
use super::summaries::Summaries;
use crate::error::StorageError;
use crate::kv::{Batch, Kv};
use crate::mirror::Changed;
use crate::record;

/// One change of a commit. Changes are applied in order.
#[derive(Debug)]
pub(super) enum Change {
    PutEntry(Box<PreparedEntry>),
    DeleteEntry(ArtifactKey),
    PutDataset(DatasetRecord),
    DropDataset(DatasetName),
    PutJob(LiveJob),
    DeleteJob(JobId),
}

/// Entries per (step, HTTP status).
pub(super) type EntryCounts = BTreeMap<(StepKind, u16), u64>;

/// See the module.
pub(super) struct Core {
    pub(super) kv: Arc<Kv>,
    pub(super) meta: Meta,
    pub(super) entry_counts: EntryCounts,
    pub(super) queue: QueueIndex,
    pub(super) summaries: Summaries,
    /// Records kept in the change log.
    pub(super) log_records_max: u64,
    /// Commits so far.
    pub(super) writes: u64,
    /// The next fencing token; below `meta.tokens_reserved` it may be given out.
    pub(super) next_token: u64,
    /// Superseded blobs, to be deleted once the commits that superseded them are on disk.
    pub(super) garbage: Vec<u64>,
}

/// A batch being put together.
struct Draft {
    batch: Batch,
    meta: Meta,
    entry_counts: EntryCounts,
    garbage: Vec<u64>,
    /// Datasets whose entries change.
    touched: HashSet<DatasetName>,
}

impl Core {
    pub(super) fn position(&self) -> Position {
        Position { epoch: Epoch(self.meta.epoch), seq: self.meta.seq }
    }

    pub(super) fn dataset(&self, dataset: &DatasetName) -> Result<Option<DatasetRecord>, StorageError> {
        read_dataset(&self.kv, dataset)
    }

    /// Everything known about a dataset. Entries that cannot be read are left out: planning then treats them as not
    /// computed, and the returned keys are for the commit to delete.
    pub(super) fn state_of(
        &self,
        dataset: &DatasetName,
    ) -> Result<(DatasetState, Vec<ArtifactKey>), StorageError> {
        let (entries, damaged) = match self.summaries.get(dataset) {
            Some(kept) => (kept.clone(), Vec::new()),
            None => self.read_summaries(dataset)?,
        };
        Ok((self.state_with(dataset, entries)?, damaged))
    }

    /// As [`Core::state_of`], for an operation that changes the dataset: the summaries are its own until it gives them
    /// back with [`Core::keep_summaries`].
    pub(super) fn take_state_of(
        &mut self,
        dataset: &DatasetName,
    ) -> Result<(DatasetState, Vec<ArtifactKey>), StorageError> {
        let (entries, damaged) = match self.summaries.take(dataset) {
            Some(kept) => (kept, Vec::new()),
            None => self.read_summaries(dataset)?,
        };
        Ok((self.state_with(dataset, entries)?, damaged))
    }

    /// Keeps what planning needs of a dataset's entries, all as they were committed.
    pub(super) fn keep_summaries(&mut self, dataset: DatasetName, entries: Vec<EntrySummary>) {
        self.summaries.keep(dataset, entries);
    }

    fn state_with(
        &self,
        dataset: &DatasetName,
        entries: Vec<EntrySummary>,
    ) -> Result<DatasetState, StorageError> {
        let revision = match self.dataset(dataset) {
            Ok(record) => record.map(|record| record.revision),
            Err(StorageError::Damaged(cause)) => {
                tracing::error!(%dataset, %cause, "a dataset's record is damaged, the dataset counts as unknown");
                None
            }
            Err(error) => return Err(error),
        };
        Ok(DatasetState { revision, entries, jobs: self.queue.jobs_of(dataset) })
    }

    fn read_summaries(
        &self,
        dataset: &DatasetName,
    ) -> Result<(Vec<EntrySummary>, Vec<ArtifactKey>), StorageError> {
        let (mut entries, mut damaged) = (Vec::new(), Vec::new());
        for pair in self.kv.state.prefix(&keys::entries_of(dataset)) {
            let (key, value) = pair?;
            let Some(key) = ArtifactKey::from_bytes(&key[1..]) else { continue };
            let summary = record::decode::<Head>(&value)
                .and_then(|head| entries::summary(key.clone(), &head, &self.kv));
            match summary {
                Ok(summary) => entries.push(summary),
                Err(StorageError::Damaged(cause)) => {
                    tracing::error!(%key, %cause, "a stored entry is damaged and will be computed again");
                    damaged.push(key);
                }
                Err(error) => return Err(error),
            }
        }
        Ok((entries, damaged))
    }

    /// Applies all changes or none.
    pub(super) fn commit(&mut self, changes: Vec<Change>) -> Result<(), StorageError> {
        let mut draft = self.draft();
        let mut jobs = Vec::new();
        for change in changes {
            match change {
                Change::PutEntry(entry) => self.draft_entry(&mut draft, *entry)?,
                Change::DeleteEntry(key) => self.draft_deletion(&mut draft, &key)?,
                Change::PutDataset(record) => self.draft_dataset(&mut draft, &record)?,
                Change::DropDataset(name) => self.draft_drop(&mut draft, name)?,
                Change::PutJob(live) => {
                    draft.batch.put(keys::job(live.job.id), record::encode(&StoredJob::new(&live)));
                    jobs.push((live.job.id, Some(live)));
                }
                Change::DeleteJob(id) => {
                    draft.batch.delete(keys::job(id));
                    jobs.push((id, None));
                }
            }
        }
        for (id, _) in &jobs {
            draft.meta.next_job = draft.meta.next_job.max(id.0 + 1);
        }
        self.take(draft)?;
        for (id, live) in jobs {
            match live {
                Some(live) => self.queue.put(live),
                None => self.queue.remove(id),
            }
        }
        Ok(())
    }

    /// Changes counters outside of a commit.
    pub(super) fn change_meta(&mut self, change: impl FnOnce(&mut Meta)) -> Result<(), StorageError> {
        let mut draft = self.draft();
        change(&mut draft.meta);
        self.take(draft)
    }

    fn draft(&self) -> Draft {
        Draft {
            batch: Batch::new(),
            meta: self.meta.clone(),
            entry_counts: self.entry_counts.clone(),
            garbage: Vec::new(),
            touched: HashSet::new(),
        }
    }

    fn take(&mut self, mut draft: Draft) -> Result<(), StorageError> {
        draft.meta.entries = to_stored_counts(&draft.entry_counts);
        if draft.meta != self.meta {
            draft.batch.put(keys::META.to_vec(), record::encode(&draft.meta));
        }
        self.kv.state.apply(draft.batch)?;
        self.writes += 1;
        self.meta = draft.meta;
        self.entry_counts = draft.entry_counts;
        self.garbage.extend(draft.garbage);
        for dataset in &draft.touched {
            self.summaries.take(dataset);
        }
        Ok(())
    }

    fn draft_entry(&self, draft: &mut Draft, entry: PreparedEntry) -> Result<(), StorageError> {
        let key = entry.key.clone();
        self.forget_entry(draft, &key)?;
        draft.touched.insert(key.dataset().clone());
        let head = entry.write(&mut draft.meta.next_blob, &self.kv.chunks)?;
        *draft.entry_counts.entry((key.kind(), head.http_status)).or_default() += 1;
        draft.batch.put(keys::entry(&key), record::encode(&head));
        draft.log(self.log_records_max, &Changed::Entry(key));
        Ok(())
    }

    fn draft_deletion(&self, draft: &mut Draft, key: &ArtifactKey) -> Result<(), StorageError> {
        self.forget_entry(draft, key)?;
        draft.touched.insert(key.dataset().clone());
        draft.batch.delete(keys::entry(key));
        draft.log(self.log_records_max, &Changed::Entry(key.clone()));
        Ok(())
    }

    /// Uncounts the stored entry and lists its chunks as garbage. What a damaged head referred to is found by a scrub.
    fn forget_entry(&self, draft: &mut Draft, key: &ArtifactKey) -> Result<(), StorageError> {
        let head = match entries::head(key, &self.kv) {
            Ok(Some(head)) => head,
            Ok(None) | Err(StorageError::Damaged(_)) => return Ok(()),
            Err(error) => return Err(error),
        };
        if let Some(count) = draft.entry_counts.get_mut(&(key.kind(), head.http_status)) {
            *count = count.saturating_sub(1);
        }
        for blob in head.blobs().filter_map(Blob::chunks_id) {
            draft.batch.put(keys::garbage(blob), Vec::new());
            draft.garbage.push(blob);
        }
        Ok(())
    }

    fn draft_dataset(&self, draft: &mut Draft, record: &DatasetRecord) -> Result<(), StorageError> {
        let key = keys::dataset(&record.dataset);
        if self.kv.state.get(&key)?.is_none() {
            draft.meta.datasets += 1;
        }
        draft.batch.put(key, record::encode(&StoredDataset::new(record)));
        draft.log(self.log_records_max, &Changed::Dataset(record.dataset.clone()));
        Ok(())
    }

    fn draft_drop(&self, draft: &mut Draft, dataset: DatasetName) -> Result<(), StorageError> {
        let key = keys::dataset(&dataset);
        if self.kv.state.get(&key)?.is_some() {
            draft.meta.datasets = draft.meta.datasets.saturating_sub(1);
            draft.batch.delete(key);
            draft.log(self.log_records_max, &Changed::Dataset(dataset));
        }
        Ok(())
    }
}

impl Draft {
    /// Appends to the change log and drops its oldest record when it is full.
    fn log(&mut self, records_max: u64, change: &Changed) {
        self.meta.seq += 1;
        self.batch.put(keys::log(self.meta.seq), record::encode(&StoredChange::new(change)));
        while self.meta.seq - self.meta.log_first >= records_max {
            self.batch.delete(keys::log(self.meta.log_first));
            self.meta.log_first += 1;
        }
    }
}

/// The record of a dataset.
pub(super) fn read_dataset(kv: &Kv, dataset: &DatasetName) -> Result<Option<DatasetRecord>, StorageError> {
    let Some(bytes) = kv.state.get(&keys::dataset(dataset))? else { return Ok(None) };
    record::decode::<StoredDataset>(&bytes)?.into_record(dataset.clone()).map(Some)
}

fn to_stored_counts(counts: &EntryCounts) -> Vec<(String, u16, u64)> {
    let present = counts.iter().filter(|(_, count)| **count > 0);
    present.map(|((kind, status), count)| (kind.as_str().to_owned(), *status, *count)).collect()
}
