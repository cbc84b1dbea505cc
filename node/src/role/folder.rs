//! A folder that stands in for the Hub: its changes become events.
//!
//! Owns the first look, which also forgets what the folder no longer has, and the watch that follows. A look that
//! fails is repeated with growing pauses; what is served stays served meanwhile.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use outpost_hub::{DatasetHead, Hub, HubError};
use outpost_model::{DatasetName, limits};
use outpost_storage::StorageError;

use super::progress::Progress;
use crate::intake::{Cause, Intake};

const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);
const DATASETS_AT_ONCE: usize = 4;

/// Runs for ever.
pub async fn watch_loop(hub: Arc<dyn Hub>, intake: Arc<Intake>, progress: Arc<Progress>, public_url: String) {
    let first = next_changes(&*hub).await;
    let datasets: Vec<DatasetName> = first.iter().map(|head| head.dataset.clone()).collect();
    tracing::info!(datasets = datasets.len(), "found {} datasets in {}", datasets.len(), hub.describe());
    if let Err(error) = forget_others(&intake, &datasets).await {
        tracing::error!(%error, "failed to forget datasets that the folder no longer has");
    }
    progress.expect(datasets);
    let watching = async {
        take_all(&intake, first).await;
        progress.all_submitted();
        loop {
            take_all(&intake, next_changes(&*hub).await).await;
        }
    };
    tokio::join!(watching, progress.report_loop(&intake, &public_url));
}

/// The next changes, however often looking fails.
async fn next_changes(hub: &dyn Hub) -> Vec<DatasetHead> {
    let mut pause = PAUSE_MIN;
    loop {
        let error: HubError = match hub.changes().await {
            Ok(changes) => return changes,
            Err(error) => error,
        };
        tracing::warn!(%error, pause_s = pause.as_secs(), "failed to look for changes in the folder");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

async fn take_all(intake: &Intake, heads: Vec<DatasetHead>) {
    futures::stream::iter(heads).for_each_concurrent(DATASETS_AT_ONCE, |head| take(intake, head)).await;
}

async fn take(intake: &Intake, head: DatasetHead) {
    let DatasetHead { dataset, revision } = head;
    let failure = match revision {
        Some(_) => intake.refresh(&dataset, Cause::News).await.err().map(|error| error.to_string()),
        None => intake.remove(&dataset).await.err().map(|error| error.to_string()),
    };
    if let Some(error) = failure {
        tracing::error!(dataset = %dataset, error, "failed to take the change of dataset {dataset} in");
    }
}

/// Forgets the datasets that went away while the node was down. A folder without any is rather one that is not
/// mounted: then everything is kept.
async fn forget_others(intake: &Intake, present: &[DatasetName]) -> Result<(), StorageError> {
    if present.is_empty() {
        tracing::warn!("the folder has no datasets; what is stored is kept");
        return Ok(());
    }
    let present: HashSet<&DatasetName> = present.iter().collect();
    let mut cursor: Option<DatasetName> = None;
    loop {
        let page = intake.authority().datasets(cursor.as_ref(), limits::MAINTENANCE_PAGE).await?;
        let Some(last) = page.last() else { return Ok(()) };
        cursor = Some(last.dataset.clone());
        for record in page.iter().filter(|record| !present.contains(&record.dataset)) {
            intake.remove(&record.dataset).await?;
        }
    }
}
