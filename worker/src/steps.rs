//! The steps: what each kind of artifact holds and how it is computed.
//!
//! Owns the registry, the validation of names and the size limit of bodies; each step is one file. Steps read
//! earlier entries and the Hub, and write nothing: their result goes back to the runtime. Adding a step is one row in
//! [`outpost_model::graph`], one file here and one arm below.

mod config_is_valid;
mod config_split_names;
mod context;
mod dataset_config_names;
mod dataset_is_valid;
mod dataset_split_names;
mod failure;
mod load_errors;
mod names;
mod split_first_rows;
mod split_is_valid;
mod support;

use std::sync::Arc;

use outpost_formats::memory::in_job;
use outpost_hub::Hub;
use outpost_loading::RepositoryCache;
use outpost_model::limits::{self, FirstRowsLimits, NamesLimits};
use outpost_model::{AssetSplit, ErrorCode, Job, StepKind};
use outpost_storage::{AssetStore, Authority};

use crate::assets::{AssetSink, JobAssets};
use crate::media::DecodeBudget;
use crate::outcome::{StepOutcome, StepResult};
use crate::runtime::{RunContext, StepRunner};
use context::StepContext;
use failure::Failure;

/// Limits of the steps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepLimits {
    /// Of the listing steps.
    pub names: NamesLimits,
    /// Of the first rows.
    pub first_rows: FirstRowsLimits,
    /// `WORKER_CONTENT_MAX_BYTES`: size of any body.
    pub content_bytes_max: usize,
}

impl Default for StepLimits {
    fn default() -> Self {
        Self {
            names: NamesLimits::default(),
            first_rows: FirstRowsLimits::default(),
            content_bytes_max: limits::CONTENT_BYTES_MAX,
        }
    }
}

/// Opens the sink of one job; only jobs for rows have one.
type SinkOfJob = Box<dyn Fn(&Job) -> Option<Arc<dyn AssetSink>> + Send + Sync>;

/// Every step, over one authority and one Hub.
pub struct Steps {
    authority: Arc<dyn Authority>,
    hub: Arc<dyn Hub>,
    repositories: RepositoryCache,
    limits: StepLimits,
    assets: Option<SinkOfJob>,
    decode_budget: DecodeBudget,
}

impl Steps {
    /// The steps with these limits. They refuse columns that hold media, see [`Steps::with_asset_store`].
    #[must_use]
    pub fn new(authority: Arc<dyn Authority>, hub: Arc<dyn Hub>, limits: StepLimits) -> Self {
        Self {
            authority,
            hub,
            repositories: RepositoryCache::default(),
            limits,
            assets: None,
            decode_budget: DecodeBudget::default(),
        }
    }

    /// The same steps with one place for the files that rows point to.
    #[cfg(test)]
    fn with_assets(self, assets: Arc<dyn AssetSink>) -> Self {
        Self { assets: Some(Box::new(move |_| Some(Arc::clone(&assets)))), ..self }
    }

    /// The same steps with a store for the files that rows point to; the files of a job are one batch.
    #[must_use]
    pub fn with_asset_store(self, store: Arc<dyn AssetStore>) -> Self {
        let open = move |job: &Job| {
            let sink: Arc<dyn AssetSink> = Arc::new(JobAssets::new(Arc::clone(&store), rows_of(job)?));
            Some(sink)
        };
        Self { assets: Some(Box::new(open)), ..self }
    }
}

impl StepRunner for Steps {
    fn run(&self, job: &Job, context: &RunContext) -> StepOutcome {
        let assets = self.assets.as_ref().and_then(|open| open(job));
        let step = StepContext {
            job,
            run: context,
            authority: &*self.authority,
            hub: &self.hub,
            repositories: &self.repositories,
            limits: &self.limits,
            assets: assets.as_deref(),
            decode_budget: &self.decode_budget,
        };
        match step.is_listed() {
            Ok(true) => {}
            Ok(false) => return StepOutcome::Nothing,
            Err(failure) => return failure.into_outcome(),
        }
        let guard = Arc::clone(&context.guard);
        match in_job(Arc::new(move || guard.must_stop()), || compute(&step)) {
            Ok(result) => StepOutcome::Store(Box::new(within_size(result, &self.limits))),
            Err(failure) => failure.into_outcome(),
        }
    }
}

/// The rows that a job is for.
fn rows_of(job: &Job) -> Option<AssetSplit> {
    Some(AssetSplit {
        dataset: job.key.dataset().clone(),
        config: job.key.config()?.clone(),
        split: job.key.split()?.clone(),
        revision: job.revision.clone(),
    })
}

fn compute(step: &StepContext<'_>) -> Result<StepResult, Failure> {
    match step.job.key.kind() {
        StepKind::DatasetConfigNames => dataset_config_names::compute(step),
        StepKind::ConfigSplitNames => config_split_names::compute(step),
        StepKind::DatasetSplitNames => dataset_split_names::compute(step),
        StepKind::SplitFirstRows => split_first_rows::compute(step),
        StepKind::SplitIsValid => split_is_valid::compute(step),
        StepKind::ConfigIsValid => config_is_valid::compute(step),
        StepKind::DatasetIsValid => dataset_is_valid::compute(step),
    }
}

/// A body over the limit becomes an error (worker-and-store.md section 3.8).
fn within_size(result: StepResult, limits: &StepLimits) -> StepResult {
    let (bytes, bytes_max) = (result.body.len(), limits.content_bytes_max);
    if bytes <= bytes_max {
        return result;
    }
    let message = format!("The response has {bytes} bytes, more than the limit of {bytes_max} bytes.");
    StepResult::error(ErrorCode::TooBigContentError, &message, None)
}

#[cfg(test)]
mod tests;
