//! The body of the is-valid steps, and unions of it (worker-and-store.md section 4.13).
//!
//! Owns the fan-in over children: a missing child lowers the progress, a failed one supports nothing.

use outpost_model::ArtifactKey;
use serde::{Deserialize, Serialize};

use super::context::StepContext;
use super::failure::Failure;
use crate::outcome::{StepResult, to_json};

/// What the viewer can do with a dataset, a config or a split.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Support {
    pub(super) preview: bool,
    pub(super) viewer: bool,
    pub(super) search: bool,
    pub(super) filter: bool,
    pub(super) statistics: bool,
}

impl Support {
    fn or(self, other: Self) -> Self {
        Self {
            preview: self.preview || other.preview,
            viewer: self.viewer || other.viewer,
            search: self.search || other.search,
            filter: self.filter || other.filter,
            statistics: self.statistics || other.statistics,
        }
    }

    pub(super) fn into_result(self, progress: f64) -> StepResult {
        StepResult { progress: Some(progress), ..StepResult::success(to_json(&self)) }
    }
}

/// The union over the entries of `children`; nothing at no progress when they are not known.
pub(super) fn union_of(
    step: &StepContext<'_>,
    children: Option<&[ArtifactKey]>,
) -> Result<StepResult, Failure> {
    let Some(children) = children else { return Ok(Support::default().into_result(0.0)) };
    let mut union = Support::default();
    let mut pending = 0;
    for key in children {
        match step.entry(key)? {
            None => pending += 1,
            Some(entry) if entry.is_ok() => {
                let support = serde_json::from_slice(&entry.body);
                union = union.or(support.map_err(|_| Failure::parent_format(key))?);
            }
            Some(_) => {}
        }
    }
    Ok(union.into_result(progress(children.len(), pending)))
}

/// Share of `total` that is not pending; everything when there is nothing.
#[allow(clippy::cast_precision_loss, reason = "counts are bounded by the number of configs and splits")]
pub(super) fn progress(total: usize, pending: usize) -> f64 {
    if total == 0 { 1.0 } else { (total - pending) as f64 / total as f64 }
}
