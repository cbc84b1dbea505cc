//! `cacheTotalMetric` and `jobTotalMetric`: what changed, gathered per process and added each second.
//!
//! Owns no promise: the documents are hot, so they are kept out of transactions, and a process that is killed loses
//! its last second. dataset-viewer recomputes the totals by cron; ours are counted when they are asked for.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mongodb::bson::{Bson, Document, doc};
use outpost_model::{StepKind, limits};

use super::{Inner, names};

/// Changes of the totals.
#[derive(Debug, Default)]
pub(super) struct Counts {
    entries: HashMap<(String, i32, Option<String>), i64>,
    jobs: HashMap<(StepKind, &'static str), i64>,
}

impl Counts {
    /// Entries of this kind, status and error code came or went.
    pub(super) fn entry(&mut self, kind: &str, http_status: i32, error_code: Option<String>, by: i64) {
        *self.entries.entry((kind.to_owned(), http_status, error_code)).or_default() += by;
    }

    /// Jobs of this kind and status came or went.
    pub(super) fn job(&mut self, kind: StepKind, status: &'static str, by: i64) {
        *self.jobs.entry((kind, status)).or_default() += by;
    }

    pub(super) fn merge(&mut self, other: Self) {
        for (key, by) in other.entries {
            *self.entries.entry(key).or_default() += by;
        }
        for (key, by) in other.jobs {
            *self.jobs.entry(key).or_default() += by;
        }
    }
}

/// What is not yet in the database.
#[derive(Default)]
pub(super) struct Metrics(Mutex<Counts>);

impl Metrics {
    pub(super) fn add(&self, counts: Counts) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).merge(counts);
    }

    fn take(&self) -> Counts {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Adds what was counted each second, as long as the store is in use.
pub(super) fn spawn(inner: &Arc<Inner>) {
    let inner = Arc::downgrade(inner);
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_millis(limits::MONGO_METRICS_PERIOD_MS)).await;
            let Some(inner) = inner.upgrade() else { return };
            inner.write_metrics().await;
        }
    });
}

impl Inner {
    /// Adds what was counted to the totals. What cannot be added is kept for the next time.
    pub(super) async fn write_metrics(&self) {
        let mut failed = Counts::default();
        let counts = self.metrics.take();
        for ((kind, http_status, error_code), by) in counts.entries {
            let code = error_code.clone().map_or(Bson::Null, Bson::String);
            let key = doc! {"kind": &kind, "http_status": http_status, "error_code": code};
            if !self.increment(&self.cache.collection(names::CACHE_METRICS), key, by).await {
                failed.entry(&kind, http_status, error_code, by);
            }
        }
        for ((kind, status), by) in counts.jobs {
            let key = doc! {"job_type": kind.as_str(), "status": status, "dataset_status": "normal"};
            if !self.increment(&self.queue.collection(names::JOB_METRICS), key, by).await {
                failed.job(kind, status, by);
            }
        }
        self.metrics.add(failed);
    }

    async fn increment(&self, totals: &mongodb::Collection<Document>, key: Document, by: i64) -> bool {
        if by == 0 {
            return true;
        }
        let by = i32::try_from(by).map_or(Bson::Int64(by), Bson::Int32);
        let added = totals.update_one(key, doc! {"$inc": {"total": by}}).upsert(true).await;
        added.inspect_err(|error| tracing::warn!(%error, "failed to add to the metrics: {error}")).is_ok()
    }
}
