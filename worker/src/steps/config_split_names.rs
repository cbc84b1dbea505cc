//! `config-split-names`: the splits of a config (worker-and-store.md section 4.3), in the order of `datasets`.
//!
//! Owns their number. A split name that cannot be an id is an error of the dataset.

use outpost_model::{ErrorCode, SplitName};
use serde::Serialize;

use super::context::StepContext;
use super::failure::Failure;
use super::load_errors;
use super::names::{SplitItem, checked};
use crate::outcome::{StepResult, to_json};

#[derive(Serialize)]
struct Body<'a> {
    splits: Vec<SplitItem<'a>>,
}

pub(super) fn compute(step: &StepContext<'_>) -> Result<StepResult, Failure> {
    let config = step.config()?.as_str();
    let names = step.repository().and_then(|repository| repository.split_names(config));
    let names = names.map_err(|error| load_errors::split_names(&error))?;
    let names = checked(names, SplitName::new).map_err(|error| {
        let message = "A split of the config has a name that is not allowed. Rename it in the README.";
        Failure::caused(ErrorCode::SplitNamesFromStreamingError, message, "ValueError", &error.to_string())
    })?;
    let splits_max = step.limits.names.splits_max;
    if names.len() > splits_max {
        let message = format!("The config has {} splits, more than the limit of {splits_max}.", names.len());
        return Err(Failure::new(ErrorCode::DatasetWithTooManySplitsError, &message));
    }
    let dataset = step.job.key.dataset().as_str();
    let splits = names.iter().map(|split| SplitItem { dataset, config, split }).collect();
    let body = to_json(&Body { splits });
    Ok(StepResult { names, ..StepResult::success(body) })
}
