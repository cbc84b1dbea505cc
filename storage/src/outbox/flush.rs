//! The flusher: a thread that waits for the disk once for all webhooks that came in meanwhile.
//!
//! Owns group commit. A failed flush is told to everyone who waited for it and to every later caller.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};
use std::thread::JoinHandle;

use tokio::sync::oneshot;

use crate::error::StorageError;
use crate::fault::{self, Fault};
use crate::kv::Kv;

type Answer = oneshot::Sender<Result<(), StorageError>>;

/// The thread.
pub(super) struct Flusher {
    waiting: Option<Sender<Answer>>,
    thread: Option<JoinHandle<()>>,
}

impl Flusher {
    pub(super) fn start(kv: Arc<Kv>, fault: &Fault) -> Result<Self, StorageError> {
        let (waiting, to_answer) = std::sync::mpsc::channel();
        let on_failure = fault.clone();
        let run = move || flush_loop(&kv, &to_answer, &on_failure);
        let thread = fault::spawn("outbox-flusher", fault, run)?;
        Ok(Self { waiting: Some(waiting), thread: Some(thread) })
    }

    /// Asks for everything written so far to be on disk; the receiver is told when it is.
    pub(super) fn flush(&self) -> Result<oneshot::Receiver<Result<(), StorageError>>, StorageError> {
        let stopped = || StorageError::Engine("the outbox's flusher has stopped".to_owned());
        let (answer, answered) = oneshot::channel();
        self.waiting.as_ref().ok_or_else(stopped)?.send(answer).map_err(|_| stopped())?;
        Ok(answered)
    }
}

impl Drop for Flusher {
    /// Waits until everything is on disk: afterwards the directory can be opened again.
    fn drop(&mut self) {
        self.waiting = None;
        if let Some(thread) = self.thread.take() {
            // A panic was already recorded as the outbox's fault.
            let _ = thread.join();
        }
    }
}

fn flush_loop(kv: &Kv, to_answer: &Receiver<Answer>, fault: &Fault) {
    while let Ok(first) = to_answer.recv() {
        let group: Vec<Answer> = std::iter::once(first).chain(to_answer.try_iter()).collect();
        let flushed = fault.check().and_then(|()| kv.flush());
        if let Err(error) = &flushed {
            fault.fail(error);
        }
        for answer in group {
            // Whoever went away is not told.
            let _ = answer.send(flushed.clone());
        }
    }
}
