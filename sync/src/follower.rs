//! The follower: keeps a node's mirror what its upstream's is (PROTOCOL.md section 5).
//!
//! Owns which upstream is followed and when the next one is tried. Nothing that an upstream does ends it: what it sends
//! wrong is refused, what it fails at is tried again after a back-off, and the mirror serves what it has meanwhile.

mod gather;
mod reconcile;
mod session;
mod status;

use std::sync::Arc;
use std::time::Duration;

use outpost_model::limits;

use crate::call::{CallError, Upstream};
use crate::freshness::Freshness;
use crate::history::{self, Mine, Unfit};
use crate::source::{StageError, StoreError, Target};
use crate::wire;

pub use self::status::{FollowerStatus, Phase, StatusBoard};

/// Why a session ended.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(crate) enum End {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error(transparent)]
    Unfit(#[from] Unfit),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{0}")]
    Stage(#[from] StageError),
    /// The mirror is not what the upstream has at the same position.
    #[error("the mirror differs from the upstream's at the same position")]
    Differs,
    /// Damaged records wait to be fetched.
    #[error("damaged records wait to be fetched again")]
    Damaged,
    /// The upstream ended the tail: its history or its log does.
    #[error("the upstream ended the tail")]
    Ended,
    /// No room on the disk.
    #[error("the disk is full up to its high-water mark; what is mirrored is served, news is not taken")]
    Full,
    /// A more preferred upstream is back.
    #[error("a preferred upstream is back")]
    Return,
}

/// What a session begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Begin {
    /// Going on from where the mirror stands, if that is possible.
    Resume,
    /// Comparing everything.
    Reconcile,
}

/// Which upstreams are good enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resort {
    /// Those that have a way from the origin.
    First,
    /// Any.
    Last,
}

/// How a session went.
pub(crate) struct Past {
    pub(crate) end: End,
    /// Whether it came to a tail.
    pub(crate) is_opened: bool,
    /// Whether the mirror was kept up to date for a while.
    pub(crate) was_told: bool,
}

/// See the module.
pub struct Follower {
    target: Arc<dyn Target>,
    upstreams: Vec<Arc<dyn Upstream>>,
    board: Arc<StatusBoard>,
    freshness: Arc<Freshness>,
    random: fastrand::Rng,
}

impl Follower {
    /// Follows `upstreams`, the preferred one first. `seed` spreads the back-offs of many nodes.
    #[must_use]
    pub fn new(
        target: Arc<dyn Target>,
        upstreams: Vec<Arc<dyn Upstream>>,
        board: Arc<StatusBoard>,
        freshness: Arc<Freshness>,
        seed: u64,
    ) -> Self {
        Self { target, upstreams, board, freshness, random: fastrand::Rng::with_seed(seed) }
    }

    /// Follows for ever.
    pub async fn run(mut self) {
        let mut failures = 0_u32;
        let mut begin = Begin::Resume;
        loop {
            let was_told = self.round(&mut begin).await;
            failures = if was_told { 0 } else { failures.saturating_add(1) };
            tokio::time::sleep(self.back_off(failures)).await;
        }
    }

    /// Tries each upstream, and those that are adrift only when there is no other; whether one told of changes for a
    /// while.
    async fn round(&self, begin: &mut Begin) -> bool {
        for resort in [Resort::First, Resort::Last] {
            let mut is_any_adrift = false;
            for index in 0..self.upstreams.len() {
                let Past { end, is_opened, was_told } = self.session(index, *begin, resort).await;
                self.board.ended(&end.to_string());
                tracing::info!(upstream = self.upstreams[index].name(), cause = %end, "a session with an upstream ended");
                if matches!(end, End::Differs | End::Damaged | End::Stage(_)) {
                    *begin = Begin::Reconcile;
                } else if is_opened {
                    *begin = Begin::Resume;
                }
                if was_told || end == End::Return {
                    return was_told;
                }
                is_any_adrift |= end == End::Unfit(Unfit::Adrift);
            }
            if !is_any_adrift {
                break;
            }
        }
        false
    }

    /// Full jitter: anything between nothing and a bound that doubles.
    fn back_off(&mut self, failures: u32) -> Duration {
        let bound_ms = limits::SYNC_BACKOFF_MS_MIN.saturating_mul(1 << failures.min(16));
        Duration::from_millis(self.random.u64(0..=bound_ms.min(limits::SYNC_BACKOFF_MS_MAX)))
    }

    /// Whether the upstream with this head may be followed.
    pub(crate) fn check(&self, head: &wire::Head) -> Result<(), Unfit> {
        // Both as readers see them: what is on disk may still be before a switch.
        let (position, left) = self.target.visible_left();
        let mine = Mine { node: self.board.me(), position, left: &left };
        history::check(&mine, head)
    }
}
