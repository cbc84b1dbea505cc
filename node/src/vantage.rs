//! How a node's mirror stands: what readers' demands are held against.
//!
//! Owns the two kinds of it: at the origin everything is of now, or as old as the database's feed says; at a replica
//! the follower knows. A history that the origin does not know is one that ended before its own.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use outpost_model::Position;
use outpost_storage::{Mirror, MirrorStore};
use outpost_sync::promise::{Here, Role, decide};
use outpost_sync::{Freshness, NodeId, Standing, WallClock};
use tokio::time::Instant;

use crate::clock;

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

/// What a replica promises by itself.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Staler than this, it is not ready.
    pub staleness_max: Duration,
    /// How long it goes on to call a dataset public without word from upstream.
    pub visibility_age_max: Duration,
}

/// A replica's.
pub struct ReplicaVantage {
    mirror: MirrorStore,
    freshness: Arc<Freshness>,
    bounds: Bounds,
    started: Instant,
}

impl ReplicaVantage {
    /// Of `mirror`, which a follower fills that tells `freshness`.
    #[must_use]
    pub fn new(mirror: MirrorStore, freshness: Arc<Freshness>, bounds: Bounds) -> Self {
        Self { mirror, freshness, bounds, started: Instant::now() }
    }
}

impl Vantage for ReplicaVantage {
    fn decide(&self, demand: &Demand, tried: Tried) -> Decision {
        let (position, left) = self.mirror.visible_left();
        let here = Here { role: Role::Replica, position, left: &left, age: self.age() };
        decide(demand, &here, tried)
    }

    fn age(&self) -> Option<Duration> {
        self.freshness.age()
    }

    fn is_copy(&self) -> bool {
        true
    }

    /// After a start nothing is known until the upstream was heard of: for so long what was known before counts. In a
    /// mirror that was never filled there are records from later than any position that could be stated with them.
    fn may_answer(&self) -> bool {
        self.mirror.visible().seq > 0
            && self.age().unwrap_or_else(|| self.started.elapsed()) <= self.bounds.visibility_age_max
    }

    fn unready(&self) -> Option<String> {
        if self.mirror.visible().seq == 0 {
            return Some("filling the mirror for the first time".to_owned());
        }
        match self.age() {
            None => Some(
                "no upstream was heard of since the start; how old the mirror is cannot be told".to_owned(),
            ),
            Some(age) if age > self.bounds.staleness_max => Some(format!(
                "the mirror may be {} s old, --max-staleness is {} s",
                age.as_secs(),
                self.bounds.staleness_max.as_secs()
            )),
            Some(_) => None,
        }
    }
}

/// The wall clock, for [`Freshness`].
pub struct SystemWallClock;

impl WallClock for SystemWallClock {
    fn now_ms(&self) -> u64 {
        clock::now().0
    }
}

/// A primary's standing among nodes: it is the origin.
pub struct OriginStanding {
    node: NodeId,
    mirror: Arc<dyn Mirror>,
    vantage: Arc<OriginVantage>,
    /// When everything that readers see was last known to be on disk, and where that was.
    level: Mutex<Option<(Position, Instant)>>,
}

impl OriginStanding {
    /// Under a new name.
    #[must_use]
    pub fn new(mirror: Arc<dyn Mirror>, vantage: Arc<OriginVantage>) -> Self {
        Self { node: NodeId::random(), mirror, vantage, level: Mutex::default() }
    }

    /// How far what is on disk at `at` may be behind what readers see.
    fn behind(&self, at: &Position) -> Option<Duration> {
        let now = Instant::now();
        let mut level = self.level.lock().unwrap_or_else(PoisonError::into_inner);
        if self.mirror.visible() == *at {
            *level = Some((*at, now));
        }
        let (position, since) = (*level)?;
        (at.covers(&position) == Some(true)).then(|| now.duration_since(since))
    }
}

impl Standing for OriginStanding {
    fn node(&self) -> NodeId {
        self.node
    }

    fn path(&self) -> Vec<NodeId> {
        vec![self.node]
    }

    fn age_ms(&self, at: &Position) -> Option<u64> {
        let age = self.vantage.age()?.saturating_add(self.behind(at)?);
        Some(u64::try_from(age.as_millis()).unwrap_or(u64::MAX))
    }
}
