//! `dataset-is-valid`: what the viewer can do with at least one config (worker-and-store.md section 4.13).

use outpost_model::{ConfigName, StepKind};

use super::context::StepContext;
use super::failure::Failure;
use super::support::union_of;
use crate::outcome::StepResult;

pub(super) fn compute(step: &StepContext<'_>) -> Result<StepResult, Failure> {
    let listing = step.entry(&step.key_of(StepKind::DatasetConfigNames, None, None))?;
    let configs = listing.filter(outpost_model::Entry::is_ok).map(|listing| {
        let configs = listing.names.iter().filter_map(|name| ConfigName::new(name).ok());
        configs.map(|config| step.key_of(StepKind::ConfigIsValid, Some(&config), None)).collect::<Vec<_>>()
    });
    union_of(step, configs.as_deref())
}
