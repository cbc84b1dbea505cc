//! What the feed tells operators.
//!
//! Owns the counters behind `/metrics` and `node status`. Reading them never waits for the feed.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// What the feed is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FeedPhase {
    /// Connecting for the first time.
    #[default]
    Starting,
    /// Comparing everything with the database, and following changes meanwhile.
    Scanning,
    /// Following changes.
    Following,
    /// Waiting to connect again; the mirror serves what it has.
    Retrying,
    /// The mirror's own store failed; restart the node.
    Stopped,
}

impl FeedPhase {
    /// Its name in `node status` and `/metrics`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Scanning => "scanning",
            Self::Following => "following",
            Self::Retrying => "retrying",
            Self::Stopped => "stopped",
        }
    }
}

/// How the feed stands.
#[derive(Debug, Clone, Default)]
pub struct FeedStatus {
    /// What it is doing.
    pub phase: FeedPhase,
    /// The database's cluster time at the last answer, as a seq.
    pub head: u64,
    /// Everything up to here was applied, apart from what a scan has still to find.
    pub applied: u64,
    /// Milliseconds since the last answer of the database, `None` before the first.
    pub silent_ms: Option<u64>,
    /// Changes received.
    pub events: u64,
    /// Documents read.
    pub documents: u64,
    /// Bytes of documents read.
    pub bytes: u64,
    /// Times that everything was compared from the start.
    pub scans: u64,
    /// Times that the database no longer had the history to go on from.
    pub history_losses: u64,
    /// Times that the connection was set up again after a failure.
    pub reconnects: u64,
    /// Damaged records of the mirror that were fetched again.
    pub mended: u64,
    /// The last failure.
    pub last_error: Option<String>,
}

impl FeedStatus {
    /// Seconds by which the mirror is behind: by cluster time, plus the time without an answer beyond a moment.
    #[must_use]
    pub fn lag_s(&self) -> u64 {
        let behind = (self.head >> 32).saturating_sub(self.applied >> 32);
        behind + self.silent_ms.unwrap_or(0) / 1_000
    }
}

/// The feed's side.
#[derive(Clone, Default)]
pub(super) struct StatusBoard(Arc<Mutex<Board>>);

#[derive(Default)]
struct Board {
    status: FeedStatus,
    answered_at: Option<Instant>,
}

impl StatusBoard {
    pub(super) fn update(&self, change: impl FnOnce(&mut FeedStatus)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner).status);
    }

    /// The database answered.
    pub(super) fn answered(&self, head: Option<u64>) {
        let mut board = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        board.answered_at = Some(Instant::now());
        board.status.head = board.status.head.max(head.unwrap_or(0));
    }

    pub(super) fn read(&self) -> FeedStatus {
        let board = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut status = board.status.clone();
        let silent = board.answered_at.map(|at| u64::try_from(at.elapsed().as_millis()).unwrap_or(u64::MAX));
        status.silent_ms = silent;
        status
    }
}
