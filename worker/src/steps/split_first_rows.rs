//! `split-first-rows`: the columns and the first rows of a split (worker-and-store.md section 5).
//!
//! Owns the order of its checks: what the metadata alone refuses is refused before a row is read.

use outpost_loading::MediaArchives;
use outpost_model::{AssetSplit, limits};

use super::context::StepContext;
use super::failure::Failure;
use super::load_errors;
use crate::first_rows::{self, FirstRowsError, MediaSupport, SplitAddress};
use crate::media::MediaStep;
use crate::outcome::StepResult;

pub(super) fn compute(step: &StepContext<'_>) -> Result<StepResult, Failure> {
    let (config, split) = (step.config()?.as_str(), step.split()?.as_str());
    let first_rows_limits = &step.limits.first_rows;
    let support = if step.assets.is_some() { MediaSupport::Assets } else { MediaSupport::None };
    let repository = step.repository().map_err(|error| load_errors::info(&error))?;
    // A failure to know them is told by reading the rows, under the code of its phase.
    if let Ok(Some(features)) = repository.known_features(config) {
        first_rows::check_columns(&features, first_rows_limits, support).map_err(refused)?;
    }
    // One row more than is shown tells whether the split ends there.
    let head = repository.first_rows(config, split, limits::ROWS_PER_PAGE_MAX + 1);
    let head = head.map_err(|error| load_errors::first_rows(&error))?;
    let address = SplitAddress { dataset: step.job.key.dataset().as_str(), config, split };
    let archives = MediaArchives::new(&step.load_context(), step.job.key.dataset());
    let media = media(step, &archives)?;
    let body = first_rows::assemble(address, &head, first_rows_limits, media.as_ref()).map_err(refused)?;
    Ok(StepResult::success(body))
}

/// What media are made with, where there is a place for them.
fn media<'a>(
    step: &'a StepContext<'_>,
    archives: &'a MediaArchives,
) -> Result<Option<MediaStep<'a>>, Failure> {
    let Some(assets) = step.assets else { return Ok(None) };
    let rows = AssetSplit {
        dataset: step.job.key.dataset().clone(),
        config: step.config()?.clone(),
        split: step.split()?.clone(),
        revision: step.job.revision.clone(),
    };
    let (runtime, guard) = (&step.run.runtime, &*step.run.guard);
    let budget = step.decode_budget;
    Ok(Some(MediaStep { hub: &**step.hub, runtime, guard, archives, assets, budget, rows }))
}

#[allow(clippy::needless_pass_by_value, reason = "the form that map_err asks for")]
fn refused(error: FirstRowsError) -> Failure {
    match &error {
        FirstRowsError::MayPass { .. } => Failure::transient(error.code(), &error.to_string()),
        _ => Failure::new(error.code(), &error.to_string()),
    }
}
