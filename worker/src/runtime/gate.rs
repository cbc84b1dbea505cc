//! The guards: who may claim while the process is large or the machine is busy.
//!
//! Owns the count of running jobs. A large process admits a worker only when nothing runs, so that work goes on, one
//! job at a time, whatever the memory is held by. A busy machine admits nobody. An unknown size admits everyone.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use super::config::MemoryGauge;
use super::host::Room;

pub(super) struct Gate {
    memory: Arc<dyn MemoryGauge>,
    resident_bytes_max: u64,
    room: Arc<dyn Room>,
    running: Mutex<usize>,
    freed: Notify,
}

/// The right to claim and run one job.
pub(super) struct Permit(Arc<Gate>);

impl Gate {
    pub(super) fn new(
        memory: Arc<dyn MemoryGauge>,
        resident_bytes_max: u64,
        room: Arc<dyn Room>,
    ) -> Arc<Self> {
        Arc::new(Self { memory, resident_bytes_max, room, running: Mutex::new(0), freed: Notify::new() })
    }

    /// A permit, unless the machine is busy, or the process is large and something runs.
    pub(super) fn admit(self: &Arc<Self>) -> Option<Permit> {
        if self.room.refusal().is_some() {
            return None;
        }
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if *running > 0 && self.memory.resident_bytes().is_some_and(|bytes| bytes > self.resident_bytes_max) {
            return None;
        }
        *running += 1;
        Some(Permit(self.clone()))
    }

    pub(super) fn running(&self) -> usize {
        *self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns when a permit was given back since this was first polled.
    pub(super) async fn freed(&self) {
        self.freed.notified().await;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        *self.0.running.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        self.0.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::Unguarded;
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    struct Busy(AtomicBool);

    impl Room for Busy {
        fn refusal(&self) -> Option<String> {
            self.0.load(Ordering::Relaxed).then(|| "the test says so".to_owned())
        }
    }

    struct Fixed(AtomicU64);

    impl MemoryGauge for Fixed {
        fn resident_bytes(&self) -> Option<u64> {
            Some(self.0.load(Ordering::Relaxed))
        }
    }

    #[test]
    fn a_busy_machine_admits_nobody() {
        let room = Arc::new(Busy(AtomicBool::new(true)));
        let gate = Gate::new(Arc::new(Fixed(AtomicU64::new(0))), 100, room.clone());
        assert!(gate.admit().is_none());
        room.0.store(false, Ordering::Relaxed);
        assert!(gate.admit().is_some());
    }

    #[test]
    fn a_large_process_runs_one_job_at_a_time() {
        let memory = Arc::new(Fixed(AtomicU64::new(101)));
        let gate = Gate::new(memory.clone(), 100, Arc::new(Unguarded));
        let first = gate.admit().expect("nothing runs");
        assert!(gate.admit().is_none());
        memory.0.store(100, Ordering::Relaxed);
        let second = gate.admit().expect("small enough");
        memory.0.store(101, Ordering::Relaxed);
        drop((first, second));
        assert_eq!(gate.running(), 0);
        assert!(gate.admit().is_some());
    }
}
