//! How a node's mirror stands: what readers' demands are held against.
//!
//! Owns the two kinds of it: at the origin everything is of now, or as old as the database's feed says; at a replica
//! the follower knows. A history that the origin does not know is one that ended before its own.

use std::sync::Arc;

use outpost_model::Position;
use outpost_storage::Mirror;

use crate::feed::FeedView;
use crate::http::promises::Vantage;

/// A primary's.
pub struct OriginVantage {
    mirror: Arc<dyn Mirror>,
    feed: Option<Arc<dyn FeedView>>,
}

impl OriginVantage {
    /// Of `mirror`, which `feed` fills when it is not the authority itself.
    #[must_use]
    pub fn new(mirror: Arc<dyn Mirror>, feed: Option<Arc<dyn FeedView>>) -> Self {
        Self { mirror, feed }
    }
}

impl Vantage for OriginVantage {
    fn covers(&self, after: &Position) -> bool {
        let position = self.mirror.position();
        let is_filled = self.feed.is_none() || position.seq > 0;
        position.covers(after).unwrap_or(is_filled)
    }

    fn age_ms(&self) -> Option<u64> {
        match &self.feed {
            None => Some(0),
            Some(feed) => feed.look().filter(|reading| reading.phase == "following").map(|reading| reading.age_ms()),
        }
    }

    fn is_copy(&self) -> bool {
        false
    }

    fn unready(&self) -> Option<String> {
        // A mirror at seq 0 was never filled: it would call everything unknown.
        let is_empty = self.feed.is_some() && self.mirror.position().seq == 0;
        is_empty.then(|| "filling the mirror for the first time".to_owned())
    }
}
