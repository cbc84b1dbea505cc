//! The feed that a node serves to its followers (PROTOCOL.md section 4).
//!
//! Owns the answers to `head`, `compare`, `fill` and `tail` over a source. Sends only what is on disk. Refuses callers
//! that this node follows itself. For a follower that does not read, one batch at most is kept, and not for long: its
//! answer ends, whatever the connection does.

mod batch;
mod batches;
mod compare;
mod fill;
mod tail;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, stream};
use outpost_model::items::SetHash;
use outpost_model::{Position, limits};
use tokio::sync::{Semaphore, mpsc};

use crate::call::{Call, Refusal, RefusalCode};
use crate::frame;
use crate::node_id::NodeId;
use crate::source::{Source, StoreError};
use crate::wire::{self, Message};
use batches::Batches;

/// What a node knows of itself.
pub trait Standing: Send + Sync + 'static {
    /// Its name, new at each start.
    fn node(&self) -> NodeId;

    /// The nodes from the origin to this one, which is the last.
    fn path(&self) -> Vec<NodeId>;

    /// How old its state on disk may be, which is at this position, in ms; `None` when it cannot know.
    fn age_ms(&self, at: &Position) -> Option<u64>;
}

/// An answer, frame by frame.
pub type Frames = BoxStream<'static, Bytes>;

/// See the module.
pub struct Server {
    source: Arc<dyn Source>,
    standing: Arc<dyn Standing>,
    batches: Batches,
    followers: Arc<Semaphore>,
    calls: Arc<Semaphore>,
}

impl Server {
    /// Serves `source`.
    #[must_use]
    pub fn new(source: Arc<dyn Source>, standing: Arc<dyn Standing>) -> Arc<Self> {
        Arc::new(Self {
            batches: Batches::new(Arc::clone(&source)),
            source,
            standing,
            followers: Arc::new(Semaphore::new(limits::SYNC_FOLLOWERS_MAX)),
            calls: Arc::new(Semaphore::new(limits::SYNC_CALLS_AT_ONCE_MAX)),
        })
    }

    /// Followers that are being told of changes.
    #[must_use]
    pub fn followers(&self) -> usize {
        limits::SYNC_FOLLOWERS_MAX - self.followers.available_permits()
    }

    /// Where this node stands.
    #[must_use]
    pub fn head(&self) -> wire::Head {
        let head = self.source.head();
        wire::Head {
            node: self.standing.node().0,
            path: self.standing.path().iter().map(|node| node.0).collect(),
            epoch: head.position.epoch.0,
            seq: head.position.seq,
            set_hash: head.set_hash.map(SetHash::to_bytes),
            records: head.records,
            left: head.left.iter().map(|epoch| epoch.0).collect(),
            age_ms: self.standing.age_ms(&head.position),
            is_filled: head.position.seq > 0,
        }
    }

    /// Answers a call. [`Call::Lookup`], [`Call::Webhook`] and [`Call::Asset`] are not the feed's to answer.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn answer(self: &Arc<Self>, call: Call, request: Message) -> Result<Frames, Refusal> {
        match (call, request) {
            (Call::Head, Message::Compare(request)) => {
                self.check_caller(request.node)?;
                Ok(once(&[self.head().into()]))
            }
            (Call::Compare, Message::Compare(request)) => {
                self.check_caller(request.node)?;
                let _permit = self.permit()?;
                let head = self.filled_head()?;
                let ranges = compare::compare(&*self.source, &request).await?;
                Ok(once(&[head.into(), ranges.into()]))
            }
            (Call::Fill, Message::Fill(request)) => {
                self.check_caller(request.node)?;
                fill::check(&request)?;
                let permit = self.permit()?;
                let head = self.filled_head()?;
                Ok(self.stream(permit, |server, out| fill::fill(server, head, request, out)))
            }
            (Call::Tail, Message::Tail(request)) => {
                self.check_caller(request.node)?;
                let permit = permit(&self.followers)?;
                tail::check(&*self.source, &request).await?;
                Ok(self.stream(permit, |server, out| tail::tail(server, request, out)))
            }
            (call, other) => Err(Refusal::new(
                RefusalCode::Malformed,
                format!("the call {} does not take a {}", call.name(), other.name()),
            )),
        }
    }

    fn check_caller(&self, node: u128) -> Result<(), Refusal> {
        if node == self.standing.node().0 {
            return Err(Refusal::new(
                RefusalCode::Loop,
                "this node was told to follow itself; give it another --upstream",
            ));
        }
        if self.standing.path().contains(&NodeId(node)) {
            return Err(Refusal::new(
                RefusalCode::Loop,
                "this node follows the caller, directly or through others: give the caller another --upstream",
            ));
        }
        Ok(())
    }

    fn filled_head(&self) -> Result<wire::Head, Refusal> {
        let head = self.head();
        if head.is_filled {
            return Ok(head);
        }
        Err(Refusal::new(
            RefusalCode::NotFilled,
            "this node has no data yet; it will, once its own upstream was reached",
        ))
    }

    fn permit(&self) -> Result<tokio::sync::OwnedSemaphorePermit, Refusal> {
        permit(&self.calls)
    }

    /// Runs `write` for as long as the answer is read.
    fn stream<F>(
        self: &Arc<Self>,
        permit: tokio::sync::OwnedSemaphorePermit,
        write: impl FnOnce(Arc<Self>, Out) -> F,
    ) -> Frames
    where
        F: Future<Output = Result<(), Ended>> + Send + 'static,
    {
        let (sender, mut frames) = mpsc::channel(1);
        let writing = write(Arc::clone(self), Out { sender });
        tokio::spawn(async move {
            let _permit = permit;
            match writing.await {
                Ok(()) | Err(Ended::NotRead) => {}
                Err(Ended::Failed(error)) => tracing::warn!(%error, "an answer to another node ended early"),
            }
        });
        stream::poll_fn(move |context| frames.poll_recv(context)).boxed()
    }
}

fn permit(of: &Arc<Semaphore>) -> Result<tokio::sync::OwnedSemaphorePermit, Refusal> {
    Arc::clone(of).try_acquire_owned().map_err(|_| {
        Refusal::new(RefusalCode::Busy, "too many nodes ask at once; let some follow a replica instead")
    })
}

fn once(messages: &[Message]) -> Frames {
    stream::iter(messages.iter().map(frame::encode).collect::<Vec<_>>()).boxed()
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        tracing::error!(%error, "failed to read for another node");
        Self::new(RefusalCode::Failed, "this node's store failed; its log says why")
    }
}

/// Why an answer was not written to its end.
#[derive(Debug)]
enum Ended {
    /// The caller is gone, or takes nothing.
    NotRead,
    /// This node cannot go on.
    Failed(String),
}

impl From<StoreError> for Ended {
    fn from(error: StoreError) -> Self {
        Self::Failed(error.to_string())
    }
}

/// Where an answer is written to.
struct Out {
    sender: mpsc::Sender<Bytes>,
}

impl Out {
    async fn send(&self, message: impl Into<Message>) -> Result<(), Ended> {
        self.send_frame(frame::encode(&message.into())).await
    }

    async fn send_frame(&self, frame: Bytes) -> Result<(), Ended> {
        let patience = Duration::from_millis(limits::RESPONSE_STALL_TIMEOUT_MS);
        match tokio::time::timeout(patience, self.sender.send(frame)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Ended::NotRead),
        }
    }

    /// Returns when nobody reads any more.
    async fn closed(&self) {
        self.sender.closed().await;
    }
}

#[cfg(test)]
mod tests;
