//! Verdicts: the entries of jobs whose runs never came to a result of their own.
//!
//! Owns the texts of `JobManagerCrashedError` and `JobManagerExceededMaximumDurationError`
//! (worker-and-store.md section 2.3).

use outpost_model::{ErrorCode, Job};

use crate::outcome::StepResult;

/// The entry that stands for runs of `job` that ended with `code`.
pub(super) fn failure(code: ErrorCode, job: &Job) -> StepResult {
    let kind = job.key.kind();
    let message = match code {
        ErrorCode::JobManagerExceededMaximumDurationError => {
            format!("Computing '{kind}' took longer than a job may run. Smaller files or shards load faster.")
        }
        _ => format!("The worker crashed each time it computed '{kind}'. It will try again later."),
    };
    StepResult::error(code, &message, None)
}
