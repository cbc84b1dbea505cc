//! The memory guard: who may claim while the process is large.
//!
//! Owns the count of running jobs. A large process admits a worker only when nothing runs, so that work goes on, one
//! job at a time, whatever the memory is held by. An unknown size admits everyone.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use super::config::MemoryGauge;

pub(super) struct Gate {
    memory: Arc<dyn MemoryGauge>,
    resident_bytes_max: u64,
    running: Mutex<usize>,
    freed: Notify,
}

/// The right to claim and run one job.
pub(super) struct Permit(Arc<Gate>);

impl Gate {
    pub(super) fn new(memory: Arc<dyn MemoryGauge>, resident_bytes_max: u64) -> Arc<Self> {
        Arc::new(Self { memory, resident_bytes_max, running: Mutex::new(0), freed: Notify::new() })
    }

    /// A permit, unless the process is large and something runs.
    pub(super) fn admit(self: &Arc<Self>) -> Option<Permit> {
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
    use std::sync::atomic::{AtomicU64, Ordering};

    struct Fixed(AtomicU64);

    impl MemoryGauge for Fixed {
        fn resident_bytes(&self) -> Option<u64> {
            Some(self.0.load(Ordering::Relaxed))
        }
    }

    #[test]
    fn a_large_process_runs_one_job_at_a_time() {
        let memory = Arc::new(Fixed(AtomicU64::new(101)));
        let gate = Gate::new(memory.clone(), 100);
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
