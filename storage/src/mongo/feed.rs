//! The change feed from MongoDB to the mirror of a primary.
//!
//! Owns one change stream on the cache database with keys only, the documents read for it, and the scans that fill an
//! empty mirror or bring it back after lost history (design section 5). It has its own connections, so that no load of
//! the API starves it. Whatever fails is tried again with growing pauses while the mirror serves; nothing that the
//! database says is skipped silently: what cannot be read is kept in quarantine and counted. All primaries on one
//! database come to the same positions and the same content.

mod bookmark;
mod error;
mod fetch;
mod run;
mod scan;
mod status;
mod stream;

#[cfg(test)]
mod tests;

use std::time::Duration;

use mongodb::Client;
use outpost_model::limits;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use self::error::FeedError;
use self::run::Worker;
use self::status::StatusBoard;
pub use self::status::{FeedPhase, FeedStatus};
use super::connect::{self, MongoConfig, OpenError};
use crate::mirror_store::MirrorStore;

/// A running feed. Dropping it stops it.
pub struct MongoFeed {
    board: StatusBoard,
    stop: watch::Sender<bool>,
    task: Option<JoinHandle<()>>,
}

impl MongoFeed {
    /// Starts to fill `mirror` from the database. Returns at once: the database may be unreachable for now.
    ///
    /// # Errors
    /// [`OpenError`] when the URL or a name cannot be used.
    pub async fn start(config: &MongoConfig, mirror: MirrorStore) -> Result<Self, OpenError> {
        let mut options = connect::options(&config.url).await?;
        options.app_name = Some("outpost-feed".to_owned());
        options.max_pool_size = Some(limits::FEED_CONNECTIONS_MAX);
        let client = Client::with_options(options).map_err(|error| connect::invalid_url(&error))?;
        let database = client.database(&config.cache_database);
        let board = StatusBoard::default();
        let (stop, stopped) = watch::channel(false);
        let worker = Worker::new(client, database, mirror, board.clone());
        let task = Some(tokio::spawn(worker.run(stopped)));
        Ok(Self { board, stop, task })
    }

    /// How it stands.
    #[must_use]
    pub fn status(&self) -> FeedStatus {
        self.board.read()
    }

    /// Stops it and waits until it no longer writes to the mirror.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        if let Some(task) = self.task.take() {
            // A panic was logged by the runtime; there is nothing left to stop.
            let _ = task.await;
        }
    }
}

impl Drop for MongoFeed {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}

/// Bounds a call.
async fn within<T>(ms: u64, call: impl IntoFuture<Output = T>) -> Result<T, FeedError> {
    let call = tokio::time::timeout(Duration::from_millis(ms), call.into_future());
    call.await.map_err(|_| FeedError::Call(format!("MongoDB did not answer within {ms} ms")))
}

/// A random part of a pause that doubles with each failure.
fn pause(failures: u32) -> Duration {
    let doubled = limits::FEED_RETRY_MS_MIN.saturating_mul(1 << failures.min(16));
    let longest = doubled.min(limits::FEED_RETRY_MS_MAX);
    Duration::from_millis(fastrand::u64(longest / 2..=longest))
}
