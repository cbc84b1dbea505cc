//! The flusher: a thread that turns applied batches into durable ones.
//!
//! Owns group commit. It waits for the disk once for all batches applied meanwhile, then publishes the position with
//! the counters and the set hash that belong to it, then deletes what was superseded. A failed flush, or a panic, is
//! fatal: every later call fails with the first cause.

use std::sync::mpsc::{Receiver, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use outpost_model::{Position, limits};
use tokio::sync::watch;

use super::MirrorSummary;
use super::layers::Kv;
use super::records::Meta;
use crate::blob;
use crate::error::StorageError;
use crate::fault::{self, Fault};

/// A batch on its way to the disk.
pub(super) struct Unflushed {
    pub(super) summary: MirrorSummary,
    pub(super) garbage: Vec<u64>,
    /// How many batches were applied up to this one.
    pub(super) number: u64,
}

/// What is on disk.
pub(super) struct Published {
    summary: Mutex<MirrorSummary>,
    seq: watch::Sender<u64>,
    flushed: watch::Sender<u64>,
}

impl Published {
    pub(super) fn new(meta: &Meta) -> Self {
        let summary = MirrorSummary::of(meta);
        let seq = watch::Sender::new(summary.position.seq);
        Self { summary: Mutex::new(summary), seq, flushed: watch::Sender::new(0) }
    }

    pub(super) fn position(&self) -> Position {
        self.summary.lock().unwrap_or_else(PoisonError::into_inner).position
    }

    pub(super) fn summary(&self) -> MirrorSummary {
        self.summary.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn watch(&self) -> watch::Receiver<u64> {
        self.seq.subscribe()
    }

    /// The number of the last batch on disk.
    pub(super) fn flushed(&self) -> watch::Receiver<u64> {
        self.flushed.subscribe()
    }

    fn publish(&self, summary: &MirrorSummary, number: u64) {
        let seq = summary.position.seq;
        let old = {
            let mut current = self.summary.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *current, summary.clone())
        };
        if old.position != summary.position {
            self.seq.send_replace(seq);
        }
        self.flushed.send_replace(number);
    }
}

/// The thread.
pub(super) struct Flusher {
    applied: Option<SyncSender<Unflushed>>,
    thread: Option<JoinHandle<()>>,
}

impl Flusher {
    pub(super) fn start(kv: Arc<Kv>, fault: &Fault, published: Arc<Published>) -> Result<Self, StorageError> {
        let (applied, to_flush) = std::sync::mpsc::sync_channel(limits::STORE_WRITES_QUEUED_MAX);
        let on_failure = fault.clone();
        let thread = fault::spawn("mirror-flusher", fault, move || {
            flush_loop(&kv, &to_flush, &on_failure, &published);
        })?;
        Ok(Self { applied: Some(applied), thread: Some(thread) })
    }

    /// Hands over an applied batch; waits while too many are on their way.
    pub(super) fn send(&self, unflushed: Unflushed) -> Result<(), StorageError> {
        let stopped = || StorageError::Engine("the mirror's flusher has stopped".to_owned());
        self.applied.as_ref().ok_or_else(stopped)?.send(unflushed).map_err(|_| stopped())
    }
}

impl Drop for Flusher {
    /// Waits until everything is on disk: afterwards the directory can be opened again.
    fn drop(&mut self) {
        self.applied = None;
        if let Some(thread) = self.thread.take() {
            // A panic was already recorded as the store's fault.
            let _ = thread.join();
        }
    }
}

fn flush_loop(kv: &Kv, to_flush: &Receiver<Unflushed>, fault: &Fault, published: &Published) {
    while let Ok(first) = to_flush.recv() {
        let mut group = vec![first];
        group.extend(to_flush.try_iter());
        let result = fault.check().and_then(|()| kv.flush()).and_then(|()| {
            let garbage: Vec<u64> =
                group.iter().flat_map(|applied| applied.garbage.iter().copied()).collect();
            if let Some(last) = group.pop() {
                published.publish(&last.summary, last.number);
            }
            blob::delete_garbage(kv.engine(), &garbage)
        });
        if let Err(error) = result {
            fault.fail(&error);
        }
    }
}
