//! `split-first-rows`: the columns and the first rows of a split (worker-and-store.md section 5).
//!
//! Owns the order of its checks: what the metadata alone refuses is refused before a row is read.

use outpost_model::limits;

use super::context::StepContext;
use super::failure::Failure;
use super::load_errors;
use crate::first_rows::{self, FirstRowsError, SplitAddress};
use crate::outcome::StepResult;

pub(super) fn compute(step: &StepContext<'_>) -> Result<StepResult, Failure> {
    let (config, split) = (step.config()?.as_str(), step.split()?.as_str());
    let first_rows_limits = &step.limits.first_rows;
    let repository = step.repository().map_err(|error| load_errors::info(&error))?;
    // A failure to know them is told by reading the rows, under the code of its phase.
    if let Ok(Some(features)) = repository.known_features(config) {
        first_rows::check_columns(&features, first_rows_limits).map_err(refused)?;
    }
    // One row more than is shown tells whether the split ends there.
    let head = repository.first_rows(config, split, limits::ROWS_PER_PAGE_MAX + 1);
    let head = head.map_err(|error| load_errors::first_rows(&error))?;
    let address = SplitAddress { dataset: step.job.key.dataset().as_str(), config, split };
    let body = first_rows::assemble(address, &head, first_rows_limits).map_err(refused)?;
    Ok(StepResult::success(body))
}

#[allow(clippy::needless_pass_by_value, reason = "the form that map_err asks for")]
fn refused(error: FirstRowsError) -> Failure {
    Failure::new(error.code(), &error.to_string())
}
