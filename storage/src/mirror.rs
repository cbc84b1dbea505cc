//! The mirror: a node's local serving copy of entries and dataset records.
//!
//! Owns the read side that every role shares. Reads are synchronous and bounded: one head and its chunks from the
//! local store. A damaged record reads as an error, is reported, and is recomputed by the authority's maintenance.

use async_trait::async_trait;
use bytes::Bytes;
pub use outpost_model::Changed;
use outpost_model::{ArtifactKey, DatasetName, DatasetRecord, ErrorCode, Position, Revision};

use crate::error::StorageError;

/// A ready response: what a reader needs, nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MirrorEntry {
    /// HTTP status.
    pub http_status: u16,
    /// The error, `None` exactly when the status is 200.
    pub error_code: Option<ErrorCode>,
    /// The revision that it was computed for.
    pub revision: Revision,
    /// [`outpost_model::Entry::version`]: equal versions are equal answers.
    pub version: [u8; 32],
    /// The response text, as stored (placeholders not rendered).
    pub body: Bytes,
}

/// The local serving copy.
#[async_trait]
pub trait Mirror: Send + Sync + 'static {
    /// Where the copy stands on disk: what other nodes are told and bookmarks keep.
    fn position(&self) -> Position;

    /// No read so far has shown anything after this: what to tell a reader, once the answer was got and
    /// [`Mirror::covered`] returned.
    fn seen(&self) -> Position {
        self.position()
    }

    /// Everything up to this can be read: what to hold a reader's own position against, before the read.
    fn visible(&self) -> Position {
        self.position()
    }

    /// Returns when [`Mirror::seen`] is at or after everything that reads have shown so far; at once unless the store
    /// shows things before it has a position for them.
    ///
    /// # Errors
    /// [`StorageError::Engine`] when the disk fails.
    async fn covered(&self) -> Result<(), StorageError> {
        Ok(())
    }

    /// The response stored for `key`.
    ///
    /// # Errors
    /// [`StorageError`] when the store fails or the record is damaged.
    fn get(&self, key: &ArtifactKey) -> Result<Option<MirrorEntry>, StorageError>;

    /// The record of a dataset: its revision and who may read it.
    ///
    /// # Errors
    /// [`StorageError`] when the store fails or the record is damaged.
    fn dataset(&self, dataset: &DatasetName) -> Result<Option<DatasetRecord>, StorageError>;

    /// Changes after `seq` up to [`Mirror::visible`], in order, each with its seq. At most `limit`, except that changes which share a seq are never
    /// divided: whoever was told of one was told of all. `None` when the log no longer reaches back
    /// that far, or is damaged there, and the caller must forget what it derived.
    ///
    /// # Errors
    /// [`StorageError`] when the store fails.
    fn changes_after(&self, seq: u64, limit: usize) -> Result<Option<Vec<(u64, Changed)>>, StorageError>;

    /// A receiver of the seq of [`Mirror::position`], to wait on for changes.
    fn watch(&self) -> tokio::sync::watch::Receiver<u64>;

    /// A receiver of the seq of [`Mirror::visible`].
    fn watch_visible(&self) -> tokio::sync::watch::Receiver<u64> {
        self.watch()
    }
}
