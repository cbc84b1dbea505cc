//! A step's failure on its way to an outcome.
//!
//! Owns the copies of parents' errors and their trace (worker-and-store.md section 3.8), and the split between what
//! is stored at once and what is run again first.

use bytes::Bytes;
use outpost_loading::LoadError;
use outpost_model::{ArtifactKey, Entry, ErrorCode};
use serde_json::{Map, Value, json};

use crate::outcome::{Cause, StepOutcome, StepResult, to_json};

/// Causes named in the details of an error.
const CAUSES_MAX: usize = 10;

/// Why a step has no successful result.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Failure {
    result: StepResult,
    transient: bool,
}

impl Failure {
    /// A failure of the data or of a limit.
    pub(super) fn new(code: ErrorCode, message: &str) -> Self {
        Self { result: StepResult::error(code, message, None), transient: false }
    }

    /// A failure that may pass.
    pub(super) fn transient(code: ErrorCode, message: &str) -> Self {
        Self { result: StepResult::error(code, message, None), transient: true }
    }

    /// A failure of loading; transient when the chain is.
    pub(super) fn loading(code: ErrorCode, message: &str, error: &LoadError) -> Self {
        let result = StepResult::error(code, message, Some(&cause_of(error)));
        Self { result, transient: error.is_transient() }
    }

    /// A failure with a cause that this crate found itself.
    pub(super) fn caused(code: ErrorCode, message: &str, class: &str, cause: &str) -> Self {
        let cause = Cause { class: class.into(), message: cause.into(), raised_from: Vec::new() };
        Self { result: StepResult::error(code, message, Some(&cause)), transient: false }
    }

    /// The step that this one is built on has not ended.
    pub(super) fn missing_parent(key: &ArtifactKey) -> Self {
        let message = format!("The step '{}' has not ended yet. Retry later.", key.kind());
        Self::transient(ErrorCode::PreviousStepStillProcessingError, &message)
    }

    /// The result of the step that this one is built on cannot be used.
    pub(super) fn parent_format(key: &ArtifactKey) -> Self {
        let message = format!("The result of the step '{}' does not have the expected form.", key.kind());
        Self::new(ErrorCode::PreviousStepFormatError, &message)
    }

    /// The error of a parent, which is also this step's.
    pub(super) fn copied(parent: &Entry) -> Self {
        let result = StepResult {
            http_status: parent.http_status,
            error_code: parent.error_code,
            body: parent.body.clone(),
            details: Some(copied_details(parent)),
            names: Vec::new(),
            progress: None,
        };
        Self { result, transient: false }
    }

    pub(super) fn into_outcome(self) -> StepOutcome {
        let result = Box::new(self.result);
        if self.transient { StepOutcome::Transient(result) } else { StepOutcome::Store(result) }
    }
}

fn cause_of(error: &LoadError) -> Cause {
    let raised_from = error.chain().skip(1).take(CAUSES_MAX);
    Cause {
        class: error.class.clone().into_owned(),
        message: error.message.clone(),
        raised_from: raised_from.map(|link| format!("{}: {}", link.class, link.message)).collect(),
    }
}

/// The parent's details, or its body when it has none, with the parent's address.
fn copied_details(parent: &Entry) -> Bytes {
    let source = parent.details.as_ref().unwrap_or(&parent.body);
    let mut details: Map<String, Value> = serde_json::from_slice(source).unwrap_or_default();
    let key = &parent.key;
    let address = json!({
        "kind": key.kind().as_str(),
        "dataset": key.dataset().as_str(),
        "config": key.config().map(outpost_model::ConfigName::as_str),
        "split": key.split().map(outpost_model::SplitName::as_str),
    });
    details.insert("copied_from_artifact".into(), address);
    to_json(&details).into()
}
