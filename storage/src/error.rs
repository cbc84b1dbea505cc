//! Why a store did not do as asked.
//!
//! Owns the split that callers decide by: a lost lease is the worker's news, everything else is the operator's.

/// A failed call to the authority or the mirror.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StorageError {
    /// The lease ran out, was taken over or its job was deleted: the result is refused and the work is dropped.
    #[error("the lease is no longer held: {0}")]
    LeaseLost(&'static str),
    /// The engine or the disk failed; nothing of the call took effect.
    #[error("the store failed: {0}")]
    Engine(String),
    /// The disk has no room; nothing of the call took effect. What is stored can still be read; the store takes writes
    /// again once it was opened anew with room to write.
    #[error("the disk is full, make room and open the store again: {0}")]
    DiskFull(String),
    /// The database did not answer, or no member of it takes writes now. Nothing of the call may have taken effect.
    #[error("the database cannot be reached: {0}")]
    Unreachable(String),
    /// A cursor was not made by the listing that it was given to.
    #[error("the cursor was not made by this listing, start again without one")]
    InvalidCursor,
    /// The entry holds what the store cannot keep; nothing of the call took effect and the lease still holds, so that
    /// the caller can store an error in its place.
    #[error("the result cannot be stored: {0}")]
    Unstorable(String),
    /// As [`StorageError::Unstorable`], because the entry is larger than the store can keep.
    #[error("the result is too large to be stored: {0}")]
    TooLarge(String),
    /// Something else is under way that must end first; nothing of the call took effect and it may be tried again.
    #[error("the store is busy, try again: {0}")]
    Busy(&'static str),
    /// A record does not have the form that it was written in.
    #[error("a stored record is damaged: {0}")]
    Damaged(String),
    /// Another process holds the data directory.
    #[error("the data directory is in use by another process: {0}")]
    InUse(String),
    /// The data directory was written by a version that this one does not read.
    #[error("the data directory has format version {found}, this node reads {expected}")]
    FormatVersion {
        /// What was found.
        found: u32,
        /// What this code writes.
        expected: u32,
    },
}
