//! Assets go when their entries go.
//!
//! Owns which assets are kept: those of the revision that a stored first-rows entry was computed for, and those of the
//! revision that the dataset stands at, which a job may be writing. Follows the change log; when that no longer
//! reaches back, looks at everything. Only what was put before the look is deleted, so that a job that starts
//! meanwhile keeps its assets. A record that cannot be read deletes nothing.

use outpost_model::{ArtifactKey, AssetSplit, ConfigName, DatasetName, Revision, SplitName, StepKind};
use outpost_model::{Position, TimestampMs, limits};

use super::{AssetScope, AssetStore};
use crate::error::StorageError;
use crate::mirror::{Changed, Mirror};

/// Deletes what the changes since the last call left without an entry; returns how many assets. `now` is the time by
/// the clock of the store.
///
/// # Errors
/// [`StorageError::Engine`] when a disk fails; the next call goes over the same changes.
pub fn follow(assets: &dyn AssetStore, mirror: &dyn Mirror, now: TimestampMs) -> Result<u64, StorageError> {
    let head = mirror.position();
    let known = assets.followed().filter(|known| known.epoch == head.epoch);
    let Some(Position { mut seq, .. }) = known else { return look_at_everything(assets, mirror, head, now) };
    let mut deleted = 0;
    loop {
        let Some(changes) = mirror.changes_after(seq, limits::FOLLOW_BATCH_MAX)? else {
            return Ok(deleted + look_at_everything(assets, mirror, head, now)?);
        };
        // What is not on disk yet may come again after a crash, and the bookmark would be past it.
        let durable = changes.into_iter().take_while(|(at, _)| *at <= head.seq);
        let changes: Vec<_> = durable.collect();
        let Some((last, _)) = changes.last() else { return Ok(deleted) };
        seq = *last;
        for (_, change) in changes {
            deleted += match change {
                Changed::Entry(key) if key.kind() == StepKind::SplitFirstRows => {
                    let (Some(config), Some(split)) = (key.config(), key.split()) else { continue };
                    keep_current(assets, mirror, key.dataset(), config, split, now)?
                }
                Changed::Entry(_) => 0,
                Changed::Dataset(dataset) => drop_unknown(assets, mirror, &dataset, now)?,
            };
        }
        assets.set_followed(Position { epoch: head.epoch, seq })?;
    }
}

/// Deletes the assets of every split whose entry is for another revision or missing, when they are older than a job
/// can be; returns how many. Takes care of what jobs wrote that never stored their entry.
///
/// # Errors
/// [`StorageError::Engine`] when a disk fails.
pub fn sweep(assets: &dyn AssetStore, mirror: &dyn Mirror, now: TimestampMs) -> Result<u64, StorageError> {
    let put_before = TimestampMs(now.0.saturating_sub(limits::ASSET_ORPHAN_AGE_MS_MIN));
    each_rows(assets, |rows| match entry_revision(mirror, &rows.dataset, &rows.config, &rows.split)? {
        Known::Unreadable => Ok(0),
        Known::Is(revision) if revision.as_ref() == Some(&rows.revision) => Ok(0),
        Known::Is(_) => assets.delete(&AssetScope::Rows(rows), &[], put_before),
    })
}

fn look_at_everything(
    assets: &dyn AssetStore,
    mirror: &dyn Mirror,
    head: Position,
    now: TimestampMs,
) -> Result<u64, StorageError> {
    let deleted = each_rows(assets, |rows| {
        keep_current(assets, mirror, &rows.dataset, &rows.config, &rows.split, now)
    })?;
    assets.set_followed(head)?;
    Ok(deleted)
}

fn each_rows(
    assets: &dyn AssetStore,
    mut visit: impl FnMut(AssetSplit) -> Result<u64, StorageError>,
) -> Result<u64, StorageError> {
    let (mut deleted, mut after) = (0, None);
    loop {
        let page = assets.rows(None, after.as_ref(), limits::ASSET_SPLITS_PAGE)?;
        let Some(last) = page.last().cloned() else { return Ok(deleted) };
        for rows in page {
            deleted += visit(rows)?;
        }
        after = Some(last);
    }
}

/// A dataset without a record has no entries, and jobs that still write for it cannot store theirs.
fn drop_unknown(
    assets: &dyn AssetStore,
    mirror: &dyn Mirror,
    dataset: &DatasetName,
    now: TimestampMs,
) -> Result<u64, StorageError> {
    match dataset_revision(mirror, dataset)? {
        Known::Is(None) => assets.delete(&AssetScope::Dataset(dataset.clone()), &[], now),
        Known::Is(Some(_)) | Known::Unreadable => Ok(0),
    }
}

fn keep_current(
    assets: &dyn AssetStore,
    mirror: &dyn Mirror,
    dataset: &DatasetName,
    config: &ConfigName,
    split: &SplitName,
    now: TimestampMs,
) -> Result<u64, StorageError> {
    let scope = AssetScope::Split(dataset.clone(), config.clone(), split.clone());
    let Known::Is(current) = dataset_revision(mirror, dataset)? else { return Ok(0) };
    let mut keep: Vec<Revision> = current.into_iter().collect();
    let stored = assets.rows(Some(&scope), None, limits::ASSET_SPLITS_PAGE)?;
    // Most changes concern splits without assets, or with those of the current revision only.
    if stored.iter().all(|rows| keep.contains(&rows.revision)) {
        return Ok(0);
    }
    let Known::Is(stored) = entry_revision(mirror, dataset, config, split)? else { return Ok(0) };
    keep.extend(stored);
    assets.delete(&scope, &keep, now)
}

/// What the mirror says, `Unreadable` for a damaged record.
enum Known {
    Is(Option<Revision>),
    Unreadable,
}

fn dataset_revision(mirror: &dyn Mirror, dataset: &DatasetName) -> Result<Known, StorageError> {
    judge(mirror.dataset(dataset).map(|record| record.map(|record| record.revision)))
}

fn entry_revision(
    mirror: &dyn Mirror,
    dataset: &DatasetName,
    config: &ConfigName,
    split: &SplitName,
) -> Result<Known, StorageError> {
    let names = (Some(config.clone()), Some(split.clone()));
    let Ok(key) = ArtifactKey::new(StepKind::SplitFirstRows, dataset.clone(), names.0, names.1) else {
        return Ok(Known::Unreadable);
    };
    judge(mirror.get(&key).map(|entry| entry.map(|entry| entry.revision)))
}

fn judge(read: Result<Option<Revision>, StorageError>) -> Result<Known, StorageError> {
    match read {
        Ok(revision) => Ok(Known::Is(revision)),
        Err(StorageError::Damaged(_)) => Ok(Known::Unreadable),
        Err(error) => Err(error),
    }
}
