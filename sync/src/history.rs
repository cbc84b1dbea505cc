//! Which upstream a follower may follow (PROTOCOL.md section 6).
//!
//! Owns the rule that a mirror never goes back: within a history only to a node at or after it, to another history only
//! when that came later. A refusal says what an operator can do.

use outpost_model::{Epoch, Position, limits};

use crate::mutation::{Mutation, is_planted};
use crate::node_id::NodeId;
use crate::wire;

/// Why an upstream is not followed now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// It follows this node, or is it.
    #[error("the upstream follows this node or is this node itself: give another --upstream")]
    Loop,
    /// The way from the origin is too long, or not one.
    #[error("the upstream's way from the origin cannot be right: {0} nodes")]
    Path(usize),
    /// It has no upstream itself.
    #[error("the upstream has lost its own way to the primary; another one is better, if there is one")]
    Adrift,
    /// It was never filled.
    #[error("the upstream has no data yet")]
    NotFilled,
    /// It stands before this node.
    #[error("the upstream stands at {theirs}, before this node at {mine}; waiting for it to catch up")]
    Behind {
        /// The upstream's seq.
        theirs: u64,
        /// This node's.
        mine: u64,
    },
    /// It is the origin, in the same history, and stands before this node.
    #[error(
        "the primary stands at {theirs}, before this node at {mine}: it lost history, as when its data was put back from a \
         backup; this node goes on serving what it has. Start the primary with a new store, or delete this node's data"
    )]
    Restored {
        /// The primary's seq.
        theirs: u64,
        /// This node's.
        mine: u64,
    },
    /// It is in a history that this node has left, or that it cannot place.
    #[error(
        "the upstream is in the history {theirs}, this node in {mine}, and nothing says that the upstream's came later; \
         it may still move on. If it belongs to another cluster, give another --upstream or delete this node's data"
    )]
    History {
        /// The upstream's.
        theirs: Epoch,
        /// This node's.
        mine: Epoch,
    },
}

/// Where a node stands, as far as this is about histories.
#[derive(Debug, Clone)]
pub struct Mine<'a> {
    /// Its name.
    pub node: NodeId,
    /// What its readers see.
    pub position: Position,
    /// Histories that it has left.
    pub left: &'a [Epoch],
}

/// Whether the upstream has no way from the origin now. What it has is good, but it learns nothing new, and two nodes
/// that wait for each other would never part.
#[must_use]
pub fn is_adrift(theirs: &wire::Head) -> bool {
    !is_planted(Mutation::FollowsANodeAdrift) && theirs.path.first() == Some(&NodeId::NOBODY.0)
}

/// Whether the upstream's way from the origin can be one that leads on to this node.
///
/// # Errors
/// [`Unfit::Loop`], [`Unfit::Path`].
pub fn check_way(me: NodeId, theirs: &wire::Head) -> Result<(), Unfit> {
    if theirs.node == me.0 || theirs.path.contains(&me.0) {
        return Err(Unfit::Loop);
    }
    let length = theirs.path.len();
    if length == 0 || length >= limits::SYNC_PATH_MAX || theirs.path.last() != Some(&theirs.node) {
        return Err(Unfit::Path(length));
    }
    Ok(())
}

/// Whether the node may follow an upstream that says `theirs`.
///
/// # Errors
/// [`Unfit`].
pub fn check(mine: &Mine<'_>, theirs: &wire::Head) -> Result<(), Unfit> {
    check_way(mine.node, theirs)?;
    if !theirs.is_filled {
        return Err(Unfit::NotFilled);
    }
    let is_origin = theirs.path.len() == 1;
    let is_filled = mine.position.seq > 0;
    let epoch = Epoch(theirs.epoch);
    if !is_filled {
        return Ok(());
    }
    if epoch == mine.position.epoch {
        let (theirs, mine) = (theirs.seq, mine.position.seq);
        return match theirs >= mine {
            true => Ok(()),
            false if is_origin => Err(Unfit::Restored { theirs, mine }),
            false => Err(Unfit::Behind { theirs, mine }),
        };
    }
    let they_left_mine = theirs.left.contains(&mine.position.epoch.0);
    let i_left_theirs = mine.left.contains(&epoch);
    let is_anything_taken = is_planted(Mutation::FollowsAHistoryThatWasLeft);
    if they_left_mine || (is_origin && !i_left_theirs) || is_anything_taken {
        return Ok(());
    }
    Err(Unfit::History { theirs: epoch, mine: mine.position.epoch })
}
