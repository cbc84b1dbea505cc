//! The door of the admin endpoints: an extractor that only the token opens.

use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Response};

use super::HasToken;
use super::params::AdminError;
use crate::admin_token::AdminToken;

/// Proof that the caller showed the token; the first argument of every handler.
pub(super) struct Operator;

impl<S: HasToken + Send + Sync> FromRequestParts<S> for Operator {
    type Rejection = Response<Body>;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        if is_operator(state.token(), &parts.headers) {
            return Ok(Self);
        }
        let mut response = AdminError::not_an_operator().into_response();
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        Err(response)
    }
}

fn is_operator(token: &AdminToken, headers: &HeaderMap) -> bool {
    let Some(given) = headers.get(AUTHORIZATION) else { return false };
    let Some((scheme, given)) = given.as_bytes().split_first_chunk::<7>() else { return false };
    scheme.eq_ignore_ascii_case(b"bearer ") && token.is(given)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_token_as_a_bearer_opens() {
        let token = AdminToken::new("0123456789abcdef").unwrap();
        for (value, opens) in [
            ("Bearer 0123456789abcdef", true),
            ("bearer 0123456789abcdef", true),
            ("Bearer 0123456789abcde", false),
            ("Bearer 0123456789abcdef0", false),
            ("Bearer  0123456789abcdef", false),
            ("Basic 0123456789abcdef", false),
            ("0123456789abcdef", false),
            ("Bearer", false),
        ] {
            let mut headers = HeaderMap::new();
            assert!(!is_operator(&token, &headers));
            headers.insert(AUTHORIZATION, HeaderValue::from_static(value));
            assert_eq!(is_operator(&token, &headers), opens, "{value}");
        }
    }
}
