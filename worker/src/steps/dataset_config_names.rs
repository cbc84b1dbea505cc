//! `dataset-config-names`: the configs of a dataset (worker-and-store.md section 4.2).
//!
//! Owns their order, default first, then by name, and their number. A config name that cannot be an id is an error of
//! the dataset.

use outpost_model::{ConfigName, ErrorCode};
use serde::Serialize;

use super::context::StepContext;
use super::failure::Failure;
use super::load_errors;
use super::names::{ConfigItem, checked};
use crate::outcome::{StepResult, to_json};

#[derive(Serialize)]
struct Body<'a> {
    config_names: Vec<ConfigItem<'a>>,
}

pub(super) fn compute(step: &StepContext<'_>) -> Result<StepResult, Failure> {
    let repository = step.repository().map_err(|error| load_errors::config_names(&error))?;
    let names = sorted(repository.config_names(), repository.default_config());
    let names = checked(names, ConfigName::new).map_err(|error| {
        let message = "A config of the dataset has a name that is not allowed. Rename it in the README.";
        Failure::caused(ErrorCode::ConfigNamesError, message, "InvalidConfigName", &error.to_string())
    })?;
    let configs_max = step.limits.names.configs_max;
    if names.len() > configs_max {
        let message =
            format!("The dataset has {} configs, more than the limit of {configs_max}.", names.len());
        return Err(Failure::new(ErrorCode::DatasetWithTooManyConfigsError, &message));
    }
    let dataset = step.job.key.dataset().as_str();
    let config_names = names.iter().map(|config| ConfigItem { dataset, config }).collect();
    let body = to_json(&Body { config_names });
    Ok(StepResult { names, ..StepResult::success(body) })
}

fn sorted(mut names: Vec<String>, default: Option<&str>) -> Vec<String> {
    names.sort_by(|a, b| {
        let is_other = |name: &str| Some(name) != default;
        is_other(a).cmp(&is_other(b)).then_with(|| a.cmp(b))
    });
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_default_config_comes_first_and_the_others_by_code_point() {
        let given = names(&["b", "é", "main", "B", "a"]);
        assert_eq!(sorted(given.clone(), Some("main")), names(&["main", "B", "a", "b", "é"]));
        assert_eq!(sorted(given, None), names(&["B", "a", "b", "main", "é"]));
    }
}
