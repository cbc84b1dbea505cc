//! How old a replica's state may be (PROTOCOL.md section 7).
//!
//! Owns the bound that is never below the truth: it counts from the moment at which the upstream was *asked* where it
//! stands, once this node stands there too. No answer, no progress or no upstream: it grows. Before the first time it
//! is unknown, which is more than any number.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use outpost_model::{Position, limits};
use tokio::time::Instant;

/// The clock on the wall, in ms since 1970. It may jump.
pub trait WallClock: Send + Sync + 'static {
    /// Now.
    fn now_ms(&self) -> u64;
}

/// A moment on both clocks.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    steady: Instant,
    wall_ms: u64,
}

/// A moment at which everything up to a position was all there was.
#[derive(Debug, Clone, Copy)]
struct Known {
    asked: Moment,
    /// How old the upstream's own state was at most, when it answered.
    upstream_age: Duration,
}

#[derive(Default)]
struct State {
    best: Option<Known>,
    awaited: VecDeque<(Position, Known)>,
    /// What was reached, oldest first: what is on disk may be older than what readers see.
    reached: VecDeque<(Position, Known)>,
}

/// See the module.
pub struct Freshness {
    clock: Arc<dyn WallClock>,
    state: Mutex<State>,
}

impl Freshness {
    /// Nothing known yet.
    #[must_use]
    pub fn new(clock: Arc<dyn WallClock>) -> Self {
        Self { clock, state: Mutex::default() }
    }

    /// Now, to be given back with the answer to a question that is asked now.
    #[must_use]
    pub fn moment(&self) -> Moment {
        Moment { steady: Instant::now(), wall_ms: self.clock.now_ms() }
    }

    /// An upstream that was asked at `asked` said that it stands at `head`, with a state of at most `upstream_age`.
    /// This node stands at `mine`.
    pub fn told(&self, asked: Moment, head: Position, upstream_age: Duration, mine: Position) {
        let known = Known { asked, upstream_age };
        let mut state = self.lock();
        state.awaited.push_back((head, known));
        if state.awaited.len() > limits::SYNC_HEADS_AWAITED_MAX {
            // The oldest is the nearest to be reached, so one in the middle goes.
            state.awaited.remove(limits::SYNC_HEADS_AWAITED_MAX / 2);
        }
        self.settle(&mut state, mine);
    }

    /// This node stands at `mine` now.
    pub fn stands_at(&self, mine: Position) {
        self.settle(&mut self.lock(), mine);
    }

    fn settle(&self, state: &mut State, mine: Position) {
        let State { best, awaited, reached } = state;
        awaited.retain(|(head, known)| {
            let is_reached = mine.covers(head) == Some(true);
            if is_reached && best.is_none_or(|best| self.age_of(known) < self.age_of(&best)) {
                *best = Some(*known);
            }
            if is_reached {
                reached.push_back((*head, *known));
            }
            !is_reached
        });
        let excess = reached.len().saturating_sub(limits::SYNC_HEADS_AWAITED_MAX);
        reached.drain(..excess);
    }

    /// How old the state at a position may be that this node has on disk; `None` when nothing is known.
    #[must_use]
    pub fn age_at(&self, on_disk: &Position) -> Option<Duration> {
        let state = self.lock();
        let known = state.reached.iter().filter(|(head, _)| on_disk.covers(head) == Some(true));
        known.map(|(_, known)| self.age_of(known)).min()
    }

    /// How old the state may be; `None` when nothing is known.
    #[must_use]
    pub fn age(&self) -> Option<Duration> {
        self.lock().best.map(|best| self.age_of(&best))
    }

    /// The larger of the two clocks' differences: one stands still while the machine sleeps, the other jumps.
    fn age_of(&self, known: &Known) -> Duration {
        let steady = known.asked.steady.elapsed();
        let wall = Duration::from_millis(self.clock.now_ms().saturating_sub(known.asked.wall_ms));
        steady.max(wall).saturating_add(known.upstream_age)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
