//! How a node's mirror stands: what readers' demands are held against.
//!
//! Owns the two kinds of it: at the origin everything is of now, or as old as the database's feed says; at a replica
//! the follower knows. A history that the origin does not know is one that ended before its own.

use std::sync::Arc;
use std::time::Duration;

use outpost_storage::Mirror;
use outpost_sync::promise::{Here, Role, decide};

use crate::feed::FeedView;
use crate::http::promises::{Decision, Demand, Tried, Vantage};

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
    fn decide(&self, demand: &Demand, tried: Tried) -> Decision {
        let role = if self.feed.is_none() { Role::Origin } else { Role::Sharing };
        let here = Here { role, position: self.mirror.visible(), left: &[], age: self.age() };
        decide(demand, &here, tried)
    }

    fn age(&self) -> Option<Duration> {
        match &self.feed {
            None => Some(Duration::ZERO),
            Some(feed) => {
                feed.look().filter(|reading| reading.phase == "following").map(|reading| reading.age())
            }
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
