//! Cross-origin rules: every origin may read (http-api.md section 0.4).
//!
//! Owns the preflight answers and the headers that a response gets when its request has an `Origin`. Requests without
//! one get no such header.

use axum::body::Body;
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use axum::http::{HeaderMap, HeaderValue, Method, Response, StatusCode};

use super::response::text;

const METHODS: [&str; 7] = ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"];
const METHODS_LIST: HeaderValue = HeaderValue::from_static("DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT");
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "X-Error-Code, X-Revision, X-Sync-Position, X-Sync-Staleness, ETag, Retry-After, Content-Range",
);
const TRUE: HeaderValue = HeaderValue::from_static("true");
const MAX_AGE_S: HeaderValue = HeaderValue::from_static("600");

/// The answer to a preflight request, `None` for any other request.
#[must_use]
pub fn preflight(method: &Method, request: &HeaderMap) -> Option<Response<Body>> {
    if method != Method::OPTIONS {
        return None;
    }
    let origin = request.get(ORIGIN)?;
    let wanted_method = request.get(ACCESS_CONTROL_REQUEST_METHOD)?;
    let allowed = METHODS.iter().any(|method| wanted_method == method);
    let mut response = if allowed {
        text(StatusCode::OK, "OK")
    } else {
        text(StatusCode::BAD_REQUEST, "Disallowed CORS method")
    };
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS_LIST);
    headers.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE_S);
    headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, TRUE);
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    headers.insert(VARY, HeaderValue::from_static("Origin"));
    if let Some(wanted_headers) = request.get(ACCESS_CONTROL_REQUEST_HEADERS) {
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, wanted_headers.clone());
    }
    Some(response)
}

/// Opens a response to the page of this origin.
pub fn allow(origin: HeaderValue, response: &mut HeaderMap) {
    response.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    response.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, TRUE);
    response.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
}
