//! Answers of the stub: JSON, the Hub's error headers, redirects.

use axum::body::{Body, Bytes};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use futures::stream;
use outpost_hub::HubError;
use serde_json::Value;

/// An answer before it is sent: its body is still at hand, to be counted or cut.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Bytes,
}

impl Answer {
    pub(super) fn json(value: &Value) -> Self {
        Self::of(200, value.to_string()).with("content-type", "application/json; charset=utf-8")
    }

    pub(super) fn of(status: u16, body: impl Into<Bytes>) -> Self {
        Self { status, headers: Vec::new(), body: body.into() }
    }

    pub(super) fn redirect(status: u16, location: String) -> Self {
        Self::of(status, Bytes::new()).with("location", location)
    }

    /// An error as the Hub sends it; `code` may be empty.
    pub(super) fn error(status: u16, code: &str, message: &str) -> Self {
        let mut answer = Self::json(&serde_json::json!({ "error": message }));
        answer.status = status;
        if !code.is_empty() {
            answer = answer.with("x-error-code", code);
        }
        answer.with("x-error-message", message)
    }

    pub(super) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(super) fn into_response(self) -> Response {
        let body = Body::from(self.body.clone());
        self.respond(body)
    }

    /// Promises the whole body and breaks the connection after `bytes` of it.
    pub(super) fn into_cut_response(self, bytes: usize) -> Response {
        let start = self.body.slice(..bytes.min(self.body.len()));
        let cut = std::io::Error::other("cut by the test");
        let length = self.body.len().to_string();
        let body = Body::from_stream(stream::iter([Ok(start), Err(cut)]));
        self.with("content-length", length).respond(body)
    }

    fn respond(self, body: Body) -> Response {
        let mut response = Response::new(body);
        *response.status_mut() =
            StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        for (name, value) in self.headers {
            if let Ok(value) = HeaderValue::from_str(&value) {
                response.headers_mut().append(HeaderName::from_static(name), value);
            }
        }
        response
    }
}

impl From<HubError> for Answer {
    fn from(error: HubError) -> Self {
        let message = error.to_string();
        match error {
            HubError::RepoNotFound(_) => Self::error(404, "RepoNotFound", "Repository not found"),
            HubError::Gated(_) => Self::error(403, "GatedRepo", &message),
            HubError::Disabled(_) => Self::error(403, "", "Access to this resource is disabled."),
            HubError::RevisionNotFound(_) => Self::error(404, "RevisionNotFound", &message),
            HubError::EntryNotFound(_) => Self::error(404, "EntryNotFound", "Entry not found"),
            HubError::TooLarge { .. }
            | HubError::Status { .. }
            | HubError::Unreachable(_)
            | HubError::Protocol(_)
            | HubError::Folder(_) => Self::error(500, "", &message),
        }
    }
}
