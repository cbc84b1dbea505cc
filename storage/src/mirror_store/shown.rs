//! What readers of the mirror may have seen, and what they are sure to see.
//!
//! Owns two positions around every batch: one is raised before the engine takes it, so that no reader was shown anything
//! after it, the other once it is taken, so that everything up to it can be read. Neither waits for the disk. The seqs
//! of a mirror are given out by its origin and name the same change for ever: what a crash takes back here comes again
//! under the same seq, and until then this node knows that it stands before it. The authority gives its seqs out
//! itself, and would give a lost one to another change: it shows a seq only when it is on disk.

use std::sync::{PoisonError, RwLock};

use outpost_model::{Position, SetHash};
use tokio::sync::watch;

use super::records::Meta;

/// See the module.
pub(super) struct Shown {
    seen: RwLock<Position>,
    visible: RwLock<(Position, SetHash)>,
    news: watch::Sender<u64>,
}

impl Shown {
    pub(super) fn new(meta: &Meta) -> Self {
        let visible = meta.position();
        Self {
            seen: RwLock::new(meta.seen()),
            visible: RwLock::new((visible, meta.position_hash)),
            news: watch::Sender::new(visible.seq),
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
        *self.visible.read().unwrap_or_else(PoisonError::into_inner)
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
            std::mem::replace(&mut *visible, (position, meta.position_hash))
        };
        if old.0 != position {
            self.news.send_replace(position.seq);
        }
    }
}
