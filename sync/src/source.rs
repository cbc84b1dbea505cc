//! The stores that sync works on, as it sees them.
//!
//! Owns the two traits: a source is read by the feed that a node serves, a target is a source that a follower writes.
//! Failures are told as text; the store itself knows whether it can go on.

use std::collections::HashSet;

use async_trait::async_trait;
use outpost_model::items::{Changed, Item, ItemRange, RangeSum, SetHash};
use outpost_model::{Epoch, Position};
use tokio::sync::watch;

use crate::record::{Change, Record};

/// A store that could not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the store failed: {0}")]
pub struct StoreError(pub String);

/// Where a store stands, on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreHead {
    /// Its position; seq 0 before it was filled.
    pub position: Position,
    /// The set hash of exactly the state at the position; `None` while the store is amid a change of many parts.
    pub set_hash: Option<SetHash>,
    /// Records.
    pub records: u64,
    /// Histories that it has left, newest last.
    pub left: Vec<Epoch>,
}

/// What a store holds under a subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Held {
    /// Nothing.
    Absent,
    /// A record.
    Record(Record),
    /// Something that cannot be read: neither a record nor none.
    Damaged,
}

/// What a feed is served from.
#[async_trait]
pub trait Source: Send + Sync + 'static {
    /// Where it stands.
    fn head(&self) -> StoreHead;

    /// A receiver that is told after each change of the position.
    fn watch(&self) -> watch::Receiver<u64>;

    /// Changes after `seq` up to the position, in order; at most `limit`, except that those which share a seq are never
    /// divided. `None` when the log does not reach back.
    async fn changes_after(&self, seq: u64, limit: usize) -> Result<Option<Vec<(u64, Changed)>>, StoreError>;

    /// What changed after `seq`, changes that are not on disk yet included. `None` when the log does not reach back, or
    /// is of another history than the head, which is on disk.
    async fn changed_since(&self, seq: u64) -> Result<Option<HashSet<Changed>>, StoreError>;

    /// What is held of some subjects now, in the order of the subjects, up to the first that exceeds `bytes_max`, and at
    /// least one.
    async fn records(&self, subjects: &[Changed], bytes_max: usize) -> Result<Vec<Held>, StoreError>;

    /// What items are of; `None` for those that are no more.
    async fn subjects_of(&self, items: &[Item]) -> Result<Vec<Option<Changed>>, StoreError>;

    /// What some ranges hold.
    async fn sums(&self, ranges: &[ItemRange]) -> Result<Vec<RangeSum>, StoreError>;

    /// At most `parts` ranges of about equal counts that together are `range`.
    async fn split(&self, range: &ItemRange, parts: usize) -> Result<Vec<(ItemRange, RangeSum)>, StoreError>;

    /// The first items of a range.
    async fn items(&self, range: &ItemRange, limit: usize) -> Result<Vec<Item>, StoreError>;

    /// Returns when everything that was read so far is on disk.
    async fn settled(&self) -> Result<(), StoreError>;
}

/// Changes that take effect together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Their history.
    pub epoch: Epoch,
    /// The changes, in order.
    pub changes: Vec<Change>,
    /// The seq that the whole store stands at with them; `None` while it is being filled.
    pub reached: Option<u64>,
    /// Histories that the upstream has left.
    pub left: Vec<Epoch>,
}

/// Why a stage was not switched to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StageError {
    /// The staged state is not the upstream's.
    #[error(
        "the staged copy is not what the upstream has: its set hash is {found:?} instead of {expected:?}"
    )]
    Differs {
        /// The upstream's.
        expected: SetHash,
        /// The stage's.
        found: SetHash,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a follower fills.
#[async_trait]
pub trait Target: Source {
    /// Applies all of a batch or nothing; returns when readers see it.
    async fn apply(&self, batch: Batch) -> Result<(), StoreError>;

    /// Begins a stage for a state of a history.
    async fn stage(&self, epoch: Epoch) -> Result<Box<dyn Stage>, StoreError>;

    /// What readers see: at or after [`Source::head`], which is on disk.
    fn visible(&self) -> Position;

    /// The set hash of what readers see, with its position.
    fn visible_hash(&self) -> (Position, SetHash);

    /// What readers see, with the histories that were left before it, newest last: both of one moment.
    fn visible_left(&self) -> (Position, Vec<Epoch>);

    /// The set hash of everything stored, also while it is not the state at a position yet.
    async fn stored_hash(&self) -> Result<SetHash, StoreError> {
        Ok(self.visible_hash().1)
    }

    /// Records that are damaged and wait to be fetched again, at most `max`.
    fn damaged(&self, max: usize) -> Vec<Changed>;

    /// Returns when there may be damaged records.
    async fn damage_news(&self);

    /// Returns when there is room on the disk to write.
    async fn room(&self);

    /// Returns when there is no more room on the disk to write.
    async fn full(&self) {
        std::future::pending::<()>().await;
    }
}

/// A state beside the one that is served.
#[async_trait]
pub trait Stage: Send + Sync {
    /// Takes changes; a later seq wins.
    async fn add(&mut self, changes: Vec<Change>) -> Result<(), StoreError>;

    /// Whether it has a change of this.
    fn holds(&self, subject: &Changed) -> bool;

    /// Switches to the staged state at once, if its set hash is `expected` or nothing is.
    async fn commit(
        self: Box<Self>,
        reached: Position,
        expected: Option<SetHash>,
        left: Vec<Epoch>,
    ) -> Result<(), StageError>;
}
