//! The embedded authority, which is its own mirror: one process, one directory, no server.
//!
//! Owns cache and queue of a single primary (design section 5). Every write is one atomic commit, answered when it is
//! on disk; reads go to the same trees. Everything in it can be computed again from the Hub, so a damaged store is set
//! aside and rebuilt. A failed write or flush stops the store: every later call fails with the cause.

mod authority;
mod budgets;
mod core;
mod entries;
mod index;
mod keys;
mod lane;
mod lineage;
mod load;
mod mirror;
mod operations;
mod ops;
mod queue;
mod records;
mod scrub;
mod source;
mod summaries;
mod webhooks;
mod witness;
mod writer;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use outpost_model::{Epoch, Position, Queue, TimestampMs, limits};
use tokio::sync::oneshot;

use self::core::Core;
use self::operations::Register;
use self::queue::QueueHint;
pub use self::scrub::ScrubReport;
use self::witness::Witness;
use self::writer::{Answer, Published, Threads};
use crate::error::StorageError;
use crate::fault::Fault;
use crate::items::StoredItems;
use crate::kv::Kv;
pub use crate::kv::OpenReport;

/// The embedded store. Clones share it; it closes when the last one is dropped.
#[derive(Clone)]
pub struct EmbeddedStore {
    inner: Arc<Inner>,
}

struct Inner {
    // Fields drop in order: the threads end before the engine closes.
    threads: Threads,
    fault: Fault,
    published: Arc<Published>,
    epoch: Epoch,
    left: Vec<Epoch>,
    items: Arc<StoredItems>,
    shown: Arc<AtomicU64>,
    clock: Mutex<Option<CallerClock>>,
    report: OpenReport,
    damaged: AtomicU64,
    register: Register,
    kv: Arc<Kv>,
}

/// The time that the last caller gave, and when.
#[derive(Debug, Clone, Copy)]
struct CallerClock {
    now: TimestampMs,
    read_at: tokio::time::Instant,
}

impl EmbeddedStore {
    /// Opens the store under `directory`, creating it when there is none. Blocks: call it outside of async code.
    ///
    /// # Errors
    /// [`StorageError::InUse`] when another process holds it for longer than [`limits::STORE_LOCK_WAIT_MS`],
    /// [`StorageError::FormatVersion`] when another version wrote it, [`StorageError::Engine`] when the disk fails.
    pub fn open(directory: &Path) -> Result<Self, StorageError> {
        Self::open_waiting(directory, limits::STORE_LOCK_WAIT_MS)
    }

    /// As [`EmbeddedStore::open`], waiting up to `lock_wait_ms` for another process to let go of the directory.
    ///
    /// # Errors
    /// As [`EmbeddedStore::open`].
    pub fn open_waiting(directory: &Path, lock_wait_ms: u64) -> Result<Self, StorageError> {
        let (core, witness, report) = load::load(directory, lock_wait_ms)?;
        Self::start(core, witness, report)
    }

    fn start(core: Core, witness: Witness, report: OpenReport) -> Result<Self, StorageError> {
        let epoch = Epoch(core.meta.epoch);
        let published = Arc::new(Published::new(&core));
        let left = core.left.iter().copied().map(Epoch).collect();
        let (items, shown) = (core.items.clone(), core.shown.clone());
        let (kv, fault) = (core.kv.clone(), Fault::default());
        let threads = Threads::start(core, witness, &fault, &published)?;
        let (clock, damaged, register) = (Mutex::new(None), AtomicU64::new(0), Register::default());
        let inner = Inner {
            threads,
            fault,
            published,
            epoch,
            left,
            items,
            shown,
            clock,
            report,
            damaged,
            register,
            kv,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// What opening found and did.
    #[must_use]
    pub fn open_report(&self) -> &OpenReport {
        &self.inner.report
    }

    /// The failure after which the store takes no more calls, reads included, once there is one. Only opening it again
    /// helps, so the process should end.
    pub async fn failed(&self) -> StorageError {
        self.inner.fault.failure().await
    }

    /// Bytes that the store takes on disk.
    ///
    /// # Errors
    /// [`StorageError::Engine`] when the disk fails.
    pub fn size_on_disk(&self) -> Result<u64, StorageError> {
        self.inner.kv.size_on_disk()
    }

    /// Damaged records met since the store was opened, those found while opening included.
    #[must_use]
    pub fn damaged_records(&self) -> u64 {
        self.inner.report.records_damaged + self.inner.damaged.load(Ordering::Relaxed)
    }

    fn count_damage(&self, what: &str) {
        self.inner.damaged.fetch_add(1, Ordering::Relaxed);
        tracing::error!("{what} is damaged; a scrub drops it and plans its computation");
    }

    fn counting_damage<T>(&self, result: Result<T, StorageError>) -> Result<T, StorageError> {
        if let Err(StorageError::Damaged(cause)) = &result {
            self.count_damage(cause);
        }
        result
    }

    fn published_position(&self) -> Position {
        Position { epoch: self.inner.epoch, seq: *self.inner.published.seq.borrow() }
    }

    /// The engine, for reads; fails once the store has failed.
    fn reader(&self) -> Result<&Kv, StorageError> {
        self.inner.fault.check()?;
        Ok(&self.inner.kv)
    }

    /// Runs an operation in the writer and waits until its effect is on disk. An operation whose caller goes away is
    /// still carried out.
    async fn write<T: Send + 'static>(
        &self,
        run: impl FnOnce(&mut Core) -> Result<T, StorageError> + Send + 'static,
    ) -> Result<T, StorageError> {
        self.call(move |core| run(core).map(|value| (value, true))).await
    }

    /// Runs an operation that promises nothing that a crash could break.
    async fn read<T: Send + 'static>(
        &self,
        run: impl FnOnce(&mut Core) -> Result<T, StorageError> + Send + 'static,
    ) -> Result<T, StorageError> {
        self.call(move |core| run(core).map(|value| (value, false))).await
    }

