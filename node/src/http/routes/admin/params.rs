//! Query parameters of the admin endpoints, and their errors.
//!
//! Owns http-api.md section 7.3's rules on parameters. Unknown parameters are ignored, of a repeated one the last
//! counts, a blank one is missing. Answers are never stored by caches: operators want what is true now.

use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Response, StatusCode};
use outpost_model::{ArtifactKey, DatasetName, ErrorCode, JobStatus, Level, Priority, StepKind};
use outpost_storage::{Cursor, StorageError};
use serde::Serialize;

use crate::http::error::ApiError;
use crate::http::response::{X_ERROR_CODE, json_no_store};
use crate::intake::IntakeError;

/// An answer other than the one asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AdminError {
    code: ErrorCode,
    message: String,
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    error: &'a str,
}

impl AdminError {
    pub(super) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    pub(super) fn not_an_operator() -> Self {
        Self::new(
            ErrorCode::ExternalUnauthenticatedError,
            "The admin endpoints need the node's admin token as `Authorization: Bearer TOKEN`: the one given with \
             --admin-token, or else the one in the file admin-token of the node's data directory.",
        )
    }

    /// `database` begins the sentence.
    pub(super) fn database_away(database: &str) -> Self {
        Self::new(
            ErrorCode::UnexpectedApiError,
            format!(
                "{database} cannot be reached. What was mirrored is served all the same; check that the database runs, \
                 that it has a primary, and that this node may connect to it. The node's log has its last words."
            ),
        )
    }

    pub(super) fn unknown_dataset(dataset: &DatasetName) -> Self {
        let message =
            format!("Nothing is known about the dataset '{dataset}'. Refresh it to have it computed.");
        Self::new(ErrorCode::ResponseNotFound, message)
    }

    fn missing(name: &str) -> Self {
        Self::new(ErrorCode::MissingRequiredParameter, format!("Parameter '{name}' is required"))
    }

    fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::InvalidParameter, message)
    }

    pub(super) fn into_response(self) -> Response<Body> {
        let status =
            StatusCode::from_u16(self.code.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = json_no_store(status, &ErrorBody { error: &self.message });
        response.headers_mut().insert(X_ERROR_CODE, HeaderValue::from_static(self.code.as_str()));
        response
    }
}

impl From<StorageError> for AdminError {
    fn from(error: StorageError) -> Self {
        if error == StorageError::InvalidCursor {
            return Self::invalid("Invalid cursor.");
        }
        tracing::error!(%error, "an admin request failed: {error}");
        if let StorageError::Unreachable(_) = error {
            return Self::database_away("The database");
        }
        Self::new(
            ErrorCode::UnexpectedApiError,
            "Unexpected error: the store failed, the node's log says why.",
        )
    }
}

impl From<IntakeError> for AdminError {
    fn from(error: IntakeError) -> Self {
        match error {
            IntakeError::Store(error) => error.into(),
            IntakeError::Hub(error) => {
                tracing::error!(%error, "an admin request failed: the Hub did not answer");
                let ApiError { code, message, .. } = ApiError::hub_check_failed();
                Self::new(code, message)
            }
        }
    }
}

impl From<ApiError> for AdminError {
    fn from(error: ApiError) -> Self {
        Self::new(error.code, error.message)
    }
}

/// The query of a request.
#[derive(Debug, Clone, Default)]
pub(super) struct Query(Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for Query {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(Self::parse(parts.uri.query().unwrap_or("")))
    }
}

impl Query {
    fn parse(query: &str) -> Self {
        Self(url::form_urlencoded::parse(query.as_bytes()).into_owned().collect())
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        let last = self.0.iter().rev().find(|(key, _)| key == name);
        last.map(|(_, value)| value.trim()).filter(|value| !value.is_empty())
    }

    /// The dataset, when one is named.
    pub(super) fn dataset(&self) -> Result<Option<DatasetName>, AdminError> {
        let parse = |text: &str| {
            DatasetName::new(text)
                .map_err(|_| AdminError::invalid("Parameter 'dataset' must be namespace/name or name"))
        };
        self.text("dataset").map(parse).transpose()
    }

