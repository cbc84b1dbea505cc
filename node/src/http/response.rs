//! From results to responses: the only place that sets headers of answers.
//!
//! Owns http-api.md sections 0.4 and 0.5 and our additions (ETag, 304, Retry-After). Every endpoint's result passes
//! through [`render`], so headers cannot drift between endpoints.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, RETRY_AFTER, VARY,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use bytes::Bytes;
use outpost_model::{ErrorCode, Position, Revision};
use serde::Serialize;

use super::encoding::Encoding;
use super::error::{ApiError, Mark};

/// The code of an error answer.
pub const X_ERROR_CODE: HeaderName = HeaderName::from_static("x-error-code");
/// The revision of the dataset that an answer is about.
pub const X_REVISION: HeaderName = HeaderName::from_static("x-revision");
/// The position that an answer contains (design section 6).
pub const X_SYNC_POSITION: HeaderName = HeaderName::from_static("x-sync-position");

/// How old the state may be that a replica answered from, in seconds, rounded up, or `unknown`.
pub const X_SYNC_STALENESS: HeaderName = HeaderName::from_static("x-sync-staleness");

/// What answers depend on for requests without an `Origin`.
pub const VARY_ENCODING: HeaderValue = HeaderValue::from_static("Accept-Encoding");

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// `Cache-Control` of successes and errors (`API_MAX_AGE_LONG`, `API_MAX_AGE_SHORT`).
#[derive(Debug, Clone)]
pub struct MaxAges {
    long: HeaderValue,
    short: HeaderValue,
}

impl MaxAges {
    /// From seconds; zero forbids storing.
    #[must_use]
    pub fn new(long_s: u64, short_s: u64) -> Self {
        let value = |seconds: u64| match seconds {
            0 => NO_STORE,
            _ => HeaderValue::try_from(format!("max-age={seconds}")).expect("digits are a header value"),
        };
        Self { long: value(long_s), short: value(short_s) }
    }
}

/// A response that is complete but for the headers of its connection; cloning it copies no body.
#[derive(Debug)]
pub struct Ready {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

/// What a stored answer says beside its body.
#[derive(Debug, Clone)]
pub struct ReadyHead {
    /// Status of the entry.
    pub http_status: u16,
    /// Code of a stored error.
    pub error_code: Option<ErrorCode>,
    /// Revision of the entry.
    pub revision: Revision,
    /// Version of the entry.
    pub version: [u8; 32],
}

impl Ready {
    /// Completes the answer of a stored entry from its rendered and encoded body.
    #[must_use]
    pub fn new(head: &ReadyHead, body: Bytes, encoding: Encoding, max_ages: &MaxAges) -> Self {
        let status = StatusCode::from_u16(head.http_status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut headers = HeaderMap::with_capacity(16);
        // Overwritten for each request: a header that is there already costs no growth of the map.
        headers.insert(VARY, VARY_ENCODING);
        headers.insert(X_SYNC_POSITION, HeaderValue::from_static(""));
        headers.insert(CONTENT_TYPE, JSON);
        headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        headers.insert(X_REVISION, text_value(head.revision.as_str()));
        if let Some(coding) = encoding.content_coding() {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding));
        }
        match head.error_code {
            None => {
                headers.insert(CACHE_CONTROL, max_ages.long.clone());
                headers.insert(ETAG, entity_tag(&head.version, encoding));
            }
            Some(code) => {
                headers.insert(CACHE_CONTROL, max_ages.short.clone());
                headers.insert(X_ERROR_CODE, HeaderValue::from_static(code.as_str()));
            }
        }
        Self { status, headers, body }
    }

    /// Size of the body in bytes, as sent.
    #[must_use]
    pub fn body_bytes(&self) -> usize {
        self.body.len()
    }

    /// The body as sent.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    fn to_response(&self, if_none_match: Option<&HeaderValue>) -> Response<Body> {
        let mut headers = self.headers.clone();
        let unchanged =
            if_none_match.is_some_and(|wanted| headers.get(ETAG).is_some_and(|tag| is_listed(wanted, tag)));
        let (status, body) = if unchanged {
            for gone in [CONTENT_TYPE, CONTENT_LENGTH, CONTENT_ENCODING] {
                headers.remove(gone);
            }
            (StatusCode::NOT_MODIFIED, Body::empty())
        } else {
            (self.status, Body::from(self.body.clone()))
        };
        let mut response = Response::new(body);
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response
    }
}

/// A stored answer and where it was found.
#[derive(Debug, Clone)]
pub struct Answered {
    /// The answer.
    pub ready: Arc<Ready>,
    /// The state that it is of, when that is another node's.
    pub mark: Option<Mark>,
}

/// Renders the result of a read endpoint.
#[must_use]
pub fn render(
    result: Result<Answered, ApiError>,
    if_none_match: Option<&HeaderValue>,
    max_ages: &MaxAges,
) -> Response<Body> {
    match result {
        Ok(answered) => {
            let mut response = answered.ready.to_response(if_none_match);
            set_mark(response.headers_mut(), answered.mark);
            response
        }
        Err(error) => render_error(&error, max_ages),
    }
}

