//! What a reader is promised (PROTOCOL.md section 8), decided from where the node stands.
//!
//! Owns whether an answer may be given from the node's own state, and what is tried next when not. A demand is honoured
//! or refused, never ignored. Knows no clock, store or network: who asks looks at the node again after each step.

use std::time::Duration;

use outpost_model::{Epoch, Position};

use crate::mutation::{Mutation, is_planted};

/// What a request demands of the state that it is answered from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Demand {
    /// The state must be at or after this (`X-Sync-After`).
    pub after: Option<Position>,
    /// The state must be of at most this age (`Cache-Control: max-age`).
    pub age_max: Option<Duration>,
}

/// How a node stands to the history that its positions are of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The primary over its own store, which alone makes positions: a history that it does not know ended before its own.
    Origin,
    /// A primary over a store that it shares: there is nobody to ask, and others may be ahead of its mirror.
    Sharing,
    /// A replica.
    Replica,
}

/// Where a node stands. Taken *before* the records that are read.
#[derive(Debug, Clone, Copy)]
pub struct Here<'a> {
    /// What it is.
    pub role: Role,
    /// What its readers see; seq 0 before it was filled.
    pub position: Position,
    /// Histories that it has left.
    pub left: &'a [Epoch],
    /// How old the state may be; `None` when unknown. The origin's is zero.
    pub age: Option<Duration>,
}

/// What was done for the request already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tried {
    /// Nothing.
    Nothing,
    /// The node waited as long as it may.
    Waited,
    /// The upstream was asked and did not answer, or could not.
    Asked,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Answer from this state.
    Serve,
    /// Wait for the state to move, for the time that is left, and decide again.
    Wait,
    /// Ask the upstream, with the demand.
    AskUpstream,
    /// Answer 503 with `Retry-After`.
    Refuse,
}

/// What to do with a request.
#[must_use]
pub fn decide(demand: &Demand, here: &Here<'_>, tried: Tried) -> Decision {
    let is_young = demand.age_max.is_none_or(|max| here.age.is_some_and(|age| age <= max));
    if is_young && demand.after.is_none_or(|after| is_covered(&after, here)) {
        return Decision::Serve;
    }
    match (tried, here.role) {
        // No wait fills a mirror, or makes what upstream has no younger than it is.
        (Tried::Nothing, Role::Replica) if here.position.seq == 0 => Decision::AskUpstream,
        (Tried::Nothing, _) => Decision::Wait,
        (Tried::Waited, Role::Replica) => Decision::AskUpstream,
        (Tried::Waited, _) | (Tried::Asked, _) => Decision::Refuse,
    }
}

/// Whether the state is at or after a position.
#[must_use]
pub fn is_covered(after: &Position, here: &Here<'_>) -> bool {
    if here.position.seq == 0 {
        // Nothing is known of a mirror that was never filled, whatever it holds.
        return here.role != Role::Replica && after.seq == 0 && here.position.epoch == after.epoch;
    }
    match here.position.covers(after) {
        Some(covers) => covers,
        None if is_planted(Mutation::ForeignTokenIsCovered) => true,
        None => here.role == Role::Origin || here.left.contains(&after.epoch),
    }
}

#[cfg(test)]
mod tests;
