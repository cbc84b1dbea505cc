//! Budgets: `pastJobs` and `datasetBlockages` (worker-and-store.md sections 1.4 and 2.5).
//!
//! Owns counting of runs and the list of blocked datasets, which is read again when it is older than a second. Counting
//! is not part of the transaction that ends a job: when it fails, the run is not counted, and the failure is logged.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use mongodb::bson::{Document, doc};
use outpost_model::{DatasetName, TimestampMs, budget, limits};

use super::documents::fields::{self, to_date};
use super::documents::job::StoredJob;
use super::state::find;
use super::{Inner, names};

/// Blocked datasets as last read: name and since when.
#[derive(Default)]
pub(super) struct Blocked(Mutex<Option<Seen>>);

struct Seen {
    at: Instant,
    datasets: Vec<(String, TimestampMs)>,
}

impl Blocked {
    fn fresh(&self) -> Option<Vec<(String, TimestampMs)>> {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = seen.as_ref()?;
        let is_fresh = seen.at.elapsed() < Duration::from_millis(limits::MONGO_BLOCKED_AGE_MS_MAX);
        is_fresh.then(|| seen.datasets.clone())
    }

    fn keep(&self, datasets: Vec<(String, TimestampMs)>) {
        let seen = Seen { at: Instant::now(), datasets };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(seen);
    }

    fn forget(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl Inner {
    /// Datasets whose jobs wait because they used more than their budget.
    pub(super) async fn blocked_datasets(
        &self,
        now: TimestampMs,
    ) -> Result<Vec<String>, mongodb::error::Error> {
        let datasets = match self.blocked.fresh() {
            Some(datasets) => datasets,
            None => self.read_blocked().await?,
        };
        let is_blocked = |since: TimestampMs| now < since.plus_ms(limits::BLOCKAGE_MS);
        let mut names: Vec<String> =
            datasets.into_iter().filter(|(_, since)| is_blocked(*since)).map(|(name, _)| name).collect();
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }

    async fn read_blocked(&self) -> Result<Vec<(String, TimestampMs)>, mongodb::error::Error> {
        let found = find(&self.queue.collection(names::BLOCKAGES), doc! {}, None, None).await?;
        let read = |document: &Document| {
            let name = fields::text(document, "dataset").ok()??.to_owned();
            Some((name, fields::date(document, "blocked_at").ok()??))
        };
        let datasets: Vec<_> = found.iter().filter_map(read).collect();
        self.blocked.keep(datasets.clone());
        Ok(datasets)
    }

    /// Counts the run of a job that ended, and blocks its dataset when that was more than its budget.
    pub(super) async fn count_run(&self, job: &StoredJob, now: TimestampMs) {
        let started_at = job.started_at.unwrap_or(now);
        let Some(seconds) = budget::counted_seconds(now.since_ms(started_at)) else { return };
        let dataset = job.key.dataset();
        if let Err(error) = self.count_seconds(dataset, seconds, now).await {
            tracing::warn!(%dataset, %error, "failed to count a run against the dataset's budget");
        }
    }

    async fn count_seconds(
        &self,
        dataset: &DatasetName,
        seconds: u64,
        now: TimestampMs,
    ) -> Result<(), mongodb::error::Error> {
        let past = self.queue.collection::<Document>(names::PAST_JOBS);
        let duration = i32::try_from(seconds).unwrap_or(i32::MAX);
        past.insert_one(
            doc! {"dataset": dataset.as_str(), "duration": duration, "finished_at": to_date(now)},
        )
        .await?;
        let window = to_date(TimestampMs(now.0.saturating_sub(limits::BUDGET_WINDOW_MS)));
        let in_window = doc! {"dataset": dataset.as_str(), "finished_at": {"$gt": window}};
        let runs = find(&past, in_window, Some(doc! {"duration": 1}), None).await?;
        let used: u64 =
            runs.iter().filter_map(|run| fields::integer::<u64>(run, "duration").ok().flatten()).sum();
        let is_blocked = self.blocked_datasets(now).await?.iter().any(|name| name == dataset.as_str());
        if is_blocked || !budget::is_exceeded(dataset, seconds, used) {
            return Ok(());
        }
        tracing::warn!(%dataset, used_s = used, "a dataset used more than its budget and waits");
        let blockage = doc! {"dataset": dataset.as_str(), "blocked_at": to_date(now)};
        self.queue.collection::<Document>(names::BLOCKAGES).insert_one(blockage).await?;
        self.blocked.forget();
        Ok(())
    }
}
