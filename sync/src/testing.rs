//! Parts that tests, the simulation and the bench share. Owns nothing of the protocol.

use outpost_model::Position;

use crate::freshness::WallClock;
use crate::node_id::NodeId;
use crate::server::Standing;

/// An origin of this name, which is at its head at all times.
#[derive(Debug, Clone, Copy)]
pub struct Origin(pub NodeId);

impl Standing for Origin {
    fn node(&self) -> NodeId {
        self.0
    }

    fn path(&self) -> Vec<NodeId> {
        vec![self.0]
    }

    fn age_ms(&self, _: &Position) -> Option<u64> {
        Some(0)
    }
}

/// A wall clock that stands still: what elapses is then the monotonic clock's to say.
#[derive(Debug, Clone, Copy)]
pub struct StillClock;

impl WallClock for StillClock {
    fn now_ms(&self) -> u64 {
        0
    }
}
