//! What a follower is doing, for operators and for its own followers.
//!
//! Owns the node's way from the origin and the counters. Reads are cheap; nothing here decides anything.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use outpost_model::Position;

use crate::freshness::Freshness;
use crate::mutation::{Mutation, is_planted};
use crate::node_id::NodeId;
use crate::record;
use crate::server::Standing;
use crate::wire;

/// What a follower is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Phase {
    /// Looking for an upstream.
    #[default]
    Connecting,
    /// Finding out what differs and fetching it.
    Reconciling,
    /// Being told of changes.
    Following,
}

impl Phase {
    /// A word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Reconciling => "reconciling",
            Self::Following => "following",
        }
    }
}

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct FollowerStatus {
    /// What it is at.
    pub phase: Phase,
    /// Address of the upstream.
    pub upstream: Option<String>,
    /// Where the upstream stands, as last heard.
    pub head: Option<Position>,
    /// Records that the upstream has, as last heard.
    pub head_records: u64,
    /// Why the last session ended.
    pub last_end: Option<String>,
    /// Sessions begun.
    pub sessions: u64,
    /// Reconciliations begun.
    pub reconciliations: u64,
    /// Times that the mirror was not what the upstream has at the same position.
    pub differences: u64,
    /// Calls made for following.
    pub round_trips: u64,
    /// Bytes received for following.
    pub received_bytes: u64,
    /// Records received.
    pub received_records: u64,
    path: Vec<NodeId>,
}

/// Where the status is kept.
pub struct StatusBoard {
    node: NodeId,
    freshness: Arc<Freshness>,
    status: Mutex<FollowerStatus>,
}

impl StatusBoard {
    /// Of a node that follows nobody yet.
    #[must_use]
    pub fn new(node: NodeId, freshness: Arc<Freshness>) -> Self {
        Self { node, freshness, status: Mutex::default() }
    }

    /// The node's name.
    #[must_use]
    pub fn me(&self) -> NodeId {
        self.node
    }

    /// The status now.
    #[must_use]
    pub fn status(&self) -> FollowerStatus {
        self.lock().clone()
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut FollowerStatus)) {
        change(&mut self.lock());
    }

    pub(super) fn heard(&self, head: &wire::Head) {
        self.change(|status| {
            status.head = Some(record::position((head.epoch, head.seq)));
            status.head_records = head.records;
            status.path = head.path.iter().map(|node| NodeId(*node)).collect();
        });
    }

    /// Whether the upstream has no way from the origin.
    #[must_use]
    pub fn is_adrift(&self) -> bool {
        !is_planted(Mutation::FollowsANodeAdrift) && self.lock().path.first() == Some(&NodeId::NOBODY)
    }

    pub(super) fn ended(&self, cause: &str) {
        self.change(|status| {
            status.phase = Phase::Connecting;
            status.last_end = Some(cause.to_owned());
            status.upstream = None;
            status.path.clear();
        });
    }

    fn lock(&self) -> MutexGuard<'_, FollowerStatus> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Standing for StatusBoard {
    fn node(&self) -> NodeId {
        self.node
    }

    /// Without an upstream there is no way from the origin, which two nodes stand for: nobody takes it for the origin.
    fn path(&self) -> Vec<NodeId> {
        let path = self.lock().path.clone();
        let unknown = path.is_empty().then_some(NodeId::NOBODY);
        unknown.into_iter().chain(path).chain([self.node]).collect()
    }

    fn age_ms(&self, at: &Position) -> Option<u64> {
        let age_ms = |age: Duration| u64::try_from(age.as_millis()).unwrap_or(u64::MAX).saturating_add(1);
        if is_planted(Mutation::AgeOfWhatReadersSee) {
            return self.freshness.age().map(age_ms);
        }
        self.freshness.age_at(at).map(age_ms)
    }
}
