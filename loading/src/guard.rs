//! The guard of a job: deadline, cancellation and a count of the bytes read.
//!
//! Owns the question "may this job go on?", asked at every read of a file. A job that may not goes on failing with a
//! transient error until it returns.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use crate::error::LoadError;

/// Shared between a running job and whoever watches over it.
#[derive(Debug)]
pub struct JobGuard {
    deadline: Instant,
    cancelled: AtomicBool,
    bytes_read: AtomicU64,
}

impl JobGuard {
    /// A guard that ends the job at `deadline`.
    #[must_use]
    pub fn new(deadline: Instant) -> Self {
        Self { deadline, cancelled: AtomicBool::new(false), bytes_read: AtomicU64::new(0) }
    }

    /// Ends the job at its next read.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// Whether the job must end: cancelled or past its deadline.
    #[must_use]
    pub fn must_stop(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed) || Instant::now() >= self.deadline
    }

    /// Fails with a transient error when the job must end.
    ///
    /// # Errors
    /// `ConnectionError`, see [`JobGuard::must_stop`].
    pub fn check(&self) -> Result<(), LoadError> {
        if self.must_stop() {
            let mut error = LoadError::new("ConnectionError", "the job was stopped");
            error.transient = true;
            return Err(error);
        }
        Ok(())
    }

    /// Counts bytes had from the Hub.
    pub fn count_bytes(&self, bytes: u64) {
        self.bytes_read.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bytes had from the Hub so far.
    #[must_use]
    pub fn bytes_read(&self) -> u64 {
        self.bytes_read.load(Ordering::Relaxed)
    }
}
