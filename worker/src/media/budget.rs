//! The memory that images are decoded in, shared by all jobs of a node.
//!
//! Owns the count only: a job takes what an image needs by its header and gives it back with the [`Reservation`]. A
//! job that waits looks at its guard, so that a deadline ends it.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use outpost_loading::JobGuard;
use outpost_model::limits::{IMAGE_DECODE_BYTES_MAX, IMAGE_WAIT_LOOK_MS};

use super::MediaError;

/// Bytes that are free for decoding.
#[derive(Debug)]
pub struct DecodeBudget {
    free_bytes: Mutex<u64>,
    freed: Condvar,
}

impl Default for DecodeBudget {
    fn default() -> Self {
        Self { free_bytes: Mutex::new(IMAGE_DECODE_BYTES_MAX), freed: Condvar::new() }
    }
}

impl DecodeBudget {
    /// Waits until `bytes`, at most [`IMAGE_DECODE_BYTES_MAX`], are free and takes them.
    pub(super) fn take(&self, bytes: u64, guard: &JobGuard) -> Result<Reservation<'_>, MediaError> {
        let mut free = self.free();
        loop {
            if guard.must_stop() {
                return Err(MediaError::Stopped);
            }
            if let Some(rest) = free.checked_sub(bytes) {
                *free = rest;
                return Ok(Reservation { budget: self, bytes });
            }
            let waited = self.freed.wait_timeout(free, Duration::from_millis(IMAGE_WAIT_LOOK_MS));
            free = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn free(&self) -> MutexGuard<'_, u64> {
        self.free_bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes that are given back when it is dropped.
pub(super) struct Reservation<'a> {
    budget: &'a DecodeBudget,
    bytes: u64,
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        *self.budget.free() += self.bytes;
        self.budget.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn what_is_given_back_can_be_taken_by_who_waits() {
        let budget = DecodeBudget::default();
        let guard = JobGuard::new(Instant::now() + Duration::from_secs(60));
        let held = budget.take(IMAGE_DECODE_BYTES_MAX, &guard).unwrap();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| budget.take(1, &guard).is_ok());
            drop(held);
            assert!(waiting.join().unwrap());
        });
        assert_eq!(*budget.free(), IMAGE_DECODE_BYTES_MAX);
    }

    #[test]
    fn a_job_that_must_stop_does_not_wait() {
        let budget = DecodeBudget::default();
        let guard = JobGuard::new(Instant::now() + Duration::from_secs(60));
        let _held = budget.take(IMAGE_DECODE_BYTES_MAX, &guard).unwrap();
        let stopped = JobGuard::new(Instant::now());
        assert!(matches!(budget.take(1, &stopped), Err(MediaError::Stopped)));
    }
}
