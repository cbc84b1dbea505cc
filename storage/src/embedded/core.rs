//! The writer's state and the one way to change it: a commit.
//!
//! Owns atomicity. A commit writes the chunks first, then one batch with heads, records, jobs, change log, counters
//! and position, and changes memory only after the batch was taken. Superseded chunks are listed in the same batch
//! and deleted after the flush. An engine failure in here is fatal for the store.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use outpost_model::planning::{DatasetState, EntrySummary};
use outpost_model::{
    ArtifactKey, DatasetName, DatasetRecord, Epoch, ErrorCode, Item, JobId, Position, StepKind,
};

use super::budgets::Budgets;
use super::entries::{self, PreparedEntry};
use super::index::{Before, IndexDraft, dataset_row, entry_item};
use super::keys;
use super::queue::QueueIndex;
use super::records::{Head, LiveJob, Meta, StoredCount, StoredJob};
use super::summaries::Summaries;
use crate::blob::{self, Blob};
use crate::error::StorageError;
use crate::items::{IndexRow, StoredItems};
use crate::kv::{Batch, Kv};
use crate::mirror::Changed;
use crate::record;
use crate::stored::{StoredChange, StoredDataset};

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

/// What entries are counted by: step, HTTP status and error.
pub(super) type EntryClass = (StepKind, u16, Option<ErrorCode>);
/// Entries per class.
pub(super) type EntryCounts = BTreeMap<EntryClass, u64>;

/// See the module.
pub(super) struct Core {
    pub(super) kv: Arc<Kv>,
    pub(super) meta: Meta,
    pub(super) entry_counts: EntryCounts,
    pub(super) queue: QueueIndex,
    pub(super) summaries: Summaries,
    pub(super) budgets: Budgets,
    /// Records kept in the change log.
    pub(super) log_records_max: u64,
    /// Commits so far.
    pub(super) writes: u64,
    /// The next fencing token; below `meta.tokens_reserved` it may be given out.
    pub(super) next_token: u64,
    /// Superseded blobs, to be deleted once the commits that superseded them are on disk.
    pub(super) garbage: Vec<u64>,
    /// Ids of relayed webhooks, once counted.
    pub(super) webhook_ids: Option<u64>,
    pub(super) items: Arc<StoredItems>,
    /// Readers may have seen changes up to this seq, on disk or not.
    pub(super) shown: Arc<AtomicU64>,
    /// Histories that the store has left, newest last.
    pub(super) left: Vec<u128>,
}

/// A batch being put together.
struct Draft {
    batch: Batch,
    meta: Meta,
    /// Counts that change.
    counted: EntryCounts,
    garbage: Vec<u64>,
    /// Datasets whose entries change.
    touched: HashSet<DatasetName>,
    index: IndexDraft,
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
        let record = match self.dataset(dataset) {
            Ok(record) => record,
            Err(StorageError::Damaged(cause)) => {
                tracing::error!(%dataset, %cause, "a dataset's record is damaged, the dataset counts as unknown");
                None
            }
            Err(error) => return Err(error),
        };
        let (revision, visibility) = record.map(|record| (record.revision, record.visibility)).unzip();
        Ok(DatasetState { revision, visibility, entries, jobs: self.queue.jobs_of(dataset) })
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
            draft.meta.next_job = draft.meta.next_job.max(keys::job_number(*id) + 1);
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

    /// Replaces all counts.
    pub(super) fn set_counts(&mut self, counts: EntryCounts, datasets: u64) -> Result<(), StorageError> {
        let mut draft = self.draft();
        draft.counted = self.entry_counts.keys().map(|class| (*class, 0)).collect();
        draft.counted.extend(counts);
        draft.meta.datasets = datasets;
        self.take(draft)
    }

    fn draft(&self) -> Draft {
        Draft {
            batch: Batch::new(),
            meta: self.meta.clone(),
            counted: EntryCounts::new(),
            garbage: Vec::new(),
            touched: HashSet::new(),
            index: IndexDraft::default(),
        }
    }

    fn take(&mut self, mut draft: Draft) -> Result<(), StorageError> {
        let entry_counts = self.draft_counts(&mut draft);
        if draft.meta != self.meta {
            draft.batch.put(keys::META.to_vec(), record::encode(&draft.meta));
        }
        self.shown.store(draft.meta.seq, Ordering::SeqCst);
        self.kv.state.apply(draft.batch)?;
        self.items.record(&draft.index.changes);
        self.writes += 1;
        self.meta = draft.meta;
        if let Some(entry_counts) = entry_counts {
            self.entry_counts = entry_counts;
        }
        self.garbage.extend(draft.garbage);
        for dataset in &draft.touched {
            self.summaries.take(dataset);
        }
        Ok(())
    }

    /// Adds the records of changed counts; returns all counts when some changed.
    fn draft_counts(&self, draft: &mut Draft) -> Option<EntryCounts> {
        if draft.counted.is_empty() {
            return None;
        }
        let mut entry_counts = self.entry_counts.clone();
        for (class, entries) in std::mem::take(&mut draft.counted) {
            if entries > 0 {
                draft.batch.put(keys::count(&class), record::encode(&StoredCount(entries)));
                entry_counts.insert(class, entries);
            } else {
                draft.batch.delete(keys::count(&class));
                entry_counts.remove(&class);
            }
        }
        draft.meta.entries = by_status(&entry_counts);
        Some(entry_counts)
    }

