//! Why the feed stopped and what it does about it.

use crate::error::StorageError;

/// See the module.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum FeedError {
    /// The server has no history from the stored token on: everything is compared again.
    #[error("the change history after the last position is gone: {0}")]
    HistoryLost(String),
    /// The server closed the stream, as it does after the database was dropped: it is opened again.
    #[error("the server ended the change stream")]
    Ended,
    /// Everything must be compared again, from a new stream on.
    #[error("a collection was dropped or renamed, or the history's id changed")]
    Upheaval,
    /// The call failed or took too long: it is made again after a pause.
    #[error("{0}")]
    Call(String),
    /// The mirror's own store failed: nothing goes on before the node restarts.
    #[error("the mirror failed: {0}")]
    Mirror(#[from] StorageError),
}
