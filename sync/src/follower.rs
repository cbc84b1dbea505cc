//! The follower: tells a sink of every change of a feed, in order, or to forget everything.
//!
//! Owns the promise that a sink misses nothing: after each call it knows every change up to the position reached, or it
//! was told to forget and starts over from there. A change may be told twice, never out of order and never after the
//! position that contains it. A feed that fails is asked again; the sink forgets, because meanwhile it cannot know.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use outpost_model::{Changed, Position, limits};

use crate::feed::{ChangeFeed, Changes, FeedError};

/// What a follower keeps up to date. Its methods are quick and cannot fail.
pub trait Sink: Send + 'static {
    /// Takes note that something changed. Taking note twice is the same as once.
    fn changed(&mut self, change: &Changed);

    /// Drops everything that was derived so far: any of it may have changed.
    fn forget_everything(&mut self);

    /// Takes note that everything up to `position` was told.
    fn reached(&mut self, position: Position);
}

/// See the module.
pub struct Follower<S> {
    feed: Arc<dyn ChangeFeed>,
    sink: S,
    /// Everything up to here was told; `None` when the sink must forget first.
    at: Option<Position>,
    retry_after: Duration,
}

impl<S: Sink> Follower<S> {
    /// A follower that begins where the feed stands when it is first asked, with an empty sink.
    #[must_use]
    pub fn new(feed: Arc<dyn ChangeFeed>, sink: S) -> Self {
        let retry_after = Duration::from_millis(limits::FOLLOW_RETRY_MS);
        Self { feed, sink, at: None, retry_after }
    }

    /// As [`Follower::new`], for a sink that holds what follows from everything up to `position`.
    #[must_use]
    pub fn resuming(feed: Arc<dyn ChangeFeed>, sink: S, position: Position) -> Self {
        Self { at: Some(position), ..Self::new(feed, sink) }
    }

    /// Follows until `shutdown` resolves or the feed ends; returns the sink as it was then left.
    pub async fn run(mut self, shutdown: impl Future<Output = ()> + Send) -> S {
        let mut shutdown = std::pin::pin!(shutdown);
        let mut news = self.feed.watch();
        loop {
            // Marked as seen before reading, so that a change during the read wakes the follower again.
            news.borrow_and_update();
            let caught_up = tokio::select! {
                () = &mut shutdown => return self.sink,
                caught_up = self.catch_up() => caught_up,
            };
            let retry = match caught_up {
                Ok(()) => None,
                Err(error) => {
                    tracing::warn!(%error, "lost track of a feed, trying again");
                    self.at = None;
                    self.sink.forget_everything();
                    Some(self.retry_after)
                }
            };
            tokio::select! {
                () = &mut shutdown => return self.sink,
                changed = news.changed(), if retry.is_none() => if changed.is_err() { return self.sink },
                () = tokio::time::sleep(retry.unwrap_or_default()), if retry.is_some() => {}
            }
        }
    }

    /// Tells everything that the feed has. Each wait happens between two consistent states of the sink, so that it may
    /// be given up at any of them.
    async fn catch_up(&mut self) -> Result<(), FeedError> {
        let mut limit = limits::FOLLOW_BATCH_MAX;
        loop {
            let head = self.feed.position().await?;
            let Some(at) = self.at.filter(|at| at.epoch == head.epoch && at.seq <= head.seq) else {
                self.start_over(head);
                continue;
            };
            if at == head {
                return Ok(());
            }
            let Changes::Known(changes) = self.feed.changes_after(at, limit).await? else {
                tracing::info!(from = %at, to = %head, "the feed does not reach back, starting over");
                self.start_over(head);
                continue;
            };
            for (_, change) in &changes {
                self.sink.changed(change);
            }
            match last_whole_seq(&changes, limit) {
                None if changes.is_empty() => self.advance(head),
                // More changes were made together than fit: all of them must be told before any counts.
                None => limit = limit.saturating_mul(2),
                Some(seq) => {
                    self.advance(Position { seq, ..at });
                    limit = limits::FOLLOW_BATCH_MAX;
                }
            }
        }
    }

    fn start_over(&mut self, head: Position) {
        self.sink.forget_everything();
        self.advance(head);
    }

    fn advance(&mut self, position: Position) {
        self.at = Some(position);
        self.sink.reached(position);
    }
}

/// The greatest seq whose changes are all among `changes`: a full batch may end amid changes that share a seq.
fn last_whole_seq(changes: &[(u64, Changed)], limit: usize) -> Option<u64> {
    let (last, _) = changes.last()?;
    if changes.len() < limit {
        return Some(*last);
    }
    changes.iter().rev().map(|(seq, _)| *seq).find(|seq| seq < last)
}

#[cfg(test)]
mod tests;
