//! Maintenance: what changes without an event.
//!
//! Owns two walks over the known datasets: visibilities that were last confirmed too long ago are asked for again,
//! and missing, obsolete or retryable work is planned. A dataset that fails is logged and comes round again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::StreamExt;
use outpost_model::planning::Event;
use outpost_model::{DatasetName, DatasetRecord, limits};
use outpost_storage::StorageError;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::clock;
use crate::config::HubSource;
use crate::http::routes::admin::BackfillRequest;
use crate::intake::{Cause, Intake};

const LOOKUPS_AT_ONCE: usize = 8;

/// What is asked of the Hub by the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checks {
    /// Visibilities: a remote Hub may change them, and a webhook may be lost.
    Visibility,
    /// Nothing: a folder is watched.
    Nothing,
}

impl Checks {
    /// The checks that a Hub needs.
    #[must_use]
    pub fn of(hub: &HubSource) -> Self {
        match hub {
            HubSource::Endpoint(_) => Self::Visibility,
            HubSource::Folder(_) => Self::Nothing,
        }
    }
}

/// Runs for ever. Walks over all datasets for missing work also when `requests` says so.
pub async fn run_loop(intake: Arc<Intake>, checks: Checks, mut requests: mpsc::Receiver<BackfillRequest>) {
    let mut period = tokio::time::interval(Duration::from_millis(limits::MAINTENANCE_PERIOD_MS));
    period.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut last_retries = Instant::now();
    let mut is_first = true;
    loop {
        tokio::select! {
            _ = period.tick() => {}
            Some(request) = requests.recv() => {
                log_failure("plan missing work", backfill(&intake, request.retry_errors).await);
                continue;
            }
        }
        if checks == Checks::Visibility {
            log_failure("refresh visibilities", refresh_old(&intake).await);
        }
        let retry_errors = last_retries.elapsed() >= Duration::from_millis(limits::STORED_ERROR_RETRY_MS);
        if is_first || retry_errors {
            log_failure("plan missing work", backfill(&intake, retry_errors).await);
            is_first = false;
        }
        if retry_errors {
            last_retries = Instant::now();
        }
    }
}

fn log_failure(what: &str, result: Result<(), StorageError>) {
    if let Err(error) = result {
        tracing::error!(%error, "failed to {what}, maintenance tries again later");
    }
}

async fn refresh_old(intake: &Intake) -> Result<(), StorageError> {
    let mut cursor = None;
    let failures = AtomicUsize::new(0);
    let gave_up = || failures.load(Ordering::Relaxed) >= limits::MAINTENANCE_FAILURES_MAX;
    while let Some(page) = next_page(intake, &mut cursor).await? {
        if gave_up() {
            tracing::warn!("too many lookups failed, visibilities are refreshed later");
            return Ok(());
        }
        let now = clock::now();
        let old =
            page.into_iter().filter(|record| now.since_ms(record.checked_at) > limits::VISIBILITY_AGE_MS_MAX);
        let refresh = async |record: DatasetRecord| {
            if gave_up() {
                return;
            }
            let dataset = &record.dataset;
            if let Err(error) = intake.refresh(dataset, Cause::Maintenance).await {
                failures.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(dataset = %dataset, %error, "failed to refresh dataset {dataset}");
            }
        };
        futures::stream::iter(old).for_each_concurrent(LOOKUPS_AT_ONCE, refresh).await;
    }
    Ok(())
}

async fn backfill(intake: &Intake, retry_errors: bool) -> Result<(), StorageError> {
    let mut cursor = None;
    let mut jobs_created = 0;
    while let Some(page) = next_page(intake, &mut cursor).await? {
        for record in page {
            let event = Event::Backfill { retry_errors };
            jobs_created +=
                intake.authority().submit(&record.dataset, &event, clock::now()).await?.jobs_created;
        }
    }
    if jobs_created > 0 {
        tracing::info!(jobs_created, "maintenance planned {jobs_created} jobs");
    }
    Ok(())
}

/// The datasets after the cursor, `None` at the end.
async fn next_page(
    intake: &Intake,
    cursor: &mut Option<DatasetName>,
) -> Result<Option<Vec<DatasetRecord>>, StorageError> {
    let page = intake.authority().datasets(cursor.as_ref(), limits::MAINTENANCE_PAGE).await?;
    *cursor = page.last().map(|record| record.dataset.clone());
    Ok((!page.is_empty()).then_some(page))
}
