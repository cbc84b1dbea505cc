//! Assets of a replica: fetched from upstream, ahead of readers or when one first asks.
//!
//! Owns what is kept: files up to a size, within a budget; those that were read longest ago give way. A file is kept only
//! when it is the one that the upstream announced. Larger ones are passed through, the part that is asked for. One fetch
//! per file at a time, few at once; none begins ahead of readers while one of them waits.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::{BoxFuture, Shared};
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use outpost_model::{AssetPath, AssetSplit, TimestampMs, limits};
use outpost_storage::{AssetHead, AssetScope, AssetStore, StorageError};
use outpost_sync::wire::{self, Message};
use outpost_sync::{Answer, Call, CallError, Upstream, call};
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, timeout};

use crate::clock;
use crate::http::error::ApiError;
use crate::http::routes::assets::{AssetSource, Fetched};

type Flight = Shared<BoxFuture<'static, Result<Fetched, ApiError>>>;

/// See the module.
pub struct AssetFetcher {
    inner: Arc<Inner>,
}

struct Inner {
    upstreams: Vec<Arc<dyn Upstream>>,
    store: Arc<dyn AssetStore>,
    permits: Semaphore,
    permits_ahead: Semaphore,
    flights: Mutex<HashMap<AssetPath, Flight>>,
    /// Fetches under way that began for a reader.
    readers: watch::Sender<usize>,
    kept: AtomicU64,
    kept_bytes: AtomicU64,
    /// When rows were last read.
    used: Mutex<HashMap<AssetSplit, Instant>>,
}

/// Who a fetch is begun for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    Reader,
    Nobody,
}

/// Counts a fetch for a reader until it is dropped.
struct ForReader(Arc<Inner>);

impl ForReader {
    fn begin(inner: &Arc<Inner>) -> Self {
        inner.readers.send_modify(|readers| *readers += 1);
        Self(Arc::clone(inner))
    }
}

impl Drop for ForReader {
    fn drop(&mut self) {
        self.0.readers.send_modify(|readers| *readers -= 1);
    }
}

impl AssetFetcher {
    /// Fetches from `upstreams` into `store`.
    #[must_use]
    pub fn new(upstreams: Vec<Arc<dyn Upstream>>, store: Arc<dyn AssetStore>) -> Self {
        Self {
            inner: Arc::new(Inner {
                upstreams,
                store,
                permits: Semaphore::new(limits::ASSET_FETCHES_MAX),
                permits_ahead: Semaphore::new(limits::ASSETS_AHEAD_IN_FLIGHT_MAX),
                flights: Mutex::default(),
                readers: watch::Sender::new(0),
                kept: AtomicU64::new(0),
                kept_bytes: AtomicU64::new(0),
                used: Mutex::default(),
            }),
        }
    }

    /// Fetches an asset that nobody has asked for, once no reader waits for one.
    ///
    /// # Errors
    /// As [`AssetSource::fetch`].
    pub async fn fetch_ahead(&self, path: &AssetPath) -> Result<Fetched, ApiError> {
        // The sender lives as long as `self`, so waiting cannot fail.
        let _ = self.inner.readers.subscribe().wait_for(|readers| *readers == 0).await;
        let Some(flight) = self.board(path, 0, Cause::Nobody) else {
            return Err(ApiError::upstream_not_reached());
        };
        flight.await
    }

    /// Assets fetched and kept since the start, and their bytes.
    #[must_use]
    pub fn kept(&self) -> (u64, u64) {
        (self.inner.kept.load(Ordering::Relaxed), self.inner.kept_bytes.load(Ordering::Relaxed))
    }

    fn board(&self, path: &AssetPath, hops: u8, cause: Cause) -> Option<Flight> {
        let mut flights = lock(&self.inner.flights);
        if let Some(flight) = flights.get(path) {
            return Some(flight.clone());
        }
        if flights.len() >= limits::LOOKUPS_WAITING_MAX {
            return None;
        }
        let (inner, asked) = (Arc::clone(&self.inner), path.clone());
        let for_reader = (cause == Cause::Reader).then(|| ForReader::begin(&inner));
        let landing = tokio::spawn(async move {
            let _for_reader = for_reader;
            let fetched = inner.fetch(&asked, hops, cause).await;
            lock(&inner.flights).remove(&asked);
            fetched
        });
        let flight =
            landing.map(|fetched| fetched.unwrap_or_else(|_| Err(ApiError::unexpected()))).boxed().shared();
        flights.insert(path.clone(), flight.clone());
        Some(flight)
    }
}

#[async_trait]
impl AssetSource for AssetFetcher {
    async fn fetch(&self, path: &AssetPath, hops: u8) -> Result<Fetched, ApiError> {
        let Some(flight) = self.board(path, hops, Cause::Reader) else {
            return Err(ApiError::upstream_not_reached());
        };
        flight.await
    }

    async fn read(
        &self,
        path: &AssetPath,
        range: Range<u64>,
        hops: u8,
    ) -> Result<BoxStream<'static, std::io::Result<Bytes>>, ApiError> {
        let (_, answer) = self.inner.open(path, range.start, Some(range.end - range.start), hops).await?;
        let left = range.end - range.start;
        Ok(futures::stream::try_unfold((answer, left), next_part).boxed())
    }

    fn was_read(&self, rows: &AssetSplit) {
        lock(&self.inner.used).insert(rows.clone(), Instant::now());
    }
}

