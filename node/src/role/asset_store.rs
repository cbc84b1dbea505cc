//! Opening the store of assets: under the data directory, or where `--assets` says.
//!
//! Owns the choice. Under the data directory it is the one of this process, with an index of its own; elsewhere it is
//! one that other nodes may share, and that is tried out before anything else starts.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use outpost_storage::{AssetPlace, AssetStore, FolderAssets, SharedAssets};

/// Opens the store.
///
/// # Errors
/// When it cannot be used, with what to do about it.
pub async fn open(data_dir: &Path, place: Option<&AssetPlace>) -> anyhow::Result<Arc<dyn AssetStore>> {
    match place {
        Some(place) => open_shared(place.clone()).await,
        None => Ok(Arc::new(open_own(data_dir).await?)),
    }
}

/// Opens the store that nodes share.
///
/// # Errors
/// When it cannot be used, with what to do about it.
pub async fn open_shared(place: AssetPlace) -> anyhow::Result<Arc<dyn AssetStore>> {
    let variables = std::env::vars_os().filter_map(|(name, value)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
            .filter(|(name, _)| name.starts_with("AWS_"))
    });
    let variables: Vec<(String, String)> = variables.collect();
    let said = place.to_string();
    let opened = tokio::task::spawn_blocking(move || SharedAssets::open(&place, &variables)).await;
    let store = opened.context("failed to open the store of assets")?;
    let store = store.with_context(|| format!("--assets {said} cannot be used"))?;
    tracing::info!(place = said, "assets are kept in {said}");
    Ok(Arc::new(store))
}

/// Opens the one under the data directory.
///
/// # Errors
/// When it cannot be used, with what to do about it.
pub async fn open_own(data_dir: &Path) -> anyhow::Result<FolderAssets> {
    let directory = data_dir.join("assets");
    let opened = tokio::task::spawn_blocking(move || FolderAssets::open(&directory)).await;
    let store = opened.context("failed to open the store of assets")?.with_context(|| {
        format!("failed to open the assets in {}; choose another --data-dir", data_dir.display())
    })?;
    if let Some(set_aside) = &store.open_report().set_aside {
        tracing::warn!(
            "the index of assets was damaged and set aside in {}; assets are computed or fetched again",
            set_aside.display()
        );
    }
    Ok(store)
}
