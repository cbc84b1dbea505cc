//! Opening the authority of a role, whatever kind it is of.
//!
//! Owns the one place that knows the kinds. What cannot be opened ends the node with a sentence that says what to do.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use outpost_storage::{Authority, EmbeddedStore, Mirror, Operations};

use crate::config::{MongoPlace, StorePlace};

/// An open authority.
pub struct Stores {
    /// Cache and queue.
    pub authority: Arc<dyn Authority>,
    /// The operators' view of them.
    pub operations: Arc<dyn Operations>,
    /// What is read from.
    pub mirror: Arc<dyn Mirror>,
    /// What needs care while the node runs.
    pub care: Care,
}

/// The care that a kind of store needs.
pub enum Care {
    /// A scrub now and then.
    Scrub(EmbeddedStore),
}

/// Opens the authority of a primary and the mirror that it serves from.
///
/// # Errors
/// When it cannot be opened.
pub async fn open(place: &StorePlace, data_dir: &Path) -> anyhow::Result<Stores> {
    match place {
        StorePlace::Embedded => {
            let store = open_embedded(data_dir).await?;
            Ok(Stores {
                authority: Arc::new(store.clone()),
                operations: Arc::new(store.clone()),
                mirror: Arc::new(store.clone()),
                care: Care::Scrub(store),
            })
        }
        StorePlace::Mongo(place) => {
            let _ = open_database(place).await?;
            anyhow::bail!("a primary cannot follow a database yet")
        }
    }
}

/// Opens the authority of a worker.
///
/// # Errors
/// When it cannot be opened.
pub async fn open_database(place: &MongoPlace) -> anyhow::Result<(Arc<dyn Authority>, Arc<dyn Operations>)> {
    anyhow::bail!("--store mongodb:// is not built yet: {place:?}")
}

async fn open_embedded(data_dir: &Path) -> anyhow::Result<EmbeddedStore> {
    let directory = data_dir.join("store");
    let opened = tokio::task::spawn_blocking(move || EmbeddedStore::open(&directory)).await;
    let store = opened.context("failed to open the store")?.with_context(|| {
        format!("failed to open the store in {}; choose another --data-dir", data_dir.display())
    })?;
    let report = store.open_report();
    if let Some(set_aside) = &report.set_aside {
        tracing::warn!("the store was damaged and set aside in {}; it is rebuilt", set_aside.display());
    }
    if report.jobs_interrupted > 0 {
        tracing::info!(
            jobs = report.jobs_interrupted,
            "{} interrupted jobs run again",
            report.jobs_interrupted
        );
    }
    Ok(store)
}
