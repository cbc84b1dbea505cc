//! What readers of the mirror may have seen, and what they are sure to see.
//!
//! Owns two positions around every batch: one is raised before the engine takes it, so that no reader was shown anything
//! after it, the other once it is taken, so that everything up to it can be read. Neither waits for the disk. The seqs
//! of a mirror are given out by its origin and name the same change for ever: what a crash takes back here comes again
//! under the same seq, and until then this node knows that it stands before it. The authority gives its seqs out
//! itself, and would give a lost one to another change: it shows a seq only when it is on disk.

use std::sync::{PoisonError, RwLock};

use outpost_model::{Epoch, Position, SetHash};
use tokio::sync::watch;

use super::records::Meta;

/// What readers are sure to see, all of one moment.
struct Visible {
    position: Position,
    set_hash: SetHash,
    /// Histories left, newest last.
    left: Vec<u128>,
}

impl Visible {
    fn of(meta: &Meta) -> Self {
        Self { position: meta.position(), set_hash: meta.position_hash, left: meta.left.clone() }
    }
}

/// See the module.
pub(super) struct Shown {
    seen: RwLock<Position>,
    visible: RwLock<Visible>,
    news: watch::Sender<u64>,
}

impl Shown {
    pub(super) fn new(meta: &Meta) -> Self {
        let visible = Visible::of(meta);
        Self {
            seen: RwLock::new(meta.seen()),
            news: watch::Sender::new(visible.position.seq),
            visible: RwLock::new(visible),
        }
    }

    /// No read so far has shown anything after this.
    pub(super) fn seen(&self) -> Position {
        *self.seen.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything up to this can be read.
    pub(super) fn visible(&self) -> Position {
        self.visible_hash().0
    }

    /// The same with the set hash of the state at it.
    pub(super) fn visible_hash(&self) -> (Position, SetHash) {
        let visible = self.visible.read().unwrap_or_else(PoisonError::into_inner);
        (visible.position, visible.set_hash)
    }

    /// The same with the histories that were left before it, newest last.
    pub(super) fn visible_left(&self) -> (Position, Vec<Epoch>) {
        let visible = self.visible.read().unwrap_or_else(PoisonError::into_inner);
        (visible.position, visible.left.iter().copied().map(Epoch).collect())
    }

    /// A receiver of the seq of [`Shown::visible`].
    pub(super) fn watch(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    /// Call before the engine takes a batch that leads to `meta`.
    pub(super) fn announce(&self, meta: &Meta) {
        *self.seen.write().unwrap_or_else(PoisonError::into_inner) = meta.seen();
    }

    /// Call after the engine took it.
    pub(super) fn reveal(&self, meta: &Meta) {
        let position = meta.position();
        let old = {
            let mut visible = self.visible.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *visible, Visible::of(meta))
        };
        if old.position != position {
            self.news.send_replace(position.seq);
        }
    }
}
