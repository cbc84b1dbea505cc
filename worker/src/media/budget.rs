//! The memory that media are read and decoded in, shared by all jobs of a node.
//!
//! Owns the count only: a job takes what a file and its image need and gives it back with the [`Reservation`]. Who waits
//! must hold nothing of it, so that nobody waits for who waits for him; a job that waits looks at its guard, so that a
//! deadline ends it.

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
    /// Waits until `bytes` are free and takes them; until all of it is free when that is less.
    pub(super) fn take(&self, bytes: u64, guard: &JobGuard) -> Result<Reservation<'_>, MediaError> {
        let bytes = bytes.min(IMAGE_DECODE_BYTES_MAX);
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

impl Reservation<'_> {
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes what is missing up to `bytes` if it is free, without waiting, and gives back what is beyond.
    pub(super) fn try_resize(&mut self, bytes: u64) -> bool {
        let bytes = bytes.min(IMAGE_DECODE_BYTES_MAX);
        let mut free = self.budget.free();
        let Some(rest) = (*free + self.bytes).checked_sub(bytes) else { return false };
        *free = rest;
        self.bytes = bytes;
        drop(free);
        self.budget.freed.notify_all();
        true
    }
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
    fn a_reservation_grows_only_into_what_is_free() {
        let budget = DecodeBudget::default();
        let guard = JobGuard::new(Instant::now() + Duration::from_secs(60));
        let mut first = budget.take(10, &guard).unwrap();
        let mut second = budget.take(IMAGE_DECODE_BYTES_MAX - 20, &guard).unwrap();
        assert!(!first.try_resize(21));
        assert!(first.try_resize(20));
        assert!(second.try_resize(1) && first.try_resize(IMAGE_DECODE_BYTES_MAX - 1));
        assert!(!second.try_resize(2));
        drop((first, second));
        let all = budget.take(u64::MAX, &guard).unwrap();
        assert_eq!(*budget.free(), 0, "more than there is means all of it");
        drop(all);
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
