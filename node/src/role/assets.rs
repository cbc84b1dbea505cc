//! The life of assets on a primary: they go when their entries go, and are read through from time to time.
//!
//! Owns when that happens: deletions soon after a change, a sweep of what jobs left behind every two hours, a scrub
//! once a day. Datasets that lose assets to damage, or whose assets are not there at the start, are computed again. What fails is logged and comes round again.

use std::sync::Arc;
use std::time::Duration;

use outpost_model::planning::Event;
use outpost_model::{AssetSplit, DatasetName, Priority, TimestampMs, limits};
use outpost_storage::{AssetStore, Authority, Mirror, StorageError, assets};
use tokio::time::{Instant, MissedTickBehavior};

use super::missing_assets;
use crate::clock;

const FOLLOW_PAUSE: Duration = Duration::from_millis(limits::FOLLOW_RETRY_MS);

/// Up to when a mirror has everything that its authority has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Knowledge {
    /// At any time: it is the authority.
    Complete,
    /// Up to its position, whose seq is a database's time in seconds and a counter; 0 before it was filled at all. What
    /// a worker has put since then looks left to it.
    UpToPosition,
    /// A copy: what was fetched a moment ago may be of rows that are still on their way.
    Copied,
}

impl Knowledge {
    /// Assets put before this moment and without an entry in the mirror are left ones; `None` when nothing is known yet.
    fn until(self, mirror: &dyn Mirror) -> Option<TimestampMs> {
        let position = match self {
            Self::Complete => return Some(clock::now()),
            Self::UpToPosition => mirror.position().seq,
            Self::Copied => {
                let known = clock::now().0.saturating_sub(limits::ASSET_CLOCKS_APART_MS_MAX);
                return (mirror.position().seq > 0).then_some(TimestampMs(known));
            }
        };
        let known = TimestampMs((position >> 32) * 1_000);
        let known = TimestampMs(known.0.saturating_sub(limits::ASSET_CLOCKS_APART_MS_MAX));
        (position > 0).then_some(known.min(clock::now()))
    }
}

/// Runs for ever.
pub async fn run_loops(
    store: Arc<dyn AssetStore>,
    mirror: Arc<dyn Mirror>,
    authority: Arc<dyn Authority>,
    knowledge: Knowledge,
) {
    let follow = follow_loop(Arc::clone(&store), Arc::clone(&mirror), knowledge);
    tokio::join!(follow, scrub_loop(store, mirror, authority, knowledge));
}

/// Follows the changes of the mirror; runs until it is gone.
pub async fn follow_loop(store: Arc<dyn AssetStore>, mirror: Arc<dyn Mirror>, knowledge: Knowledge) {
    let mut changes = mirror.watch();
    loop {
        changes.borrow_and_update();
        let (store, mirror) = (Arc::clone(&store), Arc::clone(&mirror));
        let followed = blocking(move || match knowledge.until(&*mirror) {
            Some(until) => assets::follow(&*store, &*mirror, until),
            None => Ok(0),
        });
        let followed = followed.await;
        match followed {
            Ok(0) => {}
            Ok(deleted) => tracing::debug!(deleted, "deleted {deleted} assets whose rows are gone"),
            Err(error) => {
                tracing::error!(%error, "failed to delete assets whose rows are gone, trying again");
            }
        }
        // Several changes cost one look.
        tokio::time::sleep(FOLLOW_PAUSE).await;
        if changes.changed().await.is_err() {
            return;
        }
    }
}

/// Sweeps and scrubs for ever.
async fn scrub_loop(
    store: Arc<dyn AssetStore>,
    mirror: Arc<dyn Mirror>,
    authority: Arc<dyn Authority>,
    knowledge: Knowledge,
) {
    let mut period = tokio::time::interval(Duration::from_millis(limits::ASSET_ORPHAN_AGE_MS_MIN));
    period.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first tick is now.
    period.tick().await;
    look_for_missing(&store, &mirror, &*authority).await;
    let mut last_scrub = Instant::now();
    loop {
        period.tick().await;
        let (swept, seen) = (Arc::clone(&store), Arc::clone(&mirror));
        let sweep = move || match knowledge.until(&*seen) {
            Some(until) => assets::sweep(&*swept, &*seen, until),
            None => Ok(0),
        };
        match blocking(sweep).await {
            Ok(deleted) => tracing::info!(deleted, "swept the assets, {deleted} belonged to no row"),
            Err(error) => tracing::error!(%error, "failed to sweep the assets, trying again later"),
        }
        if last_scrub.elapsed() < Duration::from_millis(limits::SCRUB_PERIOD_MS) {
            continue;
        }
        last_scrub = Instant::now();
        let scrubbed = Arc::clone(&store);
        match blocking(move || scrubbed.scrub()).await {
            Ok(report) => {
                tracing::info!(?report, "scrubbed the assets, {} files", report.contents_checked);
                compute_again(&*authority, &report.rows_damaged).await;
            }
            Err(error) => tracing::error!(%error, "failed to scrub the assets, trying again later"),
        }
        look_for_missing(&store, &mirror, &*authority).await;
    }
}

async fn look_for_missing(store: &Arc<dyn AssetStore>, mirror: &Arc<dyn Mirror>, authority: &dyn Authority) {
    match missing_assets::find(store, mirror, authority).await {
        Ok(missing) => compute_again(authority, &missing).await,
        Err(error) => tracing::error!(%error, "failed to look for missing assets, trying again later"),
    }
}

/// Starts over with every dataset that lost assets.
async fn compute_again(authority: &dyn Authority, damaged: &[AssetSplit]) {
    let mut datasets: Vec<&DatasetName> = damaged.iter().map(|rows| &rows.dataset).collect();
    datasets.dedup();
    for dataset in datasets {
        let submitted = async {
            let Some(record) = authority.dataset(dataset).await? else { return Ok(()) };
            let (revision, visibility) = (record.revision, record.visibility);
            let event = Event::Revision { revision, visibility, priority: Priority::Low, force: true };
            authority.submit(dataset, &event, clock::now()).await.map(|_| ())
        };
        match submitted.await {
            Ok(()) => {
                tracing::warn!(%dataset, "assets of {dataset} were damaged or missing, it is computed again");
            }
            Err(error) => {
                tracing::error!(%dataset, %error, "failed to start over with a dataset that lost assets");
            }
        }
    }
}

/// Runs what blocks aside.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StorageError> + Send + 'static,
) -> Result<T, StorageError> {
    let panicked = |error| StorageError::Engine(format!("the work on assets failed: {error}"));
    tokio::task::spawn_blocking(work).await.map_err(panicked)?
}

#[cfg(test)]
mod tests {
    use outpost_storage::{EmbeddedStore, MirrorStore};

    use super::*;

    #[test]
    fn a_mirror_that_was_never_filled_knows_of_no_left_asset() {
        let directory = tempfile::tempdir().unwrap();
        let mirror = MirrorStore::open(&directory.path().join("mirror")).unwrap();
        assert_eq!(Knowledge::UpToPosition.until(&mirror), None);
        let store = EmbeddedStore::open(&directory.path().join("store")).unwrap();
        assert!(Knowledge::Complete.until(&store).is_some());
    }
}
