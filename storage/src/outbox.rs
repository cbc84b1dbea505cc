//! The outbox: webhooks that a replica accepted and its upstream has not taken yet.
//!
//! Owns their durability and order. A push returns once it is on disk, many pushes sharing one wait for it; what was
//! pushed stays until it is removed, over kills and restarts, in a directory of its own, because the mirror beside it
//! may be thrown away at any time. Bounded in entries and bytes: beyond that a push is refused. A record that cannot be
//! read is reported, put aside and skipped, so that the rest drains. After a failed write or flush the outbox takes no
//! more; what it holds can still be read, and opening it again makes it whole.

mod flush;
mod records;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use outpost_model::{DatasetName, TimestampMs, WebhookId, limits};
use tokio::sync::watch;

use self::flush::Flusher;
use self::records::{Meta, Row};
use crate::blob;
use crate::error::StorageError;
use crate::fault::Fault;
use crate::kv::{self, Batch, Kv, OpenReport};
use crate::{random, record};

/// A webhook that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxItem {
    /// Its place in the order of arrival.
    pub number: u64,
    /// The same over all tries.
    pub id: WebhookId,
    /// What it is about, at most [`limits::OUTBOX_DATASETS_MAX`]: later ones about any of these wait for it.
    pub datasets: Vec<DatasetName>,
    /// When it was accepted.
    pub received_at: TimestampMs,
    /// As the Hub sent it.
    pub body: Bytes,
}

/// Why a webhook was not accepted; it is not in the outbox.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OutboxError {
    /// There is no room until the upstream takes some.
    #[error("the outbox is full with {entries} webhooks of {bytes} bytes")]
    Full {
        /// Webhooks that wait.
        entries: usize,
        /// Bytes of their bodies.
        bytes: u64,
    },
    /// The disk failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// What an outbox holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OutboxStats {
    /// Webhooks that wait.
    pub entries: usize,
    /// Bytes of their bodies.
    pub bytes: u64,
    /// When the oldest of them was accepted.
    pub oldest_received_at: Option<TimestampMs>,
    /// Webhooks that could not be read since the outbox was opened.
    pub damaged: u64,
}

/// See the module. Clones share it; it closes when the last one is dropped.
#[derive(Clone)]
pub struct Outbox {
    inner: Arc<Inner>,
}

struct Inner {
    // Fields drop in order: the thread ends before the engine closes.
    flusher: Flusher,
    fault: Fault,
    state: Mutex<State>,
    pushed: watch::Sender<u64>,
    report: OpenReport,
    kv: Arc<Kv>,
}

/// How much an outbox takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutboxBounds {
    /// Webhooks.
    pub entries_max: usize,
    /// Bytes of their bodies.
    pub bytes_max: u64,
}

impl Default for OutboxBounds {
    fn default() -> Self {
        Self { entries_max: limits::OUTBOX_ENTRIES_MAX, bytes_max: limits::OUTBOX_BYTES_MAX }
    }
}

struct State {
    meta: Meta,
    /// Bytes and time of every webhook, by number.
    waiting: BTreeMap<u64, (u64, TimestampMs)>,
    bytes: u64,
    damaged: u64,
    bounds: OutboxBounds,
}

impl Outbox {
    /// Opens the outbox in `directory`, creating it when there is none. Costs the number of webhooks in it. Blocks.
    ///
    /// # Errors
    /// [`StorageError::InUse`] when another process holds it for longer than [`limits::STORE_LOCK_WAIT_MS`],
    /// [`StorageError::FormatVersion`] when another version wrote it, [`StorageError::Engine`] when the disk fails.
    pub fn open(directory: &Path) -> Result<Self, StorageError> {
        Self::open_within(directory, OutboxBounds::default())
    }

