//! Failed answers of the Hub, mapped to [`HubError`]s.
//!
//! Owns the order of `hf_raise_for_status` (dataset-loading.md section 6). Refuses to repeat query strings, which may
//! hold signatures, or more than a line of an answer in messages.

use outpost_model::limits::HUB_ERROR_BYTES_MAX;
use outpost_model::{DatasetName, Revision};
use reqwest::Response;
use reqwest::header::HeaderMap;
use serde_json::Value;
use url::Url;

use crate::HubError;

use super::client::read_body;
use super::retry::{Failed, again_after};

const ACCESS_DISABLED: &str = "Access to this resource is disabled.";
const INVALID_CREDENTIALS: &str = "Invalid credentials in Authorization header";
const MESSAGE_CHARS_MAX: usize = 300;

/// What a request was about, for its errors.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Target<'a> {
    pub(super) dataset: Option<&'a DatasetName>,
    pub(super) revision: Option<&'a Revision>,
    pub(super) path: Option<&'a str>,
}

/// Reads the error of an answer whose status is not a success.
pub(super) async fn failure(response: Response, target: Target<'_>) -> Failed {
    let status = response.status().as_u16();
    let headers = response.headers().clone();
    let url = shown(response.url());
    let body = read_body(response, HUB_ERROR_BYTES_MAX).await.map(|read| read.bytes).unwrap_or_default();
    let error = map(status, &headers, &body, url, target);
    let again = again_after(status, &headers);
    Failed { error, again }
}

/// A URL without credentials, query and fragment.
pub(super) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    // Both fail only for URLs that cannot have credentials.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.into()
}

fn map(status: u16, headers: &HeaderMap, body: &[u8], url: String, target: Target<'_>) -> HubError {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let sent_message = header("x-error-message");
    let dataset = || target.dataset.map_or_else(|| url.clone(), ToString::to_string);
    match header("x-error-code") {
        Some("RevisionNotFound") => {
            return HubError::RevisionNotFound(
                target.revision.map_or_else(|| "main".to_owned(), ToString::to_string),
            );
        }
        Some("EntryNotFound") => return HubError::EntryNotFound(target.path.unwrap_or_default().to_owned()),
        Some("GatedRepo") => return HubError::Gated(dataset()),
        code => {
            if sent_message == Some(ACCESS_DISABLED) {
                return HubError::Disabled(dataset());
            }
            let is_hidden =
                status == 401 && target.dataset.is_some() && sent_message != Some(INVALID_CREDENTIALS);
            if code == Some("RepoNotFound") || is_hidden {
                return HubError::RepoNotFound(dataset());
            }
        }
    }
    let message = sent_message.map_or_else(|| message_of(body), str::to_owned);
    HubError::Status { status, url, message: one_line(&message) }
}

/// JSON `error` (text or list) or `errors[].message`, else the start of the body.
fn message_of(body: &[u8]) -> String {
    let json: Value = serde_json::from_slice(body).unwrap_or_default();
    let texts = |value: &Value| -> Vec<String> {
        match value {
            Value::String(text) => vec![text.clone()],
            Value::Array(items) => items.iter().filter_map(|item| item.as_str().map(str::to_owned)).collect(),
            _ => Vec::new(),
        }
    };
    let mut messages = json.get("error").map(texts).unwrap_or_default();
    if let Some(errors) = json.get("errors").and_then(Value::as_array) {
        let nested = errors.iter().filter_map(|error| error.get("message")?.as_str());
        messages.extend(nested.map(str::to_owned));
    }
    if messages.is_empty() { String::from_utf8_lossy(body).into_owned() } else { messages.join("; ") }
}

/// Cuts a text of the Hub to what fits a log line.
fn one_line(text: &str) -> String {
    let printable = text.trim().chars().map(|c| if c.is_control() { ' ' } else { c });
    printable.take(MESSAGE_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::{HeaderName, HeaderValue};

    fn mapped(status: u16, headers: &[(&'static str, &'static str)], body: &str) -> HubError {
        let dataset = DatasetName::new("u/d").unwrap();
        let revision = Revision::new("abc").unwrap();
        let target = Target { dataset: Some(&dataset), revision: Some(&revision), path: Some("a.csv") };
        let headers = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        map(status, &headers.collect(), body.as_bytes(), "http://h/x".to_owned(), target)
    }

    #[test]
    fn codes_come_before_messages_and_messages_before_statuses() {
        let dataset = || "u/d".to_owned();
        let code = |code| ("x-error-code", code);
        let disabled = ("x-error-message", ACCESS_DISABLED);
        assert_eq!(
            mapped(404, &[code("RevisionNotFound")], ""),
            HubError::RevisionNotFound("abc".to_owned())
        );
        assert_eq!(
            mapped(404, &[code("EntryNotFound"), disabled], ""),
            HubError::EntryNotFound("a.csv".to_owned())
        );
        assert_eq!(mapped(403, &[code("GatedRepo"), disabled], ""), HubError::Gated(dataset()));
        assert_eq!(mapped(403, &[code("RepoNotFound"), disabled], ""), HubError::Disabled(dataset()));
        assert_eq!(mapped(404, &[code("RepoNotFound")], ""), HubError::RepoNotFound(dataset()));
        assert_eq!(mapped(401, &[], ""), HubError::RepoNotFound(dataset()));
    }

    #[test]
    fn bad_credentials_are_not_a_missing_dataset() {
        let error = mapped(401, &[("x-error-message", INVALID_CREDENTIALS)], "");
        assert!(matches!(error, HubError::Status { status: 401, .. }), "{error}");
    }

    #[test]
    fn messages_come_from_the_header_or_the_body() {
        let message = |headers: &[(&'static str, &'static str)], body: &str| match mapped(500, headers, body)
        {
            HubError::Status { message, .. } => message,
            other => panic!("{other}"),
        };
        assert_eq!(message(&[("x-error-message", "from header")], r#"{"error":"x"}"#), "from header");
        assert_eq!(message(&[], r#"{"error":["a","b"],"errors":[{"message":"c"}]}"#), "a; b; c");
        assert_eq!(message(&[], "<html>\noh</html>"), "<html> oh</html>");
        assert_eq!(message(&[], &"x".repeat(5_000)).len(), MESSAGE_CHARS_MAX);
    }

    #[test]
    fn shown_urls_hold_no_secret() {
        let url = Url::parse("https://u:p@h/a?Signature=x#f").unwrap();
        assert_eq!(shown(&url), "https://h/a");
    }
}
