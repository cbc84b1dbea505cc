//! The authority: cache and queue, one contract for every backend.
//!
//! Owns the queue's rules (design section 4): at most one live job per artifact key; claims ordered by priority, then
//! by the namespace with the least running work, then by age (jobs of one age in any order); a claim is a lease with a fencing token; a result is
//! applied only while lease and revision hold; a crash repeats work and never loses children. Plans come from
//! [`outpost_model::planning`] and are applied in one atomic write together with the change log and the position.
//! When a call returns, its effect is on disk; when it fails, nothing of it took effect.

use async_trait::async_trait;
use outpost_model::planning::{DatasetState, Event};
use outpost_model::{
    ArtifactKey, DatasetName, DatasetRecord, Entry, Job, Lease, Position, Queue, StepKind, TimestampMs,
    WebhookId,
};

use crate::error::StorageError;

/// What submitting an event changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Submitted {
    /// The position that contains the change; the current one when nothing changed.
    pub position: Position,
    /// Jobs created.
    pub jobs_created: usize,
}

/// A job and the right to apply its result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The job, in its started state.
    pub job: Job,
    /// The lease.
    pub lease: Lease,
}

/// The result of a run.
#[derive(Debug, Clone, PartialEq)]
pub enum Completion {
    /// Store this entry, plan the children. `failed_runs` of the entry is set by the authority
    /// (worker-and-store.md section 3.6) and the revision must be the job's.
    Store(Box<Entry>),
    /// Store nothing, plan the children (worker-and-store.md section 3.8: failed validation).
    Nothing,
}

/// What finishing a job did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Finished {
    /// The position that contains the result.
    pub position: Position,
    /// Jobs created for children.
    pub jobs_created: usize,
    /// Whether the job went back to the queue because a parent changed while it ran.
    pub requeued: bool,
}

/// What became of a run that crashed, timed out, failed transiently or was given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Released {
    /// The job waits again, with `attempts` counted and back-off.
    Requeued {
        /// Failed runs so far.
        attempts: u32,
    },
    /// The job had used its attempts: the caller stores a verdict with [`Authority::finish`]; the lease still holds.
    Exhausted,
}

/// Why a run is given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReleaseReason {
    /// It failed in a way that may pass; counts as an attempt.
    Failed,
    /// The worker is shutting down; counts as nothing, no back-off.
    Drained,
}

/// Which jobs a worker takes by their expected cost (worker-and-store.md section 2.2).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DifficultyRange {
    /// Only jobs more difficult than this.
    pub above: Option<u8>,
    /// Only jobs at most this difficult.
    pub up_to: Option<u8>,
}

impl DifficultyRange {
    /// Every job.
    pub const ALL: Self = Self { above: None, up_to: None };

    /// Whether a job of this difficulty is in the range.
    #[must_use]
    pub fn contains(self, difficulty: u8) -> bool {
        self.above.is_none_or(|above| difficulty > above)
            && self.up_to.is_none_or(|up_to| difficulty <= up_to)
    }
}

/// Depth of the queue.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QueueStats {
    /// Per step: (step, waiting, started).
    pub jobs: Vec<(StepKind, u64, u64)>,
    /// Entries per (step, HTTP status).
    pub entries: Vec<(StepKind, u16, u64)>,
    /// Datasets with a record.
    pub datasets: u64,
}

/// Cache and queue of a cluster.
#[async_trait]
pub trait Authority: Send + Sync + 'static {
    /// Where the history stands.
    async fn position(&self) -> Result<Position, StorageError>;

    /// Plans `event` over the dataset's current state and applies the plan atomically.
    async fn submit(
        &self,
        dataset: &DatasetName,
        event: &Event,
        now: TimestampMs,
    ) -> Result<Submitted, StorageError>;

    /// What is known about a dataset, for planning and for cache misses.
    async fn state(&self, dataset: &DatasetName) -> Result<DatasetState, StorageError>;

    /// The record of a dataset.
    async fn dataset(&self, dataset: &DatasetName) -> Result<Option<DatasetRecord>, StorageError>;

    /// Names of known datasets after `after`, in order, at most `limit`: a cursor for maintenance.
    async fn datasets(
        &self,
        after: Option<&DatasetName>,
        limit: usize,
    ) -> Result<Vec<DatasetRecord>, StorageError>;

    /// An entry, read authoritatively.
    async fn entry(&self, key: &ArtifactKey) -> Result<Option<Entry>, StorageError>;

    /// Claims the next job of the given queues, `None` when none may run now.
    async fn claim(&self, queues: &[Queue], now: TimestampMs) -> Result<Option<Claim>, StorageError> {
        self.claim_within(queues, DifficultyRange::ALL, now).await
    }

    /// Claims the next job of the given queues among those in a range of difficulty. Jobs of a dataset that used more
    /// than its budget wait until its blockage ends.
    async fn claim_within(
        &self,
        queues: &[Queue],
        difficulty: DifficultyRange,
        now: TimestampMs,
    ) -> Result<Option<Claim>, StorageError>;

    /// Renews a lease. [`StorageError::LeaseLost`] tells the worker to stop.
    async fn heartbeat(&self, lease: &Lease, now: TimestampMs) -> Result<(), StorageError>;

    /// Applies the result of a run: entry, children and the job's end in one atomic write.
    async fn finish(
        &self,
        lease: &Lease,
        completion: Completion,
        now: TimestampMs,
    ) -> Result<Finished, StorageError>;

    /// Gives a run back.
    async fn release(
        &self,
        lease: &Lease,
        reason: ReleaseReason,
        now: TimestampMs,
    ) -> Result<Released, StorageError>;

    /// Takes back the jobs whose lease ran out: each waits again with an attempt counted, or, when its attempts are
    /// used, is returned claimed under a fresh lease so that the caller stores the verdict.
    async fn expire_leases(&self, now: TimestampMs) -> Result<Vec<Claim>, StorageError>;

    /// Returns when a job may have become claimable in `queues` since the last claim returned `None`, or when a
    /// waiting job's `not_before` has passed. May return early; never misses a wake-up.
    async fn wait_for_work(&self, queues: &[Queue]);

    /// Whether a relayed webhook with this id was applied in the last [`limits::WEBHOOK_ID_AGE_MS_MAX`].
    ///
    /// [`limits::WEBHOOK_ID_AGE_MS_MAX`]: outpost_model::limits::WEBHOOK_ID_AGE_MS_MAX
    async fn webhook_taken(&self, id: &WebhookId) -> Result<bool, StorageError>;

    /// Remembers that a relayed webhook was applied, whose effect is on disk by now.
    async fn mark_webhook_taken(&self, id: &WebhookId, now: TimestampMs) -> Result<(), StorageError>;

    /// Counts for metrics and `node status`.
    async fn stats(&self) -> Result<QueueStats, StorageError>;
}
