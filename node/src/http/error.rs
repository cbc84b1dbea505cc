//! Errors as readers see them: a code, a text, sometimes when to come back.
//!
//! Owns the texts of API-level errors (http-api.md sections 1.5 and 3.4). The status always follows from the code.
//! Causes and tracebacks are never part of it; they are logged where they occur.

use std::borrow::Cow;
use std::time::Duration;

use outpost_model::{ErrorCode, Position, limits};

/// An answer other than a stored response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    /// What went wrong.
    pub code: ErrorCode,
    /// What to tell the reader.
    pub message: Cow<'static, str>,
    /// Seconds after which trying again makes sense.
    pub retry_after_s: Option<u64>,
    /// The position that contains what the request caused, when it caused something.
    pub position: Option<Position>,
    /// The state that this was found in, when that is another node's.
    pub mark: Option<Box<Mark>>,
}

/// What state of the mirror an answer is of, when that is not this node's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// Its position.
    pub position: Position,
    /// How old it may be; `None` when nobody knows.
    pub age: Option<Duration>,
}

/// Whether a request came with credentials; decides how a refusal is worded, never whether it is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    /// No `Authorization` header.
    Anonymous,
    /// Some `Authorization` header, not checked.
    WithCredentials,
}

impl ApiError {
    fn new(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into(), retry_after_s: None, position: None, mark: None }
    }

    /// A required parameter is missing or blank.
    #[must_use]
    pub fn missing_parameter(text: &'static str) -> Self {
        Self::new(ErrorCode::MissingRequiredParameter, text)
    }

    /// A parameter has a value that it cannot have.
    #[must_use]
    pub fn invalid_parameter(text: &'static str) -> Self {
        Self::new(ErrorCode::InvalidParameter, text)
    }

    /// The dataset does not exist, is private or is gated: the same words for all three, so that nothing leaks.
    #[must_use]
    pub fn not_accessible(caller: Caller) -> Self {
        match caller {
            Caller::Anonymous => Self::new(
                ErrorCode::ExternalUnauthenticatedError,
                "This dataset does not exist or is not accessible without authentication (it may be private or \
                 gated). Check the spelling of its name, or authenticate and retry.",
            ),
            Caller::WithCredentials => Self::new(
                ErrorCode::ExternalAuthenticatedError,
                "This dataset does not exist or is not accessible with the current credentials (it may be private \
                 or gated). Check the spelling of its name, or retry with other credentials.",
            ),
        }
    }

    /// The dataset has another name on the Hub now.
    #[must_use]
    pub fn renamed() -> Self {
        Self::new(
            ErrorCode::RenamedDatasetError,
            "This dataset was renamed on the Hub. Please use its current name.",
        )
    }

    /// The answer is being computed.
    #[must_use]
    pub fn not_ready() -> Self {
        Self {
            retry_after_s: Some(limits::NOT_READY_RETRY_AFTER_S),
            ..Self::new(
                ErrorCode::ResponseNotReady,
                "The server is still preparing this response and it is not ready yet. Please retry later.",
            )
        }
    }

    /// The dataset is known and has no such config or split.
    #[must_use]
    pub fn not_found() -> Self {
        Self::new(ErrorCode::ResponseNotFound, "Not found.")
    }

    /// The Hub could not be asked whether the dataset may be served.
    #[must_use]
    pub fn hub_check_failed() -> Self {
        Self {
            retry_after_s: Some(limits::NOT_READY_RETRY_AFTER_S),
            ..Self::new(
                ErrorCode::AuthCheckHubRequestError,
                "The authentication check on the Hub failed or timed out. This is temporary, please retry later.",
            )
        }
    }

    /// Rows outside the precomputed ones were asked for; `precomputed` rows are there.
    #[must_use]
    pub fn rows_not_precomputed(precomputed: usize) -> Self {
        Self::new(
            ErrorCode::RowsNotPrecomputed,
            format!(
                "This server holds the first {precomputed} rows of this split and the page reaches beyond what it can \
                 answer in full. Ask for rows below {precomputed} with `offset` and `length`, or use /first-rows."
            ),
        )
    }

    /// This node's state is not the one that the request asks for, and there is no other to ask in time.
    #[must_use]
    pub fn state_not_reached() -> Self {
        Self {
            retry_after_s: Some(limits::REPLICA_RETRY_AFTER_S),
            ..Self::new(
                ErrorCode::StateNotReached,
                "This server has not reached the state that X-Sync-After or Cache-Control: max-age asks for. Retry \
                 later, or without these headers for an older answer.",
            )
        }
    }

    /// A replica does not have the answer, and the node that it follows cannot be asked.
    #[must_use]
    pub fn upstream_not_reached() -> Self {
        Self {
            retry_after_s: Some(limits::REPLICA_RETRY_AFTER_S),
            ..Self::new(
                ErrorCode::UpstreamNotReached,
                "This replica does not have the response and its upstream cannot be reached. This is temporary, please \
                 retry later.",
            )
        }
    }

    /// `X-Sync-After` is no position.
    #[must_use]
    pub fn invalid_position() -> Self {
        Self::invalid_parameter(
            "Header 'X-Sync-After' must be one position, as X-Sync-Position gives it: 32 hexadecimal digits, ':' and a \
             number",
        )
    }

    /// An error that another node found.
    #[must_use]
    pub fn of_upstream(code: ErrorCode, message: String, retry_after_s: Option<u64>, mark: Mark) -> Self {
        Self { retry_after_s, mark: Some(Box::new(mark)), ..Self::new(code, message) }
    }

    /// Anything that is this server's fault.
    #[must_use]
    pub fn unexpected() -> Self {
        Self::new(ErrorCode::UnexpectedApiError, "Unexpected error.")
    }

    /// The dataset exists and is not served; `code` is one of the not-supported codes.
    #[must_use]
    pub fn not_supported(code: ErrorCode) -> Self {
        Self::new(code, not_supported_text(code))
    }

    /// The same error, carrying the position that contains what the request caused.
    #[must_use]
    pub fn at(self, position: Position) -> Self {
        Self { position: Some(position), ..self }
    }
}

fn not_supported_text(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::NotSupportedRepositoryNotFoundError => "The repository is not found on the Hub.",
        ErrorCode::NotSupportedDisabledRepositoryError => {
            "Access to this dataset is disabled on the Hub, so it has no dataset viewer."
        }
        ErrorCode::NotSupportedPrivateRepositoryError => {
            "Private datasets have a dataset viewer only for PRO users and Enterprise organizations."
        }
        ErrorCode::NotSupportedTagNFAAError => {
            "This dataset is tagged as not for all audiences, so it has no dataset viewer."
        }
        ErrorCode::NotSupportedDisabledViewerError => {
            "The dataset viewer is turned off in this dataset's configuration (`viewer: false` in its README.md)."
        }
        ErrorCode::DatasetInBlockListError => {
            "The dataset viewer is disabled for this dataset for now. Please open an issue on GitHub to have it enabled."
        }
        _ => "This dataset is not supported.",
    }
}
