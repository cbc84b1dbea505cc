//! The secret that nodes share.
//!
//! Owns the comparison, whose time tells nothing, and that the secret is never shown.

use std::fmt;

use axum::http::HeaderValue;
use subtle::ConstantTimeEq;

/// See the module.
#[derive(Clone, PartialEq, Eq)]
pub struct SyncToken(String);

impl SyncToken {
    /// The token with this text, which can be sent in a header: visible ASCII, not empty.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let is_usable = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        is_usable.then(|| Self(text.to_owned()))
    }

    /// Whether a caller's `Authorization` shows it.
    #[must_use]
    pub fn is_shown(&self, authorization: Option<&HeaderValue>) -> bool {
        let given = authorization.and_then(|value| value.as_bytes().split_first_chunk::<7>());
        given.is_some_and(|(scheme, given)| {
            scheme.eq_ignore_ascii_case(b"bearer ") && bool::from(self.0.as_bytes().ct_eq(given))
        })
    }

    /// The text, to be sent to other nodes.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SyncToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SyncToken(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_token_as_a_bearer_is_the_token() {
        let token = SyncToken::new("secret").unwrap();
        assert!(!token.is_shown(None));
        for (value, is_it) in [
            ("Bearer secret", true),
            ("bearer secret", true),
            ("Bearer secre", false),
            ("Bearer secret0", false),
            ("Basic secret", false),
            ("secret", false),
            ("Bearer ", false),
        ] {
            assert_eq!(token.is_shown(Some(&HeaderValue::from_static(value))), is_it, "{value}");
        }
        assert!(!format!("{token:?}").contains("secret"));
    }

    #[test]
    fn a_text_that_no_header_can_carry_is_no_token() {
        for text in ["", "two words", "é", "a\n"] {
            assert!(SyncToken::new(text).is_none(), "{text:?}");
        }
    }
}
