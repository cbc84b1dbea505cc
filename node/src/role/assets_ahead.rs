//! Assets of a replica before anyone asks for them: they come with the entries that link to them.
//!
//! Owns which are fetched: those that the mirror's first rows link to and that are not here. Follows the changes of the
//! mirror; where these no longer reach back, goes over all entries. Goes on after a restart from where it was noted to
//! be. Waits while the upstream is away or the disk is full, and stops below the budget, so that what gave way to other
//! assets is not fetched again. An asset that cannot be fetched is tried again with its entry some time later.

mod place;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::StreamExt;
use memchr::memmem;
use outpost_model::items::Item;
use outpost_model::{
    ArtifactKey, AssetPath, AssetSplit, Position, REVISION_PLACEHOLDER, StepKind, TimestampMs, limits,
};
use outpost_storage::{
    AssetScope, AssetStore, Changed, FolderAssets, Mirror, MirrorEntry, MirrorStore, StorageError,
};
use outpost_sync::{Phase, StatusBoard};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use self::place::Place;
use super::assets::blocking;
use super::missing_assets::{link_start, linked_rows, rows_of};
use super::room;
use crate::clock;
use crate::upstream::{AssetBounds, AssetFetcher, Brought};

const PAUSE: Duration = Duration::from_millis(limits::FOLLOW_RETRY_MS);
const NOTED: Duration = Duration::from_millis(limits::ASSETS_AHEAD_NOTED_MS);
const RETRY: Duration = Duration::from_millis(limits::ASSETS_AHEAD_RETRY_MS);

/// See the module.
pub(super) struct AssetsAhead {
    pub(super) mirror: MirrorStore,
    pub(super) store: FolderAssets,
    pub(super) fetcher: Arc<AssetFetcher>,
    pub(super) bounds: AssetBounds,
    pub(super) board: Arc<StatusBoard>,
    pub(super) has_room: watch::Receiver<bool>,
    /// Assets left to be fetched when they are read.
    pub(super) skipped: Arc<AtomicU64>,
}

/// What an entry links to that is not here.
struct Missing {
    rows: AssetSplit,
    paths: Vec<AssetPath>,
    beyond: u64,
}