    /// As [`Outbox::open`], with other bounds; what is in it already stays, also above them.
    ///
    /// # Errors
    /// As [`Outbox::open`].
    pub fn open_within(directory: &Path, bounds: OutboxBounds) -> Result<Self, StorageError> {
        let (kv, report, meta) = kv::rebuilding(directory, || {
            let (kv, report) = kv::open(directory, limits::STORE_LOCK_WAIT_MS, limits::OUTBOX_CACHE_BYTES)?;
            let meta = records::read_meta(&kv)?;
            Ok((kv, report, meta))
        })?;
        if let Some(place) = &report.set_aside {
            tracing::error!(place = %place.display(), "the outbox was damaged; the webhooks in it were set aside");
        }
        let (kv, fault) = (Arc::new(kv), Fault::default());
        let mut state = State { meta, waiting: BTreeMap::new(), bytes: 0, damaged: 0, bounds };
        state.load(&kv)?;
        let pushed = watch::Sender::new(state.meta.next_number.saturating_sub(1));
        let flusher = Flusher::start(kv.clone(), &fault)?;
        let inner = Inner { flusher, fault, state: Mutex::new(state), pushed, report, kv };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The failure after which the outbox takes no more webhooks, once there is one. Only opening it again helps.
    pub async fn failed(&self) -> StorageError {
        self.inner.fault.failure().await
    }

    /// Accepts a webhook; returns when it is on disk.
    ///
    /// # Errors
    /// [`OutboxError::Full`] without room, [`OutboxError::Storage`] when the disk fails or the webhook is about no
    /// dataset or too many. Nobody may be told then that it was accepted.
    pub async fn push(
        &self,
        datasets: &[DatasetName],
        body: Bytes,
        now: TimestampMs,
    ) -> Result<OutboxItem, OutboxError> {
        if datasets.is_empty() || datasets.len() > limits::OUTBOX_DATASETS_MAX {
            let cause = format!("a webhook about {} datasets", datasets.len());
            return Err(StorageError::Unstorable(cause).into());
        }
        self.inner.fault.check()?;
        let mut item = OutboxItem {
            number: 0,
            id: WebhookId(random::bits()),
            datasets: datasets.to_vec(),
            received_at: now,
            body,
        };
        let flushed = {
            let mut state = self.state();
            state.refuse_when_full(item.body.len() as u64)?;
            let written = state.write(&mut item, &self.inner.kv);
            written.inspect_err(|error| self.inner.fault.fail(error))?;
            self.inner.flusher.flush()?
        };
        match flushed.await {
            Ok(result) => result?,
            Err(_) => {
                self.inner.fault.set("the outbox's flusher has stopped");
                self.inner.fault.check()?;
            }
        }
        self.inner.pushed.send_if_modified(|last| {
            let is_newer = item.number > *last;
            *last = item.number.max(*last);
            is_newer
        });
        Ok(item)
    }

    /// Webhooks behind the number `after`, in the order of arrival, at most `limit`. Those that cannot be read are put
    /// aside.
    ///
    /// # Errors
    /// [`StorageError::Engine`] when the disk fails.
    pub fn oldest(&self, after: Option<u64>, limit: usize) -> Result<Vec<OutboxItem>, StorageError> {
        let from = after.map_or(Some(0), |after| after.checked_add(1));
        let Some(from) = from else { return Ok(Vec::new()) };
        let numbers: Vec<u64> = self.state().waiting.range(from..).map(|(number, _)| *number).collect();
        let mut items = Vec::new();
        for number in numbers {
            if items.len() >= limit {
                break;
            }
            match records::read(&self.inner.kv, number) {
                Ok(Some(item)) => items.push(item),
                Ok(None) => {}
                Err(StorageError::Damaged(cause)) => {
                    let mut state = self.state();
                    // It may have been removed since.
                    if state.waiting.contains_key(&number) {
                        state.put_aside(number, &cause, &self.inner.kv)?;
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(items)
    }

    /// Forgets a webhook that was taken or never will be. Does not wait for the disk: after a crash it may be there
    /// again, under the same id.
    ///
    /// # Errors
    /// [`StorageError::Engine`] when the disk fails.
    pub fn remove(&self, number: u64) -> Result<(), StorageError> {
        self.inner.fault.check()?;
        let mut state = self.state();
        if state.forget(number) {
            let removed = records::remove(&self.inner.kv, number);
            return removed.inspect_err(|error| self.inner.fault.fail(error));
        }
        Ok(())
    }

    /// What waits.
    #[must_use]
    pub fn stats(&self) -> OutboxStats {
        let state = self.state();
        OutboxStats {
            entries: state.waiting.len(),
            bytes: state.bytes,
            oldest_received_at: state.waiting.first_key_value().map(|(_, (_, at))| *at),
            damaged: state.damaged,
        }
    }

    /// A receiver of the number of the latest webhook on disk.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.inner.pushed.subscribe()
    }

    /// What opening found and did.
    #[must_use]
    pub fn open_report(&self) -> &OpenReport {
        &self.inner.report
    }

    /// Bytes that the outbox takes on disk.
    ///
    /// # Errors
    /// [`StorageError::Engine`] when the disk fails.
    pub fn size_on_disk(&self) -> Result<u64, StorageError> {
        self.inner.kv.size_on_disk()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Finds what waits.
    fn load(&mut self, kv: &Kv) -> Result<(), StorageError> {
        let mut unreadable = Vec::new();
        for pair in kv.state.prefix(&[records::ITEMS]) {
            let (key, value) = pair?;
            let Some(number) = records::number(&key) else { continue };
            match record::decode::<Row>(&value) {
                Ok(row) => self.note(number, u64::from(row.body.raw_bytes()), row.received_at()),
                Err(error) => unreadable.push((number, error.to_string())),
            }
            self.meta.next_number = self.meta.next_number.max(number.saturating_add(1));
        }
        for (number, cause) in unreadable {
            self.put_aside(number, &cause, kv)?;
        }
        records::delete_orphans(kv, |number| self.waiting.contains_key(&number))
    }

    fn note(&mut self, number: u64, bytes: u64, received_at: TimestampMs) {
        self.waiting.insert(number, (bytes, received_at));
        self.bytes += bytes;
    }

    fn forget(&mut self, number: u64) -> bool {
        let Some((bytes, _)) = self.waiting.remove(&number) else { return false };
        self.bytes = self.bytes.saturating_sub(bytes);
        true
    }

    fn refuse_when_full(&self, bytes: u64) -> Result<(), OutboxError> {
        let (entries, total) = (self.waiting.len(), self.bytes);
        let has_room =
            entries < self.bounds.entries_max && total.saturating_add(bytes) <= self.bounds.bytes_max;
        if has_room { Ok(()) } else { Err(OutboxError::Full { entries, bytes: total }) }
    }

    /// Numbers and writes a webhook.
    fn write(&mut self, item: &mut OutboxItem, kv: &Kv) -> Result<(), StorageError> {
        item.number = self.meta.next_number;
        // The body's chunks go under the webhook's number.
        let mut id = item.number;
        let body = blob::write(blob::prepare(&item.body)?, &mut id, &kv.chunks)?;
        let meta = Meta { next_number: item.number + 1 };
        let mut batch = Batch::new();
        batch.put(records::key(item.number), record::encode(&Row::new(item, body)));
        batch.put(records::META.to_vec(), record::encode(&meta));
        kv.state.apply(batch)?;
        self.meta = meta;
        self.note(item.number, item.body.len() as u64, item.received_at);
        Ok(())
    }

    fn put_aside(&mut self, number: u64, cause: &str, kv: &Kv) -> Result<(), StorageError> {
        tracing::error!(number, %cause, "a webhook in the outbox cannot be read and is put aside");
        self.forget(number);
        self.damaged += 1;
        records::put_aside(kv, number)
    }
}
