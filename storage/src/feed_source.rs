//! What a node's store gives to the feed that other nodes follow.
//!
//! Owns the difference between what readers are shown and what other nodes are told: they are told a position and a set
//! hash of what is on disk only, because a position that was told and then lost would be reached again by another
//! state. Reads block on the local store and are bounded, except the first look at the items.

use std::collections::HashSet;

use async_trait::async_trait;
use outpost_model::{Changed, DatasetRecord, Epoch, Item, Position, SetHash};

use crate::error::StorageError;
pub use crate::items::ItemsRead;
use crate::mirror::Mirror;
use crate::mirror_store::EntryPut;

/// What a record says, as it is stored and sent between nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoredRecord {
    /// A response; it has no source.
    Entry(Box<EntryPut>),
    /// What is known of a dataset.
    Dataset(DatasetRecord),
}

/// Where a store stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedHead {
    /// The position on disk; seq 0 before a mirror was filled for the first time.
    pub position: Position,
    /// The set hash of exactly the state at the position, whatever was stored since.
    pub set_hash: SetHash,
    /// Number of records in that state.
    pub records: u64,
    /// The histories that the store has left, newest last, at most [`outpost_model::limits::SYNC_HISTORIES_MAX`].
    pub left: Vec<Epoch>,
}

/// A store that can be followed. [`Mirror::watch`] tells when the head moves.
#[async_trait]
pub trait FeedSource: Mirror {
    /// Where the store stands on disk.
    fn head(&self) -> FeedHead;

    /// Which keys changed after `seq`, those whose changes are not on disk yet included. `None` when the log does not
    /// reach back that far, is damaged there, is of another history than the head, or `seq` was never reached.
    ///
    /// # Errors
    /// [`StorageError::Engine`] when the disk fails.
    fn changed_since(&self, seq: u64) -> Result<Option<HashSet<Changed>>, StorageError>;

    /// The record of `subject` as it is stored, `None` when there is none.
    ///
    /// # Errors
    /// [`StorageError::Damaged`] when there is one that cannot be read, which is reported: to other nodes it is not as if
    /// it were deleted. [`StorageError::Engine`] when the disk fails.
    fn record(&self, subject: &Changed) -> Result<Option<StoredRecord>, StorageError>;

    /// Which record an item is of; `None` when the store does not hold that item, or its row is damaged.
    ///
    /// # Errors
    /// [`StorageError::Engine`] when the disk fails.
    fn subject_of(&self, item: &Item) -> Result<Option<Changed>, StorageError>;

    /// The items of everything stored, on disk or not, at the moment of the call. Writes wait while the answer is held:
    /// keep it for one computation, never across an await. The first call reads the whole index and blocks for it,
    /// while writes go on.
    ///
    /// # Errors
    /// [`StorageError::Engine`] when the disk fails.
    fn items(&self) -> Result<ItemsRead<'_>, StorageError>;

    /// Returns when everything that reads have shown so far is on disk.
    ///
    /// # Errors
    /// [`StorageError::Engine`] when the disk fails.
    async fn settled(&self) -> Result<(), StorageError>;
}