/// The next part, of which exactly `left` bytes must come.
async fn next_part((mut answer, left): (Answer, u64)) -> std::io::Result<Option<(Bytes, (Answer, u64))>> {
    if left == 0 {
        return Ok(None);
    }
    match answer.expect().await.map_err(std::io::Error::other)? {
        Message::Part(part) if (1..=left).contains(&(part.bytes.len() as u64)) => {
            let left = left - part.bytes.len() as u64;
            Ok(Some((part.bytes.into(), (answer, left))))
        }
        other => Err(std::io::Error::other(call::unexpected(&other))),
    }
}

impl Inner {
    async fn fetch(&self, path: &AssetPath, hops: u8, cause: Cause) -> Result<Fetched, ApiError> {
        let permits = match cause {
            Cause::Reader => &self.permits,
            Cause::Nobody => &self.permits_ahead,
        };
        let _permit = permits.acquire().await;
        let (head, mut answer) = match self.open(path, 0, None, hops).await {
            Ok(opened) => opened,
            Err(error) if error == ApiError::not_found() => return Ok(Fetched::Missing),
            Err(error) => return Err(error),
        };
        if head.bytes > limits::ASSET_KEPT_BYTES_MAX {
            let (content_type, bytes, hash) = (head.content_type, head.bytes, head.hash);
            return Ok(Fetched::Large(AssetHead { content_type, bytes, hash, zstd_bytes: None }));
        }
        let wait = Duration::from_millis(limits::SYNC_MESSAGE_TIMEOUT_MS);
        let bytes = timeout(wait, gather(&mut answer, head.bytes)).await;
        let bytes =
            bytes.map_err(|_| ApiError::upstream_not_reached())?.map_err(|error| lost(path, &error))?;
        if *blake3::hash(&bytes).as_bytes() != head.hash {
            tracing::warn!(%path, "the upstream sent an asset that is not the one it announced");
            return Err(ApiError::upstream_not_reached());
        }
        let (store, path) = (Arc::clone(&self.store), path.clone());
        let used = lock(&self.used).clone();
        let kept = tokio::task::spawn_blocking(move || {
            make_room(&*store, &used, head.bytes, clock::now())?;
            store.put(&path, &head.content_type, &bytes)
        });
        match kept.await {
            Ok(Ok(())) => {
                self.kept.fetch_add(1, Ordering::Relaxed);
                self.kept_bytes.fetch_add(head.bytes, Ordering::Relaxed);
                Ok(Fetched::Stored)
            }
            Ok(Err(error)) => Err(failed(&error.to_string())),
            Err(error) => Err(failed(&error.to_string())),
        }
    }

    /// The head of an asset and the answer that its bytes come by.
    async fn open(
        &self,
        path: &AssetPath,
        from: u64,
        bytes: Option<u64>,
        hops: u8,
    ) -> Result<(wire::AssetHead, Answer), ApiError> {
        for upstream in &self.upstreams {
            let request = wire::Asset { path: path.to_string(), from, bytes, hops };
            match ask(&**upstream, request).await {
                Ok((head, _)) if !head.is_found => return Err(ApiError::not_found()),
                Ok(opened) => return Ok(opened),
                Err(error) => {
                    tracing::debug!(upstream = upstream.name(), %error, "an asset could not be asked for");
                }
            }
        }
        Err(ApiError::upstream_not_reached())
    }
}

async fn ask(upstream: &dyn Upstream, request: wire::Asset) -> Result<(wire::AssetHead, Answer), CallError> {
    let mut answer = Answer::of(upstream, Call::Asset, request.into()).await?;
    match answer.expect().await? {
        Message::AssetHead(head) => Ok((head, answer)),
        other => Err(call::unexpected(&other)),
    }
}

/// Exactly `length` bytes, which the limit has passed.
async fn gather(answer: &mut Answer, length: u64) -> Result<Vec<u8>, CallError> {
    let mut bytes = Vec::new();
    while (bytes.len() as u64) < length {
        match answer.expect().await? {
            Message::Part(part) if !part.bytes.is_empty() => bytes.extend_from_slice(&part.bytes),
            other => return Err(call::unexpected(&other)),
        }
    }
    Ok(bytes)
}

/// Deletes the assets of rows that were read longest ago until `bytes` more fit into the budget.
fn make_room(
    store: &dyn AssetStore,
    used: &HashMap<AssetSplit, Instant>,
    bytes: u64,
    now: TimestampMs,
) -> Result<(), StorageError> {
    while store.stats()?.stored_bytes.saturating_add(bytes) > limits::ASSET_MIRROR_BYTES_MAX {
        let rows = store.rows(None, None, limits::ASSET_SPLITS_PAGE)?;
        let Some(oldest) = rows.into_iter().min_by_key(|rows| used.get(rows).copied()) else { return Ok(()) };
        if store.delete(&AssetScope::Rows(oldest), &[], TimestampMs(now.0 + 1))? == 0 {
            return Ok(());
        }
    }
    Ok(())
}

fn lost(path: &AssetPath, error: &CallError) -> ApiError {
    tracing::debug!(%path, %error, "an asset did not arrive");
    ApiError::upstream_not_reached()
}

fn failed(cause: &str) -> ApiError {
    tracing::error!(cause, "failed to keep an asset");
    ApiError::unexpected()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
