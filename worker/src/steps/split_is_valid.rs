//! `split-is-valid`: what the viewer can do with a split (worker-and-store.md section 4.13).
//!
//! Owns the preview flag. The others stand for steps that this graph does not have, so they are false.

use outpost_model::StepKind;

use super::context::StepContext;
use super::failure::Failure;
use super::support::Support;
use crate::outcome::StepResult;

pub(super) fn compute(step: &StepContext<'_>) -> Result<StepResult, Failure> {
    let key = &step.job.key;
    let first_rows = step.entry(&step.key_of(StepKind::SplitFirstRows, key.config(), key.split()))?;
    let preview = first_rows.is_some_and(|entry| entry.is_ok());
    Ok(Support { preview, ..Support::default() }.into_result(1.0))
}
