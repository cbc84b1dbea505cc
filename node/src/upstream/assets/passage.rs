//! The way of an asset's bytes to one reader.
//!
//! Owns where they are taken from: what is on its way here, then the node's own store, else an upstream. A body that
//! began is of one file to its end, or ends in an error.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use outpost_model::AssetPath;
use outpost_storage::{AssetForm, AssetHead, StorageError};
use outpost_sync::wire::Message;
use outpost_sync::{Answer, call};

use super::coming::{Coming, Progress};
use super::{Inner, failed};
use crate::http::error::ApiError;
use crate::http::routes::assets::{AssetStream, PassingAsset, blocks};

/// See the module.
pub(super) struct Passage {
    inner: Arc<Inner>,
    path: AssetPath,
    head: AssetHead,
    coming: Option<Arc<Coming>>,
    hops: u8,
}

impl Passage {
    pub(super) fn new(
        inner: Arc<Inner>,
        path: AssetPath,
        head: AssetHead,
        coming: Option<Arc<Coming>>,
        hops: u8,
    ) -> Self {
        Self { inner, path, head, coming, hops }
    }

    /// Where a range is read from at first.
    async fn origin(self: &Arc<Self>, range: &Range<u64>) -> Result<Origin, ApiError> {
        if let Some(coming) = &self.coming {
            match coming.progress() {
                Progress::Here(here) if range.start <= here => return Ok(Origin::Coming(Arc::clone(coming))),
                Progress::Here(_) | Progress::Settled { .. } => {}
                Progress::Lost => return Err(ApiError::upstream_not_reached()),
            }
        }
        self.settled(range.clone()).await.map(Origin::Settled)
    }

    /// A range from the node's own store, else from upstream.
    async fn settled(self: &Arc<Self>, range: Range<u64>) -> Result<AssetStream, ApiError> {
        let (this, wanted) = (Arc::clone(self), range.clone());
        let stored = tokio::task::spawn_blocking(move || this.stored(wanted)).await;
        match stored.map_err(|error| failed(&error.to_string()))? {
            Ok(Some(stream)) => Ok(stream),
            Ok(None) | Err(StorageError::Damaged(_)) => self.upstream(range).await,
            Err(error) => Err(failed(&error.to_string())),
        }
    }

    fn stored(&self, range: Range<u64>) -> Result<Option<AssetStream>, StorageError> {
        match self.inner.keeper.store().open(&self.path)? {
            Some(asset) if asset.head.hash == self.head.hash => {
                asset.body.read(AssetForm::Identity, range).map(|reader| Some(blocks(reader)))
            }
            _ => Ok(None),
        }
    }

    async fn upstream(&self, range: Range<u64>) -> Result<AssetStream, ApiError> {
        let length = range.end - range.start;
        let (head, answer) = self.inner.open(&self.path, range.start, Some(length), self.hops).await?;
        if head.hash != self.head.hash {
            tracing::warn!(path = %self.path, "the upstream has another asset at this path than it announced");
            return Err(ApiError::upstream_not_reached());
        }
        let check = (range == (0..head.bytes)).then(|| (Box::new(blake3::Hasher::new()), head.hash));
        let arriving = Arriving { answer, left: length, check };
        Ok(futures::stream::try_unfold(arriving, Arriving::next).boxed())
    }
}

/// Where the bytes come from now, and which are still to come.
struct Course {
    passage: Arc<Passage>,
    origin: Origin,
    left: Range<u64>,
}

enum Origin {
    Coming(Arc<Coming>),
    Settled(AssetStream),
}

#[async_trait]
impl PassingAsset for Arc<Passage> {
    fn head(&self) -> &AssetHead {
        &self.head
    }

    async fn read(&self, range: Range<u64>) -> Result<AssetStream, ApiError> {
        if range.is_empty() {
            return Ok(futures::stream::empty().boxed());
        }
        let origin = self.origin(&range).await?;
        let course = Course { passage: Arc::clone(self), origin, left: range };
        // The first bytes are waited for, so that none at all is still an error answer.
        match course.next().await {
            Ok(Some((first, course))) => {
                let rest = futures::stream::try_unfold(course, Course::next);
                Ok(futures::stream::once(std::future::ready(Ok(first))).chain(rest).boxed())
            }
            Ok(None) => Ok(futures::stream::empty().boxed()),
            Err(error) => {
                tracing::debug!(path = %self.path, %error, "an asset did not arrive");
                Err(ApiError::upstream_not_reached())
            }
        }
    }
}

impl Course {
    async fn next(mut self) -> std::io::Result<Option<(Bytes, Self)>> {
        if self.left.is_empty() {
            return Ok(None);
        }
        let block = match &mut self.origin {
            Origin::Settled(stream) => stream.next().await.unwrap_or_else(|| Err(ended_early()))?,
            Origin::Coming(coming) => {
                match coming.block(self.left.clone()).await.map_err(std::io::Error::other)? {
                    Some(block) => block,
                    None => {
                        let settled = self.passage.settled(self.left.clone()).await;
                        let mut settled =
                            settled.map_err(|error| std::io::Error::other(error.message.to_string()))?;
                        let block = settled.next().await.unwrap_or_else(|| Err(ended_early()))?;
                        self.origin = Origin::Settled(settled);
                        block
                    }
                }
            }
        };
        self.left.start += block.len() as u64;
        Ok(Some((block, self)))
    }
}

fn ended_early() -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::UnexpectedEof, "the asset ended early")
}

/// Bytes that come from an upstream for one reader.
struct Arriving {
    answer: Answer,
    left: u64,
    /// Of a whole file, which is checked as it goes by.
    check: Option<(Box<blake3::Hasher>, [u8; 32])>,
}

impl Arriving {
    /// The next part, of which exactly `left` bytes must come.
    async fn next(mut self) -> std::io::Result<Option<(Bytes, Self)>> {
        if self.left == 0 {
            return Ok(None);
        }
        let bytes: Bytes = match self.answer.expect().await.map_err(std::io::Error::other)? {
            Message::Part(part) if (1..=self.left).contains(&(part.bytes.len() as u64)) => part.bytes.into(),
            other => return Err(std::io::Error::other(call::unexpected(&other))),
        };
        self.left -= bytes.len() as u64;
        if let Some((hasher, hash)) = &mut self.check {
            hasher.update(&bytes);
            if self.left == 0 && *hasher.finalize().as_bytes() != *hash {
                return Err(std::io::Error::other("it is not the file that was announced"));
            }
        }
        Ok(Some((bytes, self)))
    }
}