    /// The dataset, which must be named.
    pub(super) fn required_dataset(&self) -> Result<DatasetName, AdminError> {
        self.dataset()?.ok_or_else(|| AdminError::missing("dataset"))
    }

    pub(super) fn priority(&self, default: Priority) -> Result<Priority, AdminError> {
        let Some(text) = self.text("priority") else { return Ok(default) };
        Priority::from_name(text).ok_or_else(|| {
            let names: Vec<&str> = Priority::ALL.map(Priority::as_str).to_vec();
            AdminError::invalid(format!("Parameter 'priority' must be one of: {}", names.join(", ")))
        })
    }

    pub(super) fn status(&self) -> Result<Option<JobStatus>, AdminError> {
        let parse = |text: &str| {
            JobStatus::from_name(text).ok_or_else(|| {
                let names: Vec<&str> = JobStatus::ALL.map(JobStatus::as_str).to_vec();
                AdminError::invalid(format!("Parameter 'status' must be one of: {}", names.join(", ")))
            })
        };
        self.text("status").map(parse).transpose()
    }

    pub(super) fn cursor(&self) -> Option<Cursor> {
        self.text("cursor").map(Cursor::new)
    }

    pub(super) fn is_set(&self, name: &str) -> Result<bool, AdminError> {
        match self.text(name).map(str::to_ascii_lowercase).as_deref() {
            None | Some("false" | "0") => Ok(false),
            Some("true" | "1") => Ok(true),
            Some(_) => Err(AdminError::invalid(format!("Parameter '{name}' must be true or false"))),
        }
    }

    /// The artifact of `kind` that the query names, by the level of the step.
    pub(super) fn artifact(&self, kind: StepKind) -> Result<ArtifactKey, AdminError> {
        let dataset = self.required_dataset()?;
        let config = match kind.level() {
            Level::Dataset => None,
            Level::Config | Level::Split => Some(self.name("config")?),
        };
        let split = match kind.level() {
            Level::Dataset | Level::Config => None,
            Level::Split => Some(self.name("split")?),
        };
        ArtifactKey::new(kind, dataset, config, split).map_err(|error| AdminError::invalid(error.to_string()))
    }

    fn name<T: std::str::FromStr>(&self, name: &str) -> Result<T, AdminError> {
        let text = self.text(name).ok_or_else(|| AdminError::missing(name))?;
        text.parse()
            .map_err(|_| AdminError::invalid(format!("Parameter '{name}' is not a name that one can have")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_level_of_a_step_says_which_names_are_needed() {
        let query = Query::parse("dataset=u%2Fd&config=c&split=train");
        for (kind, expected) in [
            (StepKind::DatasetSplitNames, "dataset-split-names,u/d"),
            (StepKind::ConfigSplitNames, "config-split-names,u/d,c"),
            (StepKind::SplitFirstRows, "split-first-rows,u/d,c,train"),
        ] {
            assert_eq!(query.artifact(kind).unwrap().to_string(), expected);
        }
        let error = Query::parse("dataset=u/d&config=c").artifact(StepKind::SplitFirstRows).unwrap_err();
        assert_eq!(
            (error.code, error.message.as_str()),
            (ErrorCode::MissingRequiredParameter, "Parameter 'split' is required")
        );
    }

    #[test]
    fn wrong_values_say_what_would_be_right() {
        let query = Query::parse("priority=urgent&status=done&dataset=a/b/c&retry_errors=maybe");
        assert!(query.priority(Priority::Low).unwrap_err().message.ends_with("high, normal, low"));
        assert!(query.status().unwrap_err().message.ends_with("waiting, started"));
        assert_eq!(query.dataset().unwrap_err().code, ErrorCode::InvalidParameter);
        assert!(query.is_set("retry_errors").unwrap_err().message.contains("true or false"));
        let blank = Query::parse("priority=+&dataset=");
        assert_eq!(blank.priority(Priority::Low), Ok(Priority::Low));
        assert_eq!(blank.required_dataset().unwrap_err().code, ErrorCode::MissingRequiredParameter);
    }
}
