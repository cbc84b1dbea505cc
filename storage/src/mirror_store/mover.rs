//! The mover: a thread that brings the rows of a layer down to the records, and clears away what stages left.
//!
//! Owns the work that a switch leaves for later. It takes the writer's place for a few rows at a time and pauses in
//! between. It may stop after any row: the next open goes on. An engine failure is fatal for the store.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use outpost_model::limits;

use super::Writer;
use super::layers::{Kv, Moved};
use crate::blob;
use crate::error::StorageError;
use crate::fault::{self, Fault};

/// What the mover is asked for.
pub(super) enum Work {
    /// To look for a layer that counts and for rows of layers that do not.
    Look,
    /// To delete the chunks of these blobs, which nothing refers to, then to look.
    Delete(Vec<Range<u64>>),
}

/// The thread.
pub(super) struct Mover {
    work: Option<Sender<Work>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Mover {
    pub(super) fn start(
        kv: Arc<Kv>,
        writer: Arc<Mutex<Writer>>,
        fault: &Fault,
    ) -> Result<Self, StorageError> {
        let (work, to_do) = std::sync::mpsc::channel();
        let stop = Arc::new(AtomicBool::new(false));
        let (task, on_failure) = (Task { kv, writer, stop: stop.clone() }, fault.clone());
        let thread = fault::spawn("mirror-mover", fault, move || task.run(&to_do, &on_failure))?;
        Ok(Self { work: Some(work), stop, thread: Some(thread) })
    }

    pub(super) fn send(&self, work: Work) {
        if let Some(sender) = &self.work {
            // A mover that has ended left a fault.
            let _ = sender.send(work);
        }
    }
}

impl Drop for Mover {
    fn drop(&mut self) {
        self.work = None;
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            // A panic was already recorded as the store's fault.
            let _ = thread.join();
        }
    }
}

struct Task {
    kv: Arc<Kv>,
    writer: Arc<Mutex<Writer>>,
    stop: Arc<AtomicBool>,
}

impl Task {
    fn run(&self, to_do: &Receiver<Work>, fault: &Fault) {
        while let Ok(work) = to_do.recv() {
            let done = fault.check().and_then(|()| match work {
                Work::Look => self.tidy(),
                Work::Delete(blobs) => self.delete(blobs).and_then(|()| self.tidy()),
            });
            if let Err(error) = done {
                fault.fail(&error);
                return;
            }
        }
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    fn delete(&self, blobs: Vec<Range<u64>>) -> Result<(), StorageError> {
        for range in blobs {
            for pair in self.kv.chunks.from(&range.start.to_be_bytes()) {
                let (key, _) = pair?;
                if self.is_stopped() || blob::blob_of_chunk(&key).is_none_or(|id| id >= range.end) {
                    break;
                }
                self.kv.chunks.delete(&key)?;
            }
        }
        Ok(())
    }

    fn tidy(&self) -> Result<(), StorageError> {
        move_all(&self.kv, &self.writer, || self.is_stopped())?;
        while !self.is_stopped() {
            let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
            let staged = writer.staging.as_ref().and_then(|staging| staging.layer);
            if !self.kv.sweep(staged, limits::STAGE_MOVED_ROWS)? {
                return Ok(());
            }
            drop(writer);
            pause();
        }
        Ok(())
    }
}

/// Moves the layer that counts down to the records, all of it unless told to stop.
pub(super) fn move_all(
    kv: &Kv,
    writer: &Mutex<Writer>,
    is_stopped: impl Fn() -> bool,
) -> Result<(), StorageError> {
    if !kv.has_layer() {
        return Ok(());
    }
    kv.flush()?;
    while !is_stopped() {
        let moved = {
            let _writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
            kv.move_down(limits::STAGE_MOVED_ROWS)?
        };
        if moved == Moved::All {
            return Ok(());
        }
        super::stage::step("moved");
        pause();
    }
    Ok(())
}

/// Lets the writers of changes and long scans have their turn.
fn pause() {
    std::thread::sleep(Duration::from_millis(limits::STAGE_MOVER_PAUSE_MS));
}
