//! `dataset-split-names`: the splits of all configs (worker-and-store.md section 4.4).
//!
//! Owns the sorting of configs into listed, pending and failed. It is computed again whenever a config's splits
//! change, so a partial answer is a valid one; its progress says how much is there.

use bytes::Bytes;
use outpost_model::{ConfigName, Entry, StepKind};
use serde::Serialize;
use serde_json::value::RawValue;

use super::context::StepContext;
use super::failure::Failure;
use super::names::{ConfigItem, SplitItem};
use super::support::progress;
use crate::outcome::{StepResult, to_json};

#[derive(Serialize)]
struct Body<'a> {
    splits: Vec<SplitItem<'a>>,
    pending: Vec<ConfigItem<'a>>,
    failed: Vec<FailedItem<'a>>,
}

#[derive(Serialize)]
struct FailedItem<'a> {
    dataset: &'a str,
    config: &'a str,
    error: &'a RawValue,
}

pub(super) fn compute(step: &StepContext<'_>) -> Result<StepResult, Failure> {
    let configs = step.config_names()?;
    let mut listings: Vec<Option<Entry>> = Vec::with_capacity(configs.len());
    for config in &configs {
        let key = step.key_of(StepKind::ConfigSplitNames, Some(config), None);
        listings.push(step.entry(&key)?);
    }
    let dataset = step.job.key.dataset().as_str();
    let mut body = Body { splits: Vec::new(), pending: Vec::new(), failed: Vec::new() };
    for (config, listing) in configs.iter().zip(&listings) {
        let config = config.as_str();
        match listing {
            None => body.pending.push(ConfigItem { dataset, config }),
            Some(entry) if entry.is_ok() => {
                body.splits.extend(entry.names.iter().map(|split| SplitItem { dataset, config, split }));
            }
            Some(entry) => {
                let error = raw_json(&entry.body).ok_or_else(|| Failure::parent_format(&entry.key))?;
                body.failed.push(FailedItem { dataset, config, error });
            }
        }
    }
    let progress = progress(configs.len(), body.pending.len());
    Ok(StepResult { progress: Some(progress), ..StepResult::success(to_json(&body)) })
}

fn raw_json(body: &Bytes) -> Option<&RawValue> {
    serde_json::from_slice(body).ok()
}

impl StepContext<'_> {
    /// The dataset's configs, from the listing; the listing's error is the step's.
    fn config_names(&self) -> Result<Vec<ConfigName>, Failure> {
        let key = self.key_of(StepKind::DatasetConfigNames, None, None);
        let listing = self.parent(&key)?;
        let names = listing.names.iter().map(|name| ConfigName::new(name));
        names.collect::<Result<_, _>>().map_err(|_| Failure::parent_format(&key))
    }
}
