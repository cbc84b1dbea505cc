//! `cacheTotalMetric` and `jobTotalMetric`: what changed, gathered per process and added each second.
//!
//! Owns no promise: the documents are hot, so they are kept out of transactions, and a process that is killed loses
//! its last second. dataset-viewer recomputes the totals by cron; ours are counted when they are asked for.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mongodb::Database;
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
        let Counts { mut entries, mut jobs } = self.metrics.take();
        let entry_key = |(kind, http_status, error_code): &(String, i32, Option<String>)| {
            let code = error_code.clone().map_or(Bson::Null, Bson::String);
            doc! {"kind": kind, "http_status": http_status, "error_code": code}
        };
        let job_key = |(kind, status): &(StepKind, &'static str)| {
            doc! {"job_type": kind.as_str(), "status": *status, "dataset_status": "normal"}
        };
        add_to(&self.cache, names::CACHE_METRICS, &mut entries, entry_key).await;
        add_to(&self.queue, names::JOB_METRICS, &mut jobs, job_key).await;
        self.metrics.add(Counts { entries, jobs });
    }
}

/// Adds all to the totals in one command; what could not be added is left in `counts`.
async fn add_to<K: Clone + Eq + Hash>(
    database: &Database,
    totals: &str,
    counts: &mut HashMap<K, i64>,
    key: impl Fn(&K) -> Document,
) {
    counts.retain(|_, by| *by != 0);
    if counts.is_empty() {
        return;
    }
    let keys: Vec<K> = counts.keys().cloned().collect();
    let add = |name: &K| {
        let by = i32::try_from(counts[name]).map_or(Bson::Int64(counts[name]), Bson::Int32);
        doc! {"q": key(name), "u": {"$inc": {"total": by}}, "upsert": true}
    };
    let updates: Vec<Document> = keys.iter().map(add).collect();
    let command = doc! {"update": totals, "updates": updates, "ordered": false, "writeConcern": {"w": 1}};
    match database.run_command(command).await {
        Ok(reply) => {
            let errors = reply.get_array("writeErrors").map_or(&[][..], Vec::as_slice);
            if !errors.is_empty() {
                tracing::warn!(?errors, "failed to add to some of {totals}");
            }
            let index = |error: &Bson| usize::try_from(error.as_document()?.get_i32("index").ok()?).ok();
            let failed: HashSet<usize> = errors.iter().filter_map(index).collect();
            for (_, added) in keys.iter().enumerate().filter(|(at, _)| !failed.contains(at)) {
                counts.remove(added);
            }
        }
        Err(error) => tracing::warn!(%error, "failed to add to {totals}: {error}"),
    }
}