impl AssetsAhead {
    /// Runs until the mirror is gone.
    pub(super) async fn run(self) {
        let mut changes = self.mirror.watch_visible();
        let (mut again, mut tried_again) = (HashSet::new(), Instant::now());
        let mut place = self.noted_place().await;
        let (mut noted, mut noted_at) = (place, Instant::now());
        loop {
            if tried_again.elapsed() >= RETRY {
                for key in std::mem::take(&mut again) {
                    self.visit(key, &mut again).await;
                }
                tried_again = Instant::now();
            }
            changes.borrow_and_update();
            let mirror = self.mirror.clone();
            let (keys, next) = match blocking(move || next(&mirror, place)).await {
                Ok(next) => next,
                Err(error) => {
                    tracing::error!(%error, "failed to look for assets to fetch, trying again");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            for key in keys {
                self.visit(key, &mut again).await;
            }
            // Leaves the processor and the disk to readers and to the feed.
            tokio::time::sleep(PAUSE).await;
            let is_idle = next == place;
            place = next;
            // Entries that wait to be tried again would be forgotten in a restart.
            let is_due = again.is_empty() && (is_idle || noted_at.elapsed() >= NOTED);
            if is_due && noted != place && self.note(place).await {
                if matches!((noted, place), (Place::Start | Place::Among { .. }, Place::Behind(_))) {
                    tracing::info!("looked for the assets of all entries; a restart goes on from here");
                }
                (noted, noted_at) = (place, Instant::now());
            }
            if !is_idle {
                continue;
            }
            if let Ok(Err(_)) = timeout(RETRY, changes.changed()).await {
                return;
            }
        }
    }

    /// Where an earlier run was, as far as the mirror still has what that run saw.
    async fn noted_place(&self) -> Place {
        let (mirror, store, bounds) = (self.mirror.clone(), self.store.clone(), self.bounds);
        let noted = blocking(move || {
            let bookmark = store.bookmark()?;
            let place = bookmark.and_then(|bookmark| Place::of_bookmark(&bookmark, bounds));
            Ok(place.filter(|place| place.is_within(mirror.visible())))
        });
        match noted.await {
            Ok(place) => place.unwrap_or(Place::Start),
            Err(error) => {
                tracing::warn!(%error, "failed to read how far assets were looked for");
                Place::Start
            }
        }
    }

    /// Notes a place that is on the mirror's disk; says whether.
    async fn note(&self, place: Place) -> bool {
        let Some(bookmark) = place.to_bookmark(self.bounds) else { return false };
        let (mirror, store) = (self.mirror.clone(), self.store.clone());
        let noted = blocking(move || {
            let is_there = place.is_within(mirror.position());
            if is_there {
                store.set_bookmark(&bookmark)?;
            }
            Ok(is_there)
        });
        noted.await.unwrap_or_else(|error| {
            tracing::warn!(%error, "failed to note how far assets were looked for");
            false
        })
    }

    /// Fetches what an entry links to; one with failures is put into `again`.
    async fn visit(&self, key: ArtifactKey, again: &mut HashSet<ArtifactKey>) {
        let (mirror, store, looked_at) = (self.mirror.clone(), self.store.clone(), key.clone());
        let missing = match blocking(move || missing(&mirror, &store, &looked_at)).await {
            Ok(Some(missing)) => missing,
            Ok(None) | Err(StorageError::Damaged(_)) => return,
            Err(error) => {
                tracing::error!(%error, "failed to look for the assets of an entry");
                return;
            }
        };
        self.skipped.fetch_add(missing.beyond, Ordering::Relaxed);
        if missing.paths.is_empty() {
            return;
        }
        let bring = missing.paths.into_iter().map(|path| self.bring(path));
        let brought: Vec<Brought> =
            futures::stream::iter(bring).buffer_unordered(limits::ASSETS_AHEAD_IN_FLIGHT_MAX).collect().await;
        let count = |what| brought.iter().filter(|brought| **brought == what).count() as u64;
        let mut skipped = count(Brought::Skipped);
        let failed = count(Brought::Failed);
        if failed > 0 && again.len() < limits::ASSETS_AHEAD_WAITING_MAX {
            again.insert(key.clone());
        } else {
            skipped += failed;
        }
        self.skipped.fetch_add(skipped, Ordering::Relaxed);
        let (mirror, store) = (self.mirror.clone(), self.store.clone());
        if let Err(error) = blocking(move || drop_late(&mirror, &store, &key, missing.rows)).await {
            tracing::error!(%error, "failed to delete assets whose entry went while they came");
        }
    }

    async fn bring(&self, path: AssetPath) -> Brought {
        for _ in 0..limits::ASSET_AHEAD_TRIES_MAX {
            self.wait_for_leave().await;
            let store = self.store.clone();
            match blocking(move || store.stats()).await {
                Ok(stats) if stats.stored_bytes < self.bounds.mark_bytes() => {}
                Ok(_) => return Brought::Skipped,
                Err(_) => return Brought::Failed,
            }
            match self.fetcher.fetch_ahead(&path).await {
                Brought::Failed => tokio::time::sleep(PAUSE).await,
                // By then the disk was looked at, and what is missing there is waited for.
                Brought::NoRoom => tokio::time::sleep(room::LOOK_PERIOD).await,
                brought => return brought,
            }
        }
        Brought::Failed
    }

    /// Returns once there is room on the disk, and an upstream that has its own way to the primary.
    async fn wait_for_leave(&self) {
        loop {
            let phase = self.board.status().phase;
            if *self.has_room.borrow() && phase == Phase::Following && !self.board.is_adrift() {
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// First rows to look at, and the place behind them; the same place when there is nothing to look at now.
fn next(mirror: &MirrorStore, place: Place) -> Result<(Vec<ArtifactKey>, Place), StorageError> {
    match place {
        Place::Start => {
            let began = mirror.visible();
            if began.seq == 0 {
                return Ok((Vec::new(), Place::Start));
            }
            tracing::info!("looking for the assets of all entries");
            Ok((Vec::new(), Place::Among { began, after: None }))
        }
        Place::Among { began, after } => {
            let mut page = mirror.items_from(&after.unwrap_or(Item::MIN), limits::FOLLOW_BATCH_MAX)?;
            page.retain(|(item, _)| Some(*item) != after);
            let Some((last, _)) = page.last() else { return Ok((Vec::new(), Place::Behind(began))) };
            let next = Place::Among { began, after: Some(*last) };
            Ok((first_rows(page.into_iter().filter_map(|(_, subject)| subject)), next))
        }
        Place::Behind(at) => {
            let changes = mirror.changes_after(at.seq, limits::FOLLOW_BATCH_MAX)?;
            // After the read: it may have been of another history already.
            if mirror.visible().epoch != at.epoch {
                return Ok((Vec::new(), Place::Start));
            }
            let Some(changes) = changes else { return Ok((Vec::new(), Place::Start)) };
            let seq = changes.last().map_or(at.seq, |(seq, _)| *seq);
            let keys = first_rows(changes.into_iter().map(|(_, subject)| subject));
            Ok((keys, Place::Behind(Position { epoch: at.epoch, seq })))
        }
    }
}

/// The entries that can link to assets, each once.
fn first_rows(subjects: impl Iterator<Item = Changed>) -> Vec<ArtifactKey> {
    let keys = subjects.filter_map(|subject| match subject {
        Changed::Entry(key) if key.kind() == StepKind::SplitFirstRows => Some(key),
        Changed::Entry(_) | Changed::Dataset(_) => None,
    });
    let mut seen = HashSet::new();
    keys.filter(|key| seen.insert(key.clone())).collect()
}

fn missing(
    mirror: &dyn Mirror,
    store: &dyn AssetStore,
    key: &ArtifactKey,
) -> Result<Option<Missing>, StorageError> {
    let Some(entry) = mirror.get(key)? else { return Ok(None) };
    let Some(rows) = rows_of(key, &entry) else { return Ok(None) };
    let (linked, beyond) = links(&entry, &rows);
    let mut paths = Vec::new();
    for path in linked {
        match store.open(&path) {
            Ok(Some(_)) => {}
            Ok(None) | Err(StorageError::Damaged(_)) => paths.push(path),
            Err(error) => return Err(error),
        }
    }
    Ok(Some(Missing { rows, paths, beyond }))
}

/// The assets of `rows` that the body links to, and how many more there are than are fetched.
fn links(entry: &MirrorEntry, rows: &AssetSplit) -> (Vec<AssetPath>, u64) {
    let (start, mut found, mut beyond) = (link_start(), Vec::new(), 0);
    for at in memmem::find_iter(&entry.body, start.as_bytes()) {
        let rest = &entry.body[at + start.len()..];
        let rest = &rest[..rest.len().min(limits::ASSET_PATH_BYTES_MAX)];
        let Some(end) = memchr::memchr(b'"', rest) else { continue };
        let Ok(text) = std::str::from_utf8(&rest[..end]) else { continue };
        let text = text.replacen(REVISION_PLACEHOLDER, rows.revision.as_str(), 1);
        match AssetPath::parse(&text) {
            Ok(path) if path.rows() != rows => {}
            Ok(path) if found.len() < limits::ASSETS_AHEAD_PER_ENTRY_MAX => found.push(path),
            Ok(_) => beyond += 1,
            Err(_) => {}
        }
    }
    (found, beyond)
}

/// Deletes what was fetched for an entry that went meanwhile: whoever follows its going has passed it.
fn drop_late(
    mirror: &dyn Mirror,
    store: &dyn AssetStore,
    key: &ArtifactKey,
    rows: AssetSplit,
) -> Result<(), StorageError> {
    match linked_rows(mirror, key) {
        Ok(linked) if linked.as_ref() == Some(&rows) => Ok(()),
        Ok(_) => {
            let put_before = TimestampMs(clock::now().0 + 1);
            store.delete(&AssetScope::Rows(rows), &[], put_before).map(|_| ())
        }
        Err(StorageError::Damaged(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::testing::rows;

    fn entry(body: String) -> MirrorEntry {
        let revision = rows("train").revision;
        MirrorEntry {
            http_status: 200,
            error_code: None,
            revision,
            version: [0; 32],
            body: Bytes::from(body),
        }
    }

    #[test]
    fn only_links_to_assets_of_the_entrys_own_rows_are_followed() {
        let mine = AssetPath::new(rows("train"), 3, "a b", "image.jpg").unwrap();
        let other = rows("test");
        let other = AssetPath::new(other, 3, "a b", "image.jpg").unwrap();
        let cell = |url: &str| format!("{{\"src\":\"{url}\",\"height\":1}}");
        let text = format!("\\\"src\\\":\\\"{}\\\"", mine.stored_url());
        let end = "{\"src\":\"{node_public_url}/assets/u/d/--/".to_owned();
        let cells = [cell(&mine.stored_url()), cell(&other.stored_url()), cell("https://x/a.jpg"), text, end];
        assert_eq!(links(&entry(cells.concat()), &rows("train")), (vec![mine], 0));
    }

    #[test]
    fn no_more_than_a_bounded_number_of_links_is_followed() {
        let most = limits::ASSETS_AHEAD_PER_ENTRY_MAX as u64;
        let url = |row| AssetPath::new(rows("train"), row, "a", "i.jpg").unwrap().stored_url();
        let body: String = (0..most + 7).map(|row| format!("{{\"src\":\"{}\"}}", url(row))).collect();
        let (found, beyond) = links(&entry(body), &rows("train"));
        assert_eq!((found.len() as u64, beyond), (most, 7));
    }
}
