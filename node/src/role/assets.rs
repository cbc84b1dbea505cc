//! The life of assets on a node that serves: they go when their entries go, and are read through from time to time.
//!
//! Owns when that happens: deletions soon after a change, a sweep of what jobs, fetches and crashes left behind at the
//! start and every two hours, a scrub once a day. What is lost to damage is computed again at a primary, together with
//! what is not there at the start, and fetched again at a replica. What fails is logged and comes round again.

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
    fn until(self, mirror: &dyn Mirror, now: TimestampMs) -> Option<TimestampMs> {
        let position = match self {
            Self::Complete => return Some(now),
            Self::UpToPosition => mirror.position().seq,
            Self::Copied => {
                let known = now.0.saturating_sub(limits::ASSET_CLOCKS_APART_MS_MAX);
                return (mirror.position().seq > 0).then_some(TimestampMs(known));
            }
        };
        let known = TimestampMs((position >> 32) * 1_000);
        let known = TimestampMs(known.0.saturating_sub(limits::ASSET_CLOCKS_APART_MS_MAX));
        (position > 0).then_some(known.min(now))
    }
}

/// How assets come back that are damaged or missing.
#[derive(Clone)]
pub enum Remedy {
    /// This computes their datasets again.
    Compute(Arc<dyn Authority>),
    /// They are fetched when they are read.
    Fetch,
}

/// Runs for ever.
pub async fn run_loops(
    store: Arc<dyn AssetStore>,
    mirror: Arc<dyn Mirror>,
    remedy: Remedy,
    knowledge: Knowledge,
) {
    let follow = follow_loop(Arc::clone(&store), Arc::clone(&mirror), knowledge);
    tokio::join!(follow, care_loop(store, mirror, remedy, knowledge));
}

