//! Objects in a folder or a bucket, for callers that block.
//!
//! Owns the threads that requests run on, so that a caller may stand on any thread. Refuses to know what objects mean.
//! Every answer of the place is either the bytes or an error; nothing is retried here beyond what the client does.

use std::future::Future;
use std::ops::Range;
use std::sync::{Arc, mpsc};

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{Error, GetOptions, ObjectMeta, ObjectStore, ObjectStoreExt, PutPayload};
use outpost_model::limits;
use tokio::runtime::{Builder, Runtime};

use crate::error::StorageError;

/// Objects listed at a time.
const LISTED_PER_STEP: usize = 1_000;
const PROBE_BYTES: &[u8] = b"outpost writes, reads and deletes this object when it starts";

/// Waits for the end of a request that was started.
pub(super) type Waiting<T, E> = Box<dyn FnOnce() -> Result<T, E> + Send>;

/// See the module.
pub(super) struct Objects {
    store: Arc<dyn ObjectStore>,
    /// Whether listings come in the order of names.
    lists_in_order: bool,
    runtime: Option<Runtime>,
}

impl Objects {
    pub(super) fn new(store: Arc<dyn ObjectStore>, lists_in_order: bool) -> Result<Self, StorageError> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .max_blocking_threads(limits::ASSET_REQUESTS_IN_FLIGHT_MAX)
            .thread_name("assets")
            .enable_all()
            .build()
            .map_err(|error| StorageError::Engine(format!("failed to start threads for assets: {error}")))?;
        Ok(Self { store, lists_in_order, runtime: Some(runtime) })
    }

    /// Runs a request to its end, on any thread.
    fn wait<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        self.start(work)()
    }

    /// Starts a request; what is returned waits for its end.
    fn start<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Waiting<T, Error> {
        let (done, result) = mpsc::sync_channel(1);
        let stopped = || Error::Generic { store: "assets", source: "the request was given up".into() };
        if let Some(runtime) = &self.runtime {
            runtime.spawn(async move { done.send(work.await) });
        }
        Box::new(move || result.recv().unwrap_or_else(|_| Err(stopped())))
    }

    /// Writes, reads and deletes an object.
    pub(super) fn probe(&self) -> Result<(), Error> {
        let store = Arc::clone(&self.store);
        let path = super::layout::probe();
        self.wait(async move {
            store.put(&path, PutPayload::from_static(PROBE_BYTES)).await?;
            let read = store.get(&path).await?.bytes().await?;
            store.delete(&path).await?;
            let differs =
                || Error::Generic { store: "assets", source: "other bytes came back than went".into() };
            if read == PROBE_BYTES { Ok(()) } else { Err(differs()) }
        })
    }

    /// The size and the time of an object.
    pub(super) fn head(&self, path: &Path) -> Result<Option<ObjectMeta>, StorageError> {
        let (store, wanted) = (Arc::clone(&self.store), path.clone());
        found(self.wait(async move { store.head(&wanted).await }), path)
    }

    /// A whole object of at most `bytes_max`.
    pub(super) fn get(&self, path: &Path, bytes_max: u64) -> Result<Option<Bytes>, StorageError> {
        let (store, wanted) = (Arc::clone(&self.store), path.clone());
        let read = self.wait(async move {
            let answer = store.get_opts(&wanted, GetOptions::default()).await?;
            if answer.meta.size > bytes_max {
                return Ok(Err(answer.meta.size));
            }
            answer.bytes().await.map(Ok)
        });
        match found(read, path)? {
            Some(Err(size)) => Err(StorageError::Damaged(format!("{path}: {size} bytes are too many"))),
            Some(Ok(bytes)) => Ok(Some(bytes)),
            None => Ok(None),
        }
    }

    /// A part of an object; `None` when there is no object.
    pub(super) fn get_range(&self, path: &Path, range: Range<u64>) -> Result<Option<Bytes>, StorageError> {
        let (store, wanted) = (Arc::clone(&self.store), path.clone());
        found(self.wait(async move { store.get_range(&wanted, range).await }), path)
    }

    /// Writes an object in place of an earlier one.
    pub(super) fn put(&self, path: &Path, bytes: Bytes) -> Result<(), StorageError> {
        let (store, target) = (Arc::clone(&self.store), path.clone());
        let put = self.wait(async move { store.put(&target, bytes.into()).await.map(drop) });
        put.map_err(|error| failed("write", path, &error))
    }

    /// Starts to write an object unless one of its length is there that `is_fresh`.
    pub(super) fn start_put(
        &self,
        path: &Path,
        bytes: Bytes,
        is_fresh: impl FnOnce(&ObjectMeta) -> bool + Send + 'static,
    ) -> Waiting<(), StorageError> {
        let (store, target, path) = (Arc::clone(&self.store), path.clone(), path.clone());
        let wait = self.start(async move {
            match store.head(&target).await {
                Ok(meta) if meta.size == bytes.len() as u64 && is_fresh(&meta) => return Ok(()),
                Ok(_) | Err(Error::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
            store.put(&target, bytes.into()).await.map(drop)
        });
        Box::new(move || wait().map_err(|error| failed("write", &path, &error)))
    }

    /// Deletes objects; those that are not there are deleted already.
    pub(super) fn delete(&self, paths: Vec<Path>) -> Result<(), StorageError> {
        let Some(first) = paths.first().cloned() else { return Ok(()) };
        let store = Arc::clone(&self.store);
        let deleted = self.wait(async move {
            let paths = futures::stream::iter(paths.into_iter().map(Ok)).boxed();
            let mut results = store.delete_stream(paths);
            while let Some(result) = results.next().await {
                match result {
                    Ok(_) | Err(Error::NotFound { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(())
        });
        deleted.map_err(|error| failed("delete", &first, &error))
    }

    /// The objects under `prefix` with names behind `after`, in the order of names.
    pub(super) fn list(&self, prefix: &Path, after: Option<&Path>) -> Listing<'_> {
        let stream = match after {
            Some(after) => self.store.list_with_offset(Some(prefix), after),
            None => self.store.list(Some(prefix)),
        };
        Listing { objects: self, stream: Some(stream), prefix: prefix.clone(), ready: Vec::new().into_iter() }
    }
}

impl Drop for Objects {
    /// Does not wait: the last owner may stand on a thread that must not block.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Objects, some at a time.
pub(super) struct Listing<'a> {
    objects: &'a Objects,
    stream: Option<BoxStream<'static, Result<ObjectMeta, Error>>>,
    prefix: Path,
    ready: std::vec::IntoIter<ObjectMeta>,
}

impl Listing<'_> {
    fn fetch(
        &mut self,
        mut stream: BoxStream<'static, Result<ObjectMeta, Error>>,
    ) -> Result<(), StorageError> {
        let step = if self.objects.lists_in_order { LISTED_PER_STEP } else { usize::MAX };
        let fetched = self.objects.wait(async move {
            let found: Vec<ObjectMeta> = stream.by_ref().take(step).try_collect().await?;
            Ok((found, stream))
        });
        let (mut found, stream) = fetched.map_err(|error| failed("list", &self.prefix, &error))?;
        if found.len() == step {
            self.stream = Some(stream);
        }
        if !self.objects.lists_in_order {
            found.sort_by(|a, b| a.location.cmp(&b.location));
        }
        self.ready = found.into_iter();
        Ok(())
    }
}

impl Iterator for Listing<'_> {
    type Item = Result<ObjectMeta, StorageError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(meta) = self.ready.next() {
                return Some(Ok(meta));
            }
            let stream = self.stream.take()?;
            if let Err(error) = self.fetch(stream) {
                return Some(Err(error));
            }
        }
    }
}

fn found<T>(result: Result<T, Error>, path: &Path) -> Result<Option<T>, StorageError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(failed("read", path, &error)),
    }
}

fn failed(verb: &str, path: &Path, error: &Error) -> StorageError {
    StorageError::Engine(format!("failed to {verb} {path} where the assets are: {error}"))
}
