//! Rows whose assets are not in the store: after its index was set aside, or when `--assets` names another place.
//!
//! Owns finding them, by the links in stored bodies. Refuses to look at each file: rows that have some assets count as
//! having all, a scrub knows better. What cannot be read is passed over.

use std::sync::Arc;

use memchr::memmem;
use outpost_model::{ArtifactKey, AssetSplit, DatasetName, PUBLIC_URL_PLACEHOLDER, StepKind, limits};
use outpost_storage::{AssetScope, AssetStore, Authority, Mirror, MirrorEntry, StorageError};

/// The rows whose stored body links to assets of which the store has none.
///
/// # Errors
/// [`StorageError`] when a store fails.
pub async fn find(
    store: &Arc<dyn AssetStore>,
    mirror: &Arc<dyn Mirror>,
    authority: &dyn Authority,
) -> Result<Vec<AssetSplit>, StorageError> {
    let (mut missing, mut after): (Vec<AssetSplit>, Option<DatasetName>) = (Vec::new(), None);
    loop {
        let page = authority.datasets(after.as_ref(), limits::ASSET_SPLITS_PAGE).await?;
        let Some(last) = page.last() else { return Ok(missing) };
        after = Some(last.dataset.clone());
        for record in page {
            let entries = authority.state(&record.dataset).await?.entries.into_iter();
            let keys = entries.filter(|entry| entry.error_code.is_none()).map(|entry| entry.key);
            let keys = keys.filter(|key| key.kind() == StepKind::SplitFirstRows).collect::<Vec<_>>();
            let (store, mirror) = (Arc::clone(store), Arc::clone(mirror));
            let look =
                move || keys.iter().filter_map(|key| look(&*store, &*mirror, key).transpose()).collect();
            missing.extend(super::assets::blocking::<Vec<AssetSplit>>(look).await?);
        }
    }
}

/// The rows of an entry when their assets are missing.
fn look(
    store: &dyn AssetStore,
    mirror: &dyn Mirror,
    key: &ArtifactKey,
) -> Result<Option<AssetSplit>, StorageError> {
    let linked = match linked_rows(mirror, key) {
        Err(StorageError::Damaged(_)) => None,
        other => other?,
    };
    let Some(rows) = linked else { return Ok(None) };
    if !store.rows(Some(&AssetScope::Rows(rows.clone())), None, 1)?.is_empty() {
        return Ok(None);
    }
    // They also go when the entry goes, which may be just now.
    match linked_rows(mirror, key) {
        Ok(again) => Ok(again.filter(|again| *again == rows)),
        Err(StorageError::Damaged(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What opens the link to an asset in a stored body. A quote within a cell is escaped, so that no text can look like it.
pub(super) fn link_start() -> String {
    format!("\"src\":\"{PUBLIC_URL_PLACEHOLDER}/assets/")
}

/// The rows of an entry that links to assets.
pub(super) fn linked_rows(
    mirror: &dyn Mirror,
    key: &ArtifactKey,
) -> Result<Option<AssetSplit>, StorageError> {
    let Some(entry) = mirror.get(key)? else { return Ok(None) };
    Ok(rows_of(key, &entry).filter(|_| memmem::find(&entry.body, link_start().as_bytes()).is_some()))
}

/// The rows that the assets of an entry belong to.
pub(super) fn rows_of(key: &ArtifactKey, entry: &MirrorEntry) -> Option<AssetSplit> {
    let (Some(config), Some(split)) = (key.config(), key.split()) else { return None };
    Some(AssetSplit {
        dataset: key.dataset().clone(),
        config: config.clone(),
        split: split.clone(),
        revision: entry.revision.clone(),
    })
}
