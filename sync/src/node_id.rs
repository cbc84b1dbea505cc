//! Who a node is to other nodes.
//!
//! Owns a name of 128 random bits, new at each start: it tells loops, and nothing else depends on it.

use std::fmt;
use std::hash::{BuildHasher, RandomState};

/// See the module.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub u128);

impl NodeId {
    /// Stands at the begin of a way that is not known.
    pub const NOBODY: Self = Self(0);

    /// A name that no other node has.
    #[must_use]
    pub fn random() -> Self {
        // Each state is seeded by the operating system.
        let half = || u128::from(RandomState::new().hash_one(std::process::id()));
        Self(half() << 64 | half())
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0 >> 96)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}
