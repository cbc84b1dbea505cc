//! The writer and the flusher: two threads that turn calls into durable commits.
//!
//! Owns group commit. The writer runs one operation after the other and alone holds the state; the flusher waits for
//! the disk once for all operations that were applied meanwhile, publishes the position and answers them. A failed
//! write or flush, or a panic, is fatal: every later call fails with the first cause.

use std::sync::mpsc::{Receiver, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use outpost_model::{Queue, limits};
use tokio::sync::{mpsc, watch};

use super::core::Core;
use super::index::Indexed;
use super::queue::QueueHint;
use super::witness::Witness;
use crate::blob;
use crate::error::StorageError;
use crate::fault::{Fault, spawn};
use crate::kv::Kv;

/// Answers a caller, with the error that made its operation void.
pub(super) type Reply = Box<dyn FnOnce(Result<(), StorageError>) + Send>;

/// When an operation's caller may be answered.
pub(super) enum Answer {
    /// At once: nothing was promised that a crash could break.
    Now(Reply),
    /// When what was applied is on disk.
    Flushed(Reply),
}

/// An operation: runs in the writer, returns how to answer.
pub(super) type Operation = Box<dyn FnOnce(&mut Core) -> Answer + Send>;

/// What the threads publish.
pub(super) struct Published {
    /// The last change on disk, with what the index adds up to at it. Moves before `seq` does.
    head: Mutex<(u64, Indexed)>,
    /// Seq of the last change on disk.
    pub(super) seq: watch::Sender<u64>,
    /// What waits in each queue, by [`super::queue::queue_slot`].
    pub(super) hints: watch::Sender<[QueueHint; Queue::ALL.len()]>,
}

impl Published {
    pub(super) fn new(core: &Core) -> Self {
        Self {
            head: Mutex::new((core.meta.seq, core.meta.indexed())),
            seq: watch::Sender::new(core.meta.seq),
            hints: watch::Sender::new(Queue::ALL.map(|queue| core.queue.hint(queue))),
        }
    }

    /// The last change on disk, with what the index adds up to at it.
    pub(super) fn head(&self) -> (u64, Indexed) {
        *self.head.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn publish(&self, seq: u64, indexed: Indexed) {
        *self.head.lock().unwrap_or_else(PoisonError::into_inner) = (seq, indexed);
        self.seq.send_if_modified(|current| std::mem::replace(current, seq) != seq);
    }
}

/// One applied operation, on its way to the disk.
struct Applied {
    seq: u64,
    indexed: Indexed,
    garbage: Vec<u64>,
    reply: Option<Reply>,
}

/// The two threads.
pub(super) struct Threads {
    operations: Option<mpsc::Sender<Operation>>,
    handles: Vec<JoinHandle<()>>,
}

impl Threads {
    /// Starts both threads over `core`.
    pub(super) fn start(
        core: Core,
        witness: Witness,
        fault: &Fault,
        published: &Arc<Published>,
    ) -> Result<Self, StorageError> {
        let (operations, queued) = mpsc::channel(limits::STORE_WRITES_QUEUED_MAX);
        let (applied, to_flush) = std::sync::mpsc::sync_channel(limits::STORE_WRITES_QUEUED_MAX);
        let kv = core.kv.clone();
        let writer = {
            let (fault, published) = (fault.clone(), published.clone());
            spawn("store-writer", &fault.clone(), move || {
                write_loop(core, queued, &applied, &fault, &published);
            })?
        };
        let flusher = {
            let (fault, published) = (fault.clone(), published.clone());
            spawn("store-flusher", &fault.clone(), move || {
                flush_loop(&kv, witness, &to_flush, &fault, &published);
            })?
        };
        Ok(Self { operations: Some(operations), handles: vec![writer, flusher] })
    }

    /// Where operations are sent.
    pub(super) fn operations(&self) -> Option<&mpsc::Sender<Operation>> {
        self.operations.as_ref()
    }
}

impl Drop for Threads {
    /// Lets queued operations end, then waits for the threads: afterwards the directory can be opened again.
    fn drop(&mut self) {
        self.operations = None;
        for handle in self.handles.drain(..) {
            // A panic was already recorded as the store's fault.
            let _ = handle.join();
        }
    }
}

fn write_loop(
    mut core: Core,
    mut queued: mpsc::Receiver<Operation>,
    applied: &SyncSender<Applied>,
    fault: &Fault,
    published: &Published,
) {
    let mut seen = core.writes;
    while let Some(operation) = queued.blocking_recv() {
        if let Err(error) = fault.check() {
            // Dropping the operation drops its reply, and the caller reads the fault.
            tracing::debug!(%error, "dropped a call");
            continue;
        }
        let answer = operation(&mut core);
        publish_hints(&core, published);
        let reply = match answer {
            Answer::Now(reply) => {
                reply(Ok(()));
                None
            }
            Answer::Flushed(reply) => Some(reply),
        };
        let wrote = std::mem::replace(&mut seen, core.writes) != core.writes;
        if reply.is_some() || wrote {
            let garbage = std::mem::take(&mut core.garbage);
            let done = Applied { seq: core.meta.seq, indexed: core.meta.indexed(), garbage, reply };
            if applied.send(done).is_err() {
                fault.set("the flusher ended");
            }
        }
    }
}

fn publish_hints(core: &Core, published: &Published) {
    let hints = Queue::ALL.map(|queue| core.queue.hint(queue));
    published.hints.send_if_modified(|current| std::mem::replace(current, hints) != hints);
}

fn flush_loop(
    kv: &Kv,
    mut witness: Witness,
    to_flush: &Receiver<Applied>,
    fault: &Fault,
    published: &Published,
) {
    while let Ok(first) = to_flush.recv() {
        let group: Vec<Applied> = std::iter::once(first).chain(to_flush.try_iter()).collect();
        // They come in the order in which they were applied.
        let (seq, indexed) = group.last().map_or((0, Indexed::default()), |last| (last.seq, last.indexed));
        let flushed = fault.check().and_then(|()| kv.flush()).and_then(|()| witness.write(seq));
        match &flushed {
            Ok(()) => published.publish(seq, indexed),
            Err(error) => fault.set(&error.to_string()),
        }
        let mut garbage = Vec::new();
        for applied in group {
            garbage.extend(applied.garbage);
            if let Some(reply) = applied.reply {
                reply(flushed.clone());
            }
        }
        let deleted = flushed.and_then(|()| blob::delete_garbage(kv, &garbage));
        if let Err(error) = deleted {
            fault.set(&error.to_string());
        }
    }
}
