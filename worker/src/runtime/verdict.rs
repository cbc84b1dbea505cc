//! Verdicts: the entries of jobs whose runs never came to a result of their own.
//!
//! Owns the texts of results that cannot be stored, of `JobManagerCrashedError` and `JobManagerExceededMaximumDurationError`
//! (worker-and-store.md section 2.3).

use outpost_model::{ErrorCode, Job};
use outpost_storage::StorageError;

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

/// The entry that stands for a result that the store cannot keep.
pub(super) fn unstorable(error: &StorageError) -> StepResult {
    let code = match error {
        StorageError::TooLarge(_) => ErrorCode::TooBigContentError,
        _ => ErrorCode::UnexpectedError,
    };
    StepResult::error(code, &format!("The response cannot be stored: {error}."), None)
}
