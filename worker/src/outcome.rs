//! What a run of a step ends with, and the bodies of errors.
//!
//! Owns the shape of error bodies and details (http-api.md section 0.5): the cause is named only by the codes that
//! disclose it, a traceback never is. Texts are cut to [`limits::ERROR_TEXT_BYTES_MAX`], since datasets write them.

use bytes::Bytes;
use outpost_model::{Entry, ErrorCode, Job, TimestampMs, limits};
use serde::Serialize;

/// The result of a run, as the runtime settles it.
#[derive(Debug, Clone, PartialEq)]
pub enum StepOutcome {
    /// Final for this revision: stored at once.
    Store(Box<StepResult>),
    /// Nothing to store, the children are still planned (worker-and-store.md section 3.8, failed validation).
    Nothing,
    /// Failed in a way that may pass: run again with back-off, the result is stored when the attempts are used up.
    Transient(Box<StepResult>),
}

/// The parts of an [`Entry`] that a step decides.
#[derive(Debug, Clone, PartialEq)]
pub struct StepResult {
    /// HTTP status to answer with.
    pub http_status: u16,
    /// The error, `None` for a success.
    pub error_code: Option<ErrorCode>,
    /// Compact JSON.
    pub body: Bytes,
    /// JSON object with the full cause of an error.
    pub details: Option<Bytes>,
    /// Names that the body of a listing step lists.
    pub names: Vec<String>,
    /// Share of the parents that had been computed, `None` for errors.
    pub progress: Option<f64>,
}

/// Why an error occurred: the chain of Python classes and messages, outermost first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// Class of the exception.
    pub class: String,
    /// Its message.
    pub message: String,
    /// What it was raised from, outermost first, as `class: message`.
    pub raised_from: Vec<String>,
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    error: &'a str,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    cause: Option<CauseBody<'a>>,
}

#[derive(Clone, Copy, Serialize)]
struct CauseBody<'a> {
    cause_exception: &'a str,
    cause_message: &'a str,
    /// Always empty: tracebacks tell strangers about the node. Kept for the body's shape.
    cause_traceback: [&'a str; 0],
}

#[derive(Serialize)]
struct Details<'a> {
    #[serde(flatten)]
    body: ErrorBody<'a>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    raised_from: &'a [String],
}

impl StepResult {
    /// A complete success: `body` is compact JSON.
    #[must_use]
    pub fn success(body: Vec<u8>) -> Self {
        Self {
            http_status: 200,
            error_code: None,
            body: body.into(),
            details: None,
            names: Vec::new(),
            progress: Some(1.0),
        }
    }

    /// An error with its body: `message` for everyone, `cause` for everyone or for operators only, as the code says.
    #[must_use]
    pub fn error(code: ErrorCode, message: &str, cause: Option<&Cause>) -> Self {
        let error = cut(message);
        let full = cause.map(|cause| CauseBody {
            cause_exception: cut(&cause.class),
            cause_message: cut(&cause.message),
            cause_traceback: [],
        });
        let details = cause.map(|cause| {
            to_json(&Details { body: ErrorBody { error, cause: full }, raised_from: &cause.raised_from })
        });
        let body = to_json(&ErrorBody { error, cause: full.filter(|_| code.discloses_cause()) });
        Self {
            http_status: code.http_status(),
            error_code: Some(code),
            body: body.into(),
            details: details.map(Bytes::from),
            names: Vec::new(),
            progress: None,
        }
    }

    /// The entry of `job` with this result. The authority sets `failed_runs`.
    #[must_use]
    pub fn into_entry(self, job: &Job, now: TimestampMs, duration_ms: u64) -> Entry {
        Entry {
            key: job.key.clone(),
            http_status: self.http_status,
            error_code: self.error_code,
            revision: job.revision.clone(),
            body: self.body,
            details: self.details,
            names: self.names,
            progress: self.progress,
            job_runner_version: job.key.kind().spec().version,
            failed_runs: 0,
            updated_at: now,
            duration_ms,
        }
    }
}

/// Compact JSON as orjson writes it.
///
/// Serializing the types of this crate cannot fail: their keys are strings and nothing in them returns an error.
pub(crate) fn to_json<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).expect("types with string keys always serialize")
}

/// The text up to the limit, cut between characters.
pub(crate) fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(limits::ERROR_TEXT_BYTES_MAX)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cause() -> Cause {
        Cause { class: "ValueError".into(), message: "é\n".into(), raised_from: vec!["OSError: no".into()] }
    }

    fn text(bytes: &[u8]) -> &str {
        std::str::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_disclosing_code_names_its_cause_and_no_traceback() {
        let result = StepResult::error(ErrorCode::ConfigNamesError, "No configs.", Some(&cause()));
        assert_eq!(
            text(&result.body),
            r#"{"error":"No configs.","cause_exception":"ValueError","cause_message":"é\n","cause_traceback":[]}"#
        );
        assert_eq!((result.http_status, result.progress), (500, None));
    }

    #[test]
    fn other_codes_keep_the_cause_in_the_details() {
        let result = StepResult::error(ErrorCode::RowsPostProcessingError, "No rows.", Some(&cause()));
        assert_eq!(text(&result.body), r#"{"error":"No rows."}"#);
        assert_eq!(
            text(&result.details.unwrap()),
            r#"{"error":"No rows.","cause_exception":"ValueError","cause_message":"é\n","cause_traceback":[],"raised_from":["OSError: no"]}"#
        );
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let message = format!("a{}", "é".repeat(limits::ERROR_TEXT_BYTES_MAX));
        let result = StepResult::error(ErrorCode::UnexpectedError, &message, None);
        let body: serde_json::Value = serde_json::from_slice(&result.body).unwrap();
        assert_eq!(body["error"].as_str().unwrap().len(), limits::ERROR_TEXT_BYTES_MAX - 1);
        assert_eq!(result.details, None);
    }
}
