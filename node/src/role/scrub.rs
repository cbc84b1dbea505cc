//! The scrub: reads the whole store in the background and repairs what is damaged.
//!
//! Owns when it runs: once a day, and soon after a reader met a damaged record. A scrub that fails is logged and comes
//! round again.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use outpost_model::{TimestampMs, limits};
use outpost_storage::mirror_store::MirrorScrubReport;
use outpost_storage::{EmbeddedStore, MirrorStore, StorageError};
use tokio::time::Instant;

use crate::clock;

/// Runs for ever.
pub async fn run_loop(store: EmbeddedStore) {
    let mut period = tokio::time::interval(Duration::from_millis(limits::MAINTENANCE_PERIOD_MS));
    period.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut last_scrub = Instant::now();
    let mut damage_seen = 0;
    loop {
        period.tick().await;
        let damage = store.damaged_records();
        let is_due = last_scrub.elapsed() >= Duration::from_millis(limits::SCRUB_PERIOD_MS);
        if damage == damage_seen && !is_due {
            continue;
        }
        last_scrub = Instant::now();
        damage_seen = damage;
        match store.scrub(clock::now()).await {
            Ok(report) => tracing::info!(?report, "scrubbed the store, {} entries", report.entries_checked),
            Err(error) => tracing::error!(%error, "failed to scrub the store, trying again later"),
        }
    }
}

/// What the last scrub of a mirror found, for operators.
#[derive(Debug, Default)]
pub struct LastScrub(Mutex<Option<(TimestampMs, MirrorScrubReport)>>);

impl LastScrub {
    /// When it ended and what it found; `None` before the first.
    #[must_use]
    pub fn get(&self) -> Option<(TimestampMs, MirrorScrubReport)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, report: MirrorScrubReport) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((clock::now(), report));
    }
}

/// Runs for ever, for a mirror that a feed fills: what is damaged is fetched again by the feed.
pub async fn run_mirror_loop(mirror: MirrorStore, last: Arc<LastScrub>) {
    let mut period = tokio::time::interval(Duration::from_millis(limits::SCRUB_PERIOD_MS));
    period.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    // The first tick is now, and an opened mirror has been looked at.
    period.tick().await;
    loop {
        period.tick().await;
        let scrubbed = mirror.clone();
        let scrub = tokio::task::spawn_blocking(move || scrubbed.scrub()).await;
        let scrub = scrub.unwrap_or_else(|error| Err(StorageError::Engine(error.to_string())));
        match scrub {
            Ok(report) => {
                tracing::info!(?report, "scrubbed the mirror, {} records", report.records_checked);
                last.note(report);
            }
            Err(error) => tracing::error!(%error, "failed to scrub the mirror, trying again later"),
        }
    }
}
