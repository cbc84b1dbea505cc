//! The way from the trait's calls to the operations.

use std::time::Duration;

use async_trait::async_trait;
use mongodb::bson::RawDocumentBuf;
use outpost_model::planning::{DatasetState, Event};
use outpost_model::{
    ArtifactKey, DatasetName, DatasetRecord, Entry, Lease, Position, Queue, TimestampMs, WebhookId, limits,
};

use super::MongoStore;
use super::documents::response;
use crate::authority::{
    Authority, Claim, Completion, DifficultyRange, Finished, QueueStats, ReleaseReason, Released, Submitted,
};
use crate::error::StorageError;

#[async_trait]
impl Authority for MongoStore {
    async fn position(&self) -> Result<Position, StorageError> {
        self.inner.current_position().await
    }

    async fn submit(
        &self,
        dataset: &DatasetName,
        event: &Event,
        now: TimestampMs,
    ) -> Result<Submitted, StorageError> {
        self.inner.submit(dataset, event, now).await
    }

    async fn state(&self, dataset: &DatasetName) -> Result<DatasetState, StorageError> {
        Ok(self.inner.full_state(dataset).await?)
    }

    async fn dataset(&self, dataset: &DatasetName) -> Result<Option<DatasetRecord>, StorageError> {
        Ok(self.inner.record(dataset).await?)
    }

    async fn datasets(
        &self,
        after: Option<&DatasetName>,
        limit: usize,
    ) -> Result<Vec<DatasetRecord>, StorageError> {
        self.inner.list_datasets(after, limit).await
    }

    async fn entry(&self, key: &ArtifactKey) -> Result<Option<Entry>, StorageError> {
        // What the primary has, not what a majority has: a run must see all that led to its job, and a claim does not
        // wait for a majority. Should that be rolled back, the job is too.
        let responses = self.inner.responses().clone_with_type::<RawDocumentBuf>();
        match responses.find_one(response::filter(key)).await? {
            Some(document) => Ok(Some(response::read_entry(&document)?)),
            None => Ok(None),
        }
    }

    async fn claim_within(
        &self,
        queues: &[Queue],
        difficulty: DifficultyRange,
        now: TimestampMs,
    ) -> Result<Option<Claim>, StorageError> {
        self.inner.claim(queues, difficulty, now).await
    }

    async fn heartbeat(&self, lease: &Lease, now: TimestampMs) -> Result<(), StorageError> {
        self.inner.heartbeat(lease, now).await
    }

    async fn finish(
        &self,
        lease: &Lease,
        completion: Completion,
        now: TimestampMs,
    ) -> Result<Finished, StorageError> {
        self.inner.finish(lease, completion, now).await
    }

    async fn release(
        &self,
        lease: &Lease,
        reason: ReleaseReason,
        now: TimestampMs,
    ) -> Result<Released, StorageError> {
        self.inner.release(lease, reason, now).await
    }

    async fn expire_leases(&self, now: TimestampMs) -> Result<Vec<Claim>, StorageError> {
        self.inner.expire_leases(now).await
    }

    /// Other processes cannot wake this one, so the wait ends by itself after a short random time.
    async fn wait_for_work(&self, _queues: &[Queue]) {
        let longest = limits::MONGO_POLL_MS_MAX;
        let poll = Duration::from_millis(fastrand::u64(longest / 2..=longest));
        // Running into the end of the time is the usual way out.
        let _ = tokio::time::timeout(poll, self.inner.work.notified()).await;
    }

    async fn webhook_taken(&self, id: &WebhookId) -> Result<bool, StorageError> {
        self.inner.webhook_taken(*id).await
    }

    async fn mark_webhook_taken(&self, id: &WebhookId, now: TimestampMs) -> Result<(), StorageError> {
        self.inner.mark_webhook_taken(*id, now).await
    }

    async fn stats(&self) -> Result<QueueStats, StorageError> {
        self.inner.stats().await
    }
}