/// Follows the changes of the mirror; runs until it is gone.
async fn follow_loop(store: Arc<dyn AssetStore>, mirror: Arc<dyn Mirror>, knowledge: Knowledge) {
    let mut changes = mirror.watch();
    loop {
        changes.borrow_and_update();
        let (store, mirror) = (Arc::clone(&store), Arc::clone(&mirror));
        let followed = blocking(move || match knowledge.until(&*mirror, clock::now()) {
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
async fn care_loop(
    store: Arc<dyn AssetStore>,
    mirror: Arc<dyn Mirror>,
    remedy: Remedy,
    knowledge: Knowledge,
) {
    let mut period = tokio::time::interval(Duration::from_millis(limits::ASSET_ORPHAN_AGE_MS_MIN));
    period.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first tick is now.
    period.tick().await;
    look_for_missing(&store, &mirror, &remedy).await;
    sweep(&store, &mirror, knowledge, clock::now()).await;
    let mut last_scrub = Instant::now();
    loop {
        period.tick().await;
        sweep(&store, &mirror, knowledge, clock::now()).await;
        if last_scrub.elapsed() < Duration::from_millis(limits::SCRUB_PERIOD_MS) {
            continue;
        }
        last_scrub = Instant::now();
        let scrubbed = Arc::clone(&store);
        match blocking(move || scrubbed.scrub()).await {
            Ok(report) => {
                tracing::info!(?report, "scrubbed the assets, {} files", report.contents_checked);
                bring_back(&remedy, &report.rows_damaged).await;
            }
            Err(error) => tracing::error!(%error, "failed to scrub the assets, trying again later"),
        }
        look_for_missing(&store, &mirror, &remedy).await;
    }
}

/// Deletes what no entry refers to and no job or fetch can be about to refer to.
async fn sweep(
    store: &Arc<dyn AssetStore>,
    mirror: &Arc<dyn Mirror>,
    knowledge: Knowledge,
    now: TimestampMs,
) {
    let (store, mirror) = (Arc::clone(store), Arc::clone(mirror));
    let swept = blocking(move || match knowledge.until(&*mirror, now) {
        Some(until) => assets::sweep(&*store, &*mirror, until),
        None => Ok(0),
    });
    match swept.await {
        Ok(deleted) => tracing::info!(deleted, "swept the assets, {deleted} belonged to no row"),
        Err(error) => tracing::error!(%error, "failed to sweep the assets, trying again later"),
    }
}

/// What is missing at a replica is not here yet, or gave way.
async fn look_for_missing(store: &Arc<dyn AssetStore>, mirror: &Arc<dyn Mirror>, remedy: &Remedy) {
    let Remedy::Compute(authority) = remedy else { return };
    match missing_assets::find(store, mirror, &**authority).await {
        Ok(missing) => bring_back(remedy, &missing).await,
        Err(error) => tracing::error!(%error, "failed to look for missing assets, trying again later"),
    }
}

async fn bring_back(remedy: &Remedy, damaged: &[AssetSplit]) {
    match remedy {
        Remedy::Compute(authority) => compute_again(&**authority, damaged).await,
        Remedy::Fetch if !damaged.is_empty() => {
            tracing::warn!(
                splits = damaged.len(),
                "assets were damaged, they are fetched again when they are read"
            );
        }
        Remedy::Fetch => {}
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
    use outpost_model::{ArtifactKey, AssetPath, Epoch, Position, StepKind};
    use outpost_storage::mirror_store::{EntryPut, MirrorBatch, MirrorChange, MirrorWrite, PackedBody};
    use outpost_storage::{EmbeddedStore, FolderAssets, MirrorStore};

    use super::*;
    use crate::testing::rows;

    #[test]
    fn a_mirror_that_was_never_filled_knows_of_no_left_asset() {
        let directory = tempfile::tempdir().unwrap();
        let mirror = MirrorStore::open(&directory.path().join("mirror")).unwrap();
        let now = clock::now();
        for knowledge in [Knowledge::UpToPosition, Knowledge::Copied] {
            assert_eq!(knowledge.until(&mirror, now), None);
        }
        let store = EmbeddedStore::open(&directory.path().join("store")).unwrap();
        assert_eq!(Knowledge::Complete.until(&store, now), Some(now));
    }

    /// The first rows of a split, as a replica hears of them.
    fn heard(rows: &AssetSplit) -> MirrorBatch {
        let names = (Some(rows.config.clone()), Some(rows.split.clone()));
        let put = EntryPut {
            key: ArtifactKey::new(StepKind::SplitFirstRows, rows.dataset.clone(), names.0, names.1).unwrap(),
            http_status: 200,
            error_code: None,
            revision: rows.revision.clone(),
            updated_at: TimestampMs(1),
            version: [1; 32],
            body: PackedBody::pack(b"{}").unwrap(),
            source: None,
        };
        let changes = vec![MirrorChange { seq: 1, write: MirrorWrite::PutEntry(Box::new(put)) }];
        MirrorBatch { epoch: Epoch(7), changes, reached: Some(1), cursor: None, left: Vec::new() }
    }

    #[tokio::test]
    async fn what_no_entry_of_a_replica_refers_to_goes_once_it_is_old() {
        let directory = tempfile::tempdir().unwrap();
        let mirror = MirrorStore::open(&directory.path().join("mirror")).unwrap();
        mirror.apply(heard(&rows("heard"))).unwrap();
        mirror.flushed().await.unwrap();
        assert_eq!(mirror.position(), Position { epoch: Epoch(7), seq: 1 });
        let store = FolderAssets::open(&directory.path().join("assets")).unwrap();
        let paths = ["heard", "left"].map(|split| AssetPath::new(rows(split), 0, "image", "a.png").unwrap());
        for path in &paths {
            store.put(path, "image/png", path.to_string().as_bytes()).unwrap();
        }
        let there = |store: &FolderAssets| paths.clone().map(|path| store.open(&path).unwrap().is_some());
        let shared: (Arc<dyn AssetStore>, Arc<dyn Mirror>) = (Arc::new(store.clone()), Arc::new(mirror));
        let sweep_at = |now| sweep(&shared.0, &shared.1, Knowledge::Copied, now);
        sweep_at(clock::now()).await;
        assert_eq!(there(&store), [true, true]);
        let later = limits::ASSET_ORPHAN_AGE_MS_MIN + 2 * limits::ASSET_CLOCKS_APART_MS_MAX;
        sweep_at(TimestampMs(clock::now().0 + later)).await;
        assert_eq!(there(&store), [true, false]);
    }
}
