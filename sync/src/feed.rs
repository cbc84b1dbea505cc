//! Feeds: the ordered changes of one history after a position.
//!
//! Owns the trait that followers ask. A feed refuses to skip: when it cannot tell every change after a position, it
//! answers with a gap.

use async_trait::async_trait;
use outpost_model::{Changed, Position};
use tokio::sync::watch;

/// What a feed knows after a position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Changes {
    /// The next changes in order, each with its seq. Changes that were made together share a seq.
    Known(Vec<(u64, Changed)>),
    /// Some changes are not known any more, or the position is of another history.
    Gap,
}

/// A feed that could not be read now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the feed failed: {0}")]
pub struct FeedError(pub String);

/// A source of changes.
#[async_trait]
pub trait ChangeFeed: Send + Sync + 'static {
    /// Where the history stands; the epoch changes when another history takes over.
    async fn position(&self) -> Result<Position, FeedError>;

    /// The changes after a position, in order, at most `limit`; none when `after` is where the history stands.
    async fn changes_after(&self, after: Position, limit: usize) -> Result<Changes, FeedError>;

    /// A receiver that is told after each change, and is closed when the feed ends.
    fn watch(&self) -> watch::Receiver<u64>;
}