    fn draft_entry(&self, draft: &mut Draft, entry: PreparedEntry) -> Result<(), StorageError> {
        let key = entry.key.clone();
        let before = self.forget_entry(draft, &key)?;
        draft.touched.insert(key.dataset().clone());
        let error_code = entry.summary.error_code;
        let head = entry.write(&mut draft.meta.next_blob, &self.kv.chunks)?;
        *draft.count(&self.entry_counts, (key.kind(), head.http_status, error_code)) += 1;
        draft.batch.put(keys::entry(&key), record::encode(&head));
        draft.reindex(&self.kv, &Changed::Entry(key.clone()), before, Some(entry_item(&key, &head)))?;
        draft.log(self.log_records_max, &Changed::Entry(key));
        Ok(())
    }

    fn draft_deletion(&self, draft: &mut Draft, key: &ArtifactKey) -> Result<(), StorageError> {
        let before = self.forget_entry(draft, key)?;
        draft.touched.insert(key.dataset().clone());
        draft.batch.delete(keys::entry(key));
        draft.reindex(&self.kv, &Changed::Entry(key.clone()), before, None)?;
        draft.log(self.log_records_max, &Changed::Entry(key.clone()));
        Ok(())
    }

    /// Uncounts the stored entry and lists its chunks as garbage. What a damaged head referred to is found by a scrub.
    fn forget_entry(&self, draft: &mut Draft, key: &ArtifactKey) -> Result<Before, StorageError> {
        let head = match entries::head(key, &self.kv) {
            Ok(Some(head)) => head,
            Ok(None) => return Ok(Before::Absent),
            Err(StorageError::Damaged(_)) => return Ok(Before::Unknown),
            Err(error) => return Err(error),
        };
        if let Ok(error_code) = head.error_code() {
            let count = draft.count(&self.entry_counts, (key.kind(), head.http_status, error_code));
            *count = count.saturating_sub(1);
        }
        for id in head.blobs().filter_map(Blob::chunks_id) {
            draft.batch.put(blob::garbage_key(id), Vec::new());
            draft.garbage.push(id);
        }
        Ok(Before::Is(entry_item(key, &head).0))
    }

    fn stored_dataset(&self, name: &DatasetName) -> Result<Before, StorageError> {
        match read_dataset(&self.kv, name) {
            Ok(None) => Ok(Before::Absent),
            Ok(Some(record)) => Ok(Before::Is(Item::of_dataset(&record))),
            Err(StorageError::Damaged(_)) => Ok(Before::Unknown),
            Err(error) => Err(error),
        }
    }

    fn draft_dataset(&self, draft: &mut Draft, record: &DatasetRecord) -> Result<(), StorageError> {
        let name = &record.dataset;
        let before = self.stored_dataset(name)?;
        draft.meta.datasets += u64::from(matches!(before, Before::Absent));
        draft.batch.put(keys::dataset(name), record::encode(&StoredDataset::new(record)));
        let (subject, item) = (Changed::Dataset(name.clone()), Item::of_dataset(record));
        draft.reindex(&self.kv, &subject, before, Some((item, dataset_row(name))))?;
        draft.log(self.log_records_max, &subject);
        Ok(())
    }

    fn draft_drop(&self, draft: &mut Draft, dataset: DatasetName) -> Result<(), StorageError> {
        let before = self.stored_dataset(&dataset)?;
        if matches!(before, Before::Absent) {
            return Ok(());
        }
        draft.meta.datasets = draft.meta.datasets.saturating_sub(1);
        draft.batch.delete(keys::dataset(&dataset));
        let subject = Changed::Dataset(dataset);
        draft.reindex(&self.kv, &subject, before, None)?;
        draft.log(self.log_records_max, &subject);
        Ok(())
    }
}

impl Draft {
    /// The count of a class, to be changed.
    fn count(&mut self, before: &EntryCounts, class: EntryClass) -> &mut u64 {
        self.counted.entry(class).or_insert_with(|| before.get(&class).copied().unwrap_or(0))
    }

    fn reindex(
        &mut self,
        kv: &Kv,
        subject: &Changed,
        before: Before,
        after: Option<(Item, IndexRow)>,
    ) -> Result<(), StorageError> {
        let mut indexed = self.meta.indexed();
        self.index.put(kv, &mut self.batch, &mut indexed, subject, before, after)?;
        self.meta.set_indexed(indexed);
        Ok(())
    }

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

/// Entries per (step, HTTP status), as the store's counters keep them.
pub(super) fn by_status(counts: &EntryCounts) -> Vec<(String, u16, u64)> {
    per_status(counts).map(|(kind, status, entries)| (kind.as_str().to_owned(), status, entries)).collect()
}

/// Entries per (step, HTTP status), in order.
pub(super) fn per_status(counts: &EntryCounts) -> impl Iterator<Item = (StepKind, u16, u64)> {
    let mut sums: BTreeMap<(StepKind, u16), u64> = BTreeMap::new();
    for ((kind, status, _), entries) in counts {
        *sums.entry((*kind, *status)).or_default() += entries;
    }
    sums.into_iter().map(|((kind, status), entries)| (kind, status, entries))
}
