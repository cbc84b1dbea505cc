//! Assets of a replica: fetched from upstream, ahead of readers or when one first asks.
//!
//! Owns the fetches: one per file at a time, few at once; none begins ahead of readers while one of them waits. What
//! comes is passed to readers as it comes and kept, where [`keeper`] has room, when it is the file that the upstream
//! announced; the rest is passed through, the part that is asked for. A fetch goes on when its readers went away.

mod coming;
mod keeper;
mod passage;
mod reads;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use outpost_model::{AssetPath, AssetSplit, limits};
use outpost_storage::{AssetHead, AssetStore, Disk};
use outpost_sync::wire::{self, Message};
use outpost_sync::{Answer, Call, CallError, Upstream, call};
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::time::timeout;

use self::coming::Coming;
use self::keeper::{Admission, Keeper};
use self::passage::Passage;
use crate::http::error::ApiError;
use crate::http::routes::assets::{AssetSource, Fetched};

pub use self::keeper::AssetBounds;

type Flight = Shared<BoxFuture<'static, Result<Opened, ApiError>>>;

/// See the module.
pub struct AssetFetcher {
    inner: Arc<Inner>,
}

struct Inner {
    upstreams: Vec<Arc<dyn Upstream>>,
    keeper: Arc<Keeper>,
    permits: Semaphore,
    permits_ahead: Semaphore,
    flights: Mutex<HashMap<AssetPath, Flight>>,
    /// Fetches under way that began for a reader.
    readers: watch::Sender<usize>,
}

/// What became of an asset that was fetched before it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Brought {
    /// It is kept.
    Kept,
    /// There is none, or it is too large to be kept.
    Skipped,
    /// There was no room for it, in memory or on the disk.
    NoRoom,
    /// It did not arrive.
    Failed,
}

/// What is known of an asset once the upstream has begun to answer.
#[derive(Clone)]
enum Opened {
    Missing,
    /// It comes, and is to be kept.
    Coming(Arc<Coming>),
    /// It is not kept.
    Large(AssetHead),
    /// As [`Opened::Large`], because there is no room for it now.
    NoRoom(AssetHead),
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

/// Removes a flight when it has ended, however it did.
struct Ending {
    inner: Arc<Inner>,
    path: AssetPath,
}

impl Drop for Ending {
    fn drop(&mut self) {
        lock(&self.inner.flights).remove(&self.path);
    }
}

impl AssetFetcher {
    /// Fetches from `upstreams` into `store`, within `bounds` and what `disk` has room for.
    #[must_use]
    pub fn new(
        upstreams: Vec<Arc<dyn Upstream>>,
        store: Arc<dyn AssetStore>,
        bounds: AssetBounds,
        disk: Disk,
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                upstreams,
                keeper: Arc::new(Keeper::new(store, bounds, disk)),
                permits: Semaphore::new(limits::ASSET_FETCHES_MAX),
                permits_ahead: Semaphore::new(limits::ASSETS_AHEAD_IN_FLIGHT_MAX),
                flights: Mutex::default(),
                readers: watch::Sender::new(0),
            }),
        }
    }

    /// Fetches an asset that nobody has asked for, once no reader waits for one.
    pub async fn fetch_ahead(&self, path: &AssetPath) -> Brought {
        // The sender lives as long as `self`, so waiting cannot fail.
        let _ = self.inner.readers.subscribe().wait_for(|readers| *readers == 0).await;
        let Some(flight) = self.board(path, 0, Cause::Nobody) else { return Brought::Failed };
        match flight.await {
            Ok(Opened::Coming(coming)) => match coming.ended().await {
                Ok(true) => Brought::Kept,
                Ok(false) => Brought::NoRoom,
                Err(_) => Brought::Failed,
            },
            Ok(Opened::Missing | Opened::Large(_)) => Brought::Skipped,
            Ok(Opened::NoRoom(_)) => Brought::NoRoom,
            Err(error) => {
                tracing::debug!(%path, error = %error.message, "an asset did not come");
                Brought::Failed
            }
        }
    }

    /// Assets fetched and kept since the start, and their bytes.
    #[must_use]
    pub fn kept(&self) -> (u64, u64) {
        self.inner.keeper.kept()
    }

    /// Notes now and then in which order assets were read.
    pub async fn note_reads_loop(self: Arc<Self>) {
        loop {
            tokio::time::sleep(Duration::from_millis(limits::ASSET_READS_NOTED_MS)).await;
            self.note_reads().await;
        }
    }

    /// Notes in which order assets were read, for the next start.
    pub async fn note_reads(&self) {
        let keeper = Arc::clone(&self.inner.keeper);
        // Nothing but the order is lost with it.
        let _ = tokio::task::spawn_blocking(move || keeper.note_reads()).await;
    }

    /// The fetch of `path` that is under way, else a new one; `None` when too many wait.
    fn board(&self, path: &AssetPath, hops: u8, cause: Cause) -> Option<Flight> {
        let mut flights = lock(&self.inner.flights);
        if let Some(flight) = flights.get(path) {
            return Some(flight.clone());
        }
        if flights.len() >= limits::LOOKUPS_WAITING_MAX {
            return None;
        }
        let (inner, path) = (Arc::clone(&self.inner), path.clone());
        let (tell, told) = oneshot::channel();
        let flight =
            told.map(|opened| opened.unwrap_or_else(|_| Err(ApiError::unexpected()))).boxed().shared();
        flights.insert(path.clone(), flight.clone());
        let for_reader = (cause == Cause::Reader).then(|| ForReader::begin(&inner));
        tokio::spawn(async move {
            let _for_reader = for_reader;
            let ending = Ending { inner: Arc::clone(&inner), path };
            inner.fly(&ending.path, hops, cause, tell).await;
        });
        Some(flight)
    }
}

