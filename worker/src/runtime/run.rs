//! One run of one job: its thread, and what ends it.
//!
//! Owns the thread, the panic barrier and the deadline. The thread is not one of Tokio's: a run that ignores its
//! cancellation must not keep the Tokio runtime from ending.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use outpost_loading::JobGuard;
use outpost_model::{ErrorCode, Job, TimestampMs, limits};
use outpost_storage::Claim;
use tokio::sync::oneshot;

use super::gate::Permit;
use super::observer::JobReport;
use super::settle::Settled;
use super::{Breakpoint, RunContext, WorkerPool};
use crate::outcome::StepOutcome;

/// How a run ended.
pub(super) enum RunEnd {
    /// It returned in time.
    Returned(StepOutcome),
    /// It panicked, or its thread could not be started.
    Crashed,
    /// It reached its deadline.
    TimedOut,
    /// The pool stops.
    Stopped,
}

/// The thread of a run.
pub(super) struct Run {
    guard: Arc<JobGuard>,
    ended: oneshot::Receiver<Result<StepOutcome, String>>,
    returned: bool,
}

impl Run {
    fn start(pool: &WorkerPool, job: &Job) -> Self {
        let deadline = Instant::now() + Duration::from_millis(pool.config.job_duration_ms_max);
        let guard = Arc::new(JobGuard::new(deadline));
        let (sender, ended) = oneshot::channel();
        let context = RunContext { guard: guard.clone(), runtime: pool.runtime.clone() };
        let (steps, job) = (pool.steps.clone(), job.clone());
        let body = move || {
            let outcome = catch_unwind(AssertUnwindSafe(|| steps.run(&job, &context)));
            // Nobody listens any more when the run was left to itself.
            let _ = sender.send(outcome.map_err(|panic| panic_text(&*panic)));
        };
        // When the thread cannot be started the sender is dropped with its closure, which reads as a crash.
        let thread = std::thread::Builder::new().name("job".into()).stack_size(limits::JOB_STACK_BYTES);
        if let Err(error) = thread.spawn(body) {
            tracing::error!(%error, "no thread could be started for a job: {error}");
        }
        Self { guard, ended, returned: false }
    }

    /// Waits for the run's end, its deadline or the pool's stop, whichever comes first.
    async fn end(&mut self, pool: &WorkerPool, job: &Job) -> RunEnd {
        let deadline = tokio::time::sleep(Duration::from_millis(pool.config.job_duration_ms_max));
        tokio::select! {
            biased;
            ended = &mut self.ended => {
                self.returned = true;
                match ended {
                    // What a run returns after it was told to stop may rest on refused reads.
                    Ok(Ok(_)) if self.guard.must_stop() => RunEnd::TimedOut,
                    Ok(Ok(outcome)) => RunEnd::Returned(outcome),
                    Ok(Err(panic)) => {
                        tracing::error!(%panic, "job `{}` panicked: {panic}", job.key);
                        RunEnd::Crashed
                    }
                    Err(_) => RunEnd::Crashed,
                }
            }
            () = deadline => RunEnd::TimedOut,
            () = pool.stopping.cancelled() => RunEnd::Stopped,
        }
    }
}

impl WorkerPool {
    /// Runs a claimed job and settles it.
    pub(super) async fn work(&self, claim: Claim, permit: Permit) {
        let job = &claim.job;
        self.config.observer.job_started(&job.key);
        self.reached(Breakpoint::Claimed, job).await;
        let started_at = self.clock.now();
        if self.draining.is_cancelled() {
            let settled = self.give_back(&claim).await;
            return self.report(job, settled, 0, 0);
        }
        let mut run = Run::start(self, job);
        let (settled, duration_ms) = self.watch_over(&claim, &mut run, started_at).await;
        let bytes_read = run.guard.bytes_read();
        self.report(job, settled, duration_ms, bytes_read);
        self.see_off(run, job, permit).await;
    }

    /// Keeps the lease until the run has ended and is settled; says how, and how long the run took.
    async fn watch_over(&self, claim: &Claim, run: &mut Run, started_at: TimestampMs) -> (Settled, u64) {
        let mut lease = std::pin::pin!(self.keep_lease(&claim.lease));
        let end = tokio::select! {
            biased;
            end = run.end(self, &claim.job) => Some(end),
            () = &mut lease => None,
        };
        run.guard.cancel();
        let duration_ms = self.clock.now().since_ms(started_at);
        let Some(end) = end else { return (Settled::LEASE_LOST, duration_ms) };
        // A store that finds the lease lost says so itself; the heartbeat only keeps it meanwhile.
        let settled = tokio::select! {
            settled = self.settle(claim, end, duration_ms) => settled,
            settled = async { lease.await; std::future::pending().await } => settled,
        };
        (settled, duration_ms)
    }

    /// Waits for the thread of a cancelled run; one that does not return is left to itself, up to a number of them.
    async fn see_off(&self, mut run: Run, job: &Job, permit: Permit) {
        if run.returned {
            return;
        }
        let grace = Duration::from_millis(self.config.cancel_grace_ms);
        tokio::select! {
            _ = &mut run.ended => return,
            () = tokio::time::sleep(grace) => {}
            () = self.stopping.cancelled() => return,
        }
        tracing::error!("job `{}` ignores its cancellation and is left to itself", job.key);
        self.config.observer.run_abandoned(&job.key);
        let abandoned = tokio::select! {
            _ = &mut run.ended => return,
            () = self.stopping.cancelled() => return,
            abandoned = self.abandoned.clone().acquire_owned() => abandoned,
        };
        // It no longer counts as running: it may never end, and then a large process would never claim again.
        drop(permit);
        tokio::spawn(async move {
            let _ = run.ended.await;
            drop(abandoned);
        });
    }

    pub(super) async fn reached(&self, breakpoint: Breakpoint, job: &Job) {
        if let Some(breakpoints) = &self.config.breakpoints {
            breakpoints.reached(breakpoint, job).await;
        }
    }

    pub(super) fn report(&self, job: &Job, settled: Settled, duration_ms: u64, bytes_read: u64) {
        let Settled { outcome, jobs_created } = settled;
        let report = JobReport { key: job.key.clone(), outcome, duration_ms, bytes_read, jobs_created };
        report.log();
        self.config.observer.job_ended(&report);
    }
}

impl RunEnd {
    /// The code of the verdict, when the run came to no result of its own.
    pub(super) fn verdict_code(&self) -> ErrorCode {
        match self {
            Self::TimedOut => ErrorCode::JobManagerExceededMaximumDurationError,
            _ => ErrorCode::JobManagerCrashedError,
        }
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a panic without a text").to_string()
}