    /// Runs an operation; its value says whether the answer waits for the disk.
    async fn call<T: Send + 'static>(
        &self,
        run: impl FnOnce(&mut Core) -> Result<(T, bool), StorageError> + Send + 'static,
    ) -> Result<T, StorageError> {
        self.inner.fault.check()?;
        let (answer, answered) = oneshot::channel();
        let fault = self.inner.fault.clone();
        let operation: writer::Operation = Box::new(move |core| {
            let result = run(core);
            if let Err(error @ (StorageError::Engine(_) | StorageError::DiskFull(_))) = &result {
                fault.fail(error);
            }
            let flushed = matches!(result, Ok((_, true)));
            let reply: writer::Reply = Box::new(move |stored| {
                // A caller that went away is not told.
                let _ = answer.send(stored.and(result.map(|(value, _)| value)));
            });
            if flushed { Answer::Flushed(reply) } else { Answer::Now(reply) }
        });
        let stopped = || StorageError::Engine("the store has stopped".to_owned());
        let operations = self.inner.threads.operations().ok_or_else(stopped)?;
        operations.send(operation).await.map_err(|_| stopped())?;
        match answered.await {
            Ok(result) => result,
            Err(_) => {
                // The operation was dropped: after an earlier failure, or because it panicked.
                self.inner.fault.set("an operation of the store panicked");
                Err(self.inner.fault.check().err().unwrap_or_else(stopped))
            }
        }
    }

    fn set_clock(&self, now: TimestampMs) {
        let mut clock = self.inner.clock.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *clock = Some(CallerClock { now, read_at: tokio::time::Instant::now() });
    }

    /// How long until `due` by the callers' clock; zero when no caller has told the time yet.
    fn time_until(&self, due: TimestampMs) -> std::time::Duration {
        let clock = *self.inner.clock.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let Some(CallerClock { now, read_at }) = clock else { return std::time::Duration::ZERO };
        std::time::Duration::from_millis(due.since_ms(now)).saturating_sub(read_at.elapsed())
    }

    /// Waits until a job may be claimable in `queues`. What counts is the state, not an event, and it is looked at after
    /// changes began to be watched, so that nothing falls between a claim and the wait.
    async fn wait_for_ready(&self, queues: &[Queue]) {
        let mut hints = self.inner.published.hints.subscribe();
        loop {
            let current = *hints.borrow_and_update();
            let watched = || queues.iter().map(|queue| current[queue::queue_slot(*queue)]);
            if watched().any(|hint: QueueHint| hint.ready) {
                return;
            }
            let due = watched().filter_map(|hint| hint.next_due).min();
            tokio::select! {
                changed = hints.changed() => if changed.is_err() { return },
                () = self.inner.fault.raised() => return,
                () = self.sleep_until(due) => return,
            }
        }
    }

    /// Sleeps until `due` by the callers' clock, forever without one.
    async fn sleep_until(&self, due: Option<TimestampMs>) {
        match due {
            Some(due) => tokio::time::sleep(self.time_until(due)).await,
            None => std::future::pending().await,
        }
    }
}
