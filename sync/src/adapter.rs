//! A mirror as a feed: the one module that knows a store.
//!
//! Owns the check that changes belong to the history that was asked for, which a mirror's log itself does not carry.

use std::sync::Arc;

use async_trait::async_trait;
use outpost_model::Position;
use outpost_storage::Mirror;
use tokio::sync::watch;

use crate::feed::{ChangeFeed, Changes, FeedError};

/// The feed of a local mirror.
pub struct MirrorFeed {
    mirror: Arc<dyn Mirror>,
}

impl MirrorFeed {
    /// The changes of `mirror`.
    #[must_use]
    pub fn new(mirror: Arc<dyn Mirror>) -> Self {
        Self { mirror }
    }
}

#[async_trait]
impl ChangeFeed for MirrorFeed {
    async fn position(&self) -> Result<Position, FeedError> {
        Ok(self.mirror.position())
    }

    async fn changes_after(&self, after: Position, limit: usize) -> Result<Changes, FeedError> {
        let changes =
            self.mirror.changes_after(after.seq, limit).map_err(|error| FeedError(error.to_string()))?;
        // Asked afterwards: a history that took over before or during the read is seen here.
        if self.mirror.position().epoch != after.epoch {
            return Ok(Changes::Gap);
        }
        let Some(changes) = changes else { return Ok(Changes::Gap) };
        Ok(Changes::Known(changes))
    }

    fn watch(&self) -> watch::Receiver<u64> {
        self.mirror.watch()
    }
}

#[cfg(test)]
mod tests {
    use outpost_model::planning::Event;
    use outpost_model::{Changed, DatasetName, Epoch, Priority, Revision, TimestampMs, Visibility};
    use outpost_storage::{Authority, EmbeddedStore};

    use super::*;

    #[tokio::test]
    async fn a_store_is_followed_through_the_adapter() {
        let directory = tempfile::tempdir().unwrap();
        let store = EmbeddedStore::open(directory.path()).unwrap();
        let feed = MirrorFeed::new(Arc::new(store.clone()));
        let start = feed.position().await.unwrap();
        let event = Event::Revision {
            revision: Revision::new("r1").unwrap(),
            visibility: Visibility::Public,
            priority: Priority::Normal,
            force: false,
        };
        let mut news = feed.watch();
        let name = DatasetName::new("u/d").unwrap();
        let submitted = store.submit(&name, &event, TimestampMs(1)).await.unwrap();
        assert!(news.has_changed().unwrap());
        assert_eq!(*news.borrow_and_update(), submitted.position.seq);
        assert_eq!(feed.position().await.unwrap(), submitted.position);
        let changes = feed.changes_after(start, 10).await.unwrap();
        assert_eq!(changes, Changes::Known(vec![(submitted.position.seq, Changed::Dataset(name))]));
        let other = Position { epoch: Epoch(!start.epoch.0), ..start };
        assert_eq!(feed.changes_after(other, 10).await.unwrap(), Changes::Gap);
        let future = Position { seq: 99, ..start };
        assert_eq!(feed.changes_after(future, 10).await.unwrap(), Changes::Gap);
    }
}
