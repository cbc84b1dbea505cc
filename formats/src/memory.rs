//! Turns for large buffers: of the jobs of a process, one at a time may hold much memory.
//!
//! Owns who has the turn. A job takes it with its first large buffer and has it until it ends, so that what large jobs
//! hold never adds up, while small jobs go on beside it. A job that must stop waits no longer. Outside of
//! [`in_job`] nothing is counted.

use std::cell::RefCell;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use outpost_model::limits;

use crate::error::{ErrorClass, FormatError};

/// Tells whether a job must end.
pub type MustStop = Arc<dyn Fn() -> bool + Send + Sync>;

/// Whether somebody has the turn.
struct Turns {
    taken: Mutex<bool>,
    freed: Condvar,
}

/// Memory belongs to the process, and so does the turn.
static TURNS: Turns = Turns { taken: Mutex::new(false), freed: Condvar::new() };

struct Job {
    must_stop: MustStop,
    turn: Option<Turn>,
}

thread_local! {
    static JOB: RefCell<Option<Job>> = const { RefCell::new(None) };
}

/// The right to hold large buffers, given back when it is dropped.
struct Turn;

impl Turns {
    fn taken(&self) -> MutexGuard<'_, bool> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, must_stop: &MustStop) -> Result<Turn, FormatError> {
        let mut taken = self.taken();
        while *taken {
            if must_stop() {
                let message = "the job was stopped while it waited for memory";
                return Err(FormatError::new(ErrorClass::ConnectionError, message));
            }
            let look = Duration::from_millis(limits::MEMORY_WAIT_LOOK_MS);
            taken = self.freed.wait_timeout(taken, look).unwrap_or_else(PoisonError::into_inner).0;
        }
        *taken = true;
        Ok(Turn)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *TURNS.taken() = false;
        TURNS.freed.notify_one();
    }
}

/// Ends the job of a thread, also when it panics.
struct End;

impl Drop for End {
    fn drop(&mut self) {
        JOB.with_borrow_mut(Option::take);
    }
}

/// Runs a job on this thread; what it holds of memory is counted until it returns.
pub fn in_job<T>(must_stop: MustStop, run: impl FnOnce() -> T) -> T {
    JOB.with_borrow_mut(|job| *job = Some(Job { must_stop, turn: None }));
    let _end = End;
    run()
}

/// Says that the job of this thread is about to hold `bytes` in one place. From
/// [`limits::LARGE_BUFFER_BYTES_MIN`] on it waits for its turn.
///
/// # Errors
/// `ConnectionError` when the job must stop while it waits.
pub fn hold(bytes: usize) -> Result<(), FormatError> {
    if bytes < limits::LARGE_BUFFER_BYTES_MIN {
        return Ok(());
    }
    JOB.with_borrow_mut(|job| match job {
        Some(job) if job.turn.is_none() => {
            job.turn = Some(TURNS.take(&job.must_stop)?);
            Ok(())
        }
        _ => Ok(()),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    const LARGE: usize = limits::LARGE_BUFFER_BYTES_MIN;

    fn goes_on() -> MustStop {
        Arc::new(|| false)
    }

    #[test]
    fn one_job_at_a_time_holds_a_large_buffer_and_the_next_follows_when_it_ends() {
        let holding = AtomicUsize::new(0);
        let job = || {
            hold(LARGE).unwrap();
            hold(LARGE * 2).unwrap();
            let others = holding.fetch_add(1, Ordering::SeqCst);
            std::thread::yield_now();
            holding.fetch_sub(1, Ordering::SeqCst);
            others
        };
        std::thread::scope(|scope| {
            let jobs: Vec<_> = (0..8).map(|_| scope.spawn(|| in_job(goes_on(), job))).collect();
            jobs.into_iter().for_each(|job| assert_eq!(job.join().unwrap(), 0));
        });
    }

    #[test]
    fn small_jobs_and_stopped_ones_do_not_wait_and_a_panic_gives_the_turn_back() {
        let panics = || {
            hold(LARGE).unwrap();
            let small = || in_job(goes_on(), || hold(LARGE - 1));
            let stopped = || in_job(Arc::new(|| true), || hold(LARGE));
            std::thread::scope(|scope| {
                assert_eq!(scope.spawn(small).join().unwrap(), Ok(()));
                let error = scope.spawn(stopped).join().unwrap().unwrap_err();
                assert!(error.class.is_transient());
            });
            panic!("on purpose");
        };
        std::panic::catch_unwind(|| in_job(goes_on(), panics)).unwrap_err();
        in_job(goes_on(), || hold(LARGE)).unwrap();
    }
}
