//! Opening the authority of a role, whatever kind it is of.
//!
//! Owns the one place that knows the kinds. What cannot be opened ends the node with a sentence that says what to do.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use outpost_storage::{
    Authority, EmbeddedStore, FeedSource, Mirror, MirrorStore, MongoConfig, MongoStore, Operations,
    StorageError,
};

use super::{Ended, reopen};
use crate::config::{MongoPlace, StorePlace};
use crate::feed::DatabaseFeed;

/// An open authority.
pub struct Stores {
    /// Cache and queue.
    pub authority: Arc<dyn Authority>,
    /// The operators' view of them.
    pub operations: Arc<dyn Operations>,
    /// What is read from.
    pub mirror: Arc<dyn Mirror>,
    /// The same, for nodes that follow this one.
    pub source: Arc<dyn FeedSource>,
    /// What needs care while the node runs.
    pub care: Care,
    /// What fills the mirror, when that is not the authority itself.
    pub feed: Option<Arc<DatabaseFeed>>,
}

/// The care that a kind of store needs.
#[derive(Clone)]
pub enum Care {
    /// A scrub now and then, of authority and mirror in one.
    Scrub(EmbeddedStore),
    /// The same of a mirror that a feed fills.
    ScrubMirror(MirrorStore),
}

impl Care {
    /// How the node is to end once its store, in `data_dir`, failed. An authority that takes no more calls ends it at
    /// once; a mirror is read on, until opening it again may help.
    pub fn failed(
        &self,
        data_dir: &Path,
    ) -> impl Future<Output = Result<Ended, StorageError>> + Send + 'static {
        let (store, data_dir) = (self.clone(), data_dir.to_owned());
        async move {
            match store {
                Self::Scrub(store) => Err(store.failed().await),
                Self::ScrubMirror(mirror) => {
                    Ok(Ended::Reopen(reopen::worth_while(mirror.failed(), data_dir).await))
                }
            }
        }
    }
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
                source: Arc::new(store.clone()),
                care: Care::Scrub(store),
                feed: None,
            })
        }
        StorePlace::Mongo(place) => {
            let database = open_database(place).await?;
            let mirror = open_mirror(data_dir).await?;
            let feed = DatabaseFeed::start(&config_of(place), mirror.clone()).await.context("--store")?;
            Ok(Stores {
                authority: Arc::new(database.clone()),
                operations: Arc::new(database),
                mirror: Arc::new(mirror.clone()),
                source: Arc::new(mirror.clone()),
                care: Care::ScrubMirror(mirror),
                feed: Some(Arc::new(feed)),
            })
        }
    }
}

/// Opens the authority of a worker.
///
/// # Errors
/// When it cannot be opened.
pub async fn open_database(place: &MongoPlace) -> anyhow::Result<MongoStore> {
    MongoStore::open(&config_of(place)).await.context("--store")
}

fn config_of(place: &MongoPlace) -> MongoConfig {
    MongoConfig {
        url: place.url.clone(),
        cache_database: place.cache_database.clone(),
        queue_database: place.queue_database.clone(),
    }
}

/// Opens the mirror of a node whose authority is elsewhere.
///
/// # Errors
/// When it cannot be opened.
pub async fn open_mirror(data_dir: &Path) -> anyhow::Result<MirrorStore> {
    let directory = data_dir.join("mirror");
    let opened = tokio::task::spawn_blocking(move || MirrorStore::open(&directory)).await;
    opened.context("failed to open the mirror")?.with_context(|| {
        format!("failed to open the mirror in {}; choose another --data-dir", data_dir.display())
    })
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
