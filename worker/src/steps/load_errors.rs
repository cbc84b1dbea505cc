//! From the exceptions of `datasets` to error codes, per step.
//!
//! Owns the mappings of worker-and-store.md sections 4.2, 4.3 and 5.2. One rule is added: where the original stores
//! trouble with the Hub under a code that is never tried again, the code here is `HfHubError`, which is.

use std::borrow::Cow;

use outpost_loading::{LoadError, RowsError};
use outpost_model::ErrorCode;

use super::failure::Failure;

/// Classes that mean trouble with the Hub rather than with the data.
const HUB_CLASSES: [&str; 5] =
    ["HfHubHTTPError", "BrokenPipeError", "DatasetNotFoundError", "PermissionError", "ConnectionError"];

/// Opening a repository to list its configs failed.
pub(super) fn config_names(error: &LoadError) -> Failure {
    let (code, message) = if error.is_transient() || HUB_CLASSES.contains(&&*error.class) {
        (ErrorCode::RetryableConfigNamesError, NOT_LISTED.into())
    } else if let Some(known) = repository_problem(error) {
        known
    } else {
        (ErrorCode::ConfigNamesError, NOT_LISTED.into())
    };
    Failure::loading(code, &message, error)
}

/// Listing the splits of a config failed.
pub(super) fn split_names(error: &LoadError) -> Failure {
    if error.is_transient() {
        return hub_failure(error);
    }
    let (code, message) = match &*error.class {
        "EmptyDatasetError" => (ErrorCode::EmptyDatasetError, EMPTY),
        _ if is_script(error) => (ErrorCode::DatasetWithScriptNotSupportedError, SCRIPT),
        _ => {
            let known = left_out(error).map(Cow::Borrowed);
            let message =
                known.unwrap_or_else(|| with_reason("The splits of the config could not be listed", error));
            return Failure::loading(ErrorCode::SplitNamesFromStreamingError, &message, error);
        }
    };
    Failure::loading(code, message, error)
}

/// Building a config to read its rows failed.
pub(super) fn info(error: &LoadError) -> Failure {
    if error.is_transient() {
        return hub_failure(error);
    }
    let (code, message) = if is_script(error) {
        (ErrorCode::DatasetWithScriptNotSupportedError, SCRIPT)
    } else {
        (ErrorCode::InfoError, left_out(error).unwrap_or("The metadata of the config could not be read."))
    };
    Failure::loading(code, message, error)
}

/// Reading the first rows failed.
pub(super) fn first_rows(error: &RowsError) -> Failure {
    match error {
        RowsError::Info(error) => info(error),
        RowsError::Features(error) if error.is_transient() => hub_failure(error),
        RowsError::Features(error) => {
            let message = match &*error.class {
                "StopIteration" => {
                    "The columns and their types could not be inferred: the data files hold no rows."
                }
                _ => "The columns and their types could not be inferred from the first rows.",
            };
            Failure::loading(ErrorCode::FeaturesError, message, error)
        }
        RowsError::Rows(error) => {
            let message = "The first rows of the split could not be read.";
            Failure::loading(ErrorCode::StreamingRowsError, message, error)
        }
    }
}

const NOT_LISTED: &str = "The configs of the dataset could not be listed.";
const EMPTY: &str = "The dataset is empty: the repository has no data files.";
const SCRIPT: &str = "The dataset is defined by a loading script, which is not supported. Upload the data in a supported format \
such as Parquet, CSV or JSON Lines, and remove the script.";

/// A sentence with what is wrong with the data, where the exception that is disclosed does not say it.
fn with_reason(sentence: &str, error: &LoadError) -> Cow<'static, str> {
    let reason = error.chain().skip(1).last().map(|link| link.message.trim_end_matches('.'));
    match reason.filter(|reason| !reason.is_empty()) {
        Some(reason) => format!("{sentence}: {reason}.").into(),
        None => format!("{sentence}.").into(),
    }
}

/// Errors that do not disclose their cause carry its text in the message.
fn repository_problem(error: &LoadError) -> Option<(ErrorCode, Cow<'static, str>)> {
    let known = match &*error.class {
        "EmptyDatasetError" => (ErrorCode::EmptyDatasetError, EMPTY.into()),
        "DataFilesNotFoundError" => (ErrorCode::DataFilesNotFoundError, error.message.clone().into()),
        "ValueError" if error.message.contains("Couldn't infer the same data file format for all splits") => {
            (ErrorCode::FileFormatMismatchBetweenSplitsError, error.message.clone().into())
        }
        _ if is_script(error) => (ErrorCode::DatasetWithScriptNotSupportedError, SCRIPT.into()),
        _ => return None,
    };
    Some(known)
}

/// The sentence for readers about a format that is not read here.
fn left_out(error: &LoadError) -> Option<&str> {
    let is_left_out = |link: &&LoadError| link.class == "NotImplementedError";
    error.chain().find(is_left_out).map(|link| link.message.as_str())
}

fn is_script(error: &LoadError) -> bool {
    match &*error.class {
        "RuntimeError" => error.message.contains("Dataset scripts are no longer supported"),
        "ValueError" => error.message.contains("trust_remote_code"),
        _ => false,
    }
}

fn hub_failure(error: &LoadError) -> Failure {
    let message = "The Hub could not be read. The worker will try again later.";
    Failure::loading(ErrorCode::HfHubError, message, error)
}
