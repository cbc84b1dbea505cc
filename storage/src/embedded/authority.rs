//! The embedded store as the authority.
//!
//! Owns the way from the trait's calls to operations in the writer. Entries are compressed and hashed before they get
//! there, away from the runtime's threads when they are large.

use async_trait::async_trait;
use outpost_model::planning::{DatasetState, Event};
use outpost_model::{
    ArtifactKey, DatasetName, DatasetRecord, Entry, Lease, Position, Queue, TimestampMs, WebhookId,
};

use super::entries::{self, PreparedEntry};
use super::ops::{self, PreparedCompletion};
use super::{EmbeddedStore, core, keys, webhooks};
use crate::authority::{
    Authority, Claim, Completion, DifficultyRange, Finished, QueueStats, ReleaseReason, Released, Submitted,
};
use crate::error::StorageError;
use crate::record;
use crate::stored::StoredDataset;

/// Bodies from this size on are compressed on a thread where blocking is allowed.
const BLOCKING_BYTES_MIN: usize = 64 * 1024;

#[async_trait]
impl Authority for EmbeddedStore {
    async fn position(&self) -> Result<Position, StorageError> {
        self.inner.fault.check()?;
        Ok(self.published_position())
    }

    async fn submit(
        &self,
        dataset: &DatasetName,
        event: &Event,
        now: TimestampMs,
    ) -> Result<Submitted, StorageError> {
        let (dataset, event) = (dataset.clone(), event.clone());
        self.write(move |core| ops::submit(core, &dataset, &event, now)).await
    }

    async fn state(&self, dataset: &DatasetName) -> Result<DatasetState, StorageError> {
        let dataset = dataset.clone();
        self.read(move |core| core.state_of(&dataset).map(|(state, _)| state)).await
    }

    async fn dataset(&self, dataset: &DatasetName) -> Result<Option<DatasetRecord>, StorageError> {
        core::read_dataset(self.reader()?, dataset)
    }

    async fn datasets(
        &self,
        after: Option<&DatasetName>,
        limit: usize,
    ) -> Result<Vec<DatasetRecord>, StorageError> {
        let kv = self.reader()?;
        let from = match after {
            None => vec![keys::DATASETS],
            // The least key greater than that of `after`.
            Some(after) => [keys::dataset(after), vec![0]].concat(),
        };
        let mut records = Vec::new();
        for pair in kv.state.from(&from).take(limit) {
            let (key, value) = pair?;
            let Some((&keys::DATASETS, name)) = key.split_first() else { break };
            let name = std::str::from_utf8(name).ok().and_then(|name| DatasetName::new(name).ok());
            let record = name.map(|name| record::decode::<StoredDataset>(&value)?.into_record(name));
            match record {
                Some(Ok(record)) => records.push(record),
                Some(Err(StorageError::Damaged(_))) | None => self.count_damage("a dataset's record"),
                Some(Err(error)) => return Err(error),
            }
        }
        Ok(records)
    }

    async fn entry(&self, key: &ArtifactKey) -> Result<Option<Entry>, StorageError> {
        self.counting_damage(entries::read(key, self.reader()?))
    }

    async fn claim_within(
        &self,
        queues: &[Queue],
        difficulty: DifficultyRange,
        now: TimestampMs,
    ) -> Result<Option<Claim>, StorageError> {
        self.set_clock(now);
        let queues = queues.to_vec();
        self.call(move |core| ops::claim(core, &queues, difficulty, now)).await
    }

    async fn heartbeat(&self, lease: &Lease, now: TimestampMs) -> Result<(), StorageError> {
        let lease = *lease;
        self.read(move |core| ops::heartbeat(core, &lease, now)).await
    }

    async fn finish(
        &self,
        lease: &Lease,
        completion: Completion,
        now: TimestampMs,
    ) -> Result<Finished, StorageError> {
        let lease = *lease;
        let completion = match completion {
            Completion::Nothing => PreparedCompletion::Nothing,
            Completion::Store(entry) => PreparedCompletion::Store(Box::new(prepare(*entry).await?)),
        };
        self.write(move |core| ops::finish(core, &lease, completion, now)).await
    }

    async fn release(
        &self,
        lease: &Lease,
        reason: ReleaseReason,
        now: TimestampMs,
    ) -> Result<Released, StorageError> {
        let lease = *lease;
        self.write(move |core| ops::release(core, &lease, reason, now)).await
    }

    async fn expire_leases(&self, now: TimestampMs) -> Result<Vec<Claim>, StorageError> {
        self.write(move |core| ops::expire_leases(core, now)).await
    }

    async fn wait_for_work(&self, queues: &[Queue]) {
        self.wait_for_ready(queues).await;
    }

    async fn webhook_taken(&self, id: &WebhookId) -> Result<bool, StorageError> {
        webhooks::is_taken(self.reader()?, *id)
    }

    async fn mark_webhook_taken(&self, id: &WebhookId, now: TimestampMs) -> Result<(), StorageError> {
        let id = *id;
        self.write(move |core| webhooks::mark_taken(core, id, now)).await
    }

    async fn stats(&self) -> Result<QueueStats, StorageError> {
        self.read(|core| {
            Ok(QueueStats {
                jobs: core.queue.counts().collect(),
                entries: core::per_status(&core.entry_counts).collect(),
                datasets: core.meta.datasets,
            })
        })
        .await
    }
}

async fn prepare(entry: Entry) -> Result<PreparedEntry, StorageError> {
    if entry.body.len() < BLOCKING_BYTES_MIN {
        return PreparedEntry::new(entry);
    }
    tokio::task::spawn_blocking(move || PreparedEntry::new(entry))
        .await
        .map_err(|error| StorageError::Engine(format!("preparing an entry failed: {error}")))?
}
