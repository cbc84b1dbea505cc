//! `config-is-valid`: what the viewer can do with at least one split (worker-and-store.md section 4.13).

use outpost_model::{SplitName, StepKind};

use super::context::StepContext;
use super::failure::Failure;
use super::support::union_of;
use crate::outcome::StepResult;

pub(super) fn compute(step: &StepContext<'_>) -> Result<StepResult, Failure> {
    let config = step.job.key.config();
    let listing = step.entry(&step.key_of(StepKind::ConfigSplitNames, config, None))?;
    let splits = listing.filter(outpost_model::Entry::is_ok).map(|listing| {
        let splits = listing.names.iter().filter_map(|name| SplitName::new(name).ok());
        splits.map(|split| step.key_of(StepKind::SplitIsValid, config, Some(&split))).collect::<Vec<_>>()
    });
    union_of(step, splits.as_deref())
}
