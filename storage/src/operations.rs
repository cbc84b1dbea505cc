//! What operators see of an authority, and the register of processes with workers.
//!
//! Owns the listings and counts behind `node status` and the admin API; every authority implements [`Operations`] beside
//! [`Authority`](crate::Authority). Listings show what is stored as it is stored: kinds and error codes are text, so that
//! documents of other programs in a shared database are shown too. Every page is bounded in items, in records looked at
//! and in bytes. Nothing here changes the cache or the queue.

use async_trait::async_trait;
use bytes::Bytes;
use outpost_model::{DatasetName, JobStatus, Priority, Queue, TimestampMs};

use crate::error::StorageError;

/// Where a listing goes on: text that the store made and only that store reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor(String);

impl Cursor {
    /// The cursor with this text, as it came back from outside; the listing checks it.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text: letters and digits only.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A part of a listing.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T> {
    /// The items; fewer than asked for, or none, does not mean that the listing ends here.
    pub items: Vec<T>,
    /// Where the next part begins, `None` at the end.
    pub next: Option<Cursor>,
}

/// Which live jobs to list; a field that is `None` lets all pass.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobFilter {
    /// Of this step, by its wire name.
    pub kind: Option<String>,
    /// Of this dataset.
    pub dataset: Option<DatasetName>,
    /// Waiting or started ones.
    pub status: Option<JobStatus>,
}

/// A live job as it is stored (worker-and-store.md section 1.3). Where a job that runs and must run again is stored as
/// two, both are listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveJob {
    /// The step, by its wire name.
    pub kind: String,
    /// The dataset.
    pub dataset: String,
    /// The config.
    pub config: Option<String>,
    /// The split.
    pub split: Option<String>,
    /// The revision that it runs for.
    pub revision: String,
    /// How urgent it is.
    pub priority: Priority,
    /// Waiting or started.
    pub status: JobStatus,
    /// Expected cost, 0 to 100.
    pub difficulty: u8,
    /// When it was created, or from when it may run again.
    pub created_at: TimestampMs,
    /// When it was claimed.
    pub started_at: Option<TimestampMs>,
    /// When its lease was last renewed.
    pub last_heartbeat: Option<TimestampMs>,
}

/// Which entries to list; a field that is `None` lets all pass.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReportFilter {
    /// Of this step, by its wire name.
    pub kind: Option<String>,
    /// Of this dataset.
    pub dataset: Option<DatasetName>,
}

/// How much of an entry a report holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ReportDepth {
    /// What is small.
    Head,
    /// Also the details of errors.
    Details,
    /// Also the body.
    Content,
}

/// An entry as it is stored (worker-and-store.md section 1.1).
#[derive(Debug, Clone, PartialEq)]
pub struct EntryReport {
    /// The step, by its wire name.
    pub kind: String,
    /// The dataset.
    pub dataset: String,
    /// The config.
    pub config: Option<String>,
    /// The split.
    pub split: Option<String>,
    /// HTTP status.
    pub http_status: u16,
    /// The error, `None` for a success.
    pub error_code: Option<String>,
    /// The revision that it was computed for.
    pub revision: String,
    /// Share of the parents that had been computed.
    pub progress: Option<f64>,
    /// Version of the step that computed it, when stored.
    pub job_runner_version: Option<u32>,
    /// Failures in a row at this revision.
    pub failed_runs: u32,
    /// When it was stored.
    pub updated_at: TimestampMs,
    /// Milliseconds from the start of the job to the result, when stored.
    pub duration_ms: Option<u64>,
    /// JSON object with the cause of an error, from [`ReportDepth::Details`] on.
    pub details: Option<Bytes>,
    /// The response text, at [`ReportDepth::Content`].
    pub content: Option<Bytes>,
}

/// Live jobs of one step in one status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueDepth {
    /// The step, by its wire name.
    pub kind: String,
    /// Waiting or started.
    pub status: JobStatus,
    /// How many there are, at least one.
    pub jobs: u64,
    /// The creation of the one created first, or, of started ones, the start of the one started first.
    pub oldest_at: TimestampMs,
}

/// Entries of one step with one outcome.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct EntryCount {
    /// The step, by its wire name.
    pub kind: String,
    /// HTTP status.
    pub http_status: u16,
    /// The error, `None` for successes.
    pub error_code: Option<String>,
    /// How many there are, at least one.
    pub entries: u64,
}

/// Queue and cache at a glance.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overview {
    /// The queue, ordered by step and status.
    pub queue: Vec<QueueDepth>,
    /// The cache, ordered by step, status and error.
    pub entries: Vec<EntryCount>,
    /// Datasets with a record.
    pub datasets: u64,
}

/// What a process with workers says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerReport {
    /// Names the process, never used by another one; letters, digits and `-`.
    pub id: String,
    /// The machine's name.
    pub host: String,
    /// The process's number there.
    pub pid: u32,
    /// The queues that it takes from.
    pub queues: Vec<Queue>,
    /// Jobs that it runs at the same time.
    pub workers: u32,
    /// When it started.
    pub started_at: TimestampMs,
    /// What it runs now, at most [`outpost_model::limits::WORKER_JOBS_REPORTED_MAX`], as `kind,dataset[,config[,split]]`.
    pub jobs: Vec<String>,
}

/// A process with workers, and when it was last heard of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisteredWorker {
    /// Its last report.
    pub report: WorkerReport,
    /// When that came.
    pub seen_at: TimestampMs,
}

/// The operators' view of an authority.
#[async_trait]
pub trait Operations: Send + Sync + 'static {
    /// Counts of queue and cache. May cost as much as there are live jobs.
    async fn overview(&self) -> Result<Overview, StorageError>;

    /// Live jobs in the order of their creation, after a cursor, at most `limit` and
    /// [`outpost_model::limits::LISTING_PAGE_MAX`]. [`StorageError::InvalidCursor`] for one that no listing made.
    async fn jobs(
        &self,
        filter: &JobFilter,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<LiveJob>, StorageError>;

    /// Entries in an order of the store's own, after a cursor, at most `limit` and
    /// [`outpost_model::limits::LISTING_PAGE_MAX`], and no more once their details and bodies reach
    /// [`outpost_model::limits::LISTING_BYTES_MAX`]. An entry that is there all the while is listed exactly once.
    /// Those that cannot be read are left out. [`StorageError::InvalidCursor`] for one that no listing made.
    async fn reports(
        &self,
        filter: &ReportFilter,
        depth: ReportDepth,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<EntryReport>, StorageError>;

    /// Says that a process with workers is there; replaces its last report.
    async fn report_worker(&self, report: &WorkerReport, now: TimestampMs) -> Result<(), StorageError>;

    /// Says that a process with workers ends; nothing happens when it is not known.
    async fn retire_worker(&self, id: &str) -> Result<(), StorageError>;

    /// Processes with workers that were heard of within [`outpost_model::limits::WORKER_FORGOTTEN_MS`], ordered by start
    /// and id, at most [`outpost_model::limits::WORKERS_LISTED_MAX`].
    async fn workers(&self, now: TimestampMs) -> Result<Vec<RegisteredWorker>, StorageError>;

    /// Datasets whose jobs wait because they used more than their budget (worker-and-store.md section 2.5), in order, at
    /// most [`outpost_model::limits::LISTING_PAGE_MAX`].
    async fn blocked(&self, now: TimestampMs) -> Result<Vec<String>, StorageError>;
}