#[async_trait]
impl AssetSource for AssetFetcher {
    async fn fetch(&self, path: &AssetPath, hops: u8) -> Result<Fetched, ApiError> {
        let Some(flight) = self.board(path, hops, Cause::Reader) else {
            return Err(ApiError::upstream_not_reached());
        };
        let (head, coming) = match flight.await? {
            Opened::Missing => return Ok(Fetched::Missing),
            Opened::Coming(coming) => (coming.head().clone(), Some(coming)),
            Opened::Large(head) | Opened::NoRoom(head) => (head, None),
        };
        let passage = Passage::new(Arc::clone(&self.inner), path.clone(), head, coming, hops);
        Ok(Fetched::Passing(Box::new(Arc::new(passage))))
    }

    fn was_read(&self, rows: &AssetSplit) {
        self.inner.keeper.was_read(rows);
    }
}

impl Inner {
    /// Fetches an asset. Tells what it is as soon as that is known.
    async fn fly(
        &self,
        path: &AssetPath,
        hops: u8,
        cause: Cause,
        tell: oneshot::Sender<Result<Opened, ApiError>>,
    ) {
        let permits = match cause {
            Cause::Reader => &self.permits,
            Cause::Nobody => &self.permits_ahead,
        };
        let _permit = permits.acquire().await;
        // Nobody may be left to be told; the asset is kept for the next one.
        let (coming, answer) = match self.begin(path, hops).await {
            Ok((Opened::Coming(coming), answer)) => {
                let _ = tell.send(Ok(Opened::Coming(Arc::clone(&coming))));
                (coming, answer)
            }
            Ok((other, _)) => {
                let _ = tell.send(Ok(other));
                return;
            }
            Err(error) if error == ApiError::not_found() => {
                let _ = tell.send(Ok(Opened::Missing));
                return;
            }
            Err(error) => {
                let _ = tell.send(Err(error));
                return;
            }
        };
        let wait = Duration::from_millis(limits::ASSET_FETCH_TIMEOUT_MS);
        match timeout(wait, gather(answer, &coming)).await {
            Ok(Ok(())) => coming.settle(self.keep(path, &coming).await),
            Ok(Err(error)) => tracing::warn!(%path, %error, "an asset did not arrive"),
            Err(_) => tracing::warn!(%path, "an asset did not arrive within {wait:?}"),
        }
    }

    /// Asks for an asset and for room to keep it in.
    async fn begin(&self, path: &AssetPath, hops: u8) -> Result<(Opened, Answer), ApiError> {
        let (head, answer) = self.open(path, 0, None, hops).await?;
        let (keeper, bytes) = (Arc::clone(&self.keeper), head.bytes);
        let admitted = tokio::task::spawn_blocking(move || keeper.admit(bytes)).await;
        let opened = match admitted.map_err(|error| failed(&error.to_string()))? {
            Admission::Granted(memory) => Opened::Coming(Arc::new(Coming::new(head, memory))),
            Admission::TooLarge => Opened::Large(head),
            Admission::NotNow => Opened::NoRoom(head),
        };
        Ok((opened, answer))
    }

    /// Stores what came; says whether.
    async fn keep(&self, path: &AssetPath, coming: &Arc<Coming>) -> bool {
        let (keeper, path, coming) = (Arc::clone(&self.keeper), path.clone(), Arc::clone(coming));
        let keeping = tokio::task::spawn_blocking(move || {
            coming.with_bytes(|bytes| keeper.keep(&path, coming.head(), bytes))
        });
        match keeping.await {
            Ok(Ok(kept)) => kept,
            Ok(Err(error)) => {
                tracing::error!(%error, "failed to keep an asset");
                false
            }
            Err(error) => {
                tracing::error!(%error, "keeping an asset panicked");
                false
            }
        }
    }

    /// The head of an asset and the answer that its bytes come by.
    async fn open(
        &self,
        path: &AssetPath,
        from: u64,
        bytes: Option<u64>,
        hops: u8,
    ) -> Result<(AssetHead, Answer), ApiError> {
        for upstream in &self.upstreams {
            let request = wire::Asset { path: path.to_string(), from, bytes, hops };
            match ask(&**upstream, request).await {
                Ok((head, _)) if !head.is_found => return Err(ApiError::not_found()),
                Ok((head, answer)) => {
                    let wire::AssetHead { content_type, bytes, hash, .. } = head;
                    return Ok((AssetHead { content_type, bytes, hash, zstd_bytes: None }, answer));
                }
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

/// Puts all of an asset's bytes in.
async fn gather(mut answer: Answer, coming: &Coming) -> Result<(), CallError> {
    let mut filling = coming.fill();
    while !filling.is_whole() {
        match answer.expect().await? {
            Message::Part(part) => {
                filling.push(&part.bytes).map_err(|wrong| CallError::Nonsense(wrong.to_string()))?;
            }
            other => return Err(call::unexpected(&other)),
        }
    }
    Ok(())
}

fn failed(cause: &str) -> ApiError {
    tracing::error!(cause, "failed to fetch an asset");
    ApiError::unexpected()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
