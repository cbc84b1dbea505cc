//! MongoDB as the authority: dataset-viewer's collections, shared by any number of processes.
//!
//! Owns the way from the rules of [`crate::Authority`] to documents and transactions (worker-and-store.md sections 1
//! and 2, design section 5). Its collections keep exactly dataset-viewer's fields; what we need beyond is in collections
//! whose names begin with `outpost`. What is acknowledged to somebody outside (a webhook, a command) waits for a majority and
//! its journals, and readers see only what a majority has. Claims and ends of jobs wait for the member that takes them:
//! an end is one transaction with the job itself, so one that is lost with that member leaves the job to run again. A
//! failed call says what the database said; nothing is tried without bound.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use mongodb::bson::{Document, doc};
use mongodb::options::ReadConcern;
use mongodb::{Client, ClientSession, Collection, Database};
use outpost_model::{DatasetName, Epoch, JobId, Position};
use tokio::sync::Notify;

mod authority;
mod budget;
mod children;
mod claim;
mod connect;
mod documents;
mod errors;
pub mod feed;
mod finish;
mod guards;
mod indexes;
mod leases;
mod lookahead;
mod metrics;
mod operations;
mod state;
mod stats;
mod submit;
mod transaction;
mod webhooks;
mod write;

#[cfg(test)]
mod tests;

pub use connect::{MongoConfig, OpenError};
pub use feed::MongoFeed;

use crate::error::StorageError;
use errors::storage_error;

/// A handle to the authority in MongoDB; clones share its connections.
#[derive(Clone)]
pub struct MongoStore {
    inner: Arc<Inner>,
}

/// What the handles share.
struct Inner {
    client: Client,
    cache: Database,
    queue: Database,
    epoch: Epoch,
    /// The latest cluster time that an acknowledged call saw.
    seq: AtomicU64,
    /// Told of jobs that this process created or gave back.
    work: Notify,
    guards: guards::Guards,
    blocked: budget::Blocked,
    metrics: metrics::Metrics,
    /// Token and dataset of the jobs that this process runs, so that their ends take turns.
    running: Mutex<HashMap<JobId, (u64, DatasetName)>>,
    misfits: claim::MisfitJobs,
    lookahead: lookahead::Lookahead,
}

impl MongoStore {
    /// Connects, checks that the server can be the authority, and creates what is missing.
    ///
    /// # Errors
    /// [`OpenError`], which says what to do.
    pub async fn open(config: &MongoConfig) -> Result<Self, OpenError> {
        let opened = connect::open(config).await?;
        let store = Self {
            inner: Arc::new(Inner {
                client: opened.client,
                cache: opened.cache,
                queue: opened.queue,
                epoch: opened.epoch,
                seq: AtomicU64::new(0),
                work: Notify::new(),
                guards: guards::Guards::default(),
                blocked: budget::Blocked::default(),
                metrics: metrics::Metrics::default(),
                running: Mutex::default(),
                misfits: claim::MisfitJobs::default(),
                lookahead: lookahead::Lookahead::default(),
            }),
        };
        metrics::spawn(&store.inner);
        Ok(store)
    }

    /// Writes the metrics that are counted but not yet added to the database; for an orderly end.
    pub async fn flush_metrics(&self) {
        self.inner.write_metrics().await;
    }
}

impl Inner {
    fn responses(&self) -> Collection<Document> {
        self.cache.collection(documents::response::COLLECTION)
    }

    fn datasets(&self) -> Collection<Document> {
        self.cache.collection(names::DATASETS)
    }

    fn jobs(&self) -> Collection<Document> {
        self.queue.collection(names::JOBS)
    }

    fn attempts(&self) -> Collection<Document> {
        self.queue.collection(names::ATTEMPTS)
    }

    /// Takes the cluster time of the last call of a session into the position.
    fn note_operation_time(&self, session: &ClientSession) -> u64 {
        let seq =
            session.operation_time().map_or(0, |time| u64::from(time.time) << 32 | u64::from(time.increment));
        self.seq.fetch_max(seq, Ordering::AcqRel).max(seq)
    }

    fn position_at(&self, seq: u64) -> Position {
        Position { epoch: self.epoch, seq }
    }

    /// A position that contains everything acknowledged so far, by whichever process.
    async fn current_position(&self) -> Result<Position, StorageError> {
        let mut session = self.client.start_session().await.map_err(storage_error)?;
        let meta = self.cache.collection::<Document>(names::META);
        let find = meta.find_one(doc! {"_id": "epoch"}).read_concern(ReadConcern::majority());
        find.session(&mut session).await.map_err(storage_error)?;
        let seq = self.note_operation_time(&session);
        Ok(self.position_at(seq))
    }

    fn running(&self) -> std::sync::MutexGuard<'_, HashMap<JobId, (u64, DatasetName)>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Collections beside `cachedResponsesBlue`.
mod names {
    /// Cache database: totals per kind, status and error code.
    pub(super) const CACHE_METRICS: &str = "cacheTotalMetric";
    /// Cache database, ours: records and guards.
    pub(super) const DATASETS: &str = "outpostDatasets";
    /// Cache database, ours: the epoch.
    pub(super) const META: &str = "outpostMeta";
    /// Queue database: the jobs.
    pub(super) const JOBS: &str = "jobsBlue";
    /// Queue database: totals per type and status.
    pub(super) const JOB_METRICS: &str = "jobTotalMetric";
    /// Queue database: runs that count against budgets.
    pub(super) const PAST_JOBS: &str = "pastJobs";
    /// Queue database: datasets over their budget.
    pub(super) const BLOCKAGES: &str = "datasetBlockages";
    /// Queue database: dataset-viewer's locks, which we never hold.
    pub(super) const LOCKS: &str = "locks";
    /// Queue database: waiting jobs per size of worker.
    pub(super) const WORKER_COUNTS: &str = "workerTypeJobCounts";
    /// Queue database, ours: failed runs of jobs that wait again.
    pub(super) const ATTEMPTS: &str = "outpostAttempts";
    /// Queue database, ours: relayed webhooks that were applied.
    pub(super) const WEBHOOKS: &str = "outpostWebhooks";
    /// Queue database, ours: the processes with workers.
    pub(super) const WORKERS: &str = "outpostWorkers";
}
