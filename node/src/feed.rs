//! What fills the mirror of a node whose authority is elsewhere, as operators see it.
//!
//! Owns what `/admin/status`, `/metrics` and `/ready` show of it. Looking never waits.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use outpost_storage::mongo::MongoFeed;
use outpost_storage::mongo::feed::FeedPhase;
use outpost_storage::{MirrorStore, MongoConfig, OpenError};

/// What fills a mirror, looked at from outside.
pub trait FeedView: Send + Sync + 'static {
    /// How it stands, `None` once it was stopped.
    fn look(&self) -> Option<FeedReading>;
}

/// How a feed stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FeedReading {
    /// What it does: `starting`, `scanning`, `following`, `retrying` or `stopped`.
    pub phase: &'static str,
    /// Seconds by which the mirror is behind.
    pub lag_s: u64,
    /// Changes received.
    pub events: u64,
    /// Documents read.
    pub documents: u64,
    /// Bytes of documents read.
    pub bytes: u64,
    /// Times that everything was compared from the start.
    pub scans: u64,
    /// Times that the history to go on from was lost.
    pub history_losses: u64,
    /// Times that the connection was set up again.
    pub reconnects: u64,
    /// Damaged records that were fetched again.
    pub mended: u64,
    /// Documents that could not be turned into entries.
    pub quarantined: u64,
    /// The last failure.
    pub last_error: Option<String>,
}

impl FeedReading {
    /// How old the mirror's state may be: the lag is a sum of two times whose parts of a second were
    /// left out.
    #[must_use]
    pub fn age(&self) -> Duration {
        Duration::from_secs(self.lag_s.saturating_add(2))
    }

    /// The figures, each with its name in `/metrics`.
    #[must_use]
    pub fn figures(&self) -> [(&'static str, u64); 9] {
        [
            ("lag_seconds", self.lag_s),
            ("events", self.events),
            ("documents", self.documents),
            ("bytes", self.bytes),
            ("scans", self.scans),
            ("history_losses", self.history_losses),
            ("reconnects", self.reconnects),
            ("mended", self.mended),
            ("quarantined", self.quarantined),
        ]
    }
}

/// The feed of a primary from its database.
pub struct DatabaseFeed {
    feed: Mutex<Option<MongoFeed>>,
    mirror: MirrorStore,
}

impl DatabaseFeed {
    /// Starts to fill `mirror`.
    ///
    /// # Errors
    /// [`OpenError`] when the URL or a name cannot be used.
    pub async fn start(config: &MongoConfig, mirror: MirrorStore) -> Result<Self, OpenError> {
        let feed = MongoFeed::start(config, mirror.clone()).await?;
        Ok(Self { feed: Mutex::new(Some(feed)), mirror })
    }

    /// Stops it and waits until it no longer writes to the mirror.
    pub async fn stop(&self) {
        let feed = self.lock().take();
        if let Some(feed) = feed {
            feed.stop().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<MongoFeed>> {
        self.feed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FeedView for DatabaseFeed {
    fn look(&self) -> Option<FeedReading> {
        let status = self.lock().as_ref().map(MongoFeed::status)?;
        let lag_s = status.lag_s();
        let phase = match status.phase {
            FeedPhase::Starting => "starting",
            FeedPhase::Scanning => "scanning",
            FeedPhase::Following => "following",
            FeedPhase::Retrying => "retrying",
            FeedPhase::Stopped => "stopped",
        };
        Some(FeedReading {
            phase,
            lag_s,
            events: status.events,
            documents: status.documents,
            bytes: status.bytes,
            scans: status.scans,
            history_losses: status.history_losses,
            reconnects: status.reconnects,
            mended: status.mended,
            quarantined: self.mirror.summary().quarantined,
            last_error: status.last_error,
        })
    }
}
