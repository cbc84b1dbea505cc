//! Settling: what the authority is told when a run ended.
//!
//! Owns the duties of a run's end: every claim is finished, given back, or its lease left to run out; a failure
//! becomes an entry only when the authority says that the attempts are used.

use outpost_model::{ErrorCode, Job};
use outpost_storage::{Claim, Completion, ReleaseReason, Released};

use super::calls::CallError;
use super::observer::JobOutcome;
use super::run::RunEnd;
use super::verdict;
use super::{Breakpoint, WorkerPool};
use crate::outcome::{StepOutcome, StepResult};

/// How a run was settled, with the number of jobs created for children.
#[derive(Clone, Copy)]
pub(super) struct Settled {
    pub(super) outcome: JobOutcome,
    pub(super) jobs_created: usize,
}

impl Settled {
    /// The run was dropped with its lease.
    pub(super) const LEASE_LOST: Self = Self { outcome: JobOutcome::LeaseLost, jobs_created: 0 };

    fn without_jobs(outcome: JobOutcome) -> Self {
        Self { outcome, jobs_created: 0 }
    }

    fn failed(error: &CallError) -> Self {
        Self::without_jobs(match error {
            CallError::LeaseLost => JobOutcome::LeaseLost,
            CallError::Unavailable | CallError::Unstorable(_) => JobOutcome::Unsettled,
        })
    }
}

impl WorkerPool {
    pub(super) async fn settle(&self, claim: &Claim, end: RunEnd, duration_ms: u64) -> Settled {
        let verdict = match end {
            RunEnd::Stopped => return self.give_back(claim).await,
            RunEnd::Returned(StepOutcome::Store(result)) => {
                return self.store(claim, Some(*result), duration_ms).await;
            }
            RunEnd::Returned(StepOutcome::Nothing) => return self.store(claim, None, duration_ms).await,
            RunEnd::Returned(StepOutcome::Transient(result)) => *result,
            RunEnd::Crashed | RunEnd::TimedOut => verdict::failure(end.verdict_code(), &claim.job),
        };
        self.repeat_or_store(claim, verdict, duration_ms).await
    }

    /// Stores the result, or ends the job without one. A result that the authority cannot keep is replaced by an error
    /// that says why.
    pub(super) async fn store(&self, claim: &Claim, result: Option<StepResult>, duration_ms: u64) -> Settled {
        self.reached(Breakpoint::Computed, &claim.job).await;
        match self.try_store(claim, result, duration_ms).await {
            Ok(settled) => settled,
            Err(CallError::Unstorable(error)) => {
                tracing::warn!(job.key = %claim.job.key, %error, "a result cannot be stored: {error}");
                let verdict = Some(verdict::unstorable(&error));
                match self.try_store(claim, verdict, duration_ms).await {
                    Ok(settled) => settled,
                    Err(error) => self.unsettled(claim, error).await,
                }
            }
            Err(error) => self.unsettled(claim, error).await,
        }
    }

    async fn try_store(
        &self,
        claim: &Claim,
        result: Option<StepResult>,
        duration_ms: u64,
    ) -> Result<Settled, CallError> {
        let (completion, outcome) = completion(&claim.job, result, self, duration_ms);
        let finish = || self.authority.finish(&claim.lease, completion.clone(), self.clock.now());
        let finished = self.retried("store a result", finish).await?;
        self.reached(Breakpoint::Committed, &claim.job).await;
        Ok(Settled { outcome, jobs_created: finished.jobs_created })
    }

    async fn unsettled(&self, claim: &Claim, error: CallError) -> Settled {
        match error {
            CallError::LeaseLost => Settled::failed(&CallError::LeaseLost),
            CallError::Unavailable | CallError::Unstorable(_) => self.give_up(claim).await,
        }
    }

    /// Gives a failed run back; stores `verdict` when its attempts are used.
    async fn repeat_or_store(&self, claim: &Claim, verdict: StepResult, duration_ms: u64) -> Settled {
        let error_code = verdict.error_code.unwrap_or(ErrorCode::UnexpectedError);
        let release = || self.authority.release(&claim.lease, ReleaseReason::Failed, self.clock.now());
        match self.retried("give a failed run back", release).await {
            Ok(Released::Requeued { attempts }) => {
                Settled::without_jobs(JobOutcome::Requeued { error_code, attempts })
            }
            Ok(Released::Exhausted) => self.store(claim, Some(verdict), duration_ms).await,
            Err(error) => Settled::failed(&error),
        }
    }

    /// Gives a job back because the node shuts down.
    pub(super) async fn give_back(&self, claim: &Claim) -> Settled {
        let release = || self.authority.release(&claim.lease, ReleaseReason::Drained, self.clock.now());
        match self.retried("give a job back", release).await {
            Ok(_) => Settled::without_jobs(JobOutcome::Drained),
            Err(error) => Settled::failed(&error),
        }
    }

    /// The result could not be stored: the run counts as failed, or, when not even that can be said, its lease runs
    /// out and the expiry says it.
    async fn give_up(&self, claim: &Claim) -> Settled {
        let released = self.authority.release(&claim.lease, ReleaseReason::Failed, self.clock.now()).await;
        if let Err(error) = released {
            self.note_failure("give a failed run back", &error);
        }
        Settled::failed(&CallError::Unavailable)
    }
}

fn completion(
    job: &Job,
    result: Option<StepResult>,
    pool: &WorkerPool,
    duration_ms: u64,
) -> (Completion, JobOutcome) {
    match result {
        None => (Completion::Nothing, JobOutcome::Nothing),
        Some(result) => {
            let error_code = result.error_code;
            let entry = result.into_entry(job, pool.clock.now(), duration_ms);
            (Completion::Store(Box::new(entry)), JobOutcome::Stored { error_code })
        }
    }
}