fn set_mark(headers: &mut HeaderMap, mark: Option<Mark>) {
    if let Some(mark) = mark {
        set_position(headers, mark.position);
        set_staleness(headers, mark.age);
    }
}

/// Renders an error answer.
#[must_use]
pub fn render_error(error: &ApiError, max_ages: &MaxAges) -> Response<Body> {
    let status = StatusCode::from_u16(error.code.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = json(status, &ErrorBody { error: &error.message }, max_ages.short.clone());
    let headers = response.headers_mut();
    headers.insert(X_ERROR_CODE, HeaderValue::from_static(error.code.as_str()));
    if let Some(seconds) = error.retry_after_s {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    if let Some(position) = error.position {
        set_position(headers, position);
    }
    set_mark(headers, error.mark.as_deref().copied());
    response
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    error: &'a str,
}

/// An error that has no code of its own, as JSON that nobody may store.
#[must_use]
pub fn error_without_code(status: StatusCode, message: &str) -> Response<Body> {
    json_no_store(status, &ErrorBody { error: message })
}

/// A JSON answer that nobody may store.
#[must_use]
pub fn json_no_store(status: StatusCode, body: &impl Serialize) -> Response<Body> {
    json(status, body, NO_STORE)
}

fn json(status: StatusCode, body: &impl Serialize, cache_control: HeaderValue) -> Response<Body> {
    let body = serde_json::to_vec(body).expect("texts and numbers serialize");
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response.headers_mut().insert(CACHE_CONTROL, cache_control);
    response
}

/// A plain text answer without caching headers.
#[must_use]
pub fn text(status: StatusCode, body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, TEXT);
    response
}

/// A plain text answer that nobody may store.
#[must_use]
pub fn text_no_store(status: StatusCode, body: impl Into<Body>) -> Response<Body> {
    let mut response = text(status, body);
    response.headers_mut().insert(CACHE_CONTROL, NO_STORE);
    response
}

/// Sets `X-Sync-Position`.
pub fn set_position(headers: &mut HeaderMap, position: Position) {
    headers.insert(X_SYNC_POSITION, text_value(&position.to_string()));
}

/// Sets `X-Sync-Staleness`.
pub fn set_staleness(headers: &mut HeaderMap, age: Option<Duration>) {
    let seconds = |age: Duration| age.as_secs() + u64::from(age.subsec_nanos() > 0);
    let value = age.map_or(HeaderValue::from_static("unknown"), |age| HeaderValue::from(seconds(age)));
    headers.insert(X_SYNC_STALENESS, value);
}

pub(super) fn text_value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("checked names and positions are visible ASCII")
}

/// A strong tag: half of the version's digits and the coding.
pub(super) fn entity_tag(version: &[u8; 32], encoding: Encoding) -> HeaderValue {
    use std::fmt::Write;
    let mut tag = String::with_capacity(48);
    tag.push('"');
    for byte in &version[..16] {
        write!(tag, "{byte:02x}").expect("writing to a string does not fail");
    }
    tag.push_str(encoding.tag_suffix());
    tag.push('"');
    text_value(&tag)
}

/// Whether `If-None-Match` lists the tag (RFC 9110 section 13.1.2: weak comparison, `*` matches anything).
pub(super) fn is_listed(if_none_match: &HeaderValue, tag: &HeaderValue) -> bool {
    let (Ok(list), Ok(tag)) = (if_none_match.to_str(), tag.to_str()) else { return false };
    list.split(',').map(str::trim).any(|item| item == "*" || item.strip_prefix("W/").unwrap_or(item) == tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready(error_code: Option<ErrorCode>) -> Ready {
        let head = ReadyHead {
            http_status: error_code.map_or(200, ErrorCode::http_status),
            error_code,
            revision: Revision::new("abc").unwrap(),
            version: [7; 32],
        };
        Ready::new(&head, Bytes::from_static(b"{}"), Encoding::Gzip, &MaxAges::new(120, 0))
    }

    fn listing(tags: &str) -> HeaderValue {
        HeaderValue::from_str(tags).unwrap()
    }

    #[test]
    fn a_listed_tag_is_answered_with_304_and_no_body_headers() {
        let tag = format!("\"{}-gzip\"", "07".repeat(16));
        for list in [tag.clone(), format!("W/{tag}"), format!("\"x\", {tag}"), "*".to_owned()] {
            let response = ready(None).to_response(Some(&listing(&list)));
            assert_eq!(response.status(), StatusCode::NOT_MODIFIED, "{list}");
            assert_eq!(response.headers().get(ETAG).unwrap(), tag.as_str());
            assert!(!response.headers().contains_key(CONTENT_LENGTH));
        }
        let response = ready(None).to_response(Some(&listing(&tag.replace("-gzip", ""))));
        assert_eq!(response.status(), StatusCode::OK);
    }

    #[test]
    fn stored_errors_have_their_code_and_no_tag() {
        let response = ready(Some(ErrorCode::EmptyDatasetError)).to_response(Some(&listing("*")));
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(response.headers().get(X_ERROR_CODE).unwrap(), "EmptyDatasetError");
        assert_eq!(response.headers().get(CACHE_CONTROL).unwrap(), "no-store");
        assert!(!response.headers().contains_key(ETAG));
    }
}
